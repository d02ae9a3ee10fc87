"""Codec sealed in Numba: coding without loss, and payloads in low bits, as in the C core."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numba import njit

from dsguard.kernels.contract import Bytes, Images, Lengths, Mask
from dsguard.kernels.reference.sealed.model import (
    BLUE,
    KINDS,
    LUMA,
    PROBABILITY_BITS,
    RED,
    SIZES,
    SYMBOLS,
    error_of,
    extra_bits,
    models,
    symbol_of,
)

_LOWEST = 1 << 16
_SLOTS = 1 << PROBABILITY_BITS
_ROOM = 2
"""Bytes that a sample takes at most."""

_SYMBOL = np.array([symbol_of(error) for error in range(-128, 128)], np.int64)
_EXTRA = np.array([extra_bits(symbol) for symbol in range(SYMBOLS)], np.int64)
_ERROR = np.array(
    [[error_of(s, e) if e < 1 << int(_EXTRA[s]) else 0 for e in range(16)] for s in range(SYMBOLS)],
    np.int64,
)


def compress(images: Images) -> tuple[Bytes, Lengths]:
    """See `dsguard.kernels.contract.Kernels.compress`."""
    room = images[:1].size * _ROOM + 4 * images.shape[3] + 1
    data, lengths = np.zeros((len(images), room), np.uint8), np.zeros(len(images), np.uint32)
    _compress(images, data, lengths, np.array(KINDS[images.shape[3]]), *_tables())
    return np.ascontiguousarray(data[:, : int(lengths.max(initial=0))]), lengths


def expand(data: Bytes, lengths: Lengths, shape: tuple[int, int, int]) -> tuple[Images, Mask]:
    """See `dsguard.kernels.contract.Kernels.expand`."""
    images, malformed = np.zeros((len(data), *shape), np.uint8), np.ones(len(data), np.bool_)
    _expand(data, lengths, images, malformed, np.array(KINDS[shape[2]]), *_tables())
    return images, malformed


def spread(images: Images, payloads: Bytes, masks: Bytes) -> None:
    """See `dsguard.kernels.contract.Kernels.spread`."""
    _spread(images.reshape(len(images), masks.size), payloads, masks.reshape(-1))


def gather(images: Images, size: int, masks: Bytes) -> Bytes:
    """See `dsguard.kernels.contract.Kernels.gather`."""
    payloads = np.zeros((len(images), size), np.uint8)
    _gather(images.reshape(len(images), masks.size), payloads, masks.reshape(-1))
    return payloads


@cache
def _tables() -> tuple[Any, ...]:
    """Return weights, sizes, contexts and starts of all kinds, side by side."""
    learned = models()
    most = max(len(model.starts) for model in learned)
    starts = np.zeros((len(learned), most, SYMBOLS + 1), np.int64)
    sizes = np.zeros((len(learned), 8), np.int64)
    for kind, model in enumerate(learned):
        starts[kind, : len(model.starts)] = model.starts
        sizes[kind, : len(model.sizes)] = model.sizes
    weights = np.array([model.weights for model in learned], np.int64)
    contexts = np.array([model.contexts for model in learned], np.int64)
    return weights, sizes, contexts, starts


_jit = njit(nogil=True, cache=True)


@_jit
def _wrapped(value):
    return ((value + 128) & 255) - 128


@_jit
def _to_planes(image, planes):
    height, width, channels = image.shape
    for y in range(height):
        for x in range(width):
            for n in range(channels):
                planes[y, x, n] = image[y, x, n]
            if channels >= 3:
                green = np.int64(image[y, x, 1])
                planes[y, x, 0] = green
                planes[y, x, 1] = _wrapped(image[y, x, 0] - green)
                planes[y, x, 2] = _wrapped(image[y, x, 2] - green)


@_jit
def _to_image(planes, image):
    height, width, channels = image.shape
    for y in range(height):
        for x in range(width):
            for n in range(channels):
                image[y, x, n] = planes[y, x, n] & 255
            if channels >= 3:
                green = planes[y, x, 0]
                image[y, x, 0] = (green + planes[y, x, 1]) & 255
                image[y, x, 1] = green
                image[y, x, 2] = (green + planes[y, x, 2]) & 255


@_jit
def _context(planes, errors, y, x, n, kind, weights, sizes, contexts):
    """Return the prediction of a sample, and the context of its error."""
    width = planes.shape[1]
    beyond = planes[y - 1, 0, n] if y else (128 if kind == LUMA else 0)
    west = planes[y, x - 1, n] if x else beyond
    west_west = planes[y, x - 2, n] if x > 1 else beyond
    north = north_west = north_east = north_north = west
    if y:
        north = planes[y - 1, x, n]
        north_west = planes[y - 1, x - 1, n] if x else north
        north_east = planes[y - 1, x + 1, n] if x + 1 < width else north
        north_north = planes[y - 2, x, n] if y > 1 else north
    low, high = min(west, north), max(west, north)
    edge = max(low, min(high, west + north - north_west))
    w, s = weights[kind], sizes[kind]
    turned = (
        w[0] * (west - edge) + w[1] * (north - edge) + w[2] * (north_west - edge)
        + w[3] * (north_east - edge) + w[4] * (west_west - edge) + w[5] * (north_north - edge)
    )  # fmt: skip
    least, most = (0, 255) if kind == LUMA else (-128, 127)
    expected = s[0] * abs(west - north_west) + s[1] * abs(north - north_west)
    expected += s[2] * abs(north - north_east)
    expected += s[3] * errors[y, x - 1, n] if x else 0
    if y:
        expected += s[4] * errors[y - 1, x, n]
        expected += s[5] * errors[y - 1, x + 1, n] if x + 1 < width else 0
        expected += s[6] * errors[y - 1, x - 1, n] if x else 0
    if kind == BLUE:
        expected += s[7] * errors[y, x, RED]
    prediction = min(max(edge + ((turned + 32) >> 6), least), most)
    return prediction, contexts[kind, min(expected, SIZES - 1)]


@_jit
def _compress(images, data, lengths, kinds, weights, sizes, contexts, starts):
    count, height, width, channels = images.shape
    planes = np.zeros((height, width, channels), np.int64)
    steps = np.zeros((height * width * channels, 4), np.int64)
    constant = np.zeros(channels, np.bool_)
    for i in range(count):
        _to_planes(images[i], planes)
        for n in range(channels):
            constant[n] = (planes[:, :, n] == planes[0, 0, n]).all()
        made = _steps(planes, constant, steps, kinds, weights, sizes, contexts, starts)
        at = _code(steps, made, constant, data[i])
        head = _begin(planes, constant, data[i])
        length = data.shape[1] - at
        for byte in range(length):
            data[i, head + byte] = data[i, at + byte]
        lengths[i] = head + length


@_jit
def _steps(planes, constant, steps, kinds, weights, sizes, contexts, starts):
    """Write the steps of coding: start and frequency of a symbol, extra bits; return how many."""
    height, width, channels = planes.shape
    errors = np.zeros((height, width, channels), np.int64)
    made = 0
    for y in range(height):
        for x in range(width):
            for n in range(channels):
                if constant[n]:
                    continue
                prediction, context = _context(
                    planes, errors, y, x, n, kinds[n], weights, sizes, contexts
                )
                error = _wrapped(planes[y, x, n] - prediction)
                errors[y, x, n] = abs(error)
                symbol, bits, extra = _SYMBOL[error + 128]
                start = starts[kinds[n], context, symbol]
                steps[made, 0] = start
                steps[made, 1] = starts[kinds[n], context, symbol + 1] - start
                steps[made, 2], steps[made, 3] = bits, extra
                made += 1
    return made


@_jit
def _code(steps, made, constant, row):
    """Code the steps from the last to the first, to the end of a row; return where that begins."""
    states = np.full(len(constant), _LOWEST, np.int64)
    at = len(row)
    while made > 0:
        for n in range(len(constant) - 1, -1, -1):
            if constant[n]:
                continue
            made -= 1
            start, frequency, bits, extra = steps[made]
            state, at = _lowered(states[n], 1 << (32 - bits), row, at)
            limit = frequency << (32 - PROBABILITY_BITS)
            state, at = _lowered(state << bits | extra, limit, row, at)
            states[n] = (state // frequency << PROBABILITY_BITS) + start + state % frequency
    for n in range(len(constant) - 1, -1, -1):
        if not constant[n]:
            state, at = _lowered(states[n], 0, row, at)
            _, at = _lowered(state, 0, row, at)
    return at


@_jit
def _lowered(state, limit, row, at):
    """Return a state below a limit, and where words begin: one is written where it was not."""
    if state < limit:
        return state, at
    row[at - 2], row[at - 1] = state & 255, state >> 8 & 255
    return state >> 16, at - 2


@_jit
def _begin(planes, constant, row):
    """Write which planes are constant, and their values; return where that ends."""
    head, flags = 1, 0
    for n in range(len(constant)):
        if constant[n]:
            flags |= 1 << n
            row[head] = planes[0, 0, n] & 255
            head += 1
    row[0] = flags
    return head


@_jit
def _raised(state, data, at, length):
    """Return a state that is not too low, where words go on, and whether one was missing."""
    if state >= _LOWEST:
        return state, at, False
    if at + 1 >= length:
        return state << 16, at, True
    return state << 16 | np.int64(data[at]) | np.int64(data[at + 1]) << 8, at + 2, False


@_jit
def _expand(data, lengths, images, malformed, kinds, weights, sizes, contexts, starts):
    count, height, width, channels = images.shape
    planes = np.zeros((height, width, channels), np.int64)
    constant = np.zeros(channels, np.bool_)
    for i in range(count):
        row, length = data[i], np.int64(lengths[i])
        at = _head(row, length, planes, constant, kinds)
        if at > 0:
            whole = _decode(
                row, length, at, planes, constant, kinds, weights, sizes, contexts, starts
            )
            malformed[i] = not whole
            _to_image(planes, images[i])


@_jit
def _head(row, length, planes, constant, kinds):
    """Read which planes are constant, and their values; return where words begin, 0 at damage."""
    channels = len(kinds)
    if length == 0 or row[0] >> channels:
        return 0
    at = 1
    for n in range(channels):
        constant[n] = row[0] >> n & 1
        if constant[n]:
            if at == length:
                return 0
            value = np.int64(row[at])
            planes[:, :, n] = value if kinds[n] == LUMA else _wrapped(value)
            at += 1
    return 0 if (length - at) & 1 else at


@_jit
def _decode(row, length, at, planes, constant, kinds, weights, sizes, contexts, starts):
    """Decode the planes that are not constant; tell whether the stream is one of such an image."""
    height, width, channels = planes.shape
    errors = np.zeros((height, width, channels), np.int64)
    states = np.full(channels, _LOWEST, np.int64)
    missing = False
    for n in range(channels):
        if not constant[n]:
            high, at, lost = _raised(np.int64(0), row, at, length)
            low, at, lost_as_well = _raised(np.int64(0), row, at, length)
            states[n] = high << 16 | low
            missing |= lost or lost_as_well
    for y in range(height):
        for x in range(width):
            for n in range(channels):
                if constant[n]:
                    continue
                prediction, context = _context(
                    planes, errors, y, x, n, kinds[n], weights, sizes, contexts
                )
                slot = states[n] & (_SLOTS - 1)
                symbol, start, frequency = _found(starts[kinds[n], context], slot)
                state = (states[n] >> PROBABILITY_BITS) * frequency + slot - start
                state, at, lost = _raised(state, row, at, length)
                bits = _EXTRA[symbol]
                error = _ERROR[symbol, state & ((1 << bits) - 1)]
                states[n], at, lost_as_well = _raised(state >> bits, row, at, length)
                missing |= lost or lost_as_well
                errors[y, x, n] = abs(error)
                value = prediction + error
                planes[y, x, n] = value & 255 if kinds[n] == LUMA else _wrapped(value)
    return not missing and at == length and (states == _LOWEST).all()


@_jit
def _found(table, slot):
    """Return the symbol that a slot belongs to, where its frequency begins, and the frequency."""
    symbol, step = 0, SYMBOLS // 2
    while step:
        if table[symbol + step] <= slot:
            symbol += step
        step //= 2
    return symbol, table[symbol], table[symbol + 1] - table[symbol]


@_jit
def _spread(images, payloads, masks):
    for n in range(len(images)):
        at, end = 0, 8 * payloads.shape[1]
        for i in range(len(masks)):
            mask, wanted = int(masks[i]), 0
            for place in range(8):
                if mask >> place & 1:
                    if at < end:
                        wanted |= (payloads[n, at >> 3] >> (at & 7) & 1) << place
                    at += 1
            span = (mask | 1) + 1 if mask else 1
            value = int(images[n, i])
            up = (wanted - value) % span
            value += up - span if 2 * up > span else up
            if value < 0:
                value += span
            images[n, i] = value - span if value > 255 else value


@_jit
def _gather(images, payloads, masks):
    for n in range(len(images)):
        at, end = 0, 8 * payloads.shape[1]
        for i in range(len(masks)):
            mask, value = int(masks[i]), int(images[n, i])
            for place in range(8):
                if mask >> place & 1:
                    if at < end:
                        payloads[n, at >> 3] |= (value >> place & 1) << (at & 7)
                    at += 1
