"""What cannot hold a picture: how many numbers, and how much text, may lie beside an image.

Nothing here proves that a value is no picture. The bounds are those of the smallest pictures:
whatever holds one by habit (pixels, base64, a second file) exceeds them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

ROW = 63
"""Numbers beside one image in rows of 8 and more; a picture of 8×8 has 64."""

BOXES = 255
"""Numbers in rows of up to 7, as boxes have them; a picture of 16×16 has 256."""

NUMBERS = 1023
"""Numbers beside one image; a picture of 32×32 has 1,024."""

STRING = 256
"""Characters of one string."""

WORD = 64
"""Characters of one word."""

CHARACTERS = 512
"""Characters beside one image, those of plain words not counted; a file of 16×16 has some 600."""

_LONGEST_NUMBER = 25
_LONGEST_PLAIN_WORD = 32
_SHORT_ROW = 7
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?%?")
_WORDS = re.compile(r"[^\s,;|\"'()\[\]{}<>=]+")
_PLAIN_WORD = re.compile(r"[^\W\d_]+(['’_-][^\W\d_]+)*")
_AROUND_WORDS = ".:!?*#`-_"
_ADDRESS = ("http://", "https://")
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f]")


class CouldHoldPictureError(Exception):
    """A value could hold a picture; the message says why."""


class TooMuchError(CouldHoldPictureError):
    """Each value is harmless, and all of them together are too much."""


@dataclass
class Allowance:
    """What may still be said of one image, or of a dataset as a whole."""

    numbers: int = NUMBERS
    characters: int = CHARACTERS
    in_rows: int = ROW
    in_boxes: int = BOXES

    def take_line(self, numbers: int, *, alone: bool) -> None:
        """Use some of it up by a line of a text, which has `numbers`, and nothing else if `alone`.

        Raises
        ------
        CouldHoldPictureError
            If it could be pixels, with those before it.
        """
        self.take_row(numbers)
        if alone:
            self.in_boxes -= numbers
            self.in_rows -= numbers == 1  # a row that is written down the page
        if min(self.in_boxes, self.in_rows) < 0:
            msg = "has so many lines of numbers that they could be pixels"
            raise CouldHoldPictureError(msg)

    def take_row(self, numbers: int) -> None:
        """Use some of it up by a row of numbers, or a list.

        Raises
        ------
        CouldHoldPictureError
            If it could be pixels, alone or with those before it.
        """
        if numbers > _SHORT_ROW:
            self.in_rows -= numbers
        if self.in_rows < 0:
            msg = f"is a row of {numbers} numbers, with more than {ROW} in all"
            raise CouldHoldPictureError(msg)

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


def decoded(data: bytes) -> str:
    """Return text.

    Raises
    ------
    CouldHoldPictureError
        If it is none.
    """
    try:
        text = data.decode(json.detect_encoding(data))  # UTF-8, -16 or -32, with or without a mark
    except UnicodeDecodeError as error:
        msg = "is binary"
        raise CouldHoldPictureError(msg) from error
    if _CONTROL.search(text):
        msg = "is binary"
        raise CouldHoldPictureError(msg)
    return text


def parsed(text: str) -> Any:
    """Return JSON; a number that is written at length is text.

    Raises
    ------
    CouldHoldPictureError
        If an object has one key twice, of which readers see but one, or is nested too deeply.
    ValueError
        If it is not JSON.
    """
    try:
        return json.loads(
            text,
            object_pairs_hook=_object,
            parse_int=lambda digits: int(digits) if len(digits) <= _LONGEST_NUMBER else digits,
            parse_float=lambda digits: float(digits) if len(digits) <= _LONGEST_NUMBER else digits,
        )
    except RecursionError as error:
        msg = "is nested too deeply"
        raise CouldHoldPictureError(msg) from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        msg = "has an object with one key twice"
        raise CouldHoldPictureError(msg)
    return found


def is_number(value: object) -> bool:
    """Tell whether a value is one number."""
    if isinstance(value, int):
        return bool(abs(value) < 10**_LONGEST_NUMBER)
    return isinstance(value, float)


def size_of_scalar(value: object) -> tuple[int, int]:
    """Return how many numbers and characters a value has that is no list and no object.

    Raises
    ------
    CouldHoldPictureError
        If it could hold a picture.
    """
    if value is None:
        return 0, 0
    if is_number(value):
        return 1, 0
    if isinstance(value, bytes):
        value = decoded(value)
    if isinstance(value, str):
        return 0, size_of_string(value)
    text = str(value)  # dates, and other types of Arrow
    if len(text) > WORD:
        msg = f"is of type {type(value).__name__}"
        raise CouldHoldPictureError(msg)
    return 1, 0


def size_of_string(text: str) -> int:
    """Return how many characters a string has, those of plain words not counted.

    Raises
    ------
    CouldHoldPictureError
        If it could hold a picture.
    """
    if len(text) > STRING:
        msg = f"is a string of {len(text)} characters"
        raise CouldHoldPictureError(msg)
    words = _WORDS.findall(text)
    longest = max(map(len, words), default=0)
    if longest > WORD and not text.startswith(_ADDRESS):
        msg = f"has a word of {longest} characters"
        raise CouldHoldPictureError(msg)
    return sum(len(word) for word in words if not _is_plain(word))


def charge_numbers(values: list[Any], allowance: Allowance) -> bool:
    """Charge a list of numbers, at any depth; tell whether it is one.

    Raises
    ------
    CouldHoldPictureError
        If they could be pixels.
    """
    rows: list[int] = []
    if not _add_rows(values, rows):
        return False
    count = sum(rows)
    if count > (ROW if max(rows) > _SHORT_ROW else BOXES):
        msg = f"is a list of {count} numbers"
        raise CouldHoldPictureError(msg)
    for row in rows:
        allowance.take_row(row)
    allowance.take(count, 0)
    return True


def _add_rows(values: list[Any], rows: list[int]) -> bool:
    """Add how many numbers each list has by itself; tell whether there is nothing else in them."""
    own = 0
    for value in values:
        if isinstance(value, list | tuple):
            if not _add_rows(list(value), rows):
                return False
        elif value is None or is_number(value):
            own += 1
        else:
            return False
    rows.append(own)
    return True


def charge_text(
    text: str, allowance_of: Callable[[list[str]], Allowance], known: Callable[[str], bool]
) -> None:
    """Charge the lines of a text to the images that they are about.

    Parameters
    ----------
    text : str
    allowance_of : callable
        Given the words of a line, returns the allowance that it uses up.
    known : callable
        Tells whether a word is a name of the dataset, which is published in any case.

    Raises
    ------
    CouldHoldPictureError
        If it could hold a picture.
    """
    for line in text.splitlines():
        words = _WORDS.findall(line)
        numbers, characters = _size_of_line(words, known)
        if numbers > ROW:
            msg = f"has a line of {numbers} numbers"
            raise CouldHoldPictureError(msg)
        allowance = allowance_of(words)
        allowance.take_line(numbers, alone=numbers == len(words))
        allowance.take(numbers, characters)


def _size_of_line(words: list[str], known: Callable[[str], bool]) -> tuple[int, int]:
    numbers = characters = 0
    for word in words:
        if len(word) <= _LONGEST_NUMBER and _NUMBER.fullmatch(word):
            numbers += 1
        elif not known(word) and not _is_plain(word):
            characters += len(word)
            if len(word) > WORD and not word.startswith(_ADDRESS):
                msg = f"has a word of {len(word)} characters"
                raise CouldHoldPictureError(msg)
    return numbers, characters


def _is_plain(word: str) -> bool:
    bare = word.strip(_AROUND_WORDS)
    return not bare or (len(bare) <= _LONGEST_PLAIN_WORD and bool(_PLAIN_WORD.fullmatch(bare)))
