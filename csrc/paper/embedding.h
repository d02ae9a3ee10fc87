/* embedding.h - payload bits into the low bit planes of one image, and out of them. */
#ifndef DSGUARD_EMBEDDING_H
#define DSGUARD_EMBEDDING_H

#include "paper/layout.h"

/* Payload bits 'bit'.. into 'n' neighbouring samples, eight at a time. */
static void embed_run(uint8_t *restrict samples, size_t n, const uint8_t *restrict payload,
                      size_t bit, unsigned plane)
{
    const uint64_t ones = lane_mask(8, 1) << plane;
    size_t i = 0;
    for (; i < n && (bit + i) % 8 != 0; i++)
        embed_bit(samples + i, payload, bit + i, plane);
    uint8_t *first = samples + i;
    const uint8_t *byte = payload + (bit + i) / 8;
    size_t bytes = (n - i) / 8;
    for (size_t b = 0; b < bytes; b++)
        store_word(first + 8 * b, (load_word(first + 8 * b) & ~ones) | stretch(byte[b], 1)
                                                                           << plane);
    for (i += 8 * bytes; i < n; i++)
        embed_bit(samples + i, payload, bit + i, plane);
}

/* The inverse: adds bits to a payload that is zero there. */
static void extract_run(const uint8_t *restrict samples, size_t n, uint8_t *restrict payload,
                        size_t bit, unsigned plane)
{
    size_t i = 0;
    for (; i < n && (bit + i) % 8 != 0; i++)
        extract_bit(samples[i], payload, bit + i, plane);
    const uint8_t *first = samples + i;
    uint8_t *byte = payload + (bit + i) / 8;
    size_t bytes = (n - i) / 8;
    for (size_t b = 0; b < bytes; b++)
        byte[b] = (uint8_t)squeeze(load_word(first + 8 * b) >> plane & lane_mask(8, 1), 1);
    for (i += 8 * bytes; i < n; i++)
        extract_bit(samples[i], payload, bit + i, plane);
}

static void embed(const struct dsg_geometry *g, uint8_t *image, const uint8_t *payload,
                  size_t bytes)
{
    struct layout l = lay_out(g);
    size_t bit = 0, bits = bytes * 8;
    for (size_t run = 0; bit < bits; run++) {
        size_t n = bits - bit < l.samples ? bits - bit : l.samples;
        embed_run(image + run_start(&l, run), n, payload, bit, run_plane(&l, run));
        bit += n;
    }
}

static void extract(const struct dsg_geometry *g, const uint8_t *image, uint8_t *payload,
                    size_t bytes)
{
    struct layout l = lay_out(g);
    size_t bit = 0, bits = bytes * 8;
    memset(payload, 0, bytes);
    for (size_t run = 0; bit < bits; run++) {
        size_t n = bits - bit < l.samples ? bits - bit : l.samples;
        extract_run(image + run_start(&l, run), n, payload, bit, run_plane(&l, run));
        bit += n;
    }
}

#endif
