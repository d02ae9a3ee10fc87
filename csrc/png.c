/*
 * png.c - the scanlines of PNG files: filters (ISO/IEC 15948, 9) and zlib streams (RFC 1950, 1951).
 *
 * Images under protection are noise in their low bits and hold no strings that would come again,
 * so there is no search for matches: bytes, and runs of one byte, under a Huffman code for each
 * block.  That is several times faster than a general compressor, and the same input gives the
 * same bytes on every machine.
 */
#include <string.h>

#include "bits.h"
#include "dsguard.h"

enum {
    BLOCK = 32767, /* bytes of a block: with its end 32768 symbols, whose codes have 15 bits */
    HEADER = 512,  /* more than the codes of a block take */
    END = 256,
    SYMBOLS = 286,
    LENGTH_SYMBOLS = 19,
    SHORTEST_RUN = 4,
    LONGEST_RUN = 258,
    RUN = 256, /* a token of RUN + n stands for n more of the byte before; others for a byte */
};

enum filter { FILTER_NONE, FILTER_SUB, FILTER_UP, FILTER_AVERAGE, FILTER_PAETH };

/* ---- Bits, the first in the lowest. ---- */

struct writer {
    uint8_t *out;
    uint64_t bits;
    unsigned count;
};

/* At most 57 bits may wait. */
static inline void put(struct writer *w, uint64_t value, unsigned count)
{
    w->bits |= value << w->count;
    w->count += count;
}

/* Write whole bytes, and up to 8 more that are written again. */
static inline void flush(struct writer *w)
{
    store_word(w->out, w->bits);
    w->out += w->count >> 3;
    w->bits >>= w->count & ~7u;
    w->count &= 7;
}

/* ---- Codes. ---- */

static inline unsigned log2_floor(uint32_t value)
{
#if defined(__GNUC__)
    return 31u - (unsigned)__builtin_clz(value);
#else
    unsigned log = 0;
    while (value >>= 1)
        log++;
    return log;
#endif
}

/* Lengths of a complete prefix code for symbols by their uses: Shannon's, shortened until nothing
 * is left over, first where it gains most.  Two symbols or more are used, 2^'longest' times in all
 * at most, so that none has a longer code. */
static void choose_lengths(const uint32_t *uses, unsigned symbols, unsigned longest,
                           uint8_t *lengths)
{
    uint16_t used[SYMBOLS];
    unsigned count = 0;
    uint32_t total = 0;
    for (unsigned s = 0; s < symbols; s++) {
        total += uses[s];
        lengths[s] = 0;
        if (uses[s])
            used[count++] = (uint16_t)s;
    }
    uint32_t left = 1u << longest;
    unsigned whole = log2_floor(total);
    for (unsigned i = 0; i < count; i++) {
        unsigned s = used[i], length = whole - log2_floor(uses[s]);
        length += (uses[s] << length) < total;
        lengths[s] = (uint8_t)length;
        left -= 1u << (longest - length);
    }
    for (unsigned gain = 7; left; gain = gain > 4 ? gain - 1 : 7) {
        for (unsigned i = 0; i < count; i++) {
            unsigned s = used[i];
            uint32_t cost = 1u << (longest - lengths[s]);
            if (cost <= left &&
                (gain == 4 || (uint64_t)uses[s] << (lengths[s] + 2) >= (uint64_t)gain * total)) {
                left -= cost;
                lengths[s]--;
            }
        }
    }
}

struct code {
    uint8_t lengths[SYMBOLS];
    uint16_t codes[SYMBOLS];
};

static uint16_t turned(uint16_t code, unsigned length)
{
    unsigned bits = code;
    bits = (bits & 0x5555) << 1 | (bits >> 1 & 0x5555);
    bits = (bits & 0x3333) << 2 | (bits >> 2 & 0x3333);
    bits = (bits & 0x0F0F) << 4 | (bits >> 4 & 0x0F0F);
    bits = (bits & 0x00FF) << 8 | (bits >> 8 & 0x00FF);
    return (uint16_t)(bits >> (16 - length));
}

/* Canonical codes (RFC 1951, 3.2.2) for lengths, their bits turned around as they are written. */
static void assign_codes(struct code *code, unsigned symbols)
{
    uint16_t next[17] = {0};
    for (unsigned s = 0; s < symbols; s++)
        if (code->lengths[s])
            next[code->lengths[s] + 1]++;
    for (unsigned length = 2; length < 17; length++)
        next[length] = (uint16_t)((next[length] + next[length - 1]) << 1);
    for (unsigned s = 0; s < symbols; s++) {
        unsigned length = code->lengths[s];
        if (length)
            code->codes[s] = turned(next[length]++, length);
    }
}

/* ---- Tokens: bytes and runs. ---- */

struct tokens {
    uint16_t token[BLOCK];
    size_t count;
    uint32_t uses[SYMBOLS];
};

/* The symbol of a run, and the bits that follow it (RFC 1951, 3.2.5). */
struct run {
    unsigned symbol, extra, bits;
};

static inline struct run run_of(unsigned length)
{
    unsigned value = length - 3;
    if (length == LONGEST_RUN)
        return (struct run){285, 0, 0};
    if (value < 8)
        return (struct run){257 + value, 0, 0};
    unsigned bits = log2_floor(value) - 2;
    return (struct run){257 + 4 * bits + (value >> bits), value & ((1u << bits) - 1), bits};
}

static inline size_t run_at(const uint8_t *bytes, size_t start, size_t count, uint8_t byte)
{
    size_t run = 0;
    while (run < LONGEST_RUN && start + run < count && bytes[start + run] == byte)
        run++;
    return run;
}

static void tokenise(const uint8_t *bytes, size_t count, struct tokens *t)
{
    uint32_t uses[2][SYMBOLS] = {{0}}; /* in turns: one byte comes twice more often than not */
    uint16_t *token = t->token;
    for (size_t i = 0; i < count;) {
        uint8_t byte = bytes[i++];
        *token++ = byte;
        uses[i & 1][byte]++;
        if (i + SHORTEST_RUN > count)
            continue;
        uint32_t next;
        memcpy(&next, bytes + i, sizeof next); /* SHORTEST_RUN bytes */
        if (next == byte * UINT32_C(0x01010101)) {
            size_t run = run_at(bytes, i, count, byte);
            *token++ = (uint16_t)(RUN + run);
            uses[0][run_of((unsigned)run).symbol]++;
            i += run;
        }
    }
    t->count = (size_t)(token - t->token);
    for (unsigned s = 0; s < SYMBOLS; s++)
        t->uses[s] = uses[0][s] + uses[1][s];
    t->uses[END] = 1;
}

/* Bits that the tokens take under a code, runs with what follows them. */
static uint64_t bits_of(const struct tokens *t, const struct code *code)
{
    uint64_t bits = 0;
    for (unsigned s = 0; s < SYMBOLS; s++) {
        unsigned extra = s < 265 || s == 285 ? 0 : (s - 261) / 4;
        bits += (uint64_t)t->uses[s] * (code->lengths[s] + extra + (s > END));
    }
    return bits;
}

/* ---- Blocks. ---- */

/* Lengths of codes as symbols of their own, zeros and repetitions together (RFC 1951, 3.2.7). */
static unsigned describe(const uint8_t *lengths, unsigned count, uint8_t (*found)[2])
{
    unsigned n = 0;
    for (unsigned i = 0; i < count;) {
        unsigned run = 1;
        while (i + run < count && lengths[i + run] == lengths[i])
            run++;
        uint8_t length = lengths[i];
        i += run;
        if (length) {
            found[n][0] = length;
            found[n++][1] = 0;
            run--;
        }
        while (run) {
            unsigned most = length ? 6 : 138, part = run < most ? run : most;
            uint8_t symbol = length ? 16 : part > 10 ? 18 : 17;
            if (part < 3)
                part = 1, symbol = length;
            found[n][0] = symbol;
            found[n++][1] = (uint8_t)(part - (symbol == 18 ? 11 : 3));
            run -= part;
        }
    }
    return n;
}

static void put_codes(struct writer *w, const struct code *code)
{
    static const uint8_t order[LENGTH_SYMBOLS] = {16, 17, 18, 0, 8,  7, 9,  6, 10, 5,
                                                  11, 4,  12, 3, 13, 2, 14, 1, 15};
    uint8_t lengths[SYMBOLS + 1], found[SYMBOLS + 1][2];
    uint32_t uses[LENGTH_SYMBOLS] = {0};
    struct code of_lengths;
    unsigned symbols = SYMBOLS;
    while (!code->lengths[symbols - 1])
        symbols--;
    memcpy(lengths, code->lengths, symbols);
    lengths[symbols] = 1; /* of the one distance, which is 1 */
    unsigned count = describe(lengths, symbols + 1, found);
    for (unsigned i = 0; i < count; i++)
        uses[found[i][0]]++;
    /* None may have more than 7 bits: no symbol is rarer than one in 2^7 when all have a share. */
    for (unsigned s = 0; s < LENGTH_SYMBOLS; s++)
        uses[s] = uses[s] * 128 / (2 * count) + 2;
    choose_lengths(uses, LENGTH_SYMBOLS, 7, of_lengths.lengths);
    assign_codes(&of_lengths, LENGTH_SYMBOLS);
    put(w, symbols - 257, 5);
    put(w, 0, 5);
    put(w, LENGTH_SYMBOLS - 4, 4);
    for (unsigned i = 0; i < LENGTH_SYMBOLS; i++) {
        put(w, of_lengths.lengths[order[i]], 3);
        flush(w);
    }
    static const uint8_t extra[3] = {2, 3, 7};
    for (unsigned i = 0; i < count; i++) {
        unsigned s = found[i][0];
        put(w, of_lengths.codes[s], of_lengths.lengths[s]);
        if (s > 15)
            put(w, found[i][1], extra[s - 16]);
        flush(w);
    }
}

static void put_tokens(struct writer *writer, const struct tokens *t, const struct code *code)
{
    struct writer own = *writer, *w = &own; /* which nothing that is written can alias */
    const uint16_t *codes = code->codes;
    const uint8_t *lengths = code->lengths;
    const uint16_t *token = t->token, *end = token + t->count;
    while (token < end) {
        if (end - token > 2 && (token[0] | token[1] | token[2]) < RUN) { /* 45 bits at most */
            unsigned a = token[0], b = token[1], c = token[2];
            unsigned two = (unsigned)lengths[a] + lengths[b];
            put(w, codes[a] | (uint64_t)codes[b] << lengths[a] | (uint64_t)codes[c] << two,
                two + lengths[c]);
            token += 3;
        } else if (*token < RUN) {
            put(w, codes[*token], lengths[*token]);
            token++;
        } else {
            struct run run = run_of(*token++ - RUN);
            put(w, codes[run.symbol], lengths[run.symbol]);
            put(w, run.extra, run.bits + 1); /* and the code of the distance, 0 */
        }
        flush(w);
    }
    *writer = own;
}

static void put_stored(struct writer *w, const uint8_t *bytes, size_t count, int last)
{
    put(w, (unsigned)last, 3);
    w->count = (w->count + 7) & ~7u;
    put(w, count | (count ^ 0xFFFF) << 16, 32);
    flush(w);
    memcpy(w->out, bytes, count);
    w->out += count;
}

static void put_coded(struct writer *w, const struct tokens *t, struct code *code, int last)
{
    put(w, (unsigned)last | 2u << 1, 3);
    flush(w);
    assign_codes(code, SYMBOLS);
    put_codes(w, code);
    put_tokens(w, t, code);
    put(w, code->codes[END], code->lengths[END]);
    flush(w);
}

/* Whichever is shorter; a code is not tried where its header would not be all that it adds. */
static void put_block(struct writer *w, const uint8_t *bytes, size_t count, int last, int store)
{
    struct tokens tokens;
    struct code code;
    struct writer before = *w;
    if (!store) {
        tokenise(bytes, count, &tokens);
        choose_lengths(tokens.uses, SYMBOLS, 15, code.lengths);
        if (bits_of(&tokens, &code) < 8 * (uint64_t)count) {
            put_coded(w, &tokens, &code, last);
            if ((size_t)(w->out - before.out) < count + 5)
                return;
            *w = before;
        }
    }
    put_stored(w, bytes, count, last);
}

/* ---- Streams. ---- */

/* The checksum of zlib streams (RFC 1950, 8.2). */
static uint32_t adler32(uint32_t adler, const uint8_t *bytes, size_t count)
{
    uint32_t low = adler & 0xFFFF, high = adler >> 16;
    while (count) {
        size_t part = count < 5536 ? count : 5536; /* high stays below 2^32 */
        size_t i = 0;
        for (; i + 16 <= part; i += 16) {
            uint32_t sum = 0, weighted = 0;
            for (unsigned k = 0; k < 16; k++) {
                sum += bytes[i + k];
                weighted += (16 - k) * bytes[i + k];
            }
            high += 16 * low + weighted;
            low += sum;
        }
        for (; i < part; i++) {
            low += bytes[i];
            high += low;
        }
        low %= 65521;
        high %= 65521;
        bytes += part;
        count -= part;
    }
    return high << 16 | low;
}

/* Bytes 'start' to 'start' + 'count' of the rows with their filters, which are Up. */
static void filter(const uint8_t *image, size_t row_bytes, size_t start, size_t count, uint8_t *out)
{
    while (count) {
        size_t row = start / (row_bytes + 1), column = start % (row_bytes + 1);
        if (column == 0) {
            *out++ = FILTER_UP;
            start++;
            count--;
            continue;
        }
        size_t part = row_bytes + 1 - column;
        part = part < count ? part : count;
        const uint8_t *from = image + row * row_bytes + column - 1;
        if (row == 0)
            memcpy(out, from, part);
        else
            for (size_t i = 0; i < part; i++)
                out[i] = (uint8_t)(from[i] - (from - row_bytes)[i]);
        out += part;
        start += part;
        count -= part;
    }
}

static size_t pack(const uint8_t *image, size_t height, size_t row_bytes, int store, uint8_t *out)
{
    uint8_t bytes[BLOCK];
    size_t size = height * (row_bytes + 1);
    uint32_t adler = 1;
    struct writer w = {out, 0, 0};
    put(&w, 0x0178, 16); /* zlib, a window of 32 KiB, fastest */
    flush(&w);
    for (size_t start = 0; start < size; start += BLOCK) {
        size_t count = size - start < BLOCK ? size - start : BLOCK;
        filter(image, row_bytes, start, count, bytes);
        adler = adler32(adler, bytes, count);
        put_block(&w, bytes, count, start + count == size, store);
    }
    w.count = (w.count + 7) & ~7u;
    flush(&w);
    for (unsigned i = 0; i < 4; i++)
        *w.out++ = (uint8_t)(adler >> (24 - 8 * i));
    return (size_t)(w.out - out);
}

static int check(const struct dsg_rows *rows)
{
    if (!rows)
        return DSG_ERR_NULL;
    if (!rows->height || !rows->row_bytes || !rows->pixel_bytes || rows->pixel_bytes > 8 ||
        rows->row_bytes % rows->pixel_bytes || rows->height > INT32_MAX ||
        rows->row_bytes > INT32_MAX - 1)
        return DSG_ERR_GEOMETRY;
    return DSG_OK;
}

int dsg_png_bound(const struct dsg_rows *rows, size_t *bytes)
{
    int status = bytes ? check(rows) : DSG_ERR_NULL;
    if (status == DSG_OK) {
        uint64_t size = (uint64_t)rows->height * (rows->row_bytes + 1);
        uint64_t bound = size + (size / BLOCK + 1) * HEADER;
        *bytes = (size_t)bound;
        status = bound == *bytes ? DSG_OK : DSG_ERR_GEOMETRY;
    }
    return status;
}

int dsg_png_pack(const struct dsg_rows *rows, size_t count, int store, const uint8_t *images,
                 uint8_t *packed, size_t stride, uint64_t *lengths)
{
    size_t bound;
    int status = dsg_png_bound(rows, &bound);
    if (status != DSG_OK)
        return status;
    if (!images || !packed || !lengths)
        return DSG_ERR_NULL;
    if (stride < bound)
        return DSG_ERR_CAPACITY;
    size_t height = rows->height, row_bytes = rows->row_bytes;
    for (size_t i = 0; i < count; i++)
        lengths[i] = pack(images + i * height * row_bytes, height, row_bytes, store != 0,
                          packed + i * stride);
    return DSG_OK;
}

/* ---- Filters undone. ---- */

static uint8_t paeth(int left, int up, int corner)
{
    int by_left = up - corner, by_up = left - corner, by_corner = by_left + by_up;
    by_left = by_left < 0 ? -by_left : by_left;
    by_up = by_up < 0 ? -by_up : by_up;
    by_corner = by_corner < 0 ? -by_corner : by_corner;
    if (by_left <= by_up && by_left <= by_corner)
        return (uint8_t)left;
    return (uint8_t)(by_up <= by_corner ? up : corner);
}

/* Undo the filter of one row; 'above' is NULL for the first. Returns 0 where there is none such. */
static int undo(unsigned kind, const uint8_t *row, const uint8_t *above, size_t count, size_t pixel,
                uint8_t *out)
{
    if (!above && kind == FILTER_UP)
        kind = FILTER_NONE;
    if (!above && kind == FILTER_PAETH)
        kind = FILTER_SUB;
    switch (kind) {
    case FILTER_NONE:
        memcpy(out, row, count);
        return 1;
    case FILTER_UP:
        for (size_t i = 0; i < count; i++)
            out[i] = (uint8_t)(row[i] + above[i]);
        return 1;
    case FILTER_SUB:
        memcpy(out, row, pixel);
        for (size_t i = pixel; i < count; i++)
            out[i] = (uint8_t)(row[i] + out[i - pixel]);
        return 1;
    case FILTER_AVERAGE:
        for (size_t i = 0; i < count; i++) {
            unsigned left = i < pixel ? 0 : out[i - pixel], up = above ? above[i] : 0;
            out[i] = (uint8_t)(row[i] + (left + up) / 2);
        }
        return 1;
    case FILTER_PAETH:
        for (size_t i = 0; i < pixel; i++)
            out[i] = (uint8_t)(row[i] + above[i]);
        for (size_t i = pixel; i < count; i++)
            out[i] = (uint8_t)(row[i] + paeth(out[i - pixel], above[i], above[i - pixel]));
        return 1;
    default:
        return 0;
    }
}

int dsg_png_unfilter(const struct dsg_rows *rows, size_t count, const uint8_t *filtered,
                     uint8_t *images, uint8_t *malformed)
{
    int status = check(rows);
    if (status != DSG_OK)
        return status;
    if (!filtered || !images || !malformed)
        return DSG_ERR_NULL;
    size_t height = rows->height, row_bytes = rows->row_bytes;
    for (size_t i = 0; i < count; i++) {
        malformed[i] = 0;
        const uint8_t *above = NULL;
        for (size_t y = 0; y < height; y++) {
            if (!undo(filtered[0], filtered + 1, above, row_bytes, rows->pixel_bytes, images))
                malformed[i] = 1;
            above = images;
            filtered += 1 + row_bytes;
            images += row_bytes;
        }
    }
    return DSG_OK;
}
