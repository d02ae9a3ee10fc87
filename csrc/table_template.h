/* table_template.h - closes one instruction set: its table, then room for the next. */
static const struct kernels NAME(table) = {
    STRING(ISA), NAME(transform), NAME(invert), NAME(embed), NAME(extract),
};
#undef ISA
#undef TARGET
