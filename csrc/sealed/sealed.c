/* sealed.c - the public functions of codec sealed: check, then one image after another. */
#include "core/bits.h"
#include "core/kernels.h"
#include "sealed/predict.h"

/*
 * A sample takes at most 12 bits for its symbol and 4 more, and a plane a value or a state of 4
 * bytes.  A byte says which planes are constant, and two in front of the words are written in vain.
 */
enum { ROOM_PER_SAMPLE = 2, ROOM_PER_PLANE = 4, ROOM = 3 };

static int check_image(const struct dsg_image *image)
{
    if (image == NULL)
        return DSG_ERR_NULL;
    if (image->height < 1 || image->height > 65535 || image->width < 1 || image->width > 65535 ||
        image->channels < 1 || image->channels > 4 || image->channels == 2)
        return DSG_ERR_GEOMETRY;
    return DSG_OK;
}

static size_t samples_of(const struct dsg_image *image)
{
    return (size_t)image->height * image->width * image->channels;
}

int dsg_compress_sizes(const struct dsg_image *image, size_t *bytes, size_t *entries)
{
    int status = check_image(image);
    if (status != DSG_OK)
        return status;
    if (bytes == NULL || entries == NULL)
        return DSG_ERR_NULL;
    *bytes = samples_of(image) * ROOM_PER_SAMPLE + image->channels * ROOM_PER_PLANE + ROOM;
    *entries = 2 * plane_bytes(image->width) / 8 + samples_of(image) / 2 + 1;
    return DSG_OK;
}

int dsg_compress(const struct dsg_image *image, size_t count, const uint8_t *images,
                 uint8_t *streams, size_t stride, uint32_t *lengths, uint64_t *scratch)
{
    size_t bytes, entries;
    int status = dsg_compress_sizes(image, &bytes, &entries);
    if (status != DSG_OK)
        return status;
    if (images == NULL || streams == NULL || lengths == NULL || scratch == NULL)
        return DSG_ERR_NULL;
    if (stride < bytes || bytes > UINT32_MAX)
        return DSG_ERR_CAPACITY;
    const struct kernels *k = dsg_kernels();
    uint32_t *steps = (uint32_t *)(scratch + plane_bytes(image->width) / 8);
    for (size_t i = 0; i < count; i++)
        lengths[i] = (uint32_t)k->compress(image->height, image->width, image->channels,
                                           images + i * samples_of(image), streams + i * stride,
                                           bytes, scratch, steps);
    return DSG_OK;
}

int dsg_expand(const struct dsg_image *image, size_t count, const uint8_t *streams, size_t stride,
               const uint32_t *lengths, uint8_t *images, uint64_t *scratch, uint8_t *malformed)
{
    int status = check_image(image);
    if (status != DSG_OK)
        return status;
    if (streams == NULL || lengths == NULL || images == NULL || scratch == NULL ||
        malformed == NULL)
        return DSG_ERR_NULL;
    for (size_t i = 0; i < count; i++)
        if (lengths[i] > stride)
            return DSG_ERR_CAPACITY;
    const struct kernels *k = dsg_kernels();
    for (size_t i = 0; i < count; i += 2) {
        int two = i + 1 < count;
        const uint8_t *pair[2] = {streams + i * stride, streams + (i + (size_t)two) * stride};
        size_t sizes[2] = {lengths[i], lengths[i + (size_t)two]};
        uint8_t *out[2] = {images + i * samples_of(image),
                           images + (i + (size_t)two) * samples_of(image)};
        k->expand(image->height, image->width, image->channels, 1 + two, pair, sizes, out, scratch,
                  malformed + i);
    }
    return DSG_OK;
}

enum { PART = 4096 }; /* masks whose bits are counted in 16 bits, which compilers do many at once */

/* Whether all masks are what dsguard.h says, and have places for so many bytes. */
static int check_masks(size_t samples, const uint8_t *masks, size_t bytes)
{
    size_t places = 0;
    uint8_t wrong = 0;
    for (size_t start = 0; start < samples; start += PART) {
        size_t end = samples - start < PART ? samples : start + PART;
        uint16_t sum = 0;
        for (size_t i = start; i < end; i++) {
            uint8_t low = masks[i] | 1, pairs = (masks[i] & 0x55) + (masks[i] >> 1 & 0x55);
            uint8_t fours = (pairs & 0x33) + (pairs >> 2 & 0x33);
            wrong |= low & (uint8_t)(low + 1);
            sum = (uint16_t)(sum + (fours & 15) + (fours >> 4));
        }
        places += sum;
    }
    if (wrong)
        return DSG_ERR_GEOMETRY;
    return bytes > places / 8 ? DSG_ERR_CAPACITY : DSG_OK;
}

int dsg_spread(size_t samples, const uint8_t *masks, size_t count, uint8_t *images,
               const uint8_t *payloads, size_t stride, size_t bytes)
{
    if (masks == NULL || images == NULL || payloads == NULL)
        return DSG_ERR_NULL;
    int status = check_masks(samples, masks, bytes);
    if (status != DSG_OK)
        return status;
    if (stride < bytes)
        return DSG_ERR_CAPACITY;
    for (size_t i = 0; i < count; i++)
        dsg_kernels()->spread(samples, masks, images + i * samples, payloads + i * stride, bytes);
    return DSG_OK;
}

int dsg_gather(size_t samples, const uint8_t *masks, size_t count, const uint8_t *images,
               uint8_t *payloads, size_t bytes)
{
    if (masks == NULL || images == NULL || payloads == NULL)
        return DSG_ERR_NULL;
    int status = check_masks(samples, masks, bytes);
    if (status != DSG_OK)
        return status;
    for (size_t i = 0; i < count; i++)
        dsg_kernels()->gather(samples, masks, images + i * samples, payloads + i * bytes, bytes);
    return DSG_OK;
}
