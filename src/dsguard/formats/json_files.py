"""JSON files: one value, or one in each line; and what stands in them for other values."""

from __future__ import annotations

import contextlib
from typing import Any

from dsguard.formats.texts import json_of, parsed, parsed_lines


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
