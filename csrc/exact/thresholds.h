/*
 * thresholds.h - profile exact, hiding: the choices of the encoder for an image.
 *
 * The weight by which green's errors correct the other colours, and for each bucket of samples a
 * threshold: large enough for the payload, and of little change to the image.
 */
#ifndef DSGUARD_THRESHOLDS_H
#define DSGUARD_THRESHOLDS_H

#include "exact/coding_order.h"
#include "exact/expansion.h"

/* The weight whose corrections leave the least error behind, as mode bits.  An error in sixteenths
 * is at most 16 * 255 + 16 * 255 and fits 16 bits. */
static unsigned choose_weight(const struct grid *grid, const uint8_t *image)
{
    struct walk w;
    uint64_t total[4] = {0};
    if (grid->g->colours < 3)
        return 0;
    start_walk(&w, grid, image, NULL, 0);
    while (next_samples(&w)) {
        const struct predictor *s = &w.predictor;
        const uint8_t *value = s->value[w.colour][w.k];
        const int16_t *green = s->green[w.k];
        for (unsigned n = 0; n < 4 && w.nth > 0; n++) {
            uint32_t sum = 0;
            for (unsigned i = 0; i < TILE_BLOCKS; i++) {
                int16_t e = (int16_t)(16 * (value[i] - s->raw[i]) - hiding_weight[n] * green[i]);
                sum += (uint16_t)(e < 0 ? -e : e);
            }
            total[n] += sum;
        }
    }
    unsigned best = 0;
    for (unsigned n = 1; n < 4; n++)
        best = total[n] < total[best] ? n : best;
    return best;
}

enum { HIDING_ERRORS = 41 /* sizes: 0..39, and all above */ };

/* How often each error occurs, by bucket, side and size. */
struct errors {
    uint32_t count[DSG_BUCKETS][2][HIDING_ERRORS]; /* far, near */
};

static void count_errors(const struct grid *grid, const uint8_t *image, int weight,
                         struct errors *errors)
{
    enum { OTHER = DSG_BUCKETS * 2 * HIDING_ERRORS }; /* header samples, and those without room */
    struct walk w;
    struct view view;
    uint32_t count[OTHER + 1] = {0};
    start_walk(&w, grid, image, NULL, weight);
    while (next_samples(&w)) {
        int16_t at[TILE_BLOCKS];
        look(&w.predictor, w.predictor.value[w.colour][w.k], &view);
        for (unsigned i = 0; i < TILE_BLOCKS; i++) {
            int16_t size = view.size[i], last = HIDING_ERRORS - 1;
            int16_t fits = view.far[i] | (size < near_room(view.p[i]));
            int16_t bucket = 0;
            for (unsigned b = 1; b < DSG_BUCKETS; b++)
                bucket = (int16_t)(bucket + (w.predictor.context[i] > bucket_limit[b]));
            int16_t place = (int16_t)(bucket * (2 * HIDING_ERRORS));
            place = (int16_t)(place + (view.far[i] ? 0 : HIDING_ERRORS));
            place = (int16_t)(place + (size < last ? size : last));
            at[i] = fits & w.used[i] ? place : OTHER;
        }
        for (uint32_t i = 0; i < w.tile.blocks; i++)
            count[at[i]]++;
    }
    memcpy(errors->count, count, sizeof errors->count);
}

/*
 * capacity[t], cost[t]: bits that one bucket takes at threshold t, and twice the squared error.
 *
 * An error of size e that is expanded moves its sample by e or e + 1, as the bit is 0 or 1: twice
 * the mean square is e^2 + (e + 1)^2 = 2e^2 + 2e + 1.  A shift by a costs 2a^2.
 */
static void weigh(const uint32_t *far, const uint32_t *near, uint64_t *capacity, uint64_t *cost)
{
    uint64_t count[2][HIDING_ERRORS + 1], grown[2][HIDING_ERRORS + 1]; /* of errors below e */
    count[0][0] = count[1][0] = grown[0][0] = grown[1][0] = 0;
    for (unsigned e = 0; e < HIDING_ERRORS; e++) {
        uint64_t each = 2 * e * e + 2 * e + 1;
        count[0][e + 1] = count[0][e] + far[e], grown[0][e + 1] = grown[0][e] + far[e] * each;
        count[1][e + 1] = count[1][e] + near[e], grown[1][e + 1] = grown[1][e] + near[e] * each;
    }
    for (unsigned t = 0; t < HIDING_THRESHOLDS; t++) {
        unsigned above = hiding_far[t], below = hiding_near[t];
        capacity[t] = count[0][above] + count[1][below];
        cost[t] = grown[0][above] + grown[1][below];
        cost[t] += 2 * above * above * (count[0][HIDING_ERRORS] - count[0][above]);
        cost[t] += 2 * below * below * (count[1][HIDING_ERRORS] - count[1][below]);
    }
}

/* The thresholds that hold 'bits' at little cost: again and again the step of one bucket that
 * brings most bits for its cost; false where all together do not hold them. */
static int choose_thresholds(const struct errors *errors, uint64_t bits, uint8_t *threshold)
{
    uint64_t capacity[DSG_BUCKETS][HIDING_THRESHOLDS], cost[DSG_BUCKETS][HIDING_THRESHOLDS];
    uint64_t held = 0;
    memset(threshold, 0, DSG_BUCKETS);
    for (unsigned b = 0; b < DSG_BUCKETS; b++)
        weigh(errors->count[b][0], errors->count[b][1], capacity[b], cost[b]);
    while (held < bits) {
        uint64_t gain = 0, price = 1;
        unsigned bucket = 0, to = 0;
        for (unsigned b = 0; b < DSG_BUCKETS; b++) {
            unsigned from = threshold[b];
            for (unsigned t = from + 1; t < HIDING_THRESHOLDS; t++) {
                uint64_t more = capacity[b][t] - capacity[b][from];
                uint64_t worse = cost[b][t] - cost[b][from];
                if (more * price > gain * worse) /* more / worse > gain / price, in integers */
                    gain = more, price = worse, bucket = b, to = t;
            }
        }
        if (gain == 0)
            return 0;
        threshold[bucket] = (uint8_t)to;
        held += gain;
    }
    return 1;
}

#endif
