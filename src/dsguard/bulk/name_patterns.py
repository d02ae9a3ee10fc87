"""Patterns of names of images and files, as owners give them to choose some."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from fnmatch import translate
from functools import lru_cache

_WILD = re.compile(r"[*?\[]")


class NamePatterns:
    """Some patterns, as in a shell; the name of a folder stands for all below it.

    Parameters
    ----------
    patterns : tuple of str

    Examples
    --------
    >>> patterns = NamePatterns(("private", "*.gif"))
    >>> list(patterns.like("private/old/1.png")), list(patterns.like("cat/1.png"))
    (['private'], [])
    """

    def __init__(self, patterns: tuple[str, ...]) -> None:
        self._names: dict[str, list[str]] = {}
        self._wild: list[tuple[str, re.Pattern[str]]] = []
        for pattern in patterns:
            for form in _forms(pattern):
                if _WILD.search(form):
                    both = f"{translate(form)}|{translate(f'{form}/*')}"
                    self._wild.append((pattern, re.compile(both)))
                else:
                    self._names.setdefault(form, []).append(pattern)

    @staticmethod
    @lru_cache(maxsize=64)
    def of(patterns: tuple[str, ...]) -> NamePatterns:
        """Return the patterns, which are made ready once."""
        return NamePatterns(patterns)

    def like(self, name: str) -> Iterator[str]:
        """Yield those that a name, or a folder above it, is like; some twice."""
        name = above = _composed(name)
        while above and self._names:
            yield from self._names.get(above, ())
            above = above.rpartition("/")[0]
        for pattern, form in self._wild:
            if form.match(name):
                yield pattern

    def has(self, name: str) -> bool:
        """Tell whether a name is like one of them."""
        return next(self.like(name), None) is not None


def is_hidden(pattern: str) -> bool:
    """Tell whether a pattern is of hidden files, which are never read."""
    return any(part.strip(".") and part.startswith(".") for part in pattern.split("/"))


def starts_of(patterns: tuple[str, ...]) -> list[str]:
    """Return the beginnings that names have that are like a pattern."""
    return [_WILD.split(form)[0] for pattern in patterns for form in _forms(pattern)]


def _forms(pattern: str) -> list[str]:
    """Return a pattern as names are spelled; none where no name can be like it."""
    whole = re.sub(r"\A(\./+)+", "", _composed(pattern)).rstrip("/")
    forms = [whole, whole.removeprefix("**/")]
    forms += [form.replace("[", "[[]") for form in forms]  # as names have it
    return [form for form in dict.fromkeys(forms) if form]


def _composed(text: str) -> str:
    """Return a text whose accents are parts of letters: keyboards and some disks differ in that."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)
