"""The tags of TIFF files, read before any decoder sees them.

A TIFF of a thousand bytes can ask a decoder for gigabytes: by tiles, or by strips, that are larger
than the image. Those that dsguard writes have strips, and 8-bit samples compressed without loss.
"""

from __future__ import annotations

import struct

SIGNATURES = (b"II*\0", b"MM\0*")

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _SAMPLES, _ROWS = 256, 257, 258, 259, 277, 278
_SINGLE = (_WIDTH, _HEIGHT, _COMPRESSION, _SAMPLES, _ROWS)
_LAST_TYPE = 13  # those after it have 64 bits
_TILES = range(322, 326)
_LOSSLESS = (1, 5, 8, 32773, 32946)
"""No compression, LZW, deflate, PackBits, and deflate by its older number."""

_WHOLE = 2**32 - 1
"""Rows of the one strip of an image whose writer did not count them."""


class OddTiffError(Exception):
    """No TIFF that can hold a protected image; the message says why."""


def pixels_of(data: bytes) -> int:
    """Return how many pixels a TIFF file has.

    Raises
    ------
    OddTiffError
        If decoding it could take more memory than its pixels do, or it cannot be protected.
    """
    tags = _tags(data)
    if any(tag in tags for tag in _TILES):
        msg = "it is a TIFF with tiles; store it with strips, or as PNG"
        raise OddTiffError(msg)
    width, height = tags.get(_WIDTH, 0), tags.get(_HEIGHT, 0)
    if not width or not height:
        msg = "it is a TIFF without a size; its beginning is damaged"
        raise OddTiffError(msg)
    rows = tags.get(_ROWS, _WHOLE)
    if rows > height and rows != _WHOLE:
        msg = f"it is a TIFF with strips of {rows} rows, and has {height}; store it anew"
        raise OddTiffError(msg)
    if tags.get(_COMPRESSION, 1) not in _LOSSLESS:
        msg = "it is a TIFF with a compression that protected images do not have; use deflate"
        raise OddTiffError(msg)
    if tags.get(_SAMPLES, 1) not in (1, 3, 4) or tags.get(_BITS, 1) != 8:
        msg = "it is a TIFF with other samples than 8-bit gray, RGB or RGBA, as protected ones have"
        raise OddTiffError(msg)
    return width * height


def _tags(data: bytes) -> dict[int, int]:
    """Return the first value of each tag that has numbers, of the first image."""
    order = "<" if data.startswith(b"II") else ">"
    try:
        (start,) = struct.unpack_from(f"{order}I", data, 4)
        (count,) = struct.unpack_from(f"{order}H", data, start)
        rows = [struct.unpack_from(f"{order}HHI4s", data, start + 2 + 12 * n) for n in range(count)]
        numbers = [row[0] for row in rows]
        if numbers != sorted(set(numbers)):  # decoders differ on which of two they take
            msg = "it is a TIFF whose tags are twice or out of order; store it anew"
            raise OddTiffError(msg)
        odd = [row[0] for row in rows if row[0] in _SINGLE and row[1:3] not in ((3, 1), (4, 1))]
        if odd or any(row[1] > _LAST_TYPE for row in rows):
            msg = "it is a TIFF with numbers of another kind than 16 or 32 bits; store it anew"
            raise OddTiffError(msg)
        return {row[0]: _first(data, order, *row[1:]) for row in rows if row[1] in (3, 4)}
    except struct.error:
        msg = "it is a TIFF that is damaged or cut off"
        raise OddTiffError(msg) from None


def _first(data: bytes, order: str, kind: int, count: int, field: bytes) -> int:
    size = 2 if kind == 3 else 4
    (place,) = struct.unpack(f"{order}I", field)
    raw = field if count * size <= 4 else data[place : place + size]
    return int(struct.unpack_from(f"{order}{'H' if kind == 3 else 'I'}", raw)[0])
