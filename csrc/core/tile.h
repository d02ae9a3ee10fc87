/*
 * tile.h - tiles of up to 8x8 blocks, and the layouts that they are held in.
 *
 * Blocks are paired and coded tile by tile.  A tile of 4x4 blocks has two layouts.  By blocks
 * (block_samples), the 16 samples of a block lie side by side: pairing moves a block in one go,
 * and a rotation is one shuffle.  By samples (tile_samples), sample k of all blocks lies side by
 * side: statistics and correlations run over blocks with unit stride.  Both always have
 * TILE_BLOCKS blocks.  Those that a smaller tile lacks are zero, which is cheaper than loops of
 * variable length.
 */
#ifndef DSGUARD_TILE_H
#define DSGUARD_TILE_H

#include "core/kernels.h"

struct tile {
    uint32_t row, column, rows, columns; /* in blocks */
    uint32_t blocks;                     /* rows * columns */
};

typedef uint8_t block_samples[TILE_BLOCKS][BLOCK_SAMPLES];
typedef uint8_t tile_samples[BLOCK_SAMPLES][TILE_BLOCKS];

/* rotation[r][k]: the sample of a block that lands on place k when it is turned r * 90 degrees
 * anticlockwise. */
static const uint8_t rotation[4][BLOCK_SAMPLES] = {
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
    {3, 7, 11, 15, 2, 6, 10, 14, 1, 5, 9, 13, 0, 4, 8, 12},
    {15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0},
    {12, 8, 4, 0, 13, 9, 5, 1, 14, 10, 6, 2, 15, 11, 7, 3},
};

static inline uint32_t tiles_along(uint32_t blocks)
{
    return (blocks + DSG_TILE - 1) / DSG_TILE;
}

/* Tile 'n', in raster order, of an image of 'down' by 'across' blocks; the last ones of a row or
 * column are smaller. */
static inline struct tile tile_at(uint32_t down, uint32_t across, uint32_t n)
{
    uint32_t row = n / tiles_along(across) * DSG_TILE, column = n % tiles_along(across) * DSG_TILE;
    uint32_t rows = down - row, columns = across - column;
    struct tile t = {row, column, rows < DSG_TILE ? rows : DSG_TILE,
                     columns < DSG_TILE ? columns : DSG_TILE, 0};
    t.blocks = t.rows * t.columns;
    return t;
}

#endif
