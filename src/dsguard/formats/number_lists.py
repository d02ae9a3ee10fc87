"""Lists of numbers, at any depth: pixels are told from boxes, outlines and key points."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Any

import numpy as np

from dsguard.formats.allowance import (
    BOXES,
    IN_HALVES,
    PIXELS,
    ROW,
    SHORT_ROW,
    Allowance,
    CouldHoldPictureError,
)
from dsguard.formats.pixels import pixels_in_list
from dsguard.formats.words import count_of, extra_of_row, is_number, long_in

_NEAR = 0.6
_NEARER = 0.9
_SURE = 2  # key points of COCO are not there (0), hidden (1), or seen (2)


def charge_numbers(
    values: list[Any], allowance: Allowance, *, shape: str = "", boxes: bool = False
) -> bool:
    """Charge a list of numbers, at any depth; tell whether it is one.

    Outlines and key points have an allowance of their own: `shape` is one of `SHAPES` then.
    What is called `boxes` has no colours.

    Raises
    ------
    CouldHoldPictureError
        If they could be pixels.
    """
    rows, large = list[int](), list[int]()
    if not _add_rows(values, rows, large):
        return False
    allowance.take_rest(long_in(_each(values)))
    allowance.take_blanks(rows.count(0))
    count, long = sum(rows), sum(row for row in rows if row > SHORT_ROW or row == 1)
    if shape:
        most = IN_HALVES if shape in _HALVES else allowance.in_shapes
        if count > most:
            msg = f"is a shape of {count} numbers, with more than {most} for one image"
            raise CouldHoldPictureError(msg)
        if count > ROW and shape not in _HALVES and _is_raster(_flat(values)):
            msg = f"is called a shape, and its {count} numbers are like rows of pixels"
            raise CouldHoldPictureError(msg)
        allowance.in_shapes -= count
        return True
    if count > BOXES or (long and count > ROW):
        msg = f"is a list of {count} numbers"
        raise CouldHoldPictureError(msg)
    pixels = 0 if boxes else pixels_in_list(values)
    if pixels > PIXELS:
        msg = f"has {pixels} rows of numbers that may be colours"
        raise CouldHoldPictureError(msg)
    allowance.take_pixels(pixels)
    for row, extra in zip(rows, large, strict=True):
        allowance.take_list(row)  # of 1, or of 8 and more, use up one thing, others another
        allowance.take_large(row, extra)
    allowance.take(count, 0)
    return True


_HALVES = ("all_points_x", "all_points_y")


def _each(values: Iterable[Any]) -> Iterator[Any]:
    """Yield what is in lists in lists."""
    for value in values:
        if isinstance(value, list | tuple):
            yield from _each(value)
        else:
            yield value


def _flat(values: Iterable[Any]) -> Iterator[float]:
    """Return the numbers of lists in lists."""
    return (float(each) for each in _each(values) if isinstance(each, int | float | Decimal))


def _is_raster(numbers: Iterable[float]) -> bool:
    """Tell whether numbers of a shape are pixels, by which of them are alike.

    Of points, a number is like the second next: x like x, and y like y. Of pixels it is like the
    next, or the third or fourth next, where they have as many colours. A picture is smoother than
    points that lie anywhere. Key points may have a third number, that tells how sure each is.
    """
    values = np.fromiter(numbers, np.float64)
    if len(values) <= ROW:  # the others are null
        return False
    if not np.isfinite(values).all():
        return True
    if len(values) % 3 == 0:
        points, sure = np.split(values.reshape(-1, 3), [2], axis=1)
        if sure.min() >= 0 and sure.max() <= _SURE < points.max():
            values = points.ravel()
    spread = 2 * np.abs(values - values.mean()).mean()
    off = {lag: float(np.abs(values[lag:] - values[:-lag]).mean()) for lag in (1, 2, 3, 4)}
    nearest = min(off[1], off[3], off[4])
    return nearest <= _NEAR * spread and nearest < _NEARER * off[2]


def _add_rows(values: list[Any], rows: list[int], large: list[int]) -> bool:
    """Add how many numbers each list has by itself; tell whether there is nothing else in them.

    To `large` that is added by which they count more as rows of bits.
    """
    own = 0
    for value in values:
        if isinstance(value, list | tuple):
            if not _add_rows(list(value), rows, large):
                return False
        elif value is None or is_number(value):
            own += max(1, count_of(value))
        else:
            return False
    rows.append(own)
    large.append(extra_of_row(values) if own > SHORT_ROW else 0)
    return True
