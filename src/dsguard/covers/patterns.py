"""Mark patterns: one for each class, on a coarse grid, and how an image gets that of its class.

A network finds a perturbation sooner the more often it meets it, and what it finds before it has
learned anything else keeps it from learning. A pattern is made of tiles of 2×2 cells, and tells
the class in two ways:

- Three tiles of four have a *texture*: rows, columns or checkers, between two opposite colours,
  chosen by class. Their cells are moved about from image to image, four tiles alike, so textures
  have no mean: neither a linear classifier nor the mean of a class shows them. Networks see them at
  once, wherever crops and flips take them.
- One tile of four is *flat*: of one colour, the same in all images of the class. It is what is left
  where somebody evens the cells out.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from dsguard.covers.base import EPSILON, Batch, Mark, check_epsilon
from dsguard.covers.draws import drawn_for_images
from dsguard.keys.derived import randomness

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dsguard.keys import DatasetKey

GRID = 8
"""Cells of a pattern from top to bottom and from side to side, whatever the size of the image: 4
pixels of a CIFAR image, whole blocks of any image."""

TILE = 2
"""Side of a tile, in cells."""

UNIT = 2 * TILE
"""Side of four tiles, one of them flat, in cells."""

FLAT = np.kron(np.tile([[True, False], [False, False]], (2, 2)), np.ones((TILE, TILE), bool))
"""Which cells belong to flat tiles, (8, 8)."""

_ROWS = np.array([[1, 1], [-1, -1]], np.int8)
_DIRECTIONS = np.stack([_ROWS, _ROWS.T, _ROWS * _ROWS.T])
_COLOURS = {
    1: np.array([[1]], np.int8),
    3: np.array([[1, 1, -1], [1, -1, 1], [-1, 1, 1], [1, 1, 1]], np.int8),
}

Cells = npt.NDArray[np.int8]
Moves = npt.NDArray[np.int64]
Images = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Patterns:
    """One pattern for each class.

    Attributes
    ----------
    signs : ndarray of int8, shape (K, C, 8, 8)
        1 or -1: whether a cell grows brighter or darker, by ε, before the cells of its tile are
        moved about.

    Examples
    --------
    >>> import numpy as np
    >>> from dsguard.covers import Patterns
    >>> Patterns(np.ones((10, 3, 8, 8), np.int8)).signs.shape  # ten classes
    (10, 3, 8, 8)
    """

    signs: Cells

    def added(
        self,
        images: Images,
        to: Images,
        numbers: npt.NDArray[np.int64],
        epsilon: int,
        block: int,
        moves: Moves | None = None,
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
        moves : ndarray of int64, optional
            As in `of`.
        """
        cells = self.of(images, numbers, block, moves).astype(np.int16)
        return (to[..., :3] + epsilon * cells).clip(0, 255).astype(np.uint8)

    def of(
        self,
        images: Images,
        numbers: npt.NDArray[np.int64],
        block: int,
        moves: Moves | None = None,
    ) -> Cells:
        """Return the pattern of each image, (N, H, W, C) of 1 and -1, constant on its blocks.

        Blocks of 2 pixels carry cells of half the size: the pattern is there twice, either way.
        `moves`, (N, 4, 4), say how the cells of tiles change places, 0 to 3; by default the sums of
        the images do, which is for patterns on the images themselves alone.
        """
        height, width, channels = images.shape[1:]
        grid = 2 * GRID if block == 2 else GRID
        units = grid // UNIT
        own = _moves(images[..., :3], units) if moves is None else moves[:, :units, :units]
        moved = own.repeat(UNIT, 1).repeat(UNIT, 2)
        cell = np.arange(grid)
        rows, columns = (cell[:, None] ^ moved >> 1) % GRID, (cell ^ moved & 1) % GRID
        cells = self.signs.transpose(0, 2, 3, 1).reshape(-1, self.signs.shape[1])
        cells = cells.take((numbers[:, None, None] * GRID + rows) * GRID + columns, axis=0)
        if channels == 1 and cells.shape[3] == 3:
            cells = np.where(cells.sum(axis=3, keepdims=True) > 0, 1, -1).astype(np.int8)
        down, across = cell_of(height, block, grid), cell_of(width, block, grid)
        return cells.take(down, axis=1).take(across, axis=2)

    @classmethod
    def drawn(cls, labels: Sequence[int], key: DatasetKey, channels: int = 3) -> Patterns:
        """Draw a pattern for each label, by the key; no network has a part in it.

        That of a label does not depend on the other labels.
        """
        first = int.from_bytes(randomness(key, 2, b"textures"), "little")
        of_labels = [textures(int(label), channels, first) for label in labels]
        size = channels * (GRID // TILE) ** 2 // 8
        raw = b"".join(
            randomness(key, size, b"pattern" + int(label).to_bytes(8, "little", signed=True))
            for label in labels
        )
        bits = np.unpackbits(np.frombuffer(raw, np.uint8)).astype(np.int8)
        signs = np.array(of_labels, np.int8).reshape(-1, channels, GRID, GRID)
        return cls(signs).with_flat(bits * 2 - 1)

    def with_flat(self, signs: Cells) -> Patterns:
        """Return these patterns with other flat tiles: signs of all tiles, K * C * 16 of them."""
        side = GRID // TILE
        of_cells = signs.reshape(*self.signs.shape[:2], side, side).repeat(TILE, 2).repeat(TILE, 3)
        return Patterns(np.where(FLAT, of_cells, self.signs))


@dataclass(frozen=True, eq=False)
class FittedPatterns(Mark):
    """The patterns of a surrogate, or others; a label is the number of one.

    Attributes
    ----------
    patterns : Patterns
    epsilon : int
        In grey levels.

    Examples
    --------
    >>> import dsguard, numpy as np
    >>> from dsguard.covers import FittedPatterns, Itself, Marked, Patterns
    >>> brighter = FittedPatterns(Patterns(np.ones((2, 3, 8, 8), np.int8)), epsilon=16)
    >>> key, clean = dsguard.DatasetKey(bytes(32)), np.full((2, 32, 32, 3), 90, np.uint8)
    >>> cover = Marked(Itself(), brighter)
    >>> out = dsguard.protect_batch(clean, key, cover=cover, labels=[0, 1], codec="exact")
    """

    patterns: Patterns
    epsilon: int = EPSILON

    def __post_init__(self) -> None:
        check_epsilon(self.epsilon)

    def settings(self) -> dict[str, str]:
        """Return radius, and a digest of the patterns."""
        digest = hashlib.sha256(self.patterns.signs.tobytes()).hexdigest()
        return {"mark": f"patterns, ε {self.epsilon}", "patterns": digest}

    def put(self, batch: Batch, on: Images, grid: int) -> Images:
        """Return `on` with the pattern of each label."""
        out = on.copy()
        numbers = batch.numbers()
        out[..., :3] = self.patterns.added(batch.images, on, numbers, self.epsilon, grid)
        return out


@dataclass(frozen=True)
class DrawnPatterns(Mark):
    """Patterns that the key draws, one for each label; no network has a part in them.

    Attributes
    ----------
    key : DatasetKey
    epsilon : int
        In grey levels.

    Examples
    --------
    >>> import dsguard, numpy as np
    >>> key = dsguard.DatasetKey(bytes(32))
    >>> clean = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), np.uint8)
    >>> from dsguard.covers import Blank, DrawnPatterns, Marked
    >>> cover = Marked(Blank(key), DrawnPatterns(key, 16))
    >>> out = dsguard.protect_batch(clean, key, cover=cover, labels=[0, 1, 0, 1])
    """

    key: DatasetKey
    epsilon: int = EPSILON

    def __post_init__(self) -> None:
        check_epsilon(self.epsilon)

    def settings(self) -> dict[str, str]:
        """Return radius, and a digest of the first pattern."""
        made_of = Patterns.drawn([0], self.key).signs.tobytes()
        digest = hashlib.sha256(made_of).hexdigest()
        return {"mark": f"drawn patterns, ε {self.epsilon}", "patterns": digest}

    def put(self, batch: Batch, on: Images, grid: int) -> Images:
        """Return `on` with the pattern of each label."""
        known, numbers = np.unique(batch.numbers(), return_inverse=True)
        patterns = Patterns.drawn(known.tolist(), self.key, min(on.shape[3], 3))
        # Of images that do not show, nothing may be told: a key moves the cells about as well.
        moves = _drawn_moves(batch.images, self.key)
        out = on.copy()
        out[..., :3] = patterns.added(
            batch.images, on, numbers.astype(np.int64), self.epsilon, grid, moves
        )
        return out


def cell_of(side: int, block: int, grid: int = GRID) -> npt.NDArray[np.int64]:
    """Return the cell that each row (or column) of an image lies in: whole blocks, `grid` cells."""
    blocks = max(1, side // block)
    first = TILE if blocks < UNIT else 0  # a small image has no room for a flat tile
    return first + np.minimum(np.arange(side) // block, blocks - 1) * grid // max(blocks, grid)


def textures(number: int, channels: int, first: int) -> Cells:
    """Return the textures of one class, everywhere: (C, 8, 8).

    There are 12 kinds (3 where there are no colours), counted from `first`. Numbers below that have
    one kind in all tiles, and others, up to the third power, another combination of three each.
    """
    colours = _COLOURS[channels]
    kinds = len(_DIRECTIONS) * len(colours)
    found, kind = [], first
    for power in range(3):
        kind += number // kinds**power
        colour, direction = colours[kind % len(colours)], _DIRECTIONS[kind % len(_DIRECTIONS)]
        found.append(colour[:, None, None] * direction)
    unit = np.block([[found[0], found[0]], [found[1], found[2]]])  # the first becomes flat
    return np.tile(unit, (1, GRID // UNIT, GRID // UNIT))


def _drawn_moves(images: Images, key: DatasetKey) -> Moves:
    """Return moves that the key draws, the same for equal images, (N, 4, 4)."""
    numbers = drawn_for_images(key, b"moves", images)[:, :16] & 3
    return numbers.astype(np.int64).reshape(-1, 4, 4)


def _moves(images: Images, units: int) -> npt.NDArray[np.int64]:
    """Return how the cells of the tiles of each unit are moved, (N, units, units).

    Bit 1 says whether the rows of a tile change places, bit 0 its columns. The bits are as good as
    drawn, and the same again for the same image: SplitMix64 (Steele et al., OOPSLA 2014) of the sum
    of the image, and of the unit.
    """
    sums = images.sum(axis=(1, 2, 3), dtype=np.uint64)
    unit = np.arange(units * units, dtype=np.uint64)
    mixed = (sums[:, None] * np.uint64(len(unit)) + unit) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ mixed >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ mixed >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    moves: npt.NDArray[np.int64] = (mixed >> np.uint64(62)).astype(np.int64)
    return moves.reshape(-1, units, units)
