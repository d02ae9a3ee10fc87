/* find.h - codec sealed: the symbol that a slot of a table belongs to. */
#ifndef DSGUARD_SEALED_FIND_H
#define DSGUARD_SEALED_FIND_H

#include "sealed/symbols.h"

/* How many of the 64 starts are not above 'slot', less one. */
#if defined(__AVX512BW__)
INLINED uint32_t find_symbol(const uint16_t *starts, uint32_t slot)
{
    __m512i at = _mm512_set1_epi16((short)slot);
    uint64_t low = _mm512_cmple_epu16_mask(_mm512_loadu_si512(starts), at);
    uint64_t high = _mm512_cmple_epu16_mask(_mm512_loadu_si512(starts + 32), at);
    return (uint32_t)__builtin_popcountll(low | high << 32) - 1;
}
#elif defined(__AVX2__)
INLINED uint32_t find_symbol(const uint16_t *starts, uint32_t slot)
{
    const __m256i *rows = (const __m256i *)(const void *)starts,
                  at = _mm256_set1_epi16((short)slot);
    __m256i a = _mm256_cmpgt_epi16(_mm256_loadu_si256(rows), at);
    __m256i b = _mm256_cmpgt_epi16(_mm256_loadu_si256(rows + 1), at);
    __m256i c = _mm256_cmpgt_epi16(_mm256_loadu_si256(rows + 2), at);
    __m256i d = _mm256_cmpgt_epi16(_mm256_loadu_si256(rows + 3), at);
    uint64_t low = (uint32_t)_mm256_movemask_epi8(_mm256_packs_epi16(a, b));
    uint64_t high = (uint32_t)_mm256_movemask_epi8(_mm256_packs_epi16(c, d));
    return 63 - (uint32_t)__builtin_popcountll(low | high << 32);
}
#else
INLINED uint32_t find_symbol(const uint16_t *starts, uint32_t slot)
{
    uint32_t symbol = 0;
    for (uint32_t step = SEALED_SYMBOLS / 2; step; step /= 2)
        symbol += starts[symbol + step] <= slot ? step : 0;
    return symbol;
}
#endif

#endif
