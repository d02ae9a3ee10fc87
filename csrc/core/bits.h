/*
 * bits.h - streams of bit fields, least significant bit first.
 *
 * Fields are packed eight at a time: eight bytes of one field each are squeezed into one word, and
 * the words of a tile joined to the stream of the image at any bit.
 */
#ifndef DSGUARD_BITS_H
#define DSGUARD_BITS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { PACKED_WORDS = 16 }; /* room for 1024 bits: a tile has 897 at most */

/* Up to PACKED_WORDS * 64 bits, the first in bit 0 of the first word. */
struct packed {
    uint64_t words[PACKED_WORDS];
    unsigned bits; /* how many were put, or taken, so far */
};

/* Eight bytes, the first in the lowest bits. */
static inline uint64_t load_word(const uint8_t *bytes)
{
    uint64_t word;
    memcpy(&word, bytes, sizeof word);
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    word = __builtin_bswap64(word);
#endif
    return word;
}

static inline void store_word(uint8_t *bytes, uint64_t word)
{
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    word = __builtin_bswap64(word);
#endif
    memcpy(bytes, &word, sizeof word);
}

/* 2^bits - 1 in every lane of 'lane' bits. */
static inline uint64_t lane_mask(unsigned lane, unsigned bits)
{
    uint64_t one = lane == 8    ? UINT64_C(0x0101010101010101)
                   : lane == 16 ? UINT64_C(0x0001000100010001)
                                : UINT64_C(0x0000000100000001);
    return one * ((UINT64_C(1) << bits) - 1);
}

/* Eight fields of 'width' (1 to 7) bits, one per byte, moved together: neighbours join into lanes
 * of 16, then 32, then 64 bits. */
static inline uint64_t squeeze(uint64_t fields, unsigned width)
{
    unsigned w = width;
    uint64_t low = lane_mask(16, w);
    fields = (fields & low) | (fields >> (8 - w) & low << w);
    low = lane_mask(32, 2 * w);
    fields = (fields & low) | (fields >> (16 - 2 * w) & low << 2 * w);
    return (fields & 0xFFFFFFFFu) | fields >> 32 << 4 * w;
}

/* The inverse of squeeze; bits above the eight fields are dropped. */
static inline uint64_t stretch(uint64_t bits, unsigned width)
{
    unsigned w = width;
    uint64_t low = (UINT64_C(1) << 4 * w) - 1;
    bits = (bits & low) | (bits >> 4 * w & low) << 32;
    low = lane_mask(32, 2 * w);
    bits = (bits & low) | (bits & low << 2 * w) << (16 - 2 * w);
    low = lane_mask(16, w);
    return (bits & low) | (bits & low << w) << (8 - w);
}

/* Append 'count' fields of 'width' (1 to 7) bits, one per byte of 'fields', which is readable, and
 * zero beyond 'count', up to a multiple of 8. */
static inline void put_fields(struct packed *p, const uint8_t *fields, unsigned count,
                              unsigned width)
{
    for (unsigned i = 0; i < count; i += 8) {
        uint64_t value = squeeze(load_word(fields + i), width);
        unsigned word = p->bits / 64, shift = p->bits % 64;
        p->words[word] |= value << shift;
        if (shift > 0)
            p->words[word + 1] |= value >> (64 - shift);
        p->bits += (count - i < 8 ? count - i : 8) * width;
    }
}

/* Take 'count' fields; 'fields' is writable up to a multiple of 8, and holds rubbish beyond. */
static inline void take_fields(struct packed *p, uint8_t *fields, unsigned count, unsigned width)
{
    for (unsigned i = 0; i < count; i += 8) {
        unsigned word = p->bits / 64, shift = p->bits % 64;
        uint64_t value = p->words[word] >> shift;
        if (shift > 0)
            value |= p->words[word + 1] << (64 - shift);
        store_word(fields + i, stretch(value, width));
        p->bits += (count - i < 8 ? count - i : 8) * width;
    }
}

/* Write the bits of 'p' to a stream, from bit 'at' of it on; the bits there are 0. */
static inline void join_stream(uint8_t *stream, size_t at, const struct packed *p)
{
    uint8_t bytes[(PACKED_WORDS + 1) * 8];
    unsigned shift = at % 8, size = (shift + p->bits + 7) / 8;
    uint64_t below = 0;
    stream += at / 8;
    for (unsigned i = 0; i < PACKED_WORDS; i++) {
        store_word(bytes + 8 * i, p->words[i] << shift | below);
        below = p->words[i] >> 1 >> (63 - shift);
    }
    store_word(bytes + 8 * PACKED_WORDS, below);
    bytes[0] |= stream[0];
    if (size > 1)
        bytes[size - 1] |= stream[size - 1];
    memcpy(stream, bytes, size);
}

/* Read 'bits' bits of a stream, from bit 'at' on; no byte without one of them is touched. */
static inline void part_stream(const uint8_t *stream, size_t at, unsigned bits, struct packed *p)
{
    uint8_t bytes[(PACKED_WORDS + 1) * 8] = {0};
    unsigned shift = at % 8;
    memcpy(bytes, stream + at / 8, (shift + bits + 7) / 8);
    for (unsigned i = 0; i < PACKED_WORDS; i++)
        p->words[i] = load_word(bytes + 8 * i) >> shift | load_word(bytes + 8 * (i + 1))
                                                              << 1 << (63 - shift);
    p->bits = 0;
}

/* One bit of a stream, and one more at its end, where it is 0. */
static inline unsigned stream_bit(const uint8_t *bytes, size_t bit)
{
    return (unsigned)bytes[bit / 8] >> bit % 8 & 1u;
}

static inline void add_stream_bit(uint8_t *bytes, size_t bit, unsigned value)
{
    bytes[bit / 8] = (uint8_t)(bytes[bit / 8] | value << bit % 8);
}

/* The same with 64 bits.  A word that begins within a byte touches nine bytes, so the stream must
 * have STREAM_WORD bits from 'bit' on. */
enum { STREAM_WORD = 72 };

static inline uint64_t stream_word(const uint8_t *bytes, size_t bit)
{
    unsigned shift = bit % 8;
    return load_word(bytes + bit / 8) >> shift | (uint64_t)bytes[bit / 8 + 8] << 1 << (63 - shift);
}

static inline void add_stream_word(uint8_t *bytes, size_t bit, uint64_t word)
{
    unsigned shift = bit % 8;
    store_word(bytes + bit / 8, load_word(bytes + bit / 8) | word << shift);
    bytes[bit / 8 + 8] = (uint8_t)(bytes[bit / 8 + 8] | word >> 1 >> (63 - shift));
}

static inline unsigned first_bit(uint64_t mask)
{
#if defined(__GNUC__)
    return (unsigned)__builtin_ctzll(mask);
#else
    unsigned i = 0;
    for (; !(mask & 1); mask >>= 1)
        i++;
    return i;
#endif
}

static inline unsigned count_bits(uint64_t mask)
{
#if defined(__GNUC__)
    return (unsigned)__builtin_popcountll(mask);
#else
    unsigned count = 0;
    for (; mask; mask &= mask - 1)
        count++;
    return count;
#endif
}

/* The low bits of 'word' to where 'mask' has bits, and back. */
static inline uint64_t deposit_bits(uint64_t word, uint64_t mask)
{
    uint64_t spread = 0;
    for (; mask; mask &= mask - 1, word >>= 1)
        spread |= (word & 1) << first_bit(mask);
    return spread;
}

static inline uint64_t collect_bits(uint64_t word, uint64_t mask)
{
    uint64_t packed = 0;
    for (unsigned n = 0; mask; mask &= mask - 1, n++)
        packed |= (word >> first_bit(mask) & 1) << n;
    return packed;
}

#endif
