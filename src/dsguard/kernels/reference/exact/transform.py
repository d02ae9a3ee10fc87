"""Profile exact, transformation and Sequence in plain NumPy: the specification.

Written to be read; ``docs/format.md`` says the same in words. Hiding is in `hiding`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from dsguard.kernels.contract import Bytes, Images, Lengths, Mask, Modes
from dsguard.kernels.geometry import TILE, Geometry
from dsguard.kernels.reference.exact.range_coder import Decoder, Encoder, Model

Blocks: TypeAlias = npt.NDArray[np.int64]

MODE_CLASSES = 4
CLASS_STEP = 8
_UNARY = 6
_RAW_LENGTHS = 9
_NEAR = 144


class Malformed(Exception):
    """A Sequence that no encoder writes."""


def encode(
    clean: Images, target: Images, geometry: Geometry, block: int, *, coarse: bool = False
) -> tuple[Images, Bytes, Lengths, Modes]:
    """See `dsguard.kernels.contract.Kernels.encode`."""
    pairs = zip(clean, target, strict=True)
    results = [_encode(*pair, geometry, block, coarse=coarse) for pair in pairs]
    longest = max((len(sequence) for _, sequence, _ in results), default=0)
    sequences = np.zeros((len(clean), longest), np.uint8)
    for row, (_, sequence, _) in zip(sequences, results, strict=True):
        row[: len(sequence)] = np.frombuffer(sequence, np.uint8)
    temporary = np.stack([image for image, _, _ in results]) if results else np.empty_like(clean)
    lengths = np.array([len(sequence) for _, sequence, _ in results], np.uint32)
    return temporary, sequences, lengths, np.array([mode for *_, mode in results], np.uint8)


def decode(
    temporary: Images, modes: Modes, sequences: Bytes, lengths: Lengths, geometry: Geometry
) -> tuple[Images, Mask]:
    """See `dsguard.kernels.contract.Kernels.decode`."""
    clean, malformed = temporary.copy(), np.zeros(len(temporary), bool)
    for n, mode in enumerate(modes.tolist()):
        decoder = Decoder(sequences[n, : lengths[n]].tobytes())
        try:
            _check_mode(mode, geometry)
            _decode(clean[n], decoder, geometry, block_of(mode), classes=bool(mode & MODE_CLASSES))
        except Malformed:
            malformed[n] = True
    return clean, malformed


def block_of(mode: int) -> int:
    """Return the side of a block that a mode says."""
    return 2 << (mode & 3)


def colour_order(geometry: Geometry) -> tuple[int, ...]:
    """Return the colours in the order of coding: green first, because it predicts the others."""
    return (1, 0, 2) if geometry.colours == 3 else (0,)


class Patch:
    """Up to 8×8 blocks of any side: one tile of an image."""

    def __init__(self, row: int, column: int, rows: int, columns: int, block: int) -> None:
        self.row, self.column, self.rows, self.columns, self.block = (
            row,
            column,
            rows,
            columns,
            block,
        )

    def read(self, channel: npt.NDArray[np.uint8]) -> Blocks:
        """Return the blocks in raster order, shape (blocks, b, b)."""
        area = channel[self._area()].reshape(self.rows, self.block, self.columns, self.block)
        return area.transpose(0, 2, 1, 3).reshape(-1, self.block, self.block).astype(np.int64)

    def write(self, channel: npt.NDArray[np.uint8], blocks: Blocks) -> None:
        """Write blocks back, modulo 256."""
        shape = (self.rows, self.columns, self.block, self.block)
        area = (blocks % 256).astype(np.uint8).reshape(shape).transpose(0, 2, 1, 3)
        channel[self._area()] = area.reshape(self.rows * self.block, self.columns * self.block)

    def _area(self) -> tuple[slice, slice]:
        b = self.block
        return (
            slice(self.row * b, (self.row + self.rows) * b),
            slice(self.column * b, (self.column + self.columns) * b),
        )


def patches(geometry: Geometry, block: int) -> Iterator[Patch]:
    """Yield the patches of an image in raster order."""
    down, across = geometry.height // block, geometry.width // block
    for row in range(0, down, TILE):
        for column in range(0, across, TILE):
            yield Patch(row, column, min(TILE, down - row), min(TILE, across - column), block)


def _check_mode(mode: int, geometry: Geometry) -> None:
    fits = mode < 32 and mode & 3 < 3 and min(geometry.height, geometry.width) >= block_of(mode)
    if not fits:
        raise Malformed


def _encode(
    clean: npt.NDArray[np.uint8],
    target: npt.NDArray[np.uint8],
    geometry: Geometry,
    block: int,
    *,
    coarse: bool,
) -> tuple[npt.NDArray[np.uint8], bytes, int]:
    """Encode one image: by classes where identity is not near, and classes come nearer."""
    mode = {2: 0, 4: 1, 8: 2}[block]
    identity, sequence = _encode_identity(clean, target, geometry, block, coarse=coarse)
    error = _squared_error(identity, target)
    if error > _NEAR * clean.size and not coarse:
        classes, other = _encode_classes(clean, target, geometry, block)
        if _squared_error(classes, target) < error:
            return classes, other, mode | MODE_CLASSES
    return identity, sequence, mode


def _squared_error(a: npt.NDArray[np.uint8], b: npt.NDArray[np.uint8]) -> int:
    return int(((a.astype(np.int64) - b) ** 2).sum())


class _Models:
    """All models of a Sequence, fresh for every image."""

    def __init__(self) -> None:
        self.usual = [Model() for _ in range(4)]
        self.amount = [[Model() for _ in range(_UNARY)] for _ in range(4)]
        self.minus = [[Model() for _ in range(3)] for _ in range(4)]
        self.class_map = [Model() for _ in range(3)]
        self.step = [[Model() for _ in range(_UNARY)] for _ in range(2)]
        self.sign = [Model() for _ in range(2)]
        self.turn = [[Model() for _ in range(3)] for _ in range(2)]


def _put_number(encoder: Encoder, models: list[Model], value: int) -> None:
    """Encode a number from 0 up: in unary with models, what is left as an Elias gamma code."""
    for i, model in enumerate(models):
        encoder.bit(model, int(value > i))
        if value == i:
            return
    rest = value - _UNARY + 1
    length = rest.bit_length() - 1
    encoder.raw((1 << length) - 1, length)
    encoder.raw(0, 1)
    encoder.raw(rest & (1 << length) - 1, length)


def _take_number(decoder: Decoder, models: list[Model]) -> int:
    for i, model in enumerate(models):
        if not decoder.bit(model):
            return i
    length = 0
    while length < _RAW_LENGTHS and decoder.raw(1):
        length += 1
    return (1 << length | decoder.raw(length)) - 1 + _UNARY


def _mean_steps(difference: int, samples: int, step: int) -> int:
    """Return a difference of sums as a shift in steps, rounded to the nearest, halves up."""
    return (difference + samples * step // 2) // (samples * step)


# ---- identity ----


def _identity_shifts(clean: Blocks, target: Blocks, only: int = 0) -> list[int]:
    """Return the shift of each block to the mean of its target; none where it would not fit.

    With `only`, that is the size of all shifts but 0.
    """
    shifts = []
    for source, wanted in zip(clean, target, strict=True):
        shift = _mean_steps(int(wanted.sum() - source.sum()), source.size, 1)
        if only:
            shift = only * int(np.sign(shift))
        fits = source.min() + shift >= 0 and source.max() + shift <= 255
        shifts.append(shift if fits else 0)
    return shifts


def _edges(blocks: Blocks) -> list[int]:
    """Return for each block 1 if it has a sample of 0, plus 2 if it has one of 255."""
    return [int((block == 0).any()) + 2 * int((block == 255).any()) for block in blocks]


def _sign_context(shift: int) -> int:
    return 0 if shift == 0 else 1 if shift > 0 else 2


def _sizes(all_shifts: list[list[int]]) -> npt.NDArray[np.intp]:
    """Return how often each size of shift occurs."""
    return np.bincount([abs(s) for shifts in all_shifts for s in shifts], minlength=256)


def _encode_identity(
    clean: npt.NDArray[np.uint8],
    target: npt.NDArray[np.uint8],
    geometry: Geometry,
    block: int,
    *,
    coarse: bool,
) -> tuple[npt.NDArray[np.uint8], bytes]:
    temporary, encoder, models = clean.copy(), Encoder(), _Models()
    parts = [(patch, c) for patch in patches(geometry, block) for c in colour_order(geometry)]
    sources = [patch.read(clean[..., colour]) for patch, colour in parts]
    goals = [patch.read(target[..., colour]) for patch, colour in parts]
    moves = [_identity_shifts(*pair) for pair in zip(sources, goals, strict=True)]
    if coarse:
        only = 1 + int(_sizes(moves)[1:].argmax())
        moves = [_identity_shifts(*pair, only) for pair in zip(sources, goals, strict=True)]
    usual = int(_sizes(moves).argmax())  # the smallest of equally frequent ones
    encoder.raw(usual, 8)
    first: list[int] = []
    for (patch, colour), blocks, shifts in zip(parts, sources, moves, strict=True):
        leading = colour == colour_order(geometry)[0]
        before = [0] * len(shifts) if leading else first
        moved = blocks + np.array(shifts).reshape(-1, 1, 1)
        patch.write(temporary[..., colour], moved)
        for shift, edge, sign in zip(shifts, _edges(moved), before, strict=True):
            encoder.bit(models.usual[edge], int(abs(shift) != usual))
            if abs(shift) != usual:
                _put_number(encoder, models.amount[edge], abs(shift))
            if shift:
                encoder.bit(models.minus[edge][_sign_context(sign)], int(shift < 0))
        first = shifts if leading else first
    return temporary, encoder.finish()


def _decode_identity(
    image: npt.NDArray[np.uint8], decoder: Decoder, geometry: Geometry, block: int
) -> None:
    models = _Models()
    usual = decoder.raw(8)
    for patch in patches(geometry, block):
        first: list[int] = []
        for colour in colour_order(geometry):
            blocks = patch.read(image[..., colour])
            shifts = []
            for i, edge in enumerate(_edges(blocks)):
                size = usual
                if decoder.bit(models.usual[edge]):
                    size = _take_number(decoder, models.amount[edge])
                context = _sign_context(first[i] if first else 0)
                minus = size > 0 and decoder.bit(models.minus[edge][context])
                shifts.append(-size if minus else size)
            patch.write(image[..., colour], blocks - np.array(shifts).reshape(-1, 1, 1))
            first = first or shifts


# ---- classes ----


def _keys(blocks: Blocks) -> npt.NDArray[np.int64]:
    """Return n·Σx² - (Σx)² of each block: n² times the variance, unchanged by shift and turn."""
    flat = blocks.reshape(len(blocks), -1)
    keys: npt.NDArray[np.int64] = flat.shape[1] * (flat**2).sum(axis=1) - flat.sum(axis=1) ** 2
    return keys


def _joint(blocks: dict[int, Blocks]) -> npt.NDArray[np.int64]:
    """Return the sum of the keys of all colours: one class for a block, whatever its colour."""
    joint: npt.NDArray[np.int64] = np.sum([_keys(part) for part in blocks.values()], axis=0)
    return joint


def _classify(keys: npt.NDArray[np.int64]) -> list[int]:
    """Return 1 for the quarter of blocks with the largest keys, and all equal to the least."""
    n = len(keys)
    if n < 4:
        return [0] * n
    least = np.sort(keys)[n - n // 4]
    return [int(key >= least) for key in keys]


def _pair(of_source: list[int], of_place: list[int]) -> list[int]:
    """Return by place its source: the r-th of a class goes to the r-th place of that class."""
    queues = [iter([i for i, c in enumerate(of_source) if c == which]) for which in (0, 1)]
    return [next(queues[c]) for c in of_place]


def _class_context(of_source: list[int], i: int, columns: int) -> int:
    left = of_source[i - 1] if i % columns else 0
    return left + (of_source[i - columns] if i >= columns else 0)


def _predict_sum(sums: list[int], j: int, columns: int, first: int) -> int:
    """Predict the sum of source block j from those before it: the median edge detector."""
    if j == 0:
        return first
    if j < columns:
        return sums[j - 1]
    if j % columns == 0:
        return sums[j - columns]
    left, up, corner = sums[j - 1], sums[j - columns], sums[j - columns - 1]
    return min(max(left + up - corner, min(left, up)), max(left, up))


def _fitting_turn(source: Blocks, wanted: Blocks) -> int:
    """Return the turn of highest correlation, the smallest among equals; 0 for a flat block."""
    if (source == source[0, 0]).all():
        return 0
    correlations = [int((np.rot90(source, turn) * wanted).sum()) for turn in range(4)]
    return correlations.index(max(correlations))


def _encode_classes(
    clean: npt.NDArray[np.uint8], target: npt.NDArray[np.uint8], geometry: Geometry, block: int
) -> tuple[npt.NDArray[np.uint8], bytes]:
    temporary, encoder, models = clean.copy(), Encoder(), _Models()
    n, order = block * block, colour_order(geometry)
    first = dict.fromkeys(order, 128 * n)
    for patch in patches(geometry, block):
        source = {c: patch.read(clean[..., c]) for c in order}
        wanted = {c: patch.read(target[..., c]) for c in order}
        of_source = _classify(_joint(source))
        high = sum(of_source)
        ranked = np.argsort(_joint(wanted), kind="stable")
        of_place = [0] * len(of_source)
        for place in ranked[len(ranked) - high :]:
            of_place[place] = 1
        pairing = _pair(of_source, of_place)
        for i, which in enumerate(of_source):
            context = _class_context(of_source, i, patch.columns)
            encoder.bit(models.class_map[context], which)
        surprise: list[int] = []
        for other, c in enumerate(order):
            shifts, turns = [0] * len(pairing), [0] * len(pairing)
            out = np.empty_like(source[c])
            for place, j in enumerate(pairing):
                shift = _mean_steps(int(wanted[c][place].sum() - source[c][j].sum()), n, CLASS_STEP)
                least = -(int(source[c][j].min()) // CLASS_STEP)
                shifts[j] = min(max(shift, least), (255 - int(source[c][j].max())) // CLASS_STEP)
                turns[j] = _fitting_turn(source[c][j], wanted[c][place])
                out[place] = np.rot90(source[c][j], turns[j]) + CLASS_STEP * shifts[j]
            patch.write(temporary[..., c], out)
            sums = [int(value) for value in source[c].sum(axis=(1, 2))]
            for j, total in enumerate(sums):
                guess = _predict_sum(sums, j, patch.columns, first[c])
                if other:
                    guess += surprise[j]
                else:
                    surprise.append(total - guess)
                transformed = total + shifts[j] * n * CLASS_STEP
                step = shifts[j] - _mean_steps(transformed - guess, n, CLASS_STEP)
                _put_step(encoder, models, step, int(other > 0))
                if not (source[c][j] == source[c][j][0, 0]).all():
                    high_bit = turns[j] >> 1
                    tree = models.turn[int(other > 0)]
                    encoder.bit(tree[0], high_bit)
                    encoder.bit(tree[1 + high_bit], turns[j] & 1)
            first[c] = sums[0]
    return temporary, encoder.finish()


def _put_step(encoder: Encoder, models: _Models, step: int, other: int) -> None:
    _put_number(encoder, models.step[other], abs(step))
    if step:
        encoder.bit(models.sign[other], int(step < 0))


def _decode_classes(
    image: npt.NDArray[np.uint8], decoder: Decoder, geometry: Geometry, block: int
) -> None:
    models, n, order = _Models(), block * block, colour_order(geometry)
    first = dict.fromkeys(order, 128 * n)
    for patch in patches(geometry, block):
        blocks = {c: patch.read(image[..., c]) for c in order}
        keys = {c: _keys(blocks[c]) for c in order}
        of_source: list[int] = []
        for i in range(len(blocks[order[0]])):
            context = _class_context(of_source, i, patch.columns)
            of_source.append(decoder.bit(models.class_map[context]))
        of_place = _classify(_joint(blocks))
        if sum(of_place) != sum(of_source):
            raise Malformed
        place_of = np.argsort(_pair(of_source, of_place))
        surprise: list[int] = []
        for other, c in enumerate(order):
            out = np.empty_like(blocks[c])
            sums: list[int] = []
            for j, place in enumerate(place_of):
                guess = _predict_sum(sums, j, patch.columns, first[c])
                predicted = guess + (surprise[j] if other else 0)
                total = int(blocks[c][place].sum())
                shift = _mean_steps(total - predicted, n, CLASS_STEP)
                size = _take_number(decoder, models.step[int(other > 0)])
                shift += -size if size and decoder.bit(models.sign[int(other > 0)]) else size
                if not -31 <= shift <= 31:  # 255 / 8: no image has it
                    raise Malformed
                turn = 0
                if keys[c][place] > 0:
                    tree = models.turn[int(other > 0)]
                    high_bit = decoder.bit(tree[0])
                    turn = high_bit << 1 | decoder.bit(tree[1 + high_bit])
                sums.append(total - shift * n * CLASS_STEP)
                if not other:
                    surprise.append(sums[j] - guess)
                out[j] = np.rot90(blocks[c][place], -turn) - CLASS_STEP * shift
            first[c] = sums[0]
            patch.write(image[..., c], out)


def _decode(
    image: npt.NDArray[np.uint8],
    decoder: Decoder,
    geometry: Geometry,
    block: int,
    *,
    classes: bool,
) -> None:
    """Decode one image in place."""
    decode_as = _decode_classes if classes else _decode_identity
    decode_as(image, decoder, geometry, block)
