"""JSON files: one value, or one in each line."""

from __future__ import annotations

import contextlib
from typing import Any

from dsguard.formats.harmless import json_of, parsed, parsed_lines


def values_of(name: str, text: str) -> list[Any]:
    """Return the values of a JSON file: one, or one in each line."""
    if not name.endswith(".jsonl"):
        with contextlib.suppress(ValueError):
            return [parsed(text)]
    return list(parsed_lines(text))


def lines_of(values: list[Any]) -> bytes:
    """Return a file with these values, one in each line."""
    text = "".join(json_of(each) + "\n" for each in values)
    return text.encode("utf-8", "surrogatepass")
