"""What the owner of a dataset drops of a value: keys of objects at any depth, in JSON texts too."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable
from functools import partial
from typing import Any

from dsguard.formats.allowance import CouldHoldPictureError
from dsguard.formats.mentions import keys_in
from dsguard.formats.pairs import is_about, text_of
from dsguard.formats.texts import json_of, parsed

UNREAD = "may contain what is dropped, but dsguard cannot look inside"
"""Why something is left out in which a key, a column or an array may be that is dropped."""

_LONGEST_PATH = 1 << 12
"""Characters of the names of a value and of all that it is in, with which a pattern is compared."""

_MOST_KEYS = 100_000
"""Words that may be keys, of a text that is no JSON; one that has more is not read."""

_BEGINS = re.compile(r"[\s\ufeff]*[{\[\"]")
_BEGINS_BYTES = re.compile(rb"[\s\0\xef\xbb\xbf\xfe\xff]*[{\[\"]")
_HEXADECIMAL = re.compile(r"(?:7[bB]|5[bB])(?:[0-9a-fA-F]{2})*")  # of what begins like JSON
_SIGNS = "{:=<"  # without which a text has no names of values
_ESCAPE = re.compile(r"\\[uUxN]")  # which a key could be written with
_KEY = re.compile(
    r"""["']([^"']{0,256})["']\s{0,64}:"""
    r"""|(?<![^\s"'{}\[\],:])([^\s"'{}\[\],:]{1,256})\s{0,64}:"""  # from where a word begins
)


class Dropper:
    """Takes keys out of values; of what has none of them, the very same value remains.

    Parameters
    ----------
    is_dropped : callable
        Tells of a name, ``<file>/<column>``, and that of a key in it, whether the key is dropped.
    could_tell : callable
        Tells of the name of a text and of its bytes whether the letters of such a key could be
        there; not of patterns that seem to be about files, unless `of_files`.
    could_be : callable
        Tells of the name of a text and that of a key whether such a key at any depth is dropped.
    unread : callable
        Told the name of a text that looks like JSON, cannot be read, and has such a key in it. It
        becomes None.
    """

    def __init__(
        self,
        is_dropped: Callable[[str, str], bool],
        could_tell: Callable[..., bool],
        could_be: Callable[[str, str], bool],
        unread: Callable[[str], None],
    ) -> None:
        self._is_dropped, self._could_tell = is_dropped, could_tell
        self._could_be, self._unread = could_be, unread

    def left_of(self, value: Any, name: str) -> Any:
        """Return what is left of a value."""
        if isinstance(value, dict):
            return self._object(value, name)
        if isinstance(value, list | tuple):
            return self._list(value, name)
        if isinstance(value, str):
            return self._text(value, name)
        return self._bytes(value, name) if isinstance(value, bytes) else value

    def _object(self, value: dict[Any, Any], name: str) -> dict[Any, Any] | None:
        if is_about(value.items(), partial(self._could_be, name)):
            return None
        kept = {}
        for key, each in value.items():
            below = f"{name}/{text_of(key)}"
            if len(below) > _LONGEST_PATH:  # all those above are held as well
                self._unread(name)
                return None
            if not self._is_dropped(name, text_of(key)):
                kept[key] = self.left_of(each, below)
        is_same = len(kept) == len(value) and all(kept[key] is value[key] for key in kept)
        return value if is_same else kept

    def _list(self, value: list[Any] | tuple[Any, ...], name: str) -> Any:
        if any(self._has_name(each, name) for each in value):
            self._unread(name)
            return None
        is_of_pairs = value and all(_is_pair(each, name) for each in value)  # so Arrow has maps
        found = []
        for each in value:
            if self._is_begun(each, name):
                continue
            if is_of_pairs:
                found.append(self._pair(each, f"{name}/{text_of(each[0])}"))
            elif (left := self.left_of(each, name)) is not None or not isinstance(each, dict):
                found.append(left)
        is_same = len(found) == len(value)
        is_same = is_same and all(new is old for new, old in zip(found, value, strict=True))
        return value if is_same else type(value)(found)

    def _is_begun(self, value: Any, name: str) -> bool:
        """Tell whether a value of a list is one itself that begins with the name of what goes."""
        if not (isinstance(value, list | tuple) and len(value) > 1 and _is_name(value[0], name)):
            return False
        first = text_of(value[0])
        is_known = len(value) == 2 and self._is_dropped(name, first)
        return is_known or self._could_be(name, first)

    def _has_name(self, value: Any, name: str) -> bool:
        """Tell whether a list in a list has such a name in it, as the first row of a table has."""
        rest = value[1:] if isinstance(value, list) else ()  # maps are of tuples
        return any(_is_name(each, name) and self._could_be(name, text_of(each)) for each in rest)

    def _pair(self, pair: Any, name: str) -> Any:
        left = self.left_of(pair[1], name)
        return pair if left is pair[1] else type(pair)([pair[0], left])

    def _text(self, text: str, name: str) -> str | None:
        if _HEXADECIMAL.fullmatch(text):  # bytes, as a text has them
            data = bytes.fromhex(text)
            left = self._bytes(data, name)
            return text if left is data else None if left is None else left.hex()
        is_json = bool(_BEGINS.match(text))
        has_names = is_json or any(map(text.__contains__, _SIGNS))
        if not (has_names and self._could_tell(name, _encoded(text), of_files=True)):
            return text
        if not is_json:  # it may be in the middle
            return text if self._is_free(text, name) else None
        return self._json(text, name)

    def _json(self, text: str, name: str) -> str | None:
        try:
            value = parsed(text)
        except (CouldHoldPictureError, ValueError):
            return text if self._is_free(text, name) else None
        try:
            kept = self.left_of(value, name)
        except RecursionError:
            self._unread(name)
            return None
        if kept is value:
            return text
        return None if kept is None else json_of(kept)

    def _bytes(self, data: bytes, name: str) -> bytes | None:
        if not begins_as_json(data):
            return data
        try:
            text = data.decode(json.detect_encoding(data))
        except UnicodeDecodeError:
            return data if self._is_free(data.decode("latin-1"), name) else None
        left = self._text(text, name)
        if left is None or left is text:
            return None if left is None else data
        return _encoded(left)

    def _is_free(self, text: str, name: str) -> bool:
        """Tell whether a text that is no JSON has no key that is dropped."""
        keys = itertools.chain(
            (match[1] or match[2] for match in _KEY.finditer(text)), keys_in(text)
        )
        known = itertools.islice(keys, _MOST_KEYS)
        is_told = any(self._could_be(name, key) for key in known) or (
            _ESCAPE.search(text) and self._could_tell(name, _encoded(text))
        )
        if not is_told and next(keys, None) is None:
            return True
        self._unread(name)
        return False


def begins_as_json(data: bytes) -> bool:
    """Tell whether bytes begin as a text of JSON does, in any encoding."""
    return bool(_BEGINS_BYTES.match(data))


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _is_pair(value: Any, name: str) -> bool:
    """Tell whether a value is the name of something below another name, and that."""
    return isinstance(value, tuple | list) and len(value) == 2 and _is_name(value[0], name)


def _is_name(value: Any, name: str) -> bool:
    """Tell whether a value may be a name below another name."""
    return isinstance(value, str | bytes) and len(name) + len(value) < _LONGEST_PATH
