/*
 * fuzz_round_trip.c - any image protected and restored: the same bits come back, and all
 * instruction sets write the same bytes on the way.
 */
#include "fuzz.h"

/* What one instruction set made of an image. */
struct made {
    uint8_t *temporary, *sequence, *hidden, mode, thresholds[DSG_BUCKETS], failed;
    uint32_t length;
};

static struct made make(const struct dsg_geometry *g, size_t room)
{
    struct made m = {
        block_of(samples_of(g)), block_of(room), block_of(samples_of(g)), 0, {0}, 0, 0};
    memset(m.sequence, 0, room);
    return m;
}

static void discard(struct made *m)
{
    free(m->temporary);
    free(m->sequence);
    free(m->hidden);
}

static void must_equal(const struct made *a, const struct made *b, size_t samples)
{
    MUST(a->length == b->length && a->mode == b->mode && a->failed == b->failed);
    MUST(memcmp(a->sequence, b->sequence, a->length) == 0);
    MUST(memcmp(a->temporary, b->temporary, samples) == 0);
    MUST(memcmp(a->hidden, b->hidden, samples) == 0);
    MUST(memcmp(a->thresholds, b->thresholds, sizeof a->thresholds) == 0);
}

/* Give the payload back, which is the Sequence, the image without it, and the clean image. */
static void restore(const struct dsg_geometry *g, const struct made *m, const uint8_t *clean)
{
    size_t samples = samples_of(g), places = (size_t)(g->height / 2) * (g->width / 2);
    size_t room = m->length + places / 8 + 1;
    uint8_t *payload = block_of(room), *temporary = block_of(samples), *back = block_of(samples);
    uint64_t *scratch = (uint64_t *)(void *)block_of(places * sizeof *scratch);
    uint8_t failed;
    MUST(dsg_reveal(g, 1, m->hidden, &m->mode, m->thresholds, &m->length, payload, room, temporary,
                    scratch, &failed) == DSG_OK);
    MUST(!failed && memcmp(payload, m->sequence, m->length) == 0);
    MUST(memcmp(temporary, m->temporary, samples) == 0);
    MUST(dsg_decode(g, 1, temporary, &m->mode, payload, room, &m->length, back, &failed) == DSG_OK);
    MUST(!failed && memcmp(back, clean, samples) == 0);
    free(payload);
    free(temporary);
    free(back);
    free(scratch);
}

static void exact(const struct dsg_geometry *g, struct input *in, unsigned choice)
{
    size_t samples = samples_of(g), room, places;
    static const uint8_t sides[16] = {2, 2, 2, 2, 2, 2, 2, 2, 4, 4, 4, 4, 4, 4, 4, 8};
    unsigned how = next_byte(in);
    uint32_t block = sides[how % 16]; /* 8 takes ten times as long as 2 */
    if (dsg_exact_sizes(g, block, &room, &places) != DSG_OK)
        return;
    uint8_t *clean = image_of(in, g), *target = image_of(in, g), *back = block_of(samples), flag;
    struct made first = {0};
    for (size_t n = 0; n < ISAS; n++) {
        if (!use_isa(n, choice))
            continue;
        struct made m = make(g, room);
        MUST(dsg_encode(g, block, how > 127, 1, clean, target, m.temporary, m.sequence, room,
                        &m.length, &m.mode) == DSG_OK);
        MUST(m.length <= room);
        MUST(dsg_decode(g, 1, m.temporary, &m.mode, m.sequence, room, &m.length, back, &flag) ==
             DSG_OK);
        MUST(!flag && memcmp(back, clean, samples) == 0);
        MUST(dsg_hide(g, 1, m.temporary, m.sequence, room, &m.length, &m.mode, m.thresholds,
                      m.hidden, &m.failed) == DSG_OK);
        if (m.failed)
            MUST(memcmp(m.hidden, m.temporary, samples) == 0);
        else
            restore(g, &m, clean);
        if (n == 0)
            first = m;
        must_equal(&m, &first, samples);
        if (n)
            discard(&m);
    }
    discard(&first);
    free(clean);
    free(target);
    free(back);
}

static void paper(const struct dsg_geometry *g, struct input *in, unsigned choice)
{
    size_t samples = samples_of(g), room, capacity, lost = 0;
    MUST(dsg_sequence_bytes(g, &room) == DSG_OK && dsg_capacity_bytes(g, &capacity) == DSG_OK);
    size_t hidden = capacity * next_byte(in) / 255;
    uint8_t *clean = image_of(in, g), *target = image_of(in, g),
            *payload = texture_of(in, 1, hidden);
    uint8_t *out = block_of(samples), *sequence = block_of(room), *back = block_of(samples);
    uint8_t *first = block_of(samples), *once = block_of(room), *read = block_of(hidden), malformed;
    uint8_t low = (uint8_t)((1u << g->planes) - 1);
    for (size_t n = 0; n < ISAS; n++) {
        if (!use_isa(n, choice))
            continue;
        MUST(dsg_transform(g, 1, clean, target, out, sequence) == DSG_OK);
        MUST(dsg_invert(g, 1, out, sequence, back, &malformed) == DSG_OK);
        MUST(!malformed && memcmp(back, clean, samples) == 0);
        MUST(dsg_embed(g, 1, out, payload, hidden, hidden) == DSG_OK);
        MUST(dsg_extract(g, 1, out, read, hidden) == DSG_OK);
        MUST(memcmp(read, payload, hidden) == 0);
        MUST(dsg_invert(g, 1, out, sequence, back, &malformed) == DSG_OK && !malformed);
        for (size_t i = 0; i < samples; i++)
            lost += (back[i] | low) != (clean[i] | low);
        MUST(lost == 0);
        if (n == 0) {
            memcpy(first, out, samples);
            memcpy(once, sequence, room);
        }
        MUST(memcmp(out, first, samples) == 0 && memcmp(sequence, once, room) == 0);
    }
    void *all[] = {clean, target, payload, out, sequence, back, first, once, read};
    free_all(all, sizeof all / sizeof *all);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    return try_one_of(data, size, exact, paper);
}
