/*
 * tile.h - tiles, their pairing and the pairing's code: the parts of mRIT without pixel loops.
 *
 * A tile is held in two layouts.  By blocks (block_samples): the 16 samples of a block lie side by
 * side, so pairing moves a block in one go and a rotation is one shuffle.  By samples
 * (tile_samples): sample k of all blocks lies side by side, so statistics and correlations run
 * over blocks with unit stride.  Both always have TILE_BLOCKS blocks; those that a smaller tile
 * lacks are zero, which is cheaper than loops of variable length.
 */
#ifndef DSGUARD_TILE_H
#define DSGUARD_TILE_H

#include "bits.h"
#include "kernels.h"

struct tile {
    uint32_t row, column, rows, columns; /* in blocks */
    uint32_t blocks;                     /* rows * columns */
};

typedef uint8_t block_samples[TILE_BLOCKS][BLOCK_SAMPLES];
typedef uint8_t tile_samples[BLOCK_SAMPLES][TILE_BLOCKS];

/* What one tile of one channel adds to the Sequence, one value per place. */
struct fields {
    uint8_t pairing[TILE_BLOCKS]; /* the source block at this place */
    uint8_t shift[TILE_BLOCKS];   /* steps of 2^planes, modulo 2^(8 - planes) */
    uint8_t turn[TILE_BLOCKS];    /* times 90 degrees anticlockwise */
};

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
 * A pairing is coded as the swaps that make it from the identity (Fisher-Yates): digit i, for
 * i = 1..n-1, is the place 0..i that place i is swapped with.  Undo them from the last on.
 */
static inline void pairing_to_digits(const uint8_t *pairing, uint32_t n, uint8_t *digit)
{
    uint8_t block[TILE_BLOCKS], place[TILE_BLOCKS];
    for (uint32_t i = 0; i < n; i++) {
        block[i] = pairing[i];
        place[pairing[i]] = (uint8_t)i;
    }
    digit[0] = 0;
    for (uint32_t i = n - 1; i > 0; i--) {
        digit[i] = place[i];
        block[digit[i]] = block[i];
        place[block[i]] = digit[i];
    }
}

/* The inverse; false where a digit is out of range. */
static inline int digits_to_pairing(const uint8_t *digit, uint32_t n, uint8_t *pairing)
{
    unsigned wrong = 0;
    for (uint32_t i = 0; i < n; i++)
        wrong |= digit[i] > i;
    if (wrong)
        return 0;
    pairing[0] = 0;
    for (uint32_t i = 1; i < n; i++) {
        pairing[i] = pairing[digit[i]];
        pairing[digit[i]] = (uint8_t)i;
    }
    return 1;
}

/* Digits 2^(w-1)..2^w - 1 take w bits each; digit 0 takes none. */
static inline void put_digits(struct packed *p, const uint8_t *digit, uint32_t n)
{
    for (uint32_t first = 1, width = 1; first < n; first *= 2, width++) {
        uint32_t count = n - first < first ? n - first : first;
        uint8_t few[8] = {0};
        if (first < 8)
            memcpy(few, digit + first, count);
        put_fields(p, first < 8 ? few : digit + first, count, width);
    }
}

static inline void take_digits(struct packed *p, uint8_t *digit, uint32_t n)
{
    uint8_t few[8];
    digit[0] = 0;
    for (uint32_t first = 1, width = 1; first < n; first *= 2, width++) {
        uint32_t count = n - first < first ? n - first : first;
        take_fields(p, first < 8 ? few : digit + first, count, width);
        if (first < 8)
            memcpy(digit + first, few, count);
    }
}

/* The Sequence of one tile: digits, shifts, turns.  What 'f' has beyond n places is 0. */
static inline void pack_tile(const struct fields *f, uint32_t n, unsigned planes, struct packed *p)
{
    uint8_t digit[TILE_BLOCKS] = {0};
    memset(p, 0, sizeof *p);
    pairing_to_digits(f->pairing, n, digit);
    put_digits(p, digit, n);
    put_fields(p, f->shift, n, 8 - planes);
    put_fields(p, f->turn, n, 2);
}

/* The inverse; false where the pairing is malformed. */
static inline int unpack_tile(struct packed *p, uint32_t n, unsigned planes, struct fields *f)
{
    uint8_t digit[TILE_BLOCKS];
    take_digits(p, digit, n);
    take_fields(p, f->shift, n, 8 - planes);
    take_fields(p, f->turn, n, 2);
    return digits_to_pairing(digit, n, f->pairing);
}

#endif
