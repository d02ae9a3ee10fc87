/* avx2.c - the kernels for x86-64 with AVX2.  Elsewhere this unit is empty. */
#include "core/kernels.h"

#ifdef DSG_X86_64
#include <immintrin.h> /* as all headers of the system, before the target changes */

#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx2,bmi2"))), apply_to = function)
#else
#pragma GCC target("avx2,bmi2")
#endif

#define ISA "avx2"
#define TABLE dsg_avx2
#include "core/blocks_simd.h"

#include "isa/table.h"

#ifdef __clang__
#pragma clang attribute pop
#endif
#endif
