/*
 * compact_template.h - profile exact: the transformation and its inverse with a compact Sequence.
 *
 * Included once per instruction set; the includer defines ISA, TARGET and NAME.
 */
#include "grid.h"
#include "sequence.h"

/* With block, channels and columns constants, the inner loops become single moves. */
static inline TARGET void NAME(read_lines)(const struct patch *p, const uint8_t *first,
                                           size_t pitch, uint32_t block, uint32_t step,
                                           uint32_t columns, patch_samples samples)
{
    for (uint32_t row = 0; row < p->rows; row++)
        for (uint32_t y = 0; y < block; y++, first += pitch)
            for (uint32_t x = 0; x < block; x++)
                for (uint32_t column = 0; column < columns; column++)
                    samples[y * block + x][row * columns + column] =
                        first[(column * block + x) * step];
}

static inline TARGET void NAME(write_lines)(const struct patch *p, uint8_t *first, size_t pitch,
                                            uint32_t block, uint32_t step, uint32_t columns,
                                            patch_samples samples)
{
    for (uint32_t row = 0; row < p->rows; row++)
        for (uint32_t y = 0; y < block; y++, first += pitch)
            for (uint32_t x = 0; x < block; x++)
                for (uint32_t column = 0; column < columns; column++)
                    first[(column * block + x) * step] =
                        samples[y * block + x][row * columns + column];
}

/* The blocks of every colour, by samples. */
static TARGET void NAME(read_patch)(const struct grid *grid, const struct patch *p,
                                    const uint8_t *image, patch_samples *samples)
{
    uint32_t block = grid->block, step = grid->g->channels;
    size_t pitch = (size_t)grid->g->width * step;
    if (block == DSG_BLOCK) { /* the moves of profile paper */
        struct tile t = {p->row, p->column, p->rows, p->columns, p->blocks};
        block_samples blocks[4];
        if (p->blocks < TILE_BLOCKS)
            memset(blocks, 0, step * sizeof blocks[0]);
        NAME(read_tile)(grid->g, &t, image, blocks);
        for (uint32_t c = 0; c < grid->g->colours; c++)
            NAME(by_samples)(blocks[c], samples[c]);
        return;
    }
    for (uint32_t c = 0; c < grid->g->colours; c++) {
        const uint8_t *first = image + p->first + c;
        if (p->blocks < TILE_BLOCKS)
            memset(samples[c], 0, grid->samples * sizeof samples[c][0]);
        if (step == 3 && block == 2 && p->columns == DSG_TILE)
            NAME(read_lines)(p, first, pitch, 2, 3, DSG_TILE, samples[c]);
        else
            NAME(read_lines)(p, first, pitch, block, step, p->columns, samples[c]);
    }
}

/* Write them into an image; its other channels stay. */
static TARGET void NAME(write_patch)(const struct grid *grid, const struct patch *p,
                                     patch_samples *samples, uint8_t *image)
{
    uint32_t block = grid->block, step = grid->g->channels;
    size_t pitch = (size_t)grid->g->width * step;
    if (block == DSG_BLOCK) {
        struct tile t = {p->row, p->column, p->rows, p->columns, p->blocks};
        block_samples blocks[4];
        if (grid->g->colours < step)
            NAME(read_tile)(grid->g, &t, image, blocks);
        for (uint32_t c = 0; c < grid->g->colours; c++)
            NAME(by_blocks)(samples[c], blocks[c]);
        NAME(write_tile)(grid->g, &t, blocks, image);
        return;
    }
    for (uint32_t c = 0; c < grid->g->colours; c++) {
        uint8_t *first = image + p->first + c;
        if (step == 3 && block == 2 && p->columns == DSG_TILE)
            NAME(write_lines)(p, first, pitch, 2, 3, DSG_TILE, samples[c]);
        else
            NAME(write_lines)(p, first, pitch, block, step, p->columns, samples[c]);
    }
}

struct NAME(patch_statistics) {
    uint32_t key[TILE_BLOCKS]; /* n * sum of squares - square of the sum */
    int32_t sum[TILE_BLOCKS];
    int16_t low[TILE_BLOCKS], high[TILE_BLOCKS];
};

static TARGET void NAME(measure)(patch_samples samples, uint32_t n,
                                 struct NAME(patch_statistics) * s)
{
    uint32_t squares[TILE_BLOCKS] = {0};
    uint16_t sum[TILE_BLOCKS] = {0};
    uint8_t low[TILE_BLOCKS], high[TILE_BLOCKS] = {0};
    memset(low, 255, sizeof low);
    for (uint32_t k = 0; k < n; k++) {
        for (unsigned i = 0; i < TILE_BLOCKS; i++) {
            uint8_t v = samples[k][i];
            sum[i] = (uint16_t)(sum[i] + v);
            squares[i] += (uint16_t)(v * v);
            low[i] = v < low[i] ? v : low[i];
            high[i] = v > high[i] ? v : high[i];
        }
    }
    for (unsigned i = 0; i < TILE_BLOCKS; i++) {
        s->key[i] = n * squares[i] - (uint32_t)sum[i] * sum[i];
        s->sum[i] = sum[i], s->low[i] = low[i], s->high[i] = high[i];
    }
}

/* A difference of sums of 2^log_n samples as a mean shift in steps of 2^log_step, rounded to the
 * nearest, halves up. */
static inline int NAME(mean_steps)(int32_t difference, unsigned log_n, unsigned log_step)
{
    const int32_t bias = 1 << 24; /* a right shift of a negative number is not portable */
    unsigned by = log_n + log_step;
    return (int)((difference + (1 << by >> 1) + bias) >> by) - (bias >> by);
}

static inline unsigned NAME(log_samples)(const struct grid *grid)
{
    return 2 * (block_mode(grid->block) + 1);
}

/* ---- identity ---- */

/* A shift that does not fit whole is none: parts of the usual shift would cost more bits than they
 * bring nearer to the target. */
static TARGET void NAME(identity_shifts)(const struct grid *grid, patch_samples clean,
                                         patch_samples target, int only, int16_t *shift)
{
    unsigned log_n = NAME(log_samples)(grid);
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
        int steps = NAME(mean_steps)(difference[i], log_n, 0);
        if (only > 0)
            steps = steps > 0 ? only : steps < 0 ? -only : 0;
        shift[i] = (int16_t)(steps < -low[i] || steps > 255 - high[i] ? 0 : steps);
    }
}

/* The size of shift from 'least' up that most blocks have, the smallest of equally frequent ones;
 * with 'only', sizes are that or 0. */
static TARGET int NAME(usual_shift)(const struct grid *grid, const uint8_t *clean,
                                    const uint8_t *target, int least, int only)
{
    uint32_t count[256] = {0};
    patch_samples from[4], to[4];
    int16_t shift[TILE_BLOCKS];
    for (uint32_t row = 0; row < grid->down; row += DSG_TILE) {
        for (uint32_t column = 0; column < grid->across; column += DSG_TILE) {
            struct patch p = patch_at(grid, row, column);
            NAME(read_patch)(grid, &p, clean, from);
            NAME(read_patch)(grid, &p, target, to);
            for (uint32_t c = 0; c < grid->g->colours; c++) {
                NAME(identity_shifts)(grid, from[c], to[c], only, shift);
                for (uint32_t i = 0; i < p.blocks; i++)
                    count[shift[i] < 0 ? -shift[i] : shift[i]]++;
            }
        }
    }
    int usual = least;
    for (int size = least + 1; size < 256; size++)
        usual = count[size] > count[usual] ? size : usual;
    return usual;
}

/* Whether a sample of each block is 0 (1) or 255 (2): then its shift may have been cut short. */
static TARGET void NAME(at_edge)(patch_samples samples, uint32_t n, uint8_t *edge)
{
    memset(edge, 0, TILE_BLOCKS);
    for (uint32_t k = 0; k < n; k++)
        for (unsigned i = 0; i < TILE_BLOCKS; i++)
            edge[i] = (uint8_t)(edge[i] | (samples[k][i] == 0) | (samples[k][i] == 255) << 1);
}

static TARGET void NAME(add_shifts)(patch_samples samples, uint32_t n, const uint8_t *shift)
{
    for (uint32_t k = 0; k < n; k++)
        for (unsigned i = 0; i < TILE_BLOCKS; i++)
            samples[k][i] = (uint8_t)(samples[k][i] + shift[i]);
}

static TARGET void NAME(encode_identity)(const struct grid *grid, const struct patch *p,
                                         const uint8_t *clean, const uint8_t *target,
                                         uint8_t *temporary, struct encoder *e, struct models *m,
                                         int usual, int only)
{
    patch_samples from[4], to[4];
    int16_t shift[TILE_BLOCKS], first[TILE_BLOCKS] = {0};
    uint8_t add[TILE_BLOCKS], edge[TILE_BLOCKS];
    NAME(read_patch)(grid, p, clean, from);
    NAME(read_patch)(grid, p, target, to);
    for (uint32_t turn = 0; turn < grid->g->colours; turn++) {
        uint32_t c = colour_at(grid->g, turn);
        NAME(identity_shifts)(grid, from[c], to[c], only, shift);
        for (unsigned i = 0; i < TILE_BLOCKS; i++)
            add[i] = (uint8_t)shift[i];
        NAME(add_shifts)(from[c], grid->samples, add);
        NAME(at_edge)(from[c], grid->samples, edge);
        for (uint32_t i = 0; i < p->blocks; i++)
            encode_shift(e, m, shift[i], usual, edge[i], first[i]);
        if (turn == 0)
            memcpy(first, shift, sizeof first);
    }
    NAME(write_patch)(grid, p, from, temporary);
}

static TARGET void NAME(decode_identity)(const struct grid *grid, const struct patch *p,
                                         const uint8_t *temporary, uint8_t *clean,
                                         struct decoder *d, struct models *m, int usual)
{
    patch_samples samples[4];
    uint8_t add[TILE_BLOCKS] = {0}, edge[TILE_BLOCKS];
    int first[TILE_BLOCKS] = {0};
    NAME(read_patch)(grid, p, temporary, samples);
    for (uint32_t turn = 0; turn < grid->g->colours; turn++) {
        uint32_t c = colour_at(grid->g, turn);
        NAME(at_edge)(samples[c], grid->samples, edge);
        for (uint32_t i = 0; i < p->blocks; i++) {
            int shift = decode_shift(d, m, usual, edge[i], first[i]);
            add[i] = (uint8_t)-shift;
            first[i] = turn == 0 ? shift : first[i];
        }
        NAME(add_shifts)(samples[c], grid->samples, add);
    }
    NAME(write_patch)(grid, p, samples, clean);
}

/* ---- classes ---- */

enum { NAME(CLASS_STEP) = 3 /* log2 of the shift step */ };

/* rank[i] = how many of the n blocks come before block i by key, equal keys in raster order. */
static TARGET void NAME(rank_keys)(const uint32_t *key, uint32_t n, uint8_t *rank)
{
    for (uint32_t i = 0; i < n; i++) {
        uint32_t before = 0;
        for (uint32_t j = 0; j < n; j++)
            before += (key[j] < key[i]) | ((key[j] == key[i]) & (j < i));
        rank[i] = (uint8_t)before;
    }
}

/* class_of[i] = 1 for the quarter of blocks with the largest keys and all that equal the least of
 * them; returns how many. */
static TARGET uint32_t NAME(classify)(const uint32_t *key, uint32_t n, uint8_t *class_of)
{
    uint8_t rank[TILE_BLOCKS];
    uint32_t least = UINT32_MAX, count = 0;
    NAME(rank_keys)(key, n, rank);
    for (uint32_t i = 0; i < n; i++)
        least = rank[i] == n - n / 4 ? key[i] : least;
    for (uint32_t i = 0; i < n; i++)
        count += class_of[i] = n >= 4 && key[i] >= least;
    return count;
}

/* pairing[place] = source: the r-th source block of a class goes to the r-th place of it. */
static inline void NAME(pair_classes)(const uint8_t *of_source, const uint8_t *of_place, uint32_t n,
                                      uint8_t *pairing)
{
    uint32_t source[2] = {0, 0};
    for (uint32_t place = 0; place < n; place++) {
        unsigned c = of_place[place];
        while (source[c] < n && of_source[source[c]] != c)
            source[c]++;
        pairing[place] = (uint8_t)source[c]++;
    }
}

/* The sample of a block of side b that lands on place k when it is turned r * 90 degrees. */
static inline uint32_t NAME(turned)(uint32_t b, unsigned r, uint32_t k)
{
    uint32_t y = k / b, x = k % b;
    return r == 0 ? k : r == 1 ? x * b + b - 1 - y : r == 2 ? b * b - 1 - k : (b - 1 - x) * b + y;
}

/* The turn of highest correlation, the smallest among equals; 0 for flat blocks. */
static TARGET void NAME(fitting_turns)(uint32_t block, patch_samples source, patch_samples target,
                                       const uint32_t *key, uint8_t *turn)
{
    int32_t best[TILE_BLOCKS] = {0}, sum[TILE_BLOCKS];
    memset(turn, 0, TILE_BLOCKS);
    for (unsigned r = 0; r < 4; r++) {
        memset(sum, 0, sizeof sum);
        for (uint32_t k = 0; k < block * block; k++) {
            const uint8_t *a = source[NAME(turned)(block, r, k)], *b = target[k];
            for (unsigned i = 0; i < TILE_BLOCKS; i++)
                sum[i] += (uint16_t)(a[i] * b[i]);
        }
        for (unsigned i = 0; i < TILE_BLOCKS; i++) {
            int better = (r == 0) | ((sum[i] > best[i]) & (key[i] > 0));
            best[i] = better ? sum[i] : best[i];
            turn[i] = better ? (uint8_t)r : turn[i];
        }
    }
}

/* What predicts the sum of source block j from those before it: the median edge detector. */
static inline int32_t NAME(predict_sum)(const int32_t *sum, uint32_t j, uint32_t columns,
                                        int32_t first)
{
    uint32_t x = j % columns;
    if (j == 0)
        return first;
    if (j < columns)
        return sum[j - 1];
    if (x == 0)
        return sum[j - columns];
    int32_t l = sum[j - 1], u = sum[j - columns], d = sum[j - columns - 1];
    int32_t least = l < u ? l : u, most = l < u ? u : l, p = l + u - d;
    return p < least ? least : p > most ? most : p;
}

static inline unsigned NAME(class_context)(const uint8_t *class_of, uint32_t i, uint32_t columns)
{
    unsigned left = i % columns ? class_of[i - 1] : 0;
    return left + (i >= columns ? class_of[i - columns] : 0u);
}

/* What the coder of classes keeps from patch to patch and from colour to colour. */
struct NAME(class_state) {
    int32_t first[4];              /* by colour: sum of the first block of the last patch */
    int32_t surprise[TILE_BLOCKS]; /* of the first colour: how far a block's sum was off */
};

/* Who goes where in a patch. */
struct NAME(pairs) {
    uint8_t of_source[TILE_BLOCKS]; /* the class of each source block */
    uint8_t source[TILE_BLOCKS];    /* by place, the source block that goes there */
    uint8_t place[TILE_BLOCKS];     /* the inverse */
};

static inline void NAME(invert_pairs)(struct NAME(pairs) * pairs, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        pairs->place[pairs->source[i]] = (uint8_t)i;
}

/* Pair source blocks with target blocks by the sums of their keys over all colours. */
static TARGET void NAME(choose_pairs)(const uint32_t *key, const uint32_t *wanted, uint32_t n,
                                      struct NAME(pairs) * pairs)
{
    uint8_t of_place[TILE_BLOCKS], rank[TILE_BLOCKS];
    uint32_t high = NAME(classify)(key, n, pairs->of_source);
    NAME(rank_keys)(wanted, n, rank);
    for (uint32_t i = 0; i < n; i++)
        of_place[i] = rank[i] >= n - high;
    NAME(pair_classes)(pairs->of_source, of_place, n, pairs->source);
    NAME(invert_pairs)(pairs, n);
}

/* What became of one colour of a patch, by place. */
struct NAME(moves) {
    int shift[TILE_BLOCKS];
    uint8_t turn[TILE_BLOCKS];
    uint32_t key[TILE_BLOCKS];
};

/* Move the blocks of one colour to their places, shifted and turned. */
static TARGET void NAME(move_blocks)(const struct grid *grid, const struct NAME(pairs) * pairs,
                                     uint32_t blocks, patch_samples from, patch_samples to,
                                     const struct NAME(patch_statistics) * s,
                                     struct NAME(moves) * moves, patch_samples out)
{
    uint32_t n = grid->samples;
    patch_samples matched = {{0}};
    memset(moves, 0, sizeof *moves);
    for (uint32_t i = 0; i < blocks; i++) {
        uint32_t j = pairs->source[i];
        int32_t sum = 0;
        for (uint32_t k = 0; k < n; k++) {
            matched[k][i] = from[k][j];
            sum += to[k][i];
        }
        int steps = NAME(mean_steps)(sum - s->sum[j], NAME(log_samples)(grid), NAME(CLASS_STEP));
        int least = -(s->low[j] >> NAME(CLASS_STEP)), most = (255 - s->high[j]) >> NAME(CLASS_STEP);
        moves->shift[i] = steps < least ? least : steps > most ? most : steps;
        moves->key[i] = s->key[j];
    }
    NAME(fitting_turns)(grid->block, matched, to, moves->key, moves->turn);
    memset(out, 0, sizeof(patch_samples));
    for (uint32_t i = 0; i < blocks; i++)
        for (uint32_t k = 0; k < n; k++)
            out[k][i] = (uint8_t)(matched[NAME(turned)(grid->block, moves->turn[i], k)][i] +
                                  moves->shift[i] * (1 << NAME(CLASS_STEP)));
}

/* Code how one colour was moved, source block after source block. */
static void NAME(encode_moves)(const struct grid *grid, const struct patch *p,
                               const struct NAME(pairs) * pairs, const struct NAME(moves) * moves,
                               const int32_t *sum, unsigned other, int32_t first, int32_t *surprise,
                               struct encoder *e, struct models *m)
{
    unsigned log_n = NAME(log_samples)(grid);
    for (uint32_t j = 0; j < p->blocks; j++) {
        uint32_t i = pairs->place[j];
        int32_t guess = NAME(predict_sum)(sum, j, p->columns, first);
        int32_t moved = sum[j] + moves->shift[i] * (int32_t)(grid->samples << NAME(CLASS_STEP));
        if (other)
            guess += surprise[j];
        else
            surprise[j] = sum[j] - guess;
        int expected = NAME(mean_steps)(moved - guess, log_n, NAME(CLASS_STEP));
        encode_step(e, m, moves->shift[i] - expected, other);
        if (moves->key[i] > 0)
            encode_turn(e, m, moves->turn[i], other);
    }
}

static TARGET void NAME(encode_classes)(const struct grid *grid, const struct patch *p,
                                        const uint8_t *clean, const uint8_t *target,
                                        uint8_t *temporary, struct encoder *e, struct models *m,
                                        struct NAME(class_state) * state)
{
    patch_samples from[4], to[4], out[4];
    struct NAME(patch_statistics) s[4], wanted;
    struct NAME(pairs) pairs = {{0}, {0}, {0}};
    struct NAME(moves) moves;
    uint32_t key[TILE_BLOCKS] = {0}, wanted_key[TILE_BLOCKS] = {0};
    NAME(read_patch)(grid, p, clean, from);
    NAME(read_patch)(grid, p, target, to);
    for (uint32_t c = 0; c < grid->g->colours; c++) {
        NAME(measure)(from[c], grid->samples, &s[c]);
        NAME(measure)(to[c], grid->samples, &wanted);
        for (uint32_t i = 0; i < p->blocks; i++)
            key[i] += s[c].key[i], wanted_key[i] += wanted.key[i];
    }
    NAME(choose_pairs)(key, wanted_key, p->blocks, &pairs);
    for (uint32_t i = 0; i < p->blocks; i++) {
        unsigned context = NAME(class_context)(pairs.of_source, i, p->columns);
        encode_bit(e, &m->class_map[context], pairs.of_source[i]);
    }
    for (uint32_t t = 0; t < grid->g->colours; t++) {
        uint32_t c = colour_at(grid->g, t);
        NAME(move_blocks)(grid, &pairs, p->blocks, from[c], to[c], &s[c], &moves, out[c]);
        NAME(encode_moves)(grid, p, &pairs, &moves, s[c].sum, t > 0, state->first[c],
                           state->surprise, e, m);
        state->first[c] = s[c].sum[0];
    }
    NAME(write_patch)(grid, p, out, temporary);
}

/* Decode how one colour was moved, and move it back; false where that cannot be. */
static TARGET int NAME(decode_moves)(const struct grid *grid, const struct patch *p,
                                     const struct NAME(pairs) * pairs, patch_samples from,
                                     const struct NAME(patch_statistics) * s, unsigned other,
                                     int32_t *first, int32_t *surprise, struct decoder *d,
                                     struct models *m, patch_samples out)
{
    uint32_t n = grid->samples;
    int32_t sum[TILE_BLOCKS];
    memset(out, 0, sizeof(patch_samples));
    for (uint32_t j = 0; j < p->blocks; j++) {
        uint32_t i = pairs->place[j];
        int32_t guess = NAME(predict_sum)(sum, j, p->columns, *first);
        int32_t predicted = guess + (other ? surprise[j] : 0);
        int shift =
            NAME(mean_steps)(s->sum[i] - predicted, NAME(log_samples)(grid), NAME(CLASS_STEP));
        shift += decode_step(d, m, other);
        if (shift < -31 || shift > 31) /* 255 / 8: no image has it, and sums must not run off */
            return 0;
        unsigned turn = s->key[i] > 0 ? decode_turn(d, m, other) : 0;
        sum[j] = s->sum[i] - shift * (int32_t)(n << NAME(CLASS_STEP));
        if (!other)
            surprise[j] = sum[j] - guess;
        for (uint32_t k = 0; k < n; k++)
            out[NAME(turned)(grid->block, turn, k)][j] =
                (uint8_t)(from[k][i] - shift * (1 << NAME(CLASS_STEP)));
    }
    *first = sum[0];
    return 1;
}

static TARGET int NAME(decode_classes)(const struct grid *grid, const struct patch *p,
                                       const uint8_t *temporary, uint8_t *clean, struct decoder *d,
                                       struct models *m, struct NAME(class_state) * state)
{
    patch_samples from[4], out[4];
    struct NAME(patch_statistics) s[4];
    struct NAME(pairs) pairs = {{0}, {0}, {0}};
    uint32_t key[TILE_BLOCKS] = {0}, high = 0;
    uint8_t of_place[TILE_BLOCKS];
    NAME(read_patch)(grid, p, temporary, from);
    for (uint32_t c = 0; c < grid->g->colours; c++) {
        NAME(measure)(from[c], grid->samples, &s[c]);
        for (uint32_t i = 0; i < p->blocks; i++)
            key[i] += s[c].key[i];
    }
    for (uint32_t i = 0; i < p->blocks; i++) {
        unsigned context = NAME(class_context)(pairs.of_source, i, p->columns);
        high += pairs.of_source[i] = (uint8_t)decode_bit(d, &m->class_map[context]);
    }
    if (NAME(classify)(key, p->blocks, of_place) != high)
        return 0;
    NAME(pair_classes)(pairs.of_source, of_place, p->blocks, pairs.source);
    NAME(invert_pairs)(&pairs, p->blocks);
    for (uint32_t t = 0; t < grid->g->colours; t++) {
        uint32_t c = colour_at(grid->g, t);
        if (!NAME(decode_moves)(grid, p, &pairs, from[c], &s[c], t > 0, &state->first[c],
                                state->surprise, d, m, out[c]))
            return 0;
    }
    NAME(write_patch)(grid, p, out, clean);
    return 1;
}

/* ---- images ---- */

static TARGET uint64_t NAME(squared_error)(const uint8_t *a, const uint8_t *b, size_t n)
{
    uint64_t total = 0;
    while (n > 0) {
        size_t m = n < 65536 ? n : 65536; /* 65536 * 255^2 < 2^32 */
        uint32_t part = 0;
        for (size_t i = 0; i < m; i++)
            part += (uint32_t)((a[i] - b[i]) * (a[i] - b[i]));
        total += part;
        a += m, b += m, n -= m;
    }
    return total;
}

static TARGET uint32_t NAME(encode_as)(const struct grid *grid, int classes, int coarse,
                                       const uint8_t *clean, const uint8_t *target,
                                       uint8_t *temporary, uint8_t *sequence, size_t room)
{
    struct encoder e;
    struct models m;
    struct NAME(class_state) state;
    int usual = 0, only = 0;
    start_encoder(&e, sequence, room);
    reset_models(&m);
    for (uint32_t c = 0; c < 4; c++)
        state.first[c] = (int32_t)(128 * grid->samples);
    if (!classes) {
        if (coarse)
            only = NAME(usual_shift)(grid, clean, target, 1, 0);
        usual = NAME(usual_shift)(grid, clean, target, 0, only);
        encode_raw(&e, (unsigned)usual, 8);
    }
    for (uint32_t row = 0; row < grid->down; row += DSG_TILE) {
        for (uint32_t column = 0; column < grid->across; column += DSG_TILE) {
            struct patch p = patch_at(grid, row, column);
            if (classes)
                NAME(encode_classes)(grid, &p, clean, target, temporary, &e, &m, &state);
            else
                NAME(encode_identity)(grid, &p, clean, target, temporary, &e, &m, usual, only);
        }
    }
    return (uint32_t)finish_encoder(&e);
}

enum { NAME(NEAR) = 144 /* mean squared error up to which identity is not put in question */ };

static TARGET uint32_t NAME(encode)(const struct dsg_geometry *g, uint32_t block, int coarse,
                                    const uint8_t *clean, const uint8_t *target, uint8_t *temporary,
                                    uint8_t *sequence, size_t room, uint8_t *mode)
{
    struct grid grid = grid_of(g, block);
    size_t samples = image_samples(g);
    memcpy(temporary, clean, samples);
    *mode = (uint8_t)block_mode(block);
    uint32_t length = NAME(encode_as)(&grid, 0, coarse, clean, target, temporary, sequence, room);
    uint64_t identity = NAME(squared_error)(temporary, target, samples);
    if (coarse || identity <= (uint64_t)NAME(NEAR) * samples)
        return length;
    length = NAME(encode_as)(&grid, 1, coarse, clean, target, temporary, sequence, room);
    if (NAME(squared_error)(temporary, target, samples) < identity) {
        *mode |= DSG_MODE_CLASSES;
        return length;
    }
    return NAME(encode_as)(&grid, 0, coarse, clean, target, temporary, sequence, room);
}

static TARGET int NAME(decode)(const struct dsg_geometry *g, const uint8_t *temporary, uint8_t mode,
                               const uint8_t *sequence, size_t length, uint8_t *clean)
{
    struct grid grid = grid_of(g, mode_block(mode));
    struct decoder d;
    struct models m;
    struct NAME(class_state) state;
    int usual = 0, classes = mode & DSG_MODE_CLASSES;
    start_decoder(&d, sequence, length);
    reset_models(&m);
    for (uint32_t c = 0; c < 4; c++)
        state.first[c] = (int32_t)(128 * grid.samples);
    memcpy(clean, temporary, image_samples(g));
    if (!classes)
        usual = (int)decode_raw(&d, 8);
    for (uint32_t row = 0; row < grid.down; row += DSG_TILE) {
        for (uint32_t column = 0; column < grid.across; column += DSG_TILE) {
            struct patch p = patch_at(&grid, row, column);
            if (!classes)
                NAME(decode_identity)(&grid, &p, temporary, clean, &d, &m, usual);
            else if (!NAME(decode_classes)(&grid, &p, temporary, clean, &d, &m, &state))
                return 0;
        }
    }
    return 1;
}
