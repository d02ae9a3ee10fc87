"""Blurred pictures in some twenty signs or bytes, which web pages show until the picture is there.

A blurhash is known by its form, https://github.com/woltapp/blurhash; others by the names that
they have.
"""

from __future__ import annotations

import re

_NAME = r"blur[\W_]?hash|thumb[\W_]?hash|lqip"
_CALLED = re.compile(_NAME)
_BEHIND = re.compile(r"[\w.-]{0,64}[\"']?[ \t]{0,8}[:=,;|\t>]")  # as in a head or before a value
_BEFORE = re.compile(r"[,;|\t<][ \t]{0,8}[\"']?[\w.-]{0,64}$")
_NEAR = 80  # characters, which these have at most
_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz#$%*+,-.:;=?@[]^_{|}~"
_SHORTEST, _LONGEST = 12, 166  # of 2×2 parts, and of 9×9
_LONGEST_RUN = 1 << 12  # without a blank or a quote: longer ones are no tables
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
    if not is_called_blurred(text):
        return False
    return any(
        _BEHIND.match(text, found.end()) or _BEFORE.search(text[: found.start()][-_NEAR:])
        for found in _CALLED.finditer(text.lower())
    )


def has_blurhash(text: str) -> bool:
    """Tell whether a text has a blurhash of 2×2 parts or more in it."""
    return _SIGN.search(text) is not None and any(map(_in_run, _RUN.findall(text)))


def _in_run(run: str) -> bool:
    if len(run) > _LONGEST_RUN:
        return False
    starts = [("", 0), *((bound[0], bound.end()) for bound in _BOUND.finditer(run))]
    return any(_begins(run[start : start + _LONGEST + 1], bound) for bound, start in starts)


def _begins(run: str, bound: str) -> bool:
    """Tell whether a run of its signs, behind such a bound, begins with a blurhash."""
    rows, columns = divmod(_ALPHABET.index(run[0]), 9) if run else (0, 0)
    length = 4 + 2 * (rows + 1) * (columns + 1)
    found, end = run[:length], run[length : length + 1]
    if not (rows and columns and len(found) == length and end in _ENDS):
        return False
    cells = {bound, end} & {",", ";", "|"}
    return not any(map(found.count, cells)) and all(kind.search(found) for kind in _KINDS)
