/* png.c - the scanlines of PNG files: filters (ISO/IEC 15948, 9), around zlib streams. */
#include "dsguard.h"
#include "png/filters.h"
#include "png/zlib_stream.h"

#include <string.h>

/* Bytes 'start' to 'start' + 'count' of the rows with their filters, which are Up. */
static void filter(const uint8_t *image, size_t row_bytes, size_t start, size_t count, uint8_t *out)
{
    while (count) {
        size_t row = start / (row_bytes + 1), column = start % (row_bytes + 1);
        if (column == 0) {
            *out++ = FILTER_UP;
            start++;
            count--;
            continue;
        }
        size_t part = row_bytes + 1 - column;
        part = part < count ? part : count;
        const uint8_t *from = image + row * row_bytes + column - 1;
        if (row == 0)
            memcpy(out, from, part);
        else
            for (size_t i = 0; i < part; i++)
                out[i] = (uint8_t)(from[i] - (from - row_bytes)[i]);
        out += part;
        start += part;
        count -= part;
    }
}

static size_t pack(const uint8_t *image, size_t height, size_t row_bytes, int store, uint8_t *out)
{
    uint8_t bytes[DEFLATE_BLOCK];
    size_t size = height * (row_bytes + 1);
    uint32_t adler = 1;
    struct bit_writer w;
    dsg_begin_stream(&w, out);
    for (size_t start = 0; start < size; start += DEFLATE_BLOCK) {
        size_t count = size - start < DEFLATE_BLOCK ? size - start : DEFLATE_BLOCK;
        filter(image, row_bytes, start, count, bytes);
        adler = adler32(adler, bytes, count);
        dsg_put_block(&w, bytes, count, start + count == size, store);
    }
    return (size_t)(dsg_end_stream(&w, adler) - out);
}

static int check(const struct dsg_rows *rows)
{
    if (!rows)
        return DSG_ERR_NULL;
    if (!rows->height || !rows->row_bytes || !rows->pixel_bytes || rows->pixel_bytes > 8 ||
        rows->row_bytes % rows->pixel_bytes || rows->height > INT32_MAX ||
        rows->row_bytes > INT32_MAX - 1)
        return DSG_ERR_GEOMETRY;
    return DSG_OK;
}

int dsg_png_bound(const struct dsg_rows *rows, size_t *bytes)
{
    int status = bytes ? check(rows) : DSG_ERR_NULL;
    if (status == DSG_OK) {
        uint64_t size = (uint64_t)rows->height * (rows->row_bytes + 1);
        uint64_t bound = size + (size / DEFLATE_BLOCK + 1) * DEFLATE_HEADER;
        *bytes = (size_t)bound;
        status = bound == *bytes ? DSG_OK : DSG_ERR_GEOMETRY;
    }
    return status;
}

int dsg_png_pack(const struct dsg_rows *rows, size_t count, int store, const uint8_t *images,
                 uint8_t *packed, size_t stride, uint64_t *lengths)
{
    size_t bound;
    int status = dsg_png_bound(rows, &bound);
    if (status != DSG_OK)
        return status;
    if (!images || !packed || !lengths)
        return DSG_ERR_NULL;
    if (stride < bound)
        return DSG_ERR_CAPACITY;
    size_t height = rows->height, row_bytes = rows->row_bytes;
    for (size_t i = 0; i < count; i++)
        lengths[i] = pack(images + i * height * row_bytes, height, row_bytes, store != 0,
                          packed + i * stride);
    return DSG_OK;
}

/* ---- Filters undone. ---- */

/* Undo the filter of one row; 'above' is NULL for the first. Returns 0 where there is none such. */
static int undo(unsigned kind, const uint8_t *row, const uint8_t *above, size_t count, size_t pixel,
                uint8_t *out)
{
    if (!above && kind == FILTER_UP)
        kind = FILTER_NONE;
    if (!above && kind == FILTER_PAETH)
        kind = FILTER_SUB;
    switch (kind) {
    case FILTER_NONE:
        memcpy(out, row, count);
        return 1;
    case FILTER_UP:
        for (size_t i = 0; i < count; i++)
            out[i] = (uint8_t)(row[i] + above[i]);
        return 1;
    case FILTER_SUB:
        memcpy(out, row, pixel);
        for (size_t i = pixel; i < count; i++)
            out[i] = (uint8_t)(row[i] + out[i - pixel]);
        return 1;
    case FILTER_AVERAGE:
        for (size_t i = 0; i < count; i++) {
            unsigned left = i < pixel ? 0 : out[i - pixel], up = above ? above[i] : 0;
            out[i] = (uint8_t)(row[i] + (left + up) / 2);
        }
        return 1;
    case FILTER_PAETH:
        for (size_t i = 0; i < pixel; i++)
            out[i] = (uint8_t)(row[i] + above[i]);
        for (size_t i = pixel; i < count; i++)
            out[i] = (uint8_t)(row[i] + paeth(out[i - pixel], above[i], above[i - pixel]));
        return 1;
    default:
        return 0;
    }
}

/* Undo the filters of an image; returns 0 where a row has another than the five. */
static int undo_all(const struct dsg_rows *rows, const uint8_t *filtered, uint8_t *image)
{
    size_t row_bytes = rows->row_bytes;
    const uint8_t *above = NULL;
    for (size_t y = 0; y < rows->height; y++) {
        if (!undo(filtered[0], filtered + 1, above, row_bytes, rows->pixel_bytes, image))
            return 0;
        above = image;
        filtered += 1 + row_bytes;
        image += row_bytes;
    }
    return 1;
}

int dsg_png_unpack(const struct dsg_rows *rows, size_t count, const uint8_t *packed,
                   const uint64_t *ends, uint8_t *scratch, uint8_t *images, uint8_t *malformed)
{
    int status = check(rows);
    if (status != DSG_OK)
        return status;
    if (!packed || !ends || !scratch || !images || !malformed)
        return DSG_ERR_NULL;
    for (size_t i = 1; i < count; i++)
        if (ends[i] < ends[i - 1])
            return DSG_ERR_CAPACITY;
    size_t image = (size_t)rows->height * rows->row_bytes, size = image + rows->height;
    for (size_t i = 0; i < count; i += 2) {
        struct inflated pair[2];
        for (size_t k = 0; k < 2; k++) {
            size_t n = i + k < count ? i + k : i; /* an odd one is read beside itself */
            uint64_t start = n ? ends[n - 1] : 0;
            pair[k] =
                (struct inflated){packed + start, (size_t)(ends[n] - start), scratch + k * size, 0};
        }
        dsg_inflate(pair, size);
        for (size_t k = 0; k < 2 && i + k < count; k++) {
            uint8_t *out = images + (i + k) * image;
            malformed[i + k] = pair[k].malformed || !undo_all(rows, pair[k].out, out);
        }
    }
    return DSG_OK;
}
