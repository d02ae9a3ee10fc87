"""Arrays that programs print a few numbers to a line are pictures; boxes and tables are none."""

from __future__ import annotations

import random

import pytest

from dsguard.formats.disclosure import Disclosure
from dsguard.formats.review import Review


def wrapped(scenes, side: int, width: int, form: str, scale: float = 1) -> str:
    gray = (scenes[0, :side, :side, 0] * scale).ravel()
    rows = (gray[start : start + width] for start in range(0, len(gray), width))
    return "\n".join("".join(form % value for value in row) for row in rows) + "\n"


def kept(text: str, suffix: str = "txt") -> bool:
    return Review(Disclosure()).file(f"0.{suffix}", text.encode()) is not None


@pytest.mark.parametrize("side", [8, 11, 16, 22])
@pytest.mark.parametrize(
    ("width", "form", "scale"),
    [
        (5, "  %.8f    ", 1 / 255),  # Fortran's reals
        (6, "%12d", 1),  # and its whole numbers
        (6, "%13.5E", 1 / 255),  # cube files
        (5, " %.11E", 1 / 255),  # CHGCAR
        (7, "%d,", 1),
        (4, " %.4f", 1 / 255),
    ],
)
def test_arrays(scenes, side, width, form, scale):
    assert not kept(wrapped(scenes, side, width, form, scale))
    assert kept(wrapped(scenes, 5, width, form, scale))


def test_each_row_by_itself(scenes):
    """The last line of a row of the picture is shorter."""
    text = "".join(
        " ".join(f"{v:3}" for v in scenes[0, n, a:b, 0]) + "\n"
        for n in range(11)
        for a, b in ((0, 5), (5, 8))
    )
    assert not kept(text)


def test_behind_a_name(scenes):
    assert not kept(f"thumb: {wrapped(scenes, 8, 7, '%d, ')}", "yaml")


@pytest.mark.parametrize("width", [10, 12, 15, 20])
def test_long_lines_and_the_rest(scenes, width):
    assert not kept(wrapped(scenes, 8, width, "%d, "))
    assert kept(wrapped(scenes, 7, width, "%d, "))


def numbers(seed: int, count: int, most: int) -> list[int]:
    return random.Random(seed).choices(range(most), k=count)


TABLES = {
    "YOLO": "".join(
        f"{n % 3} {x / 99:.4f} {y / 99:.4f} 0.2 0.3\n"
        for n, (x, y) in enumerate(zip(numbers(0, 40, 99), numbers(1, 40, 99), strict=True))
    ),
    "corners": "".join(
        f"{x} {y} {x + 9} {y + 20}\n"
        for x, y in zip(numbers(2, 60, 200), numbers(3, 60, 200), strict=True)
    ),
    "corners and class": "".join(
        f"{x},{y},{x + 9},{y + 20},{n % 3},0.9\n"
        for n, (x, y) in enumerate(zip(numbers(4, 40, 200), numbers(5, 40, 200), strict=True))
    ),
    "class and corners": "".join(
        f"{n % 3} {x} {y} {x + 9} {y + 20}\n"
        for n, (x, y) in enumerate(zip(numbers(6, 40, 200), numbers(7, 40, 200), strict=True))
    ),
    "sizes": "".join(
        f"{x},{y},{w},{w + 3}\n"
        for x, y, w in zip(
            numbers(8, 60, 1900), numbers(9, 60, 1000), numbers(10, 60, 90), strict=True
        )
    ),
    "frames": "".join(f"{n} {n % 2} {n * 37 % 91} {n * 53 % 83}\n" for n in range(60)),
    "epochs": "".join(f"{n},{0.9 - n * n % 7 / 99},{n * 5 % 9},{n % 4}\n" for n in range(40)),
}


@pytest.mark.parametrize("table", TABLES)
def test_tables(table):
    assert kept(TABLES[table])
