"""Scanlines of PNG files in C: filtered and compressed, and read again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from dsguard._core import ffi, lib
from dsguard.kernels.contract import Bytes, Images, Mask
from dsguard.kernels.native import check, in_buffer, out_buffer

if TYPE_CHECKING:
    from collections.abc import Sequence


def pack(images: Images, *, store: bool) -> tuple[Bytes, npt.NDArray[np.uint64]]:
    """Write the rows of each image, filtered Up, as a zlib stream.

    Parameters
    ----------
    images : ndarray of uint8, shape (N, H, W, C)
        C-contiguous.
    store : bool
        Whether the bytes are left uncompressed.

    Returns
    -------
    ndarray of uint8, shape (N, M)
        Streams, each followed by bytes that mean nothing.
    ndarray of uint64, shape (N,)
        Their lengths.
    """
    rows = _rows(images.shape)
    bound = ffi.new("size_t *")
    check(lib.dsg_png_bound(rows, bound))
    packed = np.empty((len(images), bound[0]), np.uint8)
    lengths = np.empty(len(images), np.uint64)
    check(
        lib.dsg_png_pack(
            rows,
            len(images),
            store,
            in_buffer(images, images.shape),
            out_buffer(packed, packed.shape),
            bound[0],
            ffi.from_buffer("uint64_t[]", lengths),
        )
    )
    return packed, lengths


def unpack(streams: Sequence[bytes], shape: tuple[int, int, int]) -> tuple[Images, Mask]:
    """Read images of one shape from zlib streams of their filtered rows.

    Parameters
    ----------
    streams : sequence of bytes-like, N of them
    shape : tuple of int
        (H, W, C).

    Returns
    -------
    ndarray of uint8, shape (N, H, W, C)
    ndarray of bool, shape (N,)
        True where a stream is damaged, has not as many bytes as the rows, or a filter that there is
        not; such an image is unspecified.
    """
    images = np.empty((len(streams), *shape), np.uint8)
    malformed = np.empty(len(streams), np.uint8)
    ends = np.cumsum([len(stream) for stream in streams], dtype=np.uint64)
    height, width, channels = shape
    check(
        lib.dsg_png_unpack(
            _rows(images.shape),
            len(images),
            ffi.from_buffer("uint8_t[]", b"".join(streams)),
            ffi.from_buffer("uint64_t[]", ends),
            ffi.new("uint8_t[]", 2 * height * (1 + width * channels)),
            out_buffer(images, images.shape),
            out_buffer(malformed, malformed.shape),
        )
    )
    return images, malformed.view(np.bool_)


def _rows(shape: tuple[int, ...]) -> Any:
    _, height, width, channels = shape
    return ffi.new("struct dsg_rows *", (height, width * channels, channels))


def trace(stream: bytes, rows: bytes, shape: tuple[int, int, int]) -> bytes:
    """Trace the blocks of a zlib stream; empty where they are not those of these filtered rows.

    A trace that would be longer than the stream is empty as well.

    See `dsguard.kernels.reference.trace`.
    """
    out, size = np.empty(len(stream) + 64, np.uint8), ffi.new("size_t *")
    check(
        lib.dsg_png_trace(
            _rows((1, *shape)),
            ffi.from_buffer("uint8_t[]", rows),
            ffi.from_buffer("uint8_t[]", stream),
            len(stream),
            _places(),
            out_buffer(out, out.shape),
            len(out),
            size,
        )
    )
    return out[: size[0]].tobytes() if size[0] <= len(out) else b""


def retrace(trace: bytes, image: Images, most: int) -> tuple[bytes, Bytes]:
    """Return the blocks that a trace is of, empty where there are none, and the filtered rows.

    See `dsguard.kernels.reference.trace`.
    """
    height, width, channels = image.shape
    rows = np.empty(height * (1 + width * channels), np.uint8)
    stream, length = np.empty(max(1, most), np.uint8), ffi.new("size_t *")
    check(
        lib.dsg_png_retrace(
            _rows((1, *image.shape)),
            in_buffer(image, image.shape),
            ffi.from_buffer("uint8_t[]", trace),
            len(trace),
            _places(),
            out_buffer(rows, rows.shape),
            out_buffer(stream, stream.shape),
            most,
            length,
        )
    )
    return stream[: length[0]].tobytes(), rows


def _places() -> Any:
    return ffi.from_buffer("int32_t[]", np.empty(lib.DSG_TRACE_PLACES, np.int32))
