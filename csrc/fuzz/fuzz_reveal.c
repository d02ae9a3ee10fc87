/*
 * fuzz_reveal.c - images that are said to be protected, restored: any samples, or a hidden payload
 * with some of them changed.  Revealing and what follows it stay within their memory, and all
 * instruction sets agree.
 */
#include "fuzz.h"

struct claim { /* what a header says of an image */
    uint8_t mode, thresholds[DSG_BUCKETS];
    uint32_t length;
};

static struct claim claim_of(struct input *in, const struct dsg_geometry *g)
{
    struct claim c;
    c.mode = next_byte(in) % 40;
    for (size_t b = 0; b < DSG_BUCKETS; b++)
        c.thresholds[b] = next_byte(in) % 17;
    c.length = next_two(in) % (uint32_t)(samples_of(g) / 4 + 8);
    return c;
}

/* Hide a payload in the image, so that what is claimed is true, then change some of its samples. */
static void hide(const struct dsg_geometry *g, struct input *in, uint8_t *image, struct claim *c)
{
    size_t samples = samples_of(g);
    uint8_t *temporary = block_of(samples), *payload = texture_of(in, 1, c->length), failed;
    memcpy(temporary, image, samples);
    c->mode = c->mode % 16 < 8 ? 0 : c->mode % 16 < 15 ? 1 : 2; /* a small block is soon done */
    while ((2u << c->mode) > (g->height < g->width ? g->height : g->width))
        c->mode--;
    MUST(dsg_hide(g, 1, temporary, payload, c->length, &c->length, &c->mode, c->thresholds, image,
                  &failed) == DSG_OK);
    for (size_t n = 0; in->left && n < 16; n++) {
        uint32_t place = next_two(in) % (uint32_t)samples;
        image[place] = next_byte(in);
    }
    free(temporary);
    free(payload);
}

static void reveal(const struct dsg_geometry *g, const uint8_t *image, const struct claim *c,
                   unsigned choice)
{
    size_t samples = samples_of(g), places = (size_t)(g->height / 2) * (g->width / 2);
    size_t room = c->length + places / 8 + 1;
    uint8_t *temporary = block_of(samples), *clean = block_of(samples), *payload = block_of(room);
    uint8_t *first[] = {block_of(samples), block_of(samples), block_of(room)};
    uint64_t *scratch = (uint64_t *)(void *)block_of(places * sizeof *scratch);
    uint8_t expected[2] = {0, 0}, failed[2];
    for (size_t n = 0; n < ISAS; n++) {
        if (!use_isa(n, choice))
            continue;
        failed[1] = 0;
        MUST(dsg_reveal(g, 1, image, &c->mode, c->thresholds, &c->length, payload, room, temporary,
                        scratch, failed) == DSG_OK);
        if (!failed[0])
            MUST(dsg_decode(g, 1, temporary, &c->mode, payload, room, &c->length, clean,
                            failed + 1) == DSG_OK);
        if (n == 0) {
            memcpy(expected, failed, sizeof expected);
            memcpy(first[0], temporary, samples);
            memcpy(first[1], clean, samples);
            memcpy(first[2], payload, room);
        }
        MUST(failed[0] == expected[0] && failed[1] == expected[1]);
        if (failed[0])
            continue;
        MUST(memcmp(temporary, first[0], samples) == 0);
        MUST(memcmp(payload, first[2], c->length) == 0);
        MUST(failed[1] || memcmp(clean, first[1], samples) == 0);
    }
    void *all[] = {temporary, clean, payload, first[0], first[1], first[2], scratch};
    free_all(all, sizeof all / sizeof *all);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, size};
    struct dsg_geometry g = geometry_of(&in);
    unsigned kind = next_byte(&in);
    struct claim claim = claim_of(&in, &g);
    uint8_t *image = image_of(&in, &g);
    if (kind % 2)
        hide(&g, &in, image, &claim);
    reveal(&g, image, &claim, kind / 2);
    free(image);
    return 0;
}
