/*
 * pairing_identity.h - profile exact: every block is paired with the one in its place, and shifted.
 *
 * Where the target is near the image, most shifts have one size, the *usual* one, up or down.  It
 * is coded once, and a shift of this size then costs little more than its sign.
 */
#ifndef DSGUARD_PAIRING_IDENTITY_H
#define DSGUARD_PAIRING_IDENTITY_H

#include "exact/blocks.h"
#include "exact/sequence.h"

/*
 * The shift of each block to the mean of its target.  A shift that does not fit whole becomes 0:
 * parts of the usual shift would cost more bits than they bring nearer to the target.
 *
 * 'coarse_size', if not 0, is the size of every shift that is not 0.
 */
static void identity_shifts(const struct grid *grid, colour_samples clean, colour_samples target,
                            int coarse_size, int16_t *shift)
{
    int32_t difference[TILE_BLOCKS] = {0};
    uint8_t low[TILE_BLOCKS], high[TILE_BLOCKS] = {0};
    memset(low, 255, sizeof low);
    for (uint32_t k = 0; k < grid->samples; k++) {
        for (unsigned i = 0; i < TILE_BLOCKS; i++) {
            uint8_t v = clean[k][i];
            difference[i] += target[k][i] - v;
            low[i] = v < low[i] ? v : low[i];
            high[i] = v > high[i] ? v : high[i];
        }
    }
    for (unsigned i = 0; i < TILE_BLOCKS; i++) {
        int steps = mean_steps(grid, difference[i], 0);
        if (coarse_size > 0)
            steps = steps > 0 ? coarse_size : steps < 0 ? -coarse_size : 0;
        shift[i] = (int16_t)(steps < -low[i] || steps > 255 - high[i] ? 0 : steps);
    }
}

/* The size of shift, from 'least' up, that most blocks of the image have; the smallest of equally
 * frequent ones. */
static int usual_shift(const struct grid *grid, const uint8_t *clean, const uint8_t *target,
                       int least, int coarse_size)
{
    uint32_t count[256] = {0};
    colour_samples from[4], to[4];
    int16_t shift[TILE_BLOCKS];
    for (uint32_t n = 0; n < grid_tiles(grid); n++) {
        struct tile t = grid_tile(grid, n);
        read_colours(grid, &t, clean, from);
        read_colours(grid, &t, target, to);
        for (uint32_t c = 0; c < grid->g->colours; c++) {
            identity_shifts(grid, from[c], to[c], coarse_size, shift);
            for (uint32_t i = 0; i < t.blocks; i++)
                count[shift[i] < 0 ? -shift[i] : shift[i]]++;
        }
    }
    int usual = least;
    for (int size = least + 1; size < 256; size++)
        usual = count[size] > count[usual] ? size : usual;
    return usual;
}

/* Whether a sample of each block is 0 (1) or 255 (2).  Shifts that do not fit are left out there,
 * so the block's shifts have other frequencies.  A decoder sees the same, in the temporary image.
 */
static void at_edge(colour_samples samples, uint32_t n, uint8_t *edge)
{
    memset(edge, 0, TILE_BLOCKS);
    for (uint32_t k = 0; k < n; k++)
        for (unsigned i = 0; i < TILE_BLOCKS; i++)
            edge[i] = (uint8_t)(edge[i] | (samples[k][i] == 0) | (samples[k][i] == 255) << 1);
}

static void add_shifts(colour_samples samples, uint32_t n, const uint8_t *shift)
{
    for (uint32_t k = 0; k < n; k++)
        for (unsigned i = 0; i < TILE_BLOCKS; i++)
            samples[k][i] = (uint8_t)(samples[k][i] + shift[i]);
}

static void encode_identity(const struct grid *grid, const struct tile *t, const uint8_t *clean,
                            const uint8_t *target, uint8_t *temporary, struct encoder *e,
                            struct models *m, int usual, int coarse_size)
{
    colour_samples from[4], to[4];
    int16_t shift[TILE_BLOCKS], lead[TILE_BLOCKS] = {0}; /* lead: of the first colour */
    uint8_t add[TILE_BLOCKS], edge[TILE_BLOCKS];
    read_colours(grid, t, clean, from);
    read_colours(grid, t, target, to);
    for (uint32_t n = 0; n < grid->g->colours; n++) {
        uint32_t c = colour_at(grid->g, n);
        identity_shifts(grid, from[c], to[c], coarse_size, shift);
        for (unsigned i = 0; i < TILE_BLOCKS; i++)
            add[i] = (uint8_t)shift[i];
        add_shifts(from[c], grid->samples, add);
        at_edge(from[c], grid->samples, edge);
        for (uint32_t i = 0; i < t->blocks; i++)
            encode_shift(e, m, shift[i], usual, edge[i], lead[i]);
        if (n == 0)
            memcpy(lead, shift, sizeof lead);
    }
    write_colours(grid, t, from, temporary);
}

/* The inverse.  There is no malformed Sequence here: samples are taken modulo 256, and the tag of
 * the payload tells whether the image is the right one. */
static void decode_identity(const struct grid *grid, const struct tile *t, const uint8_t *temporary,
                            uint8_t *clean, struct decoder *d, struct models *m, int usual)
{
    colour_samples samples[4];
    uint8_t add[TILE_BLOCKS] = {0}, edge[TILE_BLOCKS];
    int lead[TILE_BLOCKS] = {0};
    read_colours(grid, t, temporary, samples);
    for (uint32_t n = 0; n < grid->g->colours; n++) {
        uint32_t c = colour_at(grid->g, n);
        at_edge(samples[c], grid->samples, edge);
        for (uint32_t i = 0; i < t->blocks; i++) {
            int shift = decode_shift(d, m, usual, edge[i], lead[i]);
            add[i] = (uint8_t)-shift;
            lead[i] = n == 0 ? shift : lead[i];
        }
        add_shifts(samples[c], grid->samples, add);
    }
    write_colours(grid, t, samples, clean);
}

#endif
