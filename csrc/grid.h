/*
 * grid.h - blocks of any side, for profile exact: where they lie, and a tile of them by samples.
 */
#ifndef DSGUARD_GRID_H
#define DSGUARD_GRID_H

#include "kernels.h"

#include <string.h>

enum { LARGEST_BLOCK = 8, LARGEST_SAMPLES = LARGEST_BLOCK * LARGEST_BLOCK };

/* An image seen as blocks of one side. */
struct grid {
    const struct dsg_geometry *g;
    uint32_t block, samples; /* side of a block, and its square */
    uint32_t down, across;   /* blocks */
};

/* Up to TILE_BLOCKS blocks; 'first' is the offset of the first sample in the image. */
struct patch {
    uint32_t row, column, rows, columns, blocks; /* in blocks, as struct tile */
    size_t first;
};

/* samples[k][i]: sample k (raster order) of block i; blocks that a smaller patch lacks are 0. */
typedef uint8_t patch_samples[LARGEST_SAMPLES][TILE_BLOCKS];

static inline uint32_t mode_block(unsigned mode)
{
    return 2u << (mode & 3);
}

static inline unsigned block_mode(uint32_t block)
{
    return block == 2 ? 0 : block == 4 ? 1 : 2;
}

static inline struct grid grid_of(const struct dsg_geometry *g, uint32_t block)
{
    struct grid grid = {g, block, block * block, g->height / block, g->width / block};
    return grid;
}

static inline struct patch patch_at(const struct grid *grid, uint32_t row, uint32_t column)
{
    uint32_t rows = grid->down - row, columns = grid->across - column;
    struct patch p = {
        row, column, rows < DSG_TILE ? rows : DSG_TILE, columns < DSG_TILE ? columns : DSG_TILE,
        0,   0};
    p.blocks = p.rows * p.columns;
    p.first = ((size_t)row * grid->g->width + column) * grid->block * grid->g->channels;
    return p;
}

/* The order of the colours: green first, because it predicts the others. */
static inline uint32_t colour_at(const struct dsg_geometry *g, uint32_t turn)
{
    static const uint8_t rgb[3] = {1, 0, 2};
    return g->colours == 3 ? rgb[turn] : turn;
}

#endif
