/* bits.h - a stream of bit fields, least significant bit first. */
#ifndef DSGUARD_BITS_H
#define DSGUARD_BITS_H

#include <stdint.h>

struct bit_writer {
    uint8_t *next;
    uint64_t pending;
    unsigned count; /* bits in 'pending', below 8 between calls */
};

struct bit_reader {
    const uint8_t *next;
    uint64_t pending;
    unsigned count;
};

/* Append the low 'width' (at most 32) bits of 'value'; higher bits of it must be 0. */
static inline void put_bits(struct bit_writer *w, uint32_t value, unsigned width)
{
    w->pending |= (uint64_t)value << w->count;
    w->count += width;
    while (w->count >= 8) {
        *w->next++ = (uint8_t)w->pending;
        w->pending >>= 8;
        w->count -= 8;
    }
}

/* Write the last, partly filled byte, its unused bits 0. */
static inline void flush_bits(struct bit_writer *w)
{
    if (w->count > 0)
        *w->next++ = (uint8_t)w->pending;
}

/* Take 'width' (at most 32) bits; never reads a byte before one of its bits is needed. */
static inline uint32_t get_bits(struct bit_reader *r, unsigned width)
{
    while (r->count < width) {
        r->pending |= (uint64_t)*r->next++ << r->count;
        r->count += 8;
    }
    uint32_t value = (uint32_t)(r->pending & ((UINT64_C(1) << width) - 1));
    r->pending >>= width;
    r->count -= width;
    return value;
}

#endif
