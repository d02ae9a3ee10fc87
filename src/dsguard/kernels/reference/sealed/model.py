"""The model of codec sealed: planes, predictions, contexts, tables. It belongs to the format.

An image is one to four planes: green, red less green, blue less green, alpha; or gray. Samples are
predicted from those before them, row by row. The *error* of a prediction is coded with the table of
its *context*: the size that the errors around it let expect.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

PROBABILITY_BITS = 12
"""The frequencies of a table add up to 2 to this power."""

SYMBOLS = 64
SIZES = 4096
"""Expected sizes from which on all have the last context."""

LUMA, RED, BLUE = range(3)
"""Kinds of planes: green, gray and alpha; red less green; blue less green."""

KINDS = {1: (LUMA,), 3: (LUMA, RED, BLUE), 4: (LUMA, RED, BLUE, LUMA)}
"""The kinds of the planes, by number of channels."""

_GROUPS = ((0, 0, 0), (32, 32, 1), (64, 48, 3), (128, 56, 4))
"""Counts from the first number on have symbols from the second on, and so many extra bits."""


@dataclass(frozen=True)
class Model:
    """The part of the model that was learned, for one kind of plane.

    Attributes
    ----------
    weights : list of int
        Of W, N, NW, NE, WW and NN in a prediction, in 64ths.
    sizes : list of int
        Of what makes the expected size: see `Around.expected_size`.
    contexts : list of int
        By expected size.
    starts : list of list of int
        By context, where the frequencies of the symbols begin.
    """

    weights: list[int]
    sizes: list[int]
    contexts: list[int]
    starts: list[list[int]]

    def context(self, expected: int) -> int:
        """Return the context of an expected size."""
        return self.contexts[min(expected, SIZES - 1)]


@cache
def models() -> tuple[Model, ...]:
    """Return the model of each kind of plane."""
    text = resources.files(__package__).joinpath("tables.json").read_text("utf-8")
    return tuple(_model(**kind) for kind in json.loads(text))


def _model(
    weights: list[int], sizes: list[int], thresholds: list[int], frequencies: list[list[int]]
) -> Model:
    contexts = np.searchsorted(thresholds, np.arange(SIZES)).tolist()
    starts = [[0, *np.cumsum(table).tolist()] for table in frequencies]
    return Model(weights, sizes, contexts, starts)


def to_planes(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.int32]:
    """Return the planes of an image (H, W, C), in the same shape; differences are wrapped."""
    planes = image.astype(np.int32)
    if image.shape[2] >= 3:
        red, green, blue = (image[..., n].astype(np.int32) for n in range(3))
        planes[..., :3] = np.stack([green, wrapped(red - green), wrapped(blue - green)], axis=-1)
    return planes


def to_image(planes: npt.NDArray[np.int32]) -> npt.NDArray[np.uint8]:
    """Undo `to_planes`."""
    image = planes.copy()
    if planes.shape[2] >= 3:
        green, red, blue = (planes[..., n] for n in range(3))
        image[..., :3] = np.stack([green + red, green, green + blue], axis=-1)
    return (image & 255).astype(np.uint8)


def wrapped(values: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """Return values modulo 256, from -128 to 127."""
    return ((values + 128) & 255) - 128


class Around(NamedTuple):
    """The samples around one: to its left, above, and beyond these."""

    west: int
    north: int
    north_west: int
    north_east: int
    west_west: int
    north_north: int

    @classmethod
    def of(cls, plane: npt.NDArray[np.int32], y: int, x: int, kind: int) -> Around:
        """Return the samples around a place; beyond the edges others stand for them."""
        first = 128 if kind == LUMA else 0
        beyond = int(plane[y - 1, 0]) if y else first
        west = int(plane[y, x - 1]) if x else beyond
        west_west = int(plane[y, x - 2]) if x > 1 else beyond
        if y == 0:
            return cls(west, west, west, west, west_west, west)
        above = plane[y - 1]
        north = int(above[x])
        north_west = int(above[x - 1]) if x else north
        north_east = int(above[x + 1]) if x + 1 < len(above) else north
        north_north = int(plane[y - 2, x]) if y > 1 else north
        return cls(west, north, north_west, north_east, west_west, north_north)

    def prediction(self, model: Model, kind: int) -> int:
        """Return the prediction: a weighted mean of the median edge and all around."""
        edge = sorted((self.west, self.north, self.west + self.north - self.north_west))[1]
        turned = sum(w * (x - edge) for w, x in zip(model.weights, self, strict=True))
        least, most = (0, 255) if kind == LUMA else (-128, 127)
        return min(max(edge + ((turned + 32) >> 6), least), most)

    def expected_size(self, model: Model, errors: list[int]) -> int:
        """Return the size of error that is to be expected, in 64ths.

        Parameters
        ----------
        model : Model
        errors : list of int
            Sizes of the errors at W, N, NE and NW; for blue, also of that of red at the same place.
        """
        steps = (
            abs(self.west - self.north_west),
            abs(self.north - self.north_west),
            abs(self.north - self.north_east),
        )
        parts = (*steps, *errors)
        return sum(w * part for w, part in zip(model.sizes, parts, strict=True))


def symbol_of(error: int) -> tuple[int, int, int]:
    """Return the symbol of an error, and the extra bits that follow it: how many, and which.

    Errors are counted 0, -1, 1, -2, ...; from 32 on, 2, 8 or 16 of them share a symbol.
    """
    count = 2 * error if error >= 0 else -2 * error - 1
    first, symbol, bits = next(group for group in reversed(_GROUPS) if count >= group[0])
    return symbol + (count - first >> bits), bits, count - first & (1 << bits) - 1


def extra_bits(symbol: int) -> int:
    """Return how many extra bits follow a symbol."""
    return next(bits for _, least, bits in reversed(_GROUPS) if symbol >= least)


def error_of(symbol: int, extra: int) -> int:
    """Return the error of a symbol and its extra bits."""
    first, least, bits = next(group for group in reversed(_GROUPS) if symbol >= group[1])
    count = first + (symbol - least << bits) + extra
    return -(count + 1 >> 1) if count & 1 else count >> 1
