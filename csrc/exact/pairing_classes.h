/*
 * pairing_classes.h - profile exact: blocks paired by class; which block of a tile goes where.
 *
 * The quarter of the blocks with the largest variances, of clean image and target alike, are class
 * 1, the others class 0.  The r-th source block of a class goes to the r-th place of that class,
 * both in raster order.  In a tile of four blocks, one of them of class 1:
 *
 *     source blocks  a b c d        their classes         0 1 0 0
 *     result         a c d b        classes of the places 0 0 0 1
 *
 * Neither a shift nor a turn changes the variance of a block.  So a decoder finds the classes of
 * the places by the blocks that lie there now; only those of the source blocks are coded.
 */
#ifndef DSGUARD_PAIRING_CLASSES_H
#define DSGUARD_PAIRING_CLASSES_H

#include "exact/blocks.h"

/* Of the blocks of one colour.  The key is n^2 times the variance: at most 64^2 * 127.5^2, so that
 * the sum over four colours is below 2^28. */
struct statistics {
    uint32_t key[TILE_BLOCKS]; /* n * sum of squares - square of the sum */
    int32_t sum[TILE_BLOCKS];
    int16_t low[TILE_BLOCKS], high[TILE_BLOCKS];
};

static void measure(colour_samples samples, uint32_t n, struct statistics *s)
{
    uint32_t squares[TILE_BLOCKS] = {0};
    uint16_t sum[TILE_BLOCKS] = {0};
    uint8_t low[TILE_BLOCKS], high[TILE_BLOCKS] = {0};
    memset(low, 255, sizeof low);
    for (uint32_t k = 0; k < n; k++) {
        for (unsigned i = 0; i < TILE_BLOCKS; i++) {
            uint8_t v = samples[k][i];
            sum[i] = (uint16_t)(sum[i] + v);
            squares[i] += (uint16_t)(v * v);
            low[i] = v < low[i] ? v : low[i];
            high[i] = v > high[i] ? v : high[i];
        }
    }
    for (unsigned i = 0; i < TILE_BLOCKS; i++) {
        s->key[i] = n * squares[i] - (uint32_t)sum[i] * sum[i];
        s->sum[i] = sum[i], s->low[i] = low[i], s->high[i] = high[i];
    }
}

/* rank[i] = how many of the n blocks come before block i by key, equal keys in raster order. */
static void rank_keys(const uint32_t *key, uint32_t n, uint8_t *rank)
{
    for (uint32_t i = 0; i < n; i++) {
        uint32_t before = 0;
        for (uint32_t j = 0; j < n; j++)
            before += (key[j] < key[i]) | ((key[j] == key[i]) & (j < i));
        rank[i] = (uint8_t)before;
    }
}

/*
 * class_of[i] = 1 for the quarter of blocks with the largest keys, and 0 elsewhere; returns how
 * many.  Blocks that equal the least of the quarter are of class 1 too: a decoder has the keys in
 * another order, and must come to the same classes.
 */
static uint32_t classify(const uint32_t *key, uint32_t n, uint8_t *class_of)
{
    uint8_t rank[TILE_BLOCKS];
    uint32_t least = UINT32_MAX, count = 0;
    rank_keys(key, n, rank);
    for (uint32_t i = 0; i < n; i++)
        least = rank[i] == n - n / 4 ? key[i] : least;
    for (uint32_t i = 0; i < n; i++)
        count += class_of[i] = n >= 4 && key[i] >= least;
    return count;
}

/* The pairing of a tile, the same for all colours. */
struct pairs {
    uint8_t class_of[TILE_BLOCKS]; /* by source block */
    uint8_t source[TILE_BLOCKS];   /* by place, the source block that goes there */
    uint8_t place[TILE_BLOCKS];    /* by source block, the inverse */
};

/* Send source blocks to the places of their classes, of which there are as many of each class. */
static void pair_classes(const uint8_t *class_of_place, uint32_t n, struct pairs *pairs)
{
    uint32_t source[2] = {0, 0};
    for (uint32_t place = 0; place < n; place++) {
        unsigned c = class_of_place[place];
        while (source[c] < n && pairs->class_of[source[c]] != c)
            source[c]++;
        pairs->source[place] = (uint8_t)source[c]++;
    }
    for (uint32_t place = 0; place < n; place++)
        pairs->place[pairs->source[place]] = (uint8_t)place;
}

/* Pair source blocks with target blocks by the sums of their keys over all colours. */
static void choose_pairs(const uint32_t *key, const uint32_t *target_key, uint32_t n,
                         struct pairs *pairs)
{
    uint8_t class_of_place[TILE_BLOCKS], rank[TILE_BLOCKS];
    uint32_t high = classify(key, n, pairs->class_of);
    rank_keys(target_key, n, rank);
    for (uint32_t i = 0; i < n; i++)
        class_of_place[i] = rank[i] >= n - high;
    pair_classes(class_of_place, n, pairs);
}

/* How many of the blocks left of block i and above it are of class 1. */
static inline unsigned class_context(const uint8_t *class_of, uint32_t i, uint32_t columns)
{
    unsigned left = i % columns ? class_of[i - 1] : 0;
    return left + (i >= columns ? class_of[i - columns] : 0u);
}

#endif
