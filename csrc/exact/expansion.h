/*
 * expansion.h - profile exact, hiding: errors of predictions, and how many of them are expanded.
 *
 * An error of size s below its *limit* a is expanded: it becomes 2s + one bit of the payload.  A
 * larger one is shifted to s + a, out of the range of the expanded ones.  An error on the *far*
 * side of its prediction, where there is more room, is counted 0, 1, 2 ...; so is one on the *near*
 * side, whose size 0 lies next to the prediction.
 */
#ifndef DSGUARD_EXPANSION_H
#define DSGUARD_EXPANSION_H

#include "exact/predict.h"

enum { HIDING_THRESHOLDS = 16 };

/* How many errors a threshold expands on the far side and on the near side. */
static const uint8_t hiding_far[HIDING_THRESHOLDS] = {0, 1, 1, 2,  2,  3,  3,  4,
                                                      5, 6, 8, 10, 13, 18, 26, 40};
static const uint8_t hiding_near[HIDING_THRESHOLDS] = {0, 0, 1, 1,  2,  2,  3,  4,
                                                       5, 6, 8, 10, 13, 18, 26, 40};

/* A sample is in the last bucket b whose limit its context is above; bucket 0 has none. */
static const int16_t bucket_limit[DSG_BUCKETS] = {-1, 16, 26, 36, 50, 70, 100, 150};

/*
 * The most errors that are expanded on the near side of a prediction p < 128; call it a.
 *
 * A sample that ends below a is *doubtful*: it was shifted there, or it was left alone because a
 * shift would have taken it below 0.  An expanded sample ends at p - 2a or above, so 3a <= p keeps
 * it out of that range.  The 16 make only errors of a + 16 or more end in doubt.  That is worth
 * some capacity, because a doubtful sample takes its whole block out of use.
 *
 * 171 / 512 is a third for all numbers below 256 that are rounded down.
 */
static inline int16_t near_room(int16_t p)
{
    return (int16_t)(p < 16 ? 0 : (p - 16) * 171 >> 9);
}

/* Samples k of a tile, mirrored where the prediction is 128 or above: the far side is then always
 * above, the near side below. */
struct view {
    int16_t x[TILE_BLOCKS], p[TILE_BLOCKS];          /* sample and prediction, mirrored */
    int16_t size[TILE_BLOCKS];                       /* of the error, from 0 up on either side */
    int16_t mirrored[TILE_BLOCKS], far[TILE_BLOCKS]; /* 0 or 1 */
};

static inline void look(const struct predictor *s, const uint8_t *samples, struct view *view)
{
    for (unsigned i = 0; i < TILE_BLOCKS; i++) {
        int16_t p = s->prediction[i], x = samples[i], mirrored = p >= 128;
        p = mirrored ? (int16_t)(255 - p) : p;
        x = mirrored ? (int16_t)(255 - x) : x;
        int16_t e = (int16_t)(x - p), far = e >= 0;
        view->x[i] = x, view->p[i] = p;
        view->size[i] = far ? e : (int16_t)~e;
        view->far[i] = far;
        view->mirrored[i] = mirrored;
    }
}

/* The limit of each sample, by its bucket and side; 0 where it is not used. */
static inline void limits(const struct predictor *s, const struct view *view,
                          const uint8_t *threshold, const uint8_t *used, int16_t *limit)
{
    int16_t above[DSG_BUCKETS], below[DSG_BUCKETS], more_above[DSG_BUCKETS],
        more_below[DSG_BUCKETS];
    int16_t far[TILE_BLOCKS], near[TILE_BLOCKS];
    for (unsigned b = 0; b < DSG_BUCKETS; b++)
        above[b] = hiding_far[threshold[b]], below[b] = hiding_near[threshold[b]];
    for (unsigned b = 1; b < DSG_BUCKETS; b++) {
        more_above[b] = (int16_t)(above[b] - above[b - 1]);
        more_below[b] = (int16_t)(below[b] - below[b - 1]);
    }
    for (unsigned i = 0; i < TILE_BLOCKS; i++) { /* a look-up, as sums of steps */
        int16_t a = above[0], c = below[0];
        for (unsigned b = 1; b < DSG_BUCKETS; b++) {
            int16_t reached = (int16_t)-(s->context[i] > bucket_limit[b]);
            a = (int16_t)(a + (reached & more_above[b]));
            c = (int16_t)(c + (reached & more_below[b]));
        }
        far[i] = a, near[i] = c;
    }
    for (unsigned i = 0; i < TILE_BLOCKS; i++) {
        int16_t room = near_room(view->p[i]);
        near[i] = near[i] < room ? near[i] : room;
    }
    for (unsigned i = 0; i < TILE_BLOCKS; i++) /* apart: gcc 12 fails on both in one loop */
        limit[i] = (int16_t)((view->far[i] ? far[i] : near[i]) & -used[i]);
}

/* A bit per block, from a byte of 0 or 1. */
static inline uint64_t mask_of(const uint8_t *flags)
{
    uint64_t mask = 0;
    for (unsigned j = 0; j < TILE_BLOCKS / 8; j++)
        mask |= squeeze(load_word(flags + 8 * j), 1) << 8 * j;
    return mask;
}

/* A mask of the blocks that a tile has. */
static inline uint64_t mask_of_blocks(uint32_t blocks)
{
    return blocks < 64 ? (UINT64_C(1) << blocks) - 1 : UINT64_MAX;
}

#endif
