"""Scanlines of PNG files in C: filtered and compressed, and filters undone."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from dsguard._core import ffi, lib
from dsguard.kernels.contract import Bytes, Images, Mask
from dsguard.kernels.native import check, in_buffer, out_buffer


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


def unfilter(filtered: Bytes, shape: tuple[int, int, int]) -> tuple[Images, Mask]:
    """Undo the filters of images of one shape.

    Parameters
    ----------
    filtered : ndarray of uint8, shape (N, H * (1 + W * C))
    shape : tuple of int
        (H, W, C).

    Returns
    -------
    ndarray of uint8, shape (N, H, W, C)
    ndarray of bool, shape (N,)
        True where a row has a filter that there is not.
    """
    images = np.empty((len(filtered), *shape), np.uint8)
    malformed = np.empty(len(filtered), np.uint8)
    height, width, channels = shape
    check(
        lib.dsg_png_unfilter(
            _rows(images.shape),
            len(images),
            in_buffer(filtered, (len(images), height * (1 + width * channels))),
            out_buffer(images, images.shape),
            out_buffer(malformed, malformed.shape),
        )
    )
    return images, malformed.view(np.bool_)


def _rows(shape: tuple[int, ...]) -> Any:
    _, height, width, channels = shape
    return ffi.new("struct dsg_rows *", (height, width * channels, channels))
