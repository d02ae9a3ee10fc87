/*
 * dsguard.h - the C core of dsguard: mRIT, bit-plane embedding, reversible hiding, lossless coding,
 * and rows of PNG files.
 *
 * Functions read and write the memory of the caller.  The choice of dsg_set_isa() is the only state
 * of the library.  Functions do not allocate, start threads, print, or read the environment.  Any
 * number of threads may call them at once as long as no two write the same bytes.
 *
 * Every function that can fail returns a dsg_status: 0 is success, the rest is negative.  Nothing
 * is written before all arguments have been checked: pointers against NULL, numbers against their
 * ranges, and lengths against the room that 'stride' leaves.  The memory behind a pointer cannot be
 * checked; each function says how large it is.
 *
 * docs/format.md specifies the results, bit for bit.  Tests hold the core to a NumPy version of the
 * same functions, the reference kernels of the Python package.
 *
 * The .c files of core/, paper/, exact/, sealed/, png/ and isa/ make the library, with this folder
 * as the include directory.  No file needs options of its own.
 */
#ifndef DSGUARD_H
#define DSGUARD_H

#include <stddef.h>
#include <stdint.h>

/* The version of dsguard.  It stands here alone: pyproject.toml reads it. */
#define DSG_VERSION "1.0.0rc1"

/* Side of a block, in samples.  A block holds DSG_BLOCK * DSG_BLOCK samples of one channel. */
#define DSG_BLOCK 4
/* Side of a tile, in blocks.  Blocks are paired within their tile. */
#define DSG_TILE 8
/* The most bit planes that an image may give to its payload. */
#define DSG_MAX_PLANES 2

enum dsg_status {
    DSG_OK = 0,
    DSG_ERR_NULL = -1,     /* a pointer is NULL */
    DSG_ERR_GEOMETRY = -2, /* a field of the geometry is out of range */
    DSG_ERR_ISA = -3,      /* unknown instruction set, or not on this CPU */
    DSG_ERR_CAPACITY = -4  /* a length is more than the image, or 'stride', has room for */
};

/*
 * The shape of one image and how many of its bit planes carry payload.
 *
 * 'height', 'width': samples, DSG_BLOCK to 65535 each.
 * 'channels': interleaved samples per pixel, 1 to 4.
 * 'colours': how many of them, counted from the first, take part; the others (alpha) are copied.
 *     1 to 'channels'.
 * 'planes': low bit planes that may carry payload, 1 to DSG_MAX_PLANES.  The shift step is
 *     2^planes, so that a shift leaves exactly these planes as they are.
 *
 * Samples to the right of the last whole block and below it are the margin: never changed.
 */
struct dsg_geometry {
    uint32_t height;
    uint32_t width;
    uint32_t channels;
    uint32_t colours;
    uint32_t planes;
};

/* Check 'geometry' against the ranges above. */
int dsg_check(const struct dsg_geometry *geometry);

/* *bytes = length of the packed Sequence of one image of this geometry. */
int dsg_sequence_bytes(const struct dsg_geometry *geometry, size_t *bytes);

/* *bytes = the most payload bytes that one image of this geometry can carry. */
int dsg_capacity_bytes(const struct dsg_geometry *geometry, size_t *bytes);

/*
 * The transformation of mRIT: turn each of 'count' images 'clean' into a temporary image that
 * resembles 'target', and record in its Sequence how to go back.
 *
 * 'clean', 'target', 'temporary': count * height * width * channels samples, images back to back.
 *     'temporary' must not overlap the other two.
 * 'sequences': count * dsg_sequence_bytes().
 */
int dsg_transform(const struct dsg_geometry *geometry, size_t count, const uint8_t *clean,
                  const uint8_t *target, uint8_t *temporary, uint8_t *sequences);

/*
 * The inverse of dsg_transform: 'clean' must not overlap 'temporary'.
 *
 * Low bits that were replaced in 'temporary' stay as they are, each at the place its sample goes
 * to.  malformed[i] becomes 1 where Sequence i names a block that does not exist, and 0 elsewhere.
 * The samples of a malformed image are unspecified; the other images are not affected.
 */
int dsg_invert(const struct dsg_geometry *geometry, size_t count, const uint8_t *temporary,
               const uint8_t *sequences, uint8_t *clean, uint8_t *malformed);

/*
 * Write 'bytes' bytes of payload into the low bits of each of 'count' images, in place.
 *
 * Payload i starts at payloads + i * stride; stride 0 writes one payload into all images.
 * Bit j of byte k (least significant first) goes to embedding sample 8k + j: first to bit 0 of
 * all embedding samples, which are the colour samples of whole blocks in raster order, then to
 * bit 1 of them.
 */
int dsg_embed(const struct dsg_geometry *geometry, size_t count, uint8_t *images,
              const uint8_t *payloads, size_t stride, size_t bytes);

/* The inverse of dsg_embed: read 'bytes' bytes from each image to payloads + i * bytes. */
int dsg_extract(const struct dsg_geometry *geometry, size_t count, const uint8_t *images,
                uint8_t *payloads, size_t bytes);

/*
 * ---- Profile exact: a compact Sequence, and hiding that gives every bit back. ----
 *
 * The mode of an image is one byte.  Bits 0-1 are log2(block side) - 1, for sides of 2, 4 or 8.
 * Bit 2 is 1 for pairing by classes and 0 for identity.  Bits 3-4 say how much of green's
 * prediction error corrects red and blue.
 *
 * 'planes' of the geometry has to be valid and is not used.  Blocks of side 2 or 8 have a grid, and
 * a margin, of their own.
 */
#define DSG_MODE_CLASSES 4
/* Bytes of the header.  It replaces the lowest bit of the first embedding samples, so hiding leaves
 * those samples alone. */
#define DSG_EXACT_HEADER 23
/* Buckets of samples by how well they are predicted, each with a threshold of 0..15. */
#define DSG_BUCKETS 8

/* *bytes = room for the longest Sequence that dsg_encode writes; *places = blocks of one channel.
 * 'block' is 2, 4 or 8, and not larger than the image. */
int dsg_exact_sizes(const struct dsg_geometry *geometry, uint32_t block, size_t *bytes,
                    size_t *places);

/*
 * Transform 'count' images towards 'target' and code their Sequences.
 *
 * Blocks are paired by classes where that resembles the target more closely than identity does.
 *
 * 'coarse': if not 0, pairing is identity, and every shift that is not 0 has one size, the most
 *     frequent one.  The result is further from the target, and its Sequence is short.
 * 'temporary': as in dsg_transform.
 * 'sequences': Sequence i has lengths[i] bytes at sequences + i * stride.  'stride' is at least the
 *     bytes of dsg_exact_sizes().
 * 'modes': block side and pairing of each image, which are written.
 */
int dsg_encode(const struct dsg_geometry *geometry, uint32_t block, int coarse, size_t count,
               const uint8_t *clean, const uint8_t *target, uint8_t *temporary, uint8_t *sequences,
               size_t stride, uint32_t *lengths, uint8_t *modes);

/* The inverse of dsg_encode, for any modes and any bytes.  malformed[i] becomes 1 where a mode or a
 * Sequence is malformed, and 0 elsewhere, as in dsg_invert. */
int dsg_decode(const struct dsg_geometry *geometry, size_t count, const uint8_t *temporary,
               const uint8_t *modes, const uint8_t *sequences, size_t stride,
               const uint32_t *lengths, uint8_t *clean, uint8_t *malformed);

/*
 * Hide payload i, lengths[i] bytes at payloads + i * stride, in temporary image i by
 * prediction-error expansion, so that dsg_reveal gives both back.
 *
 * 'modes': block side and pairing of each image; the correction by green is chosen here and added.
 * 'thresholds': DSG_BUCKETS for each image, which are chosen here.
 * 'hidden': the images with their payloads.  Must not overlap 'temporary'.
 * 'failed': failed[i] becomes 1 where image i cannot hold its payload, and 0 elsewhere.  An image
 *     that failed is the temporary image.
 */
int dsg_hide(const struct dsg_geometry *geometry, size_t count, const uint8_t *temporary,
             const uint8_t *payloads, size_t stride, const uint32_t *lengths, uint8_t *modes,
             uint8_t *thresholds, uint8_t *hidden, uint8_t *failed);

/*
 * The inverse of dsg_hide, for any modes, thresholds and samples.
 *
 * 'payloads': lengths[i] bytes for image i.  'stride' is at least the longest length plus
 *     places / 8 + 1, with the places of blocks of side 2 (see dsg_exact_sizes).  The bytes between
 *     are used as work space.
 * 'temporary': the images without their payloads, but for the lowest bits of header samples.  Must
 *     not overlap 'hidden'.
 * 'scratch': work space, one entry for each of those places.
 * 'failed': failed[i] becomes 1 where image i holds no such payload, or its mode or a threshold is
 *     out of range, and 0 elsewhere.  The samples of an image that failed are unspecified.
 */
int dsg_reveal(const struct dsg_geometry *geometry, size_t count, const uint8_t *hidden,
               const uint8_t *modes, const uint8_t *thresholds, const uint32_t *lengths,
               uint8_t *payloads, size_t stride, uint8_t *temporary, uint64_t *scratch,
               uint8_t *failed);

/*
 * ---- Lossless coding of images, for codec sealed. ----
 *
 * 'height', 'width': 1 to 65535 each.  'channels': interleaved samples per pixel: 1, 3, or 4 with
 * alpha last.
 */
struct dsg_image {
    uint32_t height;
    uint32_t width;
    uint32_t channels;
};

/* *bytes = room for the stream of an image; *entries = work space for coding and decoding. */
int dsg_compress_sizes(const struct dsg_image *image, size_t *bytes, size_t *entries);

/*
 * Code 'count' images; stream i is lengths[i] bytes at streams + i * stride, where 'stride' is at
 * least the room for a stream.
 *
 * 'scratch': work space, as many entries as dsg_compress_sizes says.
 */
int dsg_compress(const struct dsg_image *image, size_t count, const uint8_t *images,
                 uint8_t *streams, size_t stride, uint32_t *lengths, uint64_t *scratch);

/*
 * The inverse, for any bytes.
 *
 * 'malformed': malformed[i] becomes 1 where stream i is none of an image of this shape, and 0
 *     elsewhere.  The samples of a malformed image are unspecified.
 */
int dsg_expand(const struct dsg_image *image, size_t count, const uint8_t *streams, size_t stride,
               const uint32_t *lengths, uint8_t *images, uint64_t *scratch, uint8_t *malformed);

/*
 * ---- Payloads in the low bits of covers, for codec sealed. ----
 *
 * 'samples': of an image.  'masks': which low bits of each sample carry payload, the same for all
 * images: 2^k - 1, or 2^k - 2 where bit 0 is kept free, with k of 0 to 8.
 */

/*
 * Move each sample of 'count' images, in place, to the nearest value whose low k bits are those of
 * the payload, 0 where bit 0 is kept free.
 *
 * Payload i is 'bytes' bytes at payloads + i * stride, at most as many as the masks have bits for.
 * Its bits, least significant first, go to the bits of the first mask, then of the second, and so
 * on.  Bits of masks that are left over are 0.
 */
int dsg_spread(size_t samples, const uint8_t *masks, size_t count, uint8_t *images,
               const uint8_t *payloads, size_t stride, size_t bytes);

/* The inverse of dsg_spread: read 'bytes' bytes from each image to payloads + i * bytes. */
int dsg_gather(size_t samples, const uint8_t *masks, size_t count, const uint8_t *images,
               uint8_t *payloads, size_t bytes);

/*
 * ---- Scanlines of PNG files (ISO/IEC 15948), for batches of images of one shape. ----
 *
 * An image is 'height' rows of 'row_bytes' bytes; 'pixel_bytes' (1 to 8) make a pixel, and whole
 * pixels a row.  A filtered row has one byte more before it: the number of its filter.
 */
struct dsg_rows {
    uint32_t height;
    uint32_t row_bytes;
    uint32_t pixel_bytes;
};

/* *bytes = room that dsg_png_pack needs for an image of this shape. */
int dsg_png_bound(const struct dsg_rows *rows, size_t *bytes);

/*
 * Filter the rows of 'count' images (each by the one above it: Up) and write each image as a zlib
 * stream of lengths[i] bytes to packed + i * stride, where 'stride' is at least the bound.
 * 'store': not zero to keep the bytes as they are, without a code.
 */
int dsg_png_pack(const struct dsg_rows *rows, size_t count, int store, const uint8_t *images,
                 uint8_t *packed, size_t stride, uint64_t *lengths);

/*
 * The inverse, for any zlib streams of filtered rows.
 *
 * 'packed': the streams, one behind the other.  Stream i ends before packed + ends[i], and none
 *     ends before the one in front of it.
 * 'scratch': room for the filtered rows of two images.
 * 'malformed': malformed[i] becomes 1 where stream i is damaged, holds more or fewer bytes than the
 *     rows, or names an unknown filter, and 0 elsewhere.  The bytes of a malformed image are
 *     unspecified.
 */
int dsg_png_unpack(const struct dsg_rows *rows, size_t count, const uint8_t *packed,
                   const uint64_t *ends, uint8_t *scratch, uint8_t *images, uint8_t *malformed);

/*
 * Trace the zlib stream of one image: write all that its encoder chose.  With the trace, the stream
 * can be made again from the pixels, byte for byte; nothing is compressed again.
 *
 * 'filtered': what the stream unpacks to, height * (row_bytes + 1) bytes.
 * 'stream': its blocks, without the first two bytes and the checksum.
 * 'places': room for DSG_TRACE_PLACES numbers, to work in.
 * 'size': *size becomes the length of the trace, above 'room' where that is too small for it; 0
 *     where these are not the blocks of these rows, or where bits that mean nothing are set.
 */
enum { DSG_TRACE_PLACES = 65536 };
int dsg_png_trace(const struct dsg_rows *rows, const uint8_t *filtered, const uint8_t *stream,
                  size_t length, int32_t *places, uint8_t *trace, size_t room, size_t *size);

/*
 * The inverse: make the stream again, and the rows that it unpacks to, of the pixels and a trace.
 *
 * 'length': *length becomes the length of the stream; 0 where it has more than 'room' bytes, or
 *     where this is no trace of this image.
 */
int dsg_png_retrace(const struct dsg_rows *rows, const uint8_t *image, const uint8_t *trace,
                    size_t size, int32_t *places, uint8_t *filtered, uint8_t *stream, size_t room,
                    size_t *length);

/*
 * Use one instruction set ("scalar", "avx2", "avx512", "neon") in every later call of the
 * process; NULL asks for the best that this CPU has.  All give the same bytes.
 */
int dsg_set_isa(const char *name);

/* The name of the instruction set in use; a static string. */
const char *dsg_isa(void);

#endif
