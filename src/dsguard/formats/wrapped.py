"""Arrays of numbers that a program has printed a few to a line, as Fortran's ``write`` does."""

from __future__ import annotations

from collections.abc import Sequence

from dsguard.formats.allowance import ROW, SHORT_ROW, Allowance, CouldHoldPictureError

_FEWEST = 4
"""Numbers of a line; two and three may be points."""

_BRIGHTEST = 255


class Wrapped:
    """Looks for lines in turn of four to seven numbers that are the levels of one picture.

    Boxes are none: their corners are in order, or a class stands before parts of the image. Nor are
    tables, a column of which is sorted, or always the same.
    """

    def __init__(self) -> None:
        self._allowance: Allowance | None = None
        self._width = self._count = 0
        self._is_long = False

    def add(self, words: Sequence[str], numbers: int, allowance: Allowance) -> None:
        """Look at a line.

        Raises
        ------
        CouldHoldPictureError
            If it goes on with what could be a picture.
        """
        values = _values(words) if len(words) == numbers <= SHORT_ROW else []
        is_part = bool(values) and max(map(abs, values)) <= _BRIGHTEST
        if not is_part or allowance is not self._allowance or len(values) > self._width:
            self._width = 0
        if is_part and not self._width and len(values) >= _FEWEST:
            self._begin(len(values), allowance)
        if self._width:
            self._go_on(values)
        else:
            self._count = numbers if numbers <= SHORT_ROW else 0  # of a first line behind a name
        if self._is_long and numbers <= SHORT_ROW:
            allowance.take_rest(numbers)  # with the end of what they stand in, as of a call
        self._is_long = numbers > SHORT_ROW

    def _begin(self, width: int, allowance: Allowance) -> None:
        self._allowance, self._width = allowance, width
        self._last = [float("-inf")] * width
        self._sorted = [True] * width
        self._boxes = [True] * 3

    def _go_on(self, values: list[float]) -> None:
        self._count += len(values)
        if len(values) == self._width:  # another is the last of its row
            ordered = zip(self._sorted, self._last, values, strict=True)
            self._sorted = [so_far and last <= value for so_far, last, value in ordered]
            self._last = values
            found = zip(self._boxes, _may_be_boxes(values), strict=True)
            self._boxes = [so_far and now for so_far, now in found]
        if self._count > ROW and not any(self._sorted) and not any(self._boxes):
            msg = f"has an array of more than {ROW} numbers, {self._width} a line"
            raise CouldHoldPictureError(msg)


def _values(words: Sequence[str]) -> list[float]:
    """Return the numbers of a line; none where it has something else."""
    try:
        return [float(word.removesuffix("%")) for word in words]
    except ValueError:
        return []


def _may_be_boxes(values: list[float]) -> tuple[bool, bool, bool]:
    """Tell whether a line may be a box: by parts of an image, by corners, by these and a class."""
    parts = values[0].is_integer() and all(0 <= value <= 1 for value in values[1:])
    return parts, _are_corners(values[:4]), len(values) > _FEWEST and _are_corners(values[1:5])


def _are_corners(values: list[float]) -> bool:
    left, top, right, bottom = values
    return left <= right and top <= bottom
