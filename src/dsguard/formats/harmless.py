"""The bounds of a picture: how many numbers, and how much text, may lie beside an image.

Nothing here proves that a value is no picture. The bounds are those of the smallest pictures:
whatever holds one by habit (pixels, base64, a second file) exceeds them.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import secrets
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date, time, timedelta
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from math import isinf
from typing import Any

from dsguard.errors import InputError
from dsguard.formats.drawings import has_drawing
from dsguard.formats.forms import Shades, is_drawn, is_dump
from dsguard.formats.key_search import holds_key
from dsguard.formats.limits import check_json, json_lines
from dsguard.formats.pixels import COLOUR, pixels_in_list, pixels_in_words
from dsguard.formats.small_pictures import has_blurhash, has_picture_field, is_called_picture

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

MOST_LINE = 1 << 20
"""Characters of a line of text."""

CHARACTERS = 512
"""Characters beside one image, those of plain words not counted; a file of 16×16 has some 600."""

CLASS_NAME_CHARACTERS = 16
"""Characters that the names of classes may have on average beyond `CHARACTERS`, words not counted.

Those of ImageNet, ``n01440764``, have 9.
"""

_LONGEST_NUMBER = 25
_LARGEST = 1 << 64
_LONGEST_PLAIN_WORD = 32
_SHORT_NUMBER = 5
_SHORT_ROW = 7
_VALUE_AND_PLACE = 3
_DIGITS = 16
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?%?")
_WORDS = re.compile(r"[^\s,;|\"'()\[\]{}<>=]+")
_PLAIN_WORD = re.compile(r"[^\W\d_]+(['’_-][^\W\d_]+)*")
_VALUES = frozenset({"true", "false", "nan", "null", "none"})
_JOINTS = re.compile("['’_-]")
_AROUND_WORDS = ".:!?*#`-_/"
_ADDRESS = ("http://", "https://")
_BLANKS = re.compile(r"\s{65,}")
_NO_SIGN = re.compile(r"[^\s,;|\"'()\[\]{}<>=]*\w[^\s,;|\"'()\[\]{}<>=]*")
_BLANK = re.compile(r"\s+")
_FREE_SIGNS = 4
_ENCODED = 24
"""Characters of a word from which on letters and digits in wild change are taken for code."""
_CODE_OF_LETTERS = 40
"""The same of words without a digit."""
_CHANGES = 0.345
_CODE = re.compile(r"[0-9a-fA-F]{16,}|[A-Z2-7]{16,}=*")  # hexadecimal, base32
_PRICE_OF_CODE = 5
"""Characters that one such digit counts as: digests of 64 and 32 go along, 8×8 in gray does not."""
_PIECES = re.compile(r"[^\W\d_A-Z]+|[A-Z][^\W\d_A-Z]+|[A-Z]+|\d+|.")
_NEAR = 0.35
_GRID = 8
"""Rows, and words in each, of a picture in words."""
_DRAWN = 32
"""Letters of a row of several words that may be one of a picture."""
_LONG_ROW = 16
"""Letters of one word that is such a row in a list, or with a number, or the like, in front."""
_PAIR = re.compile(r"\d+:([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)")
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f]")


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

    def take_row(self, numbers: int) -> None:
        """Use some of it up by a row: the numbers of a list, a line or an object; or by one alone.

        Raises
        ------
        CouldHoldPictureError
            If they could be pixels, by themselves or with those before them.
        """
        if _is_short(numbers):
            return
        if numbers > self.in_rows:
            msg = f"has a row of {numbers} numbers, with more than {ROW} in all"
            raise CouldHoldPictureError(msg)
        self.in_rows -= numbers

    def take_line(self, numbers: int, *, alone: bool) -> None:
        """Use some of it up by a line of a text; `alone` says that one number is a pixel by itself.

        Raises
        ------
        CouldHoldPictureError
            If they could be pixels, with those before them.
        """
        if numbers > _SHORT_ROW:
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


def harmless_classes(names: Iterable[str]) -> tuple[str, ...]:
    """Return the names of classes that a dataset may list; none where they are too much together.

    One that could hold a picture is not among them.
    """
    sizes = dict[str, int]()
    for name in names:
        with contextlib.suppress(CouldHoldPictureError):
            check_class(name)
            sizes[name] = size_of_string(name)
    fit = sum(sizes.values()) <= allowance_of_classes(len(sizes)).characters
    return tuple(sizes) if fit else ()


def _is_short(numbers: int) -> bool:
    return numbers == 0 or 1 < numbers <= _SHORT_ROW


def _price(numbers: int) -> int:
    """Return the cost of a short row: two or three numbers may be a value and its place."""
    return numbers if numbers > _VALUE_AND_PLACE else 2 * numbers


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
    if _BLANKS.search(text):
        msg = f"has more than {WORD} blanks in a row"
        raise CouldHoldPictureError(msg)
    return text


def parsed(text: str) -> Any:
    """Return JSON; a number that is written at length keeps its digits, which count.

    Raises
    ------
    CouldHoldPictureError
        If an object has one key twice, of which readers see but one, or is nested too deeply.
    ValueError
        If it is not JSON.
    """
    with _refused():
        check_json(text)
        return _JSON.decode(text)


def parsed_lines(text: str) -> list[Any]:
    """Return JSON values, one a line, as `parsed` does; the limits are those of the whole text."""
    with _refused():
        return [_JSON.decode(line) for line in json_lines(text) if line.strip()]


@contextlib.contextmanager
def _refused() -> Iterator[None]:
    try:
        yield
    except InputError as error:
        raise CouldHoldPictureError(error.message) from error
    except RecursionError as error:
        msg = "is nested too deeply"
        raise CouldHoldPictureError(msg) from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        msg = "has an object with one key twice"
        raise CouldHoldPictureError(msg)
    return found


def _number(digits: str) -> float | Decimal:
    found = float(digits)
    if len(digits) <= _LONGEST_NUMBER and not isinf(found):
        return found
    try:
        return Decimal(digits)
    except InvalidOperation as error:
        msg = "has a number beyond all bounds"
        raise CouldHoldPictureError(msg) from error


_JSON = json.JSONDecoder(object_pairs_hook=_object, parse_float=_number)


def json_of(value: Any, indent: int | None = None) -> str:
    """Return what `parsed` has read as JSON: its numbers as numbers, with all their digits."""
    mark = secrets.token_hex(16)  # which no text of others has

    def marked(number: object) -> str:
        if isinstance(number, Decimal):
            return f"{mark}{number}"
        msg = f"no JSON has values of type {type(number).__name__}"
        raise TypeError(msg)

    text = json.dumps(value, ensure_ascii=False, indent=indent, default=marked)
    return re.sub(f'"{mark}([^"]*)"', r"\1", text) if mark in text else text


def is_number(value: object) -> bool:
    """Tell whether a value is one number, or a date or the like."""
    if isinstance(value, int):
        return bool(abs(value) < _LARGEST)
    return isinstance(value, _NUMBERS)


def count_of(value: object) -> int:
    """Return how many numbers a value counts as: a long one as several, what is none as 0."""
    if not is_number(value):
        return 0
    return weight(str(value)) if isinstance(value, Decimal) else 1


_NUMBERS = (float, Decimal, date, time, timedelta)  # a datetime is a date


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
        return count_of(value), 0
    if isinstance(value, bytes):
        value = decoded(value)
    if isinstance(value, str):
        return 0, size_of_string(value)
    msg = (
        "is a number of more than 64 bits"
        if isinstance(value, int)
        else f"is of type {type(value).__name__}"
    )
    raise CouldHoldPictureError(msg)


def charge_string(text: str, allowance: Allowance) -> None:
    """Charge a string: its characters, and the numbers in it as those of a line.

    Raises
    ------
    CouldHoldPictureError
        If it could hold a picture.
    """
    if "\n" in text or "\r" in text:
        charge_rows(_LINE.findall(text))
    numbers, characters, alone, pixels = _facts_of(text)
    if numbers:
        allowance.take_line(numbers, alone=alone)
        allowance.take_pixels(pixels)
    allowance.take(numbers, characters)


def charge_rows(rows: Iterable[Any]) -> None:
    """Look at the texts of a list, or the lists of words in it, as at the lines of a text.

    Raises
    ------
    CouldHoldPictureError
        If they could be a picture.
    """
    grid, shades = Grid(), Shades()
    for row in rows:
        if isinstance(row, str):
            _refuse_signs(found=shades.add(row))
            words = _WORDS.findall(row)
            is_label = len(words) == 1 and len(row) < _LONG_ROW  # lists have many of one length
            grid.add([] if is_label else words)
        elif isinstance(row, list | tuple) and row and all(isinstance(each, str) for each in row):
            grid.add(_WORDS.findall(" ".join(row)))


@lru_cache(maxsize=1 << 14)
def _facts_of(text: str) -> tuple[int, int, bool, int]:
    """Return the numbers and characters of a string, whether it has no other words, its pixels."""
    characters = size_of_string(text)
    words = _WORDS.findall(text)
    numbers = sum(map(_numbers_in, words))
    return numbers, characters, not _others(words), _pixels_in(words, numbers)


def _pixels_in(words: list[str], numbers: int) -> int:
    """Return how many pixels a line may be; one of more numbers is a row."""
    return pixels_in_words(words) if 1 < numbers <= _SHORT_ROW else 0


def words_of(text: str) -> list[str]:
    """Return the words and numbers of a line."""
    return _WORDS.findall(text)


def numbers_in(text: str) -> int:
    """Return how many numbers a string has in it."""
    return sum(map(_numbers_in, _WORDS.findall(text)))


def _numbers_in(word: str) -> int:
    """Return how many numbers a word counts as; words such as true are one."""
    if word.lower() in _VALUES:
        return 1
    if len(word) > 2 * _LONGEST_NUMBER:
        return 0
    if len(word) <= _LONGEST_NUMBER and _NUMBER.fullmatch(word):
        return weight(word)
    if pair := _PAIR.fullmatch(word):  # a place, and a value behind it
        return 1 + weight(pair[1])
    colour = COLOUR.fullmatch(word)
    return (len(colour[1]) + 1) // 2 if colour else 0


def weight(digits: str) -> int:
    """Return how many numbers one counts as that is written with so many digits."""
    return 1 + (len(digits) - 1) // _DIGITS


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
    if "dsguard-key" in text and holds_key(text.encode("utf-8", "surrogatepass")):
        msg = "holds the key of a dataset"
        raise CouldHoldPictureError(msg)
    _refuse_form(text)
    words = _WORDS.findall(text)
    longest = max(map(len, words), default=0)
    if longest > WORD and not text.startswith(_ADDRESS):
        msg = f"has a word of {longest} characters"
        raise CouldHoldPictureError(msg)
    if not text.startswith(_ADDRESS):
        for word in words:
            _refuse_code(word)
    signs = sum(_size_of_signs(line) for line in text.splitlines())
    return signs + sum(map(_cost, words))


def _refuse_form(text: str) -> None:
    """Refuse a text that holds a picture by its form."""
    if is_dump(text):
        msg = "has bytes as programs print them (xxd, hexdump, od, uuencode)"
        raise CouldHoldPictureError(msg)
    _refuse_signs(found=is_drawn(text))
    if has_blurhash(text):
        msg = "holds a blurred picture, a blurhash"
        raise CouldHoldPictureError(msg)
    if has_drawing(text):
        msg = "holds a vector drawing, SVG or the data of its paths"
        raise CouldHoldPictureError(msg)


def _refuse_signs(*, found: bool) -> None:
    if found:
        msg = "has a picture in signs"
        raise CouldHoldPictureError(msg)


def check_name(name: str) -> None:
    """Refuse a file, a key or an array that is called as blurred pictures or such hashes are.

    Raises
    ------
    CouldHoldPictureError
    """
    if is_called_picture(name):
        msg = "holds blurred pictures or perceptual hashes, by its name"
        raise CouldHoldPictureError(msg)


def check_class(name: str) -> None:
    """Refuse the name of a class that could hold a picture: they are published in any case.

    Raises
    ------
    CouldHoldPictureError
    """
    size_of_string(name)
    if numbers_in(name) > LABELS:
        msg = f"has {numbers_in(name)} numbers"
        raise CouldHoldPictureError(msg)


def _refuse_code(word: str) -> None:
    """Refuse a word such as base64 makes: a thumbnail has some hundred characters, a hash of it 30.

    Names of files and hexadecimal digits change less often between capitals, letters and digits.
    """
    if len(word) >= _ENCODED and _is_code(word):
        msg = f"has a word of {len(word)} characters that looks like base64 or the like"
        raise CouldHoldPictureError(msg)


@lru_cache(maxsize=1 << 14)
def _is_code(word: str) -> bool:
    mixed = any(map(str.isupper, word)) and any(map(str.islower, word))
    digits = any(map(str.isdigit, word)) or len(word) >= _CODE_OF_LETTERS
    return mixed and digits and len(_PIECES.findall(word)) >= _CHANGES * len(word)


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
    rows: list[int] = []
    if not _add_rows(values, rows):
        return False
    count, long = sum(rows), sum(row for row in rows if row > _SHORT_ROW or row == 1)
    if shape:
        most = IN_HALVES if shape in _HALVES else allowance.in_shapes
        if count > most:
            msg = f"is a shape of {count} numbers, with more than {most} for one image"
            raise CouldHoldPictureError(msg)
        if count > BOXES and _is_raster(_flat(values)):
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
    for row in rows:  # of 1, or of 8 and more, use up one thing, others another
        allowance.take_list(row)
    allowance.take(count, 0)
    return True


_HALVES = ("all_points_x", "all_points_y")


def _flat(values: Iterable[Any]) -> Iterator[float]:
    """Yield the numbers of lists in lists."""
    for value in values:
        if isinstance(value, list | tuple):
            yield from _flat(value)
        elif isinstance(value, int | float | Decimal):
            yield float(value)


def _is_raster(numbers: Iterator[float]) -> bool:
    """Tell whether numbers taken in twos are no points: neighbours in a picture are alike.

    Points of an outline lie around something, and not all near the line where x equals y.
    """
    pairs = list(zip(numbers, numbers, strict=False))  # the same iterator: two in turn
    off = sum(abs(one - other) for one, other in pairs)
    middle = sum(one + other for one, other in pairs) / max(1, 2 * len(pairs))
    spread = sum(abs(one - middle) + abs(other - middle) for one, other in pairs)
    return off <= _NEAR * spread


def _add_rows(values: list[Any], rows: list[int]) -> bool:
    """Add how many numbers each list has by itself; tell whether there is nothing else in them."""
    own = 0
    for value in values:
        if isinstance(value, list | tuple):
            if not _add_rows(list(value), rows):
                return False
        elif value is None or is_number(value):
            own += max(1, count_of(value))
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
    if "dsguard-key" in text and holds_key(text.encode("utf-8", "surrogatepass")):
        msg = "holds the key of a dataset"
        raise CouldHoldPictureError(msg)
    _refuse_form(text)
    if has_picture_field(text):
        msg = "has a field for blurred pictures or perceptual hashes, by its name"
        raise CouldHoldPictureError(msg)
    before, grid, shades = _Before(), Grid(), Shades()
    free: dict[str, bool] = {}
    room = _MOST_FREE
    for match in _LINE.finditer(text):
        line = match[0]
        if len(line) > MOST_LINE:
            msg = f"has a line of {len(line)} characters"
            raise CouldHoldPictureError(msg)
        _refuse_signs(found=shades.add(line))
        words = _WORDS.findall(line)
        grid.add(words)
        if line in free:
            if free[line]:
                before.forget()
            continue
        numbers, characters = _size_of_line(words, known)
        characters += _size_of_signs(line)
        allowance = allowance_of(words)
        if not (numbers or characters or room < 0):
            free[line] = bool(words)  # it costs nothing, each time
            room -= len(line) + WORD
        is_named = numbers == 1 and any(known(word) for word in words)
        alone = is_named
        if numbers == 1 and not is_named:
            alone = before.is_alone(_others(words), allowance)
        elif words:
            before.forget()
        allowance.take_line(numbers, alone=alone)
        allowance.take_pixels(_pixels_in(words, numbers))
        allowance.take(numbers, characters)


_LINE = re.compile("[^\n\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]+")
"""A line as `str.splitlines` has it, of which a list would take very much memory."""

_MOST_FREE = 1 << 24
"""Characters of lines that are known to cost nothing, with `WORD` for each line."""


@dataclass
class Grid:
    """Rows of words, or of letters, as many in each: a picture in classes or in signs.

    Attributes
    ----------
    shape : tuple of int
        Of the row before: how many words of a map of classes, or the letters of each word.
    rows : int
        How many rows in turn have had it.
    before : list of str
        The words of the row before.
    """

    shape: tuple[int, ...] = ()
    rows: int = 0
    before: list[str] = field(default_factory=list)

    def add(self, words: list[str]) -> None:
        """Add the words of a line.

        Raises
        ------
        CouldHoldPictureError
            If it is one row too many.
        """
        words = [word for word in words if word.isalnum() or any(map(str.isalnum, word))]
        if any(map(_cost, words)):  # those are charged; a number may stand in front of a row
            words = [word for word in words if len(word) >= _LONG_ROW and not _cost(word)]
        if not words:
            self.shape, self.rows, self.before = (), 0, []
            return
        is_map = len(words) >= _GRID and len(set(words)) * 2 <= len(words)  # a table has others
        shape = (len(words),) if is_map else tuple(map(len, words))
        is_drawn = is_map or len(words) == 1 <= shape[0] // _GRID or sum(shape) >= _DRAWN
        if not is_drawn:
            self.shape, self.rows, self.before = (), 0, []
            return
        is_other = is_map or len(words) == 1 or self._differs(words)
        self.rows = self.rows + is_other if shape == self.shape else 1
        self.shape, self.before = shape, words
        if self.rows >= _GRID:
            msg = f"has {_GRID} rows of as many words or letters, like a picture in classes"
            raise CouldHoldPictureError(msg)

    def _differs(self, words: list[str]) -> bool:
        """Tell whether most words are others than before: lines of a template have most alike."""
        changed = sum(one != other for one, other in zip(words, self.before, strict=False))
        return 2 * changed > len(words)


@dataclass
class _Before:
    """The line before: numbers behind the same words on each line are pixels, one by one.

    Attributes
    ----------
    others : list of str or None
        Its words but for one number; None where it has several, or none.
    allowance : Allowance or None
        Of the image that it is about, where its number is not charged as alone yet.
    """

    others: list[str] | None = None
    allowance: Allowance | None = None

    def is_alone(self, others: list[str], allowance: Allowance) -> bool:
        """Tell whether one number is alone in its line, or beside the words of the line before.

        The first of such lines is charged once the second is there.
        """
        if not others:
            self.forget()
            return True
        if others != self.others:
            self.others, self.allowance = others, allowance
            return False
        if self.allowance is not None:
            self.allowance.take_row(1)
            self.allowance = None
        return True

    def forget(self) -> None:
        """Have the next line repeat nothing."""
        self.others = self.allowance = None


def _others(words: list[str]) -> list[str]:
    """Return the words that are no numbers; what has no letter and no digit is no word."""
    return [word for word in words if any(map(str.isalnum, word)) and not _numbers_in(word)]


def _size_of_line(words: list[str], known: Callable[[str], bool]) -> tuple[int, int]:
    numbers = characters = 0
    is_long = len(words) > _MANY_WORDS  # of which most are there many times
    for word, times in Counter(words).items() if is_long else zip(words, itertools.repeat(1)):
        found, size, is_odd = _facts_of_word(word) if len(word) <= WORD else (0, len(word), True)
        numbers += times * found
        if (size or is_odd) and not known(word):
            if is_odd:
                _refuse_odd(word)
            characters += times * size
    return numbers, characters


_MANY_WORDS = 256


@lru_cache(maxsize=1 << 16)
def _facts_of_word(word: str) -> tuple[int, int, bool]:
    """Return the numbers and characters that a word of a line counts as, and whether it is odd."""
    if found := _numbers_in(word):
        is_drawn = word.isdigit() and len(word) > _SHORT_NUMBER  # a row of a drawing in digits
        return found, len(word) if is_drawn else 0, False
    return 0, _cost(word), len(word) >= _ENCODED and _is_code(word)


def _refuse_odd(word: str) -> None:
    """Refuse a word that is too long or looks like code, unless it is an address."""
    if len(word) > (STRING if word.startswith(_ADDRESS) else WORD):
        msg = f"has a word of {len(word)} characters"
        raise CouldHoldPictureError(msg)
    if not word.startswith(_ADDRESS):
        _refuse_code(word)


def _size_of_signs(line: str) -> int:
    """Return how many characters the signs of a line count as, such as commas and brackets.

    Those between words and numbers are free, and so are rows of one sign, as below a title.
    """
    if line.replace(" ", "").isalnum():
        return 0
    between, words = _NO_SIGN.subn("", line)
    if not words:
        drawn = line.strip()
        return len(drawn) if len(set(drawn)) > 1 else 0
    changes = sum(one != other for one, other in itertools.pairwise(_BLANK.sub("", between)))
    return max(0, changes - _FREE_SIGNS * (1 + words))


@lru_cache(maxsize=1 << 14)
def _cost(word: str) -> int:
    """Return how many characters a word counts as: of a plain one, most signs around it."""
    if not _is_plain(word):
        return len(word) * (_PRICE_OF_CODE if _is_code_of_digits(word) else 1)
    return max(0, len(word) - len(word.strip(_AROUND_WORDS)) - _FREE_SIGNS)


def _is_code_of_digits(word: str) -> bool:
    """Tell whether a word is hexadecimal or base32, and neither letters alone nor a number."""
    if not _CODE.fullmatch(word) or word.isalpha():
        return False
    return not word.isdecimal() or len(word) > _LONGEST_NUMBER


def _is_plain(word: str) -> bool:
    bare = word.strip(_AROUND_WORDS)
    if not bare:
        return len(word) <= 3
    parts = _JOINTS.split(bare)
    return all(len(part) <= _LONGEST_PLAIN_WORD for part in parts) and bool(
        _PLAIN_WORD.fullmatch(bare)
    )
