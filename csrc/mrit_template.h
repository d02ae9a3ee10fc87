/*
 * mrit_template.h - the transformation and its inverse for one image.
 *
 * Included once per instruction set; the includer defines ISA, TARGET and NAME.
 */
#include "tile.h"

static TARGET void NAME(gather)(const struct dsg_geometry *g, const struct tile *t,
                                const uint8_t *image, uint32_t colour, tile_samples samples)
{
    size_t pitch = (size_t)g->width * g->channels, step = g->channels;
    for (uint32_t row = 0; row < t->rows; row++) {
        for (uint32_t y = 0; y < DSG_BLOCK; y++) {
            const uint8_t *line = image + ((t->row + row) * DSG_BLOCK + y) * pitch +
                                  (size_t)t->column * DSG_BLOCK * step + colour;
            for (uint32_t x = 0; x < DSG_BLOCK; x++)
                for (uint32_t column = 0; column < t->columns; column++)
                    samples[y * DSG_BLOCK + x][row * t->columns + column] =
                        line[(column * DSG_BLOCK + x) * step];
        }
    }
}

static TARGET void NAME(scatter)(const struct dsg_geometry *g, const struct tile *t,
                                 tile_samples samples, uint32_t colour, uint8_t *image)
{
    size_t pitch = (size_t)g->width * g->channels, step = g->channels;
    for (uint32_t row = 0; row < t->rows; row++) {
        for (uint32_t y = 0; y < DSG_BLOCK; y++) {
            uint8_t *line = image + ((t->row + row) * DSG_BLOCK + y) * pitch +
                            (size_t)t->column * DSG_BLOCK * step + colour;
            for (uint32_t x = 0; x < DSG_BLOCK; x++)
                for (uint32_t column = 0; column < t->columns; column++)
                    line[(column * DSG_BLOCK + x) * step] =
                        samples[y * DSG_BLOCK + x][row * t->columns + column];
        }
    }
}

static TARGET void NAME(measure)(tile_samples samples, uint32_t n, struct statistics *s)
{
    uint32_t squares[TILE_BLOCKS];
    for (uint32_t i = 0; i < n; i++) {
        s->sum[i] = 0, squares[i] = 0;
        s->low[i] = 255, s->high[i] = 0;
    }
    for (unsigned k = 0; k < BLOCK_SAMPLES; k++) {
        for (uint32_t i = 0; i < n; i++) {
            uint8_t v = samples[k][i];
            s->sum[i] += v;
            squares[i] += (uint32_t)v * v;
            s->low[i] = v < s->low[i] ? v : s->low[i];
            s->high[i] = v > s->high[i] ? v : s->high[i];
        }
    }
    for (uint32_t i = 0; i < n; i++)
        s->key[i] = BLOCK_SAMPLES * squares[i] - (uint32_t)(s->sum[i] * s->sum[i]);
}

/* The rotation of each block that comes nearest to its target block.  The squared error falls as
 * the correlation rises, whatever the shift; among equal ones the smallest turn wins. */
static TARGET void NAME(choose_turns)(tile_samples source, tile_samples target, uint32_t n,
                                      uint8_t *turn)
{
    uint32_t best[TILE_BLOCKS], correlation[TILE_BLOCKS];
    for (unsigned r = 0; r < 4; r++) {
        memset(correlation, 0, sizeof correlation);
        for (unsigned k = 0; k < BLOCK_SAMPLES; k++) {
            const uint8_t *a = source[rotation[r][k]], *b = target[k];
            for (uint32_t i = 0; i < n; i++)
                correlation[i] += (uint32_t)a[i] * b[i];
        }
        for (uint32_t i = 0; i < n; i++) {
            int better = r == 0 || correlation[i] > best[i];
            best[i] = better ? correlation[i] : best[i];
            turn[i] = better ? (uint8_t)r : turn[i];
        }
    }
}

static TARGET void NAME(apply)(tile_samples source, const uint8_t *turn, const uint8_t *shift,
                               uint32_t n, tile_samples out)
{
    for (unsigned k = 0; k < BLOCK_SAMPLES; k++) {
        const uint8_t *s0 = source[rotation[0][k]], *s1 = source[rotation[1][k]];
        const uint8_t *s2 = source[rotation[2][k]], *s3 = source[rotation[3][k]];
        for (uint32_t i = 0; i < n; i++) {
            uint8_t even = turn[i] & 2 ? s2[i] : s0[i], odd = turn[i] & 2 ? s3[i] : s1[i];
            out[k][i] = (uint8_t)((turn[i] & 1 ? odd : even) + shift[i]);
        }
    }
}

static TARGET void NAME(transform_tile)(const struct dsg_geometry *g, const struct tile *t,
                                        uint32_t colour, const uint8_t *clean,
                                        const uint8_t *target, uint8_t *temporary,
                                        struct bit_writer *w)
{
    tile_samples source, wanted, paired;
    struct statistics from, to;
    uint8_t from_order[TILE_BLOCKS], to_order[TILE_BLOCKS], pairing[TILE_BLOCKS];
    uint8_t turn[TILE_BLOCKS] = {0}, shift[TILE_BLOCKS] = {0};
    uint32_t n = t->blocks;
    unsigned planes = g->planes, shift_bits = 8 - planes;

    NAME(gather)(g, t, clean, colour, source);
    NAME(gather)(g, t, target, colour, wanted);
    NAME(measure)(source, n, &from);
    NAME(measure)(wanted, n, &to);
    rank_blocks(from.key, n, from_order);
    rank_blocks(to.key, n, to_order);
    for (uint32_t i = 0; i < n; i++)
        pairing[to_order[i]] = from_order[i];
    for (unsigned k = 0; k < BLOCK_SAMPLES; k++)
        for (uint32_t i = 0; i < n; i++)
            paired[k][i] = source[k][pairing[i]];
    NAME(choose_turns)(paired, wanted, n, turn);

    put_pairing(w, pairing, n);
    for (uint32_t i = 0; i < n; i++) {
        int steps = mean_shift(&from, pairing[i], &to, i, planes);
        uint32_t field = (uint32_t)steps & ((1u << shift_bits) - 1);
        put_bits(w, field, shift_bits);
        shift[i] = (uint8_t)(field << planes);
    }
    for (uint32_t i = 0; i < n; i++)
        put_bits(w, turn[i], 2);
    NAME(apply)(paired, turn, shift, n, source);
    NAME(scatter)(g, t, source, colour, temporary);
}

static TARGET int NAME(invert_tile)(const struct dsg_geometry *g, const struct tile *t,
                                    uint32_t colour, const uint8_t *temporary, uint8_t *clean,
                                    struct bit_reader *r)
{
    tile_samples paired, source;
    uint8_t pairing[TILE_BLOCKS], back[TILE_BLOCKS] = {0}, shift[TILE_BLOCKS] = {0};
    uint32_t n = t->blocks;
    unsigned planes = g->planes;

    if (!get_pairing(r, pairing, n))
        return 0;
    for (uint32_t i = 0; i < n; i++)
        shift[i] = (uint8_t)(0 - (get_bits(r, 8 - planes) << planes));
    for (uint32_t i = 0; i < n; i++)
        back[i] = (uint8_t)((4 - get_bits(r, 2)) & 3);
    NAME(gather)(g, t, temporary, colour, source);
    NAME(apply)(source, back, shift, n, paired);
    for (unsigned k = 0; k < BLOCK_SAMPLES; k++)
        for (uint32_t i = 0; i < n; i++)
            source[k][pairing[i]] = paired[k][i];
    NAME(scatter)(g, t, source, colour, clean);
    return 1;
}

static TARGET void NAME(transform)(const struct dsg_geometry *g, const uint8_t *clean,
                                   const uint8_t *target, uint8_t *temporary, uint8_t *sequence)
{
    struct bit_writer w = {sequence, 0, 0};
    memcpy(temporary, clean, image_samples(g)); /* margins and alpha */
    for (uint32_t colour = 0; colour < g->colours; colour++) {
        for (uint32_t row = 0; row < blocks_down(g); row += DSG_TILE) {
            for (uint32_t column = 0; column < blocks_across(g); column += DSG_TILE) {
                struct tile t = tile_at(g, row, column);
                NAME(transform_tile)(g, &t, colour, clean, target, temporary, &w);
            }
        }
    }
    flush_bits(&w);
}

static TARGET int NAME(invert)(const struct dsg_geometry *g, const uint8_t *temporary,
                               const uint8_t *sequence, uint8_t *clean)
{
    struct bit_reader r = {sequence, 0, 0};
    memcpy(clean, temporary, image_samples(g)); /* margins and alpha */
    for (uint32_t colour = 0; colour < g->colours; colour++) {
        for (uint32_t row = 0; row < blocks_down(g); row += DSG_TILE) {
            for (uint32_t column = 0; column < blocks_across(g); column += DSG_TILE) {
                struct tile t = tile_at(g, row, column);
                if (!NAME(invert_tile)(g, &t, colour, temporary, clean, &r))
                    return 0;
            }
        }
    }
    return 1;
}
