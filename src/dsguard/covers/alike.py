"""Whether a picture is an image, or a copy of it that shows it: smaller, gray or mirrored.

Pictures are compared in gray, by the means of squares of the smaller of the two, so that what a
thumbnail does not have does not count.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dsguard._opaque import over_white

if TYPE_CHECKING:
    import numpy.typing as npt
    from PIL.Image import Image

    from dsguard.kernels.contract import Images

    Means = npt.NDArray[np.uint8]
    Few = npt.NDArray[np.float32]

SQUARES = 4
"""A side, of the few means by which copies are looked for among many pictures."""

_APART = 8
"""Grey levels, on average, that a copy is apart at most: JPEG files and thumbnails are."""

_PART = 0.35
"""Of the contrast of an image, which a copy is apart at most: flat pictures are all alike."""

_LEAST = 8
"""Pixels of a side from which on pictures are compared: below, those of many scenes are alike."""


def gray_of(pixels: Images) -> Image:
    """Return an image, shape (H, W, C), in gray, white where alpha takes something out."""
    return _gray(over_white(pixels[None])[0])


def grays_of(pixels: Images) -> list[Image]:
    """Return an image in gray, and where it has alpha its colours without it as well.

    Copies without alpha have either.
    """
    has_alpha = pixels.shape[2] == 4 and pixels[..., 3].min() < 255
    return [gray_of(pixels), _gray(pixels)] if has_alpha else [gray_of(pixels)]


def _gray(pixels: Images) -> Image:
    from PIL import Image

    picture = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels[..., :3])
    return picture.convert("L")


def means_of(gray: Image, width: int, height: int) -> Means:
    """Return the means of squares of a picture, shape (height, width), or less if it is smaller."""
    from PIL import Image

    size = min(width, gray.width), min(height, gray.height)
    return np.asarray(gray.resize(size, Image.Resampling.BOX))


def few_of(gray: Image) -> Few:
    """Return a few means of a picture of any size, shape (16,)."""
    from PIL import Image

    few = gray.resize((SQUARES, SQUARES), Image.Resampling.BOX)
    return np.asarray(few, np.float32).reshape(-1)


def is_copy(gray: Image, picture: Means) -> bool:
    """Tell whether a picture, brought to the size of an image or left smaller, is a copy of it."""
    height, width = picture.shape
    means = means_of(gray, width, height)
    if min(means.shape) < _LEAST:
        return False
    return min(_apart(picture, each) for each in (means, means[:, ::-1])) < _most(means)


def nearest(gray: Image, few: Few, count: int) -> list[int]:
    """Return which of many pictures could be copies of an image, the nearest first.

    The means of large squares are apart no more than those of the small ones in them, on average:
    so copies of every size are found by these. The time is that of two comparisons of 16 numbers
    for each picture: some milliseconds for ten thousand.

    Parameters
    ----------
    gray : Image
    few : ndarray of float32, shape (N, 16)
        What `few_of` returns for each picture.
    count : int
        How many are wanted at most.
    """
    means = few_of(gray).reshape(SQUARES, SQUARES)
    both = (each.reshape(-1) for each in (means, means[:, ::-1]))
    apart = np.minimum(*(np.abs(few - each).mean(axis=1) for each in both))
    most = _most(np.asarray(gray)) + 1  # of means that are rounded
    return [int(n) for n in apart.argsort(kind="stable")[:count] if apart[n] < most]


def _apart(means: Means, other: Means | np.float32) -> float:
    return float(np.abs(np.subtract(means, other, dtype=np.float32)).mean())


def _most(means: Means) -> float:
    """Return how far from an image a copy may be: less where there is little to see."""
    return min(_APART, _PART * _apart(means, means.mean(dtype=np.float32)))
