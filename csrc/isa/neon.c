/* neon.c - the kernels for 64-bit ARM, where every machine has NEON.  Elsewhere this unit is empty.
 */
#include "core/kernels.h"

#ifdef DSG_AARCH64
#include <arm_neon.h>

#define ISA "neon"
#define TABLE dsg_neon
#include "core/blocks_simd.h"

#include "isa/table.h"
#endif
