"""Dates of files: when each was modified last, sealed with what lies beside the images."""

from __future__ import annotations

import re
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from dsguard.errors import InputError
from dsguard.formats.limits import most_unpacked
from dsguard.formats.names import fault_of

if TYPE_CHECKING:
    from dsguard.formats.places import Place

DATES = ".dates"
"""Name among sealed files; hidden, so that none of a dataset has it."""

_MOST_BYTES = 1 << 28
_LINE = re.compile(rb"^(-?[0-9]{1,20}) ([^\n]+)$", re.MULTILINE)


def is_dates(name: str) -> bool:
    """Tell whether a sealed file is that with the dates of others."""
    return name.rpartition("/")[2] == DATES


def packed_dates(place: Place, names: Iterable[str]) -> bytes:
    """Return the dates of files, in nanoseconds, a line each; empty where a place tells none.

    A name that no file may have, as one with a line end, is not among them.
    """
    dates = ((place.modified(name), name) for name in sorted(set(names)) if not fault_of(name))
    lines = [f"{date} {name}\n" for date, name in dates if date is not None]
    return zlib.compress("".join(lines).encode("utf-8", "surrogateescape")) if lines else b""


def set_dates(place: Place, above: str, packed: bytes, own: Collection[str]) -> None:
    """Give files the dates that were packed.

    Parameters
    ----------
    place : Place
    above : str
        The folder that the names are relative to, with its slash.
    packed : bytes
    own : collection of str
        Files whose dates may change; others keep theirs.

    Raises
    ------
    InputError
        If they are damaged, or unpack to too much.
    """
    unpacker = zlib.decompressobj()
    try:
        data = unpacker.decompress(packed, most_unpacked(len(packed), _MOST_BYTES))
    except zlib.error:
        data = b""
    if not unpacker.eof:
        msg = "has dates that are damaged; all files are there, as of today"
        raise InputError(msg)
    for date, name in _lines(data):
        if above + name in own:
            place.set_modified(above + name, date)


def _lines(data: bytes) -> Iterator[tuple[int, str]]:
    """Yield dates and names one by one: a list of millions of lines would take much memory."""
    for line in _LINE.finditer(data):
        yield int(line[1]), line[2].decode("utf-8", "surrogateescape")


def without_dates(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return sealed files without the one with the dates of others."""
    return {name: data for name, data in files.items() if not is_dates(name)}
