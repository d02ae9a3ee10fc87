"""Texts that hold a picture by their form: bytes as programs print them, and drawings in signs."""

from __future__ import annotations

import re

_DUMPS = re.compile(
    r"""
      ^[0-9a-f]{8}:[ ](?:[0-9a-f]{2}){1,4}(?:[ ]{1,2}(?:[0-9a-f]{2}){1,4}){3}  # xxd
    | ^[0-9a-f]{8}[ ]{2}(?:[0-9a-f]{2}[ ]{1,2}){4,16}.*\|$  # hexdump -C
    | ^[0-9a-f]{7}(?=.*[a-f])(?:[ ]{1,4}[0-9a-f]{4}){4}  # hexdump
    | ^[0-7]{7}(?:[ ]{1,3}[0-7]{6}){4}  # od
    | ^begin(?:-base64)?[ ][0-7]{3,4}[ ]\S.*\n[!-`]{2}  # uuencode
    """,
    re.IGNORECASE | re.MULTILINE | re.VERBOSE,
)
_ROW = r"^(?![ \t]+$)[^\w\n]{8,}$"  # signs and blanks alone, as shades of grey
_ROWS = re.compile(rf"(?:{_ROW}\n){{7}}{_ROW}", re.MULTILINE)
_SIGNS = re.compile("[\u2580-\u259f\u2800-\u28ff\U0001fb00-\U0001fbff]")  # blocks, braille
_FEW_SIGNS = 16  # 8×8 pixels, of which a sign of braille has eight and a quadrant four


def is_dump(text: str) -> bool:
    """Tell whether a text has bytes in it as ``xxd``, ``hexdump``, ``od`` or ``uuencode`` print."""
    return _DUMPS.search(text) is not None


def is_drawn(text: str) -> bool:
    """Tell whether a text has a picture of 8×8 or more in signs: blocks, braille, shades."""
    if not text.isascii() and len(_SIGNS.findall(text)) >= _FEW_SIGNS:
        return True
    return _ROWS.search(text) is not None
