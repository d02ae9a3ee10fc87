/* exact.c - the public functions of profile exact: check, then one image after another. */
#include "exact/grid.h"

enum {
    ROOM_PER_BLOCK = 10,
    ROOM = 64
}; /* bytes; a shift takes 64 bits at worst, or with turn and class 75 where colours share a class
    */

static int check_block(const struct dsg_geometry *g, uint32_t block)
{
    int status = dsg_check(g);
    if (status != DSG_OK)
        return status;
    if ((block != 2 && block != 4 && block != 8) || g->height < block || g->width < block)
        return DSG_ERR_GEOMETRY;
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
    const struct kernels *k = dsg_kernels();
    size_t samples = image_samples(g);
    for (size_t i = 0; i < count; i++) {
        if (lengths[i] > stride)
            return DSG_ERR_CAPACITY;
        malformed[i] = !valid_mode(g, modes[i]) ||
                       !k->decode(g, temporary + i * samples, modes[i], sequences + i * stride,
                                  lengths[i], clean + i * samples);
    }
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
    const struct kernels *k = dsg_kernels();
    size_t samples = image_samples(g);
    for (size_t i = 0; i < count; i++) {
        if (lengths[i] > stride)
            return DSG_ERR_CAPACITY;
        if (!valid_mode(g, modes[i]))
            return DSG_ERR_GEOMETRY;
        failed[i] = !k->hide(g, temporary + i * samples, payloads + i * stride, lengths[i],
                             &modes[i], thresholds + i * DSG_BUCKETS, hidden + i * samples);
    }
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
    const struct kernels *k = dsg_kernels();
    size_t samples = image_samples(g), places = (size_t)(g->height / 2) * (g->width / 2);
    for (size_t i = 0; i < count; i++) {
        const uint8_t *threshold = thresholds + i * DSG_BUCKETS;
        int valid = valid_mode(g, modes[i]);
        for (unsigned b = 0; b < DSG_BUCKETS; b++)
            valid &= threshold[b] < 16;
        if (lengths[i] + places / 8 + 1 > stride)
            return DSG_ERR_CAPACITY;
        failed[i] = !valid ||
                    !k->reveal(g, hidden + i * samples, modes[i], threshold, payloads + i * stride,
                               lengths[i], temporary + i * samples, scratch);
    }
    return DSG_OK;
}
