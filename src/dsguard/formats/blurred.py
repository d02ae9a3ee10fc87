"""Blurred pictures in some twenty signs or bytes, which web pages show until the picture is there.

A blurhash is known by its form, https://github.com/woltapp/blurhash; others by the names that
they have.
"""

from __future__ import annotations

import re

_NAME = r"blur[\W_]?hash|thumb[\W_]?hash|lqip"
_CALLED = re.compile(_NAME)
_FIELD = re.compile(  # beside a sign that sets it off, as in a head, a tag or before a value
    rf"[\w.-]*(?:{_NAME})[\w.-]*[\"']?[ \t]*[:=,;|\t>]|[,;|\t<][ \t]*[\"']?[\w.-]*(?:{_NAME})",
    re.IGNORECASE,
)
_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz#$%*+,-.:;=?@[]^_{|}~"
_SHORTEST = 12  # 2×2 parts
_RUN = re.compile(rf"[{re.escape(_ALPHABET)}]{{{_SHORTEST},}}")
_SIGN = re.compile(r"[#$%*+?@^~\[\]{}]")  # in nearly all of them, and in few names
_KINDS = (_SIGN, re.compile("[A-Z]"), re.compile("[a-z]"), re.compile("[0-9]"))
_BOUND = re.compile(r"[,;|=:\[{]")
_ENDS = {"", *",;|=:]}."}


def is_called_blurred(name: str) -> bool:
    """Tell whether a key, a column or an array has the name of blurred pictures."""
    low = name.lower()  # most texts have neither word, which is found at once
    return ("hash" in low or "lqip" in low) and _CALLED.search(low) is not None


def has_blurred_field(text: str) -> bool:
    """Tell whether a table, a tag or a line of a text has a field of such a name."""
    return is_called_blurred(text) and _FIELD.search(text) is not None


def has_blurhash(text: str) -> bool:
    """Tell whether a text has a blurhash of 2×2 parts or more in it."""
    return _SIGN.search(text) is not None and any(map(_in_run, _RUN.findall(text)))


def _in_run(run: str) -> bool:
    starts = [("", 0), *((bound[0], bound.end()) for bound in _BOUND.finditer(run))]
    return any(_begins(run[start:], bound) for bound, start in starts)


def _begins(run: str, bound: str) -> bool:
    """Tell whether a run of its signs, behind such a bound, begins with a blurhash."""
    rows, columns = divmod(_ALPHABET.index(run[0]), 9) if run else (0, 0)
    length = 4 + 2 * (rows + 1) * (columns + 1)
    found, end = run[:length], run[length : length + 1]
    if not (rows and columns and len(found) == length and end in _ENDS):
        return False
    cells = {bound, end} & {",", ";", "|"}
    return not any(map(found.count, cells)) and all(kind.search(found) for kind in _KINDS)
