"""Smooth pictures from a few colours: the same on every machine, to the last bit.

Colours and weights are whole numbers, and no sum of their products reaches 2^24. So 32-bit floats
add them up exactly, in whatever order a library does it.
"""

from __future__ import annotations

import itertools
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from dsguard.kernels.contract import Images

_ONE = 256
"""Weights of one sample add up to this, in each direction."""

_CACHED = 1 << 17
_STRIP = 1 << 20
"""Samples that are worked on together."""


def enlarged(colours: npt.NDArray[np.uint8], height: int, width: int) -> Images:
    """Return smooth pictures of any size, by uniform cubic B-splines.

    Parameters
    ----------
    colours : ndarray of uint8, shape (N, rows, columns, C)
        Spread evenly over the picture.
    height, width : int

    Returns
    -------
    ndarray of uint8, shape (N, height, width, C)
    """
    count, rows, columns, channels = colours.shape
    down = _weights(rows, height)
    across = np.kron(_weights(columns, width).T, np.eye(channels, dtype=np.float32))
    out = np.empty((count, height, width * channels), np.uint8)
    step = max(1, _CACHED // (height * width * channels))
    lines = max(1, _STRIP // (width * channels))
    pieces = itertools.product(range(0, count, step), range(0, height, lines))
    for start, top in pieces:  # that stay in the cache
        part = colours[start : start + step].reshape(-1, rows, columns * channels)
        # One product after another: no threads.
        sums = down[top : top + lines] @ part.astype(np.float32) @ across
        sums += np.float32(_ONE * _ONE // 2)  # rounds, once the fraction is cut off
        sums *= np.float32(1 / (_ONE * _ONE))
        np.copyto(out[start : start + step, top : top + lines], sums, casting="unsafe")
    return out.reshape(count, height, width, channels)


@lru_cache(maxsize=64)
def _weights(colours: int, samples: int) -> npt.NDArray[np.float32]:
    """Return how much of each colour each sample takes, (samples, colours), rows of sum 256."""
    at = (np.arange(samples) + 0.5) * colours / samples - 0.5
    away = np.abs(at[:, None] - np.arange(-2, colours + 2))
    near, far = 2 / 3 - away**2 + away**3 / 2, (2 - away).clip(0) ** 3 / 6
    spline = np.where(away < 1, near, far)
    spline[:, 2] += spline[:, :2].sum(axis=1)  # beyond the edge its colour goes on
    spline[:, -3] += spline[:, -2:].sum(axis=1)
    # Whole numbers that still add up: those of all weights before each, rounded, and subtracted.
    before = np.rint(np.cumsum(spline[:, 2:-2], axis=1) * _ONE)
    weights: npt.NDArray[np.float32] = np.diff(before, axis=1, prepend=0).astype(np.float32)
    return weights
