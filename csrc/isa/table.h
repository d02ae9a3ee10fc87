/*
 * table.h - all kernels, and the table of one instruction set.
 *
 * A unit of isa/ includes this file once, after the moves of blocks.  It defines ISA, the name that
 * dsg_set_isa() knows, and TABLE, the name of its table.  All functions are static, and compiled
 * for the target of the unit.
 */
#include "exact/hide.h"
#include "exact/reveal.h"
#include "exact/transform.h"
#include "paper/embedding.h"
#include "paper/transform.h"
#include "sealed/compress.h"
#include "sealed/spread.h"

const struct kernels TABLE = {
    .name = ISA,
    .transform = transform,
    .invert = invert,
    .embed = embed,
    .extract = extract,
    .encode = encode,
    .decode = decode,
    .hide = hide,
    .reveal = reveal,
    .compress = compress,
    .expand = expand,
    .spread = spread,
    .gather = gather,
};
