/*
 * fuzz_decode.c - Sequences of any bytes, of the exact profiles and of profile paper: decoding
 * stays within its memory, and all instruction sets agree.
 */
#include "fuzz.h"

static void exact(const struct dsg_geometry *g, struct input *in, unsigned choice)
{
    size_t samples = samples_of(g), room;
    uint8_t mode = next_byte(in), *temporary = image_of(in, g), *sequence = rest_of(in, &room);
    uint8_t *first = block_of(samples), *clean = block_of(samples), expected = 0, malformed;
    uint32_t length = (uint32_t)room;
    for (size_t n = 0; n < ISAS; n++) {
        if (!use_isa(n, choice))
            continue;
        uint8_t *out = n ? clean : first;
        MUST(dsg_decode(g, 1, temporary, &mode, sequence, room, &length, out, &malformed) ==
             DSG_OK);
        if (n == 0)
            expected = malformed;
        MUST(malformed == expected && (malformed || memcmp(out, first, samples) == 0));
    }
    free(temporary);
    free(sequence);
    free(first);
    free(clean);
}

static void paper(const struct dsg_geometry *g, struct input *in, unsigned choice)
{
    size_t samples = samples_of(g), room, capacity;
    MUST(dsg_sequence_bytes(g, &room) == DSG_OK && dsg_capacity_bytes(g, &capacity) == DSG_OK);
    size_t hidden = capacity * next_byte(in) / 255;
    uint8_t *temporary = image_of(in, g), *sequence = texture_of(in, 1, room);
    uint8_t *first = block_of(samples), *clean = block_of(samples), expected = 0, malformed;
    uint8_t *payload = block_of(hidden), *once = block_of(hidden), *marked = block_of(samples);
    for (size_t n = 0; n < ISAS; n++) {
        if (!use_isa(n, choice))
            continue;
        uint8_t *out = n ? clean : first, *read = n ? payload : once;
        MUST(dsg_invert(g, 1, temporary, sequence, out, &malformed) == DSG_OK);
        MUST(dsg_extract(g, 1, temporary, read, hidden) == DSG_OK);
        if (n == 0)
            expected = malformed;
        MUST(malformed == expected && (malformed || memcmp(out, first, samples) == 0));
        MUST(memcmp(read, once, hidden) == 0);
        memcpy(marked, temporary, samples);
        MUST(dsg_embed(g, 1, marked, read, 0, hidden) == DSG_OK);
        MUST(memcmp(marked, temporary, samples) == 0);
    }
    void *all[] = {temporary, sequence, first, clean, payload, once, marked};
    free_all(all, sizeof all / sizeof *all);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    return try_one_of(data, size, exact, paper);
}
