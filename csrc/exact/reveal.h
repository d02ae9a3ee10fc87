/*
 * reveal.h - profile exact: the payload out of one image, and the image as it was before.
 *
 * The walk is that of hiding.  It predicts from restored samples, so each step puts those it has
 * restored into the predictor.  A doubtful sample cannot be restored before its flag is read at the
 * end.  Nothing needs it until then, since its block is out of use.
 */
#ifndef DSGUARD_REVEAL_H
#define DSGUARD_REVEAL_H

#include "exact/coding_order.h"
#include "exact/expansion.h"

/* Where the bits of the stream go, and the doubtful samples met.  A doubtful sample takes its block
 * out of use, so there are no more of them than blocks. */
struct revealed {
    uint8_t *payload;
    size_t bits, flagged, done;
    uint64_t *doubtful; /* offset << 8 | the sample's value if it was moved */
};

static inline int all_revealed(const struct revealed *r)
{
    return r->done == r->bits + r->flagged;
}

/* Remember sample k of block i, which is doubtful, until its flag is there. */
static inline void postpone(const struct walk *w, unsigned i, uint8_t moved, struct revealed *r)
{
    const struct grid *grid = w->grid;
    size_t y = (w->tile.row + i / w->tile.columns) * grid->block + w->k / grid->block;
    size_t x = (w->tile.column + i % w->tile.columns) * grid->block + w->k % grid->block;
    size_t offset = (y * grid->g->width + x) * grid->g->channels + w->colour;
    r->doubtful[r->flagged++] = (uint64_t)offset << 8 | moved;
}

/* The inverse of hide_step(): take the bits of one step, and put back the samples. */
static void reveal_step(struct walk *w, const uint8_t *threshold, struct revealed *r)
{
    struct view view;
    int16_t limit[TILE_BLOCKS];
    uint8_t moved[TILE_BLOCKS], takes[TILE_BLOCKS], doubt[TILE_BLOCKS], bits[TILE_BLOCKS];
    uint8_t *out = w->samples[w->colour][w->k], *value = w->predictor.value[w->colour][w->k];
    const uint8_t *used = w->used;
    uint32_t end = w->tile.blocks;
    look(&w->predictor, out, &view);
    limits(&w->predictor, &view, threshold, used, limit);
    for (unsigned i = 0; i < TILE_BLOCKS; i++) {
        int16_t grown = view.size[i], takes_bit = grown < 2 * limit[i];
        int16_t size = (int16_t)(takes_bit ? grown >> 1 : grown - limit[i]);
        int16_t x = (int16_t)(view.far[i] ? view.p[i] + size : view.p[i] - 1 - size);
        int16_t from_end = view.far[i] ? (int16_t)(255 - view.x[i]) : view.x[i];
        takes[i] = (uint8_t)takes_bit;
        bits[i] = (uint8_t)(grown & 1);
        doubt[i] = (uint8_t)(!takes_bit & (from_end < limit[i]));
        moved[i] = (uint8_t)(view.mirrored[i] ? 255 - x : x);
    }
    uint64_t within = mask_of_blocks(w->tile.blocks);
    uint64_t doubtful = mask_of(doubt) & within, mask = mask_of(takes) & within;
    if (doubtful == 0 && r->done + STREAM_WORD <= r->bits) { /* as a rule: all at once */
        add_stream_word(r->payload, r->done, COLLECT(mask_of(bits), mask));
        r->done += count_bits(mask);
        memcpy(out, moved, TILE_BLOCKS);
        for (unsigned i = 0; i < TILE_BLOCKS; i++)
            value[i] = used[i] ? moved[i] : value[i];
        return;
    }
    for (mask |= doubtful; mask; mask &= mask - 1) {
        unsigned i = first_bit(mask);
        if (doubt[i]) { /* a flag will say whether it was moved at all */
            postpone(w, i, moved[i], r);
            moved[i] = out[i];
            w->live[i] = 0;
            continue;
        }
        if (r->done % 8 == 0)
            r->payload[r->done / 8] = 0;
        add_stream_bit(r->payload, r->done++, bits[i]);
        if (all_revealed(r)) {
            end = i + 1;
            break;
        }
    }
    memcpy(out, moved, end);
    for (unsigned i = 0; i < end; i++)
        value[i] = used[i] ? out[i] : value[i];
}

/* Take the payload out; false where the image ends before the stream does. */
static int reveal(const struct dsg_geometry *g, const uint8_t *image, uint8_t mode,
                  const uint8_t *threshold, uint8_t *payload, size_t bytes, uint8_t *temporary,
                  uint64_t *scratch)
{
    struct grid grid = grid_of(g, mode_block(mode));
    struct walk w;
    struct revealed r = {payload, bytes * 8, 0, 0, scratch};
    memcpy(temporary, image, image_samples(g));
    memset(payload, 0, bytes);
    start_walk(&w, &grid, image, temporary, hiding_weight[mode >> 3 & 3]);
    while (!all_revealed(&r) && next_samples(&w))
        reveal_step(&w, threshold, &r);
    leave_tile(&w);
    if (!all_revealed(&r))
        return 0;
    /* The flags lie behind the payload: 1 where the sample stayed, as it is in the image now. */
    for (size_t i = 0; i < r.flagged; i++)
        if (!stream_bit(payload, r.bits + i))
            temporary[scratch[i] >> 8] = (uint8_t)scratch[i];
    return 1;
}

#endif
