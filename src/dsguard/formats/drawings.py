"""Drawings in texts: SVG, the data of its paths, strokes of a pen, and bitmaps of glyphs.

Sets of icons have the former, sets of handwriting and sketches strokes beside their pictures:
InkML (https://www.w3.org/TR/InkML/), UNIPEN, IAM On-Line, Omniglot. Fonts have bitmaps: BDF, XBM.

A path is letters with the numbers behind each, ``M12 2C6.48 2 2 6.48 2 12z``,
https://www.w3.org/TR/SVG2/paths.html. Outlines of annotation tools are numbers alone.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Any

from dsguard.formats.words import is_number

_COMMANDS = 8
"""Commands of paths in one text from which on it holds a drawing."""
_DRAWN = 4
"""How many of them draw: tables have columns of letters such as M, but not with so many others."""

_SVG = re.compile(r"(?:<|%3C|&lt;|\\u003c)(?:svg:)?svg(?:[\s>]|%20|%3E|&gt;)", re.IGNORECASE)
_INK = re.compile(
    r"<(?:\w{1,20}:)?(?:trace|stroke)\b|^\s{0,20}\.PEN_DOWN\b|^START\s*\n[-\d]",
    re.MULTILINE | re.IGNORECASE,
)
_BITMAP = re.compile(
    r"^STARTCHAR\s|^BITMAP\s*$|\bchar\s{0,9}\*?\s{0,9}\w{0,64}\s{0,9}\[\s*\d*\s*\]\s*=\s*\{",
    re.MULTILINE,
)
"""A glyph of a BDF font, and the bytes of XBM or rows of XPM, which are programs in C."""
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_PATH = re.compile(
    rf"(?<!\w)[Mm]\s*+{_NUMBER}\s*+(?:,\s*+)?{_NUMBER}[\s\d,.eE+\-MmLlHhVvCcSsQqTtAaZz]*"
)
_COMMAND = re.compile(rf"([MmLlHhVvCcSsQqTtAaZz])((?:\s*+(?:,\s*+)?{_NUMBER})*+)")
_NUMBERS = re.compile(_NUMBER)
_ARGUMENTS = {"m": 2, "l": 2, "h": 1, "v": 1, "c": 6, "s": 4, "q": 4, "t": 2, "a": 1}
"""Numbers that a command takes at a time; the flags of an arc need no blank between them."""


def is_path(rows: Collection[Any]) -> bool:
    """Tell whether a list has the rows of a path, as canvases of web pages store it.

    >>> is_path([["M", 12, 2], ["C", 6, 2, 2, 6, 2, 12]] * 4)
    True
    """
    commands = [row for row in rows if isinstance(row, list | tuple) and _is_command(row)]
    return len(commands) >= _COMMANDS


def _is_command(row: Sequence[Any]) -> bool:
    letter, *numbers = row or [""]
    is_letter = isinstance(letter, str) and letter.lower() in _ARGUMENTS
    return is_letter and bool(numbers) and all(map(is_number, numbers))


def has_drawing(text: str) -> bool:
    """Tell whether a text begins an SVG, strokes or a bitmap, or has a path of eight commands."""
    if _SVG.search(text) or _INK.search(text) or _BITMAP.search(text):
        return True
    commands = drawn = 0
    for path in _PATH.finditer(text):
        for letter, numbers in _COMMAND.findall(path[0]):
            kind = letter.lower()
            if kind != "z":
                count = len(_NUMBERS.findall(numbers))
                if not count or count % _ARGUMENTS[kind]:
                    break  # no path
                drawn += kind != "m"
            commands += 1
            if commands >= _COMMANDS and drawn >= _DRAWN:
                return True
    return False
