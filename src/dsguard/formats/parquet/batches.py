"""Rows of Parquet files as all of dsguard has them: some at a time, sound, and of plain types."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

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

    Raises
    ------
    InputError
        If the rows would unpack to very much more than the file has.
    Exception
        One of those of `damage`, if the file is damaged.
    """
    groups = list(range(file.num_row_groups) if groups is None else groups)
    count = rows_at_once(opened, file, groups, wanted)
    count = count if most is None else min(count, most)
    runs = [groups]
    if any(map(has_categories_within, file.schema_arrow.types)):
        runs = [[group] for group in groups]  # Arrow puts those of several together to none
    for run in runs:
        for batch in file.iter_batches(count, row_groups=run, columns=wanted):
            batch.validate(full=True)  # text that is none would be met by whoever reads it
            yield _plain(batch)


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
