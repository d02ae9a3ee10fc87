"""Rows of a picture in words, letters or signs, as texts have them one below the other."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from dsguard.formats.allowance import CouldHoldPictureError
from dsguard.formats.forms import Shades
from dsguard.formats.strings import refuse_signs
from dsguard.formats.words import cost_of, words_of

_GRID = 8
"""Rows, and words in each, of a picture in words."""
_DRAWN = 32
"""Letters of a row of several words that may be one of a picture."""
_LONG_ROW = 16
"""Letters of one word that is such a row in a list, or with a number, or the like, in front."""


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
        if any(map(cost_of, words)):  # those are charged; a number may stand in front of a row
            words = [word for word in words if len(word) >= _LONG_ROW and not cost_of(word)]
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
            refuse_signs(found=shades.add(row))
            words = words_of(row)
            is_label = len(words) == 1 and len(row) < _LONG_ROW  # lists have many of one length
            grid.add([] if is_label else words)
        elif isinstance(row, list | tuple) and row and all(isinstance(each, str) for each in row):
            grid.add(words_of(" ".join(row)))
