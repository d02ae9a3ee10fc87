/* table_template.h - closes one instruction set: its table, then room for the next. */
static const struct kernels NAME(table) = {
    STRING(ISA),  NAME(transform), NAME(invert), NAME(embed),  NAME(extract),
    NAME(encode), NAME(decode),    NAME(hide),   NAME(reveal),
};
#undef ISA
#undef TARGET
