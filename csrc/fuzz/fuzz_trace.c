/*
 * fuzz_trace.c - traces of zlib streams: the stream comes back from its pixels and its trace, and
 * any bytes at all as a trace make nothing, or a stream that has a trace again.
 */
#include "fuzz.h"
#include "png/zlib_stream.h"

enum { HEADER = 2, CHECKSUM = 4 }; /* bytes of a zlib stream around its blocks */

static int32_t places[DSG_TRACE_PLACES];

static struct dsg_rows rows_of(struct input *in)
{
    uint32_t pixel = 1 + next_byte(in) % 4u, across = next_byte(in), down = next_byte(in);
    struct dsg_rows rows = {1 + down % 24, (1 + across % 60) * pixel, pixel};
    return rows;
}

static size_t image_bytes(const struct dsg_rows *rows)
{
    return (size_t)rows->height * rows->row_bytes;
}

/* Undo the filters, by a stream that keeps the rows as they are; returns 0 for unknown ones. */
static int undone(const struct dsg_rows *rows, const uint8_t *filtered, uint8_t *image)
{
    size_t size = image_bytes(rows) + rows->height;
    uint8_t *stream = block_of(size + 2 * DEFLATE_HEADER), malformed;
    uint8_t *scratch = block_of(2 * size);
    struct bit_writer w;
    dsg_begin_stream(&w, stream);
    dsg_put_block(&w, filtered, size, 1, 1);
    uint64_t end = (uint64_t)(dsg_end_stream(&w, adler32(1, filtered, size)) - stream);
    MUST(dsg_png_unpack(rows, 1, stream, &end, scratch, image, &malformed) == DSG_OK);
    free(stream);
    free(scratch);
    return !malformed;
}

/* Trace blocks of these rows; where they have a trace, they come back. */
static void there_and_back(const struct dsg_rows *rows, const uint8_t *filtered,
                           const uint8_t *blocks, size_t length)
{
    size_t size = image_bytes(rows) + rows->height, room = 8 * (size + length) + 64, found, again;
    uint8_t *trace = block_of(room), *image = block_of(image_bytes(rows));
    uint8_t *stream = block_of(length + 1), *back = block_of(size);
    MUST(dsg_png_trace(rows, filtered, blocks, length, places, trace, room, &found) == DSG_OK);
    if (found) {
        MUST(found <= room);
        MUST(undone(rows, filtered, image));
        MUST(dsg_png_retrace(rows, image, trace, found, places, back, stream, length, &again) ==
             DSG_OK);
        MUST(again == length && memcmp(stream, blocks, length) == 0);
        MUST(memcmp(back, filtered, size) == 0);
        MUST(dsg_png_retrace(rows, image, trace, found, places, back, stream, length - 1, &again) ==
             DSG_OK);
        MUST(again == 0);
    }
    free(trace);
    free(image);
    free(stream);
    free(back);
}

static void of_own_streams(const struct dsg_rows *rows, struct input *in, int store)
{
    uint8_t *image = texture_of(in, rows->height, rows->row_bytes);
    size_t bound, size = image_bytes(rows) + rows->height;
    uint64_t length;
    MUST(dsg_png_bound(rows, &bound) == DSG_OK);
    uint8_t *stream = block_of(bound), *out = block_of(2 * size);
    MUST(dsg_png_pack(rows, 1, store, image, stream, bound, &length) == DSG_OK);
    struct inflated pair[2] = {{stream, (size_t)length, out, 0},
                               {stream, (size_t)length, out + size, 0}};
    dsg_inflate(pair, size);
    there_and_back(rows, out, stream + HEADER, (size_t)length - HEADER - CHECKSUM);
    free(image);
    free(stream);
    free(out);
}

/* Any bytes as blocks, with the rows that they unpack to as far as they do. */
static void of_any_blocks(const struct dsg_rows *rows, struct input *in)
{
    size_t size = image_bytes(rows) + rows->height, length = in->left + HEADER;
    uint8_t *stream = block_of(length), *out = block_of(2 * size);
    memset(out, 0, 2 * size);
    stream[0] = 0x78;
    stream[1] = 0x01;
    if (in->left)
        memcpy(stream + HEADER, in->bytes, in->left);
    struct inflated pair[2] = {{stream, length, out, 0}, {stream, length, out + size, 0}};
    dsg_inflate(pair, size);
    for (size_t y = 0; y < rows->height; y++)
        out[y * (rows->row_bytes + 1)] %= 5; /* so that more of them are filters */
    there_and_back(rows, out, stream + HEADER, length - HEADER);
    free(stream);
    free(out);
}

/* Any bytes as a trace of an image. */
static void of_any_trace(const struct dsg_rows *rows, struct input *in)
{
    uint8_t *image = texture_of(in, rows->height, rows->row_bytes);
    size_t size = image_bytes(rows) + rows->height, room = 2 * size + 64, length;
    uint8_t *trace = block_of(in->left), *filtered = block_of(size), *stream = block_of(room);
    if (in->left)
        memcpy(trace, in->bytes, in->left);
    MUST(dsg_png_retrace(rows, image, trace, in->left, places, filtered, stream, room, &length) ==
         DSG_OK);
    if (length) {
        MUST(length <= room);
        there_and_back(rows, filtered, stream, length);
    }
    free(image);
    free(trace);
    free(filtered);
    free(stream);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, size};
    unsigned kind = next_byte(&in);
    struct dsg_rows rows = rows_of(&in);
    if (kind % 4 == 0)
        of_own_streams(&rows, &in, kind > 127);
    else if (kind % 4 == 1)
        of_any_blocks(&rows, &in);
    else
        of_any_trace(&rows, &in);
    return 0;
}
