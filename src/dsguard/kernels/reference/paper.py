"""Profile paper in plain NumPy: the specification."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from dsguard.kernels.contract import Bytes, Images, Mask
from dsguard.kernels.geometry import BLOCK, Geometry, Tile

_N = BLOCK * BLOCK


def transform(
    clean: Images, target: Images, geometry: Geometry, out: Images | None = None
) -> tuple[Images, Bytes]:
    """See `dsguard.kernels.contract.Kernels.transform`."""
    temporary = np.empty_like(clean) if out is None else out
    temporary[...] = clean
    sequences = np.zeros((len(clean), geometry.sequence_bytes), np.uint8)
    for n in range(len(clean)):
        fields: list[tuple[int, int]] = []
        for colour in range(geometry.colours):
            for tile in geometry.tiles():
                source = _blocks(clean[n, :, :, colour], tile)
                wanted = _blocks(target[n, :, :, colour], tile)
                blocks = _transform_tile(source, wanted, geometry.planes, fields)
                _put_blocks(temporary[n, :, :, colour], tile, blocks)
        sequences[n] = _pack(fields, geometry.sequence_bytes)
    return temporary, sequences


def invert(
    temporary: Images, sequences: Bytes, geometry: Geometry, out: Images | None = None
) -> tuple[Images, Mask]:
    """See `dsguard.kernels.contract.Kernels.invert`."""
    clean = np.empty_like(temporary) if out is None else out
    clean[...] = temporary
    malformed = np.zeros(len(temporary), bool)
    for n in range(len(temporary)):
        fields = _Reader(sequences[n])
        malformed[n] = not _invert_image(temporary[n], clean[n], fields, geometry)
    return clean, malformed


def embed(images: Images, payloads: Bytes, geometry: Geometry) -> None:
    """See `dsguard.kernels.contract.Kernels.embed`."""
    for image, payload in zip(
        images, np.broadcast_to(payloads, (len(images), payloads.shape[-1])), strict=True
    ):
        bits = np.unpackbits(payload, bitorder="little")
        for plane in range(geometry.planes):
            part = bits[plane * geometry.plane_bits : (plane + 1) * geometry.plane_bits]
            grid = image[: geometry.grid_height, : geometry.grid_width, : geometry.colours]
            samples = grid.reshape(-1)
            samples[: len(part)] = samples[: len(part)] & ~np.uint8(1 << plane) | part << plane
            grid[...] = samples.reshape(grid.shape)


def extract(images: Images, size: int, geometry: Geometry) -> Bytes:
    """See `dsguard.kernels.contract.Kernels.extract`."""
    grid = images[:, : geometry.grid_height, : geometry.grid_width, : geometry.colours]
    samples = grid.reshape(len(images), geometry.plane_bits)
    bits = np.concatenate([samples >> plane & 1 for plane in range(geometry.planes)], axis=1)
    return np.packbits(bits[:, : 8 * size], axis=1, bitorder="little")


def _blocks(channel: Images, tile: Tile) -> Images:
    """Return the blocks of a tile in raster order, shape (blocks, 4, 4)."""
    rows = slice(tile.row * BLOCK, (tile.row + tile.rows) * BLOCK)
    columns = slice(tile.column * BLOCK, (tile.column + tile.columns) * BLOCK)
    grid = channel[rows, columns].reshape(tile.rows, BLOCK, tile.columns, BLOCK)
    return grid.transpose(0, 2, 1, 3).reshape(tile.blocks, BLOCK, BLOCK)


def _put_blocks(channel: Images, tile: Tile, blocks: Images) -> None:
    """Undo `_blocks`: write the blocks of a tile into the channel."""
    rows = slice(tile.row * BLOCK, (tile.row + tile.rows) * BLOCK)
    columns = slice(tile.column * BLOCK, (tile.column + tile.columns) * BLOCK)
    grid = blocks.reshape(tile.rows, tile.columns, BLOCK, BLOCK).transpose(0, 2, 1, 3)
    channel[rows, columns] = grid.reshape(tile.rows * BLOCK, tile.columns * BLOCK)


def _rank(blocks: Images) -> list[int]:
    """Return the blocks in the order of their standard deviations, ties in raster order.

    The key is n·Σx² - (Σx)², n² times the variance: an integer, so that all machines agree.
    """
    values = blocks.reshape(len(blocks), _N).astype(np.int64)
    keys = _N * (values**2).sum(axis=1) - values.sum(axis=1) ** 2
    return [int(block) for block in np.argsort(keys, kind="stable")]


def _transform_tile(
    source: Images, wanted: Images, planes: int, fields: list[tuple[int, int]]
) -> Images:
    """Transform one tile and append its (value, width) fields: digits, shifts, rotations."""
    n = len(source)
    pairing = [0] * n
    for block, place in zip(_rank(source), _rank(wanted), strict=True):
        pairing[place] = block
    out = np.empty_like(source)
    shifts, turns = [], []
    for place, block in enumerate(pairing):
        shift = _shift(source[block], wanted[place], planes)
        shifted = source[block] + np.int64(shift << planes)
        errors = [int(((np.rot90(shifted, turn) - wanted[place]) ** 2).sum()) for turn in range(4)]
        turn = errors.index(min(errors))
        out[place] = np.rot90(shifted, turn)
        shifts.append((shift % (256 >> planes), 8 - planes))
        turns.append((turn, 2))
    fields += [(digit, i.bit_length()) for i, digit in enumerate(_digits(pairing)) if i > 0]
    fields += shifts + turns
    return out


def _shift(source: Images, wanted: Images, planes: int) -> int:
    """Return the mean shift in steps of 2**planes, clamped so that no sample leaves 0..255."""
    difference = int(wanted.sum(dtype=np.int64)) - int(source.sum(dtype=np.int64))
    steps = (difference + (_N // 2 << planes)) // (_N << planes)
    least = -(int(source.min()) >> planes)
    most = 255 - int(source.max()) >> planes
    return min(max(steps, least), most)


def _digits(pairing: list[int]) -> list[int]:
    """Return the swaps that make the pairing from the identity (Fisher-Yates).

    Digit i is the place 0..i that place i is swapped with, for i = 1, 2, ...; digit 0 is 0.
    """
    left = list(pairing)
    digits = [0] * len(left)
    for i in range(len(left) - 1, 0, -1):
        digits[i] = left.index(i)
        left[digits[i]], left[i] = left[i], left[digits[i]]
    return digits


def _invert_image(temporary: Images, clean: Images, fields: _Reader, geometry: Geometry) -> bool:
    """Invert the tiles of one image into `clean`; False where the Sequence is malformed."""
    for colour in range(geometry.colours):
        for tile in geometry.tiles():
            blocks = _invert_tile(_blocks(temporary[..., colour], tile), geometry.planes, fields)
            if blocks is None:
                return False
            _put_blocks(clean[..., colour], tile, blocks)
    return True


def _invert_tile(blocks: Images, planes: int, fields: _Reader) -> Images | None:
    """Invert one tile; None where its pairing is malformed."""
    n = len(blocks)
    pairing = list(range(n))
    for i in range(1, n):
        digit = fields.take(i.bit_length())
        if digit > i:
            return None
        pairing[i], pairing[digit] = pairing[digit], pairing[i]
    shifts = [fields.take(8 - planes) << planes for _ in range(n)]
    turns = [fields.take(2) for _ in range(n)]
    clean = np.empty_like(blocks)
    for place, block in enumerate(pairing):
        clean[block] = np.rot90(blocks[place] - np.uint8(shifts[place]), -turns[place])
    return clean


def _pack(fields: list[tuple[int, int]], size: int) -> Bytes:
    """Pack (value, width) fields, least significant bit first."""
    bits = [value >> bit & 1 for value, width in fields for bit in range(width)]
    bits += [0] * (8 * size - len(bits))
    return np.packbits(np.array(bits, np.uint8), bitorder="little")


class _Reader:
    """Reads what `_pack` wrote."""

    def __init__(self, packed: Bytes) -> None:
        self._bits: Iterator[int] = iter(np.unpackbits(packed, bitorder="little").tolist())

    def take(self, width: int) -> int:
        return sum(next(self._bits) << bit for bit in range(width))
