"""Columns of CSV tables that the owner of a dataset drops."""

from __future__ import annotations

import csv
import io
import itertools
import re
from collections.abc import Callable, Iterable, Iterator

from dsguard.formats.limits import check_csv

_DELIMITERS = ",\t;|"
_LOOKED_AT = 32  # rows
_MOST_COLUMNS, _LONGEST_LINE = 1 << 16, 1 << 22
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")
_TWO_ROWS = re.compile(r"[\r\n](?s:.*)\t|\t(?s:.*)[\r\n]")
_ROWS_OF_NAMES = 3  # a table may have names in several rows
_BEFORE = re.compile(r"(?:\ufeff?(?:sep=.|[#%].*|[ \t]*)\r?\n)*")
_WORDS = re.compile(r"[^\s,;|\"'#%]+")
_AROUND = " \t\r\n\"'#%\ufeff"

_Check = Callable[[str], bool]


def without_columns(
    text: str, is_dropped: _Check, could_be: _Check, left_of: Callable[[str, str], str | None]
) -> str:
    """Return a table without some columns; the very same text where it has none of them.

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
        kept = [n for n, name in enumerate(names) if not is_dropped(name)]
        is_less = len(kept) < len(header)
        if not is_less:
            rows = _checked(text[:start], header, rows, could_be)
        changed, out = is_less, io.StringIO(newline="")
        writer = csv.writer(out, delimiter=delimiter, lineterminator="\n")
        writer.writerow([header[n] for n in kept])
        for row in rows:
            cells = [row[n] for n in kept if row]  # a line may be empty
            left = [left_of(names[n], cell) for n, cell in zip(kept, cells, strict=False)]
            changed |= left != cells
            writer.writerow(left)
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


def _checked(
    before: str, header: list[str], rows: Iterable[list[str]], could_be: _Check
) -> Iterator[list[str]]:
    """Yield the rows of a table that has no column to be dropped, as far as its header says.

    Names may lie in what is before that, within a cell where the delimiter is another one, in the
    rows below, and in front of each row.
    """
    is_one = len(header) == 1
    words = [*_WORDS.findall(before), *(_WORDS.findall(header[0]) if is_one else ())]
    for number, row in enumerate(itertools.chain([words], rows), 1):
        looked_at = row if number < _ROWS_OF_NAMES + 1 else row[:1]
        if any(could_be(cell.strip(_AROUND)) for cell in looked_at):
            msg = "has names at places where they are not looked for"
            raise ValueError(msg)
        if number > 1:
            yield row
