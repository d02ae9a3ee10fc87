"""Types that other packages have registered with Arrow, whose code reads the values of a file.

A file names the types of its columns. Where a package that is imported has registered a type of
that name, Arrow runs code of the package on the file; that of Ray loads pickles.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, BinaryIO

from dsguard.errors import InputError
from dsguard.formats.parquet.columns import arrow
from dsguard.formats.parquet.pages import footer_of, metadata_in

if TYPE_CHECKING:
    import pyarrow as pa

_SCHEMA = b"ARROW:schema"
_NAME, _HIDDEN = b"ARROW:extension:name", b"ARROW:extension_name"  # of one length
_MAGIC = b"PAR1"
_END = 1 << 16
"""Bytes that are read at once, as Arrow does: some servers send whole files alone."""

_KNOWN = ("arrow.", "datasets.features.", "pandas.")
"""Those of Arrow itself, and of packages that read nothing but JSON from what a type says."""

_PICKLED = "arrow.py_extension_type"
"""That of any class, by a pickle, which old versions of Arrow load where they are told so."""


def parquet_file(opened: BinaryIO) -> Any:
    """Return a file as Arrow reads it, if it has no types of packages that are imported here.

    Arrow has the footer that was looked at: a server could answer otherwise when asked again.

    Raises
    ------
    InputError
        If it has such a type.
    Exception
        One of those of `columns.damage`, if it is damaged.
    """
    pyarrow, parquet = arrow()
    end = _end_of(opened)
    footer = end[4:-8]
    for name in _types_in(footer):
        if name == _PICKLED or (not name.startswith(_KNOWN) and _is_registered(name)):
            msg = (
                f"has a column of the type {name[:100]!r}, of a package that is imported here and "
                "would run on it; read the file with the command dsguard, or in a process without "
                "that package"
            )
            raise InputError(msg)
    told = parquet.read_metadata(pyarrow.BufferReader(end))
    opened.seek(0)
    return parquet.ParquetFile(opened, metadata=told)


def _end_of(opened: BinaryIO) -> bytes:
    """Return the footer of a file as a file of its own, that has no rows.

    Raises
    ------
    ValueError
        If it has none.
    """
    size = opened.seek(0, os.SEEK_END)
    opened.seek(max(0, size - _END))
    end = opened.read()
    length = int.from_bytes(end[-8:-4], "little")
    if end[-4:] != _MAGIC or length + 8 > size:
        msg = "it does not end as a Parquet file does"
        raise ValueError(msg)
    footer = end[-8 - length : -8] if length + 8 <= len(end) else footer_of(opened)
    return _MAGIC + footer + len(footer).to_bytes(4, "little") + _MAGIC


def _types_in(footer: bytes) -> Iterator[str]:
    """Yield the names of the types that are none of Parquet."""
    for key, value in metadata_in(footer):
        if key == _SCHEMA:
            try:
                schema = base64.b64decode(value, validate=True)
            except binascii.Error as error:
                msg = "its schema is damaged"
                raise ValueError(msg) from error
            if _NAME in schema:  # which is read without the types: under another key
                yield from _names_told(schema.replace(_NAME, _HIDDEN))


def _names_told(schema: bytes) -> list[str]:
    pyarrow, _ = arrow()
    read = pyarrow.ipc.read_schema(pyarrow.py_buffer(schema))
    names = list(_names_in(list(read)))
    if read.serialize().to_pybytes().count(_HIDDEN) != len(names):  # of two, Arrow takes the first
        msg = "its schema tells the type of a column twice"
        raise ValueError(msg)
    return names


def _names_in(fields: list[pa.Field]) -> Iterator[str]:
    for field in fields:
        name = (field.metadata or {}).get(_HIDDEN)
        if name is not None:
            yield name.decode("utf-8", "replace")
        yield from _names_in(_fields_in(field.type))


def _fields_in(kind: pa.DataType) -> list[pa.Field]:
    """Return the fields of a type; those of the values where they are numbered."""
    pyarrow, _ = arrow()
    if pyarrow.types.is_dictionary(kind):
        return _fields_in(kind.value_type)
    return [kind.field(number) for number in range(kind.num_fields)]


def _is_registered(name: str) -> bool:
    """Tell whether a type of this name is registered, by one of nothing that says nothing."""
    pyarrow, _ = arrow()
    said = {_NAME: name.encode(), b"ARROW:extension:metadata": b""}
    field = pyarrow.field("x", pyarrow.null(), metadata=said)
    try:
        (read,) = pyarrow.ipc.read_schema(pyarrow.schema([field]).serialize())
    except Exception:  # whatever the package raises
        return True
    return isinstance(read.type, pyarrow.BaseExtensionType)
