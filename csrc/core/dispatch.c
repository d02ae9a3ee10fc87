/*
 * dispatch.c - the choice between the instruction sets.
 *
 * A table of functions rather than target_clones: ifuncs break ThreadSanitizer, do not exist on
 * musl, and could not be forced by a test.
 */
#include "core/kernels.h"

static const struct kernels *find(const char *name)
{
#if defined(DSG_X86_64)
    __builtin_cpu_init();
    if ((name == NULL || strcmp(name, "avx512") == 0) && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("bmi2"))
        return &dsg_avx512;
    if ((name == NULL || strcmp(name, "avx2") == 0) && __builtin_cpu_supports("avx2") &&
        __builtin_cpu_supports("bmi2"))
        return &dsg_avx2;
#elif defined(DSG_AARCH64)
    if (name == NULL || strcmp(name, "neon") == 0)
        return &dsg_neon; /* every 64-bit ARM has it */
#endif
    return name == NULL || strcmp(name, "scalar") == 0 ? &dsg_scalar : NULL;
}

#ifdef __STDC_NO_ATOMICS__ /* plain C is all there is (kernels.h) */
const struct kernels *dsg_kernels(void)
{
    return &dsg_scalar;
}

static void use(const struct kernels *k)
{
    (void)k;
}
#else
#include <stdatomic.h>

static _Atomic(const struct kernels *) active;

const struct kernels *dsg_kernels(void)
{
    const struct kernels *k = atomic_load(&active), *best;
    if (k == NULL && atomic_compare_exchange_strong(&active, &k, best = find(NULL)))
        k = best; /* otherwise another thread, or dsg_set_isa, came first and k is its choice */
    return k;
}

static void use(const struct kernels *k)
{
    atomic_store(&active, k);
}
#endif

int dsg_set_isa(const char *name)
{
    const struct kernels *k = find(name);
    if (k == NULL)
        return DSG_ERR_ISA;
    use(k);
    return DSG_OK;
}

const char *dsg_isa(void)
{
    return dsg_kernels()->name;
}
