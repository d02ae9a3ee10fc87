/* avx512.c - the kernels for x86-64 with AVX-512 (F, BW, VL, DQ).  Elsewhere this unit is empty. */
#include "core/kernels.h"

#ifdef DSG_X86_64
#include <immintrin.h> /* as all headers of the system, before the target changes */

#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,bmi2"))),   \
                             apply_to = function)
#else
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,bmi2")
#endif

#define ISA "avx512"
#define TABLE dsg_avx512
#include "core/blocks_simd.h"

#include "isa/table.h"

#ifdef __clang__
#pragma clang attribute pop
#endif
#endif
