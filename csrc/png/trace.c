/*
 * trace.c - the trace of a zlib stream: all that its encoder chose.
 *
 * Both directions are one walk over the stream.  What the walk meets is read from the stream and
 * encoded by the range coder, or decoded and written.  Most choices cost nearly nothing, since the
 * rows are known to both sides: a match is nearly always the longest that there is.
 */
#include "dsguard.h"
#include "exact/range_coder.h"
#include "png/filters.h"
#include "png/zlib_stream.h"

#include <string.h>

enum {
    STEPS = 16, /* earlier places with the same hash that are looked at */
    WINDOW = 1 << 15,
    SHORTEST = 3,
    LONGEST = 258,
    LONGEST_CODE = 15,
    QUICK_BITS = 9, /* of codes that a table has; longer ones are decoded bit by bit */
    SYMBOL = 4,     /* an entry: a length of 4 bits, 0 where there is none, then the symbol */
    SYMBOLS = 288,
    DISTANCES = 30,
    FILTERS = 8,
    CONTEXTS = 64, /* of the lengths of codes: 32 by frequency, then 16 and 16 by the one before */
};

struct code {
    uint16_t of_length[LONGEST_CODE + 1];
    uint16_t sorted[SYMBOLS];
    uint16_t bits[SYMBOLS];
    uint8_t length[SYMBOLS];
    uint16_t quick[1 << QUICK_BITS];
};

/* Places of the rows, by hash, and before each the one before it with the same hash. */
struct places {
    int32_t head[WINDOW];
    int32_t before[WINDOW];
};

struct walk {
    int writes; /* the stream, of a trace; else it is read */
    int malformed;
    struct encoder encoder;
    struct decoder decoder;
    const uint8_t *in;
    uint8_t *out;
    size_t next, length; /* of the stream, in bytes */
    uint64_t bits;
    unsigned count;
    const uint8_t *rows;
    size_t at, size;
    struct places *places;
    unsigned was_match;
    uint8_t likely[256]; /* contexts of bytes, by their frequency */
    struct code code, far;
    struct model filter[FILTERS][8], last, kind[4], own[8], length_of[CONTEXTS][32];
    struct model match[16][2], best, step[32], whole;
};

/* ---- One choice: encoded, or decoded. ---- */

static unsigned pass_bit(struct walk *w, struct model *m, unsigned bit)
{
    if (w->writes)
        return decode_bit(&w->decoder, m);
    encode_bit(&w->encoder, m, bit);
    return bit;
}

static unsigned pass_raw(struct walk *w, unsigned value, unsigned count)
{
    if (w->writes)
        return decode_raw(&w->decoder, count);
    encode_raw(&w->encoder, value, count);
    return value;
}

/* A number of some bits, the highest first, each under the model of those before it. */
static unsigned pass_tree(struct walk *w, struct model *models, unsigned bits, unsigned value)
{
    unsigned node = 1;
    for (unsigned n = bits; n-- > 0;)
        node = node << 1 | pass_bit(w, &models[node], value >> n & 1);
    return node - (1u << bits);
}

/* ---- The stream; what is taken of one that is written is 0, and what is put into one that is read
 * is ignored. ---- */

static void refill(struct walk *w)
{
    while (w->count <= 56 && w->next < w->length) {
        w->bits |= (uint64_t)w->in[w->next++] << w->count;
        w->count += 8;
    }
}

static unsigned take(struct walk *w, unsigned count)
{
    if (w->writes)
        return 0;
    refill(w);
    if (count > w->count) {
        w->malformed = 1;
        return 0;
    }
    unsigned value = (unsigned)(w->bits & ((UINT64_C(1) << count) - 1));
    w->bits >>= count;
    w->count -= count;
    return value;
}

static void put(struct walk *w, unsigned value, unsigned count)
{
    if (!w->writes)
        return;
    w->bits |= (uint64_t)value << w->count;
    for (w->count += count; w->count >= 8; w->count -= 8) {
        if (w->next == w->length) {
            w->malformed = 1;
            return;
        }
        w->out[w->next++] = (uint8_t)w->bits;
        w->bits >>= 8;
    }
}

/* Go to the end of the byte, whose other bits are 0. */
static void align(struct walk *w)
{
    if (w->writes)
        put(w, 0, (8 - w->count % 8) % 8);
    else if (take(w, w->count % 8))
        w->malformed = 1;
}

/* Take a field over as it is. */
static unsigned field(struct walk *w, unsigned count)
{
    unsigned value = pass_raw(w, take(w, count), count);
    put(w, value, count);
    return value;
}

/* ---- Codes. ---- */

static int make_code(struct code *c, const uint8_t *lengths, unsigned symbols)
{
    unsigned code = 0, room = 0, place[LONGEST_CODE + 2] = {0};
    memset(c, 0, sizeof *c);
    for (unsigned s = 0; s < symbols; s++) {
        c->length[s] = lengths[s];
        c->of_length[lengths[s]]++;
    }
    c->of_length[0] = 0;
    for (unsigned length = 1; length <= LONGEST_CODE; length++) {
        place[length + 1] = place[length] + c->of_length[length];
        room += (unsigned)c->of_length[length] << (LONGEST_CODE - length);
    }
    if (room > 1u << LONGEST_CODE)
        return 0;
    for (unsigned length = 1; length <= LONGEST_CODE; length++, code <<= 1)
        for (unsigned s = 0; s < symbols && c->of_length[length]; s++)
            if (lengths[s] == length) {
                unsigned turned = 0;
                for (unsigned n = 0; n < length; n++)
                    turned = turned << 1 | (code >> n & 1);
                c->sorted[place[length]++] = (uint16_t)s;
                c->bits[s] = (uint16_t)turned;
                for (unsigned n = turned; length <= QUICK_BITS && n < 1u << QUICK_BITS;
                     n += 1u << length)
                    c->quick[n] = (uint16_t)(s << SYMBOL | length);
                code++;
            }
    return 1;
}

static unsigned take_symbol(struct walk *w, const struct code *c)
{
    if (w->writes)
        return 0;
    refill(w);
    unsigned entry = c->quick[w->bits & ((1u << QUICK_BITS) - 1)], known = entry & LONGEST_CODE;
    if (known && known <= w->count) {
        w->bits >>= known;
        w->count -= known;
        return entry >> SYMBOL;
    }
    unsigned code = 0, first = 0, place = 0;
    for (unsigned length = 1; length <= LONGEST_CODE && length <= w->count; length++) {
        code |= (unsigned)(w->bits >> (length - 1)) & 1;
        unsigned count = c->of_length[length];
        if (code < first + count) {
            w->bits >>= length;
            w->count -= length;
            return c->sorted[place + code - first];
        }
        place += count;
        first = (first + count) << 1;
        code <<= 1;
    }
    w->malformed = 1;
    return END_OF_BLOCK;
}

static void put_symbol(struct walk *w, const struct code *c, unsigned symbol)
{
    if (w->writes && !c->length[symbol])
        w->malformed = 1;
    put(w, c->bits[symbol], c->length[symbol]);
}

/* Take over the lengths of both codes (RFC 1951, 3.2.7); returns 0 where they make none. */
static int pass_codes(struct walk *w)
{
    uint8_t own[LENGTH_SYMBOLS] = {0}, lengths[SYMBOLS + DISTANCES + 138] = {0};
    unsigned symbols = field(w, 5) + FIRST_LENGTH, distances = field(w, 5) + 1;
    unsigned described = field(w, 4) + 4, total = symbols + distances;
    for (unsigned i = 0; i < described; i++) {
        unsigned length = pass_tree(w, w->own, 3, take(w, 3));
        put(w, length, 3);
        own[length_order[i]] = (uint8_t)length;
    }
    if (w->malformed || symbols > DEFLATE_SYMBOLS || distances > DISTANCES ||
        !make_code(&w->code, own, LENGTH_SYMBOLS))
        return 0;
    unsigned n = 0;
    while (n < total) {
        unsigned before = n ? lengths[n - 1] : 0, times = 1;
        unsigned context = n < 256 ? w->likely[n] : (n < symbols ? 32u : 48u) + before;
        unsigned symbol = pass_tree(w, w->length_of[context], 5, take_symbol(w, &w->code));
        if (w->malformed || symbol >= LENGTH_SYMBOLS || (symbol == 16 && !n))
            return 0;
        put_symbol(w, &w->code, symbol);
        if (symbol == 16)
            times = 3 + field(w, 2);
        else if (symbol > 16)
            times = symbol == 17 ? 3 + field(w, 3) : 11 + field(w, 7);
        memset(lengths + n, (int)(symbol < 16 ? symbol : symbol == 16 ? before : 0), times);
        n += times;
    }
    return !w->malformed && n == total && make_code(&w->code, lengths, symbols) &&
           make_code(&w->far, lengths + symbols, distances);
}

static void fixed_codes(struct walk *w)
{
    uint8_t lengths[SYMBOLS];
    memset(lengths, 8, 144);
    memset(lengths + 144, 9, 112);
    memset(lengths + 256, 7, 24);
    memset(lengths + 280, 8, 8);
    make_code(&w->code, lengths, SYMBOLS);
    memset(lengths, 5, DISTANCES);
    make_code(&w->far, lengths, DISTANCES);
}

/* ---- Bytes and matches. ---- */

static unsigned hash_of(const uint8_t *bytes)
{
    return ((unsigned)bytes[0] << 10 ^ (unsigned)bytes[1] << 5 ^ bytes[2]) & (WINDOW - 1);
}

static void advance(struct walk *w, size_t count)
{
    size_t end = w->at + count, last = w->size < SHORTEST ? 0 : w->size - SHORTEST + 1;
    for (; w->at < end && w->at < last; w->at++) {
        unsigned hash = hash_of(w->rows + w->at);
        w->places->before[w->at % WINDOW] = w->places->head[hash];
        w->places->head[hash] = (int32_t)w->at;
    }
    w->at = end;
}

/* How many bytes from a place on are those that come now. */
static unsigned common(const struct walk *w, size_t place)
{
    size_t most = w->size - w->at < LONGEST ? w->size - w->at : LONGEST, n = 0;
    const uint8_t *now = w->rows + w->at, *then = w->rows + place;
    while (n + 8 <= most && load_word(now + n) == load_word(then + n))
        n += 8;
    while (n < most && now[n] == then[n])
        n++;
    return (unsigned)n;
}

/* Earlier places of the same hash, the nearest first, and the first of those with most in common.
 */
struct found {
    size_t place[STEPS];
    unsigned count, best, length; /* 0 where no match is long enough */
};

static struct found find(const struct walk *w)
{
    struct found f = {.count = 0};
    if (w->size - w->at < SHORTEST)
        return f;
    unsigned most = w->size - w->at < LONGEST ? (unsigned)(w->size - w->at) : LONGEST;
    unsigned longest = SHORTEST - 1;
    int32_t place = w->places->head[hash_of(w->rows + w->at)];
    while (place >= 0 && w->at - (size_t)place <= WINDOW && f.count < STEPS) {
        size_t then = (size_t)place;
        if (longest < most && w->rows[then + longest] == w->rows[w->at + longest]) {
            unsigned length = common(w, then);
            if (length > longest) {
                longest = f.length = length;
                f.best = f.count;
            }
        }
        f.place[f.count++] = then;
        place = w->places->before[then % WINDOW];
    }
    return f;
}

struct match {
    unsigned length, distance; /* 0, and the byte, of a byte */
};

static struct match take_token(struct walk *w)
{
    struct match m = {0, 0};
    unsigned symbol = take_symbol(w, &w->code), value = symbol - FIRST_LENGTH;
    m.distance = symbol;
    if (symbol < END_OF_BLOCK)
        return m;
    if (symbol == END_OF_BLOCK || symbol > 285) {
        w->malformed = 1;
        return m;
    }
    unsigned extra = value >= 8 && symbol != 285 ? value / 4 - 1 : 0;
    m.length = symbol == 285 ? LONGEST
               : value < 8   ? value + 3
                             : ((4 + value % 4) << extra) + 3 + take(w, extra);
    unsigned far = take_symbol(w, &w->far);
    if (far >= DISTANCES || (m.length == LONGEST && symbol != 285)) {
        w->malformed = 1;
        return m;
    }
    extra = far >= 4 ? far / 2 - 1 : 0;
    m.distance = far < 4 ? far + 1 : ((2 + far % 2) << extra) + 1 + take(w, extra);
    return m;
}

static unsigned top_bit(unsigned value)
{
    unsigned n = 0;
    while (value >>= 1)
        n++;
    return n;
}

static void put_match(struct walk *w, struct match m)
{
    unsigned value = m.length - SHORTEST, far = m.distance - 1;
    unsigned extra = value < 8 || m.length == LONGEST ? 0 : top_bit(value) - 2;
    unsigned symbol = m.length == LONGEST ? 285 : FIRST_LENGTH + 4 * extra + (value >> extra);
    put_symbol(w, &w->code, symbol);
    put(w, value & ((1u << extra) - 1), extra);
    extra = far < 4 ? 0 : top_bit(far) - 1;
    put_symbol(w, &w->far, 2 * extra + (far >> extra));
    put(w, far & ((1u << extra) - 1), extra);
}

/* A match that is not the longest there is. */
static struct match pass_other(struct walk *w, const struct found *f, struct match m)
{
    unsigned step = 0;
    while (step < f->count && w->at - f->place[step] != m.distance)
        step++;
    step = pass_tree(w, w->step, 5, step < f->count ? step : STEPS);
    if (step < f->count)
        m.distance = (unsigned)(w->at - f->place[step]);
    else
        m.distance = 1 + pass_raw(w, m.distance - 1, 15);
    if (m.distance > w->at) {
        w->malformed = 1;
        return m;
    }
    unsigned most = common(w, w->at - m.distance);
    if (pass_bit(w, &w->whole, m.length == most))
        m.length = most;
    else
        m.length = SHORTEST + pass_raw(w, m.length - SHORTEST, 8);
    if (m.length < SHORTEST || m.length > most)
        w->malformed = 1;
    return m;
}

/* Go past a byte, or a match. */
static void pass_token(struct walk *w)
{
    struct match m = take_token(w);
    if (w->malformed || w->at >= w->size) {
        w->malformed = 1;
        return;
    }
    struct found f = find(w);
    unsigned known = f.length < 15 ? f.length : 15;
    if (!w->writes && (m.length ? !f.count : m.distance != w->rows[w->at])) {
        w->malformed = 1;
        return;
    }
    if (!f.count || !pass_bit(w, &w->match[known][w->was_match], m.length > 0)) {
        put_symbol(w, &w->code, w->rows[w->at]);
        w->was_match = 0;
        advance(w, 1);
        return;
    }
    struct match best = {f.length, f.length ? (unsigned)(w->at - f.place[f.best]) : 0};
    unsigned is_best = f.length && m.length == best.length && m.distance == best.distance;
    if (!pass_bit(w, &w->best, is_best))
        m = pass_other(w, &f, m);
    else if (f.length)
        m = best;
    else
        w->malformed = 1;
    if (w->malformed)
        return;
    put_match(w, m);
    w->was_match = 1;
    advance(w, m.length);
}

/* ---- Blocks. ---- */

static void pass_stored(struct walk *w)
{
    align(w);
    unsigned size = field(w, 16), other = take(w, 16);
    put(w, size ^ 0xFFFF, 16);
    if ((!w->writes && other != (size ^ 0xFFFF)) || size > w->size - w->at) {
        w->malformed = 1;
        return;
    }
    for (unsigned i = 0; i < size && !w->malformed; i++) {
        unsigned byte = w->rows[w->at + i];
        if (!w->writes && take(w, 8) != byte)
            w->malformed = 1;
        put(w, byte, 8);
    }
    advance(w, size);
}

/* How many symbols a block that is read has yet, without its end. */
static uint32_t count_symbols(struct walk *w)
{
    uint64_t bits = w->bits;
    size_t next = w->next;
    unsigned count = w->count;
    uint32_t symbols = 0;
    while (!w->malformed) {
        struct walk again = {.bits = w->bits, .count = w->count, .next = w->next};
        if (take_symbol(w, &w->code) == END_OF_BLOCK)
            break;
        w->bits = again.bits, w->count = again.count, w->next = again.next;
        take_token(w);
        symbols++;
    }
    w->bits = bits, w->count = count, w->next = next;
    return symbols;
}

/* A last block goes to the end of the rows; others tell how many symbols they have. */
static void pass_block(struct walk *w, unsigned last)
{
    if (last) {
        while (w->at < w->size && !w->malformed)
            pass_token(w);
    } else {
        uint32_t symbols = w->writes ? 0 : count_symbols(w);
        uint32_t high = pass_raw(w, symbols >> 16, 16);
        symbols = high << 16 | pass_raw(w, symbols & 0xFFFF, 16);
        for (; symbols && !w->malformed; symbols--)
            pass_token(w);
    }
    if (!w->malformed && !w->writes && take_symbol(w, &w->code) != END_OF_BLOCK)
        w->malformed = 1;
    put_symbol(w, &w->code, END_OF_BLOCK);
}

static void pass_blocks(struct walk *w)
{
    unsigned last = 0;
    while (!last && !w->malformed) {
        last = pass_bit(w, &w->last, take(w, 1));
        put(w, last, 1);
        unsigned kind = pass_tree(w, w->kind, 2, take(w, 2));
        put(w, kind, 2);
        if (kind == 0) {
            pass_stored(w);
        } else if (kind == 1) {
            fixed_codes(w);
            pass_block(w, last);
        } else if (kind == 3 || !pass_codes(w)) {
            w->malformed = 1;
        } else {
            pass_block(w, last);
        }
    }
    align(w);
    if (w->at != w->size)
        w->malformed = 1;
}

/* ---- Both directions. ---- */

static void fresh(struct model *models, size_t bytes)
{
    for (size_t n = 0; n < bytes / sizeof *models; n++)
        models[n] = fresh_model;
}

static void begin(struct walk *w, int writes, size_t size, int32_t *places)
{
    memset(w, 0, sizeof *w);
    w->writes = writes;
    w->size = size;
    w->places = (struct places *)places;
    memset(w->places->head, 0xFF, sizeof w->places->head); /* -1 */
    fresh(&w->filter[0][0], sizeof w->filter);
    fresh(&w->last, sizeof w->last);
    fresh(w->kind, sizeof w->kind);
    fresh(w->own, sizeof w->own);
    fresh(&w->length_of[0][0], sizeof w->length_of);
    fresh(&w->match[0][0], sizeof w->match);
    fresh(&w->best, sizeof w->best);
    fresh(w->step, sizeof w->step);
    fresh(&w->whole, sizeof w->whole);
}

/* Contexts of bytes: twice the bits that a code by frequency would have, rounded down, and one. */
static void count_bytes(struct walk *w)
{
    uint64_t counts[256] = {0};
    for (size_t i = 0; i < w->size; i++)
        counts[w->rows[i]]++;
    for (unsigned s = 0; s < 256; s++) {
        unsigned bits = 0;
        if (counts[s])
            for (uint64_t rest = (uint64_t)w->size * w->size / (counts[s] * counts[s]); rest;
                 rest >>= 1)
                bits++;
        w->likely[s] = (uint8_t)(bits < 31 ? bits : 31);
    }
}

/* The bytes of all filtered rows; 0 where these rows cannot be traced. */
static size_t filtered_bytes(const struct dsg_rows *rows)
{
    uint64_t size = (uint64_t)rows->height * ((uint64_t)rows->row_bytes + 1);
    int known = rows->height && rows->row_bytes && rows->pixel_bytes &&
                rows->row_bytes % rows->pixel_bytes == 0 && size <= INT32_MAX;
    return known ? (size_t)size : 0;
}

int dsg_png_trace(const struct dsg_rows *rows, const uint8_t *filtered, const uint8_t *stream,
                  size_t length, int32_t *places, uint8_t *trace, size_t room, size_t *size)
{
    struct walk w;
    if (!rows || !filtered || !stream || !places || !trace || !size)
        return DSG_ERR_NULL;
    size_t bytes = filtered_bytes(rows);
    if (!bytes)
        return DSG_ERR_GEOMETRY;
    begin(&w, 0, bytes, places);
    start_encoder(&w.encoder, trace, room);
    w.in = stream;
    w.length = length;
    w.rows = filtered;
    count_bytes(&w);
    unsigned kind = 0;
    for (size_t y = 0; y < rows->height; y++) {
        unsigned own = filtered[y * ((size_t)rows->row_bytes + 1)];
        if (own > FILTER_PAETH)
            w.malformed = 1;
        kind = pass_tree(&w, w.filter[kind], 3, own & 7);
    }
    pass_blocks(&w);
    *size = finish_encoder(&w.encoder);
    if (w.malformed || w.count || w.next != w.length)
        *size = 0;
    return DSG_OK;
}

/* Filter one row; 'above' is NULL for the first. */
static void filter_row(unsigned kind, const uint8_t *row, const uint8_t *above, size_t count,
                       size_t pixel, uint8_t *out)
{
    for (size_t i = 0; i < count; i++) {
        unsigned left = i < pixel ? 0 : row[i - pixel], up = above ? above[i] : 0;
        unsigned corner = i < pixel || !above ? 0 : above[i - pixel];
        unsigned guess = kind == FILTER_SUB       ? left
                         : kind == FILTER_UP      ? up
                         : kind == FILTER_AVERAGE ? (left + up) / 2
                         : kind == FILTER_PAETH   ? paeth((int)left, (int)up, (int)corner)
                                                  : 0;
        out[i] = (uint8_t)(row[i] - guess);
    }
}

int dsg_png_retrace(const struct dsg_rows *rows, const uint8_t *image, const uint8_t *trace,
                    size_t size, int32_t *places, uint8_t *filtered, uint8_t *stream, size_t room,
                    size_t *length)
{
    struct walk w;
    if (!rows || !image || !trace || !places || !filtered || !stream || !length)
        return DSG_ERR_NULL;
    size_t bytes = filtered_bytes(rows);
    if (!bytes)
        return DSG_ERR_GEOMETRY;
    begin(&w, 1, bytes, places);
    start_decoder(&w.decoder, trace, size);
    w.out = stream;
    w.length = room;
    w.rows = filtered;
    const uint8_t *above = NULL;
    unsigned kind = 0;
    for (size_t y = 0; y < rows->height && !w.malformed; y++) {
        const uint8_t *row = image + y * (size_t)rows->row_bytes;
        uint8_t *out = filtered + y * ((size_t)rows->row_bytes + 1);
        kind = pass_tree(&w, w.filter[kind], 3, 0);
        w.malformed = kind > FILTER_PAETH;
        *out = (uint8_t)kind;
        filter_row(kind, row, above, rows->row_bytes, rows->pixel_bytes, out + 1);
        above = row;
    }
    if (!w.malformed) {
        count_bytes(&w);
        pass_blocks(&w);
    }
    *length = w.malformed ? 0 : w.next;
    return DSG_OK;
}
