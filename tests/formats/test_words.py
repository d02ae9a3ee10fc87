"""Words and numbers of texts, in the spellings that programs give them."""

from __future__ import annotations

import itertools
import random
import re

import numpy as np
import pytest

from dsguard.formats.disclosure import Disclosure
from dsguard.formats.review import Review
from dsguard.formats.words import numbers_in, numbers_in_word, size_of_signs, words_of

PICTURE = np.random.default_rng(3).integers(100, 256, (8, 8))
NUMBERS = {
    "R": lambda a: f"structure(c({', '.join(f'{v}L' for v in a.ravel())}), dim = c(8L, 8L))",
    "sensor": lambda a: "\n".join(" ".join(f"{18 + v / 12:.2f}°C" for v in row) for row in a),
    "celsius": lambda a: "\n".join(",".join(f"{18 + v / 12:.2f}C" for v in row) for row in a),
    "pixels": lambda a: " ".join(f"{v}px" for v in a.ravel()),
    "volts": lambda a: "\n".join(" ".join(f"{v}mV" for v in row) for row in a),
    "C": lambda a: "{" + ", ".join(f"{v / 255:.3f}f" for v in a.ravel()) + "}",
    "Rust": lambda a: ",\n".join(", ".join(f"{v}u8" for v in row) for row in a),
    "WGSL": lambda a: ", ".join(f"{v}_u8" for v in a.ravel()),
    "LaTeX": lambda a: r"\\".join(" & ".join(map(str, row)) for row in a),
    "sympy": lambda a: (
        r"\left[\begin{matrix}"
        + r"\\".join(" & ".join(map(str, row)) for row in a)
        + r"\end{matrix}"
    ),
    "6502": lambda a: "\n".join(".byte " + ",".join(f"${v:02x}" for v in row) for row in a),
    "8051": lambda a: "\n".join("db " + ",".join(f"{v:02x}h" for v in row) for row in a),
    "octal": lambda a: " ".join(f"\\{v:03o}" for v in a.ravel()),
}


def kept(text: str, suffix: str = "txt") -> bool:
    return Review(Disclosure()).file(f"0.{suffix}", text.encode()) is not None


@pytest.mark.parametrize("form", NUMBERS)
def test_a_number_with_a_unit_is_a_number(form):
    assert numbers_in(NUMBERS[form](PICTURE)) >= 64
    assert not kept(NUMBERS[form](PICTURE))
    assert kept(NUMBERS[form](PICTURE[:2, :4]))


@pytest.mark.parametrize(
    "word", ["the", "v2", "1.2.3", "COCO2017", "a1b2", "x86_64", "000000012.jpg"]
)
def test_other_words_are_none(word):
    assert not numbers_in_word(word)


@pytest.mark.parametrize("sign", ["-", ".", "\\", "#", "—"])
def test_a_long_line_of_signs_is_looked_at_once(sign):
    """At a hundred thousand, a look from each sign on would take a quarter of an hour."""
    assert size_of_signs(sign * 1_000_000) == 0
    assert kept(f"Title\n{sign * 60}\n")


def test_signs_are_counted_between_words():
    """As by the plain expression, which takes long for a line of signs."""
    word = r"[^\s,;|\"'()\[\]{}<>=]*\w[^\s,;|\"'()\[\]{}<>=]*"
    rng = random.Random(0)
    for _ in range(2000):
        line = "".join(rng.choices("ab1 -.,;°='", k=rng.randrange(30)))
        between, words = re.subn(word, "", line)
        bare = re.sub(r"\s+", "", between)
        changes = sum(one != other for one, other in itertools.pairwise(bare))
        if words:
            assert size_of_signs(line) == max(0, changes - 4 * (1 + words))
        assert len(words_of(line)) >= words
