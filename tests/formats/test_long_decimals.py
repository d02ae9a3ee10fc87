"""Numbers of many digits, and letters written as numbers: each could be a row of a picture."""

from __future__ import annotations

import json
from decimal import Decimal

import numpy as np
import pytest

from dsguard.formats.allowance import Allowance, CouldHoldPictureError
from dsguard.formats.disclosure import Disclosure
from dsguard.formats.number_lists import charge_numbers
from dsguard.formats.review import Review

ROWS = ["".join(map(str, row)) for row in np.random.default_rng(0).integers(1, 10, (60, 62))]


def published(name: str, text: str) -> bytes | None:
    return Review(Disclosure()).file(name, text.encode())


@pytest.mark.parametrize("text", [
    "\n".join(f'{{"v": 0.{row}}}' for row in ROWS),
    "\n".join(f'{{"v": 0.{row}, "n": {n}}}' for n, row in enumerate(ROWS)),
    json.dumps([{"v": "#"}] * 60).replace('"#"', "%s") % tuple(f"0.{row}" for row in ROWS),
    '{{"v": [{}]}}'.format(",".join(f"[0.{row}]" for row in ROWS)),
    '{{"v": [{}]}}'.format(",".join(f"[0.{row}, 1, 2]" for row in ROWS)),
], ids=["lines", "lines of two", "objects", "lists", "lists of three"])  # fmt: skip
def test_long_decimals_are_no_boxes(text):
    left = published("a.jsonl", text) or b""
    assert sum(row.encode() in left for row in ROWS) < 16


@pytest.mark.parametrize("line", ["0.{} 0.{}", "value: 0.{}", "- [0.{}, 0.{}]", "0 0.{} 0.{}"])
def test_long_decimals_of_a_text_are_no_boxes(line):
    text = "".join(line.format(row[:23], row[30:53]) + "\n" for row in ROWS)
    left = published("a.txt", text) or b""
    assert sum(row[:23].encode() in left for row in ROWS) < 16


def test_lists_of_long_decimals_are_charged():
    with pytest.raises(CouldHoldPictureError):
        charge_numbers([[Decimal(f"0.{row}")] for row in ROWS], Allowance())


def test_boxes_of_floats_go_along():
    boxes = np.random.default_rng(0).uniform(0, 1, (60, 4)).tolist()
    text = "\n".join(json.dumps({"box": box}) for box in boxes)
    assert published("a.jsonl", text) == text.encode()
    named = "\n".join(json.dumps(dict(zip("xywh", box, strict=True))) for box in boxes)
    assert published("a.jsonl", named) == named.encode()


@pytest.mark.parametrize(("text", "goes"), [
    (r'{"a": "the c\u0061t"}', False), (r'{"a": "\u0037"}', False), (r'{"a": "\u005A"}', False),
    (r'{"a": "\\\u0061"}', False),
    (r'{"a": "caf\u00e9 \u003c \u0026 \u007f \u0022"}', True), (r'{"a": "\\u0061"}', True),
])  # fmt: skip
def test_letters_that_are_written_as_their_numbers_are_held_back(text, goes):
    assert (published("a.json", text) == text.encode()) == goes
    wide = text.encode("utf-16")
    assert (Review(Disclosure()).file("a.json", wide) == wide) == goes


def test_points_of_floats_go_along_in_texts():
    points = np.random.default_rng(0).uniform(1e-9, 1, (60, 2)) * [1, 1e-5]
    text = "".join(f"{x!r} {y!r}\n" for x, y in points.tolist())
    assert published("a.txt", text) == text.encode()
