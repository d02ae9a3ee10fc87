/*
 * moves.h - profile exact, pairing by classes: how paired blocks are shifted and turned, and coded.
 *
 * A shift is coded as its difference from a prediction.  A decoder knows the sum of the shifted
 * block, and it predicts the sum of the source block from those before it.  Their difference is
 * the predicted shift.
 */
#ifndef DSGUARD_MOVES_H
#define DSGUARD_MOVES_H

#include "exact/pairing_classes.h"
#include "exact/sequence.h"

enum {
    CLASS_STEP = 3,
    CLASS_STEPS = 255 >> CLASS_STEP
}; /* log2 of the shift step; the most steps */

/* The position in a block of side b whose sample lands on position k in a turn of r * 90 degrees.
 */
static inline uint32_t turned(uint32_t b, unsigned r, uint32_t k)
{
    uint32_t y = k / b, x = k % b;
    return r == 0 ? k : r == 1 ? x * b + b - 1 - y : r == 2 ? b * b - 1 - k : (b - 1 - x) * b + y;
}

/* The turn of highest correlation, the smallest among equals; 0 for flat blocks, whose turn is not
 * coded.  The products of 64 samples sum to less than 2^22. */
static void fitting_turns(uint32_t block, colour_samples source, colour_samples target,
                          const uint32_t *key, uint8_t *turn)
{
    int32_t best[TILE_BLOCKS] = {0}, sum[TILE_BLOCKS];
    memset(turn, 0, TILE_BLOCKS);
    for (unsigned r = 0; r < 4; r++) {
        memset(sum, 0, sizeof sum);
        for (uint32_t k = 0; k < block * block; k++) {
            const uint8_t *a = source[turned(block, r, k)], *b = target[k];
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

/* The shift and turn of each block of one colour, by place. */
struct moves {
    int shift[TILE_BLOCKS]; /* in steps of 2^CLASS_STEP */
    uint8_t turn[TILE_BLOCKS];
    uint32_t key[TILE_BLOCKS];
};

/* Move the blocks of one colour to their places, shifted and turned. */
static void move_blocks(const struct grid *grid, const struct pairs *pairs, uint32_t blocks,
                        colour_samples from, colour_samples to, const struct statistics *s,
                        struct moves *moves, colour_samples out)
{
    colour_samples matched = {{0}};
    memset(moves, 0, sizeof *moves);
    for (uint32_t i = 0; i < blocks; i++) {
        uint32_t j = pairs->source[i];
        int32_t sum = 0;
        for (uint32_t k = 0; k < grid->samples; k++) {
            matched[k][i] = from[k][j];
            sum += to[k][i];
        }
        int steps = mean_steps(grid, sum - s->sum[j], CLASS_STEP);
        int least = -(s->low[j] >> CLASS_STEP), most = (255 - s->high[j]) >> CLASS_STEP;
        moves->shift[i] = steps < least ? least : steps > most ? most : steps;
        moves->key[i] = s->key[j];
    }
    fitting_turns(grid->block, matched, to, moves->key, moves->turn);
    memset(out, 0, sizeof(colour_samples));
    for (uint32_t i = 0; i < blocks; i++)
        for (uint32_t k = 0; k < grid->samples; k++)
            out[k][i] = (uint8_t)(matched[turned(grid->block, moves->turn[i], k)][i] +
                                  moves->shift[i] * (1 << CLASS_STEP));
}

/* The predictions of sums carry this from tile to tile and from colour to colour. */
struct class_state {
    int32_t first[4];              /* by colour: sum of the first source block of the last tile */
    int32_t surprise[TILE_BLOCKS]; /* of the first colour: sum minus prediction */
};

static void start_classes(const struct grid *grid, struct class_state *state)
{
    for (uint32_t c = 0; c < 4; c++)
        state->first[c] = (int32_t)(128 * grid->samples);
}

/* Predict the sum of source block j from those before it by the median edge detector; the first
 * block of a tile from the first one of the tile before. */
static inline int32_t predict_sum(const int32_t *sum, uint32_t j, uint32_t columns, int32_t first)
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

/* Code the moves of one colour, source block after source block.  'later': not the first colour.
 * Where the sum of a block of the first colour was not as predicted, later colours differ from
 * their predictions in the same way. */
static void encode_moves(const struct grid *grid, const struct tile *t, const struct pairs *pairs,
                         const struct moves *moves, const int32_t *sum, unsigned later,
                         int32_t *first, int32_t *surprise, struct encoder *e, struct models *m)
{
    for (uint32_t j = 0; j < t->blocks; j++) {
        uint32_t i = pairs->place[j];
        int32_t guess = predict_sum(sum, j, t->columns, *first);
        int32_t moved = sum[j] + moves->shift[i] * (int32_t)(grid->samples << CLASS_STEP);
        if (later)
            guess += surprise[j];
        else
            surprise[j] = sum[j] - guess;
        int expected = mean_steps(grid, moved - guess, CLASS_STEP);
        encode_step(e, m, moves->shift[i] - expected, later);
        if (moves->key[i] > 0)
            encode_turn(e, m, moves->turn[i], later);
    }
    *first = sum[0];
}

/*
 * Decode the moves of one colour and undo them; false where no image has such moves.
 *
 * Any bytes may be decoded, so the limit of a shift also bounds the sums.  They stay between
 * -64 * 248 and 64 * (255 + 248); a prediction with its surprise is then below 2^17 in size.
 */
static int decode_moves(const struct grid *grid, const struct tile *t, const struct pairs *pairs,
                        colour_samples from, const struct statistics *s, unsigned later,
                        int32_t *first, int32_t *surprise, struct decoder *d, struct models *m,
                        colour_samples out)
{
    int32_t sum[TILE_BLOCKS];
    memset(out, 0, sizeof(colour_samples));
    for (uint32_t j = 0; j < t->blocks; j++) {
        uint32_t i = pairs->place[j];
        int32_t guess = predict_sum(sum, j, t->columns, *first);
        int32_t predicted = guess + (later ? surprise[j] : 0);
        int shift = mean_steps(grid, s->sum[i] - predicted, CLASS_STEP);
        shift += decode_step(d, m, later);
        if (shift < -CLASS_STEPS || shift > CLASS_STEPS)
            return 0;
        unsigned turn = s->key[i] > 0 ? decode_turn(d, m, later) : 0;
        sum[j] = s->sum[i] - shift * (int32_t)(grid->samples << CLASS_STEP);
        if (!later)
            surprise[j] = sum[j] - guess;
        for (uint32_t k = 0; k < grid->samples; k++)
            out[turned(grid->block, turn, k)][j] =
                (uint8_t)(from[k][i] - shift * (1 << CLASS_STEP));
    }
    *first = sum[0];
    return 1;
}

/* Transform one tile and code it: first the classes of the source blocks, then colour by colour the
 * moves. */
static void encode_classes(const struct grid *grid, const struct tile *t, const uint8_t *clean,
                           const uint8_t *target, uint8_t *temporary, struct encoder *e,
                           struct models *m, struct class_state *state)
{
    colour_samples from[4], to[4], out[4];
    struct statistics s[4], of_target;
    struct pairs pairs = {{0}, {0}, {0}};
    struct moves moves;
    uint32_t key[TILE_BLOCKS] = {0}, target_key[TILE_BLOCKS] = {0};
    read_colours(grid, t, clean, from);
    read_colours(grid, t, target, to);
    for (uint32_t c = 0; c < grid->g->colours; c++) {
        measure(from[c], grid->samples, &s[c]);
        measure(to[c], grid->samples, &of_target);
        for (uint32_t i = 0; i < t->blocks; i++)
            key[i] += s[c].key[i], target_key[i] += of_target.key[i];
    }
    choose_pairs(key, target_key, t->blocks, &pairs);
    for (uint32_t i = 0; i < t->blocks; i++) {
        unsigned context = class_context(pairs.class_of, i, t->columns);
        encode_bit(e, &m->class_map[context], pairs.class_of[i]);
    }
    for (uint32_t n = 0; n < grid->g->colours; n++) {
        uint32_t c = colour_at(grid->g, n);
        move_blocks(grid, &pairs, t->blocks, from[c], to[c], &s[c], &moves, out[c]);
        encode_moves(grid, t, &pairs, &moves, s[c].sum, n > 0, &state->first[c], state->surprise, e,
                     m);
    }
    write_colours(grid, t, out, temporary);
}

/* The inverse; false where the Sequence is malformed. */
static int decode_classes(const struct grid *grid, const struct tile *t, const uint8_t *temporary,
                          uint8_t *clean, struct decoder *d, struct models *m,
                          struct class_state *state)
{
    colour_samples from[4], out[4];
    struct statistics s[4];
    struct pairs pairs = {{0}, {0}, {0}};
    uint32_t key[TILE_BLOCKS] = {0}, high = 0; /* high: source blocks of class 1 */
    uint8_t class_of_place[TILE_BLOCKS];
    read_colours(grid, t, temporary, from);
    for (uint32_t c = 0; c < grid->g->colours; c++) {
        measure(from[c], grid->samples, &s[c]);
        for (uint32_t i = 0; i < t->blocks; i++)
            key[i] += s[c].key[i];
    }
    for (uint32_t i = 0; i < t->blocks; i++) {
        unsigned context = class_context(pairs.class_of, i, t->columns);
        high += pairs.class_of[i] = (uint8_t)decode_bit(d, &m->class_map[context]);
    }
    if (classify(key, t->blocks, class_of_place) != high)
        return 0;
    pair_classes(class_of_place, t->blocks, &pairs);
    for (uint32_t n = 0; n < grid->g->colours; n++) {
        uint32_t c = colour_at(grid->g, n);
        if (!decode_moves(grid, t, &pairs, from[c], &s[c], n > 0, &state->first[c], state->surprise,
                          d, m, out[c]))
            return 0;
    }
    write_colours(grid, t, out, clean);
    return 1;
}

#endif
