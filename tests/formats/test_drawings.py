"""Vector drawings are pictures, in a string or in a text file; outlines and tables are none."""

from __future__ import annotations

import json

import pytest

from dsguard.formats.allowance import Allowance
from dsguard.formats.disclosure import Disclosure
from dsguard.formats.drawings import has_drawing
from dsguard.formats.review import Review

PATHS = (
    "M10 20v-6h4v6h5v-8h3L12 3 2 12h3v8z",
    "M12 2C6.48 2 2 6.48 2 12s4.48 10 10 10 10-4.48 10-10S17.52 2 12 2zm0 5c1.66 0 3 1.34 3 3"
    "s-1.34 3-3 3-3-1.34-3-3 1.34-3 3-3z",
    "m 8 1 a 4.5 4.5 0 01-.5.5 l 2 3 h 4 v 5 h -4 l -2 3 z",
    "M1,2 L3,4 L5,6 L7,8 Q1,2,3,4 T9,9 H4 V2 Z",
)


@pytest.fixture
def review():
    return Review(Disclosure())


@pytest.mark.parametrize("path", PATHS)
def test_paths_are_held_back(review, path):
    assert has_drawing(path)
    assert has_drawing(path.replace(" ", "\n"))
    kept = review.file("p.json", json.dumps({"icon": path, "likes": 7}).encode())
    assert json.loads(kept) == {"icon": None, "likes": 7}
    assert review.row("a.parquet/icon", path, Allowance()) is None
    for text in (path, f'<path d="{path}"/>', f'<path\n  android:pathData="{path}"/>', f"p,{path}"):
        assert review.file("p.txt", text.encode()) is None


def test_short_paths_count_together(review):
    half = PATHS[0][:16]
    assert not has_drawing(half)
    assert has_drawing("|".join([half] * 3))


@pytest.mark.parametrize("text", [
    '<svg viewBox="0 0 9 9"><rect width="9" height="9"/></svg>', "<SVG>",
    "<svg:svg >", "%3Csvg%20width%3D9%3E",
    '<?xml version="1.0"?>\n<svg\nwidth="9">', "\\u003csvg ",
])  # fmt: skip
def test_svg_is_held_back(review, text):
    assert review.file("p.txt", text.encode()) is None
    kept = review.file("p.json", json.dumps({"icon": text}).encode())
    assert json.loads(kept) == {"icon": None}


@pytest.mark.parametrize("text", [
    "12 34 56 78 90 12 34 56 78 90 12 34 56 78",
    "M 34 170\n" * 9,
    "sex,age\n" + "M,34\nF,28\n" * 9,
    "C1 10 20\nC2 12 24\nL1 3 4\nL2 5 6\nT1 7 8\nT2 9 9\nS1 4 4\nS2 5 5\n",
    "size S 3, M 4, L 5, size S 3, M 4, L 5",
    "C6H12O6, CH3, H2SO4 and M1 of A4",
    "MH12 L3 V4 H2 in M31, M 42 and M 57 7",
    "a file of <svgs>, drawn as svg",
    "M1 molars, M2 molars, M3 molars, L1, L2, L3, T1, T2, T12",
])  # fmt: skip
def test_other_texts_are_no_drawing(text):
    assert not has_drawing(text)


@pytest.mark.parametrize("text", [
    "x" + "█" * 300_000 + "▀", "x " + "░" * 300_000 + "▀", "\t\\x" * 100_000, "\t \\x" * 100_000,
    "x," * 300_000 + "é",
])  # fmt: skip
def test_long_runs_take_no_minutes(text):
    """With a search that begins anew at each sign, one of these takes an hour."""
    assert Review(Disclosure()).file("x.txt", text.encode()) is None


def test_deep_values_under_names_of_drawings_take_no_minutes():
    """Each list was looked through again for each of the lists that it lies in."""
    value = ["ab"] * 100_000
    for _ in range(200):
        value = [value]
    assert Review(Disclosure()).file("x.json", json.dumps({"strokes": value}).encode())
