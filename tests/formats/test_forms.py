"""Pictures in texts, by their form: bytes as programs print them, and drawings in signs."""

from __future__ import annotations

import binascii
import json
import shutil
import subprocess
import time

import numpy as np
import pytest

from dsguard.formats.disclosure import Disclosure
from dsguard.formats.drawings import has_drawing
from dsguard.formats.forms import is_drawn, is_dump
from dsguard.formats.review import Review
from dsguard.formats.shades import Shades
from dsguard.formats.small_pictures import has_blurhash, has_picture_field

DATA = bytes(np.random.default_rng(0).integers(0, 256, 64, np.uint8))
PRINTERS = (["xxd"], ["xxd", "-g1"], ["xxd", "-g4"], ["hexdump"], ["hexdump", "-C"], ["od"])


def printed(command: list[str]) -> str:
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not here")
    return subprocess.run(command, input=DATA, capture_output=True, check=True).stdout.decode()


@pytest.mark.parametrize("command", PRINTERS, ids=" ".join)
def test_bytes_that_programs_print(command):
    assert is_dump(printed(command))


def test_uuencoded_bytes():
    body = "".join(binascii.b2a_uu(DATA[n : n + 45]).decode() for n in range(0, len(DATA), 45))
    assert is_dump(f"begin 644 thumb.webp\n{body}`\nend\n")
    xxd = "".join(
        f"{n:08x}: {' '.join(DATA[m : m + 2].hex() for m in range(n, n + 16, 2))}  ....\n"
        for n in range(0, 64, 16)
    )
    assert is_dump(xxd)


def art(picture: np.ndarray, palette: str) -> str:
    return "\n".join("".join(palette[value] for value in row) for row in picture) + "\n"


def test_drawings(scenes):
    gray = scenes[0, ::2, ::2, 0]
    assert is_drawn(art(scenes[0, ::4, ::4, 0] // 64, " ▘▞█"))
    dots = np.packbits(gray.reshape(4, 4, 8, 2).transpose(0, 2, 1, 3).reshape(4, 8, 8) > 99, axis=2)
    braille = "".join(chr(0x2800 + value) for value in range(256))
    assert is_drawn(art(dots[..., 0], braille))


@pytest.mark.parametrize("text", [
    "# Title\n\n|---|---|\n| a | b |\n\n---------\n\n* * * * *\n",
    "00000001 12 34 56 78 90\n00000002 11 22 33 44 55\n", "2007_000027 1\n2007_000032 -1\n",
    "0000012 2013 2014 2015 2016\n", "begin with 644 words\n", "12:30:05 13:30:05 14:30:05\n",
    "┌────────┐\n│ a table │\n└────────┘\n", "progress ████ 40 %\n",
    "00000000 0 0.5 0.5 0.25 0.25\n" * 9,
])  # fmt: skip
def test_tables_and_prose_are_none(text):
    assert not is_dump(text)
    assert not is_drawn(text)


@pytest.mark.parametrize("key", ["strokes", "drawing", "ink", "objects"])
def test_strokes_are_no_outlines(key):
    """A sketch is its strokes; an outline of as many points is not the picture."""
    points = np.random.default_rng(0).integers(0, 200, (150, 2)).tolist()
    text = json.dumps({"likes": 7, key: [{"points": points}]})
    kept = json.loads(Review(Disclosure()).file("p.json", text.encode()))
    assert kept["likes"] == 7
    assert ("[[" in json.dumps(kept)) == (key == "objects")


@pytest.mark.parametrize("text", [
    "START\n12.000000,-30.000000,0.000000\n14.000000,-31.500000,37.000000\nBREAK\n",
    '<ink xmlns="http://www.w3.org/2003/InkML">\n<trace id="0">\n12 30, 14 31\n</trace>\n</ink>\n',
    '<StrokeSet>\n<Stroke colour="black" end_time="3">\n<Point x="9" y="2"/>\n</Stroke>\n',
    ".HIERARCHY WORD\n.PEN_DOWN\n12 30\n14 31\n.PEN_UP\n",
])  # fmt: skip
def test_strokes_of_a_pen_are_drawings(text):
    assert has_drawing(text)
    assert not has_drawing("START\nof the text: he had a stroke, no trace of ink\n")


def test_a_path_of_a_canvas_is_a_drawing():
    rows = [["M", 3, 4], *[["Q", n, 5, n + 1, 6] for n in range(9)]]
    text = json.dumps({"canvas": {"objects": [{"type": "path", "stroke": "black", "path": rows}]}})
    kept = json.loads(Review(Disclosure()).file("p.json", text.encode()))
    assert kept["canvas"]["objects"][0] == {"type": "path", "stroke": "black", "path": None}


@pytest.mark.parametrize("drawing", [
    [[[12, 30, 41], [7, 9, 11]], [[1, 2], [3, 4]]], [{"x": [1, 2, 3, 4], "y": [5, 6, 7, 8]}],
    [{"x": n, "y": n} for n in range(5)], "12 30 14 31 15 33 16 34",
])  # fmt: skip
def test_a_few_points_are_a_drawing_where_they_are_called_so(drawing):
    others = {"points": [1, 2], "stroke_width": 2, "stroke_lesions": [[1, 2, 30, 40]] * 3}
    boxes = [{"bbox": [1, 2, 30, 40], "label": "valve"}] * 3
    others |= {"drawing_000.jpg": boxes, "drawings": [{"file": "a.jpg", "boxes": boxes}]}
    text = json.dumps({"drawing": drawing, "pen_strokes": drawing, **others})
    kept = json.loads(Review(Disclosure()).file("drawings/p.json", text.encode()))
    assert kept == {"drawing": None, "pen_strokes": None, **others}


@pytest.mark.parametrize("end", ["\n", "\r", "\u2028", "\n\n", "<br/>\n"])
@pytest.mark.parametrize("kind", ["txt", "string", "strings", "lines", "csv"])
def test_rows_of_signs_are_held_back(scenes, end, kind):
    rows = art(scenes[0, ::2, ::2, 0] // 26, " .:-=+*#%@").splitlines()
    text = "".join(f"{row}{end}" for row in rows)
    texts = {"txt": text, "string": json.dumps({"art": text}), "strings": json.dumps({"art": rows})}
    texts["lines"] = "".join(json.dumps(row) + "\n" for row in rows)
    texts["csv"] = "".join(f"{y};{row}{end}" for y, row in enumerate(rows))
    review = Review(Disclosure())
    kept = review.file(f"p.{'json' if kind.startswith('string') else 'txt'}", texts[kind].encode())
    assert kept is None or json.loads(kept) == {"art": None}
    assert review.account.left_out


@pytest.mark.parametrize("line", [
    "a1" * 500_000,
    "[12,34]," * 125_000 + "#", "[" * 900_000, "1,2," * 250_000 + "#", "ab-" * 300_000,
    "blurhash" * 120_000, "a" * 900_000 + "blurhash", "." * 900_000, "begin 644 " * 90_000,
    "phash," + "g" * 900_000, "hash" * 20_000, "M12 2C" * 150_000, "M" * 900_000,
    "M1" + " " * 900_000, "M1 1L" + " " * 900_000,
    "1 2 " * 200_000, "<svg" * 200_000, "rgb(" * 200_000, "#aabbcc" * 120_000,
])  # fmt: skip
def test_long_lines_take_no_longer_than_others(line):
    """A word of a megabyte took half a day, where each place of it was begun at."""
    start = time.process_time()
    for told in (is_dump, is_drawn, has_blurhash, has_picture_field, has_drawing, Shades().add):
        told(line)
    assert time.process_time() - start < 20
