"""JSON files: one value, or one in each line; and what stands in them for other values."""

from __future__ import annotations

import contextlib
import json
import re
import secrets
from decimal import Decimal, InvalidOperation
from typing import Any

from dsguard.formats.texts import json_of, parsed, parsed_lines

_LONG = re.compile(r"[\d.]{20,}|[eE][+-]?\d{3}")
"""Numbers that may have more digits than a float holds, or be too large or small for one."""


class Written(Decimal):
    """A number of a JSON file that no float holds, with all its digits."""


def read_json(data: str | bytes) -> Any:
    """Return the value of JSON; numbers that no float holds are `Written`.

    Raises
    ------
    ValueError
        If it is no JSON.
    RecursionError
        If it is nested too deeply.
    """
    encoding = "" if isinstance(data, str) else json.detect_encoding(data)
    text = data if isinstance(data, str) else data.decode(encoding, "surrogatepass")
    return json.loads(text, parse_float=_number if _LONG.search(text) else None)


def _number(digits: str) -> float | Written:
    found = float(digits)
    try:
        return found if Decimal(repr(found)) == Decimal(digits) else Written(digits)
    except InvalidOperation:
        return found


def written_json(value: Any, *, ensure_ascii: bool = False) -> str:
    """Return as JSON what `read_json` gave, or a row of a table."""
    mark = secrets.token_hex(16)  # which no text of others has

    def stands_for(value: object) -> str:
        return f"{mark}{value}" if isinstance(value, Written) else as_json(value)

    text = json.dumps(value, default=stands_for, ensure_ascii=ensure_ascii)
    return re.sub(f'"{mark}([^"]*)"', r"\1", text) if mark in text else text


def values_of(name: str, text: str) -> list[Any]:
    """Return the values of a JSON file: one, or one in each line."""
    if not name.endswith(".jsonl"):
        with contextlib.suppress(ValueError):
            return [parsed(text)]
    return list(parsed_lines(text))


def as_json(value: object) -> str:
    """Return what stands for a value that JSON has no kind for: a moment, a decimal, bytes."""
    return value.hex() if isinstance(value, bytes) else str(value)


def lines_of(values: list[Any]) -> bytes:
    """Return a file with these values, one in each line."""
    text = "".join(json_of(each) + "\n" for each in values)
    return text.encode("utf-8", "surrogatepass")
