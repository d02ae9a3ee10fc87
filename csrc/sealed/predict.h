/*
 * predict.h - codec sealed: the prediction of a sample, and the context that its error is coded in.
 *
 * A plane is held as the rows that are needed: the one under way and the two above it.  Each has
 * two entries before its first sample and one behind its last, which stand for what lies beyond the
 * edges.  The sizes of errors are held likewise.
 *
 * Most of a prediction, and of a context, comes from above.  That part is made for a whole row at
 * once, before the first sample of the row.
 */
#ifndef DSGUARD_SEALED_PREDICT_H
#define DSGUARD_SEALED_PREDICT_H

#include "core/kernels.h"
#include "sealed/tables.h"

enum { LUMA, RED, BLUE }; /* kinds of planes: rows of the tables */

enum { MOST_PLANES = 4, BEFORE = 2, BEHIND = 1 };

struct plane {
    int16_t *row, *above, *above_that; /* of the samples */
    int16_t *sizes, *sizes_above;      /* of their errors */
    int16_t *errors;                   /* with their signs, for coding */
    int16_t *turned, *expected;        /* the part of predictions and contexts from above */
};

enum { ROWS_OF_PLANE = 8 };

/* Entries of one row with what stands before and behind it. */
static inline size_t row_entries(uint32_t width)
{
    return ((size_t)width + BEFORE + BEHIND + 3) & ~(size_t)3;
}

/* Bytes of scratch for all planes of an image; a multiple of 8. */
static inline size_t plane_bytes(uint32_t width)
{
    return MOST_PLANES * ROWS_OF_PLANE * row_entries(width) * sizeof(int16_t);
}

/* Lay the rows of a plane out in scratch; returns the scratch behind them. */
static inline int16_t *lay_out_rows(struct plane *p, int16_t *scratch, uint32_t width)
{
    size_t entries = row_entries(width);
    int16_t **rows[ROWS_OF_PLANE] = {&p->row,         &p->above,  &p->above_that, &p->sizes,
                                     &p->sizes_above, &p->errors, &p->turned,     &p->expected};
    memset(scratch, 0, ROWS_OF_PLANE * entries * sizeof *scratch);
    for (unsigned i = 0; i < ROWS_OF_PLANE; i++)
        *rows[i] = scratch + i * entries + BEFORE;
    return scratch + ROWS_OF_PLANE * entries;
}

INLINED int smaller(int a, int b)
{
    return a < b ? a : b;
}

INLINED int larger(int a, int b)
{
    return a > b ? a : b;
}

INLINED int distance(int a, int b)
{
    return a > b ? a - b : b - a;
}

/*
 * The part from above, of all samples of the row under way.
 *
 * Compilers take 'restrict' from parameters alone, and only then do many samples at once.
 */
INLINED void look_above(const int kind, const int16_t *restrict above,
                        const int16_t *restrict above_that, const int16_t *restrict sizes,
                        int16_t *restrict turned, int16_t *restrict expected, uint32_t width)
{
    const int16_t *w = sealed_weights[kind], *s = sealed_sizes[kind];
    for (ptrdiff_t x = 0; x < (ptrdiff_t)width; x++) {
        int north = above[x], north_west = above[x - 1], north_east = above[x + 1];
        turned[x] =
            (int16_t)(w[1] * north + w[2] * north_west + w[3] * north_east + w[5] * above_that[x]);
        expected[x] =
            (int16_t)(s[1] * distance(north, north_west) + s[2] * distance(north, north_east) +
                      s[4] * sizes[x] + s[5] * sizes[x + 1] + s[6] * sizes[x - 1]);
    }
}

/* Go to the next row, number 'y': the one under way is above now. */
INLINED void next_row(struct plane *p, const int kind, uint32_t y, uint32_t width)
{
    int16_t *row = p->above_that, *sizes = p->sizes_above;
    p->above_that = p->above;
    p->above = p->row;
    p->row = row;
    p->sizes_above = p->sizes;
    p->sizes = sizes;
    if (y == 0) {
        row[-1] = row[-2] = kind == LUMA ? 128 : 0;
        return;
    }
    row[-1] = row[-2] = p->above[-1] = p->above[0];
    p->above[width] = p->above[width - 1];
    if (y == 1)
        memcpy(p->above_that, p->above, width * sizeof *row);
    look_above(kind, p->above, p->above_that, p->sizes_above, p->turned, p->expected, width);
}

/*
 * 'edge', moved by 64ths: a value of the plane.  Everything fits 16 bits, on the way as well, and
 * is held in as many: then twice as many samples of a row are predicted at once.
 */
INLINED int16_t adjusted(const int kind, int16_t edge, int turned)
{
    const int16_t least = kind == LUMA ? 0 : -128, most = kind == LUMA ? 255 : 127;
    /* An arithmetic shift, as every compiler has it that this is built with. */
    int16_t found = (int16_t)(edge + ((int16_t)(turned + 32) >> 6));
    found = found < most ? found : most;
    return found > least ? found : least;
}

/* The prediction of a sample.  'turned' is the part from above. */
INLINED int16_t prediction(const int kind, int16_t west, int16_t west_west, int16_t north,
                           int16_t north_west, int16_t turned)
{
    const int16_t *w = sealed_weights[kind];
    int16_t low = west < north ? west : north, high = west < north ? north : west;
    int16_t plane = (int16_t)(west + north - north_west);
    int16_t below = plane < high ? plane : high, edge = below > low ? below : low;
    return adjusted(kind, edge,
                    turned + w[0] * west + w[4] * west_west -
                        (w[0] + w[1] + w[2] + w[3] + w[4] + w[5]) * edge);
}

/* The same in the first row, where the sample to the left stands for all above. */
INLINED int16_t first_prediction(const int kind, int16_t west, int16_t west_west)
{
    return adjusted(kind, west, sealed_weights[kind][4] * (west_west - west));
}

/* The size of error that is to be expected of a sample: from the size and the sample to its left,
 * the part from above, and of blue the size of the error of red at the same pixel. */
INLINED int expectation(const int kind, int size_west, int west, int north_west, int expected,
                        int size_red, const int first)
{
    const int16_t *s = sealed_sizes[kind];
    int found = s[3] * size_west;
    if (!first)
        found += expected + s[0] * distance(west, north_west);
    return kind == BLUE ? found + s[7] * size_red : found;
}

/* The table of the context of a sample. */
INLINED const uint16_t *table_of(const int kind, int expected)
{
    return sealed_starts[kind][sealed_contexts[kind][smaller(expected, SEALED_SIZES - 1)]];
}

#endif
