/*
 * test_core.c - the core alone: every instruction set, buffers that end at a guard page.
 *
 * What the kernels compute is held to the NumPy reference by tests/kernels/test_kernels.py; this
 * program checks that they stay within their memory, agree with each other and invert.  Run it
 * under the sanitizers (see Makefile).
 */
#define _DEFAULT_SOURCE
#include "dsguard.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static int failures, checks;

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        checks++;                                                                                  \
        if (!(condition)) {                                                                        \
            failures++;                                                                            \
            fprintf(stderr, "%s:%d: failed: %s\n", __FILE__, __LINE__, #condition);                \
        }                                                                                          \
    } while (0)

static const char *const isas[] = {"scalar", "avx2", "avx512", "neon"};

static uint32_t random_state = 1;

static uint8_t random_byte(void)
{
    random_state = random_state * 1664525u + 1013904223u;
    return (uint8_t)(random_state >> 24);
}

/* 'size' bytes that end right before a page that cannot be touched. */
struct guarded {
    uint8_t *bytes;
    void *map;
    size_t length;
};

static struct guarded guard(size_t size)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), body = (size + page - 1) / page * page;
    struct guarded g = {NULL, NULL, body + page};
    g.map = mmap(NULL, g.length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (g.map == MAP_FAILED || mprotect((char *)g.map + body, page, PROT_NONE) != 0)
        abort();
    g.bytes = (uint8_t *)g.map + body - size;
    return g;
}

static void release(struct guarded *g)
{
    munmap(g->map, g->length);
}

enum fill { NOISE, BLACK, WHITE, EXTREMES, FILLS };

static void fill(uint8_t *bytes, size_t size, enum fill kind)
{
    for (size_t i = 0; i < size; i++) {
        uint8_t noise = random_byte();
        bytes[i] = kind == NOISE ? noise : kind == BLACK ? 0 : kind == WHITE ? 255 : 0;
        if (kind == EXTREMES)
            bytes[i] = noise & 1 ? 255 : 0;
    }
}

static void round_trip(const struct dsg_geometry *g, enum fill of_clean, enum fill of_target)
{
    enum { COUNT = 2 };
    size_t image = (size_t)g->height * g->width * g->channels, size = COUNT * image, one, capacity;
    CHECK(dsg_sequence_bytes(g, &one) == DSG_OK);
    CHECK(dsg_capacity_bytes(g, &capacity) == DSG_OK);
    struct guarded clean = guard(size), target = guard(size), out = guard(size), back = guard(size);
    struct guarded first = guard(size), sequences = guard(COUNT * one);
    struct guarded payload = guard(COUNT * capacity), read = guard(COUNT * capacity);
    uint8_t malformed[COUNT];
    fill(clean.bytes, size, of_clean);
    fill(target.bytes, size, of_target);
    fill(payload.bytes, COUNT * capacity, NOISE);
    for (size_t n = 0; n < sizeof isas / sizeof *isas; n++) {
        if (dsg_set_isa(isas[n]) != DSG_OK)
            continue;
        CHECK(strcmp(dsg_isa(), isas[n]) == 0);
        CHECK(dsg_transform(g, COUNT, clean.bytes, target.bytes, out.bytes, sequences.bytes) == 0);
        CHECK(dsg_invert(g, COUNT, out.bytes, sequences.bytes, back.bytes, malformed) == 0);
        CHECK(memcmp(back.bytes, clean.bytes, size) == 0);
        CHECK(dsg_embed(g, COUNT, out.bytes, payload.bytes, capacity, capacity) == 0);
        CHECK(dsg_extract(g, COUNT, out.bytes, read.bytes, capacity) == 0);
        CHECK(memcmp(read.bytes, payload.bytes, COUNT * capacity) == 0);
        CHECK(dsg_invert(g, COUNT, out.bytes, sequences.bytes, back.bytes, malformed) == 0);
        uint8_t lost = (uint8_t)((1u << g->planes) - 1);
        size_t wrong = 0;
        for (size_t i = 0; i < size; i++)
            wrong += (back.bytes[i] | lost) != (clean.bytes[i] | lost);
        CHECK(wrong == 0 && !malformed[0] && !malformed[1]);
        if (n == 0)
            memcpy(first.bytes, out.bytes, size);
        CHECK(memcmp(out.bytes, first.bytes, size) == 0);
        /* Any bytes at all may be inverted: nothing is read or written out of place. */
        CHECK(dsg_extract(g, COUNT, clean.bytes, read.bytes, one < capacity ? one : capacity) == 0);
        fill(sequences.bytes, COUNT * one, NOISE);
        CHECK(dsg_invert(g, COUNT, out.bytes, sequences.bytes, back.bytes, malformed) == 0);
    }
    struct guarded *all[] = {&clean, &target, &out, &back, &first, &sequences, &payload, &read};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        release(all[i]);
}

static void sizes(void)
{
    static const uint32_t sides[] = {4, 5, 8, 11, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100, 133};
    enum { SIDES = sizeof sides / sizeof *sides };
    for (uint32_t channels = 1; channels <= 4; channels++) {
        for (size_t i = 0; i < SIDES; i++) {
            struct dsg_geometry g = {sides[i], sides[(i * 7 + 3) % SIDES], channels,
                                     channels < 4 ? channels : 3, 1 + (uint32_t)i % 2};
            round_trip(&g, (enum fill)(i % FILLS), (enum fill)((i / 2 + channels) % FILLS));
            round_trip(&g, NOISE, NOISE);
        }
    }
}

/* Every shape of a tile, whole and partial. */
static void tiles(void)
{
    for (uint32_t down = 1; down <= DSG_TILE; down++) {
        for (uint32_t across = 1; across <= DSG_TILE + 1; across++) {
            uint32_t colours = across % 2 ? 1 : 3;
            struct dsg_geometry g = {down * DSG_BLOCK, across * DSG_BLOCK, colours, colours,
                                     1 + down % 2};
            round_trip(&g, NOISE, NOISE);
        }
    }
}

/* Profile exact: everything comes back, and any bytes at all may be decoded and revealed. */
static void exact_round_trip(const struct dsg_geometry *g, uint32_t block, enum fill of_clean,
                             enum fill of_target)
{
    size_t image = (size_t)g->height * g->width * g->channels, room, places;
    CHECK(dsg_exact_sizes(g, block, &room, &places) == DSG_OK);
    size_t spare = (size_t)(g->height / 2) * (g->width / 2);
    struct guarded clean = guard(image), target = guard(image), temporary = guard(image);
    struct guarded hidden = guard(image), back = guard(image), first = guard(image);
    struct guarded sequence = guard(room), scratch = guard(spare * sizeof(uint64_t));
    uint32_t length = 0, size;
    uint8_t mode = 0, thresholds[DSG_BUCKETS], flag;
    fill(clean.bytes, image, of_clean);
    fill(target.bytes, image, of_target);
    for (size_t n = 0; n < sizeof isas / sizeof *isas; n++) {
        if (dsg_set_isa(isas[n]) != DSG_OK)
            continue;
        CHECK(dsg_encode(g, block, (int)(of_clean % 2), 1, clean.bytes, target.bytes,
                         temporary.bytes, sequence.bytes, room, &length, &mode) == DSG_OK);
        CHECK(length <= room);
        CHECK(dsg_decode(g, 1, temporary.bytes, &mode, sequence.bytes, room, &length, back.bytes,
                         &flag) == DSG_OK);
        CHECK(!flag && memcmp(back.bytes, clean.bytes, image) == 0);
        for (size = 0; size < image / 8; size = 2 * size + 3) {
            struct guarded payload = guard(size), read = guard(size + spare / 8 + 1);
            fill(payload.bytes, size, NOISE);
            CHECK(dsg_hide(g, 1, temporary.bytes, payload.bytes, size, &size, &mode, thresholds,
                           hidden.bytes, &flag) == DSG_OK);
            if (flag)
                CHECK(memcmp(hidden.bytes, temporary.bytes, image) == 0);
            else
                CHECK(dsg_reveal(g, 1, hidden.bytes, &mode, thresholds, &size, read.bytes,
                                 size + spare / 8 + 1, back.bytes,
                                 (uint64_t *)(void *)scratch.bytes, &flag) == DSG_OK &&
                      !flag && memcmp(read.bytes, payload.bytes, size) == 0 &&
                      memcmp(back.bytes, temporary.bytes, image) == 0);
            for (unsigned b = 0; b < DSG_BUCKETS; b++)
                thresholds[b] = random_byte() & 15;
            CHECK(dsg_reveal(g, 1, clean.bytes, &mode, thresholds, &size, read.bytes,
                             size + spare / 8 + 1, back.bytes, (uint64_t *)(void *)scratch.bytes,
                             &flag) == DSG_OK);
            release(&payload);
            release(&read);
        }
        if (n == 0)
            memcpy(first.bytes, temporary.bytes, image);
        CHECK(memcmp(first.bytes, temporary.bytes, image) == 0);
        fill(sequence.bytes, room, NOISE);
        for (mode = 0; mode < 40; mode++)
            CHECK(dsg_decode(g, 1, clean.bytes, &mode, sequence.bytes, room, &length, back.bytes,
                             &flag) == DSG_OK);
    }
    struct guarded *all[] = {&clean, &target, &temporary, &hidden,
                             &back,  &first,  &sequence,  &scratch};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        release(all[i]);
}

static void exact(void)
{
    for (uint32_t side = 8; side < 24; side++) {
        for (uint32_t channels = 1; channels <= 4; channels++) {
            struct dsg_geometry g = {side, 8 + side * 7 % 31, channels, channels < 4 ? channels : 3,
                                     1};
            for (uint32_t block = 2; block <= 8; block *= 2)
                exact_round_trip(&g, block, (enum fill)(side % FILLS),
                                 (enum fill)(side / 4 % FILLS));
        }
    }
    struct dsg_geometry large = {70, 133, 3, 3, 1};
    for (uint32_t block = 2; block <= 8; block *= 2)
        exact_round_trip(&large, block, EXTREMES, NOISE);
}

/* Nothing is written where the argument of a later image is refused. */
static void refusals_come_first(void)
{
    enum { SIDE = 8, IMAGE = SIDE * SIDE };
    const struct dsg_geometry g = {SIDE, SIDE, 1, 1, 1};
    const struct dsg_rows rows = {1, 1, 1};
    const uint32_t too_long[2] = {1, 65}, fitting[2] = {1, 1};
    const uint64_t falling[2] = {2, 1};
    uint8_t image[2 * IMAGE] = {0}, bytes[2 * 64] = {0}, modes[2] = {1, 1}, out[2 * IMAGE], seen[2];
    uint8_t thresholds[2 * DSG_BUCKETS] = {0};
    uint64_t scratch[IMAGE];
    memset(out, 7, sizeof out);
    memset(seen, 7, sizeof seen);
    CHECK(dsg_decode(&g, 2, image, modes, bytes, 64, too_long, out, seen) == DSG_ERR_CAPACITY);
    CHECK(dsg_hide(&g, 2, image, bytes, 64, too_long, modes, thresholds, out, seen) ==
          DSG_ERR_CAPACITY);
    CHECK(dsg_reveal(&g, 2, image, modes, thresholds, too_long, bytes, 64, out, scratch, seen) ==
          DSG_ERR_CAPACITY);
    CHECK(dsg_png_unpack(&rows, 2, bytes, falling, bytes, out, seen) == DSG_ERR_CAPACITY);
    modes[1] = 3;
    CHECK(dsg_hide(&g, 2, image, bytes, 64, fitting, modes, thresholds, out, seen) ==
          DSG_ERR_GEOMETRY);
    for (size_t i = 0; i < sizeof out; i++)
        CHECK(out[i] == 7);
    CHECK(seen[0] == 7 && seen[1] == 7 && modes[0] == 1);
}

static void refusals(void)
{
    struct dsg_geometry good = {8, 8, 3, 3, 1};
    uint8_t bytes[8 * 8 * 3] = {0}, malformed;
    size_t size;
    CHECK(dsg_check(&good) == DSG_OK);
    CHECK(dsg_check(NULL) == DSG_ERR_NULL);
    const struct dsg_geometry bad[] = {
        {3, 8, 3, 3, 1}, {8, 3, 3, 3, 1}, {65536, 8, 3, 3, 1}, {8, 65536, 3, 3, 1}, {8, 8, 0, 0, 1},
        {8, 8, 5, 3, 1}, {8, 8, 3, 4, 1}, {8, 8, 3, 0, 1},     {8, 8, 3, 3, 0},     {8, 8, 3, 3, 3},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        CHECK(dsg_check(&bad[i]) == DSG_ERR_GEOMETRY);
        CHECK(dsg_sequence_bytes(&bad[i], &size) == DSG_ERR_GEOMETRY);
        CHECK(dsg_capacity_bytes(&bad[i], &size) == DSG_ERR_GEOMETRY);
        CHECK(dsg_transform(&bad[i], 1, bytes, bytes, bytes, bytes) == DSG_ERR_GEOMETRY);
        CHECK(dsg_extract(&bad[i], 1, bytes, bytes, 1) == DSG_ERR_GEOMETRY);
    }
    CHECK(dsg_sequence_bytes(&good, NULL) == DSG_ERR_NULL);
    CHECK(dsg_capacity_bytes(&good, NULL) == DSG_ERR_NULL);
    CHECK(dsg_transform(&good, 1, NULL, bytes, bytes, bytes) == DSG_ERR_NULL);
    CHECK(dsg_invert(&good, 1, NULL, bytes, bytes, &malformed) == DSG_ERR_NULL);
    CHECK(dsg_embed(&good, 1, bytes, NULL, 0, 1) == DSG_ERR_NULL);
    CHECK(dsg_extract(&good, 1, bytes, NULL, 1) == DSG_ERR_NULL);
    CHECK(dsg_embed(&good, 1, bytes, bytes, 0, 25) == DSG_ERR_CAPACITY);
    CHECK(dsg_set_isa("z80") == DSG_ERR_ISA);
    size_t places;
    uint32_t length = 30;
    uint8_t mode = 1, thresholds[DSG_BUCKETS] = {0}, payload[64];
    uint64_t scratch[16];
    CHECK(dsg_exact_sizes(&good, 3, &size, &places) == DSG_ERR_GEOMETRY);
    CHECK(dsg_exact_sizes(&good, 4, &size, NULL) == DSG_ERR_NULL);
    CHECK(dsg_encode(&good, 4, 0, 1, bytes, bytes, bytes, bytes, 10, &length, &mode) ==
          DSG_ERR_CAPACITY);
    CHECK(dsg_decode(&good, 1, bytes, &mode, payload, 29, &length, bytes, &malformed) ==
          DSG_ERR_CAPACITY);
    CHECK(dsg_hide(&good, 1, bytes, payload, 29, &length, &mode, thresholds, bytes, &malformed) ==
          DSG_ERR_CAPACITY);
    CHECK(dsg_reveal(&good, 1, bytes, &mode, thresholds, &length, payload, 31, bytes, scratch,
                     &malformed) == DSG_ERR_CAPACITY);
    CHECK(dsg_reveal(&good, 1, bytes, &mode, thresholds, &length, payload, 64, bytes, NULL,
                     &malformed) == DSG_ERR_NULL);
    mode = 3;
    CHECK(dsg_hide(&good, 1, bytes, payload, 64, &length, &mode, thresholds, bytes, &malformed) ==
          DSG_ERR_GEOMETRY);
}

/* Bytes that zlib streams are read from: 'pair' of them, from 'packed' on, 'stride' apart. */
static int unpack(const struct dsg_rows *rows, const uint8_t *packed, size_t stride,
                  const uint64_t lengths[2], uint8_t *images, uint8_t malformed[2])
{
    size_t size = (size_t)rows->height * (rows->row_bytes + 1);
    uint64_t ends[2] = {lengths[0], lengths[0] + lengths[1]};
    struct guarded joined = guard((size_t)ends[1]), scratch = guard(2 * size);
    memcpy(joined.bytes, packed, (size_t)lengths[0]);
    memcpy(joined.bytes + lengths[0], packed + stride, (size_t)lengths[1]);
    int status = dsg_png_unpack(rows, 2, joined.bytes, ends, scratch.bytes, images, malformed);
    release(&joined);
    release(&scratch);
    return status;
}

/* Damage that no checksum tells of is for the decoder to survive: it ends, in its memory. */
static void damaged(const struct dsg_rows *rows, uint8_t *packed, size_t stride,
                    const uint64_t lengths[2], uint8_t *images, const uint8_t *same)
{
    uint8_t malformed[2];
    size_t size = (size_t)rows->height * rows->row_bytes;
    for (unsigned round = 0; round < 200; round++) {
        size_t place = 2 + (random_byte() | (size_t)random_byte() << 8) % (size_t)(lengths[0] - 2);
        uint8_t before = packed[place];
        uint64_t cut[2] = {round & 1 ? place : lengths[0], lengths[1]};
        packed[place] ^= (uint8_t)(1u << random_byte() % 8);
        CHECK(unpack(rows, packed, stride, cut, images, malformed) == DSG_OK);
        CHECK(!malformed[1] && (malformed[0] || memcmp(images, same, size) == 0)); /* padding */
        packed[place] = before;
    }
}

static void png_rows(uint32_t height, uint32_t row_bytes, uint32_t pixel_bytes, unsigned noise)
{
    const struct dsg_rows rows = {height, row_bytes, pixel_bytes};
    size_t size = (size_t)height * row_bytes, filtered_size = size + height, bound;
    CHECK(dsg_png_bound(&rows, &bound) == DSG_OK);
    struct guarded images = guard(2 * size), packed = guard(2 * bound), again = guard(2 * size);
    uint64_t lengths[2];
    uint8_t malformed[2];
    for (size_t i = 0; i < 2 * size; i++)
        images.bytes[i] = (uint8_t)(random_byte() & noise);
    for (int store = 0; store < 2; store++) {
        CHECK(dsg_png_pack(&rows, 2, store, images.bytes, packed.bytes, bound, lengths) == DSG_OK);
        CHECK(lengths[0] <= filtered_size + filtered_size / 1000 + 16);
        CHECK(store || noise == 0xFF || filtered_size < 500 || lengths[0] < filtered_size);
        memset(again.bytes, 7, 2 * size);
        CHECK(unpack(&rows, packed.bytes, bound, lengths, again.bytes, malformed) == DSG_OK);
        CHECK(memcmp(again.bytes, images.bytes, 2 * size) == 0 && !malformed[0] && !malformed[1]);
        damaged(&rows, packed.bytes, bound, lengths, again.bytes, images.bytes);
    }
    const struct dsg_rows taller = {height + 1, row_bytes, pixel_bytes};
    struct guarded more = guard(2 * (size + row_bytes));
    CHECK(unpack(&taller, packed.bytes, bound, lengths, more.bytes, malformed) == DSG_OK);
    CHECK(malformed[0] && malformed[1]);
    release(&more);
    release(&images);
    release(&packed);
    release(&again);
}

static void png(void)
{
    static const uint32_t shapes[][3] = {{1, 1, 1},     {32, 96, 3},   {7, 8, 4},
                                         {3, 40000, 1}, {700, 300, 3}, {2, 32766, 3}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (unsigned noise = 0; noise < 4; noise++)
            png_rows(shapes[i][0], shapes[i][1], shapes[i][2], (unsigned[]){0, 1, 15, 255}[noise]);
    const struct dsg_rows bad[] = {{0, 3, 3}, {1, 0, 3}, {1, 3, 0}, {1, 4, 3}, {1, 9, 9}};
    uint8_t byte = 0;
    uint64_t length = 0;
    size_t bound;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK(dsg_png_unpack(&bad[i], 1, &byte, &length, &byte, &byte, &byte) == DSG_ERR_GEOMETRY);
    const struct dsg_rows good = {1, 1, 1};
    CHECK(dsg_png_bound(NULL, &bound) == DSG_ERR_NULL);
    CHECK(dsg_png_bound(&good, NULL) == DSG_ERR_NULL);
    CHECK(dsg_png_pack(&good, 1, 0, NULL, &byte, 1000, &length) == DSG_ERR_NULL);
    CHECK(dsg_png_pack(&good, 1, 0, &byte, &byte, 9, &length) == DSG_ERR_CAPACITY);
    CHECK(dsg_png_unpack(&good, 1, NULL, &length, &byte, &byte, &byte) == DSG_ERR_NULL);
}

int main(void)
{
    png();
    refusals();
    refusals_come_first();
    sizes();
    tiles();
    exact();
    printf("%d passed, %d failed\n", checks - failures, failures);
    return failures != 0;
}
