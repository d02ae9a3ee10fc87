/* transform.h - profile exact: the transformation of one image with a compact Sequence, and back.
 */
#ifndef DSGUARD_EXACT_TRANSFORM_H
#define DSGUARD_EXACT_TRANSFORM_H

#include "exact/moves.h"
#include "exact/pairing_identity.h"

static uint64_t squared_error(const uint8_t *a, const uint8_t *b, size_t n)
{
    uint64_t total = 0;
    while (n > 0) {
        size_t m = n < 65536 ? n : 65536; /* 65536 * 255^2 < 2^32 */
        uint32_t part = 0;
        for (size_t i = 0; i < m; i++)
            part += (uint32_t)((a[i] - b[i]) * (a[i] - b[i]));
        total += part;
        a += m, b += m, n -= m;
    }
    return total;
}

/* Transform an image by one kind of pairing; returns the length of its Sequence.  'coarse' is of
 * identity only: its one size of shift is found first, and is then most often the usual one. */
static uint32_t encode_as(const struct grid *grid, int classes, int coarse, const uint8_t *clean,
                          const uint8_t *target, uint8_t *temporary, uint8_t *sequence, size_t room)
{
    struct encoder e;
    struct models m;
    struct class_state state;
    int usual = 0, coarse_size = 0;
    start_encoder(&e, sequence, room);
    reset_models(&m);
    start_classes(grid, &state);
    if (!classes) {
        if (coarse)
            coarse_size = usual_shift(grid, clean, target, 1, 0);
        usual = usual_shift(grid, clean, target, 0, coarse_size);
        encode_raw(&e, (unsigned)usual, 8);
    }
    for (uint32_t n = 0; n < grid_tiles(grid); n++) {
        struct tile t = grid_tile(grid, n);
        if (classes)
            encode_classes(grid, &t, clean, target, temporary, &e, &m, &state);
        else
            encode_identity(grid, &t, clean, target, temporary, &e, &m, usual, coarse_size);
    }
    return (uint32_t)finish_encoder(&e);
}

enum { NEAR_ENOUGH = 144 /* mean squared error up to which classes are not tried */ };

/* Identity is tried first, because its Sequence is short.  Where the result is far from the target
 * classes are tried, and the nearer of the two is kept.  There is room for one result only, so
 * identity is made once more where it was the nearer one after all. */
static uint32_t encode(const struct dsg_geometry *g, uint32_t block, int coarse,
                       const uint8_t *clean, const uint8_t *target, uint8_t *temporary,
                       uint8_t *sequence, size_t room, uint8_t *mode)
{
    struct grid grid = grid_of(g, block);
    size_t samples = image_samples(g);
    memcpy(temporary, clean, samples);
    *mode = (uint8_t)block_mode(block);
    uint32_t length = encode_as(&grid, 0, coarse, clean, target, temporary, sequence, room);
    uint64_t identity = squared_error(temporary, target, samples);
    if (coarse || identity <= (uint64_t)NEAR_ENOUGH * samples)
        return length;
    length = encode_as(&grid, 1, 0, clean, target, temporary, sequence, room);
    if (squared_error(temporary, target, samples) < identity) {
        *mode |= DSG_MODE_CLASSES;
        return length;
    }
    return encode_as(&grid, 0, 0, clean, target, temporary, sequence, room);
}

/* The inverse; false where the Sequence is malformed.  Samples that no tile writes, those of alpha
 * and margin, are copied. */
static int decode(const struct dsg_geometry *g, const uint8_t *temporary, uint8_t mode,
                  const uint8_t *sequence, size_t length, uint8_t *clean)
{
    struct grid grid = grid_of(g, mode_block(mode));
    struct decoder d;
    struct models m;
    struct class_state state;
    int usual = 0, classes = mode & DSG_MODE_CLASSES;
    start_decoder(&d, sequence, length);
    reset_models(&m);
    start_classes(&grid, &state);
    memcpy(clean, temporary, image_samples(g));
    if (!classes)
        usual = (int)decode_raw(&d, 8);
    for (uint32_t n = 0; n < grid_tiles(&grid); n++) {
        struct tile t = grid_tile(&grid, n);
        if (!classes)
            decode_identity(&grid, &t, temporary, clean, &d, &m, usual);
        else if (!decode_classes(&grid, &t, temporary, clean, &d, &m, &state))
            return 0;
    }
    return 1;
}

#endif
