"""What is sealed in an image: its kind, its length, and the bytes themselves.

::

    kind (1) | length (4, little-endian) | bytes | zeros

Zeros fill what is left of the room, so the length shows only to whoever can open it.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np

from dsguard.errors import FormatError, TamperedError
from dsguard.kernels import kernels

if TYPE_CHECKING:
    from dsguard.errors import DsguardError
    from dsguard.kernels.contract import Images, Shape

_HEAD = struct.Struct("<BI")

HEAD_BYTES = _HEAD.size


class Kind(IntEnum):
    """The kinds of contents."""

    CODED = 0
    """Samples, coded without loss."""

    RAW = 1
    """Samples as they are: those of noise do not become shorter."""

    FILE = 2
    """A file: the length of its name (2 bytes), its name in UTF-8, its bytes."""


def contents_of(images: Images) -> list[bytes]:
    """Return what is sealed in each image, without the zeros."""
    data, lengths = kernels().compress(images)
    contents = []
    for image, stream, length in zip(images, data, lengths.tolist(), strict=True):
        if length < image.size:
            contents.append(_HEAD.pack(Kind.CODED, length) + stream[:length].tobytes())
        else:
            contents.append(_HEAD.pack(Kind.RAW, image.size) + image.tobytes())
    return contents


def lengths_in(images: Images) -> list[int]:
    """Return how many bytes the content of each image takes."""
    _, lengths = kernels().compress(images)
    return [HEAD_BYTES + min(length, images[0].size) for length in lengths.tolist()]


def stated_size(head: bytes) -> int:
    """Return how many bytes a content has that begins so, its zeros left out."""
    _, length = _HEAD.unpack(head)
    return HEAD_BYTES + int(length)


def restore_contents(
    contents: dict[int, bytes], out: Images, shape: Shape
) -> dict[int, DsguardError]:
    """Write images into their places; return by index why one could not be.

    Parameters
    ----------
    contents : dict of int to bytes
        By the index of their image, zeros included.
    out : Images
    shape : tuple of int
    """
    failures: dict[int, DsguardError] = {}
    streams: dict[int, bytes] = {}
    for index, content in contents.items():
        if len(content) < HEAD_BYTES:
            failures[index] = TamperedError(_MALFORMED)
            continue
        kind, length = _HEAD.unpack(content[:HEAD_BYTES])
        data = content[HEAD_BYTES : HEAD_BYTES + length]
        if kind > Kind.RAW:
            what = "a file" if kind == Kind.FILE else f"an unknown kind of content ({kind})"
            failures[index] = FormatError(f"carries {what}; update dsguard to restore it")
        elif kind == Kind.CODED and len(data) == length:
            streams[index] = data
        elif kind == Kind.RAW and len(data) == length == out[index].size:
            out[index] = np.frombuffer(data, np.uint8).reshape(shape)
        else:
            failures[index] = TamperedError(_MALFORMED)
    if streams:
        failures |= _expand(streams, out, shape)
    return failures


_MALFORMED = "holds a content that no dsguard has written; whoever made it had its key"


def _expand(streams: dict[int, bytes], out: Images, shape: Shape) -> dict[int, DsguardError]:
    lengths = np.array([len(stream) for stream in streams.values()], np.uint32)
    longest = int(lengths.max())
    joined = b"".join(stream.ljust(longest, b"\0") for stream in streams.values())
    data = np.frombuffer(joined, np.uint8).reshape(len(streams), longest)
    images, malformed = kernels().expand(data, lengths, shape)
    places = np.array(list(streams))
    out[places] = images
    return {int(i): TamperedError(_MALFORMED) for i in places[malformed]}
