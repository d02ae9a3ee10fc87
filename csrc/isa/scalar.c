/* scalar.c - the kernels in plain C, for any machine. */
#include "core/kernels.h"

#define ISA "scalar"
#define TABLE dsg_scalar
#include "core/blocks_plain.h"

#include "isa/table.h"
