/*
 * symbols.h - codec sealed: the errors of predictions as symbols with extra bits, and back.
 *
 * Errors are counted 0, -1, 1, -2, ...: from 32 on, 2, 8 and 16 of them share a symbol.
 */
#ifndef DSGUARD_SEALED_SYMBOLS_H
#define DSGUARD_SEALED_SYMBOLS_H

#include "core/kernels.h"

enum { SEALED_SYMBOLS = 64, FIRST_OF_MANY = 32 };

/* The first count of each symbol. */
static const uint8_t symbol_counts[SEALED_SYMBOLS] = {
    0,  1,  2,  3,  4,  5,   6,   7,   8,   9,   10,  11,  12,  13,  14,  15,
    16, 17, 18, 19, 20, 21,  22,  23,  24,  25,  26,  27,  28,  29,  30,  31,
    32, 34, 36, 38, 40, 42,  44,  46,  48,  50,  52,  54,  56,  58,  60,  62,
    64, 72, 80, 88, 96, 104, 112, 120, 128, 144, 160, 176, 192, 208, 224, 240};

/* How many extra bits follow each. */
static const uint8_t symbol_bits[SEALED_SYMBOLS] = {[32] = 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
                                                    1,        1, 1, 1, 1, 3, 3, 3, 3, 3, 3,
                                                    3,        3, 4, 4, 4, 4, 4, 4, 4, 4};

/* The symbol of a count, and how many extra bits follow it. */
INLINED uint16_t symbol_of(uint16_t count)
{
    uint16_t large = (uint16_t)(count < 128 ? 40 + (count >> 3) : 48 + (count >> 4));
    uint16_t small = (uint16_t)(count < 32 ? count : 16 + (count >> 1));
    return count < 64 ? small : large;
}

INLINED uint16_t extra_bits(uint16_t count)
{
    uint16_t few = count < 32 ? 0 : 1, many = count < 128 ? 3 : 4;
    return count < 64 ? few : many;
}

/* A count as an error, -128 to 127. */
INLINED int error_of(uint32_t count)
{
    return (int)(count >> 1) ^ -(int)(count & 1);
}

#endif
