"""Texts that hold a picture by their form: bytes as programs print them, and drawings in signs."""

from __future__ import annotations

import re

from dsguard.formats.encoded import is_encoded
from dsguard.formats.shades import BAR

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
_SIGNS = re.compile("[\u2580-\u259f\u2800-\u28ff\U0001fb00-\U0001fbff]")  # blocks, braille
FEW_SIGNS = 16
"""Those of a picture of 8×8 pixels: a sign of braille has eight, and a quadrant four."""


def signs_in(text: str) -> int:
    """Return how many signs of blocks or braille a text has, but for bars of progress."""
    return 0 if text.isascii() else len(_SIGNS.findall(BAR.sub("", text)))


def is_dump(text: str) -> bool:
    """Tell whether a text has bytes in it as ``xxd``, ``od`` or ``base64`` and others print."""
    return _DUMPS.search(text) is not None or is_encoded(text)


def is_drawn(text: str) -> bool:
    r"""Tell whether a text has a picture of 8×8 or more in signs of blocks or braille.

    Examples
    --------
    >>> is_drawn("▚▞▘▝\n" * 4), is_drawn("epoch 1: 100%|██████████████████| 10/10")
    (True, False)
    """
    if text.isascii() or len(_SIGNS.findall(text)) < FEW_SIGNS:
        return False
    return signs_in(text) >= FEW_SIGNS
