"""One string: whether it may go along, and how many characters it counts as."""

from __future__ import annotations

import re

from dsguard.formats.allowance import LABELS, STRING, WORD, CouldHoldPictureError
from dsguard.formats.drawings import has_drawing
from dsguard.formats.forms import is_drawn, is_dump
from dsguard.formats.key_search import holds_key
from dsguard.formats.rows import LETTERS, check_rows, refuse_signs
from dsguard.formats.small_pictures import has_blurhash, is_called_picture
from dsguard.formats.texts import decoded
from dsguard.formats.words import (
    ADDRESS,
    ENCODED,
    cost_of,
    count_of,
    is_code,
    is_number,
    numbers_in,
    size_of_signs,
    words_of,
)

_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x9f]")
_MOST_CONTROLS = 4
"""Those of a text that was read in a wrong encoding; bytes of a picture have more."""

_PARAMETER = re.compile(r"[?&;#]([\w.-]{1,64})=")


def size_of_scalar(value: object) -> tuple[int, int]:
    """Return how many numbers and characters a value has that is no list and no object.

    Raises
    ------
    CouldHoldPictureError
        If it could hold a picture.
    """
    if value is None:
        return 0, 0
    if is_number(value):
        return count_of(value), 0
    if isinstance(value, bytes):
        value = decoded(value)
    if isinstance(value, str):
        return 0, size_of_string(value)
    msg = (
        "is a number of more than 64 bits"
        if isinstance(value, int)
        else f"is of type {type(value).__name__}"
    )
    raise CouldHoldPictureError(msg)


def size_of_string(text: str) -> int:
    """Return how many characters a string has, those of plain words not counted.

    Raises
    ------
    CouldHoldPictureError
        If it could hold a picture.
    """
    if len(text) > STRING:
        msg = f"is a string of {len(text)} characters"
        raise CouldHoldPictureError(msg)
    check_key(text)
    check_form(text)
    if len(text) >= LETTERS:
        check_rows(text.splitlines())
    words = words_of(text)
    longest = max(map(len, words), default=0)
    if longest > WORD and not text.startswith(ADDRESS):
        msg = f"has a word of {longest} characters"
        raise CouldHoldPictureError(msg)
    if not text.startswith(ADDRESS):
        for word in words:
            check_code(word)
    elif any(map(is_called_picture, _PARAMETER.findall(text))):
        msg = "is an address with a blurred picture or a perceptual hash, by its name"
        raise CouldHoldPictureError(msg)
    signs = sum(size_of_signs(line) for line in text.splitlines())
    return signs + sum(map(cost_of, words))


def check_key(text: str) -> None:
    """Refuse a text with a key file in it."""
    if "dsguard-key" in text and holds_key(text.encode("utf-8", "surrogatepass")):
        msg = "holds the key of a dataset"
        raise CouldHoldPictureError(msg)


A_DRAWING = "holds a drawing: SVG, the data of its paths, strokes, or a bitmap"


def check_form(text: str) -> None:
    """Refuse a text that holds a picture by its form."""
    if len(_CONTROL.findall(text)) > _MOST_CONTROLS:
        msg = "is binary"
        raise CouldHoldPictureError(msg)
    if is_dump(text):
        msg = "has bytes as programs print them (xxd, od, uuencode, base64, base85)"
        raise CouldHoldPictureError(msg)
    refuse_signs(found=is_drawn(text))
    if has_blurhash(text):
        msg = "holds a blurred picture, a blurhash"
        raise CouldHoldPictureError(msg)
    if has_drawing(text):
        raise CouldHoldPictureError(A_DRAWING)


def check_name(name: str) -> None:
    """Refuse a file, a key or an array that is called as blurred pictures or such hashes are.

    Raises
    ------
    CouldHoldPictureError
    """
    if is_called_picture(name):
        msg = "holds blurred pictures or perceptual hashes, by its name"
        raise CouldHoldPictureError(msg)


def check_class(name: str) -> None:
    """Refuse the name of a class that could hold a picture: they are published in any case.

    Raises
    ------
    CouldHoldPictureError
    """
    size_of_string(name)
    if numbers_in(name) > LABELS:
        msg = f"has {numbers_in(name)} numbers"
        raise CouldHoldPictureError(msg)


def check_code(word: str) -> None:
    """Refuse a word such as base64 makes: a thumbnail has some hundred characters, a hash of it 30.

    Names of files and hexadecimal digits change less often between capitals, letters and digits.
    """
    if len(word) >= ENCODED and is_code(word):
        msg = f"has a word of {len(word)} characters that looks like base64 or the like"
        raise CouldHoldPictureError(msg)
