/* paper.c - the public functions of profile paper: check, then one image after another. */
#include "core/kernels.h"

int dsg_transform(const struct dsg_geometry *g, size_t count, const uint8_t *clean,
                  const uint8_t *target, uint8_t *temporary, uint8_t *sequences)
{
    size_t stride, samples;
    int status = dsg_sequence_bytes(g, &stride);
    if (status != DSG_OK)
        return status;
    if (clean == NULL || target == NULL || temporary == NULL || sequences == NULL)
        return DSG_ERR_NULL;
    const struct kernels *k = dsg_kernels();
    samples = image_samples(g);
    for (size_t i = 0; i < count; i++)
        k->transform(g, clean + i * samples, target + i * samples, temporary + i * samples,
                     sequences + i * stride);
    return DSG_OK;
}

int dsg_invert(const struct dsg_geometry *g, size_t count, const uint8_t *temporary,
               const uint8_t *sequences, uint8_t *clean, uint8_t *malformed)
{
    size_t stride, samples;
    int status = dsg_sequence_bytes(g, &stride);
    if (status != DSG_OK)
        return status;
    if (temporary == NULL || sequences == NULL || clean == NULL || malformed == NULL)
        return DSG_ERR_NULL;
    const struct kernels *k = dsg_kernels();
    samples = image_samples(g);
    for (size_t i = 0; i < count; i++) {
        int valid =
            k->invert(g, temporary + i * samples, sequences + i * stride, clean + i * samples);
        malformed[i] = (uint8_t)!valid;
    }
    return DSG_OK;
}

static int check_payload(const struct dsg_geometry *g, size_t bytes)
{
    size_t capacity;
    int status = dsg_capacity_bytes(g, &capacity);
    if (status != DSG_OK)
        return status;
    return bytes <= capacity ? DSG_OK : DSG_ERR_CAPACITY;
}

int dsg_embed(const struct dsg_geometry *g, size_t count, uint8_t *images, const uint8_t *payloads,
              size_t stride, size_t bytes)
{
    int status = check_payload(g, bytes);
    if (status != DSG_OK)
        return status;
    if (images == NULL || payloads == NULL)
        return DSG_ERR_NULL;
    const struct kernels *k = dsg_kernels();
    size_t samples = image_samples(g);
    for (size_t i = 0; i < count; i++)
        k->embed(g, images + i * samples, payloads + i * stride, bytes);
    return DSG_OK;
}

int dsg_extract(const struct dsg_geometry *g, size_t count, const uint8_t *images,
                uint8_t *payloads, size_t bytes)
{
    int status = check_payload(g, bytes);
    if (status != DSG_OK)
        return status;
    if (images == NULL || payloads == NULL)
        return DSG_ERR_NULL;
    const struct kernels *k = dsg_kernels();
    size_t samples = image_samples(g);
    for (size_t i = 0; i < count; i++)
        k->extract(g, images + i * samples, payloads + i * bytes, bytes);
    return DSG_OK;
}
