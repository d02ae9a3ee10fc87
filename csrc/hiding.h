/* hiding.h - what the hiding kernels of all instruction sets share. */
#ifndef DSGUARD_HIDING_H
#define DSGUARD_HIDING_H

#include "bits.h"
#include "grid.h"

enum {
    HIDING_THRESHOLDS = 16,
    HIDING_ERRORS = 41, /* 0..39, and all above */
    MOST_FLAGS = 8192,
    FAR_FROM_END = 72, /* bits, from where on whole words of a stream are not touched any more */
    HEADER_SAMPLES = DSG_EXACT_HEADER * 8
};

/* How many errors a threshold expands: 0..above - 1 on the far side, -1..-below on the near one. */
static const uint8_t hiding_above[HIDING_THRESHOLDS] = {0, 1, 1, 2,  2,  3,  3,  4,
                                                        5, 6, 8, 10, 13, 18, 26, 40};
static const uint8_t hiding_below[HIDING_THRESHOLDS] = {0, 0, 1, 1,  2,  2,  3,  4,
                                                        5, 6, 8, 10, 13, 18, 26, 40};

/* A sample is in the last bucket b whose limit its context is above; bucket 0 has none. */
static const int16_t bucket_limit[DSG_BUCKETS] = {-1, 16, 26, 36, 50, 70, 100, 150};

/* By mode bits 3-4: sixteenths of green's error that correct red and blue. */
static const int hiding_weight[4] = {0, 8, 13, 16};

/*
 * The most errors that are expanded on the near side of a prediction.  3 * near_room(p) <= p keeps
 * an expanded sample out of the range where a shifted one could be one that was left alone; the 16
 * make such doubt need a large error, because a doubtful sample costs its block.
 */
static inline int16_t near_room(int16_t p)
{
    return (int16_t)(p < 16 ? 0 : (p - 16) * 171 >> 9); /* a third, for differences below 128 */
}

static inline unsigned stream_bit(const uint8_t *bytes, size_t bit)
{
    return (unsigned)bytes[bit / 8] >> bit % 8 & 1u;
}

static inline void add_stream_bit(uint8_t *bytes, size_t bit, unsigned value)
{
    bytes[bit / 8] = (uint8_t)(bytes[bit / 8] | value << bit % 8);
}

/* 64 bits of a stream that has FAR_FROM_END more; the words below reach that far. */
static inline uint64_t stream_word(const uint8_t *bytes, size_t bit)
{
    unsigned shift = bit % 8;
    return load_word(bytes + bit / 8) >> shift | (uint64_t)bytes[bit / 8 + 8] << 1 << (63 - shift);
}

static inline void add_stream_word(uint8_t *bytes, size_t bit, uint64_t word)
{
    unsigned shift = bit % 8;
    store_word(bytes + bit / 8, load_word(bytes + bit / 8) | word << shift);
    bytes[bit / 8 + 8] = (uint8_t)(bytes[bit / 8 + 8] | word >> 1 >> (63 - shift));
}

/* The header samples: the first HEADER_SAMPLES embedding samples of blocks of 4. */
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

/* used[i] = 0 where sample k of block i of a patch is a header sample, else left as it is. */
static inline void exclude_header(const struct header_area *area, const struct grid *grid,
                                  const struct patch *p, uint32_t colour, uint32_t k, uint8_t *used)
{
    uint32_t left = p->column * grid->block + k % grid->block;
    for (uint32_t row = 0; row < p->rows; row++) {
        uint32_t y = (p->row + row) * grid->block + k / grid->block;
        if (y >= area->rows)
            return;
        for (uint32_t column = 0; column < p->columns; column++) {
            uint32_t at = (left + column * grid->block) * area->colours + colour;
            if (at < area->width && y * area->width + at < HEADER_SAMPLES)
                used[row * p->columns + column] = 0;
        }
    }
}

#endif
