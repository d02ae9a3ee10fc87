"""The images that were not chosen, as texts name them: by path, by name, or without the suffix."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Collection, Iterator
from functools import cached_property
from urllib.parse import unquote

from dsguard.formats.beside import is_of_all

_LINES = re.compile(r"[^\n\r]+")
_QUOTED = re.compile(r"[^\n\r\"]+")
_CELLS = re.compile(r"[^\n\r\"\t,;|<>:]+")
_WORDS = re.compile(r"[^\s\"'`,;|<>()\[\]{}=?#&:*!]+")
_PIECES = (_LINES, _QUOTED, _CELLS, _WORDS)
"""What may be a name, from the longest pieces of a text to the shortest."""

_AROUND = " \t'`()[]{}*-"
_ENDS = ".,:;!? \t'`()[]{}*"
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))")
_BREAKS = frozenset("bfnrt")
_MOST_SUFFIXES = 4
_MOST_WORDS = 8
_DEEPEST = 16


class Others:
    """The images of a dataset that were not chosen.

    A name that says too little to tell an image from one that was chosen counts as its name.

    Parameters
    ----------
    names : collection of str
        All images, as paths with ``/``.
    chosen : collection of str
        Those of them that were chosen.

    Examples
    --------
    >>> others = Others(["a/1.png", "b/1.png", "b/x.png"], ["a/1.png"])
    >>> [others.are_named_in(text) for text in ("a/1.png,cat", "1.png,cat", '{"x": "cat"}')]
    [False, True, True]
    >>> others.are_named_in("1.png,cat", folder="a")
    False
    """

    def __init__(self, names: Collection[str], chosen: Collection[str]) -> None:
        self._names, self._chosen = names, frozenset(chosen)
        self._known: dict[int, dict[str, bool]] = {}

    def are_told_by(self, file: str, text: str, *, numbers: bool = True) -> bool:
        """Tell whether a text file may tell of them: named as an image it is about that alone."""
        about = None if is_of_all(file) else self._is_one(_plain(file), [])
        if about is not None:
            return about
        return self.are_named_in(text, file.rpartition("/")[0], numbers=numbers)

    def are_named_in(self, text: str, folder: str = "", *, numbers: bool = True) -> bool:
        """Tell whether a text of a folder names any: as a line, a value, a key, a cell, a word.

        Where `numbers` do not count, what is a number alone names no image.
        """
        above = _plain(folder).split("/") if folder else []
        return any(
            self._are_in(_plain(reading), above, numbers, _PIECES) for reading in _readings(text)
        )

    def _are_in(
        self, text: str, above: list[str], numbers: bool, kinds: tuple[re.Pattern[str], ...]
    ) -> bool:
        kind, *shorter = kinds
        for found in kind.finditer(text):
            piece = found[0]
            is_one = None
            if numbers or not piece.strip(_ENDS).isdigit():
                is_one = self._is_one(piece, above)
            if is_one is None and shorter:
                is_one = self._are_in(piece, above, numbers, tuple(shorter))
            if is_one:
                return True
        return kind is _CELLS and self._are_in_words(text)

    def _is_one(self, piece: str, above: list[str]) -> bool | None:
        """Tell whether a piece of text names one; None where it names none, or maybe several.

        As much of its path counts as leads to an image, from the folder of the text first.
        """
        whole = _bare(piece)
        forms = list(_forms(whole.rpartition("/")[2]))
        if not any(form in self._tails(1) for form in forms):
            return None
        parts = [*above, *(part for part in whole.split("/")[:-1] if part not in ("", "."))]
        for depth in range(min(len(parts) + 1, _DEEPEST), 0, -1):
            start = "".join(f"{part}/" for part in parts[len(parts) + 1 - depth :])
            for form in forms:
                is_one = self._tails(depth).get(start + form)
                if is_one is not None:
                    is_all = whole in (form, start + form) or len(_WORDS.findall(piece)) < 2
                    return is_one if is_one or is_all else None
        return None

    def _tails(self, depth: int) -> dict[str, bool]:
        """Return the last `depth` parts of all names, and whether one of them was not chosen."""
        if depth not in self._known:
            found: dict[str, bool] = {}
            for name in self._names:
                parts = _plain(name).split("/")
                start = "".join(f"{part}/" for part in parts[-depth:-1])
                is_one = name not in self._chosen
                for form in _forms(parts[-1]) if len(parts) >= depth else ():
                    found[start + form] = is_one or found.get(start + form, False)
            self._known[depth] = found
        return self._known[depth]

    def _are_in_words(self, text: str) -> bool:
        """Tell whether words of a text, in their order, are a name that is several words."""
        if not self._of_words:
            return False
        words = [found[0].rpartition("/")[2] for found in _WORDS.finditer(text)]
        return any(
            " ".join(words[n : n + count]) in own
            for count, own in self._of_words.items()
            for n in range(len(words) - count + 1)
        )

    @cached_property
    def _of_words(self) -> dict[int, set[str]]:
        """The names that are several words, of long ones the end, by how many words they are."""
        found: dict[int, set[str]] = {}
        for form, is_one in self._tails(1).items():
            words = _WORDS.findall(form)[-_MOST_WORDS:] if is_one else ()
            if len(words) > 1:
                found.setdefault(len(words), set()).add(" ".join(words))
        return found


def _plain(text: str) -> str:
    """Return text as names are compared: whatever their case, normal form and kind of slash."""
    return unicodedata.normalize("NFC", text.replace("\\", "/")).casefold()


def _bare(piece: str) -> str:
    return piece.lstrip(_AROUND).rstrip(_ENDS)


def _forms(last: str) -> Iterator[str]:
    """Yield the last part of a name as it is, then without its suffixes; these are no numbers."""
    yield _bare(last)
    for _ in range(_MOST_SUFFIXES):
        last, _, suffix = last.rpartition(".")
        if not last or not (suffix[:1].isalpha() and suffix.isalnum()):
            return
        yield _bare(last)


def _readings(text: str) -> Iterator[str]:
    """Yield a text as it is, and as those read it who undo the escapes of JSON, XML or URLs."""
    yield text
    if "\\" in text:
        yield _ESCAPE.sub(_unescaped, text)
    if "&" in text:
        yield html.unescape(text)
    if "%" in text:
        yield unquote(text, errors="surrogateescape")


def _unescaped(found: re.Match[str]) -> str:
    if found[1]:
        return chr(int(found[1], 16))
    return "\n" if found[2] in _BREAKS else found[2]
