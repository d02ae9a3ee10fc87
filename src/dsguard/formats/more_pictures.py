"""Files of several pictures of which Pillow tells one: the others would be lost without a word."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from PIL import TiffImagePlugin

from dsguard.formats.png import END, SIGNATURE

if TYPE_CHECKING:
    from PIL import ImageFile

_SUB_IFDS, _IMAGE_DEPTH, _STACK_OF_METAMORPH = 330, 32997, 33629
_DESCRIPTION = 270
_STACK = re.compile(r'\AImageJ=[\s\S]*?^images=(?!1\s)\d|"truncated": *true', re.MULTILINE)
"""In the description of a TIFF file, of ImageJ or tifffile: the others lie behind its first."""

_COMMENT = re.compile(rb"#[^\r\n]*")
_NETPBM = re.compile(rb"\s*P[1-7Ff]\s")


def has_more_pictures(image: ImageFile.ImageFile, data: bytes) -> bool:
    """Tell whether an opened file that shows one picture has others.

    In TIFF files they are slices of a volume, or lie below the first: pictures of cameras below
    their thumbnail. Programs for films write files of other formats one behind the other.

    Examples
    --------
    >>> import io
    >>> from PIL import Image
    >>> film = 2 * (b"P5 2 1 255 " + bytes(2))
    >>> with Image.open(io.BytesIO(film)) as image:
    ...     has_more_pictures(image, film)
    True
    """
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        return _is_stack(image.tag_v2)
    follows = _FOLLOWS.get(image.format or "")
    return follows is not None and follows(image, data)


def _is_stack(tags: Any) -> bool:
    depth, told = tags.get(_IMAGE_DEPTH, 1), tags.get(_DESCRIPTION)
    is_told = isinstance(told, str) and _STACK.search(told) is not None
    is_deep = depth not in (1, (1,))
    return is_deep or is_told or _SUB_IFDS in tags or _STACK_OF_METAMORPH in tags


def _follows_netpbm(image: ImageFile.ImageFile, data: bytes) -> bool:
    codec, _, start, _ = image.tile[0]
    if codec == "ppm_plain":  # digits alone
        return b"P" in _COMMENT.sub(b"", data[start:])
    width, height = image.size
    row = -(-width // 8) if image.mode == "1" else width * len(image.getbands())
    return _NETPBM.match(data, start + row * height) is not None


def _follows_png(_: ImageFile.ImageFile, data: bytes) -> bool:
    return END + SIGNATURE in data


def _follows_gif(_: ImageFile.ImageFile, data: bytes) -> bool:
    return b"\0;GIF87a" in data or b"\0;GIF89a" in data


def _follows_bmp(_: ImageFile.ImageFile, data: bytes) -> bool:
    size = struct.unpack_from("<I", data, 2)[0]
    return size > 0 and data.startswith(b"BM", size)


def _follows_webp(_: ImageFile.ImageFile, data: bytes) -> bool:
    size = struct.unpack_from("<I", data, 4)[0]
    return data.startswith(b"RIFF", 8 + size + size % 2)


_FOLLOWS: dict[str, Callable[[ImageFile.ImageFile, bytes], bool]] = {
    "PPM": _follows_netpbm,
    "PNG": _follows_png,
    "GIF": _follows_gif,
    "BMP": _follows_bmp,
    "WEBP": _follows_webp,
}
