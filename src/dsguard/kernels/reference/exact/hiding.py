"""Profile exact, hiding by prediction-error expansion in plain NumPy: the specification.

Samples are visited patch by patch, green first, sample k of all blocks before sample k + 1. A
prediction uses original samples of the same block that a decoder has by then.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from dsguard.kernels.contract import Bytes, Images, Lengths, Mask, Modes
from dsguard.kernels.geometry import Geometry
from dsguard.kernels.reference.exact.transform import Patch, block_of, colour_order, patches

HEADER_BYTES = 23
BUCKETS = 8
WEIGHTS = (0, 8, 13, 16)
ABOVE = (0, 1, 1, 2, 2, 3, 3, 4, 5, 6, 8, 10, 13, 18, 26, 40)
BELOW = (0, 0, 1, 1, 2, 2, 3, 4, 5, 6, 8, 10, 13, 18, 26, 40)
_LIMITS = (16, 26, 36, 50, 70, 100, 150)
_ERRORS = 41
_MOST_FLAGS = 8192

Image = npt.NDArray[np.uint8]


def hide(
    temporary: Images, payloads: Bytes, lengths: Lengths, modes: Modes, geometry: Geometry
) -> tuple[Images, Modes, Bytes, Mask]:
    """See `dsguard.kernels.contract.Kernels.hide`."""
    hidden, chosen = temporary.copy(), modes.copy()
    thresholds = np.zeros((len(temporary), BUCKETS), np.uint8)
    failed = np.zeros(len(temporary), bool)
    for n, mode in enumerate(modes.tolist()):
        payload = payloads[n, : lengths[n]].tobytes()
        weight, limits, image = _hide(temporary[n], payload, geometry, block_of(mode))
        chosen[n] = mode & 7 | weight << 3
        failed[n] = image is None
        if image is not None:
            hidden[n], thresholds[n] = image, limits
    return hidden, chosen, thresholds, failed


def reveal(
    hidden: Images, modes: Modes, thresholds: Bytes, lengths: Lengths, geometry: Geometry
) -> tuple[Images, Bytes, Mask]:
    """See `dsguard.kernels.contract.Kernels.reveal`."""
    temporary, failed = hidden.copy(), np.zeros(len(hidden), bool)
    payloads = np.zeros((len(hidden), int(lengths.max(initial=0))), np.uint8)
    for n, mode in enumerate(modes.tolist()):
        fits = mode < 32 and mode & 3 < 3
        fits = fits and min(geometry.height, geometry.width) >= block_of(mode)
        failed[n] = not fits or thresholds[n].max() > 15
        if not failed[n]:
            length = int(lengths[n])
            payload = _reveal(temporary[n], mode, thresholds[n].tolist(), length, geometry)
            failed[n] = payload is None
            if payload is not None:
                payloads[n, :length] = np.frombuffer(payload, np.uint8)
    return temporary, payloads, failed


@dataclass
class _Walk:
    """A visit to all samples that can carry bits.

    Yields (y, x, colour, original, prediction, correction-free error, context) one by one; the
    visitor says through `originals` what a sample was before it was changed.
    """

    image: Image
    geometry: Geometry
    block: int
    weight: int
    dead: set[tuple[int, int]] = field(default_factory=set)

    def samples(self) -> Iterator[tuple[int, int, int, tuple[int, int], int, int]]:
        """Yield (y, x, colour, block, prediction, context) of every sample in order.

        The next sample is predicted from `image`, so a visitor that decodes writes the original
        there before it goes on.
        """
        b = self.block
        for patch in patches(self.geometry, b):
            corners = _corners(patch)
            green: dict[tuple[tuple[int, int], int], int] = {}
            first_activity: dict[tuple[int, int], int] = {}
            for turn, colour in enumerate(colour_order(self.geometry)):
                activity = dict(first_activity) if turn else dict.fromkeys(corners, 16)
                for k in range(1, b * b):
                    rows = [
                        self._predict(corner, colour, k, activity[corner]) for corner in corners
                    ]
                    for corner, (raw, gradient) in zip(corners, rows, strict=True):
                        error = green.get((corner, k), 0) if turn else 0
                        prediction = min(max(raw + (error * self.weight + 8 >> 4), 0), 255)
                        context = activity[corner] + (4 * abs(error) if turn else gradient)
                        y, x = corner[0] + k // b, corner[1] + k % b
                        yield y, x, colour, corner, prediction, context
                        value = self._value(y, x, colour)
                        if not turn:
                            green[corner, k] = value - raw
                        kept = activity[corner]
                        activity[corner] = kept - (kept >> 2) + abs(value - prediction)
                first_activity = first_activity or activity

    def is_header(self, y: int, x: int, colour: int) -> bool:
        """Tell whether a sample's lowest bit belongs to the header."""
        g = self.geometry
        if y >= g.grid_height or x >= g.grid_width:
            return False
        return (y * g.grid_width + x) * g.colours + colour < 8 * HEADER_BYTES

    def _value(self, y: int, x: int, colour: int) -> int:
        return int(self.image[y, x, colour]) | self.is_header(y, x, colour)

    def _predict(
        self, corner: tuple[int, int], colour: int, k: int, activity: int
    ) -> tuple[int, int]:
        """Return the prediction of sample k of a block, and how much its neighbours differ."""
        b = self.block
        y, x = divmod(k, b)

        def value(row: int, column: int) -> int:
            return self._value(corner[0] + row, corner[1] + column, colour)

        if y and x:
            left, up, diagonal = value(y, x - 1), value(y - 1, x), value(y - 1, x - 1)
            median = min(max(left + up - diagonal, min(left, up)), max(left, up))
            return median, abs(left - diagonal) + abs(up - diagonal)
        if x:
            near = value(0, x - 1)
            return near, 2 * abs(near - value(0, x - 2)) if x > 1 else activity
        near = value(y - 1, 0)
        return near, 2 * abs(near - (value(y - 2, 0) if y > 1 else value(0, 1)))


def _corners(patch: Patch) -> list[tuple[int, int]]:
    """Return the first sample of each block of a patch, in raster order."""
    b = patch.block
    return [
        ((patch.row + row) * b, (patch.column + column) * b)
        for row in range(patch.rows)
        for column in range(patch.columns)
    ]


def _bucket(context: int) -> int:
    return sum(context > limit for limit in _LIMITS)


def _near_room(p: int) -> int:
    """Return the most errors that are expanded on the near side of a prediction below 128."""
    return max(p - 16, 0) // 3


@dataclass
class _View:
    """A sample and its prediction, mirrored so that the far side, above, has more room."""

    x: int
    p: int
    flipped: bool
    limit: int

    @classmethod
    def of(cls, value: int, prediction: int, threshold: int) -> _View:
        flipped = prediction >= 128
        x, p = (255 - value, 255 - prediction) if flipped else (value, prediction)
        limit = ABOVE[threshold] if x >= p else min(BELOW[threshold], _near_room(p))
        return cls(x, p, flipped, limit)

    @property
    def far(self) -> bool:
        return self.x >= self.p

    @property
    def size(self) -> int:
        """Distance from the prediction, counted from 0 on either side."""
        return self.x - self.p if self.far else self.p - 1 - self.x

    def at(self, size: int) -> int:
        """Return the mirrored sample of another size on the same side."""
        return self.p + size if self.far else self.p - 1 - size

    def doubtful(self, x: int) -> bool:
        """Tell whether a shifted sample x could as well be one that had no room to be shifted."""
        return (255 - x if self.far else x) < self.limit

    def back(self, x: int) -> int:
        return 255 - x if self.flipped else x


def _choose_weight(image: Image, geometry: Geometry, block: int) -> int:
    """Return the index of the weight of green's error that leaves the least error behind."""
    if geometry.colours < 3:
        return 0
    walk = _Walk(image, geometry, block, 0)
    totals = [0] * len(WEIGHTS)
    green: dict[tuple[int, int], int] = {}
    for y, x, colour, _, prediction, _ in walk.samples():
        error = walk._value(y, x, colour) - prediction
        if colour == 1:
            green[y, x] = error
        else:
            for n, weight in enumerate(WEIGHTS):
                totals[n] += abs(16 * error - weight * green[y, x])
    return totals.index(min(totals))


def _count_errors(
    image: Image, geometry: Geometry, block: int, weight: int
) -> npt.NDArray[np.int64]:
    """Return how often each error occurs, by bucket, side (far, near) and size."""
    count = np.zeros((BUCKETS, 2, _ERRORS), np.int64)
    walk = _Walk(image, geometry, block, weight)
    for y, x, colour, _, prediction, context in walk.samples():
        if not walk.is_header(y, x, colour):
            view = _View.of(walk._value(y, x, colour), prediction, 0)
            if view.far or view.size < _near_room(view.p):
                side = 0 if view.far else 1
                count[_bucket(context), side, min(view.size, _ERRORS - 1)] += 1
    return count


def _choose_thresholds(count: npt.NDArray[np.int64], bits: int) -> list[int] | None:
    """Return thresholds that hold `bits` at little cost; None where there are none.

    Again and again the step of one bucket that brings most bits for its cost, which is twice the
    squared error.
    """
    sizes = np.arange(_ERRORS)
    grown = 2 * sizes**2 + 2 * sizes + 1
    capacity, cost = np.zeros((BUCKETS, 16), object), np.zeros((BUCKETS, 16), object)
    for b in range(BUCKETS):
        for t in range(16):
            for side, limit in enumerate((ABOVE[t], BELOW[t])):
                below = sizes < limit
                capacity[b, t] += int(count[b, side][below].sum())
                cost[b, t] += int((count[b, side] * np.where(below, grown, 2 * limit**2)).sum())
    chosen, held = [0] * BUCKETS, 0
    while held < bits:
        gain, price, bucket, to = 0, 1, 0, 0
        for b in range(BUCKETS):
            for t in range(chosen[b] + 1, 16):
                more = capacity[b, t] - capacity[b, chosen[b]]
                worse = cost[b, t] - cost[b, chosen[b]]
                if more * price > gain * worse:
                    gain, price, bucket, to = more, worse, b, t
        if gain == 0:
            return None
        chosen[bucket] = to
        held += gain
    return chosen


def _hide(
    temporary: Image, payload: bytes, geometry: Geometry, block: int
) -> tuple[int, list[int], Image | None]:
    """Return the weight's index, the thresholds, and the image; None where it holds too little."""
    weight = _choose_weight(temporary, geometry, block)
    count = _count_errors(temporary, geometry, block, WEIGHTS[weight])
    bits = 8 * len(payload) + len(payload) // 4 + 8  # doubtful samples take room
    for _ in range(4):
        thresholds = _choose_thresholds(count, bits)
        if thresholds is None:
            break
        image = _hide_with(temporary, payload, geometry, block, WEIGHTS[weight], thresholds)
        if image is not None:
            return weight, thresholds, image
        bits += bits // 8 + 16
    return weight, [0] * BUCKETS, None


def _bit(data: bytes | bytearray, n: int) -> int:
    return data[n // 8] >> n % 8 & 1


def _hide_with(
    temporary: Image,
    payload: bytes,
    geometry: Geometry,
    block: int,
    weight: int,
    thresholds: list[int],
) -> Image | None:
    walk, out = _Walk(temporary, geometry, block, weight), temporary.copy()
    stream = [_bit(payload, n) for n in range(8 * len(payload))]
    done, flags = 0, 0
    for y, x, colour, corner, prediction, context in walk.samples():
        threshold = thresholds[_bucket(context)]
        if done == len(stream):
            break
        if threshold == 0 or corner in walk.dead or walk.is_header(y, x, colour):
            continue
        view = _View.of(int(temporary[y, x, colour]), prediction, threshold)
        if view.size < view.limit:
            moved = view.at(2 * view.size + stream[done])
            done += 1
        else:
            moved = view.at(view.size + view.limit)
            stays = not 0 <= moved <= 255
            moved = view.x if stays else moved
            if view.doubtful(moved):
                if flags == _MOST_FLAGS:
                    return None
                flags += 1
                stream.append(int(stays))
                walk.dead.add(corner)
        out[y, x, colour] = view.back(moved)
    return out if done == len(stream) else None


def _reveal(
    image: Image, mode: int, thresholds: list[int], length: int, geometry: Geometry
) -> bytes | None:
    """Take the payload out of an image, in place; None where there is none of this length."""
    walk = _Walk(image, geometry, block_of(mode), WEIGHTS[mode >> 3 & 3])
    stream: list[int] = []
    doubtful: list[tuple[int, int, int, int]] = []
    for y, x, colour, corner, prediction, context in walk.samples():
        threshold = thresholds[_bucket(context)]
        if len(stream) == 8 * length + len(doubtful):
            break
        if threshold == 0 or corner in walk.dead or walk.is_header(y, x, colour):
            continue
        view = _View.of(int(image[y, x, colour]), prediction, threshold)
        if view.size < 2 * view.limit:
            stream.append(view.size & 1)
            image[y, x, colour] = view.back(view.at(view.size // 2))
        elif view.doubtful(view.x):  # a flag at the end says whether it was shifted at all
            original = view.back(view.at(view.size - view.limit))
            doubtful.append((y, x, colour, original % 256))
            walk.dead.add(corner)
        else:
            image[y, x, colour] = view.back(view.at(view.size - view.limit))
    if len(stream) < 8 * length + len(doubtful):
        return None
    for (y, x, colour, original), stayed in zip(doubtful, stream[8 * length :], strict=True):
        if not stayed:
            image[y, x, colour] = original
    bits = np.array(stream[: 8 * length], np.uint8)
    return np.packbits(bits, bitorder="little").tobytes()
