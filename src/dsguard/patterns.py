"""Patterns: class-wise perturbations on a coarse grid, and how an image gets that of its class.

A network finds a perturbation sooner the more images share it, and what it finds before it has
learned anything else keeps it from learning. One pattern for each class is found at once, and
taken out as easily: by a linear classifier, or as the mean of the class. So a pattern has two
halves. The *fixed* cells are the same in all images of the class; the *alternating* ones change
their sign from image to image, have no mean, and no linear classifier sees them.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from dsguard.profile import STRENGTHS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dsguard.envelope import DatasetKey

GRID = 8
"""Cells of a pattern from top to bottom and from side to side, whatever the size of the image: 4
pixels of a CIFAR image, whole blocks of any image."""

_CELL_BITS = 3 * GRID * GRID
_PERIOD = 4
_CANDIDATES = 64

Cells = npt.NDArray[np.int8]
Images = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Patterns:
    """One pattern for each class.

    Attributes
    ----------
    signs : ndarray of int8, shape (K, C, 8, 8)
        1 or -1: whether a cell grows brighter or darker, by ε.
    fixed : ndarray of bool, shape (K, C, 8, 8)
        False where the sign alternates.
    """

    signs: Cells
    fixed: npt.NDArray[np.bool_]

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
            Clean images, which decide the sign of their alternating cells.
        to : ndarray of uint8, shape of `images`
        numbers : ndarray of int64, shape (N,)
            Class numbers.
        epsilon : int
            In grey levels.
        block : int
        """
        cells = self._of(images, numbers, block).astype(np.int16)
        return (to[..., :3] + epsilon * cells).clip(0, 255).astype(np.uint8)

    def _of(self, images: Images, numbers: npt.NDArray[np.int64], block: int) -> Cells:
        """Return the pattern of each image, (N, H, W, C) of 1 and -1, constant on its blocks.

        The alternating cells of an image have the sign of the parity of its sum: as good as drawn,
        and the same again for the same image.
        """
        height, width, channels = images.shape[1:]
        odd = images[..., :3].sum(axis=(1, 2, 3), dtype=np.int64) & 1
        alternated = np.where(self.fixed[numbers], 1, 1 - 2 * odd[:, None, None, None])
        cells = (self.signs[numbers] * alternated).transpose(0, 2, 3, 1)
        if channels == 1 and cells.shape[3] == 3:
            cells = np.where(cells.sum(axis=3, keepdims=True) > 0, 1, -1)
        rows, columns = cell_of(height, block), cell_of(width, block)
        return cells[:, rows[:, None], columns].astype(np.int8)

    def for_radius(self, epsilon: int) -> Patterns:
        """Return what to use of these at a radius: below 16, periodic ones made from them.

        A small pattern is found too late where crops and flips move it about, unless it looks the
        same wherever it is moved to.
        """
        if epsilon >= STRENGTHS["standard"]:
            return self
        secret = hashlib.sha256(self.signs.tobytes() + self.fixed.tobytes()).digest()
        classes, channels = self.signs.shape[:2]
        return Patterns.periodic(classes, channels, secret)

    @classmethod
    def periodic(cls, classes: int, channels: int, secret: bytes) -> Patterns:
        """Draw patterns that repeat every four cells, are mirrored, and fixed throughout.

        Each is the one of some drawn that is least like those before it, wherever it is moved to.

        Parameters
        ----------
        classes, channels : int
        secret : bytes
            Equal secrets give equal patterns.
        """
        rng = np.random.default_rng(np.frombuffer(secret, np.uint32))
        chosen = np.empty((0, channels, _PERIOD, _PERIOD), np.float32)
        while len(chosen) < classes:
            half = rng.choice([-1.0, 1.0], (_CANDIDATES, channels, _PERIOD, _PERIOD // 2))
            drawn = np.concatenate([half, half[..., ::-1]], axis=3).astype(np.float32)
            likeness = [
                drawn.reshape(_CANDIDATES, -1)
                @ np.roll(chosen, move, (2, 3)).reshape(len(chosen), channels * _PERIOD**2).T
                for move in np.ndindex(_PERIOD, _PERIOD)
            ]
            best = np.max(likeness, axis=(0, 2), initial=-np.inf).argmin()
            chosen = np.concatenate([chosen, drawn[best][None]])
        signs = np.tile(chosen.astype(np.int8), (1, 1, GRID // _PERIOD, GRID // _PERIOD))
        return cls(signs, np.ones(signs.shape, bool))

    @classmethod
    def drawn(cls, labels: Sequence[int], key: DatasetKey) -> Patterns:
        """Draw a pattern for each label, by the key; no network has a part in it."""
        size = _CELL_BITS // 8
        drawn = [
            key.randomness(2 * size, b"pattern" + int(label).to_bytes(8, "little", signed=True))
            for label in labels
        ]
        raw = np.frombuffer(b"".join(drawn), np.uint8).reshape(len(drawn), 2, size)
        bits = np.unpackbits(raw, axis=2).reshape(len(drawn), 2, 3, GRID, GRID)
        return cls(bits[:, 0].astype(np.int8) * 2 - 1, bits[:, 1].astype(bool))


def cell_of(side: int, block: int) -> npt.NDArray[np.int64]:
    """Return the cell that each row (or column) of an image lies in: whole blocks, GRID cells."""
    blocks = max(1, side // block)
    return np.minimum(np.arange(side) // block, blocks - 1) * GRID // max(blocks, GRID)
