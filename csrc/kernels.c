/*
 * kernels.c - one copy of the kernels per instruction set, and the choice between them.
 *
 * The two templates are plain C that compilers vectorise; each inclusion compiles them for another
 * target.  A table of functions rather than target_clones: ifuncs break ThreadSanitizer, do not
 * exist on musl, and could not be forced by a test.
 */
#include "kernels.h"

#include <stdatomic.h>
#include <string.h>

#define CAT_(a, b) a##b
#define CAT(a, b) CAT_(a, b)
#define NAME(function) CAT(CAT(function, _), ISA)
#define STRING_(a) #a
#define STRING(a) STRING_(a)

#define ISA scalar
#define TARGET
#include "tile.h"

#include "blocks_plain.h"

#include "mrit_template.h"

#include "lsb_template.h"

#include "compact_template.h"

#include "hiding_template.h"

#include "table_template.h"

#if defined(__x86_64__) && defined(__GNUC__)
#define ISA avx2
#define TARGET __attribute__((target("avx2,bmi2")))
#include "blocks_simd.h"

#include "mrit_template.h"

#include "lsb_template.h"

#include "compact_template.h"

#include "hiding_template.h"

#include "table_template.h"

#define ISA avx512
#define TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,bmi2")))
#include "blocks_simd.h"

#include "mrit_template.h"

#include "lsb_template.h"

#include "compact_template.h"

#include "hiding_template.h"

#include "table_template.h"
#elif defined(__aarch64__) && defined(__GNUC__) && !defined(__AARCH64EB__)
#define ISA neon
#define TARGET
#include "blocks_simd.h"

#include "mrit_template.h"

#include "lsb_template.h"

#include "compact_template.h"

#include "hiding_template.h"

#include "table_template.h"
#endif

static _Atomic(const struct kernels *) active;

static const struct kernels *find(const char *name)
{
#if defined(__x86_64__) && defined(__GNUC__)
    __builtin_cpu_init();
    if ((name == NULL || strcmp(name, "avx512") == 0) && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("bmi2"))
        return &table_avx512;
    if ((name == NULL || strcmp(name, "avx2") == 0) && __builtin_cpu_supports("avx2") &&
        __builtin_cpu_supports("bmi2"))
        return &table_avx2;
#elif defined(__aarch64__) && defined(__GNUC__) && !defined(__AARCH64EB__)
    if (name == NULL || strcmp(name, "neon") == 0)
        return &table_neon; /* every 64-bit ARM has it */
#endif
    return name == NULL || strcmp(name, "scalar") == 0 ? &table_scalar : NULL;
}

const struct kernels *dsg_kernels(void)
{
    const struct kernels *k = atomic_load(&active), *best;
    if (k == NULL && atomic_compare_exchange_strong(&active, &k, best = find(NULL)))
        k = best; /* otherwise another thread, or dsg_set_isa, came first and k is its choice */
    return k;
}

int dsg_set_isa(const char *name)
{
    const struct kernels *k = find(name);
    if (k == NULL)
        return DSG_ERR_ISA;
    atomic_store(&active, k);
    return DSG_OK;
}

const char *dsg_isa(void)
{
    return dsg_kernels()->name;
}
