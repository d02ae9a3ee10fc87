"""Drawings in texts, a row in each line: in signs, or in letters and signs by their darkness.

Tables, trees, lists of contents and rules are rows of signs as well. Their rows are frames, or all
alike, or dots that lead from a word to a number.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from dsguard.formats.encoded import Code

BAR = re.compile(
    r"(?<=\S)(?:[ ]█+|(?<!██)█+)[▉-▏]?[ ░▒]*(?=[^▀-▟]|$)"
    r"|(?<=\S)(?:[ ][░▒]+|(?<![░▒][░▒])[░▒]+)(?=[^▀-▟]|$)"
    r"|^█+[▉-▏]?[ ░▒]*(?=\w)",
    re.MULTILINE,
)
"""A bar of progress: behind a word or a frame, or before a word."""

_ROWS, _KINDS = 8, 3
_SHORTEST = 8
_SIGNS = re.compile(rf"[\W_]{{{_SHORTEST},}}")
_FRAMES = frozenset("+-=|:_ \t\xa0") | frozenset(map(chr, range(0x2500, 0x2580)))
"""Signs of tables, trees and rules."""
_BETWEEN = _FRAMES | frozenset(",;&`\\\"'")
"""Signs between the words of a table or a tree."""
_BLANKS = frozenset(" \t\xa0_")
_ALNUM = re.compile(r"[^\W_]")
_BLANK = re.compile(r"\s+")
_FEWEST_SIGNS, _FEW_WORDS = 4, 8
"""Signs in a row with words beside it, and letters of such words as may number it."""
_OTHERS = 3
"""Rows of a drawing that are not alike."""
_INK = 24
"""Signs of eight rows that are no blanks; lines that close brackets have fewer."""
_JP2A = re.compile(r"(?=[ .',;:0]*+[clodxkOKXNWM])[ .',;:clodxkO0KXNWM]++")
_LETTER = re.compile("[A-Za-z]")
_TWINS = re.compile(r"([A-Za-z])(?=\1)")
_TWINS_SHARE = 0.09
"""Letters of a drawing that have the same behind them; in prose 0.03, in Finnish 0.06."""
_MANY_TWINS = 0.25
"""Those of lines that may be alike, which lines of a template are."""
_OF_CODES = frozenset("ABCDEFGNTUabcdefgntu")  # hexadecimal digits, DNA
_FEWEST_LETTERS = 5


@dataclass
class Shades:
    """Lines, or texts of a list, of which each may be a row of a picture.

    Attributes
    ----------
    rows, ink : int
        How many in turn have been rows of signs, and their signs; empty ones do not count.
    kinds : set of str
        Some of these rows.
    lines : list of str
        The last of those with letters, if they are as long as each other.
    width : int
        Characters of the last line.
    code : Code
        Base64 and the like, of the same lines.
    """

    rows: int = 0
    ink: int = 0
    kinds: set[str] = field(default_factory=set)
    lines: list[str] = field(default_factory=list)
    width: int = 0
    code: Code = field(default_factory=Code)

    def add(self, line: str) -> bool:
        """Add a line; tell whether it is the eighth row of a picture, of eight signs and more."""
        if "█" in line:
            line = BAR.sub("", line)
        row = line.strip()
        if not row:
            return False
        found = _row_in(line, row)
        if found:
            self.rows += 1
            self.ink += len(found) - sum(map(found.count, " \t\xa0"))
            if len(self.kinds) < _OTHERS:
                self.kinds.add(found)
        elif found is not None:
            self.rows = self.ink = 0
            self.kinds.clear()
        is_drawn = self.rows >= _ROWS and len(self.kinds) >= _OTHERS and self.ink >= _INK
        return is_drawn or self._is_in_letters(line) or self._is_code(row)

    def _is_in_letters(self, line: str) -> bool:
        """Tell whether eight lines of one length have letters beside their like, as areas have."""
        if len(line) != self.width:
            self.width = len(line)
            self.lines.clear()
        if len(line) < _SHORTEST or not _LETTER.search(line):
            return False
        self.lines.append(line)
        if len(self.lines) < _ROWS:
            return False
        lines, self.lines = self.lines, self.lines[_ROWS // 2 :]
        if len({"".join(_LETTER.findall(line)) for line in lines}) < _OTHERS:
            return False  # the words of a template, with numbers between
        text = "\n".join(lines)
        letters = _LETTER.findall(text)
        twins, kinds = len(_TWINS.findall(text)), set(letters)
        if twins < _TWINS_SHARE * len(letters) or len(kinds) == 1 or kinds <= _OF_CODES:
            return False
        if twins >= _MANY_TWINS * len(letters):
            return True
        return len(kinds) >= _FEWEST_LETTERS and not _are_alike(lines)

    def _is_code(self, row: str) -> bool:
        """Tell whether texts of one word each are code together."""
        if " " in row:
            self.code.run = ""
            return False
        return self.code.add(row)


def _row_in(line: str, row: str) -> str | None:
    """Return the row of a picture in a line, empty where there is none; None where it may be one.

    Such as may be one begin nothing anew: one area all along, or a frame.
    """
    if len(row) >= _SHORTEST and (_has_few(row) or _JP2A.fullmatch(row)):
        return None if _FRAMES.issuperset(row) or len(set(row)) == 1 else row
    found = _SIGNS.search(line)
    if found is None:
        return ""
    signs = set(found[0])
    words = len(_ALNUM.findall(row))
    if not words:
        return line if not signs <= _FRAMES else None
    is_area = signs <= _BETWEEN or len(signs - _BLANKS) < _KINDS - 1
    if not is_area and len(_BLANK.sub("", found[0])) >= max(words, _FEWEST_SIGNS):
        return found[0]
    return None if words <= _FEW_WORDS and not signs <= _BETWEEN else ""


def _are_alike(lines: Sequence[str]) -> bool:
    """Tell whether most signs are those of the line above, as in lines of a template."""
    pairs = [pair for two in pairwise(lines) for pair in zip(*two, strict=True) if pair[0] != " "]
    return 2 * sum(one == other for one, other in pairs) >= len(pairs)


def _has_few(row: str) -> bool:
    return len(set(row[:_SHORTEST])) < _KINDS and len(set(row)) < _KINDS
