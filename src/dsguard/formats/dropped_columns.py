"""Columns and rows of CSV tables that the owner of a dataset drops."""

from __future__ import annotations

import csv
import io
import itertools
import re
from collections.abc import Callable, Iterable, Iterator

from dsguard.formats.images import is_image_name
from dsguard.formats.limits import check_csv
from dsguard.formats.mentions import keys_in
from dsguard.formats.pairs import is_about
from dsguard.formats.patterns import folded

_DELIMITERS = ",\t;|"
_LOOKED_AT = 32  # rows
_MOST_COLUMNS, _LONGEST_LINE = 1 << 16, 1 << 22
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")
_TWO_ROWS = re.compile(r"[\r\n](?s:.*)\t|\t(?s:.*)[\r\n]")
_ROWS_OF_NAMES = 3  # a table may have names in several rows
_BEFORE = re.compile(r"(?:\ufeff?(?:sep=.|[#%].*|[ \t]*)\r?\n)*")
_WORDS = re.compile(r"[^\s,;|\"'#%]+")
_NUMBER = re.compile(r"[+-]?\d+(?:[.,]\d+)?")
_AROUND = " \t\r\n\"'#%\ufeff"

_CLASSES = frozenset(
    {"label", "labels", "fine_label", "class", "class_name", "cls", "category", "y", "target"}
)
"""Columns of classes: a name that is dropped may be a class as well."""
_NAME_AND_CLASS = 2  # columns, with no room for anything that is of a name
_ELSEWHERE = "has names at places where they are not looked for"

_Check = Callable[[str], bool]


def without_columns(
    text: str, is_dropped: _Check, could_be: _Check, left_of: Callable[[str, str], str | None]
) -> str:
    """Return a table without some columns, and rows about what is so called.

    The very same text remains where it has none of them.

    Parameters
    ----------
    text : str
    is_dropped, could_be : callable
        Tell whether a column of this name is dropped, and whether a word is like such a name.
    left_of : callable
        Returns what is left of a cell, of the name of its column and its text.

    Raises
    ------
    ValueError
        If it is not certain which columns there are, and one may be to be dropped.
    """
    check_csv(text)
    found = _BEFORE.match(text)
    start = found.end() if found else 0
    try:
        delimiter = _delimiter_of(text[start:])
        rows = _rows(text[start:], delimiter)
        header = next(rows, [])
        names = [cell.strip(_AROUND) for cell in header]
        gone = [n for n, name in enumerate(names) if is_dropped(name)]
        kept = [n for n in range(len(header)) if n not in gone]
        places = _Places(names, gone, could_be)
        places.check_header(text[:start])
        changed, out = bool(gone), io.StringIO(newline="")
        writer = csv.writer(out, delimiter=delimiter, lineterminator="\n")
        writer.writerow([header[n] for n in kept])
        for row in rows:
            if is_about(zip(names, row, strict=False), lambda word: could_be(word.strip(_AROUND))):
                changed = True
                continue
            places.check(row)
            cells = [row[n] for n in kept if row]  # a line may be empty
            left = [left_of(names[n], cell) for n, cell in zip(kept, cells, strict=False)]
            changed |= left != cells
            writer.writerow(left)
        places.check_end()
    except csv.Error as error:
        raise ValueError(str(error)) from error
    return text[:start] + out.getvalue() if changed else text


def _delimiter_of(table: str) -> str:
    """Return what parts the cells of a table: with it, rows have the same number of them."""
    widths = {}
    for each in _DELIMITERS:
        rows = csv.reader(_lines(table), delimiter=each)
        found = set(map(len, filter(None, itertools.islice(rows, _LOOKED_AT))))
        widths[each] = max(found, default=1) if len(found) < 2 else 0
    return max(widths, key=lambda each: widths[each])


def _rows(table: str, delimiter: str) -> Iterator[list[str]]:
    """Yield the rows of a table, all of them as long as the first."""
    width = 0
    for row in csv.reader(_lines(table), delimiter=delimiter, strict=True):
        width = width or len(row)
        if (row and len(row) != width) or width > _MOST_COLUMNS:
            msg = f"has rows of {width} cells and of {len(row)}"
            raise ValueError(msg)
        if delimiter == "\t" and any(map(_TWO_ROWS.search, row)):  # a quote was none
            msg = "has a cell with rows in it"
            raise ValueError(msg)
        yield row


def _lines(table: str) -> Iterator[str]:
    """Yield lines with their ends."""
    for match in _LINE.finditer(table):
        if match.end() - match.start() > _LONGEST_LINE:
            msg = "has a line that is too long"
            raise ValueError(msg)
        yield match[0]


class _Places:
    """Refuses tables that may have names where they are not looked for: all but in a header."""

    def __init__(self, names: list[str], gone: list[int], could_be: _Check) -> None:
        self._names, self._gone, self._could_be = names, gone, could_be
        self._classes = [
            folded(name) in _CLASSES or len(names) == _NAME_AND_CLASS for name in names
        ]
        self._count, self._has_images, self._has_words = 0, False, False

    def check_header(self, before: str) -> None:
        """Refuse names in what is before the header, and in it, where its cells are other ones."""
        is_one = len(self._names) == 1
        words = [*_WORDS.findall(before), *(_WORDS.findall(self._names[0]) if is_one else ())]
        self._refuse(words if not self._gone else ())
        if self._gone and (any(map(_is_image, self._names)) or self._is_row()):
            raise ValueError(_ELSEWHERE)
        self._refuse(key for name in self._names for key in keys_in(name))

    def _is_row(self) -> bool:
        """Tell whether the header may be a row that begins with a name, as the others are."""
        if 0 not in self._gone:
            return False
        return len({*self._names}) < len(self._names) or any(map(_NUMBER.fullmatch, self._names))

    def check_end(self) -> None:
        """Refuse a header that begins with what is dropped, where it may be a row itself.

        Names of images tell that rows are about these; without them, words may be names as well.
        """
        could_be_row = 0 in self._gone and self._has_words and not self._has_images
        if could_be_row or (self._gone and not self._count):
            raise ValueError(_ELSEWHERE)

    def check(self, row: list[str]) -> None:
        """Refuse a row that may be another header, or begins with its name.

        Where a column is known to be dropped, there is no other header; but what is so called, and
        has the name in it as well, is no column of that name.
        """
        self._count += 1
        self._has_images = self._has_images or any(map(_is_image, row))
        if self._gone and row:
            self._has_words = self._has_words or not _NUMBER.fullmatch(row[0].strip(_AROUND))
        if self._gone:
            self._refuse(row[n] for n in self._gone if row)
            return
        looked_at = row if self._count < _ROWS_OF_NAMES else row[:1]
        is_of_image = any(map(_is_image, row)) and not any(map(_is_image, self._names))
        is_class = self._classes if is_of_image else [False] * len(row)
        self._refuse(cell for cell, known in zip(looked_at, is_class, strict=False) if not known)

    def _refuse(self, cells: Iterable[str]) -> None:
        if any(self._could_be(cell.strip(_AROUND)) for cell in cells):
            raise ValueError(_ELSEWHERE)


def _is_image(cell: str) -> bool:
    return is_image_name(cell.strip(_AROUND), of_any_kind=True)
