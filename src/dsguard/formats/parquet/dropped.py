"""What the owner of a dataset drops of Parquet files: columns, rows about it, keys in values."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from dsguard.formats.dropping import UNREAD
from dsguard.formats.parquet.columns import Columns, arrow, type_of_values
from dsguard.formats.parquet.metadata import Told, retold
from dsguard.formats.parquet.types import array_of, lists_of_arrow, recast

if TYPE_CHECKING:
    import pyarrow as pa

    from dsguard.formats.drops import Drops


def undropped(table: pa.Table, data: bytes, file: str, drops: Drops, *, sealing: bool) -> bytes:
    """Return a file without what is dropped; the very same where it has nothing of that.

    Parameters
    ----------
    table : Table
        What it has.
    data : bytes
    file : str
        Its name.
    drops : Drops
    sealing : bool
        Whether it is to be sealed.
    """
    pyarrow, parquet = arrow()
    kept = [n for n in table.schema.names if drops.account.says_of(file, n) is not False]
    gone = rows_about_dropped(table, file, drops)
    left, changed = table.select(kept), bool(gone) or len(kept) < len(table.schema.names)
    if gone:
        left = left.take(pyarrow.array([n for n in range(len(left)) if n not in gone], "int64"))
    schema = undropped_schema(left.schema, file, drops)
    for place, field in enumerate(schema):
        chunks = left.column(place).chunks
        cut = [undropped_column(c, f"{file}/{field.name}", drops, sealing=sealing) for c in chunks]
        is_same = all(new is old for new, old in zip(cut, chunks, strict=True))
        if not (is_same and field.equals(left.field(place), check_metadata=True)):
            column = pyarrow.chunked_array([retyped(each, field.type) for each in cut], field.type)
            left, changed = left.set_column(place, field, column), True
    if schema.metadata != left.schema.metadata:
        left, changed = left.replace_schema_metadata(schema.metadata), True
    if not changed:
        return data
    written = io.BytesIO()
    parquet.write_table(left, written)
    return written.getvalue()


def undropped_schema(schema: pa.Schema, file: str, drops: Drops) -> pa.Schema:
    """Return what a file, its columns and fields say of themselves without what is dropped."""
    if not drops.has_any:
        return schema

    def undropped_told(told: Told, path: str) -> Told:
        left: Any = drops.undropped(path, told, sealing=True)
        return left and {key: value for key, value in left.items() if value is not None}

    fields = [retold(each, f"{file}/{each.name}", undropped_told) for each in schema]
    return arrow()[0].schema(fields, metadata=undropped_told(schema.metadata, file))


def retyped(column: pa.Array, kind: pa.DataType) -> pa.Array:
    """Return a column as one of a type whose fields say something else of themselves."""
    return column if column.type.equals(kind, check_metadata=True) else recast(column, kind)


def undropped_rows(batch: pa.RecordBatch, columns: Columns, drops: Drops) -> pa.RecordBatch:
    """Return rows of images, with nulls in those about what is dropped; image and class stay."""
    gone = rows_about_dropped(batch, columns.file, drops)
    if not gone:
        return batch
    pyarrow, _ = arrow()
    rows = pyarrow.array([None if n in gone else n for n in range(batch.num_rows)], "int64")

    def without(column: pa.Array) -> pa.Array:
        try:
            return column.take(rows)
        except pyarrow.ArrowException:  # of types that Arrow takes nothing of
            return pyarrow.nulls(len(column), column.type)

    cut = [
        column if name in (columns.image, columns.label) else without(column)
        for name, column in zip(batch.schema.names, batch.columns, strict=True)
    ]
    fields = [field.with_nullable(True) for field in batch.schema]
    schema = pyarrow.schema(fields, metadata=batch.schema.metadata)
    return pyarrow.RecordBatch.from_arrays(cut, schema=schema)


def rows_about_dropped(table: pa.RecordBatch | pa.Table, file: str, drops: Drops) -> set[int]:
    """Return the numbers of the rows that are about what is dropped."""
    if not drops.has_any:
        return set()
    keys = dict.fromkeys(table.schema.names)
    texts = {
        name: column.to_pylist()
        for name, column in zip(table.schema.names, table.columns, strict=True)
        if _is_text(type_of_values(column.type))
    }
    rows = (dict(zip(texts, row, strict=True)) for row in zip(*texts.values(), strict=True))
    return {n for n, row in enumerate(rows) if drops.is_about_dropped(file, keys | row)}


def _is_text(kind: pa.DataType) -> bool:
    """Tell whether a type is that of texts, or of lists of them."""
    types = arrow()[0].types
    if any(is_such(kind) for is_such, _ in lists_of_arrow()):
        kind = kind.value_type
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))


def undropped_column(
    column: pa.Array, name: str, drops: Drops, *, sealing: bool = False
) -> pa.Array:
    """Return a column without the keys that its owner drops; nulls where that cannot be."""
    pyarrow, _ = arrow()
    if not drops.has_any or pyarrow.types.is_primitive(column.type):
        return column
    try:
        given = column.to_pylist()
        left = [drops.undropped(name, value, sealing=sealing) for value in given]
        if all(new is old for new, old in zip(left, given, strict=True)):
            return column
        return array_of(left, column.type)
    except (pyarrow.ArrowException, OSError, OverflowError, RecursionError, TypeError, ValueError):
        last = name.rpartition("/")[2]
        drops.account.leave_out(last, name, UNREAD, len(column), sealable=not sealing)
        return pyarrow.nulls(len(column), column.type)
