"""Rows of a picture in letters, digits, words or signs, as texts have them one behind the other.

A picture of 8×8 has eight rows of as many letters. Texts have words of one length as well, but not
eight in turn, with the same signs between them, and most of them different.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from dsguard.formats.allowance import CouldHoldPictureError
from dsguard.formats.class_maps import is_class_map
from dsguard.formats.forms import FEW_SIGNS, signs_in
from dsguard.formats.shades import Shades
from dsguard.formats.words import cost_of, words_of

ROWS = 8
"""Rows, and letters or words in each, of the smallest picture."""
_KINDS = 5
"""Different ones among these: a column of labels has fewer."""
_DRAWN = 32
"""Letters of a row of several words that may be one of a picture."""
_LONG = 16
"""Letters of a word from which on it is a row whatever stands around it."""
LETTERS = 64
"""Letters of a whole picture in one line."""
_GAP = 64

_ROW = re.compile(
    r"(?<![^\s,;|\"'()\[\]{}<>=:/&])[^\W_]{8,}(?![^\s,;|\"'()\[\]{}<>=:/&])", re.ASCII
)
_ROW_OF_ANY = re.compile(_ROW.pattern)
_ID = re.compile(r"[^\W\d_]+\d+[^\W\d_]?|\d+[^\W\d_]{1,2}\d*[^\W\d_]?")
"""Words as n01440764 and 20240101T120000Z, of which a list has nothing else."""
_WORD = re.compile(r"\w+")
_HEXADECIMAL = re.compile(r"[0-9a-fA-F]+")
_MIXED = re.compile(r"\b(?=\d*[a-fA-F])(?=[a-fA-F]*\d)[0-9a-fA-F]{2,7}\b", re.ASCII)
"""A word of both digits and letters, with which a run begins: most lines have none."""


class Rows:
    """Texts about one image, or about none, in their order."""

    def __init__(self) -> None:
        self._shades, self._grid = Shades(), _Grid()
        self._letters, self._long, self._others = _Run(), _Run(), _Run()
        self._bits, self._signs = _Bits(), 0
        self._gap = ""

    def begin_image(self) -> None:
        """Have the next line be about another image: short words and codes begin anew."""
        self._others = _Run()

    def add(self, line: str, words: list[str] | None = None) -> None:
        """Add a line, and its words where they are known.

        Raises
        ------
        CouldHoldPictureError
            If it is one row too many.
        """
        self._signs += signs_in(line)
        refuse_signs(found=self._shades.add(line) or self._signs >= FEW_SIGNS)
        words = words_of(line) if words is None else words
        if self._grid.add(words) or self._add_letters(words) or self._add_words(line):
            msg = f"has {ROWS} rows of as many words or letters, like a picture in classes"
            raise CouldHoldPictureError(msg)
        if (self._bits.length or _MIXED.search(line)) and any(map(self._bits.add, words)):
            msg = "has rows of hexadecimal digits, like a picture of two levels"
            raise CouldHoldPictureError(msg)

    def _add_letters(self, words: list[str]) -> bool:
        """Add the letters of a line that has little else: they may be pixels each."""
        if len(words) < ROWS:
            return False
        letters = [word for word in words if len(word) == 1 and word.isalnum()]
        is_row = len(letters) >= ROWS and 2 * len(letters) > len(words)
        if not is_row or len(letters) != self._letters.length:
            self._letters.begin("".join(letters))
            return False
        return self._letters.add("".join(letters), "")

    def _add_words(self, line: str) -> bool:
        end, has_letters = 0, any(map(str.isalpha, line))
        for found in (_ROW if line.isascii() else _ROW_OF_ANY).finditer(line):
            word = found[0]
            run = self._long if len(word) >= _LONG and word.isalpha() else self._others
            if has_letters and len(word) != run.length and word.isdigit():
                continue
            if len(word) != run.length:
                run.begin(word)
            elif run.add(word, "" if run is self._long else self._gap + line[end : found.start()]):
                return True
            if run is self._others:
                self._gap, end = "", found.end()
        self._gap = (self._gap + line[end:] + "\n")[-_GAP:]
        return False


class RowGroups:
    """Strings of several groups, as of each key about each image, told in turn.

    Most groups have few strings; these are kept as they are, and take no memory of their own.
    """

    def __init__(self) -> None:
        self._few: dict[tuple[str, str], list[str]] = {}
        self._rows: dict[tuple[str, str], Rows] = {}

    def add(self, group: tuple[str, str], text: str) -> None:
        """Add a string, which was looked at alone, to those of its group.

        Raises
        ------
        CouldHoldPictureError
            If they could be the rows of a picture.
        """
        rows, added = self._rows.get(group), [text]
        if rows is None:
            few = self._few.setdefault(group, [])
            few.append(text)
            if len(few) == 1 or (len(few) < ROWS and all(map(_is_sentence, few))):
                return
            rows, added = self._rows.setdefault(group, Rows()), self._few.pop(group)
        for each in added:
            rows.add(each)


def _is_sentence(text: str) -> bool:
    """Tell whether a text has several words, and no signs of blocks: fewer than `ROWS` are free."""
    return text.isascii() and " " in text


def check_rows(lines: Iterable[str]) -> None:
    """Look at texts that belong together.

    Raises
    ------
    CouldHoldPictureError
        If they could be the rows of a picture.
    """
    rows = Rows()
    for line in lines:
        rows.add(line)


def are_rows(lines: Iterable[str]) -> bool:
    """Tell whether texts that belong together could be the rows of a picture."""
    try:
        check_rows(lines)
    except CouldHoldPictureError:
        return True
    return False


def refuse_signs(*, found: bool) -> None:
    """Refuse a text where a picture in signs was found."""
    if found:
        msg = "has a picture in signs"
        raise CouldHoldPictureError(msg)


def _is_id(word: str) -> bool:
    return not word.isalpha() and _ID.fullmatch(word) is not None


@dataclass(slots=True)
class _Run:
    """Words of one length in turn, with the same signs and as many words between them."""

    length: int = 0
    last: str = ""
    gap: str | None = None
    count: int = 0
    ids: int = 0
    kinds: set[str] = field(default_factory=set)

    def begin(self, word: str) -> None:
        """Have a word of another length be the first."""
        self.length, self.last, self.gap = len(word), word, None

    def add(self, word: str, gap: str) -> bool:
        """Add one of the length, and the text before it; tell whether they are a picture."""
        gap = _WORD.sub("a", gap[-_GAP:])
        if gap != self.gap:
            self.count, self.ids, self.kinds = 1, _is_id(self.last), {self.last}
        self.last, self.gap = word, gap
        self.count += 1
        self.ids += _is_id(word)
        if len(self.kinds) < _KINDS:
            self.kinds.add(word)
        return self.count >= ROWS and len(self.kinds) >= _KINDS and 2 * self.ids <= self.count


@dataclass(slots=True)
class _Bits:
    """Short hexadecimal words of one length in turn, of which each may be a row of a glyph.

    Numbers are none, nor are ids such as the wells of a plate, A01 to H12: they are in order.
    """

    length: int = 0
    last: str = ""
    count: int = 0
    mixed: int = 0
    is_sorted: bool = True
    kinds: set[str] = field(default_factory=set)

    def add(self, word: str) -> bool:
        """Add a word; tell whether those in turn are a picture."""
        is_row = 2 <= len(word) < ROWS and _HEXADECIMAL.fullmatch(word)
        if not is_row or len(word) != self.length:
            self.length, self.last = len(word) if is_row else 0, ""
            self.count, self.mixed, self.is_sorted, self.kinds = 0, 0, True, set()
        if not is_row:
            return False
        self.count += 1
        self.mixed += not (word.isalpha() or word.isdigit())
        self.is_sorted, self.last = self.is_sorted and self.last <= word, word
        if len(self.kinds) < _KINDS:
            self.kinds.add(word)
        least = 2 * ROWS if self.length == 2 else ROWS  # in two digits is a glyph of 8×16
        is_drawn = self.count >= least and len(self.kinds) >= _KINDS and self.mixed > 1
        return is_drawn and not self.is_sorted


@dataclass(slots=True)
class _Grid:
    """Rows of several words, as many in each: a picture in classes.

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

    def add(self, words: list[str]) -> bool:
        """Add the words of a line; tell whether it is one row too many, or a picture by itself."""
        is_map = len(words) >= ROWS and 2 * len(set(words)) <= len(words)  # a table has others
        shape = (len(words),) if is_map else tuple(map(len, words))
        if is_map and _is_flat(words):
            return True
        if shape != self.shape:
            self.shape, self.rows, self.before = shape, 1, words
            return False
        if len(words) < 2 or not (is_map or sum(shape) >= _DRAWN) or any(map(cost_of, words)):
            self.rows = 1
        else:
            self.rows += is_map or self._differs(words)
        self.before = words
        return self.rows >= ROWS

    def _differs(self, words: list[str]) -> bool:
        """Tell whether most words are others than before: lines of a template have most alike."""
        changed = sum(one != other for one, other in zip(words, self.before, strict=False))
        return 2 * changed > len(words)


def _is_flat(words: list[str]) -> bool:
    """Tell whether the words of one line may be all pixels of a picture: many, of few kinds."""
    if len(words) < LETTERS:
        return False
    letters = [word for word in words if len(word) == 1]
    if 2 * len(letters) > len(words) and len(letters) >= LETTERS and any(map(str.isalpha, letters)):
        return True
    return is_class_map([word for word in words if word.isalpha()])
