/* exact.c - the public functions of profile exact: check, then one image after another. */
#include "exact/grid.h"

/*
 * Upper bound of a Sequence in bytes: ROOM_PER_BLOCK for each block of each colour, and ROOM for
 * the ends of the stream.
 *
 * A modelled bit costs at most 6.001 bits, because no probability is below 64/4096.  A number has
 * up to 6 of them, and then raw bits: 15 for a size up to 255, 13 for a step up to 95.  No shift is
 * larger than 31 steps under classes, and no prediction of one than 64.
 *
 *     identity: usual, number, sign        8 modelled bits, 15 raw ones: below 64 bits
 *     classes: class, number, sign, turn  10 modelled bits, 13 raw ones: below 74 bits
 */
enum { ROOM_PER_BLOCK = 10, ROOM = 64 };

static int check_block(const struct dsg_geometry *g, uint32_t block)
{
    int status = dsg_check(g);
    if (status != DSG_OK)
        return status;
    if ((block != 2 && block != 4 && block != 8) || g->height < block || g->width < block)
        return DSG_ERR_GEOMETRY;
    return DSG_OK;
}

/* Whether each length, and 'more' bytes, fit the stride. */
static int check_lengths(const uint32_t *lengths, size_t count, size_t more, size_t stride)
{
    for (size_t i = 0; i < count; i++)
        if (lengths[i] + more > stride)
            return DSG_ERR_CAPACITY;
    return DSG_OK;
}

/* Whether a mode is one that this version writes and that fits the shape. */
static int valid_mode(const struct dsg_geometry *g, uint8_t mode)
{
    return mode < 32 && (mode & 3) < 3 && check_block(g, mode_block(mode)) == DSG_OK;
}

int dsg_exact_sizes(const struct dsg_geometry *g, uint32_t block, size_t *bytes, size_t *places)
{
    int status = check_block(g, block);
    if (status != DSG_OK)
        return status;
    if (bytes == NULL || places == NULL)
        return DSG_ERR_NULL;
    *places = (size_t)(g->height / block) * (g->width / block);
    *bytes = *places * g->colours * ROOM_PER_BLOCK + ROOM;
    return DSG_OK;
}

int dsg_encode(const struct dsg_geometry *g, uint32_t block, int coarse, size_t count,
               const uint8_t *clean, const uint8_t *target, uint8_t *temporary, uint8_t *sequences,
               size_t stride, uint32_t *lengths, uint8_t *modes)
{
    size_t bytes, places, samples;
    int status = dsg_exact_sizes(g, block, &bytes, &places);
    if (status != DSG_OK)
        return status;
    if (clean == NULL || target == NULL || temporary == NULL || sequences == NULL ||
        lengths == NULL || modes == NULL)
        return DSG_ERR_NULL;
    if (stride < bytes)
        return DSG_ERR_CAPACITY;
    const struct kernels *k = dsg_kernels();
    samples = image_samples(g);
    for (size_t i = 0; i < count; i++)
        lengths[i] = k->encode(g, block, coarse, clean + i * samples, target + i * samples,
                               temporary + i * samples, sequences + i * stride, stride, &modes[i]);
    return DSG_OK;
}

int dsg_decode(const struct dsg_geometry *g, size_t count, const uint8_t *temporary,
               const uint8_t *modes, const uint8_t *sequences, size_t stride,
               const uint32_t *lengths, uint8_t *clean, uint8_t *malformed)
{
    int status = dsg_check(g);
    if (status != DSG_OK)
        return status;
    if (temporary == NULL || modes == NULL || sequences == NULL || lengths == NULL ||
        clean == NULL || malformed == NULL)
        return DSG_ERR_NULL;
    status = check_lengths(lengths, count, 0, stride);
    if (status != DSG_OK)
        return status;
    const struct kernels *k = dsg_kernels();
    size_t samples = image_samples(g);
    for (size_t i = 0; i < count; i++)
        malformed[i] = !valid_mode(g, modes[i]) ||
                       !k->decode(g, temporary + i * samples, modes[i], sequences + i * stride,
                                  lengths[i], clean + i * samples);
    return DSG_OK;
}

int dsg_hide(const struct dsg_geometry *g, size_t count, const uint8_t *temporary,
             const uint8_t *payloads, size_t stride, const uint32_t *lengths, uint8_t *modes,
             uint8_t *thresholds, uint8_t *hidden, uint8_t *failed)
{
    int status = dsg_check(g);
    if (status != DSG_OK)
        return status;
    if (temporary == NULL || payloads == NULL || lengths == NULL || modes == NULL ||
        thresholds == NULL || hidden == NULL || failed == NULL)
        return DSG_ERR_NULL;
    status = check_lengths(lengths, count, 0, stride);
    for (size_t i = 0; i < count && status == DSG_OK; i++)
        status = valid_mode(g, modes[i]) ? DSG_OK : DSG_ERR_GEOMETRY;
    if (status != DSG_OK)
        return status;
    const struct kernels *k = dsg_kernels();
    size_t samples = image_samples(g);
    for (size_t i = 0; i < count; i++)
        failed[i] = !k->hide(g, temporary + i * samples, payloads + i * stride, lengths[i],
                             &modes[i], thresholds + i * DSG_BUCKETS, hidden + i * samples);
    return DSG_OK;
}

int dsg_reveal(const struct dsg_geometry *g, size_t count, const uint8_t *hidden,
               const uint8_t *modes, const uint8_t *thresholds, const uint32_t *lengths,
               uint8_t *payloads, size_t stride, uint8_t *temporary, uint64_t *scratch,
               uint8_t *failed)
{
    int status = dsg_check(g);
    if (status != DSG_OK)
        return status;
    if (hidden == NULL || modes == NULL || thresholds == NULL || lengths == NULL ||
        payloads == NULL || temporary == NULL || scratch == NULL || failed == NULL)
        return DSG_ERR_NULL;
    size_t samples = image_samples(g), places = (size_t)(g->height / 2) * (g->width / 2);
    status = check_lengths(lengths, count, places / 8 + 1, stride); /* a flag for each block */
    if (status != DSG_OK)
        return status;
    const struct kernels *k = dsg_kernels();
    for (size_t i = 0; i < count; i++) {
        const uint8_t *threshold = thresholds + i * DSG_BUCKETS;
        int valid = valid_mode(g, modes[i]);
        for (unsigned b = 0; b < DSG_BUCKETS; b++)
            valid &= threshold[b] < 16;
        failed[i] = !valid ||
                    !k->reveal(g, hidden + i * samples, modes[i], threshold, payloads + i * stride,
                               lengths[i], temporary + i * samples, scratch);
    }
    return DSG_OK;
}
