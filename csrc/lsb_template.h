/*
 * lsb_template.h - payload bits into the low bit planes of one image, and out of them.
 *
 * Included once per instruction set; the includer defines ISA, TARGET and NAME.
 */
#include "layout.h"

/* Payload bits 'bit'.. into 'n' neighbouring samples. */
static TARGET void NAME(embed_run)(uint8_t *samples, size_t n, const uint8_t *payload, size_t bit,
                                   unsigned plane)
{
    size_t i = 0;
    for (; i < n && (bit + i) % 8 != 0; i++)
        embed_bit(samples + i, payload, bit + i, plane);
    const uint8_t *byte = payload + (bit + i) / 8;
    uint8_t keep = (uint8_t)~(1u << plane);
    for (; i + 8 <= n; i += 8, byte++)
        for (unsigned j = 0; j < 8; j++)
            samples[i + j] =
                (uint8_t)((samples[i + j] & keep) | (((unsigned)*byte >> j & 1u) << plane));
    for (; i < n; i++)
        embed_bit(samples + i, payload, bit + i, plane);
}

/* The inverse: adds bits to a payload that is zero there. */
static TARGET void NAME(extract_run)(const uint8_t *samples, size_t n, uint8_t *payload, size_t bit,
                                     unsigned plane)
{
    size_t i = 0;
    for (; i < n && (bit + i) % 8 != 0; i++)
        extract_bit(samples[i], payload, bit + i, plane);
    uint8_t *byte = payload + (bit + i) / 8;
    for (; i + 8 <= n; i += 8, byte++) {
        unsigned value = 0;
        for (unsigned j = 0; j < 8; j++)
            value |= (samples[i + j] >> plane & 1u) << j;
        *byte = (uint8_t)value;
    }
    for (; i < n; i++)
        extract_bit(samples[i], payload, bit + i, plane);
}

static TARGET void NAME(embed)(const struct dsg_geometry *g, uint8_t *image, const uint8_t *payload,
                               size_t bytes)
{
    struct layout l = lay_out(g);
    size_t bit = 0, bits = bytes * 8;
    for (size_t run = 0; bit < bits; run++) {
        size_t n = bits - bit < l.samples ? bits - bit : l.samples;
        NAME(embed_run)(image + run_start(&l, run), n, payload, bit, run_plane(&l, run));
        bit += n;
    }
}

static TARGET void NAME(extract)(const struct dsg_geometry *g, const uint8_t *image,
                                 uint8_t *payload, size_t bytes)
{
    struct layout l = lay_out(g);
    size_t bit = 0, bits = bytes * 8;
    memset(payload, 0, bytes);
    for (size_t run = 0; bit < bits; run++) {
        size_t n = bits - bit < l.samples ? bits - bit : l.samples;
        NAME(extract_run)(image + run_start(&l, run), n, payload, bit, run_plane(&l, run));
        bit += n;
    }
}
