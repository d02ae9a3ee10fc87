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
_END = 1 << 16
"""Bytes that are read at once, as Arrow does: some servers send whole files alone."""

_KNOWN = ("arrow.", "datasets.features.", "pandas.")
"""Those of Arrow itself, and of packages that read nothing but JSON from what a type says."""


def parquet_file(opened: BinaryIO) -> Any:
    """Return a file as Arrow reads it, if it has no types of packages that are imported here.

    Raises
    ------
    InputError
        If it has such a type.
    Exception
        One of those of `columns.damage`, if it is damaged.
    """
    for name in _types_in(opened):
        if not name.startswith(_KNOWN) and _is_registered(name):
            msg = (
                f"has a column of the type {name[:100]!r}, of a package that is imported here and "
                "would run on it; read the file with the command dsguard, or in a process without "
                "that package"
            )
            raise InputError(msg)
    opened.seek(0)
    return arrow()[1].ParquetFile(opened)


def _types_in(opened: BinaryIO) -> Iterator[str]:
    """Yield the names of the types in a file that are none of Parquet."""
    size = opened.seek(0, os.SEEK_END)
    opened.seek(max(0, size - _END))
    end = opened.read()
    if end[-4:] != b"PAR1":  # Arrow says that it is no such file
        return
    length = int.from_bytes(end[-8:-4], "little")
    footer = end[-8 - length : -8] if length + 8 <= len(end) else footer_of(opened)
    for key, value in metadata_in(footer):
        if key == _SCHEMA:
            try:
                schema = base64.b64decode(value, validate=True)
            except binascii.Error as error:
                msg = "its schema is damaged"
                raise ValueError(msg) from error
            if _NAME in schema:  # which is read without the types: under another key
                pyarrow, _ = arrow()
                buffer = pyarrow.py_buffer(schema.replace(_NAME, _HIDDEN))
                yield from _names_in(list(pyarrow.ipc.read_schema(buffer)))


def _names_in(fields: list[pa.Field]) -> Iterator[str]:
    for field in fields:
        name = (field.metadata or {}).get(_HIDDEN)
        if name is not None:
            yield name.decode("utf-8", "replace")
        kind = field.type
        yield from _names_in([kind.field(number) for number in range(kind.num_fields)])


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
