"""Image files that hold their samples as they are: BMP, TIFF, PPM and PGM.

A layout is the place of the first sample and the bytes from row to row, 4 bytes each,
little-endian, and then all bytes of the file that are no samples.
"""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from dsguard.kernels.contract import Images

_LAYOUT = struct.Struct("<II")
_BMP = struct.Struct("<10xII ii xx HI")  # from the second byte on, less the signature
_PNM = re.compile(rb"P([56])\s+(\d{1,5})\s+(\d{1,5})\s+255\s")
_MOST_ENTRIES = 1000
_WIDTH, _LENGTH, _BITS, _COMPRESSION, _OFFSETS, _SAMPLES, _COUNTS, _PLANAR = (
    256, 257, 258, 259, 273, 277, 279, 284,
)  # fmt: skip


class _Place(NamedTuple):
    """Where samples lie: in rows of `width` · `channels` bytes, `pitch` from start to start."""

    start: int
    pitch: int
    height: int
    width: int
    channels: int

    @property
    def row(self) -> int:
        return self.width * self.channels

    @property
    def end(self) -> int:
        """Where the last row ends."""
        return self.start + (self.height - 1) * self.pitch + self.row


def split(data: bytes, most: int) -> tuple[Images, bytes] | None:
    """Return samples, `most` of them, and layout of a file; None where it has none such."""
    place = _of_bmp(data) or _of_tiff(data) or _of_pnm(data)
    if place is None or not _is_inside(place, len(data), most):
        return None
    file = np.frombuffer(data, np.uint8)
    rows = np.ascontiguousarray(_rows(file, place))
    samples = rows.reshape(place.height, place.width, place.channels)
    others = (data[: place.start], _gaps(file, place).tobytes(), data[place.end :])
    return samples, b"".join((_LAYOUT.pack(place.start, place.pitch), *others))


def join(samples: Images, layout: bytes, size: int) -> bytes | None:
    """Return the file of `size` bytes that has these samples; None where it has no room."""
    if len(layout) < _LAYOUT.size:
        return None
    place = _Place(*_LAYOUT.unpack(layout[: _LAYOUT.size]), *samples.shape)
    rest = np.frombuffer(layout, np.uint8, offset=_LAYOUT.size)
    if not _is_inside(place, size, samples.size) or len(rest) < size - samples.size:
        return None
    out = np.empty(size, np.uint8)
    gaps, after = _gaps(out, place), size - place.end
    out[: place.start] = rest[: place.start]
    gaps[...] = rest[place.start :][: gaps.size].reshape(gaps.shape)
    out[place.end :] = rest[place.start + gaps.size :][:after]
    _rows(out, place)[...] = samples.reshape(len(samples), -1)
    return out.tobytes()


def _is_inside(place: _Place, size: int, most: int) -> bool:
    _, pitch, height, width, channels = place
    fits = place.end <= size and place.row <= pitch and height * place.row <= most
    return fits and channels in (1, 3, 4) and 0 < min(height, width) <= max(height, width) < 1 << 16


def _rows(data: np.ndarray[tuple[int], np.dtype[np.generic]], place: _Place) -> Images:
    """Return the rows of samples that lie in a file, (H, W · C); writing there writes the file."""
    shape = place.height, place.row
    return np.lib.stride_tricks.as_strided(data[place.start :], shape, (place.pitch, 1))


def _gaps(data: np.ndarray[tuple[int], np.dtype[np.generic]], place: _Place) -> Images:
    """Return what lies between the rows of samples, as `_rows` does."""
    shape = place.height - 1, place.pitch - place.row
    first = data[place.start + place.row :]
    return np.lib.stride_tricks.as_strided(first, shape, (place.pitch, 1))


def _of_bmp(data: bytes) -> _Place | None:
    if data[:2] != b"BM" or len(data) < 54:
        return None
    start, head, width, height, bits, packing = _BMP.unpack_from(data)
    if head < 40 or bits not in (8, 24, 32) or packing not in (0, 3):
        return None
    channels = bits // 8
    return _Place(start, (width * channels + 3) // 4 * 4, abs(height), width, channels)


def _of_pnm(data: bytes) -> _Place | None:
    found = _PNM.match(data)
    if found is None:
        return None
    width, height, channels = int(found[2]), int(found[3]), 1 if found[1] == b"5" else 3
    return _Place(found.end(), width * channels, height, width, channels)


def _of_tiff(data: bytes) -> _Place | None:
    """Return where the samples of the first picture lie, if its strips follow each other."""
    if data[:4] not in (b"II*\0", b"MM\0*"):
        return None
    try:
        tags = _tags(data, "<" if data[:1] == b"I" else ">")
    except struct.error:
        return None
    starts, counts = tags.get(_OFFSETS, ()), tags.get(_COUNTS, ())
    channels = tags.get(_SAMPLES, (1,))[0]
    plain = (
        tags.get(_COMPRESSION, (1,)) == (1,)
        and tags.get(_PLANAR, (1,)) == (1,)
        and set(tags.get(_BITS, ())) == {8}
        and len(starts) == len(counts) > 0
    )
    follow = all(a + n == b for a, n, b in zip(starts, counts, starts[1:], strict=False))
    if not plain or not follow or not tags.keys() >= {_WIDTH, _LENGTH}:
        return None
    width, height = tags[_WIDTH][0], tags[_LENGTH][0]
    return _Place(starts[0], width * channels, height, width, channels)


def _tags(data: bytes, order: str) -> dict[int, tuple[int, ...]]:
    """Return the whole numbers of the tags that tell where samples lie."""
    (place,) = struct.unpack_from(f"{order}I", data, 4)
    (count,) = struct.unpack_from(f"{order}H", data, place)
    tags: dict[int, tuple[int, ...]] = {}
    for n in range(min(count, _MOST_ENTRIES)):
        at = place + 2 + 12 * n
        tag, kind, number = struct.unpack_from(f"{order}HHI", data, at)
        size = {3: 2, 4: 4}.get(kind)
        if size is None or not 0 < number <= len(data) // size or not _WIDTH <= tag <= _PLANAR:
            continue
        if number * size > 4:
            (start,) = struct.unpack_from(f"{order}I", data, at + 8)
        else:
            start = at + 8
        tags[tag] = struct.unpack_from(f"{order}{number}{'H' if size == 2 else 'I'}", data, start)
    return tags
