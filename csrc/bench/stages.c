/*
 * stages.c - the stages of the transformation one by one, for bench/bench_stages.py.
 *
 * Compiled once for each instruction set, as a shared library apart from the core.  It includes the
 * unit of the instruction set, DSG_UNIT, because kernels are static.  Each stage runs over tiles
 * whose inputs were made beforehand.
 */
#include DSG_UNIT

#ifdef ISA

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

static void run_stage(unsigned stage, struct work *w)
{
    size_t at = 0;
    switch (stage) {
    case 0: /* read blocks of both images */
        read_tile(&one_tile, &whole, w->clean, &w->from);
        read_tile(&one_tile, &whole, w->target, &w->to);
        break;
    case 1: /* to samples, three times */
        by_samples(w->from, w->source);
        by_samples(w->to, w->wanted);
        by_samples(w->paired, w->matched);
        break;
    case 2: /* statistics and ranks of both */
        rank_blocks(w->source, TILE_BLOCKS, w->from_order);
        rank_blocks(w->wanted, TILE_BLOCKS, w->to_order);
        break;
    case 3: /* pairing */
        for (unsigned i = 0; i < TILE_BLOCKS; i++)
            w->fields.pairing[w->to_order[i]] = w->from_order[i];
        for (unsigned i = 0; i < TILE_BLOCKS; i++)
            memcpy(w->paired[i], w->from[w->fields.pairing[i]], BLOCK_SAMPLES);
        break;
    case 4:
        choose_shifts(w->matched, w->wanted, PLANES, w->fields.shift);
        break;
    case 5:
        choose_turns(w->matched, w->wanted, w->fields.turn);
        break;
    case 6: /* shift and turn */
        for (unsigned i = 0; i < TILE_BLOCKS; i++)
            turn_block(w->paired[i], w->fields.turn[i], (uint8_t)(w->fields.shift[i] << PLANES),
                       w->turned[i]);
        break;
    case 7: /* Sequence */
        pack_tile(&w->fields, TILE_BLOCKS, PLANES, &w->packed);
        memset(w->sequence, 0, sizeof w->sequence);
        join_stream(w->sequence, 0, &w->packed);
        break;
    case 8: /* write blocks */
        write_tile(&one_tile, &whole, &w->turned, w->out);
        break;
    default: /* all of it, as an image of one channel */
        transform_tile(&one_tile, &whole, w->clean, w->target, w->out, w->sequence, &at);
    }
}

EXPORT int dsg_stage_tiles(void);
EXPORT void dsg_stage_prepare(const uint8_t *clean, const uint8_t *target);
EXPORT void dsg_stage_run(unsigned stage, unsigned repeats);

/* How many tiles dsg_stage_prepare() takes; three of them are one image of 32x32x3. */
EXPORT int dsg_stage_tiles(void)
{
    return TILES;
}

/* Take TILES gray images of 32x32 and run all stages once, so that each has its input. */
EXPORT void dsg_stage_prepare(const uint8_t *clean, const uint8_t *target)
{
    for (unsigned i = 0; i < TILES; i++) {
        memcpy(all[i].clean, clean + i * sizeof all[i].clean, sizeof all[i].clean);
        memcpy(all[i].target, target + i * sizeof all[i].target, sizeof all[i].target);
        static const unsigned order[] = {0, 1, 2, 3, 1, 4, 5, 6, 7, 8};
        for (unsigned s = 0; s < sizeof order / sizeof *order; s++)
            run_stage(order[s], &all[i]);
    }
}

/* Run one stage 'repeats' times over all tiles. */
EXPORT void dsg_stage_run(unsigned stage, unsigned repeats)
{
    for (unsigned r = 0; r < repeats; r++)
        for (unsigned i = 0; i < TILES; i++)
            run_stage(stage, &all[i]);
}

#endif
