/*
 * symbols.h - codec sealed: the errors of predictions as symbols with extra bits, and back.
 *
 * Errors are counted 0, -1, 1, -2, ...: from 32 on, 2, 8 and 16 of them share a symbol.
 */
#ifndef DSGUARD_SEALED_SYMBOLS_H
#define DSGUARD_SEALED_SYMBOLS_H

#include "core/kernels.h"

enum { SEALED_SYMBOLS = 64 };

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

/* The symbol of a count. */
INLINED uint32_t symbol_of(uint32_t count)
{
    uint32_t large = count < 128 ? 48 + ((count - 64) >> 3) : 56 + ((count - 128) >> 4);
    uint32_t small = count < 32 ? count : 32 + ((count - 32) >> 1);
    return count < 64 ? small : large;
}

/* An error, -128 to 127, as a count. */
INLINED uint32_t count_of(int error)
{
    return (uint32_t)(error < 0 ? -2 * error - 1 : 2 * error);
}

INLINED int error_of(uint32_t count)
{
    return (int)(count >> 1) ^ -(int)(count & 1);
}

#endif
