"""The texts beside images: what their lines and strings use up of what each image has left."""

from __future__ import annotations

import contextlib
import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache

from dsguard.formats.allowance import (
    SHORT_ROW,
    STRING,
    WORD,
    Allowance,
    CouldHoldPictureError,
    allowance_of_classes,
)
from dsguard.formats.class_maps import ClassMap
from dsguard.formats.pixels import pixels_in_words
from dsguard.formats.rows import Rows
from dsguard.formats.small_pictures import has_picture_field
from dsguard.formats.strings import (
    check_class,
    check_code,
    check_form,
    check_key,
    size_of_string,
)
from dsguard.formats.words import (
    ADDRESS,
    cost_of,
    extra_alone,
    extra_of_row,
    facts_of_word,
    numbers_in_word,
    others_than_numbers,
    size_of_signs,
    whole_numbers_in,
    words_of,
)
from dsguard.formats.wrapped import Wrapped

MOST_LINE = 1 << 20
"""Characters of a line of text."""


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


def charge_string(text: str, allowance: Allowance) -> None:
    """Charge a string: its characters, and the numbers in it as those of a line.

    Raises
    ------
    CouldHoldPictureError
        If it could hold a picture.
    """
    numbers, extra, characters, alone, pixels = _facts_of(text)
    if numbers:
        allowance.take_line(numbers, alone=alone)
        allowance.take_large(numbers, extra, alone=alone)
        allowance.take_pixels(pixels)
    allowance.take(numbers, characters)


@lru_cache(maxsize=1 << 14)
def _facts_of(text: str) -> tuple[int, int, int, bool, int]:
    """Return the facts of a string.

    They are its numbers, by how much they count more if they are rows of bits, its characters,
    whether it has no other words, and its pixels.
    """
    characters = size_of_string(text)
    words = words_of(text)
    numbers = sum(map(numbers_in_word, words))
    extra, pixels = _extra_of(words, numbers), _pixels_in(words, numbers)
    return numbers, extra, characters, not others_than_numbers(words), pixels


def _extra_of(words: list[str], numbers: int) -> int:
    """Return by how much the numbers of a line count more as rows of bits: a row, or one alone."""
    if numbers > SHORT_ROW:
        return extra_of_row(whole_numbers_in(words))
    return max(map(extra_alone, whole_numbers_in(words)), default=0) if numbers == 1 else 0


def _pixels_in(words: list[str], numbers: int) -> int:
    """Return how many pixels a line may be; one of more numbers is a row."""
    return pixels_in_words(words) if 1 < numbers <= SHORT_ROW else 0


def charge_text(
    text: str,
    allowance_of: Callable[[list[str]], Allowance],
    known: Callable[[str], bool],
    of_all: Allowance,
) -> None:
    """Charge the lines of a text to the images that they are about.

    Parameters
    ----------
    text : str
    allowance_of : callable
        Given the words of a line, returns the allowance that it uses up.
    known : callable
        Tells whether a word is a name of the dataset, which is published in any case.
    of_all : Allowance
        Of lines about no image: their words may be labels of all images.

    Raises
    ------
    CouldHoldPictureError
        If it could hold a picture.
    """
    check_key(text)
    longest = max((found.end() - found.start() for found in _LINE.finditer(text)), default=0)
    if longest > MOST_LINE:  # which the checks below would take long for
        msg = f"has a line of {longest} characters"
        raise CouldHoldPictureError(msg)
    check_form(text)
    if has_picture_field(text):
        msg = "has a field for blurred pictures or perceptual hashes, by its name"
        raise CouldHoldPictureError(msg)
    before, rows, wrapped, classes, last = _Before(), Rows(), Wrapped(), ClassMap(), of_all
    free: dict[str, bool] = {}
    room = _MOST_FREE
    for match in _LINE.finditer(text):
        line = match[0]
        words = words_of(line)
        if line in free:
            rows.add(line, words)
            classes.add(words if last is not of_all else ())
            if free[line]:
                before.forget()
            continue
        numbers, characters = _size_of_line(words, known)
        characters += size_of_signs(line)
        allowance = allowance_of(words)
        if allowance is not last:
            rows.begin_image()
        if allowance is not last or numbers:
            classes.end()
        rows.add(line, words)
        classes.add(words if allowance is not of_all and not numbers else ())
        last = allowance
        if not (numbers or characters or room < 0):
            free[line] = bool(words)  # it costs nothing, each time
            room -= len(line) + WORD
        is_named = numbers == 1 and any(known(word) for word in words)
        alone = is_named
        if numbers == 1 and not is_named:
            alone = before.is_alone(others_than_numbers(words), allowance)
        elif words:
            before.forget()
        wrapped.add(words, numbers, allowance)
        allowance.take_rest(_long_in(words))
        allowance.take_line(numbers, alone=alone)
        allowance.take_large(numbers, _extra_of(words, numbers), alone=alone)
        allowance.take_pixels(_pixels_in(words, numbers))
        allowance.take(numbers, characters)
    classes.end()


_LINE = re.compile("[^\n\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]+")
"""A line as `str.splitlines` has it, of which a list would take very much memory."""

_MOST_FREE = 1 << 24
"""Characters of lines that are known to cost nothing, with `WORD` for each line."""


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


def _long_in(words: list[str]) -> int:
    """Return how many numbers those count as that are longer than any float: none is of a box."""
    return sum(numbers_in_word(word) for word in words if len(word) > _LONGEST_FLOAT)


_LONGEST_FLOAT = 24
"""Signs of -2.2250738585072014e-308."""


def _size_of_line(words: list[str], known: Callable[[str], bool]) -> tuple[int, int]:
    numbers = characters = 0
    is_long = len(words) > _MANY_WORDS  # of which most are there many times
    for word, times in Counter(words).items() if is_long else zip(words, itertools.repeat(1)):
        found, size, is_odd = facts_of_word(word) if len(word) <= WORD else _facts_of_long(word)
        numbers += times * found
        if (size or is_odd) and not known(word):
            if is_odd:
                _refuse_odd(word)
            characters += times * size
    return numbers, characters


def _facts_of_long(word: str) -> tuple[int, int, bool]:
    """Return the facts of a word that is too long for one, unless it is an address."""
    return 0, cost_of(word) if word.startswith(ADDRESS) else len(word), True


_MANY_WORDS = 256


def _refuse_odd(word: str) -> None:
    """Refuse a word that is too long or looks like code, unless it is an address."""
    if len(word) > (STRING if word.startswith(ADDRESS) else WORD):
        msg = f"has a word of {len(word)} characters"
        raise CouldHoldPictureError(msg)
    if not word.startswith(ADDRESS):
        check_code(word)
