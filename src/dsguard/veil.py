"""Veil: each image is hidden in another one of the set, drawn by the key.

What shows is another image under the label of the hidden one, so there is little to learn. What
shines through, the texture of the hidden blocks, is outshone by a pattern for each label.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from dsguard.errors import InputError
from dsguard.patterns import Patterns
from dsguard.profile import STRENGTHS

if TYPE_CHECKING:
    import numpy.typing as npt

    from dsguard.keys import DatasetKey

    Images = npt.NDArray[np.uint8]

EPSILON = STRENGTHS["standard"]
"""Of the patterns, in grey levels."""


def others(count: int, first: Images, key: DatasetKey) -> npt.NDArray[np.intp]:
    """Draw for each of `count` images the other one that it is hidden in.

    All orders of one cycle through the images are equally likely, so no image meets itself, and
    what shows says nothing of what is hidden. The order is secret: it would tell which label
    belongs to which picture.

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
    occasion = b"order" + hashlib.sha256(b"%d" % count + first.tobytes()).digest()
    draws = np.frombuffer(key.randomness(8 * count, occasion), "<u8")
    cycle = np.argsort(draws, kind="stable")  # equal draws are too rare to matter
    order = np.empty(count, np.intp)
    order[cycle] = np.roll(cycle, 1)
    return order


def marked(
    images: Images,
    shown: Images,
    labels: npt.NDArray[np.int64],
    key: DatasetKey,
    block: int,
    epsilon: int = EPSILON,
) -> Images:
    """Return the images that show, each with the pattern of the label of the image hidden in it.

    Parameters
    ----------
    images, shown : ndarray of uint8, shape (N, H, W, C)
        The images to hide, and those to hide them in.
    labels : ndarray of int64, shape (N,)
        Of the images to hide.
    key : DatasetKey
        It draws the patterns.
    block : int
        They are constant on blocks of this side.
    epsilon : int
        In grey levels.
    """
    known, numbers = np.unique(labels, return_inverse=True)
    out = shown.copy()
    patterns = Patterns.drawn(known.tolist(), key, min(images.shape[3], 3))
    out[..., :3] = patterns.added(images, shown, numbers, epsilon, block)
    return out


def veils(
    images: Images,
    labels: npt.NDArray[np.int64],
    key: DatasetKey,
    block: int,
    epsilon: int = EPSILON,
) -> Images:
    """Return what each image of a set is hidden in; arguments as in `marked`."""
    shown = images[others(len(images), images[:1], key)]
    return marked(images, shown, labels, key, block, epsilon)
