/* sequence.h - the Sequence of one tile in profile paper: which block goes where, and its code. */
#ifndef DSGUARD_PAPER_SEQUENCE_H
#define DSGUARD_PAPER_SEQUENCE_H

#include "core/bits.h"
#include "core/tile.h"

/* The entries of one tile of one channel in the Sequence, one value per place. */
struct fields {
    uint8_t pairing[TILE_BLOCKS]; /* the source block at this place */
    uint8_t shift[TILE_BLOCKS];   /* steps of 2^planes, modulo 2^(8 - planes) */
    uint8_t turn[TILE_BLOCKS];    /* times 90 degrees anticlockwise */
};

/*
 * A pairing is coded as the swaps that make it from the identity (Fisher-Yates): digit i, for
 * i = 1..n-1, is the place 0..i that place i is swapped with.  Undo them from the last on.
 */
static inline void pairing_to_digits(const uint8_t *pairing, uint32_t n, uint8_t *digit)
{
    uint8_t block[TILE_BLOCKS], place[TILE_BLOCKS];
    for (uint32_t i = 0; i < n; i++) {
        block[i] = pairing[i];
        place[pairing[i]] = (uint8_t)i;
    }
    digit[0] = 0;
    for (uint32_t i = n - 1; i > 0; i--) {
        digit[i] = place[i];
        block[digit[i]] = block[i];
        place[block[i]] = digit[i];
    }
}

/* The inverse; false where a digit is out of range. */
static inline int digits_to_pairing(const uint8_t *digit, uint32_t n, uint8_t *pairing)
{
    unsigned wrong = 0;
    for (uint32_t i = 0; i < n; i++)
        wrong |= digit[i] > i;
    if (wrong)
        return 0;
    pairing[0] = 0;
    for (uint32_t i = 1; i < n; i++) {
        pairing[i] = pairing[digit[i]];
        pairing[digit[i]] = (uint8_t)i;
    }
    return 1;
}

/* Digits 2^(w-1)..2^w - 1 take w bits each; digit 0 takes none. */
static inline void put_digits(struct packed *p, const uint8_t *digit, uint32_t n)
{
    for (uint32_t first = 1, width = 1; first < n; first *= 2, width++) {
        uint32_t count = n - first < first ? n - first : first;
        uint8_t few[8] = {0};
        if (first < 8)
            memcpy(few, digit + first, count);
        put_fields(p, first < 8 ? few : digit + first, count, width);
    }
}

static inline void take_digits(struct packed *p, uint8_t *digit, uint32_t n)
{
    uint8_t few[8];
    digit[0] = 0;
    for (uint32_t first = 1, width = 1; first < n; first *= 2, width++) {
        uint32_t count = n - first < first ? n - first : first;
        take_fields(p, first < 8 ? few : digit + first, count, width);
        if (first < 8)
            memcpy(digit + first, few, count);
    }
}

/* The Sequence of one tile: digits, shifts, turns.  'f' is 0 beyond n places. */
static inline void pack_tile(const struct fields *f, uint32_t n, unsigned planes, struct packed *p)
{
    uint8_t digit[TILE_BLOCKS] = {0};
    memset(p, 0, sizeof *p);
    pairing_to_digits(f->pairing, n, digit);
    put_digits(p, digit, n);
    put_fields(p, f->shift, n, 8 - planes);
    put_fields(p, f->turn, n, 2);
}

/* The inverse; false where the pairing is malformed. */
static inline int unpack_tile(struct packed *p, uint32_t n, unsigned planes, struct fields *f)
{
    uint8_t digit[TILE_BLOCKS];
    take_digits(p, digit, n);
    take_fields(p, f->shift, n, 8 - planes);
    take_fields(p, f->turn, n, 2);
    return digits_to_pairing(digit, n, f->pairing);
}

#endif
