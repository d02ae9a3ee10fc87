"""The wire format of client and service: image after image, each with its length.

A frame is ``length of name | length of status | length of data`` (two bytes, two bytes, four bytes,
little-endian), then name and status in UTF-8, then the image file. What is asked has an empty
status; what is answered has ``ok``, or why there is no image.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

CONTENT_TYPE = "application/x-dsguard-frames"
OK = "ok"

_HEAD = struct.Struct("<HHI")


class Frame(NamedTuple):
    """An image on its way."""

    name: str
    status: str
    data: bytes


class BadFrameError(Exception):
    """The bytes are no frames."""


def packed(name: str, status: str, data: bytes) -> bytes:
    """Return one frame."""
    title, state = name.encode("utf-8", "surrogateescape"), status.encode()[:65535]
    return b"".join((_HEAD.pack(len(title), len(state), len(data)), title, state, data))


def read(file: BinaryIO, most: int) -> Iterator[Frame]:
    """Yield the frames of a file.

    Raises
    ------
    BadFrameError
        If it ends within a frame, or one has more than `most` bytes of data.
    """
    while head := file.read(_HEAD.size):
        if len(head) < _HEAD.size:
            msg = "the request ends within a frame"
            raise BadFrameError(msg)
        title, state, size = _HEAD.unpack(head)
        if size > most:
            msg = f"an image file has {size} bytes; {most} are allowed"
            raise BadFrameError(msg)
        content = file.read(title + state + size)
        if len(content) < title + state + size:
            msg = "the request ends within a frame"
            raise BadFrameError(msg)
        yield Frame(
            content[:title].decode("utf-8", "surrogateescape"),
            content[title : title + state].decode("utf-8", "replace"),
            content[title + state :],
        )
