"""Rows of Parquet files as all of dsguard has them: some at a time, sound, and of plain types."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

from dsguard.errors import InputError
from dsguard.formats.limits import most_unpacked, too_much
from dsguard.formats.parquet.columns import arrow
from dsguard.formats.parquet.dropped import retyped
from dsguard.formats.parquet.foreign import shown
from dsguard.formats.parquet.pages import rows_at_once
from dsguard.formats.parquet.types import has_categories_within, plain_type

if TYPE_CHECKING:
    import pyarrow as pa


def batches_of(
    opened: BinaryIO,
    file: Any,
    groups: Sequence[int] | None = None,
    wanted: list[str] | None = None,
    most: int | None = None,
    most_bytes: int | None = None,
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a file, in the types of `plain_schema`.

    Parameters
    ----------
    opened : binary file
    file : pyarrow.parquet.ParquetFile
        Of the same file.
    groups : sequence of int, optional
        Row groups; all without it.
    wanted : list of str, optional
        Columns; all without it.
    most : int, optional
        How many rows are read at once at most.
    most_bytes : int, optional
        How many bytes all rows may unpack to; by default a hundred times those of the file.

    Raises
    ------
    InputError
        If the rows unpack to very much more than the file has, all or a few of them.
    Exception
        One of those of `damage`, if the file is damaged.
    """
    groups = list(range(file.num_row_groups) if groups is None else groups)
    count = rows_at_once(opened, file, groups, wanted)
    count = count if most is None else min(count, most)
    if most_bytes is None:
        most_bytes = most_unpacked(opened.seek(0, os.SEEK_END), sys.maxsize)
    size, runs = 0, [groups]
    if any(map(has_categories_within, file.schema_arrow.types)):
        runs = [[group] for group in groups]  # Arrow puts those of several together to none
    for run in runs:
        for batch in file.iter_batches(count, row_groups=run, columns=wanted):
            batch.validate(full=True)  # text that is none would be met by whoever reads it
            plain = _plain(batch)
            size += sum(map(_bytes_of, plain.columns))
            if size > most_bytes:
                msg = f"it {too_much(most_bytes)}"
                raise InputError(msg)
            yield plain


def _bytes_of(column: pa.Array) -> int:
    """Return the bytes of an array; a value of a dictionary counts as often as it is meant."""
    pyarrow, types, kind = arrow()[0], arrow()[0].types, column.type
    if isinstance(column, pyarrow.ExtensionArray):
        return _bytes_of(column.storage)
    if types.is_dictionary(kind):
        return int(column.indices.nbytes) + _bytes_meant(column)
    if not has_categories_within(kind):
        return int(column.nbytes)
    if types.is_map(kind):
        return _bytes_of(column.keys) + _bytes_of(column.items)
    within = column.flatten()
    return sum(map(_bytes_of, within if types.is_struct(kind) else [within]))


def _bytes_meant(column: pa.DictionaryArray) -> int:
    """Return the bytes of the values that the rows of a column with a dictionary mean."""
    from pyarrow import compute  # as `arrow` does

    values, types = column.dictionary, arrow()[0].types
    checks = (types.is_string, types.is_large_string, types.is_binary, types.is_large_binary)
    if not any(is_text(values.type) for is_text in checks):  # about as wide as each other
        return int(values.nbytes) * len(column) // max(1, len(values))
    lengths = compute.binary_length(values).take(column.indices)
    return int(compute.sum(lengths).as_py() or 0)


def plain_schema(schema: pa.Schema) -> pa.Schema:
    """Return a schema without views, which Arrow can read and write, and little else.

    Types that packages have are told of again, as metadata.
    """
    fields = [shown(each.with_type(plain_type(each.type))) for each in schema]
    return arrow()[0].schema(fields, metadata=schema.metadata)


def _plain(batch: pa.RecordBatch) -> pa.RecordBatch:
    schema = plain_schema(batch.schema)
    if schema.equals(batch.schema, check_metadata=True):
        return batch
    pairs = zip(batch.columns, schema.types, strict=True)
    columns = [retyped(column, kind) for column, kind in pairs]
    return arrow()[0].RecordBatch.from_arrays(columns, schema=schema)
