/* geometry.c - the validity of a geometry, its Sequence length and its capacity. */
#include "core/kernels.h"

int dsg_check(const struct dsg_geometry *g)
{
    if (g == NULL)
        return DSG_ERR_NULL;
    if (g->height < DSG_BLOCK || g->height > 65535 || g->width < DSG_BLOCK || g->width > 65535)
        return DSG_ERR_GEOMETRY;
    if (g->channels < 1 || g->channels > 4 || g->colours < 1 || g->colours > g->channels)
        return DSG_ERR_GEOMETRY;
    if (g->planes < 1 || g->planes > DSG_MAX_PLANES)
        return DSG_ERR_GEOMETRY;
    return DSG_OK;
}

/* Pairing digits, shifts, rotations. */
size_t dsg_tile_bits(uint32_t blocks, uint32_t planes)
{
    size_t bits = (size_t)blocks * (8 - planes + 2);
    for (uint32_t first = 1, width = 1; first < blocks; first *= 2, width++)
        bits += (blocks - first < first ? blocks - first : first) * width;
    return bits;
}

static size_t channel_bits(const struct dsg_geometry *g)
{
    uint32_t down = blocks_down(g), across = blocks_across(g), size = DSG_TILE;
    size_t whole_down = down / size, whole_across = across / size;
    uint32_t rest_down = down % size, rest_across = across % size;
    size_t bits = whole_down * whole_across * dsg_tile_bits(TILE_BLOCKS, g->planes);
    bits += whole_down * dsg_tile_bits(size * rest_across, g->planes);
    bits += whole_across * dsg_tile_bits(size * rest_down, g->planes);
    return bits + dsg_tile_bits(rest_down * rest_across, g->planes);
}

size_t dsg_sequence_starts(const struct dsg_geometry *g, size_t *at)
{
    size_t bits = channel_bits(g);
    for (uint32_t c = 0; c < g->colours; c++)
        at[c] = c * bits;
    return (g->colours * bits + 7) / 8;
}

void dsg_copy_margin(const struct dsg_geometry *g, const uint8_t *from, uint8_t *to)
{
    size_t pitch = (size_t)g->width * g->channels;
    size_t inside = (size_t)blocks_across(g) * DSG_BLOCK * g->channels;
    size_t lines = (size_t)blocks_down(g) * DSG_BLOCK;
    if (inside < pitch)
        for (size_t y = 0; y < lines; y++)
            memcpy(to + y * pitch + inside, from + y * pitch + inside, pitch - inside);
    memcpy(to + lines * pitch, from + lines * pitch, (g->height - lines) * pitch);
}

int dsg_sequence_bytes(const struct dsg_geometry *g, size_t *bytes)
{
    int status = dsg_check(g);
    if (status != DSG_OK)
        return status;
    if (bytes == NULL)
        return DSG_ERR_NULL;
    *bytes = (channel_bits(g) * g->colours + 7) / 8;
    return DSG_OK;
}

int dsg_capacity_bytes(const struct dsg_geometry *g, size_t *bytes)
{
    int status = dsg_check(g);
    if (status != DSG_OK)
        return status;
    if (bytes == NULL)
        return DSG_ERR_NULL;
    *bytes = embedding_samples(g) * g->planes / 8;
    return DSG_OK;
}
