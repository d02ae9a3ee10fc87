/*
 * blocks.h - profile exact: the blocks of a tile out of an image and into it, and their means.
 *
 * The side of a block is 2, 4 or 8.  Samples are held by position only: position k of all blocks of
 * a tile lies side by side.  Blocks that a smaller tile lacks are 0.
 */
#ifndef DSGUARD_BLOCKS_H
#define DSGUARD_BLOCKS_H

#include "exact/grid.h"

/* One colour of a tile.  [k][i]: the sample at position k (raster order) of block i. */
typedef uint8_t colour_samples[LARGEST_SAMPLES][TILE_BLOCKS];

/* With block, channels and columns constants, the inner loops become single moves. */
static inline void read_lines(const struct tile *t, const uint8_t *first, size_t pitch,
                              uint32_t block, uint32_t step, uint32_t columns,
                              colour_samples samples)
{
    for (uint32_t row = 0; row < t->rows; row++)
        for (uint32_t y = 0; y < block; y++, first += pitch)
            for (uint32_t x = 0; x < block; x++)
                for (uint32_t column = 0; column < columns; column++)
                    samples[y * block + x][row * columns + column] =
                        first[(column * block + x) * step];
}

static inline void write_lines(const struct tile *t, uint8_t *first, size_t pitch, uint32_t block,
                               uint32_t step, uint32_t columns, colour_samples samples)
{
    for (uint32_t row = 0; row < t->rows; row++)
        for (uint32_t y = 0; y < block; y++, first += pitch)
            for (uint32_t x = 0; x < block; x++)
                for (uint32_t column = 0; column < columns; column++)
                    first[(column * block + x) * step] =
                        samples[y * block + x][row * columns + column];
}

/* Offset of the first sample of a tile in the image. */
static inline size_t tile_start(const struct grid *grid, const struct tile *t)
{
    return ((size_t)t->row * grid->g->width + t->column) * grid->block * grid->g->channels;
}

/* Read the blocks of every colour. */
static void read_colours(const struct grid *grid, const struct tile *t, const uint8_t *image,
                         colour_samples *samples)
{
    uint32_t block = grid->block, step = grid->g->channels;
    size_t pitch = (size_t)grid->g->width * step;
    if (block == DSG_BLOCK) { /* the moves of profile paper are faster */
        block_samples blocks[4];
        if (t->blocks < TILE_BLOCKS)
            memset(blocks, 0, step * sizeof blocks[0]);
        read_tile(grid->g, t, image, blocks);
        for (uint32_t c = 0; c < grid->g->colours; c++)
            by_samples(blocks[c], samples[c]);
        return;
    }
    for (uint32_t c = 0; c < grid->g->colours; c++) {
        const uint8_t *first = image + tile_start(grid, t) + c;
        if (t->blocks < TILE_BLOCKS)
            memset(samples[c], 0, grid->samples * sizeof samples[c][0]);
        if (step == 3 && block == 2 && t->columns == DSG_TILE)
            read_lines(t, first, pitch, 2, 3, DSG_TILE, samples[c]);
        else if (step == 3)
            read_lines(t, first, pitch, block, 3, t->columns, samples[c]);
        else
            read_lines(t, first, pitch, block, step, t->columns, samples[c]);
    }
}

/* Write them into an image; its other channels stay. */
static void write_colours(const struct grid *grid, const struct tile *t, colour_samples *samples,
                          uint8_t *image)
{
    uint32_t block = grid->block, step = grid->g->channels;
    size_t pitch = (size_t)grid->g->width * step;
    if (block == DSG_BLOCK) {
        block_samples blocks[4];
        if (grid->g->colours < step)
            read_tile(grid->g, t, image, blocks);
        for (uint32_t c = 0; c < grid->g->colours; c++)
            by_blocks(samples[c], blocks[c]);
        write_tile(grid->g, t, blocks, image);
        return;
    }
    for (uint32_t c = 0; c < grid->g->colours; c++) {
        uint8_t *first = image + tile_start(grid, t) + c;
        if (step == 3 && block == 2 && t->columns == DSG_TILE)
            write_lines(t, first, pitch, 2, 3, DSG_TILE, samples[c]);
        else if (step == 3)
            write_lines(t, first, pitch, block, 3, t->columns, samples[c]);
        else
            write_lines(t, first, pitch, block, step, t->columns, samples[c]);
    }
}

/*
 * The difference of two sums over a block as a shift of its mean, in steps of 2^log_step, rounded
 * to the nearest, halves up.
 *
 * The bias makes the number positive, because a right shift of a negative one is not portable.  A
 * sum is below 2^14 (64 samples), and no difference of sums and predictions reaches 2^17.
 */
static inline int mean_steps(const struct grid *grid, int32_t difference, unsigned log_step)
{
    const int32_t bias = 1 << 24;
    unsigned by = 2 * (block_mode(grid->block) + 1) + log_step; /* log2 of samples and of a step */
    return (int)((difference + (1 << by >> 1) + bias) >> by) - (bias >> by);
}

#endif
