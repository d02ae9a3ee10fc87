/*
 * coding_order.h - profile exact, hiding: the visit of all samples that may carry bits, in order.
 *
 * Tile by tile, colour by colour with green first, position by position: samples k of all blocks of
 * a tile are one step.  Sample 0 of a block is never changed, since all predictions rest on it.
 * Four visitors take this way: two measure an image, one hides and one reveals.
 */
#ifndef DSGUARD_CODING_ORDER_H
#define DSGUARD_CODING_ORDER_H

#include "exact/predict.h"

/* The header samples: the first HEADER_SAMPLES embedding samples of blocks of 4, whatever the side
 * of the blocks is.  The header replaces their bit 0, so hiding leaves them alone and predicts as
 * if that bit were 1. */
enum { HEADER_SAMPLES = DSG_EXACT_HEADER * 8 };

struct header_area {
    uint32_t rows, width, colours; /* rows 0..rows - 1 have some; embedding samples in a row */
};

static inline struct header_area header_area_of(const struct dsg_geometry *g)
{
    uint32_t width = blocks_across(g) * DSG_BLOCK * g->colours, down = blocks_down(g) * DSG_BLOCK;
    uint32_t rows = (HEADER_SAMPLES + width - 1) / width;
    struct header_area area = {rows < down ? rows : down, width, g->colours};
    return area;
}

/* used[i] = 0 where sample k of block i of a tile is a header sample, else left as it is. */
static inline void exclude_header(const struct header_area *area, const struct grid *grid,
                                  const struct tile *t, uint32_t colour, uint32_t k, uint8_t *used)
{
    uint32_t left = (t->column * grid->block + k % grid->block) * area->colours + colour;
    uint32_t step = grid->block * area->colours, y = t->row * grid->block + k / grid->block;
    for (uint32_t row = 0; row < t->rows && y < area->rows; row++, y += grid->block) {
        uint32_t most = HEADER_SAMPLES - y * area->width; /* in this row, if it is wide enough */
        uint32_t end = most < area->width ? most : area->width;
        for (uint32_t i = 0, at = left; i < t->columns && at < end; i++, at += step)
            used[row * t->columns + i] = 0;
    }
}

/*
 * A visit of 'image'.  After each next_samples() that is true, 'predictor' has the predictions of
 * samples k of the colour, and 'used' which of them may carry bits.  Rows of samples come first and
 * aligned: loads and stores of 64 bytes then never straddle two cache lines.
 */
struct walk {
    _Alignas(64) struct predictor predictor;
    colour_samples samples[4]; /* of the image; a visitor may change those it visits */
    uint8_t live[TILE_BLOCKS]; /* a visitor takes a block out of use by 0 */
    uint8_t used[TILE_BLOCKS]; /* live, and not a header sample */
    const struct grid *grid;
    const uint8_t *image;
    uint8_t *result; /* where samples go after their visit; NULL: nowhere */
    struct header_area header;
    int weight;
    uint32_t next;           /* tile */
    struct tile tile;        /* 0 blocks: none yet, or none any more */
    uint32_t header_end;     /* samples from this k on are no header samples of the tile */
    uint32_t nth, colour, k; /* the nth colour in coding order is 'colour' */
};

/* The walk is large: it is begun in place. */
static void start_walk(struct walk *w, const struct grid *grid, const uint8_t *image,
                       uint8_t *result, int weight)
{
    w->grid = grid, w->image = image, w->result = result, w->weight = weight;
    w->header = header_area_of(grid->g);
    w->next = 0, w->tile.blocks = 0;
    w->nth = grid->g->colours - 1, w->k = grid->samples - 1; /* at the end of a tile */
}

/* Put the samples of the tile where they go, if there is a tile. */
static void leave_tile(struct walk *w)
{
    if (w->tile.blocks > 0 && w->result != NULL)
        write_colours(w->grid, &w->tile, w->samples, w->result);
    w->tile.blocks = 0;
}

static int enter_tile(struct walk *w)
{
    const struct grid *grid = w->grid;
    if (w->next == grid_tiles(grid))
        return 0;
    w->tile = grid_tile(grid, w->next++);
    uint32_t y = w->tile.row * grid->block;
    w->header_end = y < w->header.rows ? (w->header.rows - y) * grid->block : 0;
    memset(w->live, 1, sizeof w->live);
    read_colours(grid, &w->tile, w->image, w->samples);
    for (uint32_t c = 0; c < grid->g->colours; c++) {
        uint8_t (*value)[TILE_BLOCKS] = w->predictor.value[c];
        memcpy(value, w->samples[c], grid->samples * sizeof *value);
        for (uint32_t k = 0; k < grid->samples && k < w->header_end; k++) {
            uint8_t used[TILE_BLOCKS];
            memset(used, 1, sizeof used);
            exclude_header(&w->header, grid, &w->tile, c, k, used);
            for (unsigned i = 0; i < TILE_BLOCKS; i++)
                value[k][i] = (uint8_t)(value[k][i] | !used[i]);
        }
    }
    return 1;
}

/* Go on to the next step; false at the end.  A visitor that reveals has put the original values of
 * the last step into 'predictor' by now.  As a call of its own it costs up to 10 % of a visit. */
INLINED int next_samples(struct walk *w)
{
    if (w->tile.blocks > 0)
        note(&w->predictor, w->colour, w->nth, w->k);
    if (++w->k == w->grid->samples) {
        w->k = 1;
        if (++w->nth == w->grid->g->colours) {
            w->nth = 0;
            leave_tile(w);
            if (!enter_tile(w))
                return 0;
        }
        w->colour = colour_at(w->grid->g, w->nth);
        start_colour(&w->predictor, w->nth);
    }
    predict(&w->predictor, w->grid->block, w->colour, w->nth, w->k, w->weight);
    memcpy(w->used, w->live, sizeof w->used);
    if (w->k < w->header_end)
        exclude_header(&w->header, w->grid, &w->tile, w->colour, w->k, w->used);
    return 1;
}

#endif
