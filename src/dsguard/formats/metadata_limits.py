"""Limits of what image files hold beside their pixels, checked before Pillow sees it.

Pillow makes an object of each segment, chunk, block and number, and unpacks some: a short archive
could take gigabytes and minutes. Files are walked as Pillow walks them, or pieces could be hidden.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator
from typing import TypeAlias

from PIL.JpegImagePlugin import MARKER

from dsguard.errors import InputError
from dsguard.formats.limits import most_blocks
from dsguard.formats.png import SIGNATURE

MOST_PIECES = 500
"""JPEG segments, PNG and WebP chunks beside the pixels; a photograph has less than 100.

As many JPEG segments have 32 MB, and as many PNG chunks unpack to 500 MB, one after the other.
"""

Walk: TypeAlias = Iterator[tuple[int, int]]
"""How many pieces come next, and how many units: small blocks, or bytes of Exif and TIFF tags."""

_SEGMENT = re.compile(rb"\xff([^\x00\xff])")
_START_OF_SCAN = 0xDA
_LONGEST_SEGMENT = 1 << 16
_PIXEL_CHUNKS = (b"IDAT", b"fdAT")

_POINTERS = (34665, 34853, 40965)
"""TIFF tags that tell where a directory of Exif, GPS or interoperability is."""

_NUMBERS = {3: "H", 4: "I", 5: "Q", 6: "b", 8: "h", 9: "i", 10: "Q", 11: "I", 12: "Q", 13: "I",
            16: "Q"}  # fmt: skip
"""TIFF types of which Pillow makes a number for each value; of others it keeps the bytes.

Fractions and floats stand as integers of their size.
"""

_HEAD = 1 << 16
_COMMENT = re.compile(rb"#[^\r\n]*[\r\n]")
_PPM_HEADER = re.compile(rb"P[14]\s+\S+\s+\S+\s|P[^14]\s+\S+\s+\S+\s+\S+\s")


def check_metadata(data: bytes) -> None:
    """Refuse an image file whose metadata, or number of blocks, would take much memory or time.

    Raises
    ------
    InputError
    """
    pieces, units, most = 0, 0, most_blocks(len(data))
    for more_pieces, more_units in _walk(data):
        pieces += more_pieces
        units += more_units
        if pieces > MOST_PIECES:
            msg = f"has more than {MOST_PIECES} segments or chunks of metadata"
        elif units > most:
            msg = "has too much Exif, too many tags or numbers in them, or too small blocks"
        else:
            continue
        msg += ", which could be meant to fill the memory; save it anew without metadata"
        raise InputError(msg)


def _walk(data: bytes) -> Walk:
    """Return what walks through a file of this kind; one of a kind without metadata is passed."""
    walks: dict[tuple[bytes, ...], Callable[[bytes], Walk]] = {
        (b"\xff\xd8",): _jpeg,
        (SIGNATURE,): _png,
        (b"GIF8",): _gif,
        (b"II", b"MM"): _tiff,
        (b"RIFF",): _webp,
        (b"P",): _ppm,
    }
    found = (walk for signatures, walk in walks.items() if data.startswith(signatures))
    return next(found, lambda _: iter(()))(data)


def _jpeg(data: bytes) -> Walk:
    """Walk through the segments before the pixels, and what lies between them."""
    end = 2
    while found := _SEGMENT.search(data, end):
        marker = found[1][0]
        known = MARKER.get(0xFF00 | marker)
        if known is None or marker == _START_OF_SCAN:
            return
        between = found.start() - end
        end = start = found.end()
        if known[2] is not None:  # others have no length
            end += max(2, int.from_bytes(data[start : start + 2], "big"))
        is_exif = marker == 0xE1 and data[start + 2 : start + 8] == b"Exif\0\0"
        yield 1 + between // _LONGEST_SEGMENT, end - start if is_exif else 0
    yield (len(data) - end) // _LONGEST_SEGMENT, 0


def _png(data: bytes) -> Walk:
    position = len(SIGNATURE)
    while position + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        if kind == b"IEND":  # what comes after it is not looked at
            return
        if kind in _PIXEL_CHUNKS:
            yield 0, 1
        else:
            yield 1, length if kind == b"eXIf" else 0
        position += 12 + length


def _webp(data: bytes) -> Walk:
    position, end = 12, 8 + min(len(data) - 8, _number(data, "<I", 4))
    while position + 8 <= end:
        kind, length = struct.unpack_from("<4sI", data, position)
        if kind == b"ANMF":  # a frame
            yield 0, 1
        else:
            yield 1, length if kind == b"EXIF" else 0
        position += 8 + length + length % 2


def _gif(data: bytes) -> Walk:
    """Walk through the blocks of extensions and frames."""
    end, position = len(data), 13 + _palette(data, 10)
    while position < end:
        kind = data[position : position + 1]
        if kind == b";":
            return
        if kind == b"!":
            position += 2
        elif kind == b",":
            position += 11 + _palette(data, position + 9)
        else:  # decoders look for the next block
            position += 1
            yield 0, 1
            continue
        while position < end and data[position]:
            position += 1 + data[position]
            yield 0, 1
        position += 1
        yield 0, 1


def _palette(data: bytes, position: int) -> int:
    """Return the bytes of a palette, from the flags that tell of it."""
    flags = data[position] if position < len(data) else 0
    return 3 << (flags & 7) + 1 if flags & 128 else 0


def _tiff(data: bytes) -> Walk:
    """Walk through the tags of the first page, of one more, and of the directories of Exif.

    Damaged directories of Exif may have tens of thousands of tags; they do not cost the picture.
    """
    order, is_big = ("<" if data[:1] == b"I" else ">"), data[2:3] == b"+"
    offset, counter, entry = ("Q", "Q", "HHQ8s") if is_big else ("I", "H", "HHI4s")
    offset, counter, entry = order + offset, order + counter, order + entry
    size = struct.calcsize(entry)
    waiting, seen = [_number(data, offset, 8 if is_big else 4)], {0}
    while waiting:
        start = waiting.pop()
        if start in seen:
            continue
        seen.add(start)
        count = _number(data, counter, start)
        start += struct.calcsize(counter)
        for position in range(start, min(start + count * size, len(data) - size + 1), size):
            tag, kind, values, field = struct.unpack_from(entry, data, position)
            numbers = values * struct.calcsize(order + _NUMBERS.get(kind, ""))
            yield 0, size + (numbers if numbers <= len(data) else 0)  # others are passed over
            if tag in _POINTERS and 0 < numbers <= len(field):
                waiting.append(_number(field, order + _NUMBERS[kind], 0))
        if len(seen) == 2:
            waiting.append(_number(data, offset, start + count * size))


def _number(data: bytes, kind: str, position: int) -> int:
    """Return a number of a file, 0 where there is none."""
    if not 0 <= position <= len(data) - struct.calcsize(kind):
        return 0
    return int(struct.unpack_from(kind, data, position)[0])


def _ppm(data: bytes) -> Walk:
    """Count all of a file whose header has no end; it is read byte by byte."""
    if not _PPM_HEADER.match(_COMMENT.sub(b"", data[:_HEAD])):
        yield 0, len(data)
