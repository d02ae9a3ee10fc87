"""Tables of Parquet and Arrow that name types of packages, whose code readers run on values."""

from __future__ import annotations

import os
from typing import BinaryIO

from dsguard.formats.parquet.pages import TYPE, footer_of, schemas_in
from dsguard.formats.programs.suffixes import ending
from dsguard.formats.programs.unpacked import MOST_SEEN, is_packed

_PARQUET, _ARROW = b"PAR1", (b"ARRO", b"\xff\xff\xff\xff")
PARQUET_FILES, ARROW_FILES = ("parquet", "parq", "pq"), ("arrow", "arrows", "feather", "ipc")
"""Suffixes of tables."""


def names_types(name: str, mark: bytes, file: BinaryIO) -> bool:
    """Tell whether a table names types that packages have; `mark` is its first four bytes."""
    if mark in _ARROW or ending(name) in ARROW_FILES:
        return is_packed(file, name) or _has(file, TYPE)
    if mark != _PARQUET and ending(name) not in PARQUET_FILES:
        return False
    try:
        file.seek(-len(_PARQUET), os.SEEK_END)
        if file.read() != _PARQUET:  # nobody reads it
            return False
        return any(TYPE in schema for _, schema in schemas_in(footer_of(file)))
    except (LookupError, OSError, ValueError):  # others may read it all the same
        return True


def _has(file: BinaryIO, text: bytes) -> bool:
    """Tell whether a file has a text in it, anywhere."""
    file.seek(0)
    before = b""
    while piece := file.read(MOST_SEEN):
        if text in before + piece:
            return True
        before = piece[-len(text) :]
    return False
