/*
 * predict.h - profile exact, hiding: predictions of samples, and how far they can be trusted.
 *
 * A prediction uses samples of the same block only, and only those that a decoder has restored by
 * then.  So samples k of all blocks of a tile do not depend on each other, and are predicted side
 * by side.
 */
#ifndef DSGUARD_PREDICT_H
#define DSGUARD_PREDICT_H

#include "exact/blocks.h"

/* By mode bits 3-4: sixteenths of green's error that correct red and blue. */
static const int hiding_weight[4] = {0, 8, 13, 16};

/* One tile while its samples are visited. */
struct predictor {
    colour_samples value[4];                     /* original samples, bit 0 of header samples set */
    int16_t green[LARGEST_SAMPLES][TILE_BLOCKS]; /* prediction errors of the first colour */
    int16_t activity[TILE_BLOCKS];               /* running mean of |error|, times 4 */
    int16_t first_activity[TILE_BLOCKS];         /* of the first colour, at its end */
    int16_t raw[TILE_BLOCKS];                    /* predictions before correction */
    int16_t context[TILE_BLOCKS];                /* how badly a sample may be predicted */
    uint8_t prediction[TILE_BLOCKS];
};

/* Begin the n-th colour: later colours start where the first one ended. */
static inline void start_colour(struct predictor *s, uint32_t n)
{
    if (n == 0)
        for (unsigned i = 0; i < TILE_BLOCKS; i++)
            s->activity[i] = 16;
    else if (n == 1)
        memcpy(s->first_activity, s->activity, sizeof s->activity);
    else
        memcpy(s->activity, s->first_activity, sizeof s->activity);
}

/* Raw predictions of samples k (1 up): the median edge detector, or the only neighbour along the
 * first row and column. */
static inline void predict_raw(struct predictor *s, uint32_t block, uint32_t colour, uint32_t k)
{
    uint8_t (*value)[TILE_BLOCKS] = s->value[colour];
    uint32_t x = k % block, y = k / block;
    if (x == 0 || y == 0) {
        const uint8_t *near = value[x ? k - 1 : k - block];
        for (unsigned i = 0; i < TILE_BLOCKS; i++)
            s->raw[i] = near[i];
        return;
    }
    const uint8_t *left = value[k - 1], *up = value[k - block], *corner = value[k - block - 1];
    for (unsigned i = 0; i < TILE_BLOCKS; i++) {
        int16_t l = left[i], u = up[i], p = (int16_t)(l + u - corner[i]);
        int16_t least = l < u ? l : u, most = l < u ? u : l;
        p = p < least ? least : p;
        s->raw[i] = p > most ? most : p;
    }
}

/* Predictions and contexts in the first colour: samples that differ around k are hard to predict.
 * Along an edge two samples in line count double, or the recent errors where there is only one. */
static inline void predict_first(struct predictor *s, uint32_t block, uint32_t colour, uint32_t k)
{
    uint8_t (*value)[TILE_BLOCKS] = s->value[colour];
    uint32_t x = k % block, y = k / block;
    const uint8_t *a = value[x ? k - 1 : k - block], *b = a, *from = a;
    if (x && y)
        b = value[k - block], from = value[k - block - 1];
    else if (k > 1)
        from = value[x ? k - 2 : y > 1 ? k - 2 * block : 1];
    for (unsigned i = 0; i < TILE_BLOCKS; i++) {
        int16_t c = (int16_t)(a[i] - from[i]), d = (int16_t)(b[i] - from[i]);
        int16_t gradient = (int16_t)((c < 0 ? -c : c) + (d < 0 ? -d : d));
        s->context[i] = (int16_t)(s->activity[i] + (k > 1 ? gradient : s->activity[i]));
        s->prediction[i] = (uint8_t)s->raw[i];
    }
}

/*
 * The same in later colours, where green's error at the same place corrects the prediction and
 * tells how good it is.
 *
 * 4096 keeps the correction positive, because a right shift of a negative number is not portable.
 * |error * weight| <= 255 * 16, so that the sum fits 16 bits, which vectors multiply faster.
 */
static inline void predict_later(struct predictor *s, uint32_t k, int weight)
{
    for (unsigned i = 0; i < TILE_BLOCKS; i++) {
        int16_t g = s->green[k][i], p = s->raw[i];
        p = (int16_t)(p + ((uint16_t)(g * weight + 8 + 4096) >> 4) - 256);
        s->prediction[i] = (uint8_t)(p < 0 ? 0 : p > 255 ? 255 : p);
        s->context[i] = (int16_t)(s->activity[i] + 4 * (g < 0 ? -g : g));
    }
}

/* Predictions and contexts of samples k of all blocks in the n-th colour. */
static inline void predict(struct predictor *s, uint32_t block, uint32_t colour, uint32_t n,
                           uint32_t k, int weight)
{
    predict_raw(s, block, colour, k);
    if (n == 0)
        predict_first(s, block, colour, k);
    else
        predict_later(s, k, weight);
}

/* Learn from samples k once their values are known. */
static void note(struct predictor *s, uint32_t colour, uint32_t n, uint32_t k)
{
    for (unsigned i = 0; i < TILE_BLOCKS; i++) {
        int16_t v = s->value[colour][k][i], e = (int16_t)(v - s->prediction[i]);
        if (n == 0)
            s->green[k][i] = (int16_t)(v - s->raw[i]);
        s->activity[i] = (int16_t)(s->activity[i] - (s->activity[i] >> 2) + (e < 0 ? -e : e));
    }
}

#endif
