"""Texts and JSON as they are looked through: strictly, and with all digits of their numbers."""

from __future__ import annotations

import contextlib
import json
import re
import secrets
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from math import isinf
from typing import Any

from dsguard.errors import InputError
from dsguard.formats.allowance import WORD, CouldHoldPictureError
from dsguard.formats.limits import check_json, json_lines
from dsguard.formats.words import LONGEST_NUMBER

_BLANKS = re.compile(r"\s{65,}")
_LONE = re.compile("[\ud800-\udfff]")  # half a sign, which UTF-8 does not have and JSON escapes
_MOST_DIGITS = 64
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f]")


def decoded(data: bytes) -> str:
    """Return text.

    Raises
    ------
    CouldHoldPictureError
        If it is none.
    """
    try:
        text = data.decode(json.detect_encoding(data))  # UTF-8, -16 or -32, with or without a mark
    except UnicodeDecodeError as error:
        msg = "is binary"
        raise CouldHoldPictureError(msg) from error
    if _CONTROL.search(text):
        msg = "is binary"
        raise CouldHoldPictureError(msg)
    if _BLANKS.search(text):
        msg = f"has more than {WORD} blanks in a row"
        raise CouldHoldPictureError(msg)
    return text


def parsed(text: str) -> Any:
    """Return JSON; a number that is written at length keeps its digits, which count.

    Raises
    ------
    CouldHoldPictureError
        If an object has one key twice, of which readers see but one, or is nested too deeply.
    ValueError
        If it is not JSON.
    """
    with _refused():
        check_json(text)
        return _JSON.decode(text)


def parsed_lines(text: str) -> list[Any]:
    """Return JSON values, one a line, as `parsed` does; the limits are those of the whole text."""
    with _refused():
        return [_JSON.decode(line) for line in json_lines(text) if line.strip()]


@contextlib.contextmanager
def _refused() -> Iterator[None]:
    try:
        yield
    except InputError as error:
        raise CouldHoldPictureError(error.message) from error
    except RecursionError as error:
        msg = "is nested too deeply"
        raise CouldHoldPictureError(msg) from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        msg = "has an object with one key twice"
        raise CouldHoldPictureError(msg)
    return found


def _number(digits: str) -> float | Decimal:
    if len(digits) > _MOST_DIGITS:
        msg = f"has a number of {len(digits)} signs"
        raise CouldHoldPictureError(msg)
    found = float(digits)
    if len(digits) <= LONGEST_NUMBER and not isinf(found):
        return found
    try:
        return Decimal(digits)
    except InvalidOperation as error:
        msg = "has a number beyond all bounds"
        raise CouldHoldPictureError(msg) from error


_JSON = json.JSONDecoder(object_pairs_hook=_object, parse_float=_number)


def json_of(value: Any, indent: int | None = None) -> str:
    """Return what `parsed` has read as JSON: its numbers as numbers, with all their digits."""
    mark = secrets.token_hex(16)  # which no text of others has

    def marked(number: object) -> str:
        if isinstance(number, Decimal):
            return f"{mark}{number}"
        msg = f"no JSON has values of type {type(number).__name__}"
        raise TypeError(msg)

    text = json.dumps(value, ensure_ascii=False, indent=indent, default=marked)
    text = _LONE.sub(lambda half: f"\\u{ord(half[0]):04x}", text)
    return re.sub(f'"{mark}([^"]*)"', r"\1", text) if mark in text else text
