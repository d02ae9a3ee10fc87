"""Veil: which other image of the set each image is hidden in.

The order is drawn from the dataset's key: who could foretell it would know which label belongs to
which picture.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from dsguard.errors import InputError

if TYPE_CHECKING:
    import numpy.typing as npt

    from dsguard.envelope import DatasetKey

    Image = npt.NDArray[np.uint8]


def others(count: int, first: Image, key: DatasetKey) -> npt.NDArray[np.intp]:
    """Draw for each of `count` images the other one that it is hidden in.

    All orders of one cycle through the images are equally likely, so no image meets itself, and
    what shows says nothing of what is hidden.

    Parameters
    ----------
    count : int
    first : ndarray of uint8
        The first of the images: other sets are ordered otherwise.
    key : DatasetKey

    Returns
    -------
    ndarray of int, shape (N,)
        A permutation without fixed points.

    Raises
    ------
    InputError
        If there is only one image.
    """
    if count == 1:
        msg = (
            "profile veil hides each image in another of the same size, and there is no other; add "
            "images of its size, or take another profile"
        )
        raise InputError(msg, 0)
    if count == 0:
        return np.empty(0, np.intp)
    occasion = hashlib.sha256(b"%d" % count + first.tobytes()).digest()
    draws = np.frombuffer(key.randomness(8 * count, occasion), "<u8")
    cycle = np.argsort(draws, kind="stable")  # equal draws are too rare to matter
    order = np.empty(count, np.intp)
    order[cycle] = np.roll(cycle, 1)
    return order
