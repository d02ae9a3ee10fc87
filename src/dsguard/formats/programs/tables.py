"""Tables of Parquet and Arrow that name types or functions of packages, which readers run."""

from __future__ import annotations

import os
from collections.abc import Collection
from typing import BinaryIO

from dsguard.formats.parquet.pages import TYPE, footer_of, metadata_in, schemas_in
from dsguard.formats.programs.suffixes import ending
from dsguard.formats.programs.unpacked import MOST_SEEN, is_packed

_MARKS = (TYPE, b"huggingface")  # the latter names functions of pyarrow, which `datasets` calls
_PARQUET, _ARROW = b"PAR1", (b"ARRO", b"\xff\xff\xff\xff")
STARTS = (_PARQUET, *_ARROW)
"""First four bytes of tables."""
PARQUET_FILES, ARROW_FILES = ("parquet", "parq", "pq"), ("arrow", "arrows", "feather", "ipc")
"""Suffixes of tables."""


def names_types(name: str, mark: bytes, file: BinaryIO) -> bool:
    """Tell whether a table names types that packages have; `mark` is its first four bytes."""
    if mark in _ARROW or ending(name) in ARROW_FILES:
        return is_packed(file, name) or _has(file, _MARKS)
    if mark != _PARQUET and ending(name) not in PARQUET_FILES:
        return False
    try:
        file.seek(-len(_PARQUET), os.SEEK_END)
        if file.read() != _PARQUET:  # nobody reads it
            return False
        footer = footer_of(file)
        told = [schema for _, schema in schemas_in(footer)] + [
            key for key, _ in metadata_in(footer)
        ]
        return any(mark in each for each in told for mark in _MARKS)
    except (LookupError, OSError, ValueError):  # others may read it all the same
        return True


def _has(file: BinaryIO, texts: Collection[bytes]) -> bool:
    """Tell whether a file has one of some texts in it, anywhere."""
    file.seek(0)
    before, longest = b"", max(map(len, texts))
    while piece := file.read(MOST_SEEN):
        seen = before + piece
        if any(text in seen for text in texts):
            return True
        before = seen[-longest:]
    return False
