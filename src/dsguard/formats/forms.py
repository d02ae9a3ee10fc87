"""Texts that hold a picture by their form: bytes as programs print them, and drawings in signs."""

from __future__ import annotations

import re
from dataclasses import dataclass

_DUMPS = re.compile(
    r"""
      ^[0-9a-f]{8}:[ ](?:[0-9a-f]{2}){1,4}(?:[ ]{1,2}(?:[0-9a-f]{2}){1,4}){3}  # xxd
    | ^[0-9a-f]{8}[ ]{2}(?:[0-9a-f]{2}[ ]{1,2}){4,16}.*\|\s*$  # hexdump -C
    | ^[0-9a-f]{7}(?=.*[a-f])(?:[ ]{1,4}[0-9a-f]{4}){4}  # hexdump
    | ^[0-7]{7}(?:[ ]{1,3}[0-7]{6}){4}  # od
    | ^begin(?:-base64)?[ ][0-7]{3,4}[ ]\S.*\n[!-`]{2}  # uuencode
    """,
    re.IGNORECASE | re.MULTILINE | re.VERBOSE,
)
_SHADES = re.compile(r"[^\w\n]{8,}")  # signs and blanks, as shades of grey
_ROWS, _KINDS = 8, 3
_SIGNS = re.compile("[\u2580-\u259f\u2800-\u28ff\U0001fb00-\U0001fbff]")  # blocks, braille
_FEW_SIGNS = 16  # 8×8 pixels, of which a sign of braille has eight and a quadrant four


def is_dump(text: str) -> bool:
    """Tell whether a text has bytes in it as ``xxd``, ``hexdump``, ``od`` or ``uuencode`` print."""
    return _DUMPS.search(text) is not None


def is_drawn(text: str) -> bool:
    """Tell whether a text has a picture of 8×8 or more in signs of blocks or braille."""
    return not text.isascii() and len(_SIGNS.findall(text)) >= _FEW_SIGNS


@dataclass
class Shades:
    """Lines, or texts of a list, of which each may be a row of a picture in signs.

    Attributes
    ----------
    rows : int
        How many in turn have been such rows; empty ones do not count.
    """

    rows: int = 0

    def add(self, line: str) -> bool:
        """Add a line; tell whether it is the eighth row in turn, of eight signs and more."""
        found = _SHADES.search(line)
        if found is None or len(set(found[0])) < _KINDS:
            self.rows = 0 if line.strip() else self.rows
        else:
            self.rows += 1
        return self.rows >= _ROWS
