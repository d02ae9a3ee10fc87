"""Files that are carried in parts: samples, coded as those of images are, and all else.

::

    size of file (4) | height (2) | width (2) | channels (1) | length (4) | stream | layout | zeros

Little-endian. Zeros bring it to an eighth of the samples, and of the file: whoever reads it knows
how much memory it can take.
"""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING

import numpy as np

from dsguard.kernels import kernels

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dsguard.formats.parted import Parted
    from dsguard.kernels.contract import Shape

_HEAD = struct.Struct("<IHHBI")
MOST_EXPANSION = 8
"""Bytes of a file, and samples, for each byte of its parts at most."""

MOST_FILE_BYTES = 1 << 30
"""Of samples as well."""

_AT_ONCE = 1 << 24
"""Samples that are decoded in one call; a larger image is decoded alone."""


def in_parts(data: bytes) -> bytes | None:
    """Return a file in parts, None where that is not shorter than the file."""
    from dsguard.formats.parted import parted  # whoever carries no files needs no Pillow

    parts = parted(data, min(MOST_FILE_BYTES, MOST_EXPANSION * len(data)))
    if parts is None:
        return None
    packed = _packed(parts, len(data))
    return packed if packed and len(packed) < len(data) else None


def _packed(parts: Parted, size: int) -> bytes | None:
    """Return parts as they are carried; None for noise, which no stream makes shorter."""
    streams, lengths = kernels().compress(parts.samples[None])
    stream = streams[0, : int(lengths[0])].tobytes()
    if len(stream) >= parts.samples.size:
        return None
    head = _HEAD.pack(size, *parts.samples.shape, len(stream))
    least = -(-max(size, parts.samples.size) // MOST_EXPANSION)
    return b"".join((head, stream, parts.layout)).ljust(least, b"\0")


def from_parts(packed: Mapping[int, bytes]) -> dict[int, bytes | None]:
    """Return files by their number; None for one whose parts no dsguard has written."""
    found: dict[int, bytes | None] = dict.fromkeys(packed)
    alike: dict[Shape, list[tuple[int, bytes, bytes, int]]] = {}
    for number, data in packed.items():
        if len(data) < _HEAD.size:
            continue
        size, height, width, channels, length = _HEAD.unpack(data[: _HEAD.size])
        shape = height, width, channels
        rest = data[_HEAD.size :]
        samples = math.prod(shape)
        likely = max(size, samples) <= min(MOST_EXPANSION * len(data), MOST_FILE_BYTES)
        if likely and 0 < length < samples and length <= len(rest) and channels in (1, 3, 4):
            each = number, rest[:length], rest[length:], size
            alike.setdefault(shape, []).append(each)
    for same, members in alike.items():
        step = max(1, _AT_ONCE // math.prod(same))
        for start in range(0, len(members), step):
            found |= _joined(members[start : start + step], same)
    return found


def _joined(members: list[tuple[int, bytes, bytes, int]], shape: Shape) -> dict[int, bytes | None]:
    from dsguard.formats.parted import joined

    lengths = np.array([len(stream) for _, stream, _, _ in members], np.uint32)
    longest = int(lengths.max())
    streams = b"".join(stream.ljust(longest, b"\0") for _, stream, _, _ in members)
    data = np.frombuffer(streams, np.uint8).reshape(len(members), longest)
    images, malformed = kernels().expand(data, lengths, shape)
    return {
        number: None if bad else joined(image, layout, size)
        for (number, _, layout, size), image, bad in zip(members, images, malformed, strict=True)
    }
