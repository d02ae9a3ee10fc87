/*
 * test_threads.c - the core in many threads at once, for ThreadSanitizer.
 *
 * The threads begin together, so that they race for the first choice of an instruction set, and
 * some change it meanwhile.  Each works on memory of its own, over the same clean images.
 */
#include "dsguard.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

enum { THREADS = 4, ROUNDS = 8, SIDE = 64, SAMPLES = SIDE * SIDE * 3, ROOM = 4 * SAMPLES };

static const struct dsg_geometry geometry = {SIDE, SIDE, 3, 3, 1};
static const struct dsg_image image = {SIDE, SIDE, 3};
static uint8_t clean[SAMPLES], target[SAMPLES]; /* read by all threads */

struct work {
    pthread_t thread;
    const char *isa; /* NULL: whatever is in use */
    int failures;
    uint8_t temporary[SAMPLES], sequence[SAMPLES], again[SAMPLES], stream[ROOM], malformed;
    uint32_t length;
    uint64_t scratch[ROOM];
};

static struct work all[THREADS];

static int moves(struct work *w)
{
    return dsg_transform(&geometry, 1, clean, target, w->temporary, w->sequence) == DSG_OK &&
           dsg_invert(&geometry, 1, w->temporary, w->sequence, w->again, &w->malformed) == DSG_OK &&
           !w->malformed && memcmp(w->again, clean, SAMPLES) == 0;
}

static int codes(struct work *w)
{
    return dsg_compress(&image, 1, clean, w->stream, ROOM, &w->length, w->scratch) == DSG_OK &&
           dsg_expand(&image, 1, w->stream, ROOM, &w->length, w->again, w->scratch,
                      &w->malformed) == DSG_OK &&
           !w->malformed && memcmp(w->again, clean, SAMPLES) == 0;
}

static void *run(void *argument)
{
    struct work *w = argument;
    for (int round = 0; round < ROUNDS; round++) {
        if (w->isa != NULL)
            (void)dsg_set_isa(round % 2 ? NULL : w->isa);
        w->failures += !moves(w) + !codes(w);
    }
    return NULL;
}

int main(void)
{
    static const char *const isas[THREADS] = {NULL, "scalar", NULL, "avx2"};
    size_t bytes, room, entries;
    int failures = dsg_sequence_bytes(&geometry, &bytes) != DSG_OK || bytes > SAMPLES ||
                   dsg_compress_sizes(&image, &room, &entries) != DSG_OK || room > ROOM ||
                   entries > ROOM;
    for (uint32_t i = 0, state = 1; i < SAMPLES; i++) {
        state = state * 1664525u + 1013904223u;
        clean[i] = (uint8_t)(i / 3 % SIDE + (state >> 28));
        target[i] = (uint8_t)(state >> 24);
    }
    for (size_t n = 0; n < THREADS; n++) {
        all[n].isa = isas[n];
        if (pthread_create(&all[n].thread, NULL, run, &all[n]) != 0)
            return 2;
    }
    for (size_t n = 0; n < THREADS; n++)
        failures += pthread_join(all[n].thread, NULL) != 0 || all[n].failures > 0;
    printf("%d of %d threads failed\n", failures, THREADS);
    return failures != 0;
}
