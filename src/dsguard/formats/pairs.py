"""Values that are kept with their names as pairs: ``{"name": "patient", "value": "Bob"}``.

A record, an object or the row of a table, is about what a key of it says that names things. Beside
a value any key may say it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

from dsguard.formats.patterns import folded

NAMING = (
    r"(?:field|tag|key|attr|attribute|col|column|prop|property|var|variable|param|parameter"
    r"|feature|header|element|trait|meta|entity|item|question|concept|term|slot)"
    r"(?:[ _-]?(?:name|key|type|group|id))?"
    r"|k|name|resourcetype"
)
"""Keys that name things, as an expression."""

_NAMING = re.compile(rf"[@$_]?(?:{NAMING})")
_LISTING = re.compile(
    r"(?:field|key|col|column|var|variable|param|parameter|header)(?:[ _-]?name)?s?"
)
_VALUE = re.compile(r"[@$_]?(?:value[ _-]?\w*|\w*value|val|v)s?")
_ROWS = re.compile("data|rows?|records?|cells?|table")
_LONGEST = 1 << 12
"""Characters of a name."""


def is_about(record: Iterable[tuple[Any, Any]], is_dropped: Callable[[str], bool]) -> bool:
    """Tell whether a record is about something that is dropped.

    Parameters
    ----------
    record : iterable of tuple
        Keys and values.
    is_dropped : callable
        Tells of a text whether it is the name of what is dropped.

    Examples
    --------
    >>> is_about([("name", "patient"), ("text", "Bob")], "patient".__eq__)
    True
    >>> is_about([("label", "patient"), ("text", "in bed")], "patient".__eq__)
    False
    >>> is_about([("label", "patient"), ("value", "Bob")], "patient".__eq__)
    True
    """
    pairs = [(*_kinds_of(text_of(key)), value) for key, value in record]
    has_value = any(
        is_value or (is_rows and _is_of_lists(value)) for _, _, is_value, is_rows, value in pairs
    )
    return any(
        any(map(is_dropped, _names_in(value, lists=is_listing or has_value)))
        for is_naming, is_listing, is_value, _, value in pairs
        if is_naming or is_listing or (has_value and not is_value)
    )


def text_of(key: Any) -> str:
    """Return the key of an object as a name."""
    return key.decode("utf-8", "backslashreplace") if isinstance(key, bytes) else str(key)


def _names_in(value: Any, *, lists: bool) -> Iterable[str]:
    """Yield the texts of a value that may be names: itself, or what a list has."""
    if isinstance(value, str | bytes) and len(value) <= _LONGEST:
        yield text_of(value)
    elif lists and isinstance(value, list | tuple):
        for each in value:
            yield from _names_in(each, lists=False)
            for key, inner in each.items() if isinstance(each, dict) else ():
                yield from _names_in(inner if _kinds_of(text_of(key))[0] else None, lists=False)


def _is_of_lists(value: Any) -> bool:
    return isinstance(value, list | tuple) and isinstance(next(iter(value), None), list | tuple)


@lru_cache(maxsize=1 << 12)
def _kinds_of(key: str) -> tuple[bool, bool, bool, bool]:
    """Tell of a key if it names things, if lists of it do, if it has a value, or may have rows."""
    name = folded(key) if len(key) <= _LONGEST else ""
    kinds = (_NAMING, _LISTING, _VALUE, _ROWS)
    naming, listing, value, rows = (bool(each.fullmatch(name)) for each in kinds)
    return naming, listing, value, rows
