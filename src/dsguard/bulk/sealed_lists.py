"""Lists of the files of a dataset, sealed with what lies beside the images."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Iterator, Mapping

from dsguard.formats.limits import most_unpacked

DATES, NAMES, PUBLISHED = ".dates", ".names", ".published"
"""What they are called among sealed files; hidden, so that none of a dataset is called so."""

_MOST_BYTES = 1 << 28


def is_list(name: str) -> bool:
    """Tell whether a sealed file is a list of others."""
    return name.rpartition("/")[2] in (DATES, NAMES, PUBLISHED)


def without_lists(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return sealed files without the lists of others."""
    return {name: data for name, data in files.items() if not is_list(name)}


def packed(lines: Iterable[str]) -> bytes:
    """Return lines, packed; empty where there are none."""
    text = "".join(f"{line}\n" for line in lines)
    return zlib.compress(text.encode("utf-8", "surrogateescape")) if text else b""


def unpacked(data: bytes, line: re.Pattern[bytes]) -> Iterator[tuple[str, str]] | None:
    """Yield the two parts of each line that fits a pattern; None where it is damaged.

    One by one: a list of millions of lines would take much memory.
    """
    unpacker = zlib.decompressobj()
    try:
        text = unpacker.decompress(data, most_unpacked(len(data), _MOST_BYTES))
    except zlib.error:
        return None
    if not unpacker.eof:
        return None
    parts = (found.groups() for found in line.finditer(text))
    return (
        (first.decode("utf-8", "surrogateescape"), second.decode("utf-8", "surrogateescape"))
        for first, second in parts
    )
