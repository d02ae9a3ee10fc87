/*
 * blocks_plain.h - the moves of blocks, and of bits, in plain C, for any machine.
 *
 * A unit of isa/ includes this file or blocks_simd.h, which has the same functions.
 */
#include "core/bits.h"
#include "core/tile.h"

#define DEPOSIT(word, mask) deposit_bits(word, mask)
#define COLLECT(word, mask) collect_bits(word, mask)

/* Read the tile's blocks of every channel out of an image. */
static void read_tile(const struct dsg_geometry *g, const struct tile *t, const uint8_t *image,
                      block_samples *blocks)
{
    size_t pitch = (size_t)g->width * g->channels;
    for (uint32_t y = 0; y < t->rows * DSG_BLOCK; y++) {
        const uint8_t *next =
            image + (t->row * DSG_BLOCK + y) * pitch + (size_t)t->column * DSG_BLOCK * g->channels;
        for (uint32_t i = y / DSG_BLOCK * t->columns, last = i + t->columns; i < last; i++)
            for (unsigned k = y % DSG_BLOCK * DSG_BLOCK, end = k + DSG_BLOCK; k < end; k++)
                for (uint32_t c = 0; c < g->channels; c++)
                    blocks[c][i][k] = *next++;
    }
}

/* Write them into an image. */
static void write_tile(const struct dsg_geometry *g, const struct tile *t, block_samples *blocks,
                       uint8_t *image)
{
    size_t pitch = (size_t)g->width * g->channels;
    for (uint32_t y = 0; y < t->rows * DSG_BLOCK; y++) {
        uint8_t *next =
            image + (t->row * DSG_BLOCK + y) * pitch + (size_t)t->column * DSG_BLOCK * g->channels;
        for (uint32_t i = y / DSG_BLOCK * t->columns, last = i + t->columns; i < last; i++)
            for (unsigned k = y % DSG_BLOCK * DSG_BLOCK, end = k + DSG_BLOCK; k < end; k++)
                for (uint32_t c = 0; c < g->channels; c++)
                    *next++ = blocks[c][i][k];
    }
}

/* From one layout to the other, and back. */
static void by_samples(block_samples blocks, tile_samples samples)
{
    for (unsigned k = 0; k < BLOCK_SAMPLES; k++)
        for (unsigned i = 0; i < TILE_BLOCKS; i++)
            samples[k][i] = blocks[i][k];
}

static void by_blocks(tile_samples samples, block_samples blocks)
{
    for (unsigned k = 0; k < BLOCK_SAMPLES; k++)
        for (unsigned i = 0; i < TILE_BLOCKS; i++)
            blocks[i][k] = samples[k][i];
}

/* 'to' becomes 'from' with 'add' added to every sample modulo 256, turned; they may not overlap. */
static inline void turn_block(const uint8_t *from, unsigned turn, uint8_t add, uint8_t *to)
{
    for (unsigned k = 0; k < BLOCK_SAMPLES; k++)
        to[k] = (uint8_t)(from[rotation[turn][k]] + add);
}
