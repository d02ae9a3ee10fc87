"""Patterns: class-wise perturbations on a coarse grid, and how an image gets that of its class.

A network finds a perturbation sooner the more often it meets it, and what it finds before it has
learned anything else keeps it from learning. The pattern of a class is a *texture*: rows, columns
or checkers, of one colour and its opposite. It is there at two sizes, on tiles of 2×2 cells:

- Three tiles of four show it in their cells.
- One tile of four is *flat*, of one colour. Four such tiles are the cells of the texture again,
  larger. They are what is left where somebody evens out the cells of each tile.

From image to image, rows and columns of cells change places, so patterns have no mean: neither a
linear classifier nor the mean of a class shows them. Networks see them at once, wherever crops and
flips take them.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dsguard.envelope import DatasetKey

GRID = 8
"""Cells of a pattern from top to bottom and from side to side, whatever the size of the image: 4
pixels of a CIFAR image, whole blocks of any image."""

TILE = 2
"""Side of a tile, in cells."""

UNIT = 2 * TILE
"""Side of four tiles, the first of them flat, in cells."""

_FLAT = np.kron(np.tile([[True, False], [False, False]], (2, 2)), np.ones((TILE, TILE), bool))
_ROWS = np.array([[1, 1], [-1, -1]], np.int8)
_DIRECTIONS = np.stack([_ROWS, _ROWS.T, _ROWS * _ROWS.T])
_COLOURS = {
    1: np.array([[1]], np.int8),
    3: np.array([[1, 1, -1], [1, -1, 1], [-1, 1, 1], [1, 1, 1]], np.int8),
}

Cells = npt.NDArray[np.int8]
Images = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Patterns:
    """One pattern for each class.

    Attributes
    ----------
    signs : ndarray of int8, shape (K, C, 8, 8)
        1 or -1: whether a cell grows brighter or darker, by ε, before the cells of its tile are
        moved about.
    """

    signs: Cells

    def added(
        self,
        images: Images,
        to: Images,
        numbers: npt.NDArray[np.int64],
        epsilon: int,
        block: int,
    ) -> Images:
        """Return `to` with the pattern of each image added, constant on blocks, without alpha.

        Parameters
        ----------
        images : ndarray of uint8, shape (N, H, W, C)
            Clean images, which decide how the cells of their tiles are moved.
        to : ndarray of uint8, shape of `images`
        numbers : ndarray of int64, shape (N,)
            Class numbers.
        epsilon : int
            In grey levels.
        block : int
        """
        cells = self.of(images, numbers, block).astype(np.int16)
        return (to[..., :3] + epsilon * cells).clip(0, 255).astype(np.uint8)

    def of(self, images: Images, numbers: npt.NDArray[np.int64], block: int) -> Cells:
        """Return the pattern of each image, (N, H, W, C) of 1 and -1, constant on its blocks.

        Blocks of 2 pixels carry cells of half the size: the pattern is there twice, either way.
        """
        height, width, channels = images.shape[1:]
        grid = 2 * GRID if block == 2 else GRID
        cell = np.arange(grid)
        down, across = _moves(images[..., :3], grid)
        rows, columns = (cell[:, None] ^ down) % GRID, (cell ^ across) % GRID
        cells = self.signs.transpose(0, 2, 3, 1).reshape(-1, self.signs.shape[1])
        cells = cells.take((numbers[:, None, None] * GRID + rows) * GRID + columns, axis=0)
        if channels == 1 and cells.shape[3] == 3:
            cells = np.where(cells.sum(axis=3, keepdims=True) > 0, 1, -1).astype(np.int8)
        cells = cells.take(cell_of(height, block, grid), axis=1)
        return cells.take(cell_of(width, block, grid), axis=2)

    @classmethod
    def drawn(cls, labels: Sequence[int], key: DatasetKey, channels: int = 3) -> Patterns:
        """Draw a pattern for each label, by the key; no network has a part in it.

        That of a label does not depend on the other labels.
        """
        first = int.from_bytes(key.randomness(2, b"textures"), "little")
        kinds = (kinds_of(int(label), channels) for label in labels)
        return cls(np.stack([_pattern(some, channels, first) for some in kinds]))


def count_of_kinds(channels: int) -> int:
    """Return how many kinds of texture there are: 12, or 3 where there are no colours."""
    return len(_DIRECTIONS) * len(_COLOURS[channels])


def kinds_of(number: int, channels: int) -> list[int]:
    """Return the kinds of texture of pattern `number`: of the flat tiles, and of the three others.

    Numbers below the count of kinds have one kind everywhere, and others, up to its fourth power,
    another combination each.
    """
    count = count_of_kinds(channels)
    steps = (number // count**place for place in range(4))
    return [kind % count for kind in accumulate(steps)]


def cell_of(side: int, block: int, grid: int = GRID) -> npt.NDArray[np.int64]:
    """Return the cell that each row (or column) of an image lies in: whole blocks, `grid` cells."""
    blocks = max(1, side // block)
    return np.minimum(np.arange(side) // block, blocks - 1) * grid // max(blocks, grid)


def _pattern(kinds: list[int], channels: int, first: int) -> Cells:
    """Return the pattern that these kinds of texture, counted from `first`, make: (C, 8, 8)."""
    colours = _COLOURS[channels]
    large, *small = (
        colours[(first + kind) % len(colours), :, None, None]
        * _DIRECTIONS[(first + kind) % len(_DIRECTIONS)]
        for kind in kinds
    )
    unit = np.block([[small[0], small[0]], [small[1], small[2]]])
    signs = np.tile(unit, (1, GRID // UNIT, GRID // UNIT))
    return np.where(_FLAT, large.repeat(UNIT, 1).repeat(UNIT, 2), signs)


def _moves(images: Images, grid: int) -> npt.NDArray[np.int64]:
    """Return how cells are moved: what their row and column numbers are XORed with, (2, N, g, g).

    The cells of the tiles of a unit change places with their neighbours, all alike; the flat tiles
    of four units with each other. It is as good as drawn, and the same again for the same image:
    SplitMix64 (Steele et al., OOPSLA 2014) of the sum of the image, and of the unit.
    """
    units = grid // UNIT
    sums = images.sum(axis=(1, 2, 3), dtype=np.uint64)
    place = np.arange(2 * units * units, dtype=np.uint64)
    mixed = (sums[:, None] * np.uint64(len(place)) + place) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ mixed >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ mixed >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    bits = (mixed >> np.uint64(62)).astype(np.int64).reshape(-1, 2, units, units)
    small = bits[:, 0].repeat(UNIT, 1).repeat(UNIT, 2)
    large = bits[:, 1, ::2, ::2].repeat(2 * UNIT, 1).repeat(2 * UNIT, 2)
    flat = np.tile(_FLAT, (grid // GRID, grid // GRID))
    return np.stack([np.where(flat, UNIT * (large >> at & 1), small >> at & 1) for at in (1, 0)])
