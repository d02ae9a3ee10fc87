/*
 * deflate.c - bytes to zlib streams, for images under protection.
 *
 * They are noise in their low bits and hold no strings that would come again, so there is no
 * search for matches: bytes, and runs of one byte, under a Huffman code for each block.  That is
 * several times faster than a general compressor, and the same input gives the same bytes on every
 * machine.
 */
#include <string.h>

#include "png/zlib_stream.h"

enum {
    SHORTEST_RUN = 4,
    LONGEST_RUN = 258,
    MOST_RUNS = DEFLATE_BLOCK / (SHORTEST_RUN + 1) + 1,
};

/* With those that wait, up to 7 after 'flush', at most 63 bits. */
static inline void put(struct bit_writer *w, uint64_t value, unsigned count)
{
    w->bits |= value << w->count;
    w->count += count;
}

/* Write whole bytes, and up to 8 more that are written again. */
static inline void flush(struct bit_writer *w)
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
    uint16_t used[DEFLATE_SYMBOLS];
    uint32_t times[DEFLATE_SYMBOLS], costs[DEFLATE_SYMBOLS], total = 0;
    unsigned count = 0;
    for (unsigned s = 0; s < symbols; s++) {
        total += uses[s];
        used[count] = (uint16_t)s;
        times[count] = uses[s];
        count += uses[s] != 0;
    }
    uint32_t left = 1u << longest;
    unsigned whole = log2_floor(total);
    for (unsigned i = 0; i < count; i++) {
        unsigned length = whole - log2_floor(times[i]);
        length += (times[i] << length) < total;
        costs[i] = 1u << (longest - length);
        left -= costs[i];
    }
    /* Costs are shares of the codes: one that is used more than it costs gains. */
    for (uint64_t gain = 7; left; gain = gain > 4 ? gain - 1 : 7) {
        for (unsigned i = 0; i < count && left; i++) {
            uint64_t due = (uint64_t)times[i] << (longest + 2), paid = gain * total * costs[i];
            uint32_t taken =
                costs[i] & (0u - (uint32_t)((costs[i] <= left) & ((gain == 4) | (due >= paid))));
            left -= taken;
            costs[i] += taken;
        }
    }
    memset(lengths, 0, symbols);
    for (unsigned i = 0; i < count; i++)
        lengths[used[i]] = (uint8_t)(longest - log2_floor(costs[i]));
}

struct code {
    uint8_t lengths[DEFLATE_SYMBOLS];
    uint16_t codes[DEFLATE_SYMBOLS];
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
        next[code->lengths[s] + 1]++;
    next[1] = 0;
    for (unsigned length = 2; length < 17; length++)
        next[length] = (uint16_t)((next[length] + next[length - 1]) << 1);
    for (unsigned s = 0; s < symbols; s++) { /* those without a code get one that nobody reads */
        unsigned length = code->lengths[s];
        code->codes[s] = turned(next[length]++, length);
    }
}

/* ---- Bytes and runs. ---- */

/* What a block is made of: bytes, but for runs of the byte before them. */
struct content {
    const uint8_t *bytes;
    size_t count;
    uint16_t start[MOST_RUNS], length[MOST_RUNS];
    size_t runs;
    uint32_t uses[DEFLATE_SYMBOLS];
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

/* Tell whether one of the nine bytes is followed by SHORTEST_RUN others that equal it. */
static inline int has_run(const uint8_t *bytes)
{
    const uint64_t low = UINT64_C(0x7F7F7F7F7F7F7F7F);
    uint64_t changes = load_word(bytes) ^ load_word(bytes + 1);
    uint64_t same = ~(((changes & low) + low) | changes | low); /* the top bit of zero bytes */
    same &= same >> 8;
    return (same & same >> 16) != 0;
}

static inline int begins_run(const uint8_t *bytes)
{
    uint32_t next; /* SHORTEST_RUN bytes */
    memcpy(&next, bytes + 1, sizeof next);
    return next == *bytes * UINT32_C(0x01010101);
}

/* The first place from 'start' on after which a run begins, 'count' where there is none. */
static size_t find_run(const uint8_t *bytes, size_t start, size_t count)
{
    size_t i = start;
    while (i + 9 <= count && !has_run(bytes + i))
        i += 9 - SHORTEST_RUN;
    for (; i + SHORTEST_RUN < count; i++)
        if (begins_run(bytes + i))
            return i;
    return count;
}

static size_t run_at(const uint8_t *bytes, size_t start, size_t count, uint8_t byte)
{
    size_t run = 0;
    while (run < LONGEST_RUN && start + run < count && bytes[start + run] == byte)
        run++;
    return run;
}

static void count_bytes(const uint8_t *bytes, size_t count, uint32_t *uses)
{
    uint32_t parts[4][256] = {{0}}; /* in turns: a byte that comes twice would wait for itself */
    size_t i = 0;
    for (; i + 8 <= count; i += 8) {
        uint64_t word = load_word(bytes + i);
        for (unsigned k = 0; k < 8; k++)
            parts[k & 3][word >> 8 * k & 0xFF]++;
    }
    for (; i < count; i++)
        parts[0][bytes[i]]++;
    for (unsigned s = 0; s < 256; s++)
        uses[s] = parts[0][s] + parts[1][s] + parts[2][s] + parts[3][s];
}

static void analyse(const uint8_t *bytes, size_t count, struct content *c)
{
    c->bytes = bytes;
    c->count = count;
    c->runs = 0;
    count_bytes(bytes, count, c->uses);
    memset(c->uses + END_OF_BLOCK, 0, (DEFLATE_SYMBOLS - END_OF_BLOCK) * sizeof *c->uses);
    for (size_t i = 0; (i = find_run(bytes, i, count)) < count;) {
        size_t run = run_at(bytes, i + 1, count, bytes[i]);
        c->start[c->runs] = (uint16_t)(i + 1);
        c->length[c->runs++] = (uint16_t)run;
        c->uses[bytes[i]] -= (uint32_t)run;
        c->uses[run_of((unsigned)run).symbol]++;
        i += 1 + run;
    }
    c->uses[END_OF_BLOCK] = 1;
}

/* Bits that a block takes under a code, runs with what follows them. */
static uint64_t bits_of(const struct content *c, const struct code *code)
{
    uint64_t bits = 0;
    for (unsigned s = 0; s < DEFLATE_SYMBOLS; s++) {
        unsigned extra = s < 265 || s == 285 ? 0 : (s - 261) / 4;
        bits += (uint64_t)c->uses[s] * (code->lengths[s] + extra + (s > END_OF_BLOCK));
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
            found[n++][1] = (uint8_t)(symbol < 16 ? 0 : part - (symbol == 18 ? 11 : 3));
            run -= part;
        }
    }
    return n;
}

static void put_codes(struct bit_writer *w, const struct code *code)
{
    uint8_t lengths[DEFLATE_SYMBOLS + 1], found[DEFLATE_SYMBOLS + 1][2];
    uint32_t uses[LENGTH_SYMBOLS] = {0};
    struct code of_lengths;
    unsigned symbols = DEFLATE_SYMBOLS;
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
    put(w, symbols - FIRST_LENGTH, 5);
    put(w, 0, 5);
    put(w, LENGTH_SYMBOLS - 4, 4);
    for (unsigned i = 0; i < LENGTH_SYMBOLS; i++) {
        put(w, of_lengths.lengths[length_order[i]], 3);
        flush(w);
    }
    for (unsigned i = 0; i < count; i++) { /* 14 bits at most */
        static const uint8_t extra[LENGTH_SYMBOLS] = {[16] = 2, [17] = 3, [18] = 7};
        unsigned s = found[i][0], length = of_lengths.lengths[s];
        put(w, of_lengths.codes[s] | (uint64_t)found[i][1] << length, length + extra[s]);
        if (i % 3 == 2)
            flush(w);
    }
    flush(w);
}

/* Write 'at_once' bytes at a time, whose codes have 56 bits together at most. */
static inline void put_bytes(struct bit_writer *writer, const uint8_t *bytes, size_t count,
                             const struct code *code, unsigned at_once)
{
    struct bit_writer w = *writer; /* which nothing that is written can alias */
    size_t i = 0;
    for (; i + at_once <= count; i += at_once) {
        for (unsigned k = 0; k < at_once; k++)
            put(&w, code->codes[bytes[i + k]], code->lengths[bytes[i + k]]);
        flush(&w);
    }
    for (; i < count; i++) {
        put(&w, code->codes[bytes[i]], code->lengths[bytes[i]]);
        flush(&w);
    }
    *writer = w;
}

static void put_content(struct bit_writer *w, const struct content *c, const struct code *code)
{
    unsigned longest = 0;
    for (unsigned s = 0; s < 256; s++)
        longest = code->lengths[s] > longest ? code->lengths[s] : longest;
    for (size_t n = 0, i = 0; i < c->count; n++) {
        size_t stop = n < c->runs ? c->start[n] : c->count;
        if (longest > 14)
            put_bytes(w, c->bytes + i, stop - i, code, 3);
        else
            put_bytes(w, c->bytes + i, stop - i, code, 4);
        i = stop;
        if (n < c->runs) {
            struct run run = run_of(c->length[n]);
            put(w, code->codes[run.symbol], code->lengths[run.symbol]);
            put(w, run.extra, run.bits + 1); /* and the code of the distance, 0 */
            flush(w);
            i += c->length[n];
        }
    }
}

static void put_stored(struct bit_writer *w, const uint8_t *bytes, size_t count, int last)
{
    put(w, (unsigned)last, 3);
    w->count = (w->count + 7) & ~7u;
    put(w, count | (count ^ 0xFFFF) << 16, 32);
    flush(w);
    memcpy(w->out, bytes, count);
    w->out += count;
}

static void put_coded(struct bit_writer *w, const struct content *c, struct code *code, int last)
{
    put(w, (unsigned)last | 2u << 1, 3);
    flush(w);
    assign_codes(code, DEFLATE_SYMBOLS);
    put_codes(w, code);
    put_content(w, c, code);
    put(w, code->codes[END_OF_BLOCK], code->lengths[END_OF_BLOCK]);
    flush(w);
}

/* Whichever is shorter; a code is not tried where its header would not be all that it adds. */
void dsg_put_block(struct bit_writer *w, const uint8_t *bytes, size_t count, int last, int store)
{
    struct content content;
    struct code code;
    struct bit_writer before = *w;
    if (!store) {
        analyse(bytes, count, &content);
        choose_lengths(content.uses, DEFLATE_SYMBOLS, 15, code.lengths);
        if (bits_of(&content, &code) < 8 * (uint64_t)count) {
            put_coded(w, &content, &code, last);
            if ((size_t)(w->out - before.out) < count + 5)
                return;
            *w = before;
        }
    }
    put_stored(w, bytes, count, last);
}

void dsg_begin_stream(struct bit_writer *w, uint8_t *out)
{
    *w = (struct bit_writer){out, 0, 0};
    put(w, 0x0178, 16); /* zlib, a window of 32 KiB, fastest */
    flush(w);
}

uint8_t *dsg_end_stream(struct bit_writer *w, uint32_t adler)
{
    w->count = (w->count + 7) & ~7u;
    flush(w);
    for (unsigned i = 0; i < 4; i++)
        *w->out++ = (uint8_t)(adler >> (24 - 8 * i));
    return w->out;
}
