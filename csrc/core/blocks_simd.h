/*
 * blocks_simd.h - the moves of blocks with 16-byte shuffles; see blocks_plain.h.
 *
 * Compilers do not find these by themselves: everything else in the core is left to them.  The
 * unit that includes this file has included the header of its intrinsics.
 */
#include "core/bits.h"
#include "core/tile.h"

#if defined(DSG_X86_64)
typedef __m128i lane16;
#define LOAD16(p) _mm_loadu_si128((const __m128i *)(p))
#define STORE16(p, v) _mm_storeu_si128((__m128i *)(p), v)
#define LOAD8(p) _mm_loadl_epi64((const __m128i *)(p))
#define STORE8(p, v) _mm_storel_epi64((__m128i *)(p), v)
#define FROM_WORD(w) _mm_cvtsi32_si128((int)(w))
#define FIRST_WORD(v) ((uint32_t)_mm_cvtsi128_si32(v))
#define THIRD_WORD(v) ((uint32_t)_mm_extract_epi32(v, 2))
#define SHUFFLE(v, indices) _mm_shuffle_epi8(v, indices)
#define ADD_BYTE(v, byte) _mm_add_epi8(v, _mm_set1_epi8((char)(byte)))
#define ZIP_LOW_8(a, b) _mm_unpacklo_epi8(a, b)
#define ZIP_HIGH_8(a, b) _mm_unpackhi_epi8(a, b)
#define ZIP_LOW_32(a, b) _mm_unpacklo_epi32(a, b)
#define ZIP_HIGH_32(a, b) _mm_unpackhi_epi32(a, b)
#define ZIP_LOW_64(a, b) _mm_unpacklo_epi64(a, b)
#define ZIP_HIGH_64(a, b) _mm_unpackhi_epi64(a, b)
#define DEPOSIT(word, mask) _pdep_u64(word, mask)
#define COLLECT(word, mask) _pext_u64(word, mask)
#else /* DSG_AARCH64 */
typedef uint8x16_t lane16;
#define AS_32(v) vreinterpretq_u32_u8(v)
#define AS_64(v) vreinterpretq_u64_u8(v)
#define LOAD16(p) vld1q_u8(p)
#define STORE16(p, v) vst1q_u8(p, v)
#define LOAD8(p) vcombine_u8(vld1_u8(p), vdup_n_u8(0))
#define STORE8(p, v) vst1_u8(p, vget_low_u8(v))
#define FROM_WORD(w) vreinterpretq_u8_u32(vsetq_lane_u32(w, vdupq_n_u32(0), 0))
#define FIRST_WORD(v) vgetq_lane_u32(AS_32(v), 0)
#define THIRD_WORD(v) vgetq_lane_u32(AS_32(v), 2)
#define SHUFFLE(v, indices) vqtbl1q_u8(v, indices)
#define ADD_BYTE(v, byte) vaddq_u8(v, vdupq_n_u8(byte))
#define ZIP_LOW_8(a, b) vzip1q_u8(a, b)
#define ZIP_HIGH_8(a, b) vzip2q_u8(a, b)
#define ZIP_LOW_32(a, b) vreinterpretq_u8_u32(vzip1q_u32(AS_32(a), AS_32(b)))
#define ZIP_HIGH_32(a, b) vreinterpretq_u8_u32(vzip2q_u32(AS_32(a), AS_32(b)))
#define ZIP_LOW_64(a, b) vreinterpretq_u8_u64(vzip1q_u64(AS_64(a), AS_64(b)))
#define ZIP_HIGH_64(a, b) vreinterpretq_u8_u64(vzip2q_u64(AS_64(a), AS_64(b)))
#define DEPOSIT(word, mask) deposit_bits(word, mask)
#define COLLECT(word, mask) collect_bits(word, mask)
#endif

/* By number of channels: four interleaved pixels to four samples of each channel, and back.  One
 * channel needs no shuffle. */
static const uint8_t by_channel[5][BLOCK_SAMPLES] = {
    [2] = {0, 2, 4, 6, 1, 3, 5, 7, 8, 9, 10, 11, 12, 13, 14, 15},
    [3] = {0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11, 12, 13, 14, 15},
    [4] = {0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15},
};
static const uint8_t by_pixel[5][BLOCK_SAMPLES] = {
    [2] = {0, 4, 1, 5, 2, 6, 3, 7, 8, 9, 10, 11, 12, 13, 14, 15},
    [3] = {0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11, 12, 13, 14, 15},
    [4] = {0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15},
};

static inline uint32_t load_4(const uint8_t *p)
{
    uint32_t word;
    memcpy(&word, p, sizeof word);
    return word;
}

static inline void store_4(uint8_t *p, uint32_t word)
{
    memcpy(p, &word, sizeof word);
}

/* A 4x4 matrix of 32-bit words, transposed in place; it is its own inverse. */
static inline void transpose_words(lane16 v[4])
{
    lane16 a = ZIP_LOW_32(v[0], v[1]), b = ZIP_LOW_32(v[2], v[3]);
    lane16 c = ZIP_HIGH_32(v[0], v[1]), d = ZIP_HIGH_32(v[2], v[3]);
    v[0] = ZIP_LOW_64(a, b), v[1] = ZIP_HIGH_64(a, b);
    v[2] = ZIP_LOW_64(c, d), v[3] = ZIP_HIGH_64(c, d);
}

/* Four samples of each channel, in one row of a block: 'channels' words, the rest unspecified. */
static inline lane16 load_pixels(const uint8_t *p, uint32_t channels)
{
    switch (channels) {
    case 1:
        return FROM_WORD(load_4(p));
    case 2:
        return LOAD8(p);
    case 3:
        return ZIP_LOW_64(LOAD8(p), FROM_WORD(load_4(p + 8)));
    default:
        return LOAD16(p);
    }
}

static inline void store_pixels(uint8_t *p, uint32_t channels, lane16 v)
{
    switch (channels) {
    case 1:
        store_4(p, FIRST_WORD(v));
        break;
    case 2:
        STORE8(p, v);
        break;
    case 3:
        STORE8(p, v);
        store_4(p + 8, THIRD_WORD(v));
        break;
    default:
        STORE16(p, v);
    }
}

static inline void read_row(const uint8_t *first, size_t pitch, uint32_t channels, uint32_t columns,
                            block_samples *blocks, uint32_t i)
{
    lane16 order = LOAD16(by_channel[channels]);
    for (uint32_t column = 0; column < columns; column++, i++, first += DSG_BLOCK * channels) {
        lane16 v[4];
        for (unsigned y = 0; y < DSG_BLOCK; y++) {
            v[y] = load_pixels(first + y * pitch, channels);
            if (channels > 1)
                v[y] = SHUFFLE(v[y], order);
        }
        transpose_words(v);
        for (uint32_t c = 0; c < channels; c++)
            STORE16(blocks[c][i], v[c]);
    }
}

static inline void write_row(block_samples *blocks, uint32_t i, uint32_t columns, uint8_t *first,
                             size_t pitch, uint32_t channels)
{
    lane16 order = LOAD16(by_pixel[channels]);
    for (uint32_t column = 0; column < columns; column++, i++, first += DSG_BLOCK * channels) {
        lane16 v[4];
        for (uint32_t c = 0; c < 4; c++)
            v[c] = LOAD16(blocks[c < channels ? c : 0][i]);
        transpose_words(v);
        for (unsigned y = 0; y < DSG_BLOCK; y++)
            store_pixels(first + y * pitch, channels, channels > 1 ? SHUFFLE(v[y], order) : v[y]);
    }
}

/* With the number of channels a constant, the compiler keeps a block's rows in registers. */
static void read_tile(const struct dsg_geometry *g, const struct tile *t, const uint8_t *image,
                      block_samples *blocks)
{
    size_t pitch = (size_t)g->width * g->channels;
    const uint8_t *first =
        image + t->row * DSG_BLOCK * pitch + (size_t)t->column * DSG_BLOCK * g->channels;
    for (uint32_t row = 0; row < t->rows; row++, first += DSG_BLOCK * pitch) {
        uint32_t i = row * t->columns;
        switch (g->channels) {
        case 1:
            read_row(first, pitch, 1, t->columns, blocks, i);
            break;
        case 2:
            read_row(first, pitch, 2, t->columns, blocks, i);
            break;
        case 3:
            read_row(first, pitch, 3, t->columns, blocks, i);
            break;
        default:
            read_row(first, pitch, 4, t->columns, blocks, i);
        }
    }
}

static void write_tile(const struct dsg_geometry *g, const struct tile *t, block_samples *blocks,
                       uint8_t *image)
{
    size_t pitch = (size_t)g->width * g->channels;
    uint8_t *first =
        image + t->row * DSG_BLOCK * pitch + (size_t)t->column * DSG_BLOCK * g->channels;
    for (uint32_t row = 0; row < t->rows; row++, first += DSG_BLOCK * pitch) {
        uint32_t i = row * t->columns;
        switch (g->channels) {
        case 1:
            write_row(blocks, i, t->columns, first, pitch, 1);
            break;
        case 2:
            write_row(blocks, i, t->columns, first, pitch, 2);
            break;
        case 3:
            write_row(blocks, i, t->columns, first, pitch, 3);
            break;
        default:
            write_row(blocks, i, t->columns, first, pitch, 4);
        }
    }
}

/* A matrix of 16x16 bytes, transposed in place.  Zipping row j with row j + 8 rotates the eight
 * bits of a byte's address (row, column) by one; after four rounds rows and columns have changed
 * places. */
static inline void transpose_bytes(lane16 a[BLOCK_SAMPLES])
{
    lane16 b[BLOCK_SAMPLES];
    for (unsigned round = 0; round < 4; round += 2) {
        for (unsigned j = 0; j < 8; j++)
            b[2 * j] = ZIP_LOW_8(a[j], a[j + 8]), b[2 * j + 1] = ZIP_HIGH_8(a[j], a[j + 8]);
        for (unsigned j = 0; j < 8; j++)
            a[2 * j] = ZIP_LOW_8(b[j], b[j + 8]), a[2 * j + 1] = ZIP_HIGH_8(b[j], b[j + 8]);
    }
}

static void by_samples(block_samples blocks, tile_samples samples)
{
    for (unsigned first = 0; first < TILE_BLOCKS; first += BLOCK_SAMPLES) {
        lane16 a[BLOCK_SAMPLES];
        for (unsigned j = 0; j < BLOCK_SAMPLES; j++)
            a[j] = LOAD16(blocks[first + j]);
        transpose_bytes(a);
        for (unsigned k = 0; k < BLOCK_SAMPLES; k++)
            STORE16(samples[k] + first, a[k]);
    }
}

static void by_blocks(tile_samples samples, block_samples blocks)
{
    for (unsigned first = 0; first < TILE_BLOCKS; first += BLOCK_SAMPLES) {
        lane16 a[BLOCK_SAMPLES];
        for (unsigned k = 0; k < BLOCK_SAMPLES; k++)
            a[k] = LOAD16(samples[k] + first);
        transpose_bytes(a);
        for (unsigned j = 0; j < BLOCK_SAMPLES; j++)
            STORE16(blocks[first + j], a[j]);
    }
}

static inline void turn_block(const uint8_t *from, unsigned turn, uint8_t add, uint8_t *to)
{
    STORE16(to, ADD_BYTE(SHUFFLE(LOAD16(from), LOAD16(rotation[turn])), add));
}
