/*
 * fuzz_spread.c - payloads in low bits: what was spread is gathered, no sample moves further than
 * half of what its mask spans but at the ends, and all instruction sets write the same bytes.
 */
#include "fuzz.h"

static uint8_t mask_of(unsigned choice)
{
    unsigned low = (1u << choice % 9) - 1;
    return (uint8_t)(choice & 16 && low > 1 ? low - 1 : low);
}

static size_t places_in(const uint8_t *masks, size_t count)
{
    size_t places = 0;
    for (size_t i = 0; i < count; i++)
        for (unsigned mask = masks[i]; mask; mask >>= 1)
            places += mask & 1;
    return places;
}

static int far(uint8_t from, uint8_t to, unsigned span)
{
    unsigned way = from < to ? (unsigned)(to - from) : (unsigned)(from - to);
    return way > span / 2 && from >= span / 2 && from + span / 2 <= 255;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, size};
    size_t samples = next_two(&in) % 400, length;
    unsigned choice = next_byte(&in), kept = next_byte(&in);
    uint8_t *masks = block_of(samples), *covers = texture_of(&in, 1, samples);
    for (size_t i = 0; i < samples; i++)
        masks[i] = mask_of(choice & 32 ? choice : next_byte(&in));
    uint8_t *bytes = rest_of(&in, &length);
    size_t room = places_in(masks, samples) / 8, used = kept < room ? room - kept : 0;
    uint8_t *payload = block_of(used), *found = block_of(used);
    for (size_t i = 0; i < used; i++)
        payload[i] = length ? bytes[i % length] : (uint8_t)(i * kept);
    uint8_t *first = block_of(samples), *other = block_of(samples);
    for (size_t n = 0; n < ISAS; n++) {
        if (!use_isa(n, choice / 64))
            continue;
        uint8_t *to = n ? other : first;
        memcpy(to, covers, samples);
        MUST(dsg_spread(samples, masks, 1, to, payload, used, used) == DSG_OK);
        MUST(memcmp(to, first, samples) == 0);
        for (size_t i = 0; i < samples; i++)
            MUST(masks[i] ? !far(covers[i], to[i], (masks[i] | 1u) + 1) : to[i] == covers[i]);
        MUST(dsg_gather(samples, masks, 1, to, found, used) == DSG_OK);
        MUST(memcmp(found, payload, used) == 0);
    }
    void *all[] = {masks, covers, bytes, payload, found, first, other};
    free_all(all, sizeof all / sizeof *all);
    return 0;
}
