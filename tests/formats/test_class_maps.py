"""Pictures whose pixels are words: they are held back in every form about one image."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest

from dsguard.formats.allowance import Allowance
from dsguard.formats.class_maps import is_class_map
from dsguard.formats.disclosure import Disclosure
from dsguard.formats.review import Review

from .honest_texts import HONEST

KINDS = ("grass", "water", "sand", "rock")


def landscape(side: int) -> list[list[str]]:
    """Return a picture of hills, whose pixels are words."""
    across = np.arange(side)
    heights = [np.sin(across / side * 7 + n) * side / 9 + side * (n + 1) / 4 for n in range(3)]
    below = sum((across[:, None] > height).astype(int) for height in heights)
    return [[KINDS[each] for each in row] for row in below]


FORMS = {
    "lines.txt": lambda rows: "\n".join(word for row in rows for word in row),
    "line.txt": lambda rows: " ".join(word for row in rows for word in row),
    "column.csv": lambda rows: "class\n" + "\n".join(word for row in rows for word in row),
    "list.yaml": lambda rows: "".join(f"- {word}\n" for row in rows for word in row),
    "sentences.txt": lambda rows: "\n".join(
        f"The next one is {word}." for row in rows for word in row
    ),
    "elements.xml": lambda rows: "".join(f"<tile>{word}</tile>\n" for row in rows for word in row),
    "cells.xml": lambda rows: "".join(
        "<tr>" + "".join(f"<td bgcolor='{word}'/>" for word in row) + "</tr>" for row in rows
    ),
    "list.json": lambda rows: json.dumps({"tiles": [word for row in rows for word in row]}),
    "rows.json": lambda rows: json.dumps([{"row": row} for row in rows]),
    "objects.json": lambda rows: json.dumps([{"class": word} for row in rows for word in row]),
    "nested.json": lambda rows: json.dumps([[[word] for word in row] for row in rows]),
    "keys.json": lambda rows: json.dumps({f"r{n}": row for n, row in enumerate(rows)}),
    "lines.jsonl": lambda rows: "".join(
        json.dumps({"class": word}) + "\n" for row in rows for word in row
    ),
}


@pytest.mark.parametrize("side", [16, 64, 96])
@pytest.mark.parametrize("form", FORMS)
def test_a_map_of_words_about_one_image_is_held_back(form, side):
    text = FORMS[form](landscape(side))
    review = Review(Disclosure())
    suffix = form.rpartition(".")[2]
    found = review.fields("a", {suffix: text.encode()})
    kept = found.get(suffix, b"").decode()
    assert sum(kept.count(kind) for kind in KINDS) < side


def test_a_map_of_words_in_a_row_of_a_table_is_held_back():
    rows = landscape(64)
    for value in ([word for row in rows for word in row], [{"row": row} for row in rows]):
        review = Review(Disclosure())
        assert review.row("x.parquet/tiles", value, Allowance()) is None


def test_a_list_of_words_about_no_image_is_held_back():
    words = [word for row in landscape(64) for word in row]
    kept = Review(Disclosure(), ["a.png"]).file(
        "x.json", json.dumps({"info": {"tiles": words, "year": 2026}}).encode()
    )
    assert json.loads(kept) == {"info": {"tiles": None, "year": 2026}}


def test_labels_of_objects_are_no_map():
    """They are few, or in order, or have boxes between."""
    random.seed(5)
    objects = [
        {"label": random.choice(("car", "person")), "bbox": [random.random() for _ in range(4)]}
        for _ in range(90)
    ]
    labels = sorted(each["label"] for each in objects)
    few = [random.choice(("car", "person")) for _ in range(60)]
    for value in ({"objects": objects}, {"labels": labels}, {"labels": few}):
        review = Review(Disclosure())
        data = json.dumps(value).encode()
        assert review.fields("a", {"json": data}) == {"json": data}


def test_labels_of_all_images_are_no_map():
    random.seed(6)
    data = "".join(f"{random.choice(('benign', 'malignant'))}\n" for _ in range(500)).encode()
    review = Review(Disclosure(), ["a.png"])
    assert review.file("labels.txt", data) == data


def test_prose_is_no_map():
    for text in HONEST.values():
        assert not is_class_map([word for word in text.split() if word.isalpha()])
