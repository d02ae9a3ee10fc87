"""Profile paper in Numba; the algorithms are those of the C core."""

from __future__ import annotations

import numpy as np
from numba import njit

from dsguard.kernels.contract import Bytes, Images, Mask
from dsguard.kernels.geometry import BLOCK, TILE, Geometry

_N = BLOCK * BLOCK
_TILE_BLOCKS = TILE * TILE
_ROTATION = np.array(
    [np.rot90(np.arange(_N).reshape(BLOCK, BLOCK), turn).reshape(-1) for turn in range(4)]
)
_WIDTH = np.array([i.bit_length() for i in range(_TILE_BLOCKS)])


def transform(
    clean: Images, target: Images, geometry: Geometry, out: Images | None = None
) -> tuple[Images, Bytes]:
    """See `dsguard.kernels.contract.Kernels.transform`."""
    temporary = np.empty_like(clean) if out is None else out
    sequences = np.zeros((len(clean), geometry.sequence_bytes), np.uint8)
    _transform(clean, target, temporary, sequences, geometry.colours, geometry.planes)
    return temporary, sequences


def invert(
    temporary: Images, sequences: Bytes, geometry: Geometry, out: Images | None = None
) -> tuple[Images, Mask]:
    """See `dsguard.kernels.contract.Kernels.invert`."""
    clean = np.empty_like(temporary) if out is None else out
    malformed = np.zeros(len(temporary), np.bool_)
    _invert(temporary, sequences, clean, malformed, geometry.colours, geometry.planes)
    return clean, malformed


def embed(images: Images, payloads: Bytes, geometry: Geometry) -> None:
    """See `dsguard.kernels.contract.Kernels.embed`."""
    each = np.ascontiguousarray(np.broadcast_to(payloads, (len(images), payloads.shape[-1])))
    _embed(images, each, *_layout(geometry))


def extract(images: Images, size: int, geometry: Geometry) -> Bytes:
    """See `dsguard.kernels.contract.Kernels.extract`."""
    payloads = np.zeros((len(images), size), np.uint8)
    _extract(images, payloads, *_layout(geometry))
    return payloads


def _layout(geometry: Geometry) -> tuple[int, int, int, int]:
    return geometry.grid_height, geometry.grid_width, geometry.colours, geometry.planes


_jit = njit(nogil=True, cache=True)


@_jit
def _transform(clean, target, temporary, sequences, colours, planes):
    _, height, width, _ = clean.shape
    down, across = height // BLOCK, width // BLOCK
    source = np.empty((_N, _TILE_BLOCKS), np.uint8)
    wanted = np.empty((_N, _TILE_BLOCKS), np.uint8)
    temporary[...] = clean
    for image in range(len(clean)):
        at = 0
        for colour in range(colours):
            for row in range(0, down, TILE):
                for column in range(0, across, TILE):
                    rows, columns = min(TILE, down - row), min(TILE, across - column)
                    _read(clean[image, :, :, colour], row, column, rows, columns, source)
                    _read(target[image, :, :, colour], row, column, rows, columns, wanted)
                    at = _transform_tile(
                        source, wanted, rows * columns, planes, sequences[image], at
                    )
                    _write(temporary[image, :, :, colour], row, column, rows, columns, source)


@_jit
def _invert(temporary, sequences, clean, malformed, colours, planes):
    _, height, width, _ = temporary.shape
    down, across = height // BLOCK, width // BLOCK
    blocks = np.empty((_N, _TILE_BLOCKS), np.uint8)
    clean[...] = temporary
    for image in range(len(temporary)):
        at = 0
        for colour in range(colours):
            for row in range(0, down, TILE):
                for column in range(0, across, TILE):
                    if malformed[image]:
                        continue
                    rows, columns = min(TILE, down - row), min(TILE, across - column)
                    _read(temporary[image, :, :, colour], row, column, rows, columns, blocks)
                    at = _invert_tile(blocks, rows * columns, planes, sequences[image], at)
                    if at < 0:
                        malformed[image] = True
                    else:
                        _write(clean[image, :, :, colour], row, column, rows, columns, blocks)


@_jit
def _read(channel, row, column, rows, columns, samples):
    """Read the blocks of a tile: sample k of block i goes to samples[k, i]."""
    for y in range(rows * BLOCK):
        for x in range(columns * BLOCK):
            k, i = y % BLOCK * BLOCK + x % BLOCK, y // BLOCK * columns + x // BLOCK
            samples[k, i] = channel[row * BLOCK + y, column * BLOCK + x]


@_jit
def _write(channel, row, column, rows, columns, samples):
    for y in range(rows * BLOCK):
        for x in range(columns * BLOCK):
            k, i = y % BLOCK * BLOCK + x % BLOCK, y // BLOCK * columns + x // BLOCK
            channel[row * BLOCK + y, column * BLOCK + x] = samples[k, i]


@_jit
def _rank(samples, n):
    """Return the blocks in the order of n·Σx² - (Σx)², ties in raster order."""
    key = np.empty(n, np.int32)
    order = np.empty(n, np.int64)
    for i in range(n):
        total, squares = np.int64(0), np.int64(0)
        for k in range(_N):
            value = np.int64(samples[k, i])
            total += value
            squares += value * value
        key[i] = (_N * squares - total * total) * _TILE_BLOCKS + i
    for i in range(n):
        rank = 0
        for j in range(n):
            rank += key[j] < key[i]
        order[rank] = i
    return order


@_jit
def _shift(source, block, wanted, place, planes):
    """Return the mean shift in steps of 2**planes, clamped so that no sample leaves 0..255."""
    difference, low, high = np.int64(0), np.int64(255), np.int64(0)
    for k in range(_N):
        value = np.int64(source[k, block])
        difference += np.int64(wanted[k, place]) - value
        low, high = min(low, value), max(high, value)
    steps = (difference + (_N // 2 << planes)) >> (planes + 4)
    return min(max(steps, -(low >> planes)), (255 - high) >> planes)


@_jit
def _turn(source, block, wanted, place):
    """Return the turn of highest correlation, which is that of least squared error."""
    chosen, best = 0, np.int64(-1)
    for turn in range(4):
        correlation = np.int64(0)
        for k in range(_N):
            correlation += np.int64(source[_ROTATION[turn, k], block]) * np.int64(wanted[k, place])
        if correlation > best:
            chosen, best = turn, correlation
    return chosen


@_jit
def _transform_tile(source, wanted, n, planes, sequence, at):
    """Transform one tile within `source`, append its fields; return where the next ones go."""
    pairing = np.empty(n, np.int64)
    pairing[_rank(wanted, n)] = _rank(source, n)
    out = np.empty((_N, n), np.uint8)
    shifts, turns = np.empty(n, np.int64), np.empty(n, np.int64)
    for i in range(n):
        shifts[i] = _shift(source, pairing[i], wanted, i, planes)
        turns[i] = _turn(source, pairing[i], wanted, i)
        for k in range(_N):
            out[k, i] = source[_ROTATION[turns[i], k], pairing[i]] + (shifts[i] << planes)
    source[:, :n] = out
    place = np.empty(n, np.int64)
    place[pairing] = np.arange(n)
    digits = np.empty(n, np.int64)
    for i in range(n - 1, 0, -1):  # undo the swaps that make the pairing from the identity
        digits[i] = place[i]
        pairing[digits[i]] = pairing[i]
        place[pairing[i]] = digits[i]
    for i in range(1, n):
        at = _put(sequence, at, digits[i], _WIDTH[i])
    for i in range(n):
        at = _put(sequence, at, shifts[i] & (255 >> planes), 8 - planes)
    for i in range(n):
        at = _put(sequence, at, turns[i], 2)
    return at


@_jit
def _invert_tile(blocks, n, planes, sequence, at):
    """Invert one tile within `blocks`; return where the next fields start, -1 if malformed."""
    pairing = np.arange(n)
    for i in range(1, n):
        digit = _take(sequence, at, _WIDTH[i])
        at += _WIDTH[i]
        if digit > i:
            return -1
        pairing[i], pairing[digit] = pairing[digit], pairing[i]
    out = np.empty((_N, n), np.uint8)
    for i in range(n):
        shift = _take(sequence, at + i * (8 - planes), 8 - planes) << planes
        turn = _take(sequence, at + n * (8 - planes) + 2 * i, 2)
        for k in range(_N):
            out[_ROTATION[turn, k], pairing[i]] = blocks[k, i] - shift
    blocks[:, :n] = out
    return at + n * (8 - planes + 2)


@_jit
def _put(stream, at, value, width):
    """Write `width` (at most 8) bits to zeros from bit `at` on; return where the next go."""
    shifted = value << at % 8
    stream[at // 8] |= np.uint8(shifted & 255)
    if at % 8 + width > 8:
        stream[at // 8 + 1] |= np.uint8(shifted >> 8)
    return at + width


@_jit
def _take(stream, at, width):
    """Read `width` (at most 8) bits from bit `at` on."""
    value = np.int64(stream[at // 8])
    if at % 8 + width > 8:
        value |= np.int64(stream[at // 8 + 1]) << 8
    return value >> at % 8 & ((1 << width) - 1)


@_jit
def _embed(images, payloads, height, width, colours, planes):
    bits = 8 * payloads.shape[1]
    for n in range(len(images)):
        bit = 0
        for plane in range(planes):
            keep = np.uint8(255 - (1 << plane))
            for y in range(height):
                for x in range(width):
                    for c in range(colours):
                        if bit < bits:
                            value = payloads[n, bit // 8] >> bit % 8 & 1
                            images[n, y, x, c] = images[n, y, x, c] & keep | value << plane
                            bit += 1


@_jit
def _extract(images, payloads, height, width, colours, planes):
    bits = 8 * payloads.shape[1]
    for n in range(len(images)):
        bit = 0
        for plane in range(planes):
            for y in range(height):
                for x in range(width):
                    for c in range(colours):
                        if bit < bits:
                            value = images[n, y, x, c] >> plane & 1
                            payloads[n, bit // 8] |= value << bit % 8
                            bit += 1
