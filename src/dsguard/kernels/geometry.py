"""Geometry: the grid of an image, its tiles, the length of its Sequence, its capacity."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

BLOCK = 4
TILE = 8
SMALLEST_SIDE = 8
LARGEST_SIDE = 65535


@dataclass(frozen=True)
class Tile:
    """A rectangle of blocks within which blocks are paired; all numbers count blocks."""

    row: int
    column: int
    rows: int
    columns: int

    @property
    def blocks(self) -> int:
        """Number of blocks."""
        return self.rows * self.columns


@dataclass(frozen=True)
class Geometry:
    """The shape of one image and how many of its low bit planes carry payload.

    Attributes
    ----------
    height, width : int
        In pixels.
    channels : int
        Interleaved samples per pixel: 1, 3, or 4 with alpha last.
    planes : int
        1 or 2. The shift step λ is 2**planes, so a shift leaves exactly these planes unchanged.
    """

    height: int
    width: int
    channels: int
    planes: int

    @classmethod
    def of(cls, images: npt.NDArray[np.uint8], planes: int = 1) -> Geometry:
        """Return the geometry of a batch (N, H, W, C)."""
        _, height, width, channels = images.shape
        return cls(height, width, channels, planes)

    @property
    def colours(self) -> int:
        """Channels that take part: all but alpha."""
        return min(self.channels, 3)

    @property
    def grid_height(self) -> int:
        """Rows of samples covered by whole blocks; those below are margin."""
        return self.height // BLOCK * BLOCK

    @property
    def grid_width(self) -> int:
        """Columns of samples covered by whole blocks; those to the right are margin."""
        return self.width // BLOCK * BLOCK

    def tiles(self) -> Iterator[Tile]:
        """Yield the tiles of one channel in raster order; the last of each row may be narrower."""
        down, across = self.height // BLOCK, self.width // BLOCK
        for row in range(0, down, TILE):
            for column in range(0, across, TILE):
                yield Tile(row, column, min(TILE, down - row), min(TILE, across - column))

    @cached_property
    def sequence_bits(self) -> int:
        """Bits of the packed Sequence of one image."""
        per_channel = 0
        for tile in self.tiles():
            digits = sum(i.bit_length() for i in range(1, tile.blocks))
            per_channel += digits + tile.blocks * (8 - self.planes + 2)
        return per_channel * self.colours

    @property
    def sequence_bytes(self) -> int:
        """Whole bytes of the packed Sequence."""
        return -(-self.sequence_bits // 8)

    @property
    def plane_bits(self) -> int:
        """Payload bits that one plane can carry: one per colour sample of a whole block."""
        return self.grid_height * self.grid_width * self.colours

    @property
    def capacity_bits(self) -> int:
        """Payload bits that the image can carry."""
        return self.plane_bits * self.planes
