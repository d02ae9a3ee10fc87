"""Limits of unpacking: a short file can hold any length of zeros.

Text becomes objects, of which an empty list of two bytes takes 64.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from dsguard.errors import InputError

MOST_CONTAINERS = 8_000_000
"""Lists and objects of a JSON file; those of COCO 2017 have 4 million."""
MOST_LINES = 4_000_000
"""Lines of a CSV file, or of one of JSON values."""

MOST_BYTES = 1 << 28
"""Image files of an archive are smaller than this: a short archive can unpack to any length."""

MOST_LOOSE = 1 << 30
"""Bytes of a loose file that is read whole; the annotations of COCO 2017 have 448 million."""

_ALWAYS = 1 << 26
_RATIO = 100
_FREE_BLOCKS = 1 << 20
_BYTES_OF_BLOCK = 128  # encoders write blocks of 255 bytes (GIF) or of kilobytes


def most_unpacked(packed: int, most: int) -> int:
    """Return the bytes that `packed` ones may unpack to: a hundred times as many, but 64 MiB.

    Parameters
    ----------
    packed : int
    most : int
        Not more than these, however many are packed.
    """
    return min(most, max(_ALWAYS, _RATIO * packed))


def too_much(most: int) -> str:
    """Return what is said of something that unpacks to more than `most` bytes."""
    return f"unpacks to more than {most} bytes, too much for its size; unpack it yourself"


_FREE_IMAGE = 1 << 25


def check_unpacked(size: int, packed: int) -> None:
    """Refuse an image file of an archive that unpacks to far more than it was packed in.

    It goes through memory several times; 32 MiB are free, and 100 times as much as there was.

    Raises
    ------
    InputError
    """
    if size > max(_FREE_IMAGE, _RATIO * packed):
        msg = f"unpacks from {packed} bytes to {size}, too much for its size; {_UNPACK_IT}"
        raise InputError(msg)


_UNPACK_IT = "unpack the archive and protect the folder, or save the image in a packed format"


MOST_COLUMNS = 10_000
"""Of a table: each takes some 20 kB, whatever is in it."""
_FREE_ROWS = 10_000
_BYTES_OF_ROW = 8


def check_rows(rows: int, size: int, file: str, what: str = "rows") -> None:
    """Refuse a file that claims more images than its bytes can hold; 10,000 are free.

    Each takes memory and time beside its pixels, and a file of its own where it is published.

    Raises
    ------
    InputError
    """
    if rows > _FREE_ROWS and rows * _BYTES_OF_ROW > size:
        msg = (
            f"{file} claims {rows} {what} in {size} bytes; images are longer: take blank ones out, "
            "or save it with less compression"
        )
        raise InputError(msg)


def most_blocks(size: int) -> int:
    """Return how many blocks an image file of `size` bytes may be cut into: a million are free."""
    return _FREE_BLOCKS + size // _BYTES_OF_BLOCK


def id_key(given: Any) -> Any:
    """Return what an id from JSON is found by in a dictionary: a very large number by its digits.

    Multiples of 2^61 - 1 have one hash, with which a dictionary takes the time of a list.
    """
    return str(given) if isinstance(given, int) and abs(given) > _LARGEST_ID else given


_LARGEST_ID = 1 << 53


class Shared:
    """The bound of what belongs to several images, and goes along with each of them.

    Parameters
    ----------
    size : int
        Bytes of the file that has it once.
    """

    def __init__(self, size: int) -> None:
        self._left = most_unpacked(size, MOST_LOOSE)

    def take(self, fields: Mapping[str, bytes]) -> None:
        """Let fields go along with one more image.

        Raises
        ------
        InputError
            If that is too much, with those before.
        """
        if self._left >= 0:  # the sizes of many fields are not added up again for each image
            self._left -= sum(_EACH_FIELD + len(data) for data in fields.values())
        if self._left < 0:
            msg = (
                "the text of several images goes along with each, which is too much for its size; "
                "give each image text of its own, or shorten what they share"
            )
            raise InputError(msg)


_EACH_FIELD = 1 << 10
"""Bytes that a field takes beside its content, in memory or as a file."""


def load_json(data: bytes | str) -> Any:
    """Return JSON of bounded size; errors are those of `check_json` and of `json.loads`."""
    check_json(data)
    return json.loads(data)


def check_json(data: bytes | str) -> None:
    """Refuse JSON of too many lists and objects, before it is parsed.

    Raises
    ------
    InputError
        If it has more than `MOST_CONTAINERS`; brackets in strings count as well.
    """
    if isinstance(data, str):
        count = data.count("[") + data.count("{")
    else:
        count = data.count(b"[") + data.count(b"{")
    _check_count("JSON", count, MOST_CONTAINERS, "lists and objects")


def json_lines(data: bytes | str) -> Iterator[Any]:
    """Return the lines of a file of JSON values, one a line, with their ends.

    They come one by one: a list of them could take fifty times the memory of the file.

    Raises
    ------
    InputError
        If the file has more than `MOST_LINES`, or `MOST_CONTAINERS`.
    """
    check_json(data)
    _check_lines("JSON", data)
    found = _LINE.finditer(data) if isinstance(data, str) else _LINE_OF_BYTES.finditer(data)
    return (match[0] for match in found)


_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")
_LINE_OF_BYTES = re.compile(_LINE.pattern.encode())


def check_csv(text: str) -> None:
    """Refuse a CSV table of too many lines, before it is parsed.

    Raises
    ------
    InputError
        If it has more than `MOST_LINES`.
    """
    _check_lines("CSV", text)


def _check_lines(kind: str, data: bytes | str) -> None:
    if isinstance(data, str):
        count = max(data.count("\n"), data.count("\r"))
    else:
        count = max(data.count(b"\n"), data.count(b"\r"))
    _check_count(kind, count, MOST_LINES, "lines")


def _check_count(kind: str, count: int, most: int, what: str) -> None:
    if count > most:
        msg = f"its {kind} has {count} {what}, {most} are the most; split it"
        raise InputError(msg)


def check_size(size: int, most: int | None = None) -> None:
    """Refuse to read a file that would fill the memory; `most` is `MOST_BYTES` as a rule."""
    most = most or MOST_BYTES
    if size >= most:
        msg = f"its file has {size} bytes, more than the {most} that are read into memory"
        raise InputError(msg)
