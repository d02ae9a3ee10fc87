"""Entries: columns of Parquet files that are not published, packed with digests of their images.

An entry is a small Parquet file with the rows of one chunk, called after the number of its first
row in the published file. It has all columns of the source, those that are published as they are
without their values, the digests of the published images, and marks of the published values. All
rows are in one: where images are alike the marks and the number tell whose values are whose.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from dsguard.errors import InputError
from dsguard.formats.disclosure import A_KEY
from dsguard.formats.limits import MOST_BYTES, load_json
from dsguard.formats.parquet.columns import Columns, arrow
from dsguard.formats.parquet.dropped import (
    retyped,
    undropped_column,
    undropped_rows,
    undropped_schema,
)
from dsguard.formats.parquet.marks import BLOCK_BYTES, marks_of
from dsguard.formats.parquet.metadata import COULD_TELL, Told, leave_out, retold, tells_of_itself
from dsguard.formats.parquet.table import Table, holds_key
from dsguard.formats.sealing import DIGEST_BYTES, digest_of

if TYPE_CHECKING:
    import pyarrow as pa

    from dsguard.formats.review import Review

DIGEST = "dsguard.image"
MARK = "dsguard.row"
_PUBLISHED = b"dsguard.published"


class Packed(NamedTuple):
    """An entry.

    Attributes
    ----------
    data : bytes
    values : int
        How many are in it.
    is_needed : bool
        Whether it has more than what is published.
    """

    data: bytes
    values: int
    is_needed: bool


def packed(
    whole: Table, published: pa.RecordBatch, rows: list[int], files: Sequence[bytes], review: Review
) -> Packed:
    """Return an entry with the columns that are not published as they are.

    Parameters
    ----------
    whole : Table
        As the rows came.
    published : RecordBatch
        The rows that were written, with the columns that go along.
    rows : list of int
        Their numbers in `whole`.
    files : sequence of bytes
        Their published images.
    review : Review
    """
    batch = whole.batch if len(rows) == whole.batch.num_rows else whole.batch.take(rows)
    batch = undropped_rows(batch, whole.columns, review.drops)
    given = undropped_schema(batch.schema, whole.columns.file, review.drops)
    there = {name: published.column(name) for name in published.schema.names}
    kept: list[pa.Field] = []
    sealed: dict[str, pa.Array] = {}
    for each in given:
        column, path = batch.column(each.name), f"{whole.columns.file}/{each.name}"
        if each.name != whole.columns.image:
            column = undropped_column(column, path, review.drops, sealing=True)
        is_same = each.name in there and column.equals(there[each.name])
        is_published = each.name == whole.columns.image or is_same
        if not is_published and review.account.says_of(whole.columns.file, each.name) is False:
            continue
        kept.append(_told(each, path, review))
        if is_published:
            continue
        if not holds_key(column, review):
            sealed[each.name] = column
        elif each.name not in there:
            review.account.leave_out(each.name, path, A_KEY, len(rows))
    kept, metadata = _telling(given, kept, published.schema, whole.columns, review)
    is_needed = bool(sealed) or metadata != dict(published.schema.metadata or {})
    is_needed |= any(map(tells_of_itself, kept))
    digests = list(map(digest_of, files))
    marks = marks_of(published, arrow()[0].schema(kept), whole.columns.image)
    data = _entry(kept, sealed, digests, marks, metadata)
    if len(data) > MOST_BYTES:
        for name, column in sealed.items():
            reason = f"is too much to be sealed: {MOST_BYTES >> 20} MiB are the most"
            path = f"{whole.columns.file}/{name}"
            review.account.leave_out(name, path, reason, len(column), sealable=False)
        sealed = {}
        data = _entry(kept, sealed, digests, marks, metadata)
    return Packed(data, len(sealed) * len(rows), is_needed)


def _telling(
    given: pa.Schema, kept: list[pa.Field], published: pa.Schema, columns: Columns, review: Review
) -> tuple[list[pa.Field], dict[bytes, bytes]]:
    """Return columns, and the metadata of their table, as far as that comes back; name the rest."""
    metadata = dict(given.metadata or {})
    is_less = review.account.is_cut or len(kept) < len(given)
    if is_less or review.drops.holds_key(repr(metadata).encode()):
        metadata = dict(published.metadata or {})  # it may tell of what does not come back
        kept = [retold(each, each.name, lambda *_: None) for each in kept]
    come_back = [
        each.with_type(published.field(each.name).type) if each.name == columns.image else each
        for each in kept
    ]
    schema = arrow()[0].schema(come_back, metadata=metadata)
    leave_out(given, schema, columns.file, review, reason=COULD_TELL)
    return kept, metadata


def _told(field: pa.Field, path: str, review: Review) -> pa.Field:
    """Return a column with what it says of itself, without a key."""

    def without_key(told: Told, _: str) -> Told:
        return None if told and review.drops.holds_key(repr(told).encode()) else told

    return retold(field, path, without_key)


def _entry(
    kept: list[pa.Field],
    sealed: dict[str, pa.Array],
    digests: list[bytes],
    marks: list[bytes],
    metadata: dict[bytes, bytes],
) -> bytes:
    """Return an entry with these columns, without the values of those that are not sealed."""
    pyarrow, parquet = arrow()
    published = json.dumps([each.name for each in kept if each.name not in sealed])
    columns = [
        retyped(sealed[each.name], each.type)
        if each.name in sealed
        else pyarrow.nulls(len(digests), each.type)
        for each in kept
    ]
    fields = [
        pyarrow.field(each.name, column.type, metadata=each.metadata)
        for each, column in zip(kept, columns, strict=True)
    ]
    for name, values, width in (
        (DIGEST, digests, DIGEST_BYTES),
        (MARK, marks, BLOCK_BYTES * len(kept)),
    ):
        columns.append(pyarrow.array(values, pyarrow.binary(width)))
        fields.append(pyarrow.field(name, columns[-1].type))
    schema = pyarrow.schema(fields, metadata={**metadata, _PUBLISHED: published.encode()})
    out = io.BytesIO()
    table = pyarrow.Table.from_arrays(columns, schema=schema)
    parquet.write_table(table, out, write_statistics=False)
    return out.getvalue()


def schema_of(table: pa.Table) -> pa.Schema:
    """Return the schema of the source."""
    metadata = {k: v for k, v in (table.schema.metadata or {}).items() if k != _PUBLISHED}
    fields = [each for each in table.schema if each.name not in (DIGEST, MARK)]
    return arrow()[0].schema(fields, metadata=metadata or None)


def check_own(schema: pa.Schema) -> None:
    """Refuse an entry without digests of images, or with marks of another length.

    Raises
    ------
    InputError
    """
    pyarrow, _ = arrow()
    if DIGEST not in schema.names or schema.field(DIGEST).type != pyarrow.binary(DIGEST_BYTES):
        msg = "has no digests of images"
        raise InputError(msg)
    others = len(schema) - 2
    if MARK in schema.names and schema.field(MARK).type != pyarrow.binary(BLOCK_BYTES * others):
        msg = "has no marks of its rows"
        raise InputError(msg)


def marks_in(table: pa.Table, rows: list[int] | None = None) -> list[bytes]:
    """Return the marks of rows of an entry, empty ones where an older dsguard made it."""
    if MARK not in table.schema.names:
        return [b""] * (table.num_rows if rows is None else len(rows))
    column = table.column(MARK)
    marks: list[bytes] = (column if rows is None else column.take(rows)).to_pylist()
    return marks


def published_in(table: pa.Table) -> list[str]:
    """Return the columns that are not sealed, since they are published as they are."""
    try:
        return list(map(str, load_json((table.schema.metadata or {})[_PUBLISHED])))
    except (KeyError, TypeError, ValueError, RecursionError):
        return []
