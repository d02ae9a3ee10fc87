"""How much memory rows of a Parquet file take, told by the headers of its pages.

The footer may say anything, and a value that is stored once can stand for any number of rows. Arrow
unpacks what it is told to; so this looks at the pages before.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import itertools
import os
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, BinaryIO

from dsguard.errors import InputError
from dsguard.formats.base import CHUNK_BYTES, CHUNK_IMAGES

TYPE = b"ARROW:extension:name"
"""The key under which a column names a type that a package has."""

MOST_UNPACKED = 1 << 27
"""Bytes of a page, which may be more only if it is not much shorter in the file."""

MOST_REPEATED = 1 << 28
"""Bytes of all lists of a column of a row group, likewise."""

MOST_OPEN = 1 << 29
"""Bytes of pages, the largest of each column: Arrow has one of each in memory at a time."""

_SCHEMA = b"ARROW:schema"
_MOST_EXPANSION = 16
_MOST_IN_ROWS = 1 << 25  # bytes of rows read at once, where one value can stand for many
_MOST_LISTED = 1 << 20  # values of dictionaries that are looked at one by one
_FREE_PAGES = 1000
_BYTES_OF_A_VALUE = 8  # about: a number, or where a text is
_BYTES_OF_A_PAGE = 64  # of a file, with what the footer says of it
_CODECS = {0: "", 1: "snappy", 2: "gzip", 4: "brotli", 5: "lz4", 6: "zstd", 7: "lz4_raw"}
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


@dataclass(frozen=True)
class Chunk:
    """A column of a row group: where its pages are, how many values they have, and their codec."""

    start: int
    size: int
    values: int
    codec: int


@dataclass(frozen=True)
class Group:
    """A row group."""

    rows: int
    chunks: tuple[Chunk, ...]


@dataclass
class _Effort:
    """What is left to be looked at, one by one: a short file could have any number of each.

    Attributes
    ----------
    pages : int
    listed : int
        Values of dictionaries.
    """

    pages: int
    listed: int = _MOST_LISTED

    def take_page(self) -> None:
        """Look at one more page."""
        self.pages -= 1
        if self.pages < 0:
            msg = "it has very many pages for its size; write it anew, with larger ones"
            raise InputError(msg)


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
        If a page, a list or a row would unpack to very much more than the file has, or there are
        very many pages.
    ValueError
        If the headers of pages, or the footer, are damaged.
    """
    columns = [parquet.schema.column(number) for number in range(len(parquet.schema))]
    nulls = _nulls_of(parquet.schema_arrow, len(columns))
    found, most = groups_of(file), CHUNK_IMAGES
    if max(groups, default=-1) >= len(found):
        msg = "its footer is damaged"
        raise ValueError(msg)
    effort = _Effort(_FREE_PAGES + file.seek(0, os.SEEK_END) // _BYTES_OF_A_PAGE)
    for group in (found[number] for number in groups):
        widest, size, pages, packed = 1, 0, 0, 0
        for column, chunk, least in zip(columns, group.chunks, nulls, strict=True):
            if wanted is None or _is_among(column.path, wanted):
                width, own, page = _measured(file, column, chunk, effort, least)
                widest, size, pages = widest + width, size + own, pages + page
                packed += chunk.size
        _check_together(widest, pages, packed)
        each = max(1, size // max(1, group.rows))
        most = min(most, CHUNK_BYTES // each, _MOST_IN_ROWS // widest)
    return max(1, most)


def _check_together(row: int, pages: int, packed: int) -> None:
    """Refuse columns of which each is small enough, but not all of them together."""
    if row > max(MOST_UNPACKED, _MOST_EXPANSION * packed):
        msg = f"a row may have {row} bytes in all its columns, in {packed} bytes"
        raise InputError(msg)
    if pages > max(MOST_OPEN, _MOST_EXPANSION * packed):
        msg = f"its columns have pages of {pages} bytes, in {packed} bytes"
        raise InputError(msg)


def _is_among(path: str, wanted: Sequence[str]) -> bool:
    return any(path == name or path.startswith(name + ".") for name in wanted)


@dataclass(frozen=True)
class _Nulls:
    """The bytes that a null takes: a row, and an item of the lists in it, of any length.

    Arrow has room for all items of a list of fixed length, whether it is there or not.
    """

    row: int
    item: int = 0


def _nulls_of(schema: Any, count: int) -> list[_Nulls]:
    """Return the bytes that nulls of each column take; columns are leaves of types."""
    found = [nulls for field in schema for nulls in _leaves(field.type)]
    if len(found) == count:
        return found
    return [_Nulls(sum(each.row for each in found), max(each.item for each in found))] * count


def _leaves(kind: Any) -> Iterator[_Nulls]:
    import pyarrow

    types = pyarrow.types
    if isinstance(kind, pyarrow.BaseExtensionType):
        yield from _leaves(kind.storage_type)
    elif types.is_fixed_size_list(kind):
        for each in _leaves(kind.value_type):
            yield _Nulls(kind.list_size * each.row, each.item)
    elif types.is_struct(kind):
        for field in kind:
            yield from _leaves(field.type)
    elif types.is_map(kind) or (hasattr(kind, "value_type") and not types.is_dictionary(kind)):
        within = (kind.key_type, kind.item_type) if types.is_map(kind) else (kind.value_type,)
        for each in (each for inner in within for each in _leaves(inner)):
            yield _Nulls(_BYTES_OF_A_VALUE, max(each.row, each.item))
    else:
        yield _Nulls(kind.byte_width if types.is_fixed_size_binary(kind) else _BYTES_OF_A_VALUE)


def _measured(
    file: BinaryIO, column: Any, chunk: Chunk, effort: _Effort, nulls: _Nulls
) -> tuple[int, int, int]:
    """Return the most bytes that one short value means, those of all pages, and of the largest."""
    is_text = column.physical_type == "BYTE_ARRAY"
    width, values, size, largest = max(0, column.length), 0, 0, 0
    for page in pages_of(file, chunk):
        effort.take_page()
        size, largest = size + page.unpacked, max(largest, page.unpacked)
        if page.unpacked > max(MOST_UNPACKED, _MOST_EXPANSION * page.packed):
            msg = f"column {column.path} has {page.packed} bytes that unpack to {page.unpacked}"
            raise InputError(msg)
        if page.kind == _DICTIONARY:
            width = max(width, _longest(file, page, chunk.codec, effort) if is_text else 0)
            continue
        values += page.values
        if page.encoding == _DELTA_BYTE_ARRAY:
            width = max(width, page.unpacked)
    most = max(MOST_REPEATED, _MOST_EXPANSION * size)
    if column.max_repetition_level and values * max(width, nulls.item, 8) > most:
        msg = f"column {column.path} has {values} values in lists, in {size} bytes"
        raise InputError(msg)
    if nulls.row > max(MOST_UNPACKED, _MOST_EXPANSION * size):
        msg = f"column {column.path} has lists of {nulls.row} bytes, in {size} bytes"
        raise InputError(msg)
    return max(width, nulls.row), size, largest


def _longest(file: BinaryIO, page: Page, codec: int, effort: _Effort) -> int:
    """Return the length of the longest value of a dictionary; at most that of the dictionary."""
    import pyarrow

    if page.values > effort.listed or codec not in _CODECS:
        return page.unpacked
    effort.listed -= page.values
    file.seek(page.start)
    data = file.read(page.packed)
    if _CODECS[codec]:
        try:
            data = pyarrow.Codec(_CODECS[codec]).decompress(data, page.unpacked, asbytes=True)
        except (pyarrow.ArrowException, OSError, ValueError):  # whoever reads it says so
            return page.unpacked
    longest = at = 0
    with contextlib.suppress(struct.error):
        for _ in range(page.values):
            (length,) = struct.unpack_from("<I", data, at)
            longest = max(longest, length)
            at += 4 + length
    return min(longest, page.unpacked)


def pages_of(file: BinaryIO, chunk: Chunk) -> Iterator[Page]:
    """Yield the pages of a column of a row group, as Arrow goes through them."""
    start, left, end = chunk.start, chunk.values, file.seek(0, os.SEEK_END)
    while left > 0 and start < chunk.start + chunk.size:
        page = _page(file, start)
        if page.packed > end - page.start:
            msg = f"the page at {start} goes on behind the end"
            raise ValueError(msg)
        yield page
        start = page.start + page.packed
        left -= page.values if page.kind in (_DATA, _DATA_2) else 0


def _page(file: BinaryIO, start: int) -> Page:
    """Read the header of a page."""
    for window in _WINDOWS:
        file.seek(start)
        data = file.read(window)
        try:
            header, length = _struct(data, 0)
        except (IndexError, RecursionError):  # it goes on
            continue
        kind, unpacked, packed = (header.get((number, _I32), -1) for number in (1, 2, 3))
        place, encoding = {_DICTIONARY: (7, 2), _DATA_2: (8, 4)}.get(kind, (5, 2))
        told = header.get((place, _STRUCT), {})
        facts = (told.get((encoding, _I32), 0), told.get((1, _I32), 0))
        return Page(*_numbers(kind, *facts, start + length, packed, unpacked))
    msg = f"the header of a page at {start} is damaged"
    raise ValueError(msg)


def groups_of(file: BinaryIO) -> tuple[Group, ...]:
    """Return the row groups of a Parquet file.

    pyarrow tells them as well, but ends the process where the statistics of a column are damaged.
    """
    return _groups(footer_of(file))


def footer_of(file: BinaryIO) -> bytes:
    """Return what a file says of itself, at its end."""
    end = file.seek(-8, os.SEEK_END)
    length = int.from_bytes(file.read(4), "little")
    file.seek(max(0, end - length))
    return file.read(length)


@lru_cache(maxsize=2)
def metadata_in(footer: bytes) -> tuple[tuple[bytes, bytes], ...]:
    """Return the keys and values that a file has as metadata; a key may be there several times.

    Raises
    ------
    ValueError
        If the footer is damaged.
    """
    try:
        pairs = _struct(footer, 0)[0].get((5, _LIST), ())
        return tuple(
            (footer[pair[1, _BINARY]], footer[pair.get((2, _BINARY), slice(0))]) for pair in pairs
        )
    except (AttributeError, LookupError, RecursionError, TypeError) as error:
        msg = "its footer is damaged"
        raise ValueError(msg) from error


def schemas_in(footer: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield what Arrow told of its types in a footer: as it stands there, and decoded.

    Raises
    ------
    ValueError
        If it is damaged.
    """
    for key, value in metadata_in(footer):
        if key == _SCHEMA:
            try:
                yield value, base64.b64decode(value, validate=True)
            except binascii.Error as error:
                msg = "its schema is damaged"
                raise ValueError(msg) from error


@lru_cache(maxsize=2)
def _groups(footer: bytes) -> tuple[Group, ...]:
    try:
        groups = tuple(
            Group(_numbers(group.get((3, _I64)))[0], tuple(map(_chunk, group[1, _LIST])))
            for group in _struct(footer, 0)[0].get((4, _LIST), ())
        )
    except (AttributeError, LookupError, RecursionError, TypeError) as error:
        msg = "its footer is damaged"
        raise ValueError(msg) from error
    _check_places(groups)
    return groups


def _check_places(groups: tuple[Group, ...]) -> None:
    """Refuse columns that lie in each other: a short file could be any number of row groups.

    Those without values are not read, and lie anywhere.
    """
    chunks = [chunk for group in groups for chunk in group.chunks if chunk.values]
    places = sorted((chunk.start, chunk.size) for chunk in chunks)
    for (start, size), (following, _) in itertools.pairwise(places):
        if start + size > following:
            msg = f"its footer is damaged: the column at {start} goes on behind {following}"
            raise ValueError(msg)


def _chunk(column: dict[Any, Any]) -> Chunk:
    facts = column[3, _STRUCT]
    codec = facts.get((4, _I32))
    values, size, start = (facts.get((number, _I64)) for number in (5, 7, 9))
    dictionary = facts.get((11, _I64), 0)
    return Chunk(*_numbers(dictionary if 0 < dictionary < start else start, size, values, codec))


def _numbers(*given: object) -> list[int]:
    """Return numbers as they are; refuse what is none, or of no use as a size or place."""
    good = [number for number in given if isinstance(number, int) and 0 <= number < 1 << 62]
    if len(good) < len(given):
        msg = "a number is missing or out of range"
        raise ValueError(msg)
    return good


# Thrift's compact protocol, in which footers and headers of pages are. Fields are found by number
# and type, as they are there: what has another type than is expected counts as missing.

_TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _SET, _, _STRUCT = range(1, 13)


def _struct(data: bytes, at: int) -> tuple[dict[tuple[int, int], Any], int]:
    """Read a struct at a place; return its fields and where it ends."""
    fields, number, seen = dict[tuple[int, int], Any](), 0, set[int]()
    while (head := data[at]) != 0:
        number, at = (number + (head >> 4), at + 1) if head >> 4 else _number(data, at + 1)
        kind = head & 15
        if number in seen or not 0 < number < 1 << 15:
            msg = "a struct has a field twice, or one that there cannot be"
            raise ValueError(msg)
        seen.add(number)
        value, at = (kind == _TRUE, at) if kind in (_TRUE, _FALSE) else _value(data, at, kind)
        fields[number, kind] = value
    return fields, at + 1


def _value(data: bytes, at: int, kind: int) -> tuple[Any, int]:
    if kind in (_TRUE, _FALSE, _BYTE):  # the former of a list
        return data[at], at + 1
    if kind in (_I16, _I32, _I64):
        return _number(data, at)
    if kind == _DOUBLE:
        return data[at + 7], at + 8
    if kind == _BINARY:
        length, at = _varint(data, at)
        return slice(at, at + length), at + length
    if kind in (_LIST, _SET):
        return _list(data, at)
    if kind == _STRUCT:
        return _struct(data, at)
    msg = "a struct has a field of another kind"
    raise ValueError(msg)


def _list(data: bytes, at: int) -> tuple[list[Any], int]:
    count, kind = data[at] >> 4, data[at] & 15
    count, at = _varint(data, at + 1) if count == 15 else (count, at + 1)
    values = []
    for _ in range(count):
        value, at = _value(data, at, kind)
        values.append(value)
    return values, at


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
            msg = "a number has more than 64 bits"
            raise ValueError(msg)
