/*
 * fuzz_png.c - rows of PNG files, both ways: what was packed comes back, filters do what the
 * standard says, and any bytes at all may be unpacked.
 */
#include "fuzz.h"
#include "png/zlib_stream.h"

enum { HEADER = 2, CHECKSUM = 4 }; /* bytes of a zlib stream around its blocks */

struct stream {
    uint8_t *bytes;
    size_t length;
};

static size_t image_bytes(const struct dsg_rows *rows)
{
    return (size_t)rows->height * rows->row_bytes;
}

static struct dsg_rows rows_of(struct input *in)
{
    uint32_t pixel = 1 + next_byte(in) % 8u, across = next_byte(in), down = next_byte(in);
    uint32_t width = across == 255 ? 1500 / pixel : 1 + across % 40; /* for more than one block */
    struct dsg_rows rows = {1 + down % 32, width * pixel, pixel};
    return rows;
}

/* Unpack one stream, or two side by side; the last one ends where its block does. */
static void unpack(const struct dsg_rows *rows, size_t count, const struct stream *streams,
                   uint8_t *images, uint8_t *malformed)
{
    uint64_t ends[2] = {streams[0].length, streams[0].length};
    if (count == 2)
        ends[1] += streams[1].length;
    uint8_t *joined = block_of((size_t)ends[1]);
    uint8_t *scratch = block_of(2 * (image_bytes(rows) + rows->height));
    memcpy(joined, streams[0].bytes, streams[0].length);
    if (count == 2)
        memcpy(joined + streams[0].length, streams[1].bytes, streams[1].length);
    MUST(dsg_png_unpack(rows, count, joined, ends, scratch, images, malformed) == DSG_OK);
    free(joined);
    free(scratch);
}

static struct stream packed(const struct dsg_rows *rows, const uint8_t *image, int store)
{
    size_t bound;
    uint64_t length;
    MUST(dsg_png_bound(rows, &bound) == DSG_OK);
    uint8_t *bytes = block_of(bound);
    MUST(dsg_png_pack(rows, 1, store, image, bytes, bound, &length) == DSG_OK);
    MUST(length <= bound);
    return (struct stream){bytes, (size_t)length};
}

/* Whatever the other stream is, that of 'image' comes back; 'other' goes last, and alone. */
static void unpack_beside(const struct dsg_rows *rows, const uint8_t *image, struct stream other)
{
    struct stream pair[2] = {packed(rows, image, 0), other};
    size_t size = image_bytes(rows);
    uint8_t *images = block_of(2 * size), *alone = block_of(size), malformed[2], again;
    unpack(rows, 2, pair, images, malformed);
    unpack(rows, 1, &other, alone, &again);
    MUST(!malformed[0] && memcmp(images, image, size) == 0);
    MUST(malformed[1] == again && (again || memcmp(images + size, alone, size) == 0));
    free(pair[0].bytes);
    free(images);
    free(alone);
}

static void there_and_back(const struct dsg_rows *rows, struct input *in, int store)
{
    size_t size = image_bytes(rows);
    uint8_t *image = texture_of(in, rows->height, rows->row_bytes), *back = block_of(size);
    struct stream stream = packed(rows, image, store);
    uint8_t malformed;
    unpack(rows, 1, &stream, back, &malformed);
    MUST(!malformed && memcmp(back, image, size) == 0);
    for (size_t n = 0; in->left && stream.length && n < 8; n++) { /* and with some bytes changed */
        size_t place = next_two(in) % stream.length;
        stream.bytes[place] = next_byte(in);
    }
    unpack_beside(rows, image, stream);
    free(stream.bytes);
    free(image);
    free(back);
}

/* The definition of the filters (ISO/IEC 15948, 9.2), a byte at a time. */
static uint8_t plain(unsigned kind, int value, int left, int up, int corner)
{
    int by_left = abs(up - corner), by_up = abs(left - corner),
        by_corner = abs(left + up - 2 * corner);
    int nearest = by_left <= by_up && by_left <= by_corner ? left
                  : by_up <= by_corner                     ? up
                                                           : corner;
    const int guesses[] = {0, left, up, (left + up) / 2, nearest};
    return (uint8_t)(value + guesses[kind]);
}

/* Any filters over any rows. */
static void filtered(const struct dsg_rows *rows, struct input *in, int store)
{
    size_t pitch = rows->row_bytes + 1, size = rows->height * pitch, bound;
    uint8_t *raw = texture_of(in, rows->height, pitch), *right = block_of(image_bytes(rows));
    unsigned known = 1;
    for (size_t y = 0; y < rows->height; y++) {
        unsigned kind = raw[y * pitch] = next_byte(in) % 6; /* the last of which is none */
        known &= kind < 5;
        for (size_t x = 0; x < rows->row_bytes && known; x++) {
            uint8_t *to = right + y * rows->row_bytes + x;
            int inside = x >= rows->pixel_bytes;
            int left = inside ? to[-(ptrdiff_t)rows->pixel_bytes] : 0;
            int up = y ? to[-(ptrdiff_t)rows->row_bytes] : 0;
            int corner = inside && y ? to[-(ptrdiff_t)(rows->row_bytes + rows->pixel_bytes)] : 0;
            *to = plain(kind, raw[y * pitch + 1 + x], left, up, corner);
        }
    }
    MUST(dsg_png_bound(rows, &bound) == DSG_OK);
    struct stream stream = {block_of(bound), 0};
    struct bit_writer w;
    dsg_begin_stream(&w, stream.bytes);
    for (size_t start = 0; start < size; start += DEFLATE_BLOCK) {
        size_t count = size - start < DEFLATE_BLOCK ? size - start : DEFLATE_BLOCK;
        dsg_put_block(&w, raw + start, count, start + count == size, store);
    }
    stream.length = (size_t)(dsg_end_stream(&w, adler32(1, raw, size)) - stream.bytes);
    uint8_t *found = block_of(image_bytes(rows)), malformed;
    unpack(rows, 1, &stream, found, &malformed);
    MUST(malformed == !known && (malformed || memcmp(found, right, image_bytes(rows)) == 0));
    free(stream.bytes);
    free(found);
    free(raw);
    free(right);
}

/* Any bytes as blocks of a stream, whose checksum is put right so that more than that is read. */
static void arbitrary(const struct dsg_rows *rows, struct input *in)
{
    uint8_t *image = texture_of(in, rows->height, rows->row_bytes);
    struct stream stream = {block_of(in->left + HEADER + CHECKSUM), in->left + HEADER + CHECKSUM};
    size_t size = image_bytes(rows) + rows->height;
    uint8_t *out = block_of(2 * size);
    memset(out, 0, 2 * size);
    stream.bytes[0] = 0x78;
    stream.bytes[1] = 0x01;
    if (in->left)
        memcpy(stream.bytes + HEADER, in->bytes, in->left);
    memset(stream.bytes + stream.length - CHECKSUM, 0, CHECKSUM);
    struct inflated pair[2] = {{stream.bytes, stream.length, out, 0},
                               {stream.bytes, stream.length, out + size, 0}};
    dsg_inflate(pair, size);
    MUST(memcmp(out, out + size, size) == 0);
    uint32_t adler = adler32(1, out, size);
    for (size_t i = 0; i < CHECKSUM; i++)
        stream.bytes[stream.length - CHECKSUM + i] = (uint8_t)(adler >> (24 - 8 * i));
    unpack_beside(rows, image, stream);
    free(stream.bytes);
    free(image);
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, size};
    unsigned kind = next_byte(&in);
    struct dsg_rows rows = rows_of(&in);
    if (kind % 4 == 0)
        there_and_back(&rows, &in, kind > 127);
    else if (kind % 4 == 1)
        filtered(&rows, &in, kind > 127);
    else
        arbitrary(&rows, &in);
    return 0;
}
