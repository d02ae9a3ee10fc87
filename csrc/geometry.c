/* geometry.c - what a geometry implies: its validity, Sequence length and capacity. */
#include "kernels.h"

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

/* Bits of one tile of n blocks in one channel: pairing digits, shifts, rotations. */
static size_t tile_bits(uint32_t n, uint32_t planes)
{
    size_t bits = (size_t)n * (8 - planes + 2);
    for (uint32_t i = 1; i < n; i++)
        bits += bit_length(i);
    return bits;
}

int dsg_sequence_bytes(const struct dsg_geometry *g, size_t *bytes)
{
    int status = dsg_check(g);
    if (status != DSG_OK)
        return status;
    if (bytes == NULL)
        return DSG_ERR_NULL;
    uint32_t down = blocks_down(g), across = blocks_across(g), size = DSG_TILE;
    size_t whole_down = down / size, whole_across = across / size;
    uint32_t rest_down = down % size, rest_across = across % size;
    size_t bits = whole_down * whole_across * tile_bits(TILE_BLOCKS, g->planes);
    bits += whole_down * tile_bits(size * rest_across, g->planes);
    bits += whole_across * tile_bits(size * rest_down, g->planes);
    bits += tile_bits(rest_down * rest_across, g->planes);
    *bytes = (bits * g->colours + 7) / 8;
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
