"""Picture files of some hundred bytes, as tools encode them; texts that are none."""

from __future__ import annotations

import base64
import binascii
import io
import json
import quopri
import time

import numpy as np
import pytest
from PIL import Image

from dsguard.formats.disclosure import Disclosure
from dsguard.formats.encoded import Code, is_encoded, z85
from dsguard.formats.forms import is_dump
from dsguard.formats.review import Review

from .honest_texts import HONEST


def in_lines(data: bytes, width: int, between: str = "\n") -> str:
    text = base64.b64encode(data).decode()
    return between.join(text[n : n + width] for n in range(0, len(text), width)) + "\n"


def uuencoded(data: bytes, *, backtick: bool = False) -> str:
    lines = (data[n : n + 45] for n in range(0, len(data), 45))
    return "".join(binascii.b2a_uu(line, backtick=backtick).decode() for line in lines)


ENCODINGS = {
    "ascii85": lambda data: base64.a85encode(data).decode(),
    "ascii85 of Adobe": lambda data: base64.a85encode(data, wrapcol=72, adobe=True).decode(),
    "base85": lambda data: base64.b85encode(data).decode(),
    "z85": lambda data: z85(data).decode(),
    "quoted-printable": lambda data: quopri.encodestring(data, quotetabs=True).decode(),
    "uuencode": uuencoded,
    "uuencode of perl": lambda data: uuencoded(data, backtick=True),
    "uuencode without blanks": lambda data: uuencoded(data).replace(" \n", "\n"),
    "base64 -w 20": lambda data: in_lines(data, 20),
    "base64 -w 16": lambda data: in_lines(data, 16),
    "base64 with blanks": lambda data: in_lines(data, 20, " "),
    "base64 in quotes": lambda data: in_lines(data, 20, '",\n    "'),
    "hexadecimal": lambda data: data.hex(" "),
    "hexadecimal in C": lambda data: ", ".join(f"0x{each:02x}" for each in data),
    "hexadecimal with addresses": lambda data: "".join(
        f"{n:06x}  {data[n : n + 16].hex(' ')}\n" for n in range(0, len(data), 16)
    ),
    "hexadecimal escapes": lambda data: "\n".join(
        "".join(f"\\x{each:02x}" for each in data[n : n + 15]) for n in range(0, len(data), 15)
    ),
    "hexadecimal in fours": lambda data: data.hex(" ", 2),
}


@pytest.fixture(params=["webp", "png", "jpeg", "bytes"])
def data(request, scenes):
    """Return a thumbnail of 8×8 to 16×16."""
    if request.param == "bytes":
        return np.random.default_rng(0).bytes(90)
    size = 16 if request.param == "webp" else 8
    file = io.BytesIO()
    Image.fromarray(scenes[0]).resize((size, size)).save(file, request.param, quality=30)
    return file.getvalue()


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_thumbnails_are_held_back(data, encoding):
    text = ENCODINGS[encoding](data)
    assert is_dump(text)
    review = Review(Disclosure())
    assert review.file("p.txt", text.encode()) is None
    table = f"file,thumb\np.png,{text}"  # where lines of uuencode would not begin
    assert {"uuencode", "addresses"} & {*encoding.split()} or review.file(
        "p.csv", table.encode()
    ) is None
    kept = json.loads(review.file("p.json", json.dumps({"thumb": text, "likes": 7}).encode()))
    assert kept == {"thumb": None, "likes": 7}


@pytest.mark.parametrize("width", [16, 20])
def test_lines_of_base64_in_a_list_are_held_back(width):
    data = np.random.default_rng(0).bytes(90)
    lines = in_lines(data, width).split()
    kept = Review(Disclosure()).file("p.json", json.dumps({"thumb": lines, "likes": 7}).encode())
    assert json.loads(kept) == {"thumb": None, "likes": 7}


@pytest.mark.parametrize("name", HONEST)
def test_other_texts_are_not_encoded(name):
    assert not is_dump(HONEST[name])


def test_z85_is_that_of_zeromq():
    assert z85(bytes.fromhex("864fd26fb559f75b")) == b"HelloWorld"


def test_words_of_code_count_together_and_not_with_others():
    data = np.random.default_rng(0).bytes(90)
    words = in_lines(data, 20).split()
    assert not is_encoded(" and then ".join(words))
    code = Code()
    assert any(code.add(word) for word in words)


@pytest.mark.parametrize("text", [
    "aB3" * 300_000, "aB3xQ9+/Zk12 " * 80_000, "=F3=00" * 150_000, "UklGR" * 200_000,
    "M" + "A" * 60 + "\n", "ab cd ef 12 34 56 78 90\n" * 40_000, "0x12, " * 160_000,
    "UklGRabc " * 100_000, "aBcDeFgHiJkL.png\n" * 60_000,
])  # fmt: skip
def test_long_texts_take_no_longer_than_others(text):
    start = time.process_time()
    is_encoded(text)
    assert time.process_time() - start < 10
