/*
 * tile.h - tiles, their pairing and the pairing's code: the parts of mRIT without pixel loops.
 *
 * A tile is held sample-major: samples[k][i] is sample k (raster order) of block i.  The pixel
 * loops then run over blocks with unit stride, and a rotation only changes the row they read.
 */
#ifndef DSGUARD_TILE_H
#define DSGUARD_TILE_H

#include "bits.h"
#include "kernels.h"

#include <string.h>

struct tile {
    uint32_t row, column, rows, columns; /* in blocks */
    uint32_t blocks;                     /* rows * columns */
};

struct statistics {
    uint32_t key[TILE_BLOCKS]; /* n * sum of squares - square of the sum: n^2 times the variance */
    int32_t sum[TILE_BLOCKS];
    uint8_t low[TILE_BLOCKS], high[TILE_BLOCKS];
};

typedef uint8_t tile_samples[BLOCK_SAMPLES][TILE_BLOCKS];

/* rotation[r][k]: the sample of a block that lands on place k when it is turned r * 90 degrees
 * anticlockwise. */
static const uint8_t rotation[4][BLOCK_SAMPLES] = {
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
    {3, 7, 11, 15, 2, 6, 10, 14, 1, 5, 9, 13, 0, 4, 8, 12},
    {15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0},
    {12, 8, 4, 0, 13, 9, 5, 1, 14, 10, 6, 2, 15, 11, 7, 3},
};

/* The tile whose first block is (row, column); the last ones of a row or column are smaller. */
static inline struct tile tile_at(const struct dsg_geometry *g, uint32_t row, uint32_t column)
{
    uint32_t rows = blocks_down(g) - row, columns = blocks_across(g) - column;
    struct tile t = {row, column, rows < DSG_TILE ? rows : DSG_TILE,
                     columns < DSG_TILE ? columns : DSG_TILE, 0};
    t.blocks = t.rows * t.columns;
    return t;
}

/*
 * order[r] = the block whose key is the r-th smallest; blocks of equal keys keep raster order.
 * Keys are below 2^24: three passes of a byte-wise radix sort, each of them stable.
 */
static inline void rank_blocks(const uint32_t *key, uint32_t n, uint8_t *order)
{
    uint8_t other[TILE_BLOCKS], *from = other, *to = order;
    for (uint32_t i = 0; i < n; i++)
        from[i] = (uint8_t)i;
    for (unsigned shift = 0; shift < 24; shift += 8) {
        uint16_t place[257] = {0};
        for (uint32_t i = 0; i < n; i++)
            place[((key[i] >> shift) & 255) + 1]++;
        for (unsigned b = 0; b < 256; b++)
            place[b + 1] = (uint16_t)(place[b + 1] + place[b]);
        for (uint32_t i = 0; i < n; i++)
            to[place[(key[from[i]] >> shift) & 255]++] = from[i];
        uint8_t *swap = from;
        from = to, to = swap;
    }
}

/* The mean shift of block 'b' of the source at place 'i' of the target, in shift steps of
 * 2^planes: rounded to the nearest, halves up, then clamped so that no sample leaves 0..255. */
static inline int mean_shift(const struct statistics *source, uint32_t b,
                             const struct statistics *target, uint32_t i, unsigned planes)
{
    const int32_t bias = 1 << 20; /* a right shift of a negative number is not portable */
    int32_t difference = target->sum[i] - source->sum[b];
    int32_t half = BLOCK_SAMPLES / 2 << planes;
    int steps = ((difference + half + bias) >> (4 + planes)) - (bias >> (4 + planes));
    int least = -(source->low[b] >> planes), most = (255 - source->high[b]) >> planes;
    return steps < least ? least : steps > most ? most : steps;
}

/*
 * A pairing is coded as the swaps that make it from the identity (Fisher-Yates): digit i, for
 * i = 1..n-1, is the place 0..i that place i is swapped with.  Undo them from the last on.
 */
static inline void put_pairing(struct bit_writer *w, const uint8_t *pairing, uint32_t n)
{
    uint8_t block[TILE_BLOCKS], place[TILE_BLOCKS], digit[TILE_BLOCKS];
    for (uint32_t i = 0; i < n; i++) {
        block[i] = pairing[i];
        place[pairing[i]] = (uint8_t)i;
    }
    for (uint32_t i = n - 1; i > 0; i--) {
        digit[i] = place[i];
        block[digit[i]] = block[i];
        place[block[i]] = digit[i];
    }
    for (uint32_t i = 1; i < n; i++)
        put_bits(w, digit[i], bit_length(i));
}

/* Read a pairing; false where a digit is out of range. */
static inline int get_pairing(struct bit_reader *r, uint8_t *pairing, uint32_t n)
{
    pairing[0] = 0;
    for (uint32_t i = 1; i < n; i++) {
        uint32_t digit = get_bits(r, bit_length(i));
        if (digit > i)
            return 0;
        pairing[i] = (uint8_t)i;
        uint8_t swap = pairing[digit];
        pairing[digit] = pairing[i], pairing[i] = swap;
    }
    return 1;
}

#endif
