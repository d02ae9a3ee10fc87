/*
 * hiding_template.h - reversible data hiding by prediction-error expansion.
 *
 * Included once per instruction set; the includer defines ISA, TARGET and NAME.
 *
 * Samples are visited patch by patch, green first, sample k of all blocks before sample k + 1.
 * A prediction uses original samples of the same block only, and those a decoder has by then: so
 * the samples k of a patch do not depend on each other and are predicted side by side.
 */

#include "hiding.h"

/* One patch while its samples are visited. */
struct NAME(hiding) {
    patch_samples v[4];                          /* original samples, header samples made odd */
    int16_t green[LARGEST_SAMPLES][TILE_BLOCKS]; /* prediction errors of the first colour */
    int16_t activity[TILE_BLOCKS];               /* running mean of |error|, times 4 */
    int16_t first_activity[TILE_BLOCKS];         /* of the first colour, at its end */
    int16_t raw[TILE_BLOCKS];                    /* predictions before correction */
    int16_t context[TILE_BLOCKS];                /* how badly a sample may be predicted */
    uint8_t prediction[TILE_BLOCKS];
};

static TARGET void NAME(start_colour)(struct NAME(hiding) * h, uint32_t turn)
{
    for (unsigned i = 0; i < TILE_BLOCKS; i++) {
        if (turn == 1)
            h->first_activity[i] = h->activity[i];
        h->activity[i] = turn == 0 ? 16 : h->first_activity[i];
    }
}

/* Predictions and contexts of sample k (1 up) of all blocks, from samples 0..k-1. */
static TARGET void NAME(predict)(struct NAME(hiding) * h, uint32_t block, uint32_t colour,
                                 uint32_t turn, uint32_t k, int weight)
{
    uint32_t x = k % block, y = k / block;
    const uint8_t *v0 = h->v[colour][0], *left = x ? h->v[colour][k - 1] : v0;
    const uint8_t *up = y ? h->v[colour][k - block] : v0;
    int16_t gradient[TILE_BLOCKS];
    if (x && y) {
        const uint8_t *corner = h->v[colour][k - block - 1];
        for (unsigned i = 0; i < TILE_BLOCKS; i++) {
            int16_t l = left[i], u = up[i], d = corner[i], p = (int16_t)(l + u - d);
            int16_t least = l < u ? l : u, most = l < u ? u : l;
            p = p < least ? least : p;
            h->raw[i] = p > most ? most : p;
            int16_t a = (int16_t)(l - d), b = (int16_t)(u - d);
            gradient[i] = (int16_t)((a < 0 ? -a : a) + (b < 0 ? -b : b));
        }
    } else {
        const uint8_t *near = x ? left : up;
        const uint8_t *far = x > 1   ? h->v[colour][k - 2]
                             : y > 1 ? h->v[colour][k - 2 * block]
                             : y     ? h->v[colour][1]
                                     : NULL;
        for (unsigned i = 0; i < TILE_BLOCKS; i++) {
            int16_t d = far == NULL ? 0 : (int16_t)(near[i] - far[i]);
            h->raw[i] = near[i];
            gradient[i] = far == NULL ? h->activity[i] : (int16_t)(2 * (d < 0 ? -d : d));
        }
    }
    for (unsigned i = 0; i < TILE_BLOCKS; i++) {
        int16_t g = h->green[k][i], p = h->raw[i], context = h->activity[i];
        if (turn > 0) {
            p = (int16_t)(p + ((g * weight + 8 + 4096) >> 4) - 256); /* no shift of a negative */
            p = p < 0 ? 0 : p > 255 ? 255 : p;
            context = (int16_t)(context + 4 * (g < 0 ? -g : g));
        } else {
            context = (int16_t)(context + gradient[i]);
        }
        h->prediction[i] = (uint8_t)p;
        h->context[i] = context;
    }
}

/* Take note of sample k once its originals are known. */
static TARGET void NAME(note)(struct NAME(hiding) * h, uint32_t colour, uint32_t turn, uint32_t k)
{
    for (unsigned i = 0; i < TILE_BLOCKS; i++) {
        int16_t v = h->v[colour][k][i], e = (int16_t)(v - h->prediction[i]);
        if (turn == 0)
            h->green[k][i] = (int16_t)(v - h->raw[i]);
        h->activity[i] = (int16_t)(h->activity[i] - (h->activity[i] >> 2) + (e < 0 ? -e : e));
    }
}

/* Read a patch, and once more with its header samples made odd: their lowest bits will be the
 * header's. */
static TARGET void NAME(read_originals)(const struct header_area *area, const struct grid *grid,
                                        const struct patch *p, const uint8_t *image,
                                        patch_samples *samples, struct NAME(hiding) * h)
{
    NAME(read_patch)(grid, p, image, samples);
    for (uint32_t c = 0; c < grid->g->colours; c++) {
        memcpy(h->v[c], samples[c], grid->samples * sizeof samples[c][0]);
        if (p->row * grid->block >= area->rows)
            continue;
        for (uint32_t k = 0; k < grid->samples; k++) {
            uint8_t used[TILE_BLOCKS];
            memset(used, 1, sizeof used);
            exclude_header(area, grid, p, c, k, used);
            for (unsigned i = 0; i < TILE_BLOCKS; i++)
                h->v[c][k][i] = (uint8_t)(h->v[c][k][i] | !used[i]);
        }
    }
}

/* ---- samples seen from their predictions ---- */

/*
 * Samples k of a patch, mirrored where the prediction is 128 or above, so that the end with more
 * room is always above: 'size' is the distance from the prediction, counted from 0 upwards on the
 * far side (above) and on the near side (below) alike.
 */
struct NAME(view) {
    int16_t x[TILE_BLOCKS], p[TILE_BLOCKS], size[TILE_BLOCKS];
    int16_t flipped[TILE_BLOCKS], far[TILE_BLOCKS]; /* 0 or 1 */
};

static inline TARGET void NAME(look)(const struct NAME(hiding) * h, const uint8_t *samples,
                                     struct NAME(view) * view)
{
    for (unsigned i = 0; i < TILE_BLOCKS; i++) {
        int16_t p = h->prediction[i], x = samples[i], flipped = p >= 128;
        p = flipped ? (int16_t)(255 - p) : p;
        x = flipped ? (int16_t)(255 - x) : x;
        int16_t e = (int16_t)(x - p), far = e >= 0;
        view->x[i] = x, view->p[i] = p;
        view->size[i] = far ? e : (int16_t)~e;
        view->far[i] = far;
        view->flipped[i] = flipped;
    }
}

/* By place: how many errors of its side are expanded; 0 where it is not used. */
static inline TARGET void NAME(limits)(const struct NAME(hiding) * h,
                                       const struct NAME(view) * view, const uint8_t *threshold,
                                       const uint8_t *used, int16_t *limit)
{
    int16_t above[DSG_BUCKETS], below[DSG_BUCKETS], more_above[DSG_BUCKETS],
        more_below[DSG_BUCKETS];
    int16_t far[TILE_BLOCKS], near[TILE_BLOCKS];
    for (unsigned b = 0; b < DSG_BUCKETS; b++)
        above[b] = hiding_above[threshold[b]], below[b] = hiding_below[threshold[b]];
    for (unsigned b = 1; b < DSG_BUCKETS; b++) {
        more_above[b] = (int16_t)(above[b] - above[b - 1]);
        more_below[b] = (int16_t)(below[b] - below[b - 1]);
    }
    for (unsigned i = 0; i < TILE_BLOCKS; i++) { /* a look-up, as sums of steps */
        int16_t a = above[0], c = below[0];
        for (unsigned b = 1; b < DSG_BUCKETS; b++) {
            int16_t reached = (int16_t)-(h->context[i] > bucket_limit[b]);
            a = (int16_t)(a + (reached & more_above[b]));
            c = (int16_t)(c + (reached & more_below[b]));
        }
        far[i] = a, near[i] = c;
    }
    for (unsigned i = 0; i < TILE_BLOCKS; i++) {
        int16_t room = near_room(view->p[i]);
        near[i] = near[i] < room ? near[i] : room;
    }
    for (unsigned i = 0; i < TILE_BLOCKS; i++) /* apart: gcc 12 fails on both in one loop */
        limit[i] = (int16_t)((view->far[i] ? far[i] : near[i]) & -used[i]);
}

/* A bit per byte of 0 or 1. */
static inline uint64_t NAME(mask_of)(const uint8_t *flags)
{
    uint64_t mask = 0;
    for (unsigned j = 0; j < TILE_BLOCKS / 8; j++)
        mask |= squeeze(load_word(flags + 8 * j), 1) << 8 * j;
    return mask;
}

/* Add bit i of 'bits' to sample i where it lies above its prediction, else subtract it. */
static inline TARGET void NAME(add_bits)(uint64_t bits, const int16_t *far, const int16_t *flipped,
                                         uint8_t *samples)
{
    uint8_t bit[TILE_BLOCKS];
    for (unsigned j = 0; j < TILE_BLOCKS / 8; j++)
        store_word(bit + 8 * j, stretch(bits >> 8 * j & 0xFF, 1));
    for (unsigned i = 0; i < TILE_BLOCKS; i++)
        samples[i] = (uint8_t)(far[i] != flipped[i] ? samples[i] + bit[i] : samples[i] - bit[i]);
}

/* ---- thresholds ---- */

/* How often each error occurs, by bucket, side and size. */
struct NAME(errors) {
    uint32_t count[DSG_BUCKETS][2][HIDING_ERRORS]; /* far, near */
};

static TARGET void NAME(count_errors)(const struct grid *grid, const uint8_t *image, int weight,
                                      struct NAME(errors) * errors)
{
    enum { OTHER = DSG_BUCKETS * 2 * HIDING_ERRORS };
    struct header_area area = header_area_of(grid->g);
    struct NAME(hiding) h;
    struct NAME(view) view;
    patch_samples out[4];
    uint32_t count[OTHER + 1] = {0};
    for (uint32_t row = 0; row < grid->down; row += DSG_TILE) {
        for (uint32_t column = 0; column < grid->across; column += DSG_TILE) {
            struct patch p = patch_at(grid, row, column);
            NAME(read_originals)(&area, grid, &p, image, out, &h);
            for (uint32_t t = 0; t < grid->g->colours; t++) {
                uint32_t c = colour_at(grid->g, t);
                NAME(start_colour)(&h, t);
                for (uint32_t k = 1; k < grid->samples; k++) {
                    uint8_t used[TILE_BLOCKS];
                    int16_t at[TILE_BLOCKS];
                    NAME(predict)(&h, grid->block, c, t, k, weight);
                    NAME(note)(&h, c, t, k);
                    NAME(look)(&h, h.v[c][k], &view);
                    memset(used, 1, sizeof used);
                    exclude_header(&area, grid, &p, c, k, used);
                    for (unsigned i = 0; i < TILE_BLOCKS; i++) {
                        int16_t size = view.size[i], last = HIDING_ERRORS - 1;
                        int16_t fits = view.far[i] | (size < near_room(view.p[i]));
                        int16_t bucket = 0;
                        for (unsigned b = 1; b < DSG_BUCKETS; b++)
                            bucket = (int16_t)(bucket + (h.context[i] > bucket_limit[b]));
                        int16_t place = (int16_t)(bucket * (2 * HIDING_ERRORS));
                        place = (int16_t)(place + (view.far[i] ? 0 : HIDING_ERRORS));
                        place = (int16_t)(place + (size < last ? size : last));
                        at[i] = fits & used[i] ? place : OTHER;
                    }
                    for (uint32_t i = 0; i < p.blocks; i++)
                        count[at[i]]++;
                }
            }
        }
    }
    memcpy(errors->count, count, sizeof errors->count);
}

/* capacity[t], cost[t]: bits that one bucket takes at threshold t, and twice the squared error. */
static TARGET void NAME(weigh)(const uint32_t *far, const uint32_t *near, uint64_t *capacity,
                               uint64_t *cost)
{
    uint64_t count[2][HIDING_ERRORS + 1], grown[2][HIDING_ERRORS + 1]; /* of errors below e */
    count[0][0] = count[1][0] = grown[0][0] = grown[1][0] = 0;
    for (unsigned e = 0; e < HIDING_ERRORS; e++) {
        uint64_t each = 2 * e * e + 2 * e + 1;
        count[0][e + 1] = count[0][e] + far[e], grown[0][e + 1] = grown[0][e] + far[e] * each;
        count[1][e + 1] = count[1][e] + near[e], grown[1][e + 1] = grown[1][e] + near[e] * each;
    }
    for (unsigned t = 0; t < HIDING_THRESHOLDS; t++) {
        unsigned above = hiding_above[t], below = hiding_below[t];
        capacity[t] = count[0][above] + count[1][below];
        cost[t] = grown[0][above] + grown[1][below];
        cost[t] += 2 * above * above * (count[0][HIDING_ERRORS] - count[0][above]);
        cost[t] += 2 * below * below * (count[1][HIDING_ERRORS] - count[1][below]);
    }
}

/* The thresholds that hold 'bits' at little cost: again and again the step of one bucket that
 * brings most bits for its cost; false where all together do not hold them. */
static TARGET int NAME(choose_thresholds)(const struct NAME(errors) * errors, uint64_t bits,
                                          uint8_t *threshold)
{
    uint64_t capacity[DSG_BUCKETS][HIDING_THRESHOLDS], cost[DSG_BUCKETS][HIDING_THRESHOLDS];
    uint64_t held = 0;
    memset(threshold, 0, DSG_BUCKETS);
    for (unsigned b = 0; b < DSG_BUCKETS; b++)
        NAME(weigh)(errors->count[b][0], errors->count[b][1], capacity[b], cost[b]);
    while (held < bits) {
        uint64_t gain = 0, price = 1;
        unsigned bucket = 0, to = 0;
        for (unsigned b = 0; b < DSG_BUCKETS; b++) {
            unsigned from = threshold[b];
            for (unsigned t = from + 1; t < HIDING_THRESHOLDS; t++) {
                uint64_t more = capacity[b][t] - capacity[b][from];
                uint64_t worse = cost[b][t] - cost[b][from];
                if (more * price > gain * worse)
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

/* ---- embedding and extraction ---- */

/* What is hidden: a payload, then the flags of doubtful samples, which grow on the way. */
struct NAME(stream) {
    const uint8_t *payload;
    size_t bits, flagged, done;
    uint8_t flags[MOST_FLAGS / 8];
};

static inline unsigned NAME(next_bit)(struct NAME(stream) * s)
{
    size_t at = s->done++;
    return at < s->bits ? stream_bit(s->payload, at) : stream_bit(s->flags, at - s->bits);
}

/* Hide bits in samples k of a patch: 'out' holds them and is changed.  False where there are too
 * many flags. */
static TARGET int NAME(hide_step)(const struct NAME(hiding) * h, const uint8_t *threshold,
                                  const uint8_t *used, uint32_t blocks, uint8_t *live, uint8_t *out,
                                  struct NAME(stream) * s)
{
    struct NAME(view) view;
    int16_t limit[TILE_BLOCKS];
    uint8_t moved[TILE_BLOCKS], takes[TILE_BLOCKS], doubt[TILE_BLOCKS], stays[TILE_BLOCKS];
    uint32_t end = blocks;
    NAME(look)(h, out, &view);
    NAME(limits)(h, &view, threshold, used, limit);
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
        moved[i] = (uint8_t)(view.flipped[i] ? 255 - x : x);
    }
    uint64_t within = blocks < 64 ? (UINT64_C(1) << blocks) - 1 : UINT64_MAX;
    uint64_t doubtful = NAME(mask_of)(doubt) & within, mask = NAME(mask_of)(takes) & within;
    if (doubtful == 0 && s->done + FAR_FROM_END <= s->bits) { /* as a rule: all at once */
        NAME(add_bits)(NAME(deposit)(stream_word(s->payload, s->done), mask), view.far,
                       view.flipped, moved);
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
            live[i] = 0;
            continue;
        }
        unsigned up = view.far[i] != view.flipped[i];
        unsigned bit = NAME(next_bit)(s);
        moved[i] = (uint8_t)(up ? moved[i] + bit : moved[i] - bit);
        if (s->done == s->bits + s->flagged) { /* whatever comes after the last bit stays */
            end = i + 1;
            break;
        }
    }
    memcpy(out, moved, end);
    return 1;
}

static TARGET int NAME(hide_with)(const struct grid *grid, const uint8_t *payload, size_t bytes,
                                  int weight, const uint8_t *threshold, const uint8_t *temporary,
                                  uint8_t *image)
{
    struct header_area area = header_area_of(grid->g);
    struct NAME(hiding) h;
    struct NAME(stream) s = {payload, bytes * 8, 0, 0, {0}};
    patch_samples out[4];
    memcpy(image, temporary, image_samples(grid->g));
    for (uint32_t row = 0; row < grid->down; row += DSG_TILE) {
        for (uint32_t column = 0; column < grid->across; column += DSG_TILE) {
            struct patch p = patch_at(grid, row, column);
            uint8_t live[TILE_BLOCKS], used[TILE_BLOCKS];
            memset(live, 1, sizeof live);
            NAME(read_originals)(&area, grid, &p, temporary, out, &h);
            for (uint32_t t = 0; t < grid->g->colours; t++) {
                uint32_t c = colour_at(grid->g, t);
                NAME(start_colour)(&h, t);
                for (uint32_t k = 1; k < grid->samples; k++) {
                    if (s.done == s.bits + s.flagged)
                        break;
                    NAME(predict)(&h, grid->block, c, t, k, weight);
                    NAME(note)(&h, c, t, k);
                    memcpy(used, live, sizeof used);
                    exclude_header(&area, grid, &p, c, k, used);
                    if (!NAME(hide_step)(&h, threshold, used, p.blocks, live, out[c][k], &s))
                        return 0;
                }
            }
            NAME(write_patch)(grid, &p, out, image);
            if (s.done == s.bits + s.flagged)
                return 1;
        }
    }
    return 0;
}

/* The weight of green's error whose corrections leave the least error behind, as mode bits. */
static TARGET unsigned NAME(choose_weight)(const struct grid *grid, const uint8_t *image)
{
    struct header_area area = header_area_of(grid->g);
    struct NAME(hiding) h;
    patch_samples out[4];
    uint64_t total[4] = {0};
    if (grid->g->colours < 3)
        return 0;
    for (uint32_t row = 0; row < grid->down; row += DSG_TILE) {
        for (uint32_t column = 0; column < grid->across; column += DSG_TILE) {
            struct patch p = patch_at(grid, row, column);
            NAME(read_originals)(&area, grid, &p, image, out, &h);
            for (uint32_t t = 0; t < grid->g->colours; t++) {
                uint32_t c = colour_at(grid->g, t);
                NAME(start_colour)(&h, t);
                for (uint32_t k = 1; k < grid->samples; k++) {
                    NAME(predict)(&h, grid->block, c, t, k, 0);
                    NAME(note)(&h, c, t, k);
                    if (t == 0)
                        continue;
                    for (unsigned w = 0; w < 4; w++) {
                        uint32_t sum = 0;
                        for (unsigned i = 0; i < TILE_BLOCKS; i++) {
                            int16_t e = (int16_t)(16 * (h.v[c][k][i] - h.raw[i]) -
                                                  hiding_weight[w] * h.green[k][i]);
                            sum += (uint16_t)(e < 0 ? -e : e);
                        }
                        total[w] += sum;
                    }
                }
            }
        }
    }
    unsigned best = 0;
    for (unsigned w = 1; w < 4; w++)
        best = total[w] < total[best] ? w : best;
    return best;
}

static TARGET int NAME(hide)(const struct dsg_geometry *g, const uint8_t *temporary,
                             const uint8_t *payload, size_t bytes, uint8_t *mode,
                             uint8_t *threshold, uint8_t *image)
{
    struct grid grid = grid_of(g, mode_block(*mode));
    struct NAME(errors) errors;
    unsigned weight = NAME(choose_weight)(&grid, temporary);
    uint64_t bits = (uint64_t)bytes * 8 + bytes / 4 + 8; /* doubtful samples take room */
    *mode = (uint8_t)((*mode & 7) | weight << 3);
    NAME(count_errors)(&grid, temporary, hiding_weight[weight], &errors);
    for (unsigned attempt = 0; attempt < 4; attempt++) {
        if (!NAME(choose_thresholds)(&errors, bits, threshold))
            break;
        if (NAME(hide_with)(&grid, payload, bytes, hiding_weight[weight], threshold, temporary,
                            image))
            return 1;
        bits += bits / 8 + 16;
    }
    memcpy(image, temporary, image_samples(g));
    memset(threshold, 0, DSG_BUCKETS);
    return 0;
}

/* Where the bits go, and the doubtful samples met. */
struct NAME(found) {
    uint8_t *payload;
    size_t bits, flagged, done;
    uint64_t *doubtful; /* offset << 8 | what the sample was if it was moved */
};

static TARGET void NAME(reveal_step)(struct NAME(hiding) * h, const struct grid *grid,
                                     const struct patch *p, uint32_t colour, uint32_t k,
                                     const uint8_t *threshold, const uint8_t *used, uint8_t *live,
                                     uint8_t *out, struct NAME(found) * f)
{
    struct NAME(view) view;
    int16_t limit[TILE_BLOCKS];
    uint8_t moved[TILE_BLOCKS], takes[TILE_BLOCKS], doubt[TILE_BLOCKS], bits[TILE_BLOCKS];
    uint32_t end = p->blocks;
    NAME(look)(h, out, &view);
    NAME(limits)(h, &view, threshold, used, limit);
    for (unsigned i = 0; i < TILE_BLOCKS; i++) {
        int16_t grown = view.size[i], takes_bit = grown < 2 * limit[i];
        int16_t size = (int16_t)(takes_bit ? grown >> 1 : grown - limit[i]);
        int16_t x = (int16_t)(view.far[i] ? view.p[i] + size : view.p[i] - 1 - size);
        int16_t from_end = view.far[i] ? (int16_t)(255 - view.x[i]) : view.x[i];
        takes[i] = (uint8_t)takes_bit;
        bits[i] = (uint8_t)(grown & 1);
        doubt[i] = (uint8_t)(!takes_bit & (from_end < limit[i]));
        moved[i] = (uint8_t)(view.flipped[i] ? 255 - x : x);
    }
    uint64_t within = p->blocks < 64 ? (UINT64_C(1) << p->blocks) - 1 : UINT64_MAX;
    uint64_t doubtful = NAME(mask_of)(doubt) & within, mask = NAME(mask_of)(takes) & within;
    if (doubtful == 0 && f->done + FAR_FROM_END <= f->bits) { /* as a rule: all at once */
        add_stream_word(f->payload, f->done, NAME(collect)(NAME(mask_of)(bits), mask));
        f->done += count_bits(mask);
        memcpy(out, moved, TILE_BLOCKS);
        for (unsigned i = 0; i < TILE_BLOCKS; i++)
            h->v[colour][k][i] = used[i] ? moved[i] : h->v[colour][k][i];
        return;
    }
    for (mask |= doubtful; mask; mask &= mask - 1) {
        unsigned i = first_bit(mask);
        if (doubt[i]) { /* a flag will say whether it was moved at all */
            size_t y = (p->row + i / p->columns) * grid->block + k / grid->block;
            size_t x = (p->column + i % p->columns) * grid->block + k % grid->block;
            size_t offset = (y * grid->g->width + x) * grid->g->channels + colour;
            f->doubtful[f->flagged++] = (uint64_t)offset << 8 | moved[i];
            moved[i] = out[i];
            live[i] = 0;
            continue;
        }
        if (f->done % 8 == 0)
            f->payload[f->done / 8] = 0;
        add_stream_bit(f->payload, f->done++, bits[i]);
        if (f->done == f->bits + f->flagged) {
            end = i + 1;
            break;
        }
    }
    memcpy(out, moved, end);
    for (unsigned i = 0; i < end; i++)
        h->v[colour][k][i] = used[i] ? out[i] : h->v[colour][k][i];
}

static TARGET int NAME(reveal)(const struct dsg_geometry *g, const uint8_t *image, uint8_t mode,
                               const uint8_t *threshold, uint8_t *payload, size_t bytes,
                               uint8_t *temporary, uint64_t *scratch)
{
    struct grid grid = grid_of(g, mode_block(mode));
    struct header_area area = header_area_of(g);
    struct NAME(hiding) h;
    struct NAME(found) f = {payload, bytes * 8, 0, 0, scratch};
    int weight = hiding_weight[mode >> 3 & 3];
    patch_samples out[4];
    memcpy(temporary, image, image_samples(g));
    memset(payload, 0, bytes);
    for (uint32_t row = 0; row < grid.down && f.done < f.bits + f.flagged; row += DSG_TILE) {
        for (uint32_t column = 0; column < grid.across; column += DSG_TILE) {
            struct patch p = patch_at(&grid, row, column);
            uint8_t live[TILE_BLOCKS], used[TILE_BLOCKS];
            if (f.done == f.bits + f.flagged)
                break;
            memset(live, 1, sizeof live);
            NAME(read_originals)(&area, &grid, &p, image, out, &h);
            for (uint32_t t = 0; t < g->colours; t++) {
                uint32_t c = colour_at(g, t);
                NAME(start_colour)(&h, t);
                for (uint32_t k = 1; k < grid.samples; k++) {
                    if (f.done == f.bits + f.flagged)
                        break;
                    NAME(predict)(&h, grid.block, c, t, k, weight);
                    memcpy(used, live, sizeof used);
                    exclude_header(&area, &grid, &p, c, k, used);
                    NAME(reveal_step)(&h, &grid, &p, c, k, threshold, used, live, out[c][k], &f);
                    NAME(note)(&h, c, t, k);
                }
            }
            NAME(write_patch)(&grid, &p, out, temporary);
        }
    }
    if (f.done < f.bits + f.flagged)
        return 0;
    for (size_t i = 0; i < f.flagged; i++)
        if (!stream_bit(payload, f.bits + i))
            temporary[scratch[i] >> 8] = (uint8_t)scratch[i];
    return 1;
}
