"""The bounds of a picture: how many numbers, and how much text, may lie beside an image.

Nothing here proves that a value is no picture. The bounds are those of the smallest pictures:
whatever holds one by habit (pixels, base64, a second file) exceeds them.
"""

from __future__ import annotations

from dataclasses import dataclass

ROW = 63
"""Numbers beside one image in rows of 8 and more, or one by one; a picture of 8×8 has 64."""

BOXES = 255
"""Numbers in rows of 2 to 7, as boxes have them; a picture of 16×16 has 256."""

PIXELS = 63
"""Rows of 3 to 7 numbers that may be the colours of a pixel; a picture of 8×8 has 64."""

NUMBERS = 767
"""Numbers beside one image; a picture of 16×16 has 768 in colours, or with its places."""

SHAPES = frozenset(
    {"segmentation", "keypoints", "points", "polygon", "all_points_x", "all_points_y"}
)
"""Keys that annotation tools give to outlines and key points."""

IN_SHAPES = 1023
"""Numbers of outlines and key points of one image."""

IN_HALVES = 255
"""Those of one list, where x and y are lists of their own: nothing tells it from rows of pixels."""

LABELS = 7
"""Numbers of a row of an array that is about an image, where there are few images."""

NUMBERED = 2
"""Numbers in tables of an image whose name is a number, as those of the rows of a picture are."""

STRING = 256
"""Characters of one string."""

WORD = 64
"""Characters of one word."""

CHARACTERS = 512
"""Characters beside one image, those of plain words not counted; a file of 16×16 has some 600."""

CLASS_NAME_CHARACTERS = 16
"""Characters that the names of classes may have on average beyond `CHARACTERS`, words not counted.

Those of ImageNet, ``n01440764``, have 9.
"""

BLANKS = 255
"""Empty values in lists beside one image, such as ``[]`` and ``null``, which tell two levels."""

SHORT_ROW = 7
"""Numbers of a row as boxes and points have them."""

_VALUE_AND_PLACE = 3


class CouldHoldPictureError(Exception):
    """A value could hold a picture; the message says why."""


class TooMuchError(CouldHoldPictureError):
    """Each value is harmless, and all of them together are too much."""


@dataclass
class Allowance:
    """The numbers and characters that one image, or a dataset as a whole, has left."""

    numbers: int = NUMBERS
    characters: int = CHARACTERS
    in_rows: int = ROW
    in_boxes: int = 2 * BOXES
    in_lists: int = 2 * BOXES
    in_shapes: int = IN_SHAPES
    pixels: int = PIXELS
    ids: int = NUMBERS
    blanks: int = BLANKS

    def take_row(self, numbers: int) -> None:
        """Use some of it up by a row: the numbers of a list, a line or an object; or by one alone.

        Raises
        ------
        CouldHoldPictureError
            If they could be pixels, by themselves or with those before them.
        """
        if _is_short(numbers):
            return
        self.take_rest(numbers)

    def take_rest(self, numbers: int) -> None:
        """Use some of it up as `take_row` does, by a line of any length: the rest of a long one.

        Raises
        ------
        CouldHoldPictureError
            If they could be pixels, with those before them.
        """
        if numbers > self.in_rows:
            msg = f"has a row of {numbers} numbers, with more than {ROW} in all"
            raise CouldHoldPictureError(msg)
        self.in_rows -= numbers

    def take_large(self, numbers: int, extra: int, *, alone: bool = False) -> None:
        """Use some of it up by whole numbers of many bits, in a row of so many or `alone`.

        Each could be a row of pixels of two levels; `extra` is by how much they count more.

        Raises
        ------
        CouldHoldPictureError
            If they could be pixels, with those before them.
        """
        if extra and (numbers > SHORT_ROW or alone):
            if extra > self.in_rows:
                msg = "has large numbers, which could be the rows of a picture of two levels"
                raise CouldHoldPictureError(msg)
            self.in_rows -= extra

    def take_line(self, numbers: int, *, alone: bool) -> None:
        """Use some of it up by a line of a text; `alone` says that one number is a pixel by itself.

        Raises
        ------
        CouldHoldPictureError
            If they could be pixels, with those before them.
        """
        if numbers > SHORT_ROW:
            self.take_row(numbers)
            return
        if numbers > 1 or alone:
            self.take_row(numbers)
        if _is_short(numbers) or not alone:
            self.in_boxes -= _price(numbers)
        if self.in_boxes < 0:
            msg = f"has more than {2 * BOXES} numbers in short lines"
            raise CouldHoldPictureError(msg)

    def take_list(self, numbers: int) -> None:
        """Use some of it up by a list of numbers.

        Raises
        ------
        CouldHoldPictureError
            If they could be pixels, with those before them.
        """
        self.take_row(numbers)
        if _is_short(numbers):
            self.in_lists -= _price(numbers)
        if self.in_lists < 0:
            msg = f"has more than {2 * BOXES} numbers in short lists"
            raise TooMuchError(msg)

    def take_pixels(self, pixels: int) -> None:
        """Use some of it up by rows that may be the colours of a pixel each.

        Raises
        ------
        TooMuchError
            If they could be a picture, with those before them.
        """
        self.pixels -= pixels
        if self.pixels < 0:
            msg = f"has more than {PIXELS} rows of numbers that may be colours"
            raise TooMuchError(msg)

    def take_blanks(self, count: int) -> None:
        """Use some of it up by empty values.

        Raises
        ------
        CouldHoldPictureError
            If they could be pixels of two levels, with those before them.
        """
        if count > self.blanks:
            msg = f"has more than {BLANKS} empty values"
            raise CouldHoldPictureError(msg)
        self.blanks -= count

    def take_ids(self, count: int) -> None:
        """Use some of it up by numbers that only count things.

        Raises
        ------
        TooMuchError
            If there are too many.
        """
        self.ids -= count
        if self.ids < 0:
            msg = f"has more than {NUMBERS} ids that belong to one image, or to none"
            raise TooMuchError(msg)

    def take(self, numbers: int, characters: int) -> None:
        """Use some of it up.

        Raises
        ------
        TooMuchError
            If there is not enough left.
        """
        self.numbers -= numbers
        self.characters -= characters
        if self.numbers < 0:
            msg = f"has more than {NUMBERS} numbers that belong to one image, or to none"
            raise TooMuchError(msg)
        if self.characters < 0:
            msg = (
                f"has more than {CHARACTERS} characters, plain words not counted, that belong to "
                "one image, or to none"
            )
            raise TooMuchError(msg)


def allowance_of_classes(names: int) -> Allowance:
    """Return what the names of so many classes may hold, some of which no image may have."""
    return Allowance(characters=CHARACTERS + CLASS_NAME_CHARACTERS * names)


def _is_short(numbers: int) -> bool:
    return numbers == 0 or 1 < numbers <= SHORT_ROW


def _price(numbers: int) -> int:
    """Return the cost of a short row: two or three numbers may be a value and its place."""
    return numbers if numbers > _VALUE_AND_PLACE else 2 * numbers
