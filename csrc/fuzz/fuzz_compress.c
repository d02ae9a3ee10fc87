/*
 * fuzz_compress.c - lossless coding: any image comes back, and all instruction sets write the same
 * bytes.  Any bytes at all may be decoded: that stays within its memory, and all agree.
 */
#include "fuzz.h"

static size_t samples_in(const struct dsg_image *image)
{
    return (size_t)image->height * image->width * image->channels;
}

static struct dsg_image shape_of(struct input *in)
{
    static const uint32_t channels[] = {1, 3, 4};
    struct dsg_image image = {next_byte(in) % 24 + 1, next_byte(in) % 40 + 1,
                              channels[next_byte(in) % 3]};
    return image;
}

/* Two images: their streams are decoded at once, and alone. */
static void there_and_back(const struct dsg_image *shape, struct input *in, unsigned choice)
{
    size_t samples = samples_in(shape), room, entries;
    MUST(dsg_compress_sizes(shape, &room, &entries) == DSG_OK);
    uint8_t *images = texture_of(in, 2 * shape->height, (size_t)shape->width * shape->channels);
    uint8_t *first = block_of(2 * room), *streams = block_of(2 * room),
            *out = block_of(2 * samples);
    uint64_t *scratch = (uint64_t *)(void *)block_of(entries * sizeof *scratch);
    uint32_t expected[2], lengths[2];
    uint8_t malformed[2];
    for (size_t n = 0; n < ISAS; n++) {
        if (!use_isa(n, choice))
            continue;
        uint8_t *to = n ? streams : first;
        uint32_t *sizes = n ? lengths : expected;
        MUST(dsg_compress(shape, 2, images, to, room, sizes, scratch) == DSG_OK);
        for (size_t i = 0; i < 2; i++)
            MUST(sizes[i] <= room && sizes[i] == expected[i] &&
                 memcmp(to + i * room, first + i * room, sizes[i]) == 0);
        for (size_t count = 1; count <= 2; count++) {
            memset(out, 0, 2 * samples);
            MUST(dsg_expand(shape, count, to, room, sizes, out, scratch, malformed) == DSG_OK);
            for (size_t i = 0; i < count; i++)
                MUST(!malformed[i]);
            MUST(memcmp(out, images, count * samples) == 0);
        }
    }
    void *all[] = {images, first, streams, out, scratch};
    free_all(all, sizeof all / sizeof *all);
}

static void arbitrary(const struct dsg_image *shape, struct input *in, unsigned choice)
{
    size_t samples = samples_in(shape), room, entries, length;
    MUST(dsg_compress_sizes(shape, &room, &entries) == DSG_OK);
    uint8_t *stream = rest_of(in, &length), *first = block_of(samples), *other = block_of(samples);
    uint64_t *scratch = (uint64_t *)(void *)block_of(entries * sizeof *scratch);
    uint32_t size = (uint32_t)length;
    uint8_t expected = 0, malformed;
    for (size_t n = 0; n < ISAS; n++) {
        if (!use_isa(n, choice))
            continue;
        uint8_t *out = n ? other : first;
        MUST(dsg_expand(shape, 1, stream, length, &size, out, scratch, &malformed) == DSG_OK);
        if (n == 0)
            expected = malformed;
        MUST(malformed == expected && (malformed || memcmp(out, first, samples) == 0));
    }
    void *all[] = {stream, first, other, scratch};
    free_all(all, sizeof all / sizeof *all);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, size};
    struct dsg_image shape = shape_of(&in);
    unsigned kind = next_byte(&in);
    (kind % 2 ? arbitrary : there_and_back)(&shape, &in, kind / 2);
    return 0;
}
