"""The wire format of client and service: image after image, each with its length.

A frame is ``length of name | length of status | length of data`` (two bytes, two bytes, four bytes,
little-endian), then name and status in UTF-8, then the image file. What is asked has an empty
status; what is answered has ``ok``, or why there is no image.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

CONTENT_TYPE = "application/x-dsguard-frames"
OK = "ok"
REFUSED = "Refused: "
"""What the status of a last frame without a name begins with, where no more images may follow."""

_HEAD = struct.Struct("<HHI")


class Frame(NamedTuple):
    """An image on its way."""

    name: str
    status: str
    data: bytes


class BadFrameError(Exception):
    """The bytes are no frames."""


def packed(name: str, status: str, data: bytes) -> bytes:
    """Return one frame; raises as `head` does."""
    return head(name, status, len(data)) + data


def head(name: str, status: str, size: int) -> bytes:
    """Return what goes before the data of a frame.

    Raises
    ------
    BadFrameError
        If the name has no place in it.
    """
    try:
        title, state = name.encode("utf-8", "surrogateescape"), status.encode()[:65535]
    except UnicodeEncodeError:
        msg = f"this name cannot be sent: {name!r}"
        raise BadFrameError(msg) from None
    if len(title) > 65535:
        msg = f"a name of {len(title)} bytes cannot be sent: {name[:40]!r}…"
        raise BadFrameError(msg)
    return b"".join((_HEAD.pack(len(title), len(state), size), title, state))


def too_large(size: int, most: int) -> str:
    """Return the status of an image that is larger than allowed."""
    return f"its file has {size} bytes; {most} are allowed"


def read(file: BinaryIO, most: int) -> Iterator[Frame]:
    """Yield the frames of a file; one of more than `most` bytes has that status, and no data.

    Raises
    ------
    BadFrameError
        If it ends within a frame.
    """
    position = file.tell()
    end = file.seek(0, io.SEEK_END)
    file.seek(position)
    while head := file.read(_HEAD.size):
        if len(head) < _HEAD.size:
            raise _ends()
        title, state, size = _HEAD.unpack(head)
        position += _HEAD.size + title + state + size
        if position > end:
            raise _ends()
        content = file.read(title + state + (size if size <= most else 0))
        name = content[:title].decode("utf-8", "surrogateescape")
        if size > most:
            file.seek(position)
            yield Frame(name, too_large(size, most), b"")
        else:
            status = content[title : title + state].decode("utf-8", "replace")
            yield Frame(name, status, content[title + state :])


def _ends() -> BadFrameError:
    return BadFrameError("the request ends within a frame")
