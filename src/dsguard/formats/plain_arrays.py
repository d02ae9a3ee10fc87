"""Arrays that are more than their values: bytes that no value tells, and values told twice.

Arrays are looked at by value, and published by their bytes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from dsguard.formats.allowance import CouldHoldPictureError


def check_filled(dtype: np.dtype[Any]) -> None:
    """Refuse a type whose values do not fill its bytes.

    NumPy never writes the others: they are of the memory that was there before, such as pixels of
    an image that was just read.

    Raises
    ------
    CouldHoldPictureError
    """
    if _has_padding(dtype):
        msg = (
            f"is of type {dtype}, whose values do not fill its bytes: the rest could be from any "
            "memory; save it as float64, or another type without padding"
        )
        raise CouldHoldPictureError(msg)


def check_spelled(array: npt.NDArray[Any]) -> None:
    """Refuse truth values other than 0 and 1: each could be a pixel.

    Raises
    ------
    CouldHoldPictureError
    """
    if array.dtype.kind == "b" and array.size and array.view(np.uint8).max() > 1:
        msg = "has truth values that are no 0 and no 1; save it anew, with array != 0"
        raise CouldHoldPictureError(msg)


def _has_padding(dtype: np.dtype[Any]) -> bool:
    if dtype.subdtype is not None:
        return _has_padding(dtype.subdtype[0])
    if dtype.fields is not None:
        inner = [dtype.fields[name][0] for name in dtype.names or ()]
        return dtype.itemsize != sum(each.itemsize for each in inner) or any(
            map(_has_padding, inner)
        )
    return dtype.itemsize > {"f": 8, "c": 16}.get(dtype.kind, dtype.itemsize)


def is_one_hot(array: npt.NDArray[Any]) -> bool:
    """Tell whether the rows of an array have a 1 at most, and else nothing but zeros without sign.

    A row of zeros of both signs could be that of a picture.
    """
    if array.ndim != 2 or not ((array == 0) | (array == 1)).all():
        return False
    is_signed = array.dtype.kind == "f" and bool(np.signbit(array).any())
    return not is_signed and bool((np.count_nonzero(array, axis=1) <= 1).all())
