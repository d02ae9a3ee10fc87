/* grid.h - profile exact: an image as a grid of blocks of one side. */
#ifndef DSGUARD_GRID_H
#define DSGUARD_GRID_H

#include "core/tile.h"

enum { LARGEST_BLOCK = 8, LARGEST_SAMPLES = LARGEST_BLOCK * LARGEST_BLOCK };

/* An image seen as blocks of one side. */
struct grid {
    const struct dsg_geometry *g;
    uint32_t block, samples; /* side of a block, and its square */
    uint32_t down, across;   /* blocks */
};

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

static inline uint32_t grid_tiles(const struct grid *grid)
{
    return tiles_along(grid->down) * tiles_along(grid->across);
}

static inline struct tile grid_tile(const struct grid *grid, uint32_t n)
{
    return tile_at(grid->down, grid->across, n);
}

/* The n-th colour in coding order: green first, because it predicts the others. */
static inline uint32_t colour_at(const struct dsg_geometry *g, uint32_t n)
{
    static const uint8_t rgb[3] = {1, 0, 2};
    return g->colours == 3 ? rgb[n] : n;
}

#endif
