"""Pictures of two levels, a row in a number or in a short word, and drawings in braille."""

from __future__ import annotations

import base64
import json

import numpy as np
import pyarrow as pa
import pytest

from dsguard.formats.allowance import Allowance
from dsguard.formats.disclosure import Disclosure
from dsguard.formats.review import Review
from dsguard.formats.words import cost_of, extra_of_row

SIDE = 28


def glyph(seed: int, side: int = SIDE):
    """A ring, as in a set of handwriting: empty rows above, and strokes in the middle."""
    rng = np.random.default_rng(seed)
    y, x = np.indices((side, side)) - (side - 1) / 2 - rng.uniform(-2, 2, (2, 1, 1))
    distance = np.hypot(y, rng.uniform(0.9, 1.4) * x)
    return abs(distance - 0.32 * side) < 0.09 * side


def numbers_of(picture) -> list[int]:
    return [int("".join(map(str, row)), 2) for row in picture.astype(int).tolist()]


def words_of(picture) -> list[str]:
    width = -(-picture.shape[1] // 4)
    return [f"{row:0{width}X}" for row in numbers_of(picture)]


@pytest.fixture
def review():
    return Review(Disclosure(), ["a.png", "b.png"])


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("side", [24, 28, 40, 63])
def test_rows_in_numbers_are_held_back(review, seed, side):
    rows = numbers_of(glyph(seed, side))
    kept = review.file("0.json", json.dumps({"rows": rows, "label": 3}).encode())
    assert json.loads(kept) == {"rows": None, "label": 3}
    named = {f"row{n}": row for n, row in enumerate(rows)}
    assert review.file("1.json", json.dumps(named).encode()) is None
    for text in (" ".join(map(str, rows)), "\n".join(map(str, rows)), f"a.png,{rows}"):
        assert review.file("0.txt", text.encode()) is None
    assert review.row("t.parquet/rows", rows, Allowance()) is None
    table = np.array([rows] * 20)
    assert not review.array("a.npz", "x", table, {20})
    assert not review.array("a.npz", "y", table[0], {20})


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("side", [12, 16, 24, 28])
def test_rows_in_short_words_are_held_back(review, seed, side):
    rows = words_of(glyph(seed, side))
    kept = review.file("0.json", json.dumps({"x": rows, "label": 3}).encode())
    assert json.loads(kept) == {"x": None, "label": 3}
    for text in ("\n".join(rows), " ".join(rows), ",".join(rows).lower()):
        assert review.file("0.txt", text.encode()) is None


@pytest.mark.parametrize("text", [
    "STARTCHAR A\nBBX 8 8 0 0\nBITMAP\n18\nENDCHAR\n",
    "#define a_width 16\nstatic unsigned char a_bits[] = {\n 0x3c, 0x42 };",
    "static char * a_xpm[] = {\n\"2 2 2 1\",",
])  # fmt: skip
def test_fonts_are_held_back(review, text):
    assert review.file("0.txt", text.encode()) is None
    assert json.loads(review.file("0.json", json.dumps({"x": text, "n": 1}).encode())) == {
        "x": None,
        "n": 1,
    }


@pytest.mark.parametrize("name", ["bitmap", "glyph", "glyph_data", "bits"])
def test_bitmaps_are_held_back_by_their_names(review, name):
    kept = review.file("0.json", json.dumps({name: list(range(16)), "n": 1}).encode())
    assert json.loads(kept) == {name: None, "n": 1}


def braille(picture):
    """A sign has two columns and four rows of a picture."""
    places = [(0, 0), (1, 0), (2, 0), (0, 1), (1, 1), (2, 1), (3, 0), (3, 1)]
    picture = picture.astype(int)
    height, width = picture.shape
    return [
        "".join(
            chr(
                0x2800 + sum(int(picture[y + dy, x + dx]) << n for n, (dy, dx) in enumerate(places))
            )
            for x in range(0, width, 2)
        )
        for y in range(0, height, 4)
    ]


@pytest.mark.parametrize("join", ["", " ", ","])
@pytest.mark.parametrize("side", [16, 28])
def test_braille_is_counted_over_all_strings(review, side, join):
    rows = [join.join(row) for row in braille(glyph(0, side))]
    for value in ({"x": rows}, {f"r{n}": row for n, row in enumerate(rows)}):
        kept = review.file("0.json", json.dumps({**value, "label": 3}).encode())
        assert kept is None or not any(ord(sign) >= 0x2800 for sign in kept.decode())


HONEST = {
    "places": [1920, 1080, 4032, 3024, 8000, 17, 6000, 5121, 8191, 4000, 44, 1234],
    "ids in order": [139832 + 77 * n for n in range(60)],
    "times in order": [1_700_000_000 + 3600 * n for n in range(60)],
    "a few ids": [139832, 582911, 239221, 982311, 100231, 392811, 872213, 293821],
    "fractions": [n / 7 for n in range(60)],
    "counts": [(37 * n) % 4000 for n in range(60)],
    "one id": [582_911_233, *range(40)],
    "wells": [f"{row}{n:02}" for row in "ABC" for n in range(1, 9)],
    "labels": ["cat", "dog", "bed", "face", "cab", "dad", "bee", "add"],
    "years": ["1999", "2004", "2001", "1987", "2020", "2011", "1990", "2005"],
    "hashes": ["a1b2c3d", "9f8e7d6", "0a1b2c3"],
    "panels": ["1a", "1b", "2a", "2b", "2c", "3a", "3b", "3c"],
}


@pytest.mark.parametrize("name", HONEST)
def test_lists_of_other_things_go_along(review, name):
    text = json.dumps({"x": HONEST[name]}).encode()
    assert review.file("0.json", text) == text
    assert review.row("t.parquet/x", HONEST[name], Allowance()) == HONEST[name]


def test_only_rows_of_large_numbers_count_more():
    assert extra_of_row(numbers_of(glyph(0))) >= 2 * SIDE
    assert all(
        extra_of_row(each) == 0
        for name, each in HONEST.items()
        if name not in ("a few ids",) and isinstance(each[0], int | float)
    )


def test_a_table_with_an_id_and_numbers_goes_along(review):
    columns = ["name", "patient", *(f"n{n}" for n in range(40))]
    rows = [[f"{'ab'[n]}.png", 5_829_112, *((n * k) % 5000 for k in range(40))] for n in range(2)]
    text = "\n".join(",".join(map(str, row)) for row in (columns, *rows)).encode()
    assert review.file("labels.csv", text) == text


def test_columns_of_a_parquet_file_are_one_row(review):
    rows = numbers_of(glyph(1))
    allowance = review.row_of_table({f"row{n}": 7 for n, _ in enumerate(rows)})
    assert allowance.in_rows == 63 - SIDE
    with pytest.raises(Exception, match="large numbers"):
        review.row_of_table({f"row{n}": row for n, row in enumerate(rows)})
    assert pa.array(rows).type == pa.int64()


def encoded(alphabet: str, data: bytes) -> list[str]:
    """Return bytes in an alphabet, in words of 60."""
    number, text = int.from_bytes(data, "big"), ""
    while number:
        number, digit = divmod(number, len(alphabet))
        text += alphabet[digit]
    return [text[start : start + 60] for start in range(0, len(text), 60)]


ALPHABETS = {
    "base32 in small letters": "abcdefghijklmnopqrstuvwxyz234567",
    "base32hex": "0123456789ABCDEFGHIJKLMNOPQRSTUV",
    "z-base-32": "ybndrfg8ejkmcpqxot1uwisza345h769",
    "Crockford": "0123456789ABCDEFGHJKMNPQRSTVWXYZ",
    "base36": "0123456789abcdefghijklmnopqrstuvwxyz",
}


@pytest.mark.parametrize("alphabet", ALPHABETS)
def test_codes_of_any_alphabet_are_held_back(review, alphabet):
    """A picture file of 32×32 pixels has some 240 bytes."""
    words = encoded(ALPHABETS[alphabet], np.random.default_rng(0).bytes(240))
    text = json.dumps({"code": words}).encode()
    for name, data in (("a.json", text), ("a.txt", "\n".join(words).encode())):
        kept = review.file(name, data) or b""
        assert not any(word.encode() in kept for word in words)


@pytest.mark.parametrize("width", [12, 16, 20])
def test_base64_in_short_words_is_held_back(review, width):
    text = base64.b64encode(np.random.default_rng(0).bytes(240)).decode()
    words = [text[start : start + width] for start in range(0, len(text), width)]
    kept = review.file("a.json", json.dumps({f"k{n}": w for n, w in enumerate(words)}).encode())
    assert sum(word in (kept or b"").decode() for word in words) < len(words) // 2


def test_a_few_ids_go_along(review):
    text = json.dumps({"video": "dQw4w9WgXcQ", "doc": "1BxiMVs0XRA5nFMdKvBdBZjgmUUqpt", "n": 1})
    assert json.loads(review.file("a.json", text.encode()) or b"{}").get("video") == "dQw4w9WgXcQ"
    slides = json.dumps({"slide": "tcga2gz7bd01z00dx1", "case": "patient00012scan03"}).encode()
    assert review.file("b.json", slides) == slides


def test_addresses_are_looked_into(review):
    """A picture of 48×48 has some 330 bytes."""
    text = base64.urlsafe_b64encode(np.random.default_rng(0).bytes(330)).decode()
    for pieces in ([text[:220], text[220:]], [text[n : n + 60] for n in range(0, 440, 60)]):
        several = ["https://x.org/" + each for each in pieces]
        named = {f"u{n}": each for n, each in enumerate(several)}
        assert Review(Disclosure(), ["a.png"]).file("a.json", json.dumps(named).encode()) is None
        assert Review(Disclosure(), ["a.png"]).file("a.txt", "\n".join(several).encode()) is None
    hashed = "https://cdn.org/a.jpg?w=3&thumbhash=1QcSHQRnh493V4dIh4eXh1h4kJUI"
    kept = review.file("b.json", json.dumps({"u": hashed, "n": 1}).encode())
    assert json.loads(kept) == {"u": None, "n": 1}
    assert review.file("b.txt", hashed.encode()) is None


@pytest.mark.parametrize("address", [
    "https://live.staticflickr.com/65535/49394793212_ab12cd34ef_b.jpg",
    "http://images.cocodataset.org/val2017/000000397133.jpg",
    "https://drive.google.com/file/d/1BxiMVs0XRA5nFMdKvBdBZjgmUUqptlbs74OgvE2upms/view",
    "https://upload.wikimedia.org/wikipedia/commons/thumb/a/a9/Example.jpg/320px-Example.jpg",
])  # fmt: skip
def test_usual_addresses_go_along(review, address):
    told = {"url": address, "license": "https://creativecommons.org/licenses/by/2.0/"}
    text = json.dumps(told).encode()
    assert review.file("a.json", text) == text
    assert review.file("b.txt", address.encode()) == address.encode()


@pytest.mark.parametrize("word", ["0000ff00000000000000", "abcdef1234567890", "ABCDEFGH23456772"])
def test_hexadecimal_and_base32_are_code_whatever_their_shape(word):
    """Ids are none, but those that could be digits of either."""
    assert cost_of(word) == 5 * len(word)
    assert cost_of("20240101T120000Z") == 16


BLANKS = [([], {}), ("", None), ([], [[]]), ({}, {"a": None}), (None, {})]


@pytest.mark.parametrize("blanks", BLANKS, ids=str)
@pytest.mark.parametrize("side", [32, 128])
def test_empty_values_are_no_pixels(blanks, side):
    bits = np.random.default_rng(0).integers(0, 2, (side, side))
    picture = [[blanks[bit] for bit in row] for row in bits]
    for value in (
        picture,
        [each for row in picture for each in row],
        [dict(enumerate(row)) for row in picture],
    ):
        for name in ("x.json", "0.json"):
            review = Review(Disclosure(), ["0.png"])
            kept = review.file(name, json.dumps({"m": value, "n": 1}).encode())
            assert kept is None or len(kept) < 0.6 * len(json.dumps(value))


def test_usual_empty_values_go_along():
    shapes = [{"label": "cat", "flags": {}, "group_id": None, "points": [[1, 2]]}] * 100
    boxes = [None, [1, 2, 3, 4]] * 3
    value = {"shapes": shapes, "boxes": boxes, "tags": [[], ["a"], []] * 30, "note": ""}
    data = json.dumps(value).encode()
    assert Review(Disclosure(), ["0.png"]).file("0.json", data) == data


def test_a_number_of_many_digits_is_no_point():
    data = json.dumps({"points": [[1, 2]]}).replace("1", "1." + "7" * 300).encode()
    assert Review(Disclosure(), ["0.png"]).file("0.json", data) is None
