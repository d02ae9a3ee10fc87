/* layout.h - where the embedding samples of an image lie. */
#ifndef DSGUARD_LAYOUT_H
#define DSGUARD_LAYOUT_H

#include "core/bits.h"
#include "core/kernels.h"

/*
 * Runs of neighbouring embedding samples, all of one length: the whole image where it has neither
 * margin nor alpha, a row where it has a margin, a pixel where it has alpha.
 */
struct layout {
    size_t samples;       /* in a run */
    size_t runs_per_line; /* more than one where runs are pixels */
    size_t runs;          /* in a plane */
    size_t step, pitch;   /* from run to run within a line, from line to line */
};

static inline struct layout lay_out(const struct dsg_geometry *g)
{
    size_t pitch = (size_t)g->width * g->channels;
    size_t lines = (size_t)blocks_down(g) * DSG_BLOCK;
    size_t pixels = (size_t)blocks_across(g) * DSG_BLOCK;
    if (g->colours < g->channels) {
        struct layout l = {g->colours, pixels, pixels * lines, g->channels, pitch};
        return l;
    }
    size_t samples = pixels * g->channels;
    if (samples == pitch) {
        struct layout l = {samples * lines, 1, 1, 0, 0};
        return l;
    }
    struct layout l = {samples, 1, lines, 0, pitch};
    return l;
}

static inline unsigned run_plane(const struct layout *l, size_t run)
{
    return (unsigned)(run / l->runs);
}

static inline size_t run_start(const struct layout *l, size_t run)
{
    run %= l->runs;
    return run / l->runs_per_line * l->pitch + run % l->runs_per_line * l->step;
}

static inline void embed_bit(uint8_t *sample, const uint8_t *payload, size_t bit, unsigned plane)
{
    *sample = (uint8_t)((*sample & ~(1u << plane)) | (stream_bit(payload, bit) << plane));
}

static inline void extract_bit(uint8_t sample, uint8_t *payload, size_t bit, unsigned plane)
{
    add_stream_bit(payload, bit, (unsigned)sample >> plane & 1u);
}

#endif
