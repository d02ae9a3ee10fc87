"""Types that other packages have for columns, whose code would read the values of a file.

A file names the types of its columns. Where a package that is imported has registered a type of
that name, Arrow runs code of the package on what a stranger wrote: that of Ray loads pickles, that
of datasets calls any function of Arrow. Here no such type is ever made. Arrow has the names under
another key while it reads; then they are what a column says of itself, as its other metadata is.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Collection
from typing import TYPE_CHECKING, Any, BinaryIO

from dsguard.formats.parquet.columns import arrow
from dsguard.formats.parquet.dropped import retyped
from dsguard.formats.parquet.metadata import Told, retold, tells_of_itself, without_odd_features
from dsguard.formats.parquet.pages import TYPE, footer_of, schemas_in

if TYPE_CHECKING:
    import pyarrow as pa

_HIDDEN = b"ARROW:extension_name"  # as long as the key itself
_SAID = b"ARROW:extension:metadata"
_OF_ARROW = b"arrow."
_PICKLED = b"arrow.py_extension_type"
"""That of any class, by a pickle, which old versions of Arrow load where they are told so."""
_MAGIC = b"PAR1"
_END = 1 << 16
"""Bytes that are read at once, as Arrow does: some servers send whole files alone."""


def parquet_file(opened: BinaryIO) -> Any:
    """Return a file as Arrow reads it, with the types of packages hidden.

    Arrow has the footer that was looked at: a server could answer otherwise when asked again.

    Raises
    ------
    Exception
        One of those of `columns.damage`, if it is damaged.
    """
    pyarrow, parquet = arrow()
    footer = _hidden(_footer(opened))
    end = _MAGIC + footer + len(footer).to_bytes(4, "little") + _MAGIC
    told = parquet.read_metadata(pyarrow.BufferReader(end))
    opened.seek(0)
    return parquet.ParquetFile(opened, metadata=told)


def shown(field: pa.Field) -> pa.Field:
    """Return a field that says again of which type it is, if a package has it, and is of none."""

    def told(metadata: Told, _: str) -> Told:
        return metadata and {TYPE if k == _HIDDEN else k: v for k, v in metadata.items()}

    return retold(field, "", told)


def without_types(
    batch: pa.RecordBatch, image: str | None = None, but: Collection[str] = ()
) -> tuple[pa.RecordBatch, list[str]]:
    """Return rows whose columns say nothing of types that packages have, and those that did.

    `image` is the column of the images, which may say that it is one; those of `but` may say all.
    """
    found = list[str]()

    def bare(metadata: Told, name: str) -> Told:
        kind = (metadata or {}).get(TYPE, _OF_ARROW)
        if any(name == each or name.startswith(f"{each}.") for each in but):
            return metadata
        if kind.startswith(_OF_ARROW) and kind != _PICKLED:
            return metadata
        found.append(name)
        return {k: v for k, v in (metadata or {}).items() if k not in (TYPE, _SAID)}

    metadata, odd = without_odd_features(batch.schema.metadata, image, but)
    if not odd and not any(map(tells_of_itself, batch.schema)):
        return batch, found
    fields = [retold(each, each.name, bare) for each in batch.schema]
    found += odd
    schema = arrow()[0].schema(fields, metadata=metadata)
    columns = [retyped(*each) for each in zip(batch.columns, schema.types, strict=True)]
    return arrow()[0].RecordBatch.from_arrays(columns, schema=schema), found


def _footer(opened: BinaryIO) -> bytes:
    size = opened.seek(0, os.SEEK_END)
    opened.seek(max(0, size - _END))
    end = opened.read()
    length = int.from_bytes(end[-8:-4], "little")
    if end[-4:] != _MAGIC or length + 8 > size:
        msg = "it does not end as a Parquet file does"
        raise ValueError(msg)
    return end[-8 - length : -8] if length + 8 <= len(end) else footer_of(opened)


def _hidden(footer: bytes) -> bytes:
    """Return a footer in which types of packages are under another key."""
    hidden = footer
    for value, schema in schemas_in(footer):
        if TYPE in schema:
            hidden = hidden.replace(value, base64.b64encode(schema.replace(TYPE, _HIDDEN)))
    if any(TYPE in schema for _, schema in schemas_in(hidden)):  # one was part of another
        msg = "it tells its schema several times"
        raise ValueError(msg)
    return hidden
