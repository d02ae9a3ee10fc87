/* zlib_stream.h - streams of zlib (RFC 1950), written and read block by block (RFC 1951). */
#ifndef DSGUARD_ZLIB_STREAM_H
#define DSGUARD_ZLIB_STREAM_H

#include <stddef.h>
#include <stdint.h>

#include "core/bits.h"

enum {
    DEFLATE_BLOCK = 32767, /* bytes of a block: with its end 32768 symbols, of 15 bits or less */
    DEFLATE_HEADER = 512,  /* more than the codes of a block take */
};

/* The code for bytes (0..255), the end of a block, and lengths of what is repeated. */
enum { END_OF_BLOCK = 256, FIRST_LENGTH = 257, DEFLATE_SYMBOLS = 286, LENGTH_SYMBOLS = 19 };

/* In which order the lengths of the code for lengths come. */
static const uint8_t length_order[LENGTH_SYMBOLS] = {16, 17, 18, 0, 8,  7, 9,  6, 10, 5,
                                                     11, 4,  12, 3, 13, 2, 14, 1, 15};

/* Where bits go, the first in the lowest. */
struct bit_writer {
    uint8_t *out;
    uint64_t bits;
    unsigned count;
};

void dsg_begin_stream(struct bit_writer *w, uint8_t *out);

/* Write 'count' bytes (DEFLATE_BLOCK at most) as one block, in a code or, where that is shorter or
 * 'store' is not zero, as they are; DEFLATE_HEADER bytes more are touched at most. */
void dsg_put_block(struct bit_writer *w, const uint8_t *bytes, size_t count, int last, int store);

/* Write the checksum; returns the end of the stream. */
uint8_t *dsg_end_stream(struct bit_writer *w, uint32_t adler);

/* A stream to read, and where its bytes go, 'size' of them. */
struct inflated {
    const uint8_t *packed;
    size_t length;
    uint8_t *out;
    int malformed; /* becomes 1 where it is not a stream of 'size' bytes, else 0 */
};

/* Read two streams side by side, which takes little longer than one. */
void dsg_inflate(struct inflated pair[2], size_t size);

/* Four bytes that lie two apart, from 'part' on, one in each lane of 16 bits. */
static inline uint64_t every_second(uint64_t word, unsigned part)
{
    return word >> 8 * part & UINT64_C(0x00FF00FF00FF00FF);
}

/* Continue the checksum of zlib streams (RFC 1950, 8.2), which begins with 1. */
static inline uint32_t adler32(uint32_t adler, const uint8_t *bytes, size_t count)
{
    enum { MOST_WORDS = 22 }; /* so that a sum of sums stays below 2^16 */
    uint32_t low = adler & 0xFFFF, high = adler >> 16;
    while (count >= 8) {
        size_t words = count / 8 < MOST_WORDS ? count / 8 : MOST_WORDS;
        uint64_t sums[2] = {0}, before[2] = {0}; /* of sums, before each word */
        for (size_t n = 0; n < words; n++, bytes += 8)
            for (unsigned part = 0; part < 2; part++) {
                before[part] += sums[part];
                sums[part] += every_second(load_word(bytes), part);
            }
        high += 8 * (uint32_t)words * low;
        for (unsigned k = 0; k < 8; k++) {
            uint32_t sum = sums[k & 1] >> 16 * (k >> 1) & 0xFFFF;
            high += 8 * (uint32_t)(before[k & 1] >> 16 * (k >> 1) & 0xFFFF) + (8 - k) * sum;
            low += sum;
        }
        low %= 65521;
        high %= 65521;
        count -= 8 * words;
    }
    for (; count; count--) {
        low += *bytes++;
        high += low;
    }
    return (high % 65521) << 16 | low % 65521;
}

#endif
