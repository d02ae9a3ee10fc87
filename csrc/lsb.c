/* lsb.c - the public embedding functions: check, then one image after another. */
#include "kernels.h"

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
