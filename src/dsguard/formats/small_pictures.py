"""Small pictures in some twenty signs or bytes: blurred ones of web pages, and perceptual hashes.

A blurhash is known by its form, https://github.com/woltapp/blurhash; others by the names that
they have. A perceptual hash is a picture of 8×8 or 16×16 bits, and looks like any other digest.
"""

from __future__ import annotations

import re

_NAME = r"blur[\W_]?hash|thumb[\W_]?hash|lqip"
_CALLED = re.compile(_NAME, re.IGNORECASE)
_BEHIND = re.compile(r"[\w.-]{0,64}[\"']?[ \t]{0,8}[:=,;|\t>]")  # as in a head or before a value
_BEFORE = re.compile(r"[,;|\t<?&][ \t]{0,8}[\"']?[\w.-]{0,64}$")
_MOST_BEFORE = 80  # characters
_WORDS = ("hash", "Hash", "HASH", "lqip", "Lqip", "LQIP")
_KIND = (
    r"average|avg|mean|perceptual|difference|diff|wavelet|haar|dct|image|img|colou?r|pdq|neural|"
    r"crop[_-]?resistant|similarity|visual|block|radial|median|gradient|marr[_-]?hildreth"
    r"|bmvb|colou?r[_-]?moment"
)
_HASH = (  # not behind a letter, but as in imagePHash; a distance between two is none
    rf"(?:(?<![A-Za-z])|(?<=[a-z0-9])(?=[A-Z]))(?i:(?:[adpvw][_-]?|(?:{_KIND})[\W_]?)hash(?:es)?)"
    r"(?![a-z])(?!(?<=H)[A-Z])(?!(?i:[\W_]?(?:dist|sim|score|thresh|match|group|cluster|count|size)))"
)
_CALLED_HASH = re.compile(_HASH)
_HASH_FIELD = re.compile(
    rf"{_HASH}[\w.-]*[\"']?[ \t]*(?:[:=,;|\t>]|$)|[,;|\t<][ \t]*[\"']?[\w.-]*{_HASH}", re.MULTILINE
)
_ANY = re.compile("[hH][aA][sS][hH]")  # few texts have one: the others cost little
_NEAR = 64
_DIGEST = re.compile(r"[0-9a-fA-F]{11,}|[A-Za-z0-9+/_-]{10}=")  # prose on hashes has none
_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz#$%*+,-.:;=?@[]^_{|}~"
_SHORTEST, _LONGEST = 12, 166  # of 2×2 parts, and of 9×9
_LONGEST_RUN = 1 << 12  # without a blank or a quote: longer ones are no tables
_RUN = re.compile(rf"[{re.escape(_ALPHABET)}]{{{_SHORTEST},}}")
_SIGN = re.compile(r"[#$%*+?@^~\[\]{}]")  # in nearly all of them, and in few names
_KINDS = (_SIGN, re.compile("[A-Z]"), re.compile("[a-z]"), re.compile("[0-9]"))
_BOUND = re.compile(r"[,;|=:\[{]")
_ENDS = {"", *",;|=:]}."}


def is_called_picture(name: str) -> bool:
    """Tell whether a key, a column or an array has the name of blurred pictures or such hashes."""
    return _CALLED.search(name) is not None or (
        "hash" in name.lower() and _CALLED_HASH.search(name) is not None
    )


def has_picture_field(text: str) -> bool:
    """Tell whether a table, a tag or a line of a text has a field of such a name."""
    if not any(word in text for word in _WORDS):  # of most texts, which is found at once
        return False
    fields = (_is_field(text, found) for found in _CALLED.finditer(text))
    return any(fields) or _has_hash_field(text)


def _is_field(text: str, found: re.Match[str]) -> bool:
    before = text[max(0, found.start() - _MOST_BEFORE) : found.start()]
    return bool(_BEHIND.match(text, found.end()) or _BEFORE.search(before))


def _has_hash_field(text: str) -> bool:
    around = (text[max(0, at.start() - _NEAR) : at.end() + _NEAR] for at in _ANY.finditer(text))
    return any(map(_HASH_FIELD.search, around)) and _DIGEST.search(text) is not None


def has_blurhash(text: str) -> bool:
    """Tell whether a text has a blurhash of 2×2 parts or more in it."""
    if not _SIGN.search(text):
        return False
    runs = (found[0] for found in _RUN.finditer(text))
    return any(_SIGN.search(run) and _in_run(run) for run in runs)


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
