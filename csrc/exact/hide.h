/*
 * hide.h - profile exact: a payload into one image, by prediction-error expansion.
 *
 * There is no map of the samples that could not be moved.  A sample whose place after hiding leaves
 * that open is doubtful.  It gets a flag at the end of the stream, and its block carries no more.
 */
#ifndef DSGUARD_HIDE_H
#define DSGUARD_HIDE_H

#include "exact/thresholds.h"

enum { MOST_FLAGS = 8192 };

/* The stream that is hidden: a payload, then a flag for each doubtful sample, which grow on the
 * way.  A flag is 1 where the sample stayed. */
struct stream {
    const uint8_t *payload;
    size_t bits, flagged, done; /* of the payload; flags so far; hidden so far, of both */
    uint8_t flags[MOST_FLAGS / 8];
};

static inline unsigned next_bit(struct stream *s)
{
    size_t at = s->done++;
    return at < s->bits ? stream_bit(s->payload, at) : stream_bit(s->flags, at - s->bits);
}

static inline int all_hidden(const struct stream *s)
{
    return s->done == s->bits + s->flagged;
}

/* Add bit i of 'bits' to sample i where it lies above its prediction, else subtract it. */
static inline void add_bits(uint64_t bits, const struct view *view, uint8_t *samples)
{
    uint8_t bit[TILE_BLOCKS];
    for (unsigned j = 0; j < TILE_BLOCKS / 8; j++)
        store_word(bit + 8 * j, stretch(bits >> 8 * j & 0xFF, 1));
    for (unsigned i = 0; i < TILE_BLOCKS; i++)
        samples[i] = (uint8_t)(view->far[i] != view->mirrored[i] ? samples[i] + bit[i]
                                                                 : samples[i] - bit[i]);
}

/*
 * Hide bits in the samples of one step; false where there are too many flags.
 *
 * All samples are moved as if every bit were 0.  As a rule the bits are then added all at once: a
 * mask says which samples take one, and a bit deposit sends the next bits of the payload there.
 * Doubtful samples, and the end of the stream, are met one by one.
 */
static int hide_step(struct walk *w, const uint8_t *threshold, struct stream *s)
{
    struct view view;
    int16_t limit[TILE_BLOCKS];
    uint8_t moved[TILE_BLOCKS], takes[TILE_BLOCKS], doubt[TILE_BLOCKS], stays[TILE_BLOCKS];
    uint8_t *out = w->samples[w->colour][w->k];
    uint32_t end = w->tile.blocks;
    look(&w->predictor, out, &view);
    limits(&w->predictor, &view, threshold, w->used, limit);
    for (unsigned i = 0; i < TILE_BLOCKS; i++) {
        int16_t size = view.size[i], takes_bit = size < limit[i];
        int16_t grown = (int16_t)(size + (takes_bit ? size : limit[i]));
        int16_t x = (int16_t)(view.far[i] ? view.p[i] + grown : view.p[i] - 1 - grown);
        int16_t outside = (x < 0) | (x > 255);
        x = outside ? view.x[i] : x;
        int16_t from_end = view.far[i] ? (int16_t)(255 - x) : x;
        takes[i] = (uint8_t)takes_bit;
        stays[i] = (uint8_t)outside;
        doubt[i] = (uint8_t)(!takes_bit & (from_end < limit[i]));
        moved[i] = (uint8_t)(view.mirrored[i] ? 255 - x : x);
    }
    uint64_t within = mask_of_blocks(w->tile.blocks);
    uint64_t doubtful = mask_of(doubt) & within, mask = mask_of(takes) & within;
    if (doubtful == 0 && s->done + STREAM_WORD <= s->bits) {
        add_bits(DEPOSIT(stream_word(s->payload, s->done), mask), &view, moved);
        s->done += count_bits(mask);
        memcpy(out, moved, TILE_BLOCKS);
        return 1;
    }
    for (mask |= doubtful; mask; mask &= mask - 1) {
        unsigned i = first_bit(mask);
        if (doubt[i]) {
            if (s->flagged == MOST_FLAGS)
                return 0;
            add_stream_bit(s->flags, s->flagged++, stays[i]);
            w->live[i] = 0;
            continue;
        }
        /* away from the prediction, seen without the mirror */
        unsigned up = view.far[i] != view.mirrored[i];
        unsigned bit = next_bit(s);
        moved[i] = (uint8_t)(up ? moved[i] + bit : moved[i] - bit);
        if (all_hidden(s)) { /* samples after the last bit stay as they are */
            end = i + 1;
            break;
        }
    }
    memcpy(out, moved, end);
    return 1;
}

/* Hide a payload with these thresholds; false where the image runs out of samples first.  Hiding
 * ends with the last bit, so a short payload changes the head of an image only. */
static int hide_with(const struct grid *grid, const uint8_t *payload, size_t bytes, int weight,
                     const uint8_t *threshold, const uint8_t *temporary, uint8_t *image)
{
    struct walk w;
    struct stream s = {payload, bytes * 8, 0, 0, {0}};
    memcpy(image, temporary, image_samples(grid->g));
    start_walk(&w, grid, temporary, image, weight);
    while (!all_hidden(&s) && next_samples(&w))
        if (!hide_step(&w, threshold, &s))
            return 0;
    leave_tile(&w);
    return all_hidden(&s);
}

/* Doubtful samples are counted as if they took a bit, and add flags: how many there are is known
 * after hiding only.  So room is left for some, and for more in each further attempt. */
static int hide(const struct dsg_geometry *g, const uint8_t *temporary, const uint8_t *payload,
                size_t bytes, uint8_t *mode, uint8_t *threshold, uint8_t *image)
{
    struct grid grid = grid_of(g, mode_block(*mode));
    struct errors errors;
    unsigned weight = choose_weight(&grid, temporary);
    uint64_t bits = (uint64_t)bytes * 8 + bytes / 4 + 8;
    *mode = (uint8_t)((*mode & 7) | weight << 3);
    count_errors(&grid, temporary, hiding_weight[weight], &errors);
    for (unsigned attempt = 0; attempt < 4; attempt++) {
        if (!choose_thresholds(&errors, bits, threshold))
            break;
        if (hide_with(&grid, payload, bytes, hiding_weight[weight], threshold, temporary, image))
            return 1;
        bits += bits / 8 + 16;
    }
    memcpy(image, temporary, image_samples(g));
    memset(threshold, 0, DSG_BUCKETS);
    return 0;
}

#endif
