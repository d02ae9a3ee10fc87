"""What files begin with, as readers see it that unpack them on their way: joblib, pandas."""

from __future__ import annotations

import bz2
import io
import lzma
import re
import tarfile
import zlib
from collections.abc import Callable
from functools import partial
from typing import Any, BinaryIO

SEEN = 1 << 14
"""Bytes that tell the kind of nearly any file."""
MOST_SEEN = 1 << 20
"""Bytes that are looked at where those do not tell; also of a packed file that unpacks to nothing,
which is more than a block of bzip2."""

_PIECE = 512
_WINDOW = 1 << 27
"""Memory that a file of LZMA may want; ``xz -9`` takes half of it."""
_READERS: tuple[tuple[tuple[bytes, ...], Callable[[], Any]], ...] = (
    ((b"\x1f\x8b",), partial(zlib.decompressobj, zlib.MAX_WBITS | 16)),
    ((b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda"), zlib.decompressobj),
    ((b"BZh",), bz2.BZ2Decompressor),
    ((b"\xfd7zXZ", b"\x5d\0"), partial(lzma.LZMADecompressor, memlimit=_WINDOW)),
)
"""How packed files begin, and what unpacks them."""
_LZMA = _READERS[-1][1]
_OF_LZMA = re.compile(r"(?i)\.(xz|lzma|pxz|plzma|txz|tlz|tgz|tbz2?)$|\.tar\b")
"""Names of what readers unpack whatever it is packed with, of LZMA too."""


def start_of(file: BinaryIO, most: int = SEEN, name: str = "") -> bytes | None:
    r"""Return what a file begins with, unpacked where it is packed.

    Readers see what comes before damage, and go on with the next stream where one ends.

    Parameters
    ----------
    file : binary file
        At any place.
    most : int
    name : str
        Of the file: one of LZMA begins with any byte, and readers go by this.

    Returns
    -------
    bytes or None
        None where nothing is seen after `MOST_SEEN` packed bytes, or for more memory than
        there should be: readers may have the patience, and the memory.

    >>> start_of(io.BytesIO(zlib.compress(b"cat"))), start_of(io.BytesIO(b"cat"))
    (b'cat', b'cat')
    """
    file.seek(0)
    mark = file.read(_PIECE)
    make = next((make for start, make in _READERS if mark.startswith(start)), None)
    if make is None and _OF_LZMA.search(name):
        file.seek(0)
        found = _unpacked(file, _LZMA, most)
        if found != b"":
            return found
        file.seek(len(mark))
    if make is None:
        return mark + file.read(max(most - len(mark), 0)) if len(mark) == _PIECE else mark
    file.seek(0)
    return _unpacked(file, make, most)


def is_packed(file: BinaryIO, name: str) -> bool:
    """Tell whether `start_of` unpacks a file."""
    file.seek(0)
    mark = file.read(_PIECE)
    return any(mark.startswith(start) for start, _ in _READERS) or bool(_OF_LZMA.search(name))


def _unpacked(file: BinaryIO, make: Callable[[], Any], most: int) -> bytes | None:
    reader, found, given, left = make(), b"", 0, b""
    try:
        while len(found) < most:
            piece = left or file.read(_PIECE)
            if not piece:
                break
            if reader.eof:
                reader, piece = make(), piece.lstrip(b"\0")  # what fills blocks of a tape
            found += reader.decompress(piece, most)
            given += 0 if left else len(piece)
            left = reader.unused_data
            if not found and given > MOST_SEEN:
                return None
    except lzma.LZMAError as error:
        return found or (None if "emory" in str(error) else b"")
    except (zlib.error, OSError):
        pass
    return found


def first_member(start: bytes) -> bytes | None:
    """Return what the first member of a tar archive begins with; what is none, as it is.

    None stands for an archive whose first member begins later.
    """
    try:
        tarfile.TarInfo.frombuf(start[: tarfile.BLOCKSIZE], "utf-8", "surrogateescape")
    except tarfile.TarError:
        return start
    try:
        with tarfile.open(fileobj=io.BytesIO(start), mode="r:") as archive:
            first = archive.next()
    except tarfile.TarError:
        return None
    return b"" if first is None else start[first.offset_data :]
