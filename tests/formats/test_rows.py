"""Pictures in letters, digits and words are left out wherever their rows stand; texts are not."""

from __future__ import annotations

import contextlib
import io
import json
import random
import tarfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dsguard.bulk import protect_dataset
from dsguard.formats import encode_images
from dsguard.formats.allowance import CouldHoldPictureError
from dsguard.formats.disclosure import Disclosure
from dsguard.formats.harmless import MOST_LINE
from dsguard.formats.review import Review
from dsguard.formats.rows import ROWS, Rows, are_rows

DIGITS, BITS = "0123456789", "01"
LETTERS, MANY = "abcdefghijklmnop", "MNXK0Okxdolc"
HEXADECIMAL = "0123456789abcdef"
HAN = "天地玄黃宇宙洪荒日月盈昃"


def drawn(side: int, alphabet: str) -> list[str]:
    """Return a picture of waves as rows of letters."""
    y, x = np.mgrid[:side, :side] / side
    levels = (np.sin(5 * x + 3 * y) * np.cos(4 * y) + 1) / 2 * (len(alphabet) - 1)
    return ["".join(alphabet[level] for level in row) for row in levels.round().astype(int)]


def published(name: str, text: str, names: tuple[str, ...] = ("a.png",)) -> bool:
    """Tell whether a text beside images is published as it is."""
    return Review(Disclosure(), names).file(name, text.encode()) == text.encode()


KEYS = [f"{chr(97 + n // 26)}{chr(97 + n % 26)}" for n in range(64)]
FORMS = {
    "numbered keys": ("json", lambda rows: json.dumps({f"row{n}": r for n, r in enumerate(rows)})),
    "keys": ("json", lambda rows: json.dumps(dict(zip(KEYS, rows, strict=False)))),
    "objects": ("json", lambda rows: json.dumps([{"tiles": row} for row in rows])),
    "objects with numbers": (
        "json", lambda rows: json.dumps([{"y": str(n), "row": r} for n, r in enumerate(rows)])),
    "objects with names": (
        "json", lambda rows: json.dumps([{"row": row, "name": "Meadows"} for row in rows])),
    "objects of objects": (
        "json", lambda rows: json.dumps({k: {"t": r} for k, r in zip(KEYS, rows, strict=False)})),
    "list": ("json", json.dumps),
    "one string": ("json", lambda rows: json.dumps(" ".join(rows))),
    "letters in lists": ("json", lambda rows: json.dumps(list(map(list, rows)))),
    "lines of JSON": ("jsonl", lambda rows: "".join(f'{{"row": "{row}"}}\n' for row in rows)),
    "lines": ("txt", "\n".join),
    "one line": ("txt", " ".join),
    "commas": ("txt", ",".join),
    "letters": ("txt", lambda rows: "\n".join(map(" ".join, rows))),
    "letters in one line": ("txt", lambda rows: " ".join("".join(rows))),
    "XML": ("xml", lambda rows: "".join(f"<row>{row}</row>\n" for row in rows)),
    "XML in one line": ("xml", lambda rows: "".join(f"<row>{row}</row>" for row in rows)),
    "attributes": ("xml", lambda rows: "".join(f'<row tiles="{row}"/>\n' for row in rows)),
    "YAML": ("yaml", lambda rows: "".join(f"- row: {row}\n" for row in rows)),
    "YAML with keys": (
        "yaml", lambda rows: "".join(f"row{n}: {row}\n" for n, row in enumerate(rows))),
    "CSV": ("csv", lambda rows: "".join(f"{n},{row}\n" for n, row in enumerate(rows))),
}  # fmt: skip


@pytest.mark.parametrize("beside", ["all", "a"])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("alphabet", [LETTERS, MANY, HAN])
@pytest.mark.parametrize("side", [8, 15, 32])
def test_rows_of_letters_are_left_out(form, side, alphabet, beside):
    suffix, written = FORMS[form]
    text = written(drawn(side, alphabet))
    assert not published(f"{beside}.{suffix}", text)


@pytest.mark.parametrize("form", ["numbered keys", "list", "one string", "lines", "one line"])
@pytest.mark.parametrize("alphabet", [DIGITS, BITS, HEXADECIMAL])
@pytest.mark.parametrize("side", [8, 12, 16, 20])
def test_rows_of_digits_are_left_out(form, side, alphabet):
    suffix, written = FORMS[form]
    assert not published(f"a.{suffix}", written(drawn(side, alphabet)))


def test_a_map_of_words_in_one_line_is_left_out():
    words = [["water", "shade", "wall", "leaf"]["abcd".index(c)] for c in "".join(drawn(9, "abcd"))]
    assert not published("a.txt", " ".join(words))
    assert published("a.txt", "A few photographs of a street. " * 40)


CLASSES = ["airplane", "backpack", "elephant", "bus", "broccoli", "sandwich", "scissors", "bed"]
HONEST = {
    "species.txt": "anemones\nbluebell\ncrocuses\ndaffodil\nprimroses\nsnowdrop\nsunflower\n" * 3,
    "classes.json": json.dumps([{"id": n, "name": name} for n, name in enumerate(CLASSES)]),
    "wnids.txt": "".join(f"n{n:08}\n" for n in (1440764, 1443537, 2099601, 2123045, 2206856,
                                                2504458, 2965783, 3662601, 7734744, 7749582)),
    "dates.csv": "".join(f"2024-01-{n:02},plain\n" for n in range(1, 31)),
    "times.txt": "".join(f"20240101T1200{n:02}Z begun\n" for n in range(30)),
    "split.csv": "".join(f"{n}.png,{'training' if n % 3 else 'testing1'}\n" for n in range(64)),
    "tree.xml": "<object><name>airplane</name><pose>Unspecified</pose></object>\n" * 20,
    "names.yaml": "names:\n" + "".join(f"  {n}: {name}\n" for n, name in enumerate(CLASSES)),
    "dna.txt": "GATTACAGATTACAGATTACA\n" * 3,
    "poem.txt": "床前明月光\n疑是地上霜\n舉頭望明月\n低頭思故鄉\n" * 4,
    "prose.txt": (
        "The photographs were taken between September and November, with permission of those who "
        "are seen. Automatic exposure, without flash; resolution reduced afterwards.\n" * 40),
    "german.txt": (
        "Die Bildbearbeitungsprogramme wurden vom Bundesgesundheitsministerium ausgewählt. "
        "Verkehrsinfrastrukturen und Geschwindigkeitsbegrenzungen sind sichtbar.\n" * 40),
}  # fmt: skip


@pytest.mark.parametrize("name", HONEST)
def test_words_of_texts_are_no_rows(name):
    assert published(name, HONEST[name], ("x.png", *(f"{n}.png" for n in range(64))))


@pytest.mark.parametrize("seed", range(8))
def test_prose_is_no_picture(seed):
    """Words of lengths as in English, drawn by chance: 20,000 of them."""
    chance = random.Random(seed)
    shares = [3, 17, 20, 16, 11, 9, 8, 6, 4, 3, 2, 1, 1, 1, 1]
    lengths = chance.choices(range(1, 16), shares, k=20_000)
    words = ["".join(chance.choices("etaoinshrdlu", k=length)) for length in lengths]
    lines = [" ".join(words[n : n + 12]) for n in range(0, len(words), 12)]
    assert not are_rows(lines)


@pytest.mark.parametrize(
    "word", ["12345678 ", "abcdefgh ", "abcdefghijklmnopq.", "a1b2c3d4,", "a "]
)
def test_long_lines_take_no_long_time(word):
    """What looked through the line for each of its words would take hours."""
    looked = 0

    class Line(str):
        def __iter__(self):
            nonlocal looked
            looked += 1
            return super().__iter__()

    line = Line(word * (MOST_LINE // len(word)) + "x")
    with contextlib.suppress(CouldHoldPictureError):
        Rows().add(line)
    assert looked <= 1


def test_other_images_begin_anew():
    rows = Rows()
    for row in drawn(12, HEXADECIMAL):
        rows.begin_image()
        rows.add(f"a.png {row}")


@pytest.mark.parametrize("columns", [ROWS, 32])
def test_columns_of_a_row_are_looked_at_together(tmp_path, scenes, key, columns):
    images = pa.array([{"bytes": file, "path": None} for file in encode_images(scenes)])
    rows = {f"c{n}": [row] * 8 for n, row in enumerate(drawn(columns, LETTERS))}
    for values in rows.values():
        values[3] = "plain words"
    (tmp_path / "clean").mkdir()
    pq.write_table(pa.table({"image": images, **rows}), tmp_path / "clean" / "x.parquet")
    report = protect_dataset(tmp_path / "clean", tmp_path / "safe", key, profile="veil")
    assert report.left_out.keys() == rows.keys()
    table = pq.read_table(tmp_path / "safe" / "x.parquet")
    for name in rows:
        assert table[name].to_pylist() == [None] * 3 + ["plain words"] + [None] * 4


def test_fields_of_a_sample_are_looked_at_together(tmp_path, scenes, key):
    (tmp_path / "clean").mkdir()
    texts = {f"a.{n}.txt": row.encode() for n, row in enumerate(drawn(8, LETTERS))}
    images = dict(zip(("a.png", "b.png"), encode_images(scenes[:2]), strict=True))
    with tarfile.open(tmp_path / "clean" / "x.tar", "w") as archive:
        for name, data in sorted({**images, "a.cls": b"3", **texts}.items()):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    report = protect_dataset(tmp_path / "clean", tmp_path / "safe", key, profile="veil")
    assert sum(each.count for each in report.left_out.values()) == 8
    [shard] = (tmp_path / "safe").glob("*.tar")
    with tarfile.open(shard) as archive:
        assert sorted(archive.getnames()) == ["a.cls", "a.png", "b.png"]


def test_strings_of_an_array_are_looked_at_together(tmp_path, scenes, key):
    (tmp_path / "clean").mkdir()
    rows = np.array([drawn(12, LETTERS)] * 8)
    np.savez(tmp_path / "clean" / "x.npz", images=scenes, rows=rows, few=rows[:, :7])
    report = protect_dataset(tmp_path / "clean", tmp_path / "safe", key, profile="veil")
    assert report.left_out.keys() == {"rows"}


@pytest.mark.parametrize("keys", [range(64), [f"p{n}" for n in range(64)]])
def test_a_map_of_numbers_is_one_row(tmp_path, scenes, key, keys):
    images = pa.array([{"bytes": file, "path": None} for file in encode_images(scenes)])
    kind = pa.map_(pa.array(list(keys)).type, pa.uint8())
    pixels = pa.array([list(zip(keys, range(64), strict=True))] * 8, kind)
    few = pa.array([list(zip(keys, range(9), strict=False))] * 8, kind)
    (tmp_path / "clean").mkdir()
    table = pa.table({"image": images, "pixels": pixels, "few": few})
    pq.write_table(table, tmp_path / "clean" / "x.parquet")
    report = protect_dataset(tmp_path / "clean", tmp_path / "safe", key, profile="veil")
    assert report.left_out.keys() == {"pixels"}


def test_rows_of_one_image_are_met_between_those_of_another():
    """A table may be sorted by something else than its images."""
    drawn = np.clip(
        np.cumsum(np.random.default_rng(0).integers(-1, 2, (40, 32)), axis=1) + 8, 0, 15
    )
    rows = ["".join("abcdefghijklmnop"[value] for value in row) for row in drawn]
    both = [{"image": "0.png", "text": row} for row in rows]
    turns = [each for one in both for each in (one, {"image": "1.png", "text": "cat"})]
    for lines in (json.dumps(turns), "\n".join(map(json.dumps, turns))):
        review = Review(Disclosure(), ("0.png", "1.png"))
        left = review.file("a.jsonl", lines.encode()) or b""
        assert sum(row.encode() in left for row in rows) < 8


@pytest.mark.parametrize("images", [2, 600])
def test_rows_about_many_images_in_turn_are_met(images):
    """Row k of all images, and then row k + 1 of all."""
    drawn = np.clip(
        np.cumsum(np.random.default_rng(0).integers(-1, 2, (12, 32)), axis=1) + 8, 0, 15
    )
    rows = ["".join("abcdefghijklmnop"[value] for value in row) for row in drawn]
    names = [f"{n}.png" for n in range(images)]
    turns = [{"image": name, "text": row} for row in rows for name in names]
    review = Review(Disclosure(), names)
    assert review.file("a.json", json.dumps(turns).encode()) is None


def test_captions_of_many_images_in_turn_go_along():
    names = [f"{n}.png" for n in range(600)]
    words = ("a cat", "the red dog", "two birds", "an old house", "some people")
    turns = [
        {"image": name, "caption": f"{words[(n + k) % 5]} beside {words[n * k % 5]}"}
        for k in range(5)
        for n, name in enumerate(names)
    ]
    data = json.dumps(turns).encode()
    assert Review(Disclosure(), names).file("a.json", data) == data
