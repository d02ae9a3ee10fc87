/*
 * compress.h - codec sealed: an image to a stream, and back, without loss.
 *
 * Range ANS (Duda 2014) with a state of 32 bits for each plane, words of 16 bits, and frequencies
 * that add up to 2^12.  It gives symbols back in the reverse of the order that they were coded in.
 * So coding goes over the image twice: forwards to predict, backwards to code.
 */
#ifndef DSGUARD_SEALED_COMPRESS_H
#define DSGUARD_SEALED_COMPRESS_H

#include "sealed/find.h"
#include "sealed/predict.h"

enum { WORD_BITS = 16, PROBABILITY_BITS = 12, SLOTS = 1 << PROBABILITY_BITS };

/* A short loop as that many copies of its body, where its variable is a constant. */
#ifdef __GNUC__
#define UNROLLED _Pragma("GCC unroll 4")
#else
#define UNROLLED
#endif

#define LOWEST ((uint32_t)1 << WORD_BITS) /* of a state */

/* The planes of an image that are coded, and those that are one value. */
struct planes {
    struct plane of[MOST_PLANES];
    uint32_t channels;
    uint32_t constant; /* one bit for each plane */
    uint8_t values[MOST_PLANES];
};

INLINED int kind_of(uint32_t n)
{
    return n == 3 ? LUMA : (int)n;
}

/* A sample of plane 'n': green first, then red and blue less green, then alpha. */
INLINED int plane_sample(const uint8_t *pixel, uint32_t n, uint32_t channels)
{
    if (channels < 3 || n == 3)
        return pixel[n];
    return n == 0 ? pixel[1] : (int8_t)(uint8_t)(pixel[n == 1 ? 0 : 2] - pixel[1]);
}

/* Put a sample of plane 'n' into a pixel whose green is there, if it is not of green itself. */
INLINED void put_sample(uint8_t *pixel, uint32_t n, uint32_t channels, int value)
{
    if (channels < 3 || n == 3)
        pixel[n] = (uint8_t)value;
    else if (n == 0)
        pixel[1] = (uint8_t)value;
    else
        pixel[n == 1 ? 0 : 2] = (uint8_t)(pixel[1] + value);
}

static void lay_out_planes(struct planes *p, uint32_t width, uint32_t channels, uint64_t *scratch)
{
    int16_t *room = (int16_t *)(void *)scratch;
    p->channels = channels;
    for (uint32_t n = 0; n < channels; n++)
        room = lay_out_rows(&p->of[n], room, width);
}

/* ---- coding ---- */

static void find_constant(struct planes *p, const uint8_t *image, size_t pixels)
{
    p->constant = (1u << p->channels) - 1;
    for (uint32_t n = 0; n < p->channels; n++)
        p->values[n] = (uint8_t)plane_sample(image, n, p->channels);
    for (size_t i = 1; i < pixels && p->constant; i++)
        for (uint32_t n = 0; n < p->channels; n++)
            if ((uint8_t)plane_sample(image + i * p->channels, n, p->channels) != p->values[n])
                p->constant &= ~(1u << n);
}

/* The symbol of an error, and above it the extra bits, and how many these are. */
INLINED uint16_t symbol_code(int16_t error)
{
    uint16_t count = (uint16_t)(error * 2 ^ error >> 15), bits = extra_bits(count);
    uint16_t extra = (uint16_t)(count & ((1 << bits) - 1));
    return (uint16_t)(symbol_of(count) | extra << 8 | bits << 12);
}

/*
 * One step of coding in 32 bits, from the lowest on: 12 for where the frequency of a symbol begins,
 * 12 for the frequency less 1, 4 for extra bits, and 4 for how many these are.
 */
INLINED uint32_t step_of(const uint16_t *starts, uint16_t code)
{
    uint32_t symbol = code & 255, start = starts[symbol], frequency = starts[symbol + 1] - start;
    return start | (frequency - 1) << 12 | (uint32_t)(code >> 8) << 24;
}

/* The samples of a row of three planes. */
INLINED void split_row(const uint8_t *restrict row, uint32_t width, int16_t *restrict luma,
                       int16_t *restrict red, int16_t *restrict blue)
{
    for (ptrdiff_t x = 0; x < (ptrdiff_t)width; x++) {
        luma[x] = row[3 * x + 1];
        red[x] = (int8_t)(uint8_t)(row[3 * x] - row[3 * x + 1]);
        blue[x] = (int8_t)(uint8_t)(row[3 * x + 2] - row[3 * x + 1]);
    }
}

/* The errors of the predictions of a row, with their signs; restrict as for look_above. */
INLINED void predict_row(const int kind, const int16_t *restrict samples,
                         const int16_t *restrict above, const int16_t *restrict turned,
                         int16_t *restrict errors, uint32_t width, const int first)
{
    for (ptrdiff_t x = 0; x < (ptrdiff_t)width; x++) {
        int16_t west = samples[x - 1], west_west = samples[x - 2];
        int16_t found = first
                            ? first_prediction(kind, west, west_west)
                            : prediction(kind, west, west_west, above[x], above[x - 1], turned[x]);
        errors[x] = (int8_t)(samples[x] - found);
    }
}

/*
 * From errors, which become codes of symbols: their sizes, and the sizes that were to be expected;
 * restrict as for look_above.
 */
INLINED void expect_row(const int kind, const int16_t *restrict samples,
                        const int16_t *restrict above, int16_t *restrict errors,
                        const int16_t *restrict sizes_red, int16_t *restrict sizes,
                        int16_t *restrict expected, uint32_t width, const int first)
{
    for (ptrdiff_t x = 0; x < (ptrdiff_t)width; x++) {
        sizes[x] = (int16_t)(errors[x] < 0 ? -errors[x] : errors[x]);
        errors[x] = (int16_t)symbol_code(errors[x]);
    }
    for (ptrdiff_t x = 0; x < (ptrdiff_t)width; x++) {
        int red = kind == BLUE ? sizes_red[x] : 0; /* of others they may be the sizes under way */
        int16_t found = (int16_t)expectation(kind, sizes[x - 1], samples[x - 1], above[x - 1],
                                             expected[x], red, first);
        expected[x] = found < SEALED_SIZES - 1 ? found : SEALED_SIZES - 1;
    }
}

/* Add the steps of a row, pixel by pixel. */
INLINED uint32_t *add_steps(const struct plane *of, const uint32_t channels,
                            const uint32_t constant, uint32_t width, uint32_t *steps)
{
    for (ptrdiff_t x = 0; x < (ptrdiff_t)width; x++) {
        UNROLLED
        for (uint32_t n = 0; n < channels; n++)
            if (!(constant >> n & 1))
                *steps++ =
                    step_of(table_of(kind_of(n), of[n].expected[x]), (uint16_t)of[n].errors[x]);
    }
    return steps;
}

INLINED uint32_t *steps_of_row(struct planes *p, const uint8_t *row, const uint32_t channels,
                               const uint32_t constant, uint32_t y, uint32_t width, const int first,
                               uint32_t *steps)
{
    UNROLLED
    for (uint32_t n = 0; n < channels; n++)
        if (!(constant >> n & 1))
            next_row(&p->of[n], kind_of(n), y, width);
    if (channels == 3 && !constant)
        split_row(row, width, p->of[0].row, p->of[1].row, p->of[2].row);
    else
        for (uint32_t n = 0; n < channels; n++)
            for (ptrdiff_t x = 0; x < (ptrdiff_t)width; x++)
                p->of[n].row[x] = (int16_t)plane_sample(row + x * channels, n, channels);
    UNROLLED
    for (uint32_t n = 0; n < channels; n++) {
        const struct plane *of = &p->of[n];
        if (constant >> n & 1)
            continue;
        predict_row(kind_of(n), of->row, of->above, of->turned, of->errors, width, first);
        expect_row(kind_of(n), of->row, of->above, of->errors,
                   channels < 3 ? of->sizes : p->of[RED].sizes, of->sizes, of->expected, width,
                   first);
    }
    return add_steps(p->of, channels, constant, width, steps);
}

/* A state that is not too 'large': a word of it is written before 'out' where it was.  Two bytes
 * are written in any case, since nobody can guess when a branch would be taken. */
INLINED uint32_t lowered(uint32_t state, int large, uint8_t **out)
{
    (*out)[-2] = (uint8_t)state;
    (*out)[-1] = (uint8_t)(state >> 8);
    *out -= 2 * large;
    return large ? state >> WORD_BITS : state;
}

INLINED uint32_t code(uint32_t state, uint32_t step, uint8_t **out)
{
    uint32_t start = step & (SLOTS - 1), frequency = (step >> 12 & (SLOTS - 1)) + 1;
    uint32_t extra = step >> 24 & 15, bits = step >> 28;
    if (bits)
        state = lowered(state, state >> (32 - bits) != 0, out) << bits | extra;
    state = lowered(state, state >> (2 * WORD_BITS - PROBABILITY_BITS) >= frequency, out);
    return (state / frequency << PROBABILITY_BITS) + start + state % frequency;
}

/* Code the steps from the last to the first, before 'out'; returns where the words begin. */
INLINED uint8_t *code_steps(const uint32_t *steps, size_t pixels, const uint32_t planes,
                            uint8_t *out)
{
    uint32_t states[MOST_PLANES] = {LOWEST, LOWEST, LOWEST, LOWEST};
    for (size_t i = pixels; i-- > 0;) {
        UNROLLED
        for (uint32_t n = planes; n-- > 0;)
            states[n] = code(states[n], steps[i * planes + n], &out);
    }
    for (uint32_t n = planes; n-- > 0;) {
        out -= 4;
        for (unsigned byte = 0; byte < 4; byte++) /* the high word first, low byte first */
            out[byte] = (uint8_t)(states[n] >> ((byte ^ 2) * 8));
    }
    return out;
}

/* Returns the length of the stream, at most 'room'; 'steps' has an entry for each sample. */
static size_t compress(uint32_t height, uint32_t width, uint32_t channels, const uint8_t *image,
                       uint8_t *stream, size_t room, uint64_t *scratch, uint32_t *steps)
{
    struct planes p;
    size_t pixels = (size_t)height * width;
    lay_out_planes(&p, width, channels, scratch);
    find_constant(&p, image, pixels);
    uint32_t *end = steps, coded = 0;
    for (uint32_t n = 0; n < channels; n++)
        coded += !(p.constant >> n & 1);
    for (uint32_t y = 0; y < height; y++) {
        const uint8_t *row = image + (size_t)y * width * channels;
        if (y > 0 && channels == 3 && !p.constant)
            end = steps_of_row(&p, row, 3, 0, y, width, 0, end);
        else if (y > 0 && channels == 1 && !p.constant)
            end = steps_of_row(&p, row, 1, 0, y, width, 0, end);
        else
            end = steps_of_row(&p, row, channels, p.constant, y, width, y == 0, end);
    }
    uint8_t *words = stream + room;
    if (coded == 3)
        words = code_steps(steps, pixels, 3, words);
    else if (coded)
        words = code_steps(steps, pixels, coded, words);
    size_t head = 0, length = (size_t)(stream + room - words);
    stream[head++] = (uint8_t)p.constant;
    for (uint32_t n = 0; n < channels; n++)
        if (p.constant >> n & 1)
            stream[head++] = p.values[n];
    memmove(stream + head, words, length);
    return head + length;
}

/* ---- decoding ---- */

struct words {
    const uint8_t *at, *end;
    int missing;
};

INLINED uint32_t next_word(struct words *w)
{
    if (w->at == w->end) {
        w->missing = 1;
        return 0;
    }
    uint32_t word = w->at[0] | (uint32_t)w->at[1] << 8;
    w->at += 2;
    return word;
}

/* A state that is not too low; a word is taken up where it was.  'safe': there is one for sure. */
INLINED uint32_t raised(uint32_t state, struct words *w, const int safe)
{
    if (!safe)
        return state < LOWEST ? state << WORD_BITS | next_word(w) : state;
    uint32_t word = w->at[0] | (uint32_t)w->at[1] << 8, low = state < LOWEST;
    w->at += 2 * low;
    return state << low * WORD_BITS | (word & (0 - low)); /* nobody can guess a branch on it */
}

INLINED int decode_error(uint32_t *state, const uint16_t *starts, struct words *w, const int safe)
{
    uint32_t slot = *state & (SLOTS - 1), symbol = find_symbol(starts, slot), count = symbol;
    uint32_t start = starts[symbol], frequency = starts[symbol + 1] - start;
    uint32_t now = raised((*state >> PROBABILITY_BITS) * frequency + slot - start, w, safe);
    if (symbol >= FIRST_OF_MANY) { /* seldom, so that a branch is worth it */
        uint32_t bits = symbol_bits[symbol];
        count = symbol_counts[symbol] + (now & ((1u << bits) - 1));
        now = raised(now >> bits, w, safe);
    }
    *state = now;
    return error_of(count);
}

/*
 * The decoding of one image: that which changes from sample to sample, in variables that no byte
 * written can be one of.
 */
struct run {
    struct plane of[MOST_PLANES];
    int west[MOST_PLANES], west_west[MOST_PLANES], size_west[MOST_PLANES], sizes[MOST_PLANES];
    uint32_t states[MOST_PLANES];
    uint8_t values[MOST_PLANES];
    uint32_t constant;
    struct words words;
};

INLINED void decode_sample(struct run *r, uint8_t *pixel, ptrdiff_t x, const uint32_t n,
                           const uint32_t channels, const int first, const int safe)
{
    const int kind = kind_of(n);
    const struct plane *p = &r->of[n];
    int expected = expectation(kind, r->size_west[n], r->west[n], p->above[x - 1], p->expected[x],
                               r->sizes[RED], first);
    int16_t west = (int16_t)r->west[n], west_west = (int16_t)r->west_west[n];
    int sample =
        first ? first_prediction(kind, west, west_west)
              : prediction(kind, west, west_west, p->above[x], p->above[x - 1], p->turned[x]);
    int error = decode_error(&r->states[n], table_of(kind, expected), &r->words, safe);
    sample += error;
    sample = kind == LUMA ? (uint8_t)sample : (int8_t)(uint8_t)sample;
    r->west_west[n] = r->west[n];
    r->west[n] = sample;
    r->size_west[n] = r->sizes[n] = error < 0 ? -error : error;
    p->row[x] = (int16_t)sample;
    p->sizes[x] = (int16_t)r->sizes[n];
    put_sample(pixel, n, channels, sample);
}

/* Decode pixel 'x' of 'count' images, whose chains of steps do not wait for each other. */
INLINED void decode_pixel(struct run *runs, uint8_t *const *rows, ptrdiff_t x, const int count,
                          const uint32_t channels, const int whole, const int first, const int safe)
{
    UNROLLED
    for (uint32_t n = 0; n < channels; n++) {
        UNROLLED
        for (int i = 0; i < count; i++) {
            uint8_t *pixel = rows[i] + x * channels;
            if (!whole && runs[i].constant >> n & 1)
                put_sample(pixel, n, channels, runs[i].values[n]);
            else
                decode_sample(&runs[i], pixel, x, n, channels, first, safe);
        }
    }
}

/* 'whole': no plane is constant. */
INLINED void decode_row(struct run *given, uint8_t *const *rows, uint32_t y, uint32_t width,
                        const int count, const uint32_t channels, const int whole, const int first)
{
    struct run runs[2];
    ptrdiff_t x = 0;
    UNROLLED
    for (int i = 0; i < count; i++) {
        UNROLLED
        for (uint32_t n = 0; n < channels; n++) {
            if (!whole && given[i].constant >> n & 1)
                continue;
            next_row(&given[i].of[n], kind_of(n), y, width);
            given[i].west[n] = given[i].west_west[n] = given[i].of[n].row[-1];
            given[i].size_west[n] = 0;
        }
        given[i].sizes[RED] = 0;
        runs[i] = given[i];
    }
    for (; x < (ptrdiff_t)width; x++) {
        int safe = 1;
        UNROLLED
        for (int i = 0; i < count; i++) /* two words a plane at most */
            safe &= runs[i].words.end - runs[i].words.at >= 4 * MOST_PLANES;
        if (!safe)
            break;
        decode_pixel(runs, rows, x, count, channels, whole, first, 1);
    }
    for (; x < (ptrdiff_t)width; x++)
        decode_pixel(runs, rows, x, count, channels, whole, first, 0);
    UNROLLED
    for (int i = 0; i < count; i++)
        given[i] = runs[i];
}

/* Read what a stream begins with; false where that is malformed. */
static int begin_run(struct run *r, uint32_t width, uint32_t channels, const uint8_t *stream,
                     size_t length, int16_t *scratch)
{
    for (uint32_t n = 0; n < channels; n++)
        scratch = lay_out_rows(&r->of[n], scratch, width);
    if (length == 0 || stream[0] >> channels)
        return 0;
    size_t head = 1;
    r->constant = stream[0];
    for (uint32_t n = 0; n < channels; n++)
        if (r->constant >> n & 1) {
            if (head == length)
                return 0;
            r->values[n] = stream[head++];
        }
    if ((length - head) & 1)
        return 0;
    r->words = (struct words){stream + head, stream + length, 0};
    for (uint32_t n = 0; n < channels; n++) {
        r->states[n] = LOWEST;
        if (r->constant >> n & 1)
            continue;
        r->states[n] = next_word(&r->words) << WORD_BITS;
        r->states[n] |= next_word(&r->words);
    }
    return 1;
}

/* Whether all words were read, and no more, and led back to where coding began. */
static int is_at_end(const struct run *r, uint32_t channels)
{
    int whole = r->words.at == r->words.end && !r->words.missing;
    for (uint32_t n = 0; n < channels; n++)
        whole &= r->states[n] == LOWEST;
    return whole;
}

INLINED void decode_rows(struct run *runs, uint8_t *const *images, uint32_t height, uint32_t width,
                         const int count, const uint32_t channels, const int whole)
{
    for (uint32_t y = 0; y < height; y++) {
        uint8_t *rows[2];
        for (int i = 0; i < count; i++)
            rows[i] = images[i] + (size_t)y * width * channels;
        if (y == 0)
            decode_row(runs, rows, y, width, count, channels, whole, 1);
        else
            decode_row(runs, rows, y, width, count, channels, whole, 0);
    }
}

/* Decode one image, or two at once; ok[i] is false where stream i is malformed. */
static void expand(uint32_t height, uint32_t width, uint32_t channels, int count,
                   const uint8_t *const *streams, const size_t *lengths, uint8_t *const *images,
                   uint64_t *scratch, uint8_t *malformed)
{
    struct run runs[2];
    int valid = 1, whole = 1;
    for (int i = 0; i < count; i++) {
        int16_t *room = (int16_t *)(void *)(scratch + (size_t)i * plane_bytes(width) / 8);
        malformed[i] = !begin_run(&runs[i], width, channels, streams[i], lengths[i], room);
        valid &= !malformed[i];
        whole &= valid && !runs[i].constant;
    }
    if (count == 2 && (!valid || !whole)) { /* one after the other */
        for (int i = 0; i < count; i++)
            expand(height, width, channels, 1, streams + i, lengths + i, images + i, scratch,
                   malformed + i);
        return;
    }
    if (!valid)
        return;
    if (count == 2 && channels == 3)
        decode_rows(runs, images, height, width, 2, 3, 1);
    else if (count == 2 && channels == 1)
        decode_rows(runs, images, height, width, 2, 1, 1);
    else if (count == 2)
        decode_rows(runs, images, height, width, 2, 4, 1);
    else if (whole && channels == 3)
        decode_rows(runs, images, height, width, 1, 3, 1);
    else
        decode_rows(runs, images, height, width, 1, channels, 0);
    for (int i = 0; i < count; i++)
        malformed[i] = !is_at_end(&runs[i], channels);
}

#endif
