/*
 * transform.h - the transformation of profile paper and its inverse, for one image.
 *
 * Loops over the TILE_BLOCKS blocks of a tile have no branches and one constant length: compilers
 * vectorise them.  The unit of isa/ that includes this file brings the moves of blocks.
 */
#ifndef DSGUARD_TRANSFORM_H
#define DSGUARD_TRANSFORM_H

#include "paper/sequence.h"

/*
 * order[i] = i-th block in rising order of n * sum of squares - square of the sum, which is n^2
 * times the variance; blocks of equal keys keep raster order.
 *
 * The key does not change when all samples do by the same amount: with 128 subtracted, the squares
 * of two samples fit 16 bits.  It is below 2^24, so the block's number fits below it and
 * makes every key different.  A block's rank is then the number of smaller keys: 64 x 64
 * comparisons without a branch take less time than sorting.
 */
static void rank_blocks(tile_samples samples, uint32_t n, uint8_t *order)
{
    int32_t key[TILE_BLOCKS];
    uint8_t rank[TILE_BLOCKS];
    for (unsigned i = 0; i < TILE_BLOCKS; i++) {
        int16_t sum = 0;
        uint32_t squares = 0;
#pragma GCC unroll 8
        for (unsigned k = 0; k < BLOCK_SAMPLES; k += 2) {
            int16_t a = (int16_t)(samples[k][i] - 128), b = (int16_t)(samples[k + 1][i] - 128);
            sum = (int16_t)(sum + a + b);
            squares += (uint16_t)(a * a + b * b);
        }
        key[i] = (int32_t)(BLOCK_SAMPLES * squares) - (int32_t)sum * sum;
    }
    for (unsigned i = 0; i < TILE_BLOCKS; i++)
        key[i] = i < n ? (int32_t)((uint32_t)key[i] * TILE_BLOCKS + i) : INT32_MAX;
    for (unsigned i = 0; i < TILE_BLOCKS; i++) {
        int32_t smaller = 0;
        for (unsigned j = 0; j < TILE_BLOCKS; j++)
            smaller += key[j] < key[i];
        rank[i] = (uint8_t)smaller;
    }
    for (uint32_t i = 0; i < n; i++)
        order[rank[i]] = (uint8_t)i;
}

/*
 * The mean shift of each place: to the mean of the target block, in steps of 2^planes, rounded to
 * the nearest, halves up, then clamped so that no sample leaves 0..255.
 */
static void choose_shifts(tile_samples source, tile_samples target, unsigned planes, uint8_t *shift)
{
    const int bias = 4096; /* a right shift of a negative number is not portable */
    const unsigned by = planes + 4;
    for (unsigned i = 0; i < TILE_BLOCKS; i++) {
        int16_t difference = (int16_t)(bias + (BLOCK_SAMPLES / 2 << planes));
        uint8_t low = 255, high = 0;
#pragma GCC unroll 16
        for (unsigned k = 0; k < BLOCK_SAMPLES; k++) {
            uint8_t v = source[k][i];
            difference = (int16_t)(difference + target[k][i] - v);
            low = v < low ? v : low;
            high = v > high ? v : high;
        }
        int16_t steps = (int16_t)((difference >> by) - (bias >> by));
        int16_t least = (int16_t)-(low >> planes), most = (int16_t)((255 - high) >> planes);
        steps = steps < least ? least : steps;
        steps = steps > most ? most : steps;
        shift[i] = (uint8_t)(steps & (255 >> planes));
    }
}

/*
 * The rotation of each block that comes nearest to its target block; among equal ones the smallest
 * turn wins.
 *
 * The squared error falls as the correlation rises, whatever the shift.  A number subtracted
 * from all samples of a block changes all four correlations alike.  With 128 subtracted on one
 * side and 127 on the other, the sum of two products lies in -32768..32512 and fits 16 bits.
 */
static void choose_turns(tile_samples source, tile_samples target, uint8_t *turn)
{
    int32_t correlation[4][TILE_BLOCKS];
    for (unsigned r = 0; r < 4; r++) {
        const uint8_t *from = rotation[r];
        for (unsigned i = 0; i < TILE_BLOCKS; i++) {
            int32_t sum = 0;
#pragma GCC unroll 8
            for (unsigned k = 0; k < BLOCK_SAMPLES; k += 2) {
                int16_t a = (int16_t)(source[from[k]][i] - 128);
                int16_t b = (int16_t)(source[from[k + 1]][i] - 128);
                int16_t c = (int16_t)(target[k][i] - 127), d = (int16_t)(target[k + 1][i] - 127);
                sum += (int16_t)(a * c + b * d);
            }
            correlation[r][i] = sum;
        }
    }
    for (unsigned i = 0; i < TILE_BLOCKS; i++) {
        int32_t best = correlation[0][i];
        uint8_t chosen = 0;
        for (unsigned r = 1; r < 4; r++) {
            chosen = correlation[r][i] > best ? (uint8_t)r : chosen;
            best = correlation[r][i] > best ? correlation[r][i] : best;
        }
        turn[i] = chosen;
    }
}

/* Transform the blocks of one channel in place and say how. */
static void transform_blocks(block_samples clean, block_samples target, uint32_t n, unsigned planes,
                             struct fields *f)
{
    block_samples paired = {{0}};
    tile_samples source, wanted;
    uint8_t from_order[TILE_BLOCKS], to_order[TILE_BLOCKS];

    by_samples(clean, source);
    by_samples(target, wanted);
    rank_blocks(source, n, from_order);
    rank_blocks(wanted, n, to_order);
    for (uint32_t i = 0; i < n; i++)
        f->pairing[to_order[i]] = from_order[i];
    for (uint32_t i = 0; i < n; i++)
        memcpy(paired[i], clean[f->pairing[i]], BLOCK_SAMPLES);

    by_samples(paired, source);
    choose_shifts(source, wanted, planes, f->shift);
    choose_turns(source, wanted, f->turn);
    for (uint32_t i = 0; i < n; i++)
        turn_block(paired[i], f->turn[i], (uint8_t)(f->shift[i] << planes), clean[i]);
}

/* Undo it: the transformed blocks of one channel back to their places. */
static void invert_blocks(block_samples blocks, uint32_t n, unsigned planes, const struct fields *f,
                          block_samples clean)
{
    for (uint32_t i = 0; i < n; i++)
        turn_block(blocks[i], (4u - f->turn[i]) & 3, (uint8_t)(0 - (f->shift[i] << planes)),
                   clean[f->pairing[i]]);
}

static void transform_tile(const struct dsg_geometry *g, const struct tile *t, const uint8_t *clean,
                           const uint8_t *target, uint8_t *temporary, uint8_t *sequence, size_t *at)
{
    block_samples from[4], to[4];
    for (uint32_t c = 0; c < g->colours && t->blocks < TILE_BLOCKS; c++) {
        memset(from[c], 0, sizeof from[c]);
        memset(to[c], 0, sizeof to[c]);
    }
    read_tile(g, t, clean, from);
    read_tile(g, t, target, to);
    for (uint32_t c = 0; c < g->colours; c++) {
        struct fields f = {{0}, {0}, {0}};
        struct packed p;
        transform_blocks(from[c], to[c], t->blocks, g->planes, &f);
        pack_tile(&f, t->blocks, g->planes, &p);
        join_stream(sequence, at[c], &p);
        at[c] += p.bits;
    }
    write_tile(g, t, from, temporary);
}

static int invert_tile(const struct dsg_geometry *g, const struct tile *t, const uint8_t *temporary,
                       const uint8_t *sequence, uint8_t *clean, size_t *at)
{
    block_samples blocks[4], back[4];
    read_tile(g, t, temporary, blocks);
    for (uint32_t c = 0; c < g->channels; c++) {
        struct fields f;
        struct packed p;
        if (c >= g->colours) {
            memcpy(back[c], blocks[c], sizeof back[c]);
            continue;
        }
        part_stream(sequence, at[c], (unsigned)dsg_tile_bits(t->blocks, g->planes), &p);
        if (!unpack_tile(&p, t->blocks, g->planes, &f))
            return 0;
        invert_blocks(blocks[c], t->blocks, g->planes, &f, back[c]);
        at[c] += p.bits;
    }
    write_tile(g, t, back, clean);
    return 1;
}

static void transform(const struct dsg_geometry *g, const uint8_t *clean, const uint8_t *target,
                      uint8_t *temporary, uint8_t *sequence)
{
    uint32_t down = blocks_down(g), across = blocks_across(g);
    size_t at[4];
    memset(sequence, 0, dsg_sequence_starts(g, at));
    dsg_copy_margin(g, clean, temporary);
    for (uint32_t n = 0; n < tiles_along(down) * tiles_along(across); n++) {
        struct tile t = tile_at(down, across, n);
        transform_tile(g, &t, clean, target, temporary, sequence, at);
    }
}

static int invert(const struct dsg_geometry *g, const uint8_t *temporary, const uint8_t *sequence,
                  uint8_t *clean)
{
    uint32_t down = blocks_down(g), across = blocks_across(g);
    size_t at[4];
    dsg_sequence_starts(g, at);
    dsg_copy_margin(g, temporary, clean);
    for (uint32_t n = 0; n < tiles_along(down) * tiles_along(across); n++) {
        struct tile t = tile_at(down, across, n);
        if (!invert_tile(g, &t, temporary, sequence, clean, at))
            return 0;
    }
    return 1;
}

#endif
