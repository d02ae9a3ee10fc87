"""Lossless coding of images: range ANS (Duda 2014), with one state for each plane.

A stream begins with a byte whose bits say which planes are constant, and with the values of these.
Then come 16-bit words, low byte first, in the order in which decoding takes them up: two for the
state of each other plane, then one whenever a state runs low.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from dsguard.kernels.contract import Bytes, Images, Lengths, Mask
from dsguard.kernels.reference.sealed.model import (
    BLUE,
    KINDS,
    PROBABILITY_BITS,
    RED,
    Around,
    Model,
    error_of,
    extra_bits,
    models,
    symbol_of,
    to_image,
    to_planes,
)

_WORD = 16
_LOWEST = 1 << _WORD
"""States are from here up to 65536 times that."""

Planes = npt.NDArray[np.int32]


def compress(images: Images) -> tuple[Bytes, Lengths]:
    """See `dsguard.kernels.contract.Kernels.compress`."""
    streams = [_compressed(image) for image in images]
    lengths = np.array([len(stream) for stream in streams], np.uint32)
    data = np.zeros((len(images), int(lengths.max(initial=0))), np.uint8)
    for row, stream in zip(data, streams, strict=True):
        row[: len(stream)] = np.frombuffer(stream, np.uint8)
    return data, lengths


def expand(data: Bytes, lengths: Lengths, shape: tuple[int, int, int]) -> tuple[Images, Mask]:
    """See `dsguard.kernels.contract.Kernels.expand`."""
    images = np.zeros((len(data), *shape), np.uint8)
    malformed = np.ones(len(data), np.bool_)
    for n, (row, length) in enumerate(zip(data, lengths.tolist(), strict=True)):
        image = _expanded(row[:length].tobytes(), shape)
        if image is not None:
            images[n], malformed[n] = image, False
    return images, malformed


class _Context:
    """What is known of a sample before it is coded: its prediction, and its table."""

    def __init__(self, planes: Planes, sizes: Planes, y: int, x: int, plane: int) -> None:
        kind = KINDS[planes.shape[2]][plane]
        model: Model = models()[kind]
        around = Around.of(planes[..., plane], y, x, kind)
        self.prediction = around.prediction(model, kind)
        width = planes.shape[1]
        places = ((y, x - 1), (y - 1, x), (y - 1, x + 1), (y - 1, x - 1))
        errors = [
            int(sizes[row, column, plane]) if row >= 0 and 0 <= column < width else 0
            for row, column in places
        ]
        errors += [int(sizes[y, x, RED])] if kind == BLUE else []
        expected = around.expected_size(model, errors)
        self.starts = model.starts[model.context(expected)]


def _order(planes: Planes, coded: list[int]) -> Iterator[tuple[int, int, int]]:
    """Yield the places of all samples in coding order: row, column, plane."""
    height, width, _ = planes.shape
    return ((y, x, n) for y in range(height) for x in range(width) for n in coded)


def _compressed(image: npt.NDArray[np.uint8]) -> bytes:
    planes = to_planes(image)
    sizes = np.zeros_like(planes)
    constant = [n for n in range(planes.shape[2]) if (planes[..., n] == planes[0, 0, n]).all()]
    coded = [n for n in range(planes.shape[2]) if n not in constant]
    steps = []
    for y, x, n in _order(planes, coded):
        context = _Context(planes, sizes, y, x, n)
        error = (int(planes[y, x, n]) - context.prediction + 128 & 255) - 128
        sizes[y, x, n] = abs(error)
        symbol, bits, extra = symbol_of(error)
        start, end = context.starts[symbol : symbol + 2]
        steps.append((n, start, end - start, bits, extra))
    states = dict.fromkeys(coded, _LOWEST)
    words: list[int] = []  # last first
    for n, start, frequency, bits, extra in reversed(steps):
        state = _lowered(states[n], 1 << 2 * _WORD - bits, words) << bits | extra
        state = _lowered(state, frequency << 2 * _WORD - PROBABILITY_BITS, words)
        states[n] = (state // frequency << PROBABILITY_BITS) + start + state % frequency
    for n in reversed(coded):
        words += [states[n] & _LOWEST - 1, states[n] >> _WORD]
    head = [sum(1 << n for n in constant), *(int(planes[0, 0, n]) & 255 for n in constant)]
    return bytes(head) + np.array(words[::-1], "<u2").tobytes()


def _lowered(state: int, limit: int, words: list[int]) -> int:
    """Return a state below a limit; a word of it is written where it was not."""
    if state < limit:
        return state
    words.append(state & _LOWEST - 1)
    return state >> _WORD


class _Words:
    """The words of a stream; beyond its end there are zeros."""

    def __init__(self, data: bytes) -> None:
        self._words = iter(np.frombuffer(data[: len(data) & ~1], "<u2").tolist())
        self.missing = 0

    def next(self) -> int:
        """Return the next word."""
        word = next(self._words, None)
        self.missing += word is None
        return word or 0

    def raised(self, state: int) -> int:
        """Return a state that is not too low; a word is read where it was."""
        return state if state >= _LOWEST else state << _WORD | self.next()

    def are_read(self) -> bool:
        """Tell whether all were read, and no more."""
        return not self.missing and next(self._words, None) is None


def _expanded(data: bytes, shape: tuple[int, int, int]) -> npt.NDArray[np.uint8] | None:
    """Return the image of a stream, None where it is malformed."""
    planes = np.zeros(shape, np.int32)
    sizes = np.zeros_like(planes)
    count = shape[2]
    constant = [n for n in range(count) if data[:1] and data[0] >> n & 1]
    if (
        not data
        or data[0] >> count
        or len(data) - 1 - len(constant) & 1
        or len(data) <= len(constant)
    ):
        return None
    for n, value in zip(constant, data[1:], strict=False):
        planes[..., n] = value if KINDS[count][n] == 0 else (value + 128 & 255) - 128
    coded = [n for n in range(count) if n not in constant]
    words = _Words(data[1 + len(constant) :])
    states = {n: words.next() << _WORD | words.next() for n in coded}
    for y, x, n in _order(planes, coded):
        context = _Context(planes, sizes, y, x, n)
        slot = states[n] & (1 << PROBABILITY_BITS) - 1
        symbol = int(np.searchsorted(context.starts, slot, "right")) - 1
        start, end = context.starts[symbol : symbol + 2]
        state = words.raised((states[n] >> PROBABILITY_BITS) * (end - start) + slot - start)
        bits = extra_bits(symbol)
        error = error_of(symbol, state & (1 << bits) - 1)
        states[n] = words.raised(state >> bits)
        sizes[y, x, n] = abs(error)
        value = context.prediction + error
        luma = KINDS[count][n] == 0
        planes[y, x, n] = value & 255 if luma else (value + 128 & 255) - 128
    if not words.are_read() or any(state != _LOWEST for state in states.values()):
        return None
    return to_image(planes)
