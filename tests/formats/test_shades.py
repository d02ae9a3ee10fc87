"""Drawings in signs and letters, as jp2a and aalib make them; tables and the like are none."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from dsguard.formats.disclosure import Disclosure
from dsguard.formats.forms import is_drawn
from dsguard.formats.review import Review
from dsguard.formats.shades import Shades

from .honest_texts import HONEST

PALETTES = {
    "jp2a": "   ...',;:clodxkO0KXNWM",
    "aalib": " ._,-=;:=s%)auu%%oodZXXZXZ2Z#Z#XmqwQWM",
    "letters": " iltcoxkOXKNWM",
    "Bourke": "$@B%8&WM#*oahkbdpqwmZO0QLCJUYXzcvunxrjft/\\|()1{}[]?-_+~<>i!lI;:,\"^`'. ",
    "signs": " .:-=+*#%@",
    "two signs": ".#",
    "hashes": " #",
    "bits": "01",
}
SIZES = [(16, 8), (24, 12), (32, 16), (48, 24), (80, 40)]


def rows_of(picture: np.ndarray, palette: str, size: tuple[int, int]) -> list[str]:
    gray = Image.fromarray(picture).convert("L").resize(size)
    levels = np.asarray(gray.convert("1") if len(palette) == 2 else gray).astype(int) * 1
    levels = levels * 255 if len(palette) == 2 else levels
    return ["".join(palette[each * len(palette) // 256] for each in row) for row in levels]


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("palette", PALETTES)
def test_drawings_are_held_back(scenes, palette, size):
    rows = rows_of(scenes[0], PALETTES[palette], size)
    shades = Shades()
    assert any(shades.add(row) for row in rows)
    review = Review(Disclosure())
    assert review.file("p.txt", "\n".join(rows).encode()) is None
    kept = review.file("p.json", json.dumps({"art": rows, "likes": 7}).encode())
    assert kept is None or json.loads(kept) == {"art": None, "likes": 7}


@pytest.mark.parametrize("before", ["12;", "y ", ""])
def test_areas_and_frames_begin_nothing_anew(scenes, before):
    rows = rows_of(scenes[0], PALETTES["signs"], (16, 16))
    rows[4:4] = ["+--------------+", "................"]
    shades = Shades()
    assert any(shades.add(before + row) for row in rows)


@pytest.mark.parametrize("name", HONEST)
def test_other_texts_are_no_drawing(name):
    shades = Shades()
    lines = HONEST[name].splitlines()
    assert not any(shades.add(line) for line in lines)
    assert not is_drawn(HONEST[name])
