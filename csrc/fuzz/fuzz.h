/*
 * fuzz.h - what the fuzz targets share: choices taken from the input, and images made of it.
 *
 * Shapes and parameters are the first bytes of an input.  Shapes are small, so that a million runs
 * take minutes.  Every buffer is a block of the exact size, whose ends the sanitizer watches.
 */
#ifndef DSGUARD_FUZZ_H
#define DSGUARD_FUZZ_H

#include "dsguard.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* End the process where a promise of the core is broken: the driver keeps the input. */
#define MUST(condition)                                                                            \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: broken: %s\n", __FILE__, __LINE__, #condition);                \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

static const char *const isas[] = {"scalar", "avx2", "avx512", "neon"};
enum { ISAS = sizeof isas / sizeof *isas };

/* Use instruction set n, which is the first or the one that a choice names beside it: all of them
 * in each run would take twice as long. Returns 0 where it is neither, or not on this CPU. */
static inline int use_isa(size_t n, unsigned choice)
{
    return (n == 0 || n == 1 + choice % (ISAS - 1)) && dsg_set_isa(isas[n]) == DSG_OK;
}

struct input {
    const uint8_t *bytes;
    size_t left;
};

/* The next byte; 0 behind the end. */
static inline uint8_t next_byte(struct input *in)
{
    if (in->left == 0)
        return 0;
    in->left--;
    return *in->bytes++;
}

static inline uint32_t next_two(struct input *in)
{
    uint32_t low = next_byte(in);
    return low | (uint32_t)next_byte(in) << 8;
}

static inline uint8_t *block_of(size_t size)
{
    uint8_t *bytes = malloc(size ? size : 1);
    if (bytes == NULL)
        abort();
    return bytes;
}

static inline void free_all(void *const *blocks, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(blocks[i]);
}

/* A block with all that is left of the input. */
static inline uint8_t *rest_of(struct input *in, size_t *size)
{
    uint8_t *bytes = block_of(*size = in->left);
    if (in->left)
        memcpy(bytes, in->bytes, in->left);
    return bytes;
}

enum texture { RAW = 1, EXTREME = 2, RARE = 4 };

/* A block of rows of 'pitch' bytes: slopes with noise, of two values only, mostly flat; or the
 * bytes that are left of the input, again and again. */
static inline uint8_t *texture_of(struct input *in, size_t rows, size_t pitch)
{
    uint8_t *bytes = block_of(rows * pitch);
    unsigned kind = next_byte(in), base = next_byte(in), slopes = next_byte(in);
    unsigned mask = next_byte(in), state = next_two(in);
    for (size_t i = 0; i < rows * pitch; i++) {
        state = state * 1664525u + 1013904223u;
        unsigned noise = state >> 24 & mask;
        if (kind & RARE)
            noise &= state >> 16;
        unsigned slope =
            (unsigned)(i / pitch) * (slopes >> 4) + (unsigned)(i % pitch) * (slopes & 15);
        bytes[i] = (uint8_t)(base + slope / 4 + noise);
        if (kind & EXTREME)
            bytes[i] = bytes[i] & 1 ? 255 : 0;
        if (kind & RAW && in->left)
            bytes[i] = in->bytes[i % in->left];
    }
    return bytes;
}

static inline uint32_t side_of(struct input *in)
{
    uint32_t byte = next_byte(in);
    return DSG_BLOCK + (byte < 240 ? byte % 24 : (byte - 240) * 5);
}

static inline struct dsg_geometry geometry_of(struct input *in)
{
    struct dsg_geometry g = {side_of(in), side_of(in), 0, 0, 1};
    uint32_t byte = next_byte(in);
    g.channels = 1 + byte % 4;
    g.colours = 1 + (byte / 4) % g.channels;
    g.planes = 1 + byte / 16 % DSG_MAX_PLANES;
    return g;
}

static inline uint8_t *image_of(struct input *in, const struct dsg_geometry *g)
{
    return texture_of(in, g->height, (size_t)g->width * g->channels);
}

static inline size_t samples_of(const struct dsg_geometry *g)
{
    return (size_t)g->height * g->width * g->channels;
}

typedef void try_codec(const struct dsg_geometry *g, struct input *in, unsigned choice);

/* Try one of two codecs, as the input says: mostly the exact one, for it has more branches. */
static inline int try_one_of(const uint8_t *data, size_t size, try_codec *exact, try_codec *paper)
{
    struct input in = {data, size};
    struct dsg_geometry g = geometry_of(&in);
    unsigned kind = next_byte(&in);
    (kind % 4 ? exact : paper)(&g, &in, kind / 4);
    return 0;
}

#endif
