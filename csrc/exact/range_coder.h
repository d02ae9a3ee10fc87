/*
 * range_coder.h - an adaptive binary range coder (after Martin's range coding with carries, as in
 * LZMA), for Sequences.
 *
 * A model holds the probability of a 0 in 1/4096; its first few bits move it further than later
 * ones, so that a context costs little to learn in an image of 64 blocks.  The stream has no length
 * and no end mark: a decoder that reads beyond its end finds zeros, so the encoder drops the zeros
 * it would end with.
 */
#ifndef DSGUARD_RANGE_CODER_H
#define DSGUARD_RANGE_CODER_H

#include <stddef.h>
#include <stdint.h>

enum { MODEL_ONE = 4096, MODEL_LEAST = 64, MODEL_SLOWEST = 5 };

struct model {
    uint16_t zero; /* probability of a 0, MODEL_LEAST to MODEL_ONE - MODEL_LEAST */
    uint8_t seen;  /* bits so far, up to 15 */
};

static const struct model fresh_model = {MODEL_ONE / 2, 0};

/* Move the probability towards the bit by 1/2, then 1/4, 1/4, 1/8 ... 1/32. */
static inline void learn(struct model *m, unsigned bit)
{
    static const uint8_t shift[16] = {1, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 4, 4, 4, 4, MODEL_SLOWEST};
    unsigned by = shift[m->seen], p = m->zero;
    p = bit ? p - (p >> by) : p + ((MODEL_ONE - p) >> by);
    p = p < MODEL_LEAST ? MODEL_LEAST : p;
    p = p > MODEL_ONE - MODEL_LEAST ? MODEL_ONE - MODEL_LEAST : p;
    m->zero = (uint16_t)p;
    m->seen = (uint8_t)(m->seen + (m->seen < 15));
}

struct encoder {
    uint8_t *bytes;
    size_t size, room; /* 'size' counts on beyond 'room', where nothing is written */
    uint64_t low;      /* below 2^33: bit 32 is a carry */
    uint32_t range;
    size_t waiting; /* bytes that a carry could still change: one, then 0xFF bytes */
    uint8_t first;  /* the one */
};

static inline void start_encoder(struct encoder *e, uint8_t *bytes, size_t room)
{
    struct encoder fresh = {bytes, 0, room, 0, UINT32_MAX, 0, 0};
    *e = fresh;
}

static inline void emit_byte(struct encoder *e, unsigned byte)
{
    if (e->size < e->room)
        e->bytes[e->size] = (uint8_t)byte;
    e->size++;
}

static inline void shift_low(struct encoder *e)
{
    uint32_t top = (uint32_t)(e->low >> 24); /* 9 bits: a carry and a byte */
    if (top != 0xFF || e->waiting == 0) {
        if (e->waiting > 0) {
            emit_byte(e, e->first + (top >> 8));
            for (; e->waiting > 1; e->waiting--)
                emit_byte(e, 0xFF + (top >> 8));
        }
        e->first = (uint8_t)top;
        e->waiting = 1;
    } else {
        e->waiting++;
    }
    e->low = (e->low & 0x00FFFFFF) << 8;
}

static inline void encode_bit(struct encoder *e, struct model *m, unsigned bit)
{
    uint32_t bound = (e->range >> 12) * m->zero;
    if (bit) {
        e->low += bound;
        e->range -= bound;
    } else {
        e->range = bound;
    }
    learn(m, bit);
    while (e->range < 1u << 24) {
        e->range <<= 8;
        shift_low(e);
    }
}

/* The low 'count' bits of 'value', the highest first, each as likely 0 as 1. */
static inline void encode_raw(struct encoder *e, unsigned value, unsigned count)
{
    while (count-- > 0) {
        e->range >>= 1;
        if (value >> count & 1)
            e->low += e->range;
        while (e->range < 1u << 24) {
            e->range <<= 8;
            shift_low(e);
        }
    }
}

/* Finish with the number of most trailing zeros in the last interval, and drop those; returns the
 * length of the stream, which is above the room where it did not fit. */
static inline size_t finish_encoder(struct encoder *e)
{
    for (unsigned zeros = 32; zeros-- > 0;) {
        uint64_t unit = UINT64_C(1) << zeros, value = (e->low + unit - 1) & ~(unit - 1);
        if (value < e->low + e->range) {
            e->low = value;
            break;
        }
    }
    for (unsigned i = 0; i < 5; i++)
        shift_low(e);
    if (e->size <= e->room)
        while (e->size > 0 && e->bytes[e->size - 1] == 0)
            e->size--;
    return e->size;
}

struct decoder {
    const uint8_t *next, *end;
    uint32_t code, range;
};

static inline uint32_t next_byte(struct decoder *d)
{
    return d->next < d->end ? *d->next++ : 0;
}

static inline void start_decoder(struct decoder *d, const uint8_t *bytes, size_t size)
{
    struct decoder fresh = {bytes, bytes + size, 0, UINT32_MAX};
    *d = fresh;
    for (unsigned i = 0; i < 4; i++)
        d->code = d->code << 8 | next_byte(d);
}

static inline unsigned decode_bit(struct decoder *d, struct model *m)
{
    uint32_t bound = (d->range >> 12) * m->zero;
    unsigned bit = d->code >= bound;
    if (bit) {
        d->code -= bound;
        d->range -= bound;
    } else {
        d->range = bound;
    }
    learn(m, bit);
    while (d->range < 1u << 24) {
        d->range <<= 8;
        d->code = d->code << 8 | next_byte(d);
    }
    return bit;
}

static inline unsigned decode_raw(struct decoder *d, unsigned count)
{
    unsigned value = 0;
    while (count-- > 0) {
        d->range >>= 1;
        unsigned bit = d->code >= d->range;
        if (bit)
            d->code -= d->range;
        value = value << 1 | bit;
        while (d->range < 1u << 24) {
            d->range <<= 8;
            d->code = d->code << 8 | next_byte(d);
        }
    }
    return value;
}

#endif
