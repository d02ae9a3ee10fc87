"""Marks of rows: what tells rows of equal images from each other, by their published values.

A mark has a block for each column of the source: a digest of the value that is published, or zeros
where none is. The block of the column of images is that of the name of the file.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from dsguard.formats.json_files import as_json
from dsguard.formats.parquet.columns import arrow, damage
from dsguard.formats.parquet.fitting import fitted
from dsguard.formats.sealing import digest_of

if TYPE_CHECKING:
    import pyarrow as pa

BLOCK_BYTES = 8
NO_BLOCK = bytes(BLOCK_BYTES)


def marks_of(batch: pa.RecordBatch, wanted: pa.Schema, image: str | None) -> list[bytes]:
    """Return the marks of published rows, with a block for each of the wanted columns."""
    blocks = [blocks_of(batch, each, image) for each in wanted]
    return list(map(b"".join, zip(*blocks, strict=True)))


def blocks_of(batch: pa.RecordBatch, wanted: pa.Field, image: str | None = None) -> list[bytes]:
    """Return the blocks of a column: its values count as those of the type that is wanted."""
    column = None
    if wanted.name in batch.schema.names:
        column = batch.column(wanted.name)
        column = _file_names(column) if wanted.name == image else fitted(column, wanted.type)
    if column is None:
        return [NO_BLOCK] * batch.num_rows
    return _blocks(column)


def _blocks(column: pa.Array) -> list[bytes]:
    """Return the blocks of values, each value that a dictionary has looked at once."""
    pyarrow, _ = arrow()
    if column.null_count == len(column):
        return [NULL_BLOCK] * len(column)
    if pyarrow.types.is_dictionary(column.type):
        known = _blocks(column.dictionary)
        return [NULL_BLOCK if n is None else known[n] for n in column.indices.to_pylist()]
    return [_block(text) for text in _texts(column)]


def blocks(mark: bytes, numbers: Iterable[int]) -> bytes:
    """Return some blocks of a mark."""
    return b"".join(mark[BLOCK_BYTES * n : BLOCK_BYTES * (n + 1)] for n in numbers)


def _file_names(column: pa.Array) -> pa.Array | None:
    """Return the names of the files of images without folders, which some tools cut off."""
    pyarrow, _ = arrow()
    if not pyarrow.types.is_struct(column.type):
        return None
    paths = column.field("path").to_pylist()
    return pyarrow.array([(path or "").rpartition("/")[2] for path in paths], pyarrow.string())


def _block(text: str) -> bytes:
    return digest_of(text.encode())[:BLOCK_BYTES]


def _texts(column: pa.Array) -> list[str]:
    """Return values as texts, those of equal values alike; NaN is null to some tools."""
    try:
        values = column.to_pylist()
    except damage():  # of one value, such as a moment that Python has none for
        values = [_value(each) for each in column]
    return [_text(value).replace("NaN", "null") for value in values]


def _value(scalar: pa.Scalar) -> Any:
    try:
        return scalar.as_py()
    except damage():
        return None


def _text(value: object) -> str:
    if plain := _PLAIN.get(type(value)):
        return plain(value)
    try:
        return _ENCODER.encode(value)
    except (RecursionError, TypeError, ValueError):
        return ""


_PLAIN: dict[type, Callable[[Any], str]] = {
    int: repr,
    str: json.encoder.encode_basestring_ascii,
    type(None): lambda _: "null",
}
"""What the encoder makes of most values, in a fifth of the time."""

_ENCODER = json.JSONEncoder(default=as_json, sort_keys=True)

NULL_BLOCK = _block("null")
