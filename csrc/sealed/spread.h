/* spread.h - codec sealed: a payload into the low bits of a cover, and out of them. */
#ifndef DSGUARD_SEALED_SPREAD_H
#define DSGUARD_SEALED_SPREAD_H

#include "core/bits.h"
#include "core/kernels.h"

enum { RUN = 64 }; /* samples that are moved together */

/* The next bits of a payload, zero behind its end. */
static inline uint64_t payload_word(const uint8_t *payload, size_t bit, size_t bits)
{
    if (bit + STREAM_WORD <= bits)
        return stream_word(payload, bit);
    uint8_t last[STREAM_WORD / 8] = {0};
    if (bit < bits)
        memcpy(last, payload + bit / 8, bits / 8 - bit / 8);
    return stream_word(last, bit % 8);
}

/* The next samples as a word, zero behind their end. */
static inline uint64_t sample_word(const uint8_t *samples, size_t left)
{
    if (left >= 8)
        return load_word(samples);
    uint8_t last[8] = {0};
    memcpy(last, samples, left);
    return load_word(last);
}

/* Write a word, or as much of it as there is room for; returns where the next one goes. */
static inline uint8_t *put_word(uint8_t *out, const uint8_t *end, uint64_t word)
{
    if (end - out >= 8) {
        store_word(out, word);
        return out + 8;
    }
    for (; out < end; word >>= 8)
        *out++ = (uint8_t)word;
    return out;
}

/*
 * Each sample to the nearest value of 0..255 whose low bits are 'wanted'; upwards where two are as
 * near.  A mask of 0 leaves its sample as it is.
 */
static inline void move_to_nearest(uint8_t *samples, const uint8_t *wanted, const uint8_t *masks)
{
    for (unsigned i = 0; i < RUN; i++) {
        uint8_t low = (uint8_t)(masks[i] ? masks[i] | 1 : 0);
        int16_t span = (int16_t)(low + 1), up = (wanted[i] - samples[i]) & low;
        int16_t x = (int16_t)(samples[i] + up);
        x = (int16_t)(up > span >> 1 ? x - span : x);
        x = (int16_t)(x < 0 ? x + span : x);
        x = (int16_t)(x > 255 ? x - span : x);
        samples[i] = (uint8_t)x;
    }
}

static void spread(size_t count, const uint8_t *masks, uint8_t *samples, const uint8_t *payload,
                   size_t bytes)
{
    size_t bit = 0, bits = bytes * 8;
    for (size_t start = 0; start < count; start += RUN) {
        size_t n = count - start < RUN ? count - start : RUN;
        uint8_t moved[RUN] = {0}, mask[RUN] = {0}, wanted[RUN];
        memcpy(moved, samples + start, n);
        memcpy(mask, masks + start, n);
        for (unsigned i = 0; i < RUN; i += 8) {
            uint64_t places = load_word(mask + i);
            store_word(wanted + i, DEPOSIT(payload_word(payload, bit, bits), places));
            bit += count_bits(places);
        }
        move_to_nearest(moved, wanted, mask);
        memcpy(samples + start, moved, n);
    }
}

static void gather(size_t count, const uint8_t *masks, const uint8_t *samples, uint8_t *payload,
                   size_t bytes)
{
    const uint8_t *end = payload + bytes;
    uint64_t word = 0; /* 'filled' bits that are not written yet; below 64 */
    unsigned filled = 0;
    for (size_t start = 0; start < count && payload < end; start += 8) {
        uint64_t places = sample_word(masks + start, count - start);
        uint64_t found = COLLECT(sample_word(samples + start, count - start), places);
        word |= found << filled;
        unsigned more = filled + count_bits(places);
        if (more >= 64) {
            payload = put_word(payload, end, word);
            word = found >> 1 >> (63 - filled);
        }
        filled = more % 64;
    }
    while (payload < end) {
        payload = put_word(payload, end, word);
        word = 0;
    }
}

#endif
