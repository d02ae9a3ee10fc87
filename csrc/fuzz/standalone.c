/*
 * standalone.c - runs a fuzz target without libFuzzer: over files and folders, then over mutations
 * of them.  It takes three of libFuzzer's options, so that one command serves both:
 *
 *     fuzz_png [-runs=N] [-seed=S] [-max_total_time=SECONDS] [FILE or FOLDER ...]
 *
 * Without -runs and -max_total_time the files alone are run.  It does not look at coverage: where
 * clang is at hand, libFuzzer finds more.
 */
#define _DEFAULT_SOURCE
#include <dirent.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MOST_FILES = 4096, MOST_BYTES = 4096, HANGS_AFTER = 10 /* seconds */ };

static struct {
    uint8_t *bytes;
    size_t size;
} corpus[MOST_FILES];
static size_t corpus_size;

static uint8_t *current;
static size_t current_size;
static volatile unsigned long long done;

/* ---- What an input that fails leaves behind. ---- */

static void keep_input(void)
{
    char name[64];
    snprintf(name, sizeof name, "crash-%d-%llu", (int)getpid(), (unsigned long long)done);
    FILE *file = fopen(name, "wb");
    if (file == NULL || fwrite(current, 1, current_size, file) != current_size)
        fprintf(stderr, "the input could not be kept\n");
    else
        fprintf(stderr, "run %llu failed; its input is in %s\n", (unsigned long long)done, name);
    if (file != NULL)
        fclose(file);
}

static void on_signal(int number)
{
    signal(number, SIG_DFL);
    keep_input();
    raise(number);
}

static void on_tick(int number)
{
    static unsigned long long before;
    (void)number;
    if (done && done == before) {
        fprintf(stderr, "one run took more than %d seconds\n", HANGS_AFTER);
        abort();
    }
    before = done;
}

/* Sanitizers end the process themselves, and tell whoever asks; there is none in other builds. */
void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

/* Little is kept of what was freed: it would be most of the memory, and of the time. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "quarantine_size_mb=8:malloc_context_size=4";
}

static void watch(void)
{
    const int fatal[] = {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL};
    struct itimerval tick = {{HANGS_AFTER, 0}, {HANGS_AFTER, 0}};
    if (__sanitizer_set_death_callback)
        __sanitizer_set_death_callback(keep_input);
    for (size_t i = 0; i < sizeof fatal / sizeof *fatal; i++)
        if (!__sanitizer_set_death_callback || fatal[i] == SIGABRT)
            signal(fatal[i], on_signal);
    signal(SIGALRM, on_tick);
    setitimer(ITIMER_REAL, &tick, NULL);
}

/* ---- The corpus. ---- */

static void add_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    uint8_t *bytes = malloc(MOST_BYTES);
    if (file == NULL || bytes == NULL || corpus_size == MOST_FILES) {
        fprintf(stderr, "%s cannot be read\n", path);
        exit(2);
    }
    corpus[corpus_size].size = fread(bytes, 1, MOST_BYTES, file);
    corpus[corpus_size++].bytes = bytes;
    fclose(file);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void add_folder(const char *path, DIR *folder)
{
    static char *names[MOST_FILES];
    size_t count = 0;
    for (struct dirent *entry; (entry = readdir(folder)) != NULL && count < MOST_FILES;) {
        size_t length = strlen(path) + strlen(entry->d_name) + 2;
        if (entry->d_name[0] == '.' || (names[count] = malloc(length)) == NULL)
            continue;
        snprintf(names[count++], length, "%s/%s", path, entry->d_name);
    }
    qsort(names, count, sizeof *names, by_name); /* a seed is to mean the same everywhere */
    for (size_t i = 0; i < count; i++) {
        struct stat status;
        if (stat(names[i], &status) == 0 && S_ISREG(status.st_mode))
            add_file(names[i]);
        free(names[i]);
    }
}

static void add(const char *path)
{
    DIR *folder = opendir(path);
    if (folder == NULL) {
        add_file(path);
        return;
    }
    add_folder(path, folder);
    closedir(folder);
}

/* ---- Mutations. ---- */

static uint64_t random_state;

static size_t below(size_t limit)
{
    random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return limit ? (size_t)((random_state >> 33) % limit) : 0;
}

/* Replace 'removed' bytes at 'place' by 'count' others. */
static size_t replace(uint8_t *bytes, size_t size, size_t place, size_t removed,
                      const uint8_t *others, size_t count)
{
    removed = removed < size - place ? removed : size - place;
    count = count < MOST_BYTES - size ? count : MOST_BYTES - size;
    memmove(bytes + place + count, bytes + place + removed, size - place - removed);
    memmove(bytes + place, others, count);
    return size - removed + count;
}

static size_t mutate_once(uint8_t *bytes, size_t size)
{
    static const uint8_t extremes[] = {0, 1, 2, 3, 4, 7, 8, 15, 16, 31, 32, 63, 64, 127, 128, 255};
    uint8_t others[64];
    size_t place = below(size < 24 || below(2) ? size : 24), n = below(corpus_size);
    size_t count = 1 + below(below(4) ? 4 : sizeof others);
    for (size_t i = 0; i < sizeof others; i++)
        others[i] = (uint8_t)below(256);
    switch (below(8)) {
    case 0: /* remove bytes */
        return replace(bytes, size, place, count, others, 0);
    case 1: /* insert some */
        return replace(bytes, size, place, 0, others, count);
    case 2: /* replace some */
        return replace(bytes, size, place, count, others, count);
    case 3: /* repeat one */
        memset(others, size ? bytes[place] : 0, sizeof others);
        return replace(bytes, size, place, 0, others, count);
    case 4: /* go on as another input does */
        if (corpus[n].size) {
            size_t from = below(2) ? place % corpus[n].size : below(corpus[n].size);
            return replace(bytes, size, place, size, corpus[n].bytes + from, corpus[n].size - from);
        }
        return size;
    default: /* change one, as a rule near the beginning, where parameters are */
        if (size)
            bytes[place] = below(2)   ? (uint8_t)(bytes[place] ^ 1u << below(8))
                           : below(2) ? extremes[below(sizeof extremes)]
                                      : (uint8_t)(bytes[place] + below(2) * 2 - 1);
        return size;
    }
}

static size_t mutate(uint8_t *bytes)
{
    size_t size = 0, n = below(corpus_size);
    if (corpus_size)
        memcpy(bytes, corpus[n].bytes, size = corpus[n].size);
    for (size_t times = 1 + below(8); times; times--)
        size = mutate_once(bytes, size);
    return size;
}

/* ---- Runs. ---- */

static void run(const uint8_t *bytes, size_t size)
{
    current = realloc(current, size ? size : 1); /* a block of its size: reading beyond is seen */
    if (current == NULL)
        abort();
    if (size)
        memcpy(current, bytes, size);
    current_size = size;
    LLVMFuzzerTestOneInput(current, size);
    done++;
}

static double seconds_since(const struct timespec *start)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - start->tv_sec) + (double)(now.tv_nsec - start->tv_nsec) / 1e9;
}

static int is_option(const char *argument, const char *name, unsigned long long *value)
{
    size_t length = strlen(name);
    if (strncmp(argument, name, length) != 0)
        return 0;
    *value = strtoull(argument + length, NULL, 10);
    return 1;
}

int main(int count, char **arguments)
{
    unsigned long long runs = 0, seed = 1, most_seconds = 0;
    static uint8_t bytes[MOST_BYTES];
    struct timespec start;
    struct rusage usage;
    for (int i = 1; i < count; i++) {
        const char *argument = arguments[i];
        if (is_option(argument, "-runs=", &runs) || is_option(argument, "-seed=", &seed) ||
            is_option(argument, "-max_total_time=", &most_seconds))
            continue;
        if (*argument == '-') {
            fprintf(stderr, "%s [-runs=N] [-seed=S] [-max_total_time=SECONDS] [PATH ...]\n",
                    arguments[0]);
            return 2;
        }
        add(argument);
    }
    random_state = seed;
    clock_gettime(CLOCK_MONOTONIC, &start);
    watch();
    for (size_t i = 0; i < corpus_size; i++)
        run(corpus[i].bytes, corpus[i].size);
    while ((runs && done < runs) || (!runs && most_seconds)) {
        if (most_seconds && done % 64 == 0 && seconds_since(&start) >= (double)most_seconds)
            break;
        run(bytes, mutate(bytes));
    }
    double took = seconds_since(&start);
    getrusage(RUSAGE_SELF, &usage);
    printf("%s: %llu runs, %.1f s, %.0f a second, %ld MiB at most\n", arguments[0],
           (unsigned long long)done, took, (double)done / (took > 0 ? took : 1),
           usage.ru_maxrss / 1024);
    for (size_t i = 0; i < corpus_size; i++)
        free(corpus[i].bytes);
    free(current);
    return 0;
}
