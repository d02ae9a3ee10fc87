/*
 * sequence.h - profile exact: the symbols of a Sequence, to and from the range coder.
 *
 * Each symbol has a function each way, with the same models.  Models are fresh for every image.
 */
#ifndef DSGUARD_SEQUENCE_H
#define DSGUARD_SEQUENCE_H

#include "exact/range_coder.h"

#include "core/kernels.h"

enum {
    UNARY = 6,      /* bits of a number that have models; the rest of it is raw */
    RAW_LENGTHS = 9 /* longest raw part, in bits: numbers up to UNARY + 2^10 - 2 */
};

struct models {
    /* Under identity pairing; by edge: whether a sample of the block is 0 (1), or 255 (2). */
    struct model usual[4];         /* a shift is +- the usual amount */
    struct model amount[4][UNARY]; /* its size otherwise */
    struct model minus[4][3];      /* its sign; and by the sign of the first colour's shift */
    /* Under pairing by classes. */
    struct model class_map[3];   /* by how many of the blocks left and above are of class 1 */
    struct model step[2][UNARY]; /* corrections of predicted shifts; first colour, later ones */
    struct model sign[2];        /* of them */
    struct model turn[2][3];     /* two bits as a tree; first colour, later ones */
};

static inline void reset_models(struct models *m)
{
    struct model *all = (struct model *)(void *)m;
    for (size_t i = 0; i < sizeof *m / sizeof *all; i++)
        all[i] = fresh_model;
}

/* A number from 0 up: a 1 for each unit and then a 0; from UNARY on, the rest as an Elias gamma
 * code. */
static inline void encode_number(struct encoder *e, struct model *models, uint32_t value)
{
    for (uint32_t i = 0; i < UNARY; i++) {
        encode_bit(e, &models[i], value > i);
        if (value == i)
            return;
    }
    uint32_t rest = value - UNARY + 1;
    unsigned length = 0;
    while (rest >> (length + 1) > 0)
        length++;
    encode_raw(e, (1u << length) - 1, length);
    encode_raw(e, 0, 1);
    encode_raw(e, rest & ((1u << length) - 1), length);
}

static inline uint32_t decode_number(struct decoder *d, struct model *models)
{
    for (uint32_t i = 0; i < UNARY; i++)
        if (!decode_bit(d, &models[i]))
            return i;
    unsigned length = 0;
    while (length < RAW_LENGTHS && decode_raw(d, 1))
        length++;
    return ((1u << length) | decode_raw(d, length)) - 1 + UNARY;
}

static inline unsigned sign_context(int shift)
{
    return shift == 0 ? 0 : shift > 0 ? 1 : 2;
}

/* A shift under identity pairing, in steps of 1; 'first' is that of the first colour, or 0. */
static inline void encode_shift(struct encoder *e, struct models *m, int shift, int usual,
                                unsigned edge, int first)
{
    int size = shift < 0 ? -shift : shift;
    encode_bit(e, &m->usual[edge], size != usual);
    if (size != usual)
        encode_number(e, m->amount[edge], (uint32_t)size);
    if (size > 0)
        encode_bit(e, &m->minus[edge][sign_context(first)], shift < 0);
}

static inline int decode_shift(struct decoder *d, struct models *m, int usual, unsigned edge,
                               int first)
{
    int size = usual;
    if (decode_bit(d, &m->usual[edge]))
        size = (int)decode_number(d, m->amount[edge]);
    return size > 0 && decode_bit(d, &m->minus[edge][sign_context(first)]) ? -size : size;
}

/* The difference of a shift under pairing by classes from its prediction. */
static inline void encode_step(struct encoder *e, struct models *m, int step, unsigned later)
{
    encode_number(e, m->step[later], (uint32_t)(step < 0 ? -step : step));
    if (step != 0)
        encode_bit(e, &m->sign[later], step < 0);
}

static inline int decode_step(struct decoder *d, struct models *m, unsigned later)
{
    int size = (int)decode_number(d, m->step[later]);
    return size > 0 && decode_bit(d, &m->sign[later]) ? -size : size;
}

static inline void encode_turn(struct encoder *e, struct models *m, unsigned turn, unsigned later)
{
    encode_bit(e, &m->turn[later][0], turn >> 1);
    encode_bit(e, &m->turn[later][1 + (turn >> 1)], turn & 1);
}

static inline unsigned decode_turn(struct decoder *d, struct models *m, unsigned later)
{
    unsigned high = decode_bit(d, &m->turn[later][0]);
    return high << 1 | decode_bit(d, &m->turn[later][1 + high]);
}

#endif
