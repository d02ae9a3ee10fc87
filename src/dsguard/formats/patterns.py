"""Patterns, as in a shell, of names on which an owner decides: how a name is held against one.

What is published is called so to the letter. What is dropped is dropped however it is written.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from fnmatch import fnmatchcase
from functools import lru_cache

from dsguard.formats.beside import is_text_field
from dsguard.formats.images import is_image_name

_DOTS = re.compile("[.:]")
_MOST_DOTS = 16
_KEPT = 1 << 12  # names, most of which are met again


@lru_cache(maxsize=_KEPT)
def folded(name: str) -> str:
    r"""Return a name as it is compared: whatever its case, its normal form and blanks around it.

    Signs that nobody sees count as nothing. Each part of a path is by itself.

    Examples
    --------
    >>> folded("a.json/ Patient")
    'a.json/patient'
    >>> folded("\uff30atient\u200b")
    'patient'
    """
    if not name.isascii():
        name = unicodedata.normalize("NFKC", name)
        name = "".join(sign for sign in name if unicodedata.category(sign) != "Cf")
        name = unicodedata.normalize("NFKC", name.casefold())
    return "/".join(part.strip() for part in name.casefold().split("/"))


class _Letters(dict[int, str]):
    """By its number, what a sign is in letters: small ones, and marks on them by themselves."""

    def __missing__(self, number: int) -> str:
        found = unicodedata.normalize("NFKD", chr(number))
        found = unicodedata.normalize("NFKD", found.casefold())
        found = "".join(sign for sign in found if unicodedata.category(sign) != "Cf")
        self[number] = found
        return found


_LETTERS = _Letters()
_SIGNS = 0x10000  # of those beyond, expressions have no more than a few


def letters_of(text: str) -> str:
    r"""Return the letters of a text, sign by sign: alike for what is alike when it is folded.

    It is there for texts of any length, in which a name is looked for.

    Examples
    --------
    >>> letters_of("\uff30ATI\u00cbNT") == "patie\u0308nt"
    True
    """
    return text.lower() if text.isascii() else text.translate(_LETTERS)


def only_letters(text: str, letters: str) -> str:
    r"""Return the letters of a text, a line's end for others where it is no ASCII.

    Examples
    --------
    >>> only_letters("\u00fc \uff30ATIENT", "aeintp")
    '\npatient'
    """
    return letters_of(text if text.isascii() else _others_than(letters).sub("\n", text))


@lru_cache(maxsize=1 << 6)
def _others_than(letters: str) -> re.Pattern[str]:
    """Return what finds the signs that have none of some letters."""
    wanted = set(letters)
    found = (
        chr(number)
        for number in range(_SIGNS)
        if not wanted.isdisjoint(of_sign := _LETTERS[number]) or not of_sign
    )
    return re.compile(f"[^{''.join(map(re.escape, found))}\U00010000-\U0010ffff]+")


def is_like(name: str, pattern: str) -> bool:
    """Tell whether a name is like a pattern of what is dropped; to the letter, or folded."""
    return fnmatchcase(name, pattern) or fnmatchcase(folded(name), folded(pattern))


def like(name: str, patterns: tuple[str, ...], *, exactly: bool = False) -> list[str]:
    """Return those of some patterns that a name is like; one without ``/`` is for its last part.

    Examples
    --------
    >>> like("m.json/Patient", ("patient", "other/*"))
    ['patient']
    >>> like("m.json/Patient", ("patient",), exactly=True)
    []
    """
    if not patterns:
        return []
    last = name.rpartition("/")[2]
    paths = [each for each in patterns if "/" in each]
    is_such = fnmatchcase if exactly else is_like
    found = [each for each in paths if is_such(name, each)]
    return [*_like_last(last, patterns, exactly), *found]


def like_within(name: str, patterns: tuple[str, ...]) -> list[str]:
    """Return those of some patterns that a word behind a dot of a file's name is like.

    So samples have fields, and images files beside them. Images have names of their own, and
    suffixes of texts are those of very many.

    Examples
    --------
    >>> like_within("cat/0.patient.txt", ("patient", "txt")), like_within("0.patient", ("patient",))
    (['patient'], ['patient'])
    """
    last = name.rpartition("/")[2]
    if not patterns or "." not in last or is_image_name(last, of_any_kind=True):
        return []
    words = last.split(".", _MOST_DOTS)[1:]
    words = words[:-1] if is_text_field(words[-1]) else words
    return [each for word in words for each in _like_last(word, patterns, False)]


@lru_cache(maxsize=_KEPT)
def _like_last(last: str, patterns: tuple[str, ...], exactly: bool) -> tuple[str, ...]:
    """Return those of some patterns without ``/`` that the last part of a name is like."""
    is_such = fnmatchcase if exactly else is_like
    return tuple(each for each in patterns if "/" not in each and is_such(last, each))


def steps_of(name: str) -> Iterator[str]:
    """Yield a name, and as a path whose parts are between dots each part of it with those above.

    So tables have columns of objects that they were made of. Names of files have dots of their own.

    Examples
    --------
    >>> list(steps_of("meta.patient.name"))
    ['meta.patient.name', 'meta', 'meta/patient', 'meta/patient/name']
    >>> list(steps_of("patient.png"))
    ['patient.png']
    """
    yield name
    if "." not in name and ":" not in name:
        return
    parts = _DOTS.split(name, _MOST_DOTS)
    if not is_image_name(name, of_any_kind=True):
        yield from ("/".join(parts[:n]) for n in range(1, len(parts) + 1) if parts[n - 1])
