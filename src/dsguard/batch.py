"""Batches as the public functions take them: checks, common shape, slices."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from dsguard.errors import InputError

if TYPE_CHECKING:
    import numpy.typing as npt

    from dsguard.kernels.contract import Images

_SLICE_BYTES = 8 << 20
"""Images are processed in slices of about this size, which bounds the memory for intermediates."""


def as_batch(images: object, name: str) -> Images:
    """Return `images` as a C-contiguous (N, H, W, C) batch, copied only where it must be.

    Raises
    ------
    InputError
        If it is no array of uint8, or not of shape (N, H, W) or (N, H, W, C) with C of 1, 3 or 4
        and sides of 8 to 65535.
    """
    if not isinstance(images, np.ndarray):
        msg = f"{name}: expected a NumPy array, got {type(images).__name__}; use numpy.asarray"
        raise InputError(msg)
    if images.dtype != np.uint8:
        msg = f"{name}: expected dtype uint8 (values 0 to 255), got {images.dtype}; convert it"
        raise InputError(msg)
    if images.ndim not in (3, 4):
        msg = f"{name}: expected shape (N, H, W, C) or (N, H, W), got {images.shape}"
        raise InputError(msg)
    batch = images if images.ndim == 4 else images[..., np.newaxis]
    if batch.shape[3] not in (1, 3, 4):
        msg = (
            f"{name}: expected 1, 3 or 4 channels in the last axis, got shape {images.shape}; "
            "one image alone is images[None]"
        )
        raise InputError(msg)
    if min(batch.shape[1:3]) < 8 or max(batch.shape[1:3]) > 65535:
        msg = f"{name}: height and width are 8 to 65535, got shape {images.shape}"
        raise InputError(msg)
    return np.ascontiguousarray(batch)


def like_input(batch: Images, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return a processed batch in the shape that the caller gave."""
    return batch.reshape(images.shape)


def batch_slices(batch: Images) -> Iterator[slice]:
    """Yield slices that cover a batch, each of at least one image and about 8 MiB."""
    image_bytes = max(1, batch[:1].nbytes)
    step = max(1, _SLICE_BYTES // image_bytes)
    for start in range(0, len(batch), step):
        yield slice(start, min(start + step, len(batch)))
