/* kernels.h - shared by the files of the core; not installed, not seen by Python. */
#ifndef DSGUARD_KERNELS_H
#define DSGUARD_KERNELS_H

#include "dsguard.h"

#include <string.h>

/* The instruction sets that this compiler can build beside plain C.  MSVC has no targets for parts
 * of a program, and atomics, which keep the choice, on request alone: it builds plain C. */
#if defined(__STDC_NO_ATOMICS__)
#elif defined(__x86_64__) && defined(__GNUC__)
#define DSG_X86_64
#elif defined(__aarch64__) && defined(__GNUC__) && !defined(__AARCH64EB__)
#define DSG_AARCH64
#endif

/* A function that becomes a part of each caller, however large it is. */
#ifdef __GNUC__
#define INLINED static inline __attribute__((always_inline))
#else
#define INLINED static inline
#endif

enum {
    BLOCK_SAMPLES = DSG_BLOCK * DSG_BLOCK,
    TILE_BLOCKS = DSG_TILE * DSG_TILE /* block indices within a tile fit a byte */
};

/* One function per kernel, for one image.  Each file of isa/ makes its own table. */
struct kernels {
    const char *name;
    void (*transform)(const struct dsg_geometry *g, const uint8_t *clean, const uint8_t *target,
                      uint8_t *temporary, uint8_t *sequence);
    /* false where the Sequence is malformed */
    int (*invert)(const struct dsg_geometry *g, const uint8_t *temporary, const uint8_t *sequence,
                  uint8_t *clean);
    void (*embed)(const struct dsg_geometry *g, uint8_t *image, const uint8_t *payload,
                  size_t bytes);
    void (*extract)(const struct dsg_geometry *g, const uint8_t *image, uint8_t *payload,
                    size_t bytes);
    /* the length of the Sequence, in bytes */
    uint32_t (*encode)(const struct dsg_geometry *g, uint32_t block, int coarse,
                       const uint8_t *clean, const uint8_t *target, uint8_t *temporary,
                       uint8_t *sequence, size_t room, uint8_t *mode);
    /* false where the Sequence is malformed */
    int (*decode)(const struct dsg_geometry *g, const uint8_t *temporary, uint8_t mode,
                  const uint8_t *sequence, size_t length, uint8_t *clean);
    /* false where the image cannot hold the payload */
    int (*hide)(const struct dsg_geometry *g, const uint8_t *temporary, const uint8_t *payload,
                size_t bytes, uint8_t *mode, uint8_t *threshold, uint8_t *image);
    /* false where the image holds no payload of this length */
    int (*reveal)(const struct dsg_geometry *g, const uint8_t *image, uint8_t mode,
                  const uint8_t *threshold, uint8_t *payload, size_t bytes, uint8_t *temporary,
                  uint64_t *scratch);
    /* the length of the stream, in bytes, at most 'room' */
    size_t (*compress)(uint32_t height, uint32_t width, uint32_t channels, const uint8_t *image,
                       uint8_t *stream, size_t room, uint64_t *scratch, uint32_t *steps);
    /* one image, or two at once; malformed[i] becomes 1 where stream i is */
    void (*expand)(uint32_t height, uint32_t width, uint32_t channels, int count,
                   const uint8_t *const *streams, const size_t *lengths, uint8_t *const *images,
                   uint64_t *scratch, uint8_t *malformed);
    void (*spread)(size_t count, const uint8_t *masks, uint8_t *samples, const uint8_t *payload,
                   size_t bytes);
    void (*gather)(size_t count, const uint8_t *masks, const uint8_t *samples, uint8_t *payload,
                   size_t bytes);
};

extern const struct kernels dsg_scalar, dsg_avx2, dsg_avx512, dsg_neon;

/* The table in use: chosen at the first call, or by dsg_set_isa(). */
const struct kernels *dsg_kernels(void);

static inline uint32_t blocks_down(const struct dsg_geometry *g)
{
    return g->height / DSG_BLOCK;
}

static inline uint32_t blocks_across(const struct dsg_geometry *g)
{
    return g->width / DSG_BLOCK;
}

static inline size_t image_samples(const struct dsg_geometry *g)
{
    return (size_t)g->height * g->width * g->channels;
}

/* How many samples of an image can carry payload in each of its planes. */
static inline size_t embedding_samples(const struct dsg_geometry *g)
{
    return (size_t)blocks_down(g) * blocks_across(g) * BLOCK_SAMPLES * g->colours;
}

/* Bits of the Sequence of one tile of 'blocks' blocks in one channel (geometry.c). */
size_t dsg_tile_bits(uint32_t blocks, uint32_t planes);

/* at[c] = the first bit of colour c in the Sequence; returns the length of the Sequence in bytes.
 */
size_t dsg_sequence_starts(const struct dsg_geometry *g, size_t *at);

/* Copy the samples outside the grid of whole blocks. */
void dsg_copy_margin(const struct dsg_geometry *g, const uint8_t *from, uint8_t *to);

#endif
