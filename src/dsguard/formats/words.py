"""Words and numbers of texts: what is one, and how much each counts as."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator
from datetime import date, time, timedelta
from decimal import Decimal
from functools import lru_cache

from dsguard.formats.pixels import COLOUR

LONGEST_NUMBER = 25
_NUMBERS = (float, Decimal, date, time, timedelta)  # a datetime is a date
_LARGEST = 1 << 64
_LONGEST_PLAIN_WORD = 32
_SHORT_NUMBER = 5
_DIGITS = 16
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?%?")
_WITH_UNIT = re.compile(
    r"([-+]?(?:\d+(?:\.\d+)?|\.\d+)(?:[eE][-+]?\d+)?)"  # no dot before letters: 12.jpg is a name
    r"(?:_?[^\W\d_]{1,3}|_?[iuf](?:8|16|32|64)|°[^\W\d_]?)"
)
"""As of sensors (``35.58°C``) and of languages (``211L``, ``0.5f``, ``8u8``)."""

_OF_ASSEMBLERS = re.compile(r"\$[0-9a-fA-F]{1,8}|[0-9a-fA-F]{2}h")
_WORDS = re.compile(r"[^\s,;|\"'()\[\]{}<>=]+")
_OF_LATEX = re.compile(r"\\\\|(?<=\d)\\(?=[a-z])")
"""The end of a row, and a command behind a number: ``12\\end{matrix}``."""
_PLAIN_WORD = re.compile(r"[^\W\d_]+(['’_-][^\W\d_]+)*")
_WHOLE = re.compile(r"[-+]?[0-9]+")
_ROWS = 8
PLACE = 13
"""Bits of a number that may be a place in an image, or a class."""
_VALUES = frozenset({"true", "false", "nan", "null", "none"})
_JOINTS = re.compile("['’_-]")
_AROUND_WORDS = ".:!?*#`-_/"
ADDRESS = ("http://", "https://")
_NO_SIGN = re.compile(
    r"(?<![^\s,;|\"'()\[\]{}<>=])[^\s,;|\"'()\[\]{}<>=]*\w[^\s,;|\"'()\[\]{}<>=]*"
)
_BLANK = re.compile(r"\s+")
_FREE_SIGNS = 4
ENCODED = 24
"""Characters of a word from which on letters and digits in wild change are taken for code."""
_CODE_OF_LETTERS = 40
"""The same of words without a digit."""
_CHANGES = 0.345
_CODE = re.compile(r"[0-9a-fA-F]{16,}|[A-Z2-7]{16,}=*")  # hexadecimal, base32
_OTHER_CODE = re.compile(r"[A-Z0-9]{16,}=*|[a-z0-9]{16,}")  # other alphabets, base36
_ID = re.compile(r"[^\W\d_]+\d+[^\W\d_]?|\d+[^\W\d_]{1,2}\d+[^\W\d_]?")
"""Words as photo000000000012 and 20240101T120000Z."""
_IN_ADDRESS = re.compile(r"[/?&=#.:;,%]")
_SHORT_CODE, _PRICE_OF_SHORT_CODE = 12, 2
"""Characters of a short word of base64, a few of which may be ids, and what each counts as."""
_PRICE_OF_CODE = 5
"""Characters that one such digit counts as: digests of 64 and 32 go along, 8×8 in gray does not."""
_PIECES = re.compile(r"[^\W\d_A-Z]+|[A-Z][^\W\d_A-Z]+|[A-Z]+|\d+|.")
_PAIR = re.compile(r"\d+:([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)")


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


def long_in(values: Iterable[object]) -> int:
    """Return how many numbers the long ones among values count as: none is a part of a box."""
    return sum(count for count in map(count_of, values) if count > 1)


def extra_of_row(values: Iterable[object]) -> int:
    """Return how many numbers more a row counts as: each may be a row of pixels of two levels.

    That is one for each 8 bits of the largest, if eight and most of those that are not 0 have more
    than 13 bits, as places in an image do not. Ids and times are in order, and no picture.

    Examples
    --------
    >>> extra_of_row([0x0003C00, 0x0007E00, 0x00FFF00, 0x0007E00] * 2), extra_of_row([1920, 7] * 9)
    (16, 0)
    """
    whole = [abs(each) for each in values if isinstance(each, int)]
    some = [each for each in whole if each]
    large = sum(each.bit_length() > PLACE for each in some)
    if large < _ROWS or 2 * large <= len(some) or whole == sorted(whole):
        return 0
    return len(whole) * ((max(some).bit_length() - 1) // 8)


def extra_alone(value: int) -> int:
    """Return the same of a number in a line of its own."""
    bits = value.bit_length()
    return (bits - 1) // 8 if bits > PLACE else 0


def whole_numbers_in(words: Iterable[str]) -> Iterator[int]:
    """Yield the whole numbers among the words of a line."""
    for word in words:
        if len(word) <= LONGEST_NUMBER and _WHOLE.fullmatch(word):
            yield int(word)


def words_of(text: str) -> list[str]:
    """Return the words and numbers of a line."""
    return _WORDS.findall(_OF_LATEX.sub(" ", text) if "\\" in text else text)


def numbers_in(text: str) -> int:
    """Return how many numbers a string has in it."""
    return sum(map(numbers_in_word, words_of(text)))


def numbers_in_word(word: str) -> int:
    """Return how many numbers a word counts as; words such as true are one."""
    if word.lower() in _VALUES:
        return 1
    if len(word) > 2 * LONGEST_NUMBER:
        return 0
    word = word.removeprefix("\\")
    if len(word) <= LONGEST_NUMBER:
        if _NUMBER.fullmatch(word) or _OF_ASSEMBLERS.fullmatch(word):
            return weight(word)
        if found := _WITH_UNIT.fullmatch(word):
            return weight(found[1])
    if pair := _PAIR.fullmatch(word):  # a place, and a value behind it
        return 1 + weight(pair[1])
    colour = COLOUR.fullmatch(word)
    return (len(colour[1]) + 1) // 2 if colour else 0


def weight(digits: str) -> int:
    """Return how many numbers one counts as that is written with so many digits."""
    return 1 + (len(digits) - 1) // _DIGITS


@lru_cache(maxsize=1 << 14)
def is_code(word: str) -> bool:
    """Tell whether a word changes between capitals, letters and digits as base64 does."""
    mixed = any(map(str.isupper, word)) and any(map(str.islower, word))
    digits = any(map(str.isdigit, word)) or len(word) >= _CODE_OF_LETTERS
    return mixed and digits and len(_PIECES.findall(word)) >= _CHANGES * len(word)


def others_than_numbers(words: list[str]) -> list[str]:
    """Return the words that are no numbers; what has no letter and no digit is no word."""
    return [word for word in words if any(map(str.isalnum, word)) and not numbers_in_word(word)]


@lru_cache(maxsize=1 << 16)
def facts_of_word(word: str) -> tuple[int, int, bool]:
    """Return the numbers and characters that a word of a line counts as, and whether it is odd."""
    if found := numbers_in_word(word):
        is_drawn = word.isdigit() and len(word) > _SHORT_NUMBER  # a row of a drawing in digits
        return found, len(word) if is_drawn else 0, False
    return 0, cost_of(word), len(word) >= ENCODED and is_code(word)


def size_of_signs(line: str) -> int:
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
def cost_of(word: str) -> int:
    """Return how many characters a word counts as: of a plain one, most signs around it."""
    if word.startswith(ADDRESS):
        return len(word) + sum(_cost_of_code(p) - len(p) for p in _IN_ADDRESS.split(word))
    if not _is_plain(word):
        return _cost_of_code(word)
    return max(0, len(word) - len(word.strip(_AROUND_WORDS)) - _FREE_SIGNS)


def _cost_of_code(word: str) -> int:
    """Return how many characters a word counts as that is none of a language."""
    if _is_code_of_digits(word):
        return _PRICE_OF_CODE * len(word)
    is_short = len(word) >= _SHORT_CODE and is_code(word)
    return (_PRICE_OF_SHORT_CODE if is_short else 1) * len(word)


def _is_code_of_digits(word: str) -> bool:
    """Tell whether a word is hexadecimal, base32 or the like, and neither letters nor a number."""
    is_other = _OTHER_CODE.fullmatch(word) and not _ID.fullmatch(word)
    if not (_CODE.fullmatch(word) or is_other) or word.isalpha():
        return False
    return not word.isdecimal() or len(word) > LONGEST_NUMBER


def _is_plain(word: str) -> bool:
    bare = word.strip(_AROUND_WORDS)
    if not bare:
        return len(word) <= 3
    parts = _JOINTS.split(bare)
    return all(len(part) <= _LONGEST_PLAIN_WORD for part in parts) and bool(
        _PLAIN_WORD.fullmatch(bare)
    )
