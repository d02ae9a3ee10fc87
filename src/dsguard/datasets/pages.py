"""How much memory rows of a Parquet file take, told by the headers of its pages.

The footer may say anything, and a value that is stored once can stand for any number of rows. Arrow
unpacks what it is told to; so this looks at the pages before.
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

from dsguard.datasets.source import CHUNK_BYTES, CHUNK_IMAGES
from dsguard.errors import InputError

MOST_UNPACKED = 1 << 27
"""Bytes of a page, which may be more only if it is not much shorter in the file."""

MOST_REPEATED = 1 << 28
"""Bytes of all lists of a column of a row group, likewise."""

_MOST_EXPANSION = 16
_MOST_IN_ROWS = 1 << 25  # bytes of rows read at once, where one value can stand for many
_WINDOWS = (1 << 10, 1 << 16, 1 << 24)  # bytes that a header may have; statistics are in it
_DATA, _DICTIONARY, _DATA_2 = 0, 2, 3  # pages
_DELTA_BYTE_ARRAY = 7  # an encoding: values begin as the ones before


@dataclass(frozen=True)
class Page:
    """A page of a column.

    Attributes
    ----------
    kind, encoding : int
        As Parquet numbers them.
    values : int
    start, packed, unpacked : int
        Where its content is in the file, how many bytes it has there, and how many it unpacks to.
    """

    kind: int
    encoding: int
    values: int
    start: int
    packed: int
    unpacked: int


def rows_at_once(
    file: BinaryIO, parquet: Any, groups: Sequence[int], wanted: Sequence[str] | None
) -> int:
    """Return how many rows of some row groups are read at once.

    Parameters
    ----------
    file : binary file
    parquet : pyarrow.parquet.ParquetFile
        Of the same file.
    groups : sequence of int
    wanted : sequence of str or None
        Columns that will be read; None for all.

    Raises
    ------
    InputError
        If a page or a list would unpack to very much more than the file has.
    ValueError
        If the headers of pages are damaged.
    """
    most = CHUNK_IMAGES
    for group in groups:
        facts, widest, size = parquet.metadata.row_group(group), 1, 0
        for number in range(facts.num_columns):
            column = facts.column(number)
            if wanted is None or _is_among(column.path_in_schema, wanted):
                width, own = _measured(file, column, parquet.schema.column(number))
                widest, size = widest + width, size + own
        each = max(1, size // max(1, facts.num_rows))
        most = min(most, CHUNK_BYTES // each, _MOST_IN_ROWS // widest)
    return max(1, most)


def _is_among(path: str, wanted: Sequence[str]) -> bool:
    return any(path == name or path.startswith(name + ".") for name in wanted)


def _measured(file: BinaryIO, column: Any, described: Any) -> tuple[int, int]:
    """Return the most bytes that one short value can stand for, and those of all pages."""
    name = column.path_in_schema
    is_text = column.physical_type == "BYTE_ARRAY"
    width, values, size = max(0, described.length), 0, 0
    for page in _pages(file, column):
        size += page.unpacked
        if page.unpacked > max(MOST_UNPACKED, _MOST_EXPANSION * page.packed):
            msg = f"column {name} has {page.packed} bytes that unpack to {page.unpacked}"
            raise InputError(msg)
        if page.kind == _DICTIONARY:
            width = max(width, _longest(file, page, column.compression) if is_text else 0)
            continue
        values += page.values
        if page.encoding == _DELTA_BYTE_ARRAY:
            width = max(width, page.unpacked)
    if described.max_repetition_level and values * max(width, 8) > max(
        MOST_REPEATED, _MOST_EXPANSION * size
    ):
        msg = f"column {name} has {values} values in lists, in {size} bytes"
        raise InputError(msg)
    return width, size


def _longest(file: BinaryIO, page: Page, compression: str) -> int:
    """Return the length of the longest value of a dictionary; at most that of the dictionary."""
    import pyarrow

    file.seek(page.start)
    data = file.read(page.packed)
    if compression != "UNCOMPRESSED":
        try:
            codec = pyarrow.Codec("lz4_raw" if compression == "LZ4" else compression.lower())
            data = codec.decompress(data, page.unpacked, asbytes=True)
        except (pyarrow.ArrowException, OSError, ValueError):  # whoever reads it says so
            return page.unpacked
    longest = at = 0
    with contextlib.suppress(struct.error):
        for _ in range(page.values):
            (length,) = struct.unpack_from("<I", data, at)
            longest = max(longest, length)
            at += 4 + length
    return min(longest, page.unpacked)


def _pages(file: BinaryIO, column: Any) -> Iterator[Page]:
    """Yield the pages of a column of a row group, as Arrow goes through them."""
    start = column.data_page_offset
    if column.has_dictionary_page and 0 < column.dictionary_page_offset < start:
        start = column.dictionary_page_offset
    end, left = start + column.total_compressed_size, column.num_values
    while left > 0 and start < end:
        page = _page(file, start)
        yield page
        start = page.start + page.packed
        left -= page.values if page.kind in (_DATA, _DATA_2) else 0


def _page(file: BinaryIO, start: int) -> Page:
    """Read the header of a page, which is a struct of Thrift's compact protocol."""
    for window in _WINDOWS:
        file.seek(start)
        data = file.read(window)
        try:
            header, length = _struct(data, 0)
        except (IndexError, RecursionError):  # it goes on
            continue
        kind, unpacked, packed = (header.get(number) for number in (1, 2, 3))
        if kind == _DICTIONARY:
            told, encoding = header.get(7), 2
        else:
            told, encoding = (header.get(8), 4) if kind == _DATA_2 else (header.get(5), 2)
        told = told if isinstance(told, dict) else {}
        numbers = [kind, told.get(encoding, 0), told.get(1, 0), start + length, packed, unpacked]
        good = [number for number in numbers if isinstance(number, int) and number >= 0]
        if len(good) == len(numbers):
            return Page(*good)
        break
    msg = f"the header of a page at {start} is damaged"
    raise ValueError(msg)


def _struct(data: bytes, at: int) -> tuple[dict[int, Any], int]:
    """Read a struct at a place; return its fields and where it ends."""
    fields, number = dict[int, Any](), 0
    while (head := data[at]) != 0:
        number, at = (number + (head >> 4), at + 1) if head >> 4 else _number(data, at + 1)
        fields[number], at = _value(data, at, head & 15)
    return fields, at + 1


def _value(data: bytes, at: int, kind: int) -> tuple[Any, int]:
    if kind in (1, 2):  # true and false
        return kind == 1, at
    if kind == 3:
        return data[at], at + 1
    if kind in (4, 5, 6):
        return _number(data, at)
    if kind == 7:
        return None, at + 8
    if kind == 8:  # bytes
        length, at = _varint(data, at)
        return None, at + length
    if kind == 12:
        return _struct(data, at)
    msg = "a page has a header of another kind"
    raise ValueError(msg)


def _number(data: bytes, at: int) -> tuple[int, int]:
    value, at = _varint(data, at)
    return value >> 1 ^ -(value & 1), at


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
        if shift > 63:
            msg = "a page has a number of more than 64 bits in its header"
            raise ValueError(msg)
