"""A small PNG codec for batches of images of one shape (ISO/IEC 15948), and nothing more.

Pillow costs some 60 µs an image whatever its size, which is most of the time of bulk work on small
ones. Here C filters and compresses a batch at once, and reads it; checksums are igzip's where it is
installed (``dsguard[fast]``), else zlib's. What is not read here Pillow reads.
"""

from __future__ import annotations

import contextlib
import math
import struct
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from dsguard.formats.limits import most_blocks

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy.typing as npt

deflate: Any = zlib
with contextlib.suppress(ImportError):
    from isal import isal_zlib as deflate

scanlines: Any = None  # without the C core NumPy and zlib do it, several times slower
with contextlib.suppress(ImportError):
    from dsguard.formats import scanlines

LEVELS = (0, 1)
"""Effort of compression. 0 stores the pixels as they are, a third larger and fastest; more than 1
buys nothing: protected pixels are noise in their low bits."""

SIGNATURE = b"\x89PNG\r\n\x1a\n"
END = b"\0\0\0\0IEND\xaeB`\x82"
_HEADER = struct.Struct(">IIBBBBB")
_NUMBER = struct.Struct(">I")
_START_OF_HEADER = b"\0\0\0\x0dIHDR"
_COLOUR_TYPE = {1: 0, 3: 2, 4: 6}
_CHANNELS = {0: 1, 2: 3, 6: 4}
_NOT_IDLE = (b"Raw profile type ", b"XML:com.adobe.xmp")  # EXIF and XMP as text
_UP = 2
_CRC_OF_IDAT = deflate.crc32(b"IDAT")
_AT_ONCE = 8 << 20  # bytes of images that are packed in one call
_MOST_CLAIMED = 64 << 20  # bytes of images that are unpacked in one call
_MOST_PIXELS = 1 << 26  # what claims more is left to Pillow, which may refuse it
_FREE_PIXELS = 1 << 24  # that any file may claim
_PIXELS_OF_BYTE = 512  # that a file may claim beyond that: no JPEG holds more
_MOST_EXPANSION = 1040  # of a byte, a little more than deflate's 1032


def encode_pngs(
    images: npt.NDArray[np.uint8],
    chunk: bytes = b"",
    contents: Mapping[int, bytes] | None = None,
    level: int = 1,
) -> list[bytes]:
    """Encode images of shape (N, H, W, C) as PNG files.

    Parameters
    ----------
    images : ndarray of uint8, shape (N, H, W, C)
        C is 1, 3 or 4.
    chunk : bytes, optional
        Type of a chunk that some of the files have before the pixels.
    contents : mapping of int to bytes, optional
        By index, what it holds.
    level : {0, 1}
        As `LEVELS`.
    """
    _, height, width, channels = images.shape
    header = header_of(height, width, _COLOUR_TYPE[channels])
    start = SIGNATURE + as_chunk(b"IHDR", header)
    contents = contents or {}
    crc32, number_of, join = deflate.crc32, _NUMBER.pack, b"".join
    files = []
    for number, data in enumerate(_packed(images, store=level == 0)):
        head = start
        if number in contents:
            head += as_chunk(chunk, contents[number])
        check = number_of(crc32(data, _CRC_OF_IDAT))
        files.append(join((head, number_of(len(data)), b"IDAT", data, check, END)))
    return files


def _packed(images: npt.NDArray[np.uint8], *, store: bool) -> Iterator[memoryview | bytes]:
    """Yield the zlib stream of each image's rows, filtered Up."""
    step = max(1, _AT_ONCE // max(1, images[:1].nbytes))
    for first in range(0, len(images), step):
        some = np.ascontiguousarray(images[first : first + step])
        if scanlines is None:
            yield from (zlib.compress(row, 0 if store else 1) for row in _filtered(some))
            continue
        streams, lengths = scanlines.pack(some, store=store)
        view, stride = memoryview(streams).cast("B"), streams.shape[1]
        for start, length in zip(range(0, len(view), stride), lengths.tolist(), strict=True):
            yield view[start : start + length]


def _filtered(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    count, height, width, channels = images.shape
    rows = np.empty((count, height, 1 + width * channels), np.uint8)
    flat = images.reshape(count, height, -1)
    rows[:, :, 0] = _UP
    rows[:, 0, 1:] = flat[:, 0]
    np.subtract(flat[:, 1:], flat[:, :-1], out=rows[:, 1:, 1:])
    return rows.reshape(count, -1)


def as_chunk(kind: bytes, data: bytes) -> bytes:
    """Return a chunk, with its length and its checksum."""
    check = deflate.crc32(data, deflate.crc32(kind))
    return b"".join((_NUMBER.pack(len(data)), kind, data, _NUMBER.pack(check)))


def header_of(height: int, width: int, colour: int) -> bytes:
    """Return the content of a header, of 8 bits per sample, not interlaced."""
    return _HEADER.pack(width, height, 8, colour, 0, 0, 0)


def header_in(data: bytes) -> tuple[int, ...] | None:
    """Return the numbers in the header of a PNG file, None if it is none."""
    if len(data) < 33 or data[:8] != SIGNATURE or data[8:16] != _START_OF_HEADER:
        return None
    return _HEADER.unpack_from(data, 16)


def size_of(data: bytes) -> tuple[int, int] | None:
    """Return width and height of a PNG file, None if it is none."""
    header = header_in(data)
    return None if header is None else (header[0], header[1])


def is_likely(pixels: int, size: int) -> bool:
    """Tell whether a file of `size` bytes may be trusted to hold so many pixels.

    Some hundred bytes can unpack to any number of pixels, one as good as the other.
    """
    return pixels <= _FREE_PIXELS or pixels <= _PIXELS_OF_BYTE * size


class NotPlainError(Exception):
    """A PNG file, or something else, that is not read here."""


def read_plain(data: bytes, wanted: bytes) -> tuple[tuple[int, int, int], bytes, bytes]:
    """Read a PNG file of 8 bits per sample, not interlaced, without colour management.

    Parameters
    ----------
    data : bytes
        The file.
    wanted : bytes
        Type of a chunk to return beside the pixels.

    Returns
    -------
    tuple
        Shape (H, W, C), the zlib stream of the filtered rows, and the content of the wanted chunk,
        empty without it.

    Raises
    ------
    NotPlainError
        If it is anything else, is damaged, or has a chunk that might change what its pixels mean.
    """
    if len(data) < 33 or data[:8] != SIGNATURE or data[8:16] != _START_OF_HEADER:
        raise NotPlainError
    width, height, depth, colour, *methods = _HEADER.unpack_from(data, 16)
    if depth != 8 or colour not in _CHANNELS or any(methods):
        raise NotPlainError
    if not (0 < width * height <= _MOST_PIXELS and is_likely(width * height, len(data))):
        raise NotPlainError
    shape = (height, width, _CHANNELS[colour])
    if height * (1 + width * shape[2]) > _MOST_EXPANSION * len(data):  # nothing unpacks to that
        raise NotPlainError
    (length,) = _NUMBER.unpack_from(data, 33) if len(data) > 37 else (0,)
    if len(data) == 57 + length and data[37:41] == b"IDAT":  # as it is written here
        content = data[41:-16]
        checked = (
            deflate.crc32(content, _CRC_OF_IDAT) == _NUMBER.unpack_from(data, len(data) - 16)[0]
        )
        head = deflate.crc32(data[12:29]) == _NUMBER.unpack_from(data, 29)[0]
        if checked and head and data[-12:] == END:
            return shape, content, b""
    packed, found, position, left = [], b"", 8, most_blocks(len(data))
    while data[position : position + 12] != END:
        left -= 1
        (length,) = _NUMBER.unpack(data[position : position + 4].ljust(4, b"\xff"))
        kind, content = (
            data[position + 4 : position + 8],
            data[position + 8 : position + 8 + length],
        )
        end = position + 12 + length
        check = deflate.crc32(content, deflate.crc32(kind))
        if not left or end > len(data) or data[end - 4 : end] != _NUMBER.pack(check):
            raise NotPlainError
        if kind == b"IDAT":
            packed.append(content)
        elif kind == wanted:
            found = content
        elif position != 8 and not _is_idle(kind, content):  # where the header is
            raise NotPlainError
        position = end
    if data.startswith(SIGNATURE, position + len(END)):  # another, which is told
        raise NotPlainError
    return shape, b"".join(packed), found


def has_all_rows(data: bytes) -> bool:
    """Tell whether a PNG file has all of its rows: some decoders leave those black that it lacks.

    The file is one that a decoder has read.
    """
    width, height, depth, colour, _, _, interlaced = _HEADER.unpack_from(data, 16)
    bits, needed = depth * _SAMPLES[colour], 0
    for left, top, right, down in _PASSES if interlaced else ((0, 0, 1, 1),):
        columns, rows = -(-(width - left) // right), -(-(height - top) // down)
        needed += rows * (1 + -(-columns * bits // 8)) if columns > 0 and rows > 0 else 0
    inflater, position = zlib.decompressobj(), 8
    while needed > 0 and position + 12 <= len(data):
        (length,) = _NUMBER.unpack_from(data, position)
        rest = data[position + 8 : position + 8 + length]
        while data[position + 4 : position + 8] == b"IDAT" and rest and needed > 0:
            try:
                needed -= len(inflater.decompress(rest, _AT_ONCE))
            except zlib.error:
                return False
            rest = inflater.unconsumed_tail
        position += 12 + length
    return needed <= 0


_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Samples of a pixel, by type of colour."""

_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2),
           (0, 1, 1, 2))  # fmt: skip
"""Of interlaced files: the first column and row, and the steps to the next."""

_AT_ONCE = 1 << 20


def _is_idle(kind: bytes, content: bytes) -> bool:
    """Tell whether a chunk says nothing of the pixels, nor anything that is to be told of."""
    return kind in (b"tIME", b"pHYs") or (kind == b"tEXt" and not content.startswith(_NOT_IDLE))


def at_once(shape: tuple[int, int, int]) -> int:
    """Return how many images to unpack in one call: a small file can claim to be a large image."""
    return max(1, _MOST_CLAIMED // math.prod(shape))


def unpacked(
    streams: Sequence[bytes], shape: tuple[int, int, int]
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
    """Return images (N, H, W, C), and which of them are left to Pillow: those mean nothing."""
    if scanlines is not None:
        unpack: Any = scanlines.unpack
        return unpack(streams, shape)  # type: ignore[no-any-return]
    height, width, channels = shape
    filtered = np.zeros((len(streams), height, 1 + width * channels), np.uint8)
    for rows, stream in zip(filtered, streams, strict=True):
        with contextlib.suppress(NotPlainError):
            rows[...] = np.frombuffer(_inflated(stream, rows.size), np.uint8).reshape(rows.shape)
    malformed = (filtered[:, :, 0] != _UP).any(axis=1)  # those that could not be read as well
    sums = np.add.accumulate(filtered[:, :, 1:], axis=1, dtype=np.uint8)  # modulo 256
    return sums.reshape(len(streams), *shape), malformed


def _inflated(packed: bytes, size: int) -> bytes:
    """Return `size` bytes; a short file can unpack to any length."""
    try:
        inflater = zlib.decompressobj()
        rows = inflater.decompress(packed, size + 1)
    except zlib.error as error:
        raise NotPlainError from error
    if len(rows) != size or not inflater.eof:
        raise NotPlainError
    return rows
