"""Rows of a few numbers that may be the colours of one pixel, by themselves or with its place.

They are three numbers from -255 to 255, four to seven whole numbers from 0 to 255, or one colour
such as ``#80ff00``. Boxes of small images are like that as well: their names tell them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

BOX_NAMES = frozenset({"bbox", "bboxes", "bndbox", "box", "boxes"})
"""Keys that annotation tools give to boxes."""

COLOUR = re.compile(r"(?:#|0[xX])([0-9a-fA-F]{1,8})")

_LARGEST = 255
_COLOURS = 3
_LONGEST = 7
_SIZES = frozenset(
    {"w", "h", "width", "height", "x2", "y2", "xmax", "ymax", "x_max", "y_max", "xbr", "ybr"}
    | {"right", "bottom"}
)
"""Keys of the size of a box, or of its second corner."""
_DIGITS = (3, 4, 6, 8)  # of a colour, with and without its opacity
_FIRST = frozenset("0123456789+-.#")
_HEXADECIMAL = ("x", "X")


def pixels_in_list(values: Iterable[Any]) -> int:
    """Return how many lists, at any depth, may be a pixel each."""
    own, below = [], 0
    for value in values:
        if isinstance(value, list | tuple):
            below += pixels_in_list(value)
        else:
            own.append(value)
    return below + is_pixel(own)


def pixels_in_object(value: Mapping[Any, Any], name: str) -> int:
    """Return 1 where an object of this name may be a pixel: it has numbers alone, and is no box."""
    is_box = name in BOX_NAMES or not _SIZES.isdisjoint(value)
    return int(not is_box and is_pixel(list(value.values())))


def pixels_in_words(words: Iterable[str]) -> int:
    """Return how many pixels the words of a line, with up to seven numbers, may be."""
    found = [each for word in words if (each := _value_of(word)) is not None]
    colours = found.count(_A_COLOUR)
    return colours + is_pixel([each for each in found if each != _A_COLOUR] if colours else found)


def is_pixel(numbers: list[Any]) -> bool:
    """Tell whether so many numbers of such a size may be a pixel."""
    if not _COLOURS <= len(numbers) <= _LONGEST:
        return False
    return all(map(_is_small if len(numbers) == _COLOURS else _is_level, numbers))


def _is_small(value: Any) -> bool:
    return isinstance(value, int | float | Decimal) and -_LARGEST <= value <= _LARGEST


def _is_level(value: Any) -> bool:
    return _is_small(value) and float(value).is_integer() and float(value) >= 0


_A_COLOUR = float("inf")


def _value_of(word: str) -> float | None:
    """Return the value of a number, `_A_COLOUR` for a colour, None for other words."""
    if word[0] not in _FIRST:
        return None
    if (word[0] == "#" or word[1:2] in _HEXADECIMAL) and (colour := COLOUR.fullmatch(word)):
        return _A_COLOUR if len(colour[1]) in _DIGITS else 0
    try:
        return min(float(word.removesuffix("%")), 2.0 * _LARGEST)  # larger ones are no colour
    except ValueError:
        return None
