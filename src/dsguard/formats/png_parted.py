"""PNG files as samples and layout: the stream of the pixels by its trace, all else as it is.

A layout is, little-endian: the type of colour (1 byte), the first two bytes of the zlib stream, the
bytes of an IDAT chunk (4), the lengths of the chunks before and after these (4 each), those chunks,
and the trace. Signature, header, checksums and end are made anew.
"""

from __future__ import annotations

import contextlib
import struct
import zlib
from typing import TYPE_CHECKING

import numpy as np

from dsguard.formats import png
from dsguard.kernels.reference import trace as reference
from dsguard.kernels.reference.trace import NoTraceError

if TYPE_CHECKING:
    from dsguard.kernels.contract import Images

_LAYOUT = struct.Struct("<B2sIII")
_CHANNELS = {0: 1, 2: 3, 3: 1, 6: 4}
_START = 33  # signature and header
_FREE_PIECES, _BYTES_OF_PIECE = 1000, 512


def split(data: bytes, most: int) -> tuple[Images, bytes] | None:
    """Return samples, `most` of them, and layout of a file; None where it has none such."""
    chunks = _chunks(data)
    if chunks is None:
        return None
    shape, colour, first, streams, after = chunks
    height, width, channels = shape
    size = height * (1 + width * channels)
    if not 0 < size <= most:
        return None
    stream = b"".join(streams)
    try:
        inflater = zlib.decompressobj()
        rows = inflater.decompress(stream, size + 1)
    except zlib.error:
        return None
    traced = _traced(stream, rows, shape) if len(rows) == size else None
    if traced is None:
        return None
    samples, trace = traced
    before, behind = data[_START:first], data[after : len(data) - 12]
    head = _LAYOUT.pack(colour, stream[:2], len(streams[0]), len(before), len(behind))
    return samples, head + before + behind + trace


def join(samples: Images, layout: bytes, size: int) -> bytes | None:
    """Return the file of `size` bytes that has these samples; None where there is none."""
    if len(layout) < _LAYOUT.size:
        return None
    colour, start, piece, before, after = _LAYOUT.unpack(layout[: _LAYOUT.size])
    if _CHANNELS.get(colour) != samples.shape[2] or piece == 0:
        return None
    chunks, place = [], _LAYOUT.size
    for length in (before, after):
        chunks.append(layout[place : place + length])
        place += length
    blocks, rows = _retrace(layout[place:], samples, size)
    stream = start + blocks + struct.pack(">I", zlib.adler32(rows))
    pieces = -(-len(stream) // piece)
    if (
        not blocks
        or pieces > _most_pieces(size)
        or size != _START + before + len(stream) + 12 * pieces + after + 12
    ):
        return None
    height, width, _ = samples.shape
    header = png.as_chunk(b"IHDR", png.header_of(height, width, colour))
    parts = [stream[n : n + piece] for n in range(0, len(stream), piece)]
    packed = b"".join(png.as_chunk(b"IDAT", part) for part in parts)
    return b"".join((png.SIGNATURE, header, chunks[0], packed, chunks[1], png.END))


def _most_pieces(size: int) -> int:
    """Return how many chunks may hold the pixels of a file: encoders write 8 kB in each."""
    return _FREE_PIECES + size // _BYTES_OF_PIECE


_Chunks = tuple[tuple[int, int, int], int, int, list[bytes], int]


def _chunks(data: bytes) -> _Chunks | None:
    """Return shape, type of colour, and of the IDAT chunks start, contents and end."""
    header = png.header_in(data)
    if header is None or data[-12:] != png.END:
        return None
    width, height, depth, colour, *methods = header
    if depth != 8 or colour not in _CHANNELS or any(methods) or max(width, height) >= 1 << 16:
        return None
    first, place, streams = 0, _START, list[bytes]()
    while place < len(data) - 12:
        (length,) = struct.unpack_from(">I", data, place)
        if data[place + 4 : place + 8] == b"IDAT":
            if len(streams) == _most_pieces(len(data)):
                return None
            first = first or place
            streams.append(data[place + 8 : place + 8 + length])
        elif streams:
            break
        place += 12 + length
    if not streams or place > len(data) - 12:
        return None
    return (height, width, _CHANNELS[colour]), colour, first, streams, place


def _traced(stream: bytes, rows: bytes, shape: tuple[int, int, int]) -> tuple[Images, bytes] | None:
    """Return the pixels of filtered rows, and the trace of their stream."""
    if png.scanlines is not None:
        images, malformed = png.scanlines.unpack([stream], shape)
        trace = b"" if malformed[0] else png.scanlines.trace(stream[2:-4], rows, shape)
        return (images[0], trace) if trace else None
    with contextlib.suppress(NoTraceError):
        pitch = 1 + shape[1] * shape[2]
        trace = reference.trace(stream[2:-4], rows, pitch)
        return reference.unfiltered(rows, pitch, shape[2]).reshape(shape), trace
    return None


def _retrace(trace: bytes, samples: Images, most: int) -> tuple[bytes, bytes | memoryview]:
    if png.scanlines is not None:
        blocks, rows = png.scanlines.retrace(trace, np.ascontiguousarray(samples), most)
        return blocks, rows.data
    with contextlib.suppress(NoTraceError):
        image = samples.reshape(len(samples), -1)
        return reference.retrace(trace, image, samples.shape[2], most)
    return b"", b""
