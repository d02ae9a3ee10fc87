/*
 * inflate.c - zlib streams to bytes, two at a time.
 *
 * To look a code up takes as long as the table takes to answer, and the next code begins where
 * this one ends: a processor waits most of the time.  With two streams in turns it waits half as
 * long, and where codes are short, one look finds two of them.  Nothing outside the streams is read
 * and nothing outside the outputs written, whatever the streams say.
 */
#include <string.h>

#include "png/zlib_stream.h"

enum {
    LONGEST_CODE = 15,
    DISTANCES = 30,
    MOST_SYMBOLS = 288,
    BYTE_BITS = 11, /* of codes that a table has, by use; longer ones are decoded bit by bit */
    DISTANCE_BITS = 8,
    LENGTH_BITS = 7,
    AT_ONCE = 5,           /* entries of the table for bytes that take 56 bits at most together */
    WORTH_PAIRS = 1 << 13, /* bytes to come for which it is worth to look for pairs */
};

/*
 * An entry of a table, from the lowest bit on: the length of all codes that are found, a byte's or
 * two of them; how many bytes that are; the length of the first code, 0 where none is so short;
 * then the symbol, or the two bytes.
 */
enum {
    LENGTH = 63, /* as a mask of a shift, which costs nothing */
    BYTES = 6,
    FIRST = 8,
    NO_BYTE = 1 << 12, /* set where it is another symbol, or none */
    SYMBOL = 16,
};

/* A prefix code; the codes of one length are consecutive, in the order of 'sorted'. */
struct table {
    unsigned bits;
    uint16_t of_length[LONGEST_CODE + 1];
    uint16_t sorted[MOST_SYMBOLS];
    uint32_t entry[1 << BYTE_BITS];
};

struct reader {
    const uint8_t *in, *in_end;
    uint64_t bits;
    unsigned count; /* of bits that are there; above them may be some of the next */
    uint8_t *out, *out_start, *out_end;
    enum { IN_CODE, DONE, MALFORMED } state;
    int last;
    int has_fixed; /* the tables are those of the fixed codes */
    struct table bytes, distances;
};

/* Have 56 bits or more, where eight bytes are left. */
static inline void refill_word(uint64_t *bits, const uint8_t **in, unsigned *count)
{
    *bits |= load_word(*in) << *count;
    *in += (63 - *count) >> 3;
    *count |= 56;
}

/* Have 56 bits or more, or all that are left. */
static inline void refill(struct reader *r)
{
    if (r->in_end - r->in >= 8) {
        refill_word(&r->bits, &r->in, &r->count);
        return;
    }
    while (r->count <= 56 && r->in < r->in_end) {
        r->bits |= (uint64_t)*r->in++ << r->count;
        r->count += 8;
    }
}

/* Take 'count' bits (32 at most) that 'refill' got; a stream that has no more is malformed. */
static unsigned take(struct reader *r, unsigned count)
{
    if (count > r->count) {
        r->state = MALFORMED;
        return 0;
    }
    unsigned value = (unsigned)(r->bits & ((UINT64_C(1) << count) - 1));
    r->bits >>= count;
    r->count -= count;
    return value;
}

/* ---- Codes. ---- */

/* The entry of a single symbol. */
static inline uint32_t entry_of(unsigned symbol, unsigned length)
{
    unsigned found = symbol < END_OF_BLOCK ? 1 << BYTES : NO_BYTE;
    return symbol << SYMBOL | found | length << FIRST | length;
}

/* Make the table of a code by the lengths of its symbols' codes; returns 0 where there is no such
 * code.  One that leaves codes without a symbol is taken only for a single distance, or none. */
static int make_table(struct table *t, const uint8_t *lengths, unsigned symbols, unsigned bits)
{
    uint16_t place[LONGEST_CODE + 2] = {0};
    memset(t->of_length, 0, sizeof t->of_length);
    for (unsigned s = 0; s < symbols; s++)
        t->of_length[lengths[s]]++;
    unsigned used = symbols - t->of_length[0];
    t->of_length[0] = 0;
    int left = 1;
    for (unsigned length = 1; length <= LONGEST_CODE; length++) {
        left = 2 * left - t->of_length[length];
        if (left < 0)
            return 0;
        place[length + 1] = (uint16_t)(place[length] + t->of_length[length]);
    }
    if (left && (used > 1 || used != t->of_length[1] || bits != DISTANCE_BITS))
        return 0;
    for (unsigned s = 0; s < symbols; s++)
        if (lengths[s])
            t->sorted[place[lengths[s]]++] = (uint16_t)s;
    /* A table for codes of one more bit is the table twice, and the codes of that length.  Codes
     * are counted with their bits turned around, as they are read. */
    const uint16_t *next = t->sorted;
    unsigned code = 0;
    t->bits = bits;
    t->entry[0] = NO_BYTE; /* of no code */
    for (unsigned length = 1; length <= bits; length++) {
        unsigned top = 1u << (length - 1);
        memcpy(t->entry + top, t->entry, top * sizeof *t->entry);
        for (unsigned n = t->of_length[length]; n; n--) {
            t->entry[code] = entry_of(*next++, length);
            unsigned bit = top;
            while (code & bit) {
                code ^= bit;
                bit >>= 1;
            }
            code |= bit;
        }
    }
    return 1;
}

/* Have entries of two bytes, where both codes are among the bits that are looked up.  The second is
 * where the bits that the first leaves say: further down, so that from the end on it is a single
 * one still. */
static void find_pairs(struct table *t)
{
    for (unsigned n = 1u << t->bits; n-- > 0;) {
        uint32_t first = t->entry[n], second = t->entry[n >> (first & LENGTH)];
        unsigned length = (first & LENGTH) + (second & LENGTH);
        if (!((first | second) & NO_BYTE) && length <= t->bits)
            t->entry[n] = (second >> SYMBOL) << (SYMBOL + 8) | (first >> SYMBOL) << SYMBOL |
                          (first & LENGTH) << FIRST | 2 << BYTES | length;
    }
}

/* Decode a symbol whose code is not in the table; MOST_SYMBOLS where there is none such. */
static unsigned decode_long(struct reader *r, const struct table *t)
{
    unsigned code = 0, first = 0, place = 0;
    for (unsigned length = 1; length <= LONGEST_CODE && length <= r->count; length++) {
        code |= (unsigned)(r->bits >> (length - 1)) & 1;
        unsigned count = t->of_length[length];
        if (code < first + count) {
            take(r, length);
            return t->sorted[place + code - first];
        }
        place += count;
        first = (first + count) << 1;
        code <<= 1;
    }
    r->state = MALFORMED;
    return MOST_SYMBOLS;
}

static unsigned decode(struct reader *r, const struct table *t)
{
    uint32_t entry = t->entry[r->bits & ((1u << t->bits) - 1)];
    unsigned length = entry >> FIRST & LONGEST_CODE;
    if (!length)
        return decode_long(r, t);
    take(r, length);
    return entry & NO_BYTE ? entry >> SYMBOL : entry >> SYMBOL & 255;
}

/* Read the lengths of both codes (RFC 1951, 3.2.7); returns 0 where they make none. */
static int read_codes(struct reader *r)
{
    uint8_t lengths[MOST_SYMBOLS + 32] = {0}, of_lengths[LENGTH_SYMBOLS] = {0};
    r->has_fixed = 0;
    refill(r);
    unsigned symbols = take(r, 5) + FIRST_LENGTH, distances = take(r, 5) + 1;
    unsigned described = take(r, 4) + 4, total = symbols + distances;
    for (unsigned i = 0; i < described; i++) {
        refill(r);
        of_lengths[length_order[i]] = (uint8_t)take(r, 3);
    }
    if (symbols > DEFLATE_SYMBOLS || distances > DISTANCES || r->state == MALFORMED ||
        !make_table(&r->bytes, of_lengths, LENGTH_SYMBOLS, LENGTH_BITS))
        return 0;
    for (unsigned i = 0; i < total;) {
        refill(r);
        unsigned symbol = decode(r, &r->bytes), length = 0, times = 1;
        if (symbol < 16)
            length = symbol;
        else if (symbol == 16)
            length = i ? lengths[i - 1] : 255, times = 3 + take(r, 2);
        else
            times = symbol == 17 ? 3 + take(r, 3) : 11 + take(r, 7);
        if (r->state == MALFORMED || length == 255 || times > total - i)
            return 0;
        memset(lengths + i, (int)length, times);
        i += times;
    }
    if (!lengths[END_OF_BLOCK] || !make_table(&r->bytes, lengths, symbols, BYTE_BITS) ||
        !make_table(&r->distances, lengths + symbols, distances, DISTANCE_BITS))
        return 0;
    if (r->out_end - r->out >= WORTH_PAIRS)
        find_pairs(&r->bytes);
    return 1;
}

static int fixed_codes(struct reader *r)
{
    uint8_t lengths[MOST_SYMBOLS];
    if (r->has_fixed) /* or a stream of empty blocks would take as long as it likes */
        return 1;
    memset(lengths, 8, 144);
    memset(lengths + 144, 9, 112);
    memset(lengths + 256, 7, 24);
    memset(lengths + 280, 8, 8);
    if (!make_table(&r->bytes, lengths, MOST_SYMBOLS, BYTE_BITS))
        return 0;
    memset(lengths, 5, 32); /* 30 and 31 stand for nothing */
    r->has_fixed = make_table(&r->distances, lengths, 32, DISTANCE_BITS);
    return r->has_fixed;
}

/* ---- Blocks. ---- */

static void copy_stored(struct reader *r)
{
    take(r, r->count & 7);
    refill(r);
    size_t count = take(r, 16);
    if ((take(r, 16) ^ count) != 0xFFFF)
        r->state = MALFORMED;
    r->in -= r->count >> 3; /* give back what was read ahead */
    r->bits = r->count = 0;
    if (r->state == MALFORMED || count > (size_t)(r->in_end - r->in) ||
        count > (size_t)(r->out_end - r->out)) {
        r->state = MALFORMED;
        return;
    }
    memcpy(r->out, r->in, count);
    r->out += count;
    r->in += count;
}

/* Go on to the next bytes in a code, if there are any. */
static void next_code(struct reader *r)
{
    while (r->state == IN_CODE) {
        if (r->last) {
            r->state = DONE;
            return;
        }
        refill(r);
        r->last = (int)take(r, 1);
        unsigned kind = take(r, 2);
        if (r->state == MALFORMED)
            return;
        if (kind == 0) {
            copy_stored(r);
            continue;
        }
        if (kind == 3 || !(kind == 1 ? fixed_codes(r) : read_codes(r)))
            r->state = MALFORMED;
        return;
    }
}

/* Repeat what was written: RFC 1951, 3.2.5. */
static void repeat(struct reader *r, unsigned symbol)
{
    unsigned value = symbol - FIRST_LENGTH, length = value + 3;
    if (symbol == 285) {
        length = 258;
    } else if (value >= 8) {
        unsigned bits = value / 4 - 1;
        length = ((4 + value % 4) << bits) + 3 + take(r, bits);
    }
    unsigned far = decode(r, &r->distances), distance = far + 1;
    if (far >= 4 && far < DISTANCES) {
        unsigned bits = far / 2 - 1;
        distance = ((2 + far % 2) << bits) + 1 + take(r, bits);
    }
    if (r->state == MALFORMED || symbol > 285 || far >= DISTANCES ||
        distance > (size_t)(r->out - r->out_start) || length > (size_t)(r->out_end - r->out)) {
        r->state = MALFORMED;
        return;
    }
    uint8_t *out = r->out;
    const uint8_t *from = out - distance;
    if (distance == 1)
        memset(out, *from, length);
    else
        for (unsigned i = 0; i < length; i++)
            out[i] = from[i];
    r->out += length;
}

/* Read one symbol, whatever it is. */
static void step(struct reader *r)
{
    refill(r);
    unsigned symbol = decode(r, &r->bytes);
    if (symbol < END_OF_BLOCK) {
        if (r->out < r->out_end)
            *r->out++ = (uint8_t)symbol;
        else
            r->state = MALFORMED;
    } else if (symbol == END_OF_BLOCK) {
        next_code(r);
    } else if (r->state != MALFORMED) {
        repeat(r, symbol);
    }
}

/* What the loop below keeps in registers of a stream. */
struct lane {
    uint64_t bits;
    const uint8_t *in;
    uint8_t *out;
    const uint32_t *entry;
    unsigned count;
};

static inline struct lane open_lane(const struct reader *r)
{
    return (struct lane){r->bits, r->in, r->out, r->bytes.entry, r->count};
}

static inline void close_lane(struct reader *r, const struct lane *lane)
{
    r->bits = lane->bits;
    r->in = lane->in;
    r->out = lane->out;
    r->count = lane->count;
}

static inline uint32_t look_up(const struct lane *lane)
{
    return lane->entry[lane->bits & ((1u << BYTE_BITS) - 1)];
}

/* Write two bytes, of which the second may mean nothing. */
static inline void put_bytes(struct lane *lane, uint32_t entry)
{
    unsigned length = entry & LENGTH;
    lane->out[0] = (uint8_t)(entry >> SYMBOL);
    lane->out[1] = (uint8_t)(entry >> (SYMBOL + 8));
    lane->out += entry >> BYTES & 3;
    lane->bits >>= length;
    lane->count -= length;
}

/* Read bytes of both streams in turns, until one of them has something else, or is near its end. */
static void read_bytes(struct reader *first, struct reader *second)
{
    struct lane a = open_lane(first), b = open_lane(second);
    unsigned other = 0;
    while (!other && first->in_end - a.in >= 8 && second->in_end - b.in >= 8 &&
           first->out_end - a.out >= 2 * AT_ONCE && second->out_end - b.out >= 2 * AT_ONCE) {
        refill_word(&a.bits, &a.in, &a.count);
        refill_word(&b.bits, &b.in, &b.count);
        for (unsigned n = 0; n < AT_ONCE && !other; n++) {
            uint32_t entry_a = look_up(&a), entry_b = look_up(&b);
            other = (entry_a | entry_b) & NO_BYTE;
            if (!other) {
                put_bytes(&a, entry_a);
                put_bytes(&b, entry_b);
            }
        }
    }
    close_lane(first, &a);
    close_lane(second, &b);
}

/* ---- Streams. ---- */

static void begin(struct reader *r, const struct inflated *stream, size_t size)
{
    const uint8_t *in = stream->packed;
    r->in_end = in + stream->length;
    r->bits = r->count = 0;
    r->out = r->out_start = stream->out;
    r->out_end = stream->out + size;
    r->last = 0;
    r->has_fixed = 0;
    int genuine = stream->length >= 6 && (in[0] & 15) == 8 && in[0] >> 4 < 8 && !(in[1] & 32) &&
                  (in[0] * 256 + in[1]) % 31 == 0;
    r->in = genuine ? in + 2 : in;
    r->state = genuine ? IN_CODE : MALFORMED;
    next_code(r);
}

/* Tell whether a stream ended where it should, with the checksum of what came out. */
static int is_whole(struct reader *r)
{
    if (r->state != DONE || r->out != r->out_end)
        return 0;
    const uint8_t *end = r->in - (r->count >> 3);
    if (r->in_end - end != 4)
        return 0;
    uint32_t adler = 0;
    for (unsigned i = 0; i < 4; i++)
        adler = adler << 8 | end[i];
    return adler == adler32(1, r->out_start, (size_t)(r->out_end - r->out_start));
}

void dsg_inflate(struct inflated pair[2], size_t size)
{
    struct reader first, second;
    begin(&first, &pair[0], size);
    begin(&second, &pair[1], size);
    while (first.state == IN_CODE && second.state == IN_CODE) {
        read_bytes(&first, &second);
        step(&first);
        if (second.state == IN_CODE)
            step(&second);
    }
    while (first.state == IN_CODE)
        step(&first);
    while (second.state == IN_CODE)
        step(&second);
    pair[0].malformed = !is_whole(&first);
    pair[1].malformed = !is_whole(&second);
}
