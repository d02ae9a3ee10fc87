/*
 * stages.c - the stages of the transformation one by one, for bench/bench_stages.py.
 *
 * A shared library apart from the core: it includes the core's kernels, because they are static,
 * and runs each of them over tiles whose inputs were made beforehand.
 */
#include "../kernels.c"

enum {
    TILES = 48, /* one channel each: 16 images of 32x32x3, whose work space fits the L2 cache */
    PLANES = 1
};

static const struct dsg_geometry one_tile = {32, 32, 1, 1, PLANES};
static const struct tile whole = {0, 0, DSG_TILE, DSG_TILE, TILE_BLOCKS};

/* What the stages of one tile read and write. */
struct work {
    uint8_t clean[TILE_BLOCKS * BLOCK_SAMPLES], target[TILE_BLOCKS * BLOCK_SAMPLES];
    uint8_t out[TILE_BLOCKS * BLOCK_SAMPLES];
    block_samples from, to, paired, turned;
    tile_samples source, wanted, matched;
    uint8_t from_order[TILE_BLOCKS], to_order[TILE_BLOCKS], sequence[128];
    struct fields fields;
    struct packed packed;
};

static struct work all[TILES];

#if defined(_WIN32)
#define EXPORT __declspec(dllexport)
#else
#define EXPORT __attribute__((visibility("default")))
#endif

#define STAGES(ISA)                                                                                \
    static void CAT(stage_, ISA)(unsigned stage, struct work *w)                                   \
    {                                                                                              \
        size_t at = 0;                                                                             \
        switch (stage) {                                                                           \
        case 0: /* read blocks of both images */                                                   \
            CAT(read_tile_, ISA)(&one_tile, &whole, w->clean, &w->from);                           \
            CAT(read_tile_, ISA)(&one_tile, &whole, w->target, &w->to);                            \
            break;                                                                                 \
        case 1: /* to samples, three times */                                                      \
            CAT(by_samples_, ISA)(w->from, w->source);                                             \
            CAT(by_samples_, ISA)(w->to, w->wanted);                                               \
            CAT(by_samples_, ISA)(w->paired, w->matched);                                          \
            break;                                                                                 \
        case 2: /* statistics and ranks of both */                                                 \
            CAT(rank_blocks_, ISA)(w->source, TILE_BLOCKS, w->from_order);                         \
            CAT(rank_blocks_, ISA)(w->wanted, TILE_BLOCKS, w->to_order);                           \
            break;                                                                                 \
        case 3: /* pairing */                                                                      \
            for (unsigned i = 0; i < TILE_BLOCKS; i++)                                             \
                w->fields.pairing[w->to_order[i]] = w->from_order[i];                              \
            for (unsigned i = 0; i < TILE_BLOCKS; i++)                                             \
                memcpy(w->paired[i], w->from[w->fields.pairing[i]], BLOCK_SAMPLES);                \
            break;                                                                                 \
        case 4:                                                                                    \
            CAT(choose_shifts_, ISA)(w->matched, w->wanted, PLANES, w->fields.shift);              \
            break;                                                                                 \
        case 5:                                                                                    \
            CAT(choose_turns_, ISA)(w->matched, w->wanted, w->fields.turn);                        \
            break;                                                                                 \
        case 6: /* shift and turn */                                                               \
            for (unsigned i = 0; i < TILE_BLOCKS; i++)                                             \
                CAT(turn_block_, ISA)(w->paired[i], w->fields.turn[i],                             \
                                      (uint8_t)(w->fields.shift[i] << PLANES), w->turned[i]);      \
            break;                                                                                 \
        case 7: /* Sequence */                                                                     \
            pack_tile(&w->fields, TILE_BLOCKS, PLANES, &w->packed);                                \
            memset(w->sequence, 0, sizeof w->sequence);                                            \
            join_stream(w->sequence, 0, &w->packed);                                               \
            break;                                                                                 \
        case 8: /* write blocks */                                                                 \
            CAT(write_tile_, ISA)(&one_tile, &whole, &w->turned, w->out);                          \
            break;                                                                                 \
        default: /* all of it, as an image of one channel */                                       \
            CAT(transform_tile_, ISA)(&one_tile, &whole, w->clean, w->target, w->out, w->sequence, \
                                      &at);                                                        \
        }                                                                                          \
    }

STAGES(scalar)
#if defined(__x86_64__) && defined(__GNUC__)
STAGES(avx2)
STAGES(avx512)
#elif defined(__aarch64__) && defined(__GNUC__)
STAGES(neon)
#endif

typedef void stage_function(unsigned stage, struct work *w);

static stage_function *function_of(const char *isa)
{
    if (strcmp(isa, "scalar") == 0)
        return stage_scalar;
#if defined(__x86_64__) && defined(__GNUC__)
    return strcmp(isa, "avx2") == 0 ? stage_avx2 : stage_avx512;
#elif defined(__aarch64__) && defined(__GNUC__)
    return stage_neon;
#else
    return NULL;
#endif
}

EXPORT int dsg_stage_tiles(void);
EXPORT void dsg_stage_prepare(const char *isa, const uint8_t *clean, const uint8_t *target);
EXPORT void dsg_stage_run(const char *isa, unsigned stage, unsigned repeats);

/* How many tiles dsg_stage_prepare() takes; three of them are one image of 32x32x3. */
EXPORT int dsg_stage_tiles(void)
{
    return TILES;
}

/* Take TILES gray images of 32x32 and run all stages once, so that each has its input. */
EXPORT void dsg_stage_prepare(const char *isa, const uint8_t *clean, const uint8_t *target)
{
    stage_function *run = function_of(isa);
    for (unsigned i = 0; i < TILES; i++) {
        memcpy(all[i].clean, clean + i * sizeof all[i].clean, sizeof all[i].clean);
        memcpy(all[i].target, target + i * sizeof all[i].target, sizeof all[i].target);
        static const unsigned order[] = {0, 1, 2, 3, 1, 4, 5, 6, 7, 8};
        for (unsigned s = 0; s < sizeof order / sizeof *order; s++)
            run(order[s], &all[i]);
    }
}

/* Run one stage 'repeats' times over all tiles. */
EXPORT void dsg_stage_run(const char *isa, unsigned stage, unsigned repeats)
{
    stage_function *run = function_of(isa);
    for (unsigned r = 0; r < repeats; r++)
        for (unsigned i = 0; i < TILES; i++)
            run(stage, &all[i]);
}
