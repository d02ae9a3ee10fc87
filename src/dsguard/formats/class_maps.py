"""Maps of classes in words: a picture whose pixels are words of few kinds.

The words that tell of one image are looked at in their order, whatever lines, lists and objects
they stand in. Labels of its objects are no map: there are fewer, or in order, or with numbers
between.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable
from typing import Any

from dsguard.formats.allowance import CouldHoldPictureError
from dsguard.formats.words import numbers_in_word, words_of

LEAST = 64
"""Words of the smallest map."""
_SHARE = 8
"""Words of each kind, in the mean."""
_SIZES = (64, 512, 4096)
"""Words that are looked at together: a map may lie among other words."""
_LONGEST = 16
"""Words of a sentence, or of an element, that stands for one pixel."""
_DEPTH = 4
_SIGNS = ".:!?*#`-_/"


class ClassMap:
    """The words that tell of one image, in their order."""

    def __init__(self) -> None:
        self._words: list[str] = []
        self._known: dict[str, str] = {}

    def add(self, words: Iterable[str]) -> None:
        """Add the words of a line without numbers.

        Raises
        ------
        CouldHoldPictureError
            If they are a picture with those before.
        """
        bare = filter(None, (word.strip(_SIGNS) for word in words))
        self._words += (self._known.setdefault(word, word) for word in bare)  # kept once each
        if len(self._words) >= _SIZES[-1]:
            self.end()

    def end(self) -> None:
        """Have the next words be apart from those before.

        Raises
        ------
        CouldHoldPictureError
            If these are a picture.
        """
        words, self._words = self._words, []
        self._known.clear()
        if is_class_map(words):
            msg = "has many words of few kinds, like a picture in classes"
            raise CouldHoldPictureError(msg)


def check_classes(values: Iterable[Any]) -> None:
    """Look at values that tell of one image, strings or lists and objects of them.

    Raises
    ------
    CouldHoldPictureError
        If they could be a map of classes.
    """
    found = ClassMap()
    lines = [[word for text in strings_of(each) for word in words_of(text)] for each in values]
    if sum(map(len, lines)) < LEAST:
        return
    for words in lines:
        if not words or any(map(numbers_in_word, words)):
            found.end()
        else:
            found.add(words)
    found.end()


def strings_of(value: Any, depth: int = _DEPTH) -> list[str]:
    """Return the strings in a value, at some depth; none where there is anything else in it."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    if not isinstance(value, list | tuple) or not depth:
        return []
    found: list[str] = []
    for each in value:
        inner = strings_of(each, depth - 1)
        if not inner:
            return []
        found += inner
    return found


def is_class_map(words: list[str]) -> bool:
    """Tell whether words could be the pixels of a picture, or each part of them that is long."""
    parts = (words[at : at + size] for size in _SIZES for at in range(0, len(words), size))
    return any(map(_is_map, parts))


def _is_map(words: list[str]) -> bool:
    """Tell whether words are of few kinds, often alike, and changing, as neighbours in a picture.

    They are compared at the distances at which the words of a sentence come again.
    """
    kinds = len(set(words))
    if len(words) < LEAST or not 2 <= kinds <= len(words) // _SHARE:
        return False
    for distance in range(1, min(_LONGEST, len(words) // LEAST) + 1):
        alike = sum(map(operator.eq, words, words[distance:]))
        changes = len(words) - distance - alike
        if 4 * alike >= len(words) and changes >= 2 * kinds:
            return True
    return False
