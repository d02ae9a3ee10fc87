"""Batches as the public functions take them: checks and one common shape."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dsguard.errors import InputError
from dsguard.kernels.geometry import LARGEST_SIDE

if TYPE_CHECKING:
    import numpy.typing as npt

    from dsguard.kernels.contract import Images


def as_batch(images: object, name: str) -> Images:
    """Return a view of `images` as an (N, H, W, C) batch; nothing is copied.

    Raises
    ------
    InputError
        If it is no array of uint8, or not of shape (N, H, W) or (N, H, W, C) with C of 1, 3 or 4
        and sides of 1 to 65535; (N, H, W) with W of 3 or 4 could be one image.
    """
    if not isinstance(images, np.ndarray):
        msg = f"{name}: expected a NumPy array, got {type(images).__name__}; use numpy.asarray"
        raise InputError(msg)
    if isinstance(images, np.ma.MaskedArray):
        msg = f"{name}: masked arrays are not supported; use .filled()"
        raise InputError(msg)
    if images.dtype != np.uint8:
        msg = f"{name}: expected dtype uint8 (values 0 to 255), got {images.dtype}; convert it"
        raise InputError(msg)
    if images.ndim not in (3, 4):
        msg = f"{name}: expected shape (N, H, W, C) or (N, H, W), got {images.shape}"
        raise InputError(msg)
    if images.ndim == 3 and images.shape[-1] in (3, 4):
        msg = (
            f"{name}: shape {images.shape} could be one image or a batch of narrow gray ones; give "
            "images[None], or images[..., None]"
        )
        raise InputError(msg)
    batch = images if images.ndim == 4 else images[..., np.newaxis]
    hint = "; one image alone is images[None]" if images.ndim == 3 else ""
    if batch.shape[3] not in (1, 3, 4):
        msg = f"{name}: expected 1, 3 or 4 channels last, got shape {images.shape}{hint}"
        raise InputError(msg)
    if min(batch.shape[1:3]) < 1 or max(batch.shape[1:3]) > LARGEST_SIDE:
        msg = f"{name}: height and width are 1 to {LARGEST_SIDE}, got shape {images.shape}{hint}"
        raise InputError(msg)
    return batch


def as_single(image: object, name: str) -> Images:
    """Return one image of shape (H, W) or (H, W, C) as a contiguous batch of one.

    Raises
    ------
    InputError
        As `as_batch`.
    """
    if not isinstance(image, np.ndarray) or image.ndim not in (2, 3):
        found = f"shape {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        msg = f"{name}: expected one image, an array of shape (H, W) or (H, W, C), got {found}"
        raise InputError(msg)
    whole = image if image.ndim == 3 else image[..., np.newaxis]
    return np.ascontiguousarray(as_batch(whole[np.newaxis], name))


def as_output(out: object, images: npt.NDArray[np.uint8], *inputs: Images) -> Images:
    """Return the batch to write results to: a view of `out`, or new memory where that is None.

    Raises
    ------
    InputError
        If `out` is not a writable, C-contiguous array of uint8 of the shape of `images`, or shares
        memory with one of the inputs.
    """
    if out is None:
        return np.empty(images.shape, np.uint8).reshape(inputs[0].shape)
    if not isinstance(out, np.ndarray) or out.dtype != np.uint8 or out.shape != images.shape:
        found = f"{out.dtype} of {out.shape}" if isinstance(out, np.ndarray) else type(out).__name__
        msg = f"out: expected an array of uint8 of shape {images.shape}, got {found}"
        raise InputError(msg)
    if not (out.flags.c_contiguous and out.flags.writeable):
        msg = "out: expected a writable, C-contiguous array; use numpy.empty"
        raise InputError(msg)
    if isinstance(out, np.ma.MaskedArray):
        msg = "out: masked arrays are not supported"
        raise InputError(msg)
    if any(np.may_share_memory(out, given) or _same_file(out, given) for given in inputs):
        msg = "out: shares memory with the input, which is never changed; give other memory"
        raise InputError(msg)
    return out.reshape(inputs[0].shape)


def _same_file(array: npt.NDArray[Any], other: npt.NDArray[Any]) -> bool:
    """Tell whether two arrays are mapped from one file, whatever their addresses."""
    files: list[Any] = []
    for view in (array, other):
        base: object = view
        while isinstance(base, np.ndarray) and not isinstance(base, np.memmap):
            base = base.base
        files.append(getattr(base, "filename", None))
    return None not in files and Path(files[0]).samefile(files[1])


def like_input(batch: Images, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return a processed batch in the shape that the caller gave."""
    return batch.reshape(images.shape)
