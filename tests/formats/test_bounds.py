"""Ways around the bounds of what is published beside images, each once found and closed."""

from __future__ import annotations

import base64
import contextlib
import csv
import io
import itertools
import json
import os
import pickle
import random
import re
import shutil
import tarfile
import tracemalloc
import zipfile
from datetime import UTC, datetime
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dsguard.bulk import Selection, protect_dataset, restore_dataset, verify_dataset
from dsguard.errors import DsguardError, InputError
from dsguard.formats import encode_images, harmless, limits, open_source
from dsguard.formats.arrays import npy
from dsguard.formats.disclosure import Disclosure
from dsguard.formats.named_images import NamedImages
from dsguard.formats.names import Taken
from dsguard.formats.places import LocalPlace
from dsguard.formats.review import Review
from dsguard.formats.tar import END, packed
from dsguard.keys import DatasetKey

posix = pytest.mark.skipif(os.name != "posix", reason="needs pipes of POSIX")


@pytest.fixture
def numbered(tmp_path, scenes):
    """A folder of two classes; names of images are numbers."""
    for n, file in enumerate(encode_images(scenes)):
        path = tmp_path / "clean" / "ab"[n % 2] / f"{n}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file)
    return tmp_path / "clean"


@pytest.fixture
def picture(numbered):
    """The first image as base64, in the alphabet of addresses."""
    return base64.urlsafe_b64encode((numbered / "a" / "0.png").read_bytes()).decode()


def protected(tmp_path, key, **settings):
    return protect_dataset(tmp_path / "clean", tmp_path / "safe", key, profile="veil", **settings)


def there(tmp_path, picture) -> bool:
    """Tell whether pieces of the picture are in the destination."""
    pieces = [picture[start : start + 20].encode() for start in range(100, len(picture) - 20, 200)]
    files = [path.read_bytes() for path in (tmp_path / "safe").rglob("*") if path.is_file()]
    return any(piece in data for data in files for piece in pieces)


@pytest.mark.parametrize("name", ["notes.txt", "notes.json", "keys.json", "pieces.csv"])
def test_folders_before_a_name_are_no_place_for_a_picture(numbered, tmp_path, key, picture, name):
    pieces = [picture[start : start + 200] for start in range(0, len(picture), 200)]
    content = {
        "notes.txt": f"{picture}/0\n",
        "notes.json": json.dumps({"0.png": f"{picture}/0.png"}),
        "keys.json": json.dumps({f"{piece}/0.png": 1 for piece in pieces}),
        "pieces.csv": "".join(f"{piece}/0.png,1\n" for piece in pieces),
    }[name]
    (numbered / name).write_text(content)
    report = protected(tmp_path, key)
    assert not there(tmp_path, picture)
    assert report.left_out


def test_paths_from_elsewhere_go_along(numbered, tmp_path, key):
    """As lists of splits have them: from the root of a machine or of a project."""
    lines = "".join(f"/home/somebody/sets/clean/{'ab'[n % 2]}/{n}.png {n % 2}\n" for n in range(8))
    (numbered / "train.txt").write_text(lines)
    urls = "".join(f"https://images.example.org/sets/{n}.png\n" for n in range(8))
    (numbered / "urls.txt").write_text(urls)
    report = protected(tmp_path, key)
    assert not report.left_out
    assert (tmp_path / "safe" / "train.txt").read_text() == lines
    assert (tmp_path / "safe" / "urls.txt").read_text() == urls


def test_addresses_count_in_full(numbered, tmp_path, key, picture):
    pieces = [picture[start : start + 240] for start in range(0, len(picture), 240)]
    (numbered / "urls.txt").write_text("".join(f"https://a/{piece}\n" for piece in pieces))
    report = protected(tmp_path, key)
    assert report.left_out.keys() == {"*.txt"}
    assert not there(tmp_path, picture)


@pytest.mark.parametrize("first", ["labels.csv", "0.txt", "labels.json"])
def test_row_numbers_are_no_images_that_were_named_before(numbered, tmp_path, key, first):
    """As pandas writes an array: the first column counts its rows."""
    named = {
        "labels.csv": "file,label\n" + "".join(f"{n}.png,{n % 2}\n" for n in range(8)),
        "0.txt": "0 0.5 0.5 0.25 0.25\n",
        "labels.json": json.dumps({f"{n}.png": n % 2 for n in range(8)}),
    }[first]
    (numbered / first).write_text(named)
    gray = np.arange(64).reshape(8, 8) * 3
    rows = "".join(f"{n}," + ",".join(map(str, row)) + "\n" for n, row in enumerate(gray))
    (numbered / "sample.csv").write_text("," + ",".join(map(str, range(8))) + "\n" + rows)
    in_json = {**json.loads(json.dumps({f"{n}.png": 1 for n in range(8)})),
               **{str(n): row.tolist() for n, row in enumerate(gray)}}  # fmt: skip
    (numbered / "sample.json").write_text(json.dumps(in_json))
    report = protected(tmp_path, key)
    assert {"*.csv", "*.json"} <= report.left_out.keys()
    assert not (tmp_path / "safe" / "sample.csv").exists()
    kept = tmp_path / "safe" / "sample.json"
    assert not kept.exists() or "189" not in kept.read_text()


def table(tmp_path, scenes, **columns) -> None:
    (tmp_path / "clean").mkdir(exist_ok=True)
    images = pa.array([{"bytes": file, "path": None} for file in encode_images(scenes)])
    pq.write_table(pa.table({"image": images, **columns}), tmp_path / "clean" / "x.parquet")


LONG = base64.b64encode(bytes(range(256)) * 4).decode()


@pytest.mark.parametrize("out_format", ["parquet", "folder", "webdataset"])
def test_types_of_parquet_are_no_place_for_a_picture(tmp_path, scenes, key, out_format):
    noted = pa.field("value", pa.int64(), metadata={"x": LONG})
    names = pa.struct([(LONG[n : n + 200], pa.int64()) for n in range(0, 1000, 200)])
    columns = {
        "when": pa.array([1] * 8, pa.timestamp("us", tz=f"Europe/{LONG}")),
        "noted": pa.array([[("a", 1)]] * 8, pa.map_(pa.string(), noted)),
        "names": pa.array([None] * 8, names),
    }
    table(tmp_path, scenes, **columns)
    report = protected(tmp_path, key, out_format=out_format)
    assert report.done == 8
    assert not there(tmp_path, LONG)
    assert "names" in report.left_out
    if out_format == "parquet":
        safe = pq.read_table(tmp_path / "safe" / "x.parquet")
        assert safe["when"].to_pylist()[0] == datetime(1970, 1, 1, 0, 0, 0, 1, UTC)
        assert safe["noted"].to_pylist()[0] == [("a", 1)]
        assert (tmp_path / "safe" / "x.parquet").read_bytes().count(LONG[100:120].encode()) == 0


def test_long_decimals_count_as_several_numbers(tmp_path, scenes, key):
    digits = {f"d{n}": pa.array([Decimal(10**75 + n)] * 8, pa.decimal256(76)) for n in range(30)}
    table(tmp_path, scenes, **digits)
    report = protected(tmp_path, key)
    assert report.left_out.keys() == digits.keys()
    prices = {f"d{n}": pa.array([Decimal(n)] * 8, pa.decimal128(10)) for n in range(30)}
    table(tmp_path, scenes, **prices)
    report = protect_dataset(tmp_path / "clean", tmp_path / "other", key, profile="veil")
    assert not report.left_out


MOMENTS = {
    "far": pa.array([2**62] * 8, pa.timestamp("us")),
    "late": pa.array([2**30] * 8, pa.date32()),
    "long": pa.array([2**62] * 8, pa.duration("us")),
    "fine": pa.array([1] * 8, pa.timestamp("ns")),
    "nowhere": pa.array([1] * 8, pa.timestamp("us", tz="No/Where")),
    "inside": pa.array([[2**62]] * 8, pa.list_(pa.timestamp("us"))),
}


@pytest.mark.parametrize("out_format", ["parquet", "folder", "webdataset"])
@pytest.mark.parametrize("name", MOMENTS)
def test_moments_that_python_cannot_hold_end_no_run(tmp_path, scenes, key, name, out_format):
    table(tmp_path, scenes, moment=MOMENTS[name])
    report = protected(tmp_path, key, out_format=out_format)
    assert report.done + report.failed == 8
    assert all(isinstance(error, InputError) for error in report.failures.values())
    if out_format == "parquet" or name != "inside":
        assert report.done == 8
    if report.done:
        assert restore_dataset(tmp_path / "safe", tmp_path / "back", key).done == 8


@posix
@pytest.mark.parametrize("name", ["settings.json", "done.json", "shards/00000.jsonl"])
@pytest.mark.parametrize("of", ["source", "destination"])
def test_a_pipe_in_a_journal_is_one_error(numbered, tmp_path, key, name, of):
    protected(tmp_path, key)
    pipe = tmp_path / "safe.dsguard" / name
    pipe.unlink(missing_ok=True)
    os.mkfifo(pipe)
    try:
        if of == "destination":
            protected(tmp_path, key)
        else:
            verify_dataset(tmp_path / "safe", key)
    except DsguardError as error:  # some are passed over
        assert re.search("is no file, but a pipe|is damaged", error.message)  # noqa: PT017


@posix
@pytest.mark.parametrize("names", [["batches.meta", "data_batch_1"], ["labels.npy"]])
def test_pipes_are_no_part_of_a_dataset(tmp_path, key, names):
    (tmp_path / "clean").mkdir()
    for name in names:
        os.mkfifo(tmp_path / "clean" / name)
    np.save(tmp_path / "clean" / "x.npy", np.zeros((4, 32, 32, 3), np.uint8))
    os.mkfifo(tmp_path / "clean" / "x.npy.sidecars.npz")
    report = protected(tmp_path, key)
    assert report.done + report.failed == 4


def test_classes_called_meta_train_and_test_are_folders(tmp_path, scenes):
    for n, file in enumerate(encode_images(scenes)):
        path = tmp_path / ("meta", "train", "test")[n % 3] / f"{n}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(file)
    assert open_source(tmp_path).kind == "folder"


def test_many_members_of_one_name_take_no_longer_than_others(tmp_path, key, scenes):
    file = encode_images(scenes[:1])[0]
    (tmp_path / "clean").mkdir()
    pieces = [piece for _ in range(2000) for piece in packed("a.png", file)]
    (tmp_path / "clean" / "x.tar").write_bytes(b"".join([*pieces, END]))
    report = protected(tmp_path, key)
    assert report.done + report.failed == 2000
    with tarfile.open(tmp_path / "safe" / "x.tar") as archive:
        names = archive.getnames()
    assert len(set(names)) == len(names) == report.done
    assert max(map(len, names)) < 20


def test_taken_names_get_numbers():
    taken = Taken()
    names = ["a", "a_2", "a", "a", "b", "a"]
    assert [taken.free(name, "_{}") for name in names] == ["a", "a_2", "a_3", "a_4", "b", "a_5"]


@pytest.mark.parametrize("name", ["notes.txt", "x.json", "x.xml"])
def test_blanks_are_no_place_for_a_picture(numbered, tmp_path, key, name):
    blanks = "".join(f"a{' ' * (n % 250 + 1)}" for n in range(3000))
    if name.endswith("json"):
        blanks = "{}" + blanks.replace("a", "\n")
    (numbered / name).write_text(blanks)
    assert protected(tmp_path, key).left_out
    assert not (tmp_path / "safe" / name).exists()


def test_whole_numbers_of_more_than_64_bits_are_left_out(numbered, tmp_path, key):
    (numbered / "x.json").write_text(json.dumps({"id": 2**64 - 1, "a": [-(2**64) + 1, 7]}))
    assert not protected(tmp_path, key).left_out
    (numbered / "x.json").write_text(json.dumps({"a": [10**23] * 7, "id": 10**20, "b": 2**64}))
    report = protect_dataset(tmp_path / "clean", tmp_path / "two", key, profile="veil")
    assert {each.reason for each in report.left_out.values()} == {
        "is a number of more than 64 bits"
    }
    assert b"000000" not in (tmp_path / "two" / "x.json").read_bytes()


@pytest.mark.parametrize("many", [4, 400])
def test_names_of_classes_that_no_image_has(tmp_path, scenes, many):
    key = DatasetKey(b"k" * 32)  # the usual one of tests is among those characters
    long = LONG.lower()  # which is no base64
    words = [long[start : start + 60] for start in range(0, 1320, 60)]
    names = ["cat", "n01440764 tench, Tinca tinca", *(words * 100)[:many]]
    features = {"image": {"_type": "Image"}, "label": {"names": names, "_type": "ClassLabel"}}
    about = {b"huggingface": json.dumps({"info": {"features": features}})}
    (tmp_path / "clean").mkdir()
    images = pa.array([{"bytes": file, "path": None} for file in encode_images(scenes)])
    columns = pa.table({"image": images, "label": pa.array([n % 2 for n in range(8)])})
    pq.write_table(columns.replace_schema_metadata(about), tmp_path / "clean" / "x.parquet")
    report = protected(tmp_path, key)
    assert report.done == 8
    data = (tmp_path / "safe" / "x.parquet").read_bytes()
    assert (long[70:100].encode() in data) == (many == 4)
    assert bool(report.left_out) == (many == 400)


def test_drawings_in_digits_are_left_out(numbered, tmp_path, key):
    lines = "".join("0123456789"[n % 7 :] * 2 + "\n" for n in range(100))
    (numbered / "pic.txt").write_text(lines)
    (numbered / "a" / "0.txt").write_text(lines)
    assert protected(tmp_path, key).left_out["*.txt"].count == 2


def test_a_text_of_one_long_line_takes_little_memory(numbered, tmp_path, key):
    size = 21 << 20
    (numbered / "long.txt").write_text("ab " * (size // 3))
    tracemalloc.start()
    try:
        report = protected(tmp_path, key)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert "has a line of" in report.left_out["*.txt"].reason
    assert peak < 5 * size


@pytest.mark.parametrize("suffix", ["csv", "tsv"])
def test_columns_of_a_table_can_be_dropped(numbered, tmp_path, key, suffix):
    between = {"csv": ",", "tsv": "\t"}[suffix]
    rows = [["file", "caption", "label"], ["0.png", "a, secret", "1"], ["1.png", "other", "2"]]
    out = io.StringIO()
    csv.writer(out, delimiter=between).writerows(rows)
    (numbered / f"labels.{suffix}").write_text(out.getvalue())
    assert not protected(tmp_path, key, drop=("caption",)).left_out
    text = (tmp_path / "safe" / f"labels.{suffix}").read_text()
    assert text == "".join(f"{row[0]}{between}{row[2]}\n" for row in rows)


def test_a_key_is_dropped_from_json_in_columns_whatever_its_length(tmp_path, scenes, key):
    about = json.dumps({"caption": "secret", "n": 1})
    table(tmp_path, scenes, about=pa.array([about] * 8))
    assert not protected(tmp_path, key, drop=("caption",)).left_out
    safe = pq.read_table(tmp_path / "safe" / "x.parquet")
    assert [json.loads(text) for text in safe["about"].to_pylist()] == [{"n": 1}] * 8


@pytest.mark.parametrize("place", ["/", "reference://a", "nothing-of-this-kind://a"])
def test_a_place_that_cannot_be_is_one_error(numbered, tmp_path, key, place):
    with pytest.raises(InputError):
        protect_dataset(numbered, place, key, profile="veil")
    with pytest.raises(InputError):
        verify_dataset(f"{place}/no/such" if place == "/" else place, key)


EMPTY = {
    "objects": pa.array(
        [[{"x": None, "y": 1}]] * 8, pa.list_(pa.struct([("x", pa.null()), ("y", pa.int64())]))
    ),
    "nothing": pa.array([[None]] * 8, pa.list_(pa.null())),
    "pairs": pa.array([[None, None]] * 8, pa.list_(pa.null(), 2)),
    "struct": pa.array([{"x": None}] * 8, pa.struct([("x", pa.null())])),
    "view": pa.array([f"number {n}" for n in range(8)], pa.string_view()),
}


@pytest.mark.parametrize("out_format", ["parquet", "folder"])
@pytest.mark.parametrize("some", [False, True])
@pytest.mark.parametrize("name", EMPTY)
def test_columns_that_arrow_does_not_handle_end_no_run(
    tmp_path, scenes, key, name, some, out_format
):
    table(tmp_path, scenes, **{name: EMPTY[name]})
    source = tmp_path / "clean"
    wanted = {"selection": Selection(limit=3)} if some else {}
    report = protected(tmp_path, key, out_format=out_format, **wanted)
    assert report.done + report.failed == (3 if some else 8)
    assert all(isinstance(error, InputError) for error in report.failures.values())
    if report.done and out_format == "parquet":
        safe = pq.read_table(tmp_path / "safe" / "x.parquet")
        assert safe[name].to_pylist() == pq.read_table(source)[name].to_pylist()[: len(safe)]


DIGIT = ["........", "..####..", ".#....#.", "......#.", "....##..", "..##....", ".######."] * 9


@pytest.mark.parametrize(
    "lines",
    [
        [" ".join(row * 2) for row in DIGIT],
        [(row * 2).replace(".", " ") + "|" for row in DIGIT],
        ["".join(",;|\"'()[]{}<>="[n * k % 14] for n in range(40)) for k in range(1, 60)],
        ["a " + "".join(",;|()[]{}"[n * k % 9] for n in range(40)) for k in range(1, 60)],
    ],
)
def test_drawings_of_signs_are_left_out(numbered, tmp_path, key, lines):
    (numbered / "README.txt").write_text("\n".join(lines))
    assert protected(tmp_path, key).left_out.keys() == {"*.txt"}


def test_signs_between_words_are_free(numbered, tmp_path, key):
    readme = (
        "# Title\n=======\n\n- one, two (three) [four](docs/five.md): \"six\"; 'seven'!\n"
        "| a | b |\n|---|---|\n| c | d |\n\n---\n* * *\n```python\nx = f(a, b)[c]\n```\n"
    )
    (numbered / "README.md").write_text(readme * 5)
    page = "<annotation><object><name>cat</name><difficult>0</difficult></object></annotation>\n"
    (numbered / "a" / "0.xml").write_text(page * 5)
    (numbered / "x.yaml").write_text("names: {0: 'cat', 1: \"dog\"}\nlist: [a, b, c]\n" * 5)
    (numbered / "labels.csv").write_text('"0.png","cat",,,\n"1.png","dog",,,\n')
    assert not protected(tmp_path, key).left_out


@pytest.mark.parametrize(
    "value",
    [
        [[[v] for v in range(8)] for _ in range(8)],
        [[[v, v, v] for v in range(8)] for _ in range(12)],
        {f"key{n}": [[1, 2, 3]] * 85 for n in range(3)},
    ],
)
def test_lists_of_few_numbers_each_count(numbered, tmp_path, key, value):
    (numbered / "x.json").write_text(json.dumps(value))
    assert protected(tmp_path, key).left_out


def test_boxes_and_points_go_along(numbered, tmp_path, key):
    each = {"boxes": [[1, 2, 3, 4]] * 60, "points": [[1, 2]] * 200}
    boxes = {f"{n}.png": each for n in range(8)}
    (numbered / "x.json").write_text(json.dumps(boxes))
    assert not protected(tmp_path, key).left_out


def test_categories_are_columns_of_strings(tmp_path, scenes, key):
    pixels = {f"p{n}": pa.array([f"{n:02x}"] * 8).dictionary_encode() for n in range(256)}
    table(tmp_path, scenes, **pixels)
    assert len(protected(tmp_path, key).left_out) == 256
    lists = {f"p{n}": pa.array([[n]] * 8, pa.list_(pa.uint8())) for n in range(200)}
    table(tmp_path, scenes, **lists)
    report = protect_dataset(tmp_path / "clean", tmp_path / "two", key, profile="veil")
    assert sum(each.count for each in report.left_out.values()) == (200 - 63) * 8


def test_an_image_has_one_allowance_whatever_it_is_called(tmp_path, key, scenes):
    for n, file in enumerate(encode_images(scenes)):
        path = tmp_path / "clean" / "ab"[n % 2] / f"img{n}.v1.x.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file)
    names = ["a/img0.v1.x.png", "img0.v1.x.png", "img0.v1.x"]
    for n, name in enumerate(names):
        row = ",".join(map(str, range(40)))
        (tmp_path / "clean" / f"t{n}.csv").write_text(f"{name},{row}\n")
    assert protected(tmp_path, key).left_out["*.csv"].count == 2


@posix
def test_an_array_that_becomes_a_link_meanwhile_is_not_read_through_it(tmp_path, monkeypatch):
    np.save(tmp_path / "secret.npy", np.full((4, 2), 7, np.uint8))
    (tmp_path / "clean").mkdir()
    np.save(tmp_path / "clean" / "labels.npy", np.zeros((4, 2), np.uint8))
    place = LocalPlace(tmp_path / "clean")
    real = npy.read_header

    def swapped(file):
        header = real(file)
        (tmp_path / "clean" / "labels.npy").unlink()
        (tmp_path / "clean" / "labels.npy").symlink_to(tmp_path / "secret.npy")
        return header

    monkeypatch.setattr(npy, "read_header", swapped)
    assert not npy.load_npy(place, "labels.npy").any()


def test_arrays_in_folders_of_a_file_share_one_allowance(tmp_path, scenes, key):
    thumbs = {f"t{n}/row": np.full((320, 32), 0.5, np.float32) for n in range(32)}
    images = np.repeat(scenes, 40, axis=0)
    (tmp_path / "clean").mkdir()
    np.savez(tmp_path / "clean" / "x.npz", images=images, **thumbs)
    report = protected(tmp_path, key)
    assert report.done == 320
    assert report.left_out["row"].count >= 31


def test_columns_and_lists_of_an_image_share_its_allowance(tmp_path, scenes, key):
    numbers = {f"n{n}": pa.array([n] * 8) for n in range(60)}
    table(tmp_path, scenes, **numbers, more=pa.array([list(range(60))] * 8))
    report = protected(tmp_path, key)
    assert report.left_out.keys() == {"more"}


def test_arrays_and_lists_of_a_pickle_share_the_allowance_of_an_image(tmp_path, key, scenes):
    more = {b"lists": [list(range(32)) for _ in range(320)], b"array": np.ones((320, 32), np.uint8)}
    pickled_batch(tmp_path, np.concatenate([scenes] * 40), more)
    report = protected(tmp_path, key)
    assert (report.done, report.left_out["lists"].count) == (320, 320)
    safe = pickle.loads((tmp_path / "safe" / "data_batch_1").read_bytes())
    assert [name for name in safe if not name.startswith(b"dsguard")] == [
        b"data", b"labels", b"lists", b"array"
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["x.csv", "x.CSV", "x.json", "x.JSON", "x.TSV", "x.JSONL"])
def test_keys_and_columns_are_dropped_however_a_file_is_written(numbered, tmp_path, key, name):
    table_ = "file;caption;label\n0.png;secret;1\n"
    lines = '{"file": "0.png", "caption": "secret"}\n' * 2
    content = {"x.csv": table_, "x.CSV": table_, "x.TSV": table_.replace(";", "\t")}
    (numbered / name).write_text(content.get(name, lines))
    assert not protected(tmp_path, key, drop=("caption",)).left_out
    if (tmp_path / "safe" / name).exists():
        assert "secret" not in (tmp_path / "safe" / name).read_text()


def test_a_loose_file_that_would_fill_the_memory_fails_alone(numbered, tmp_path, key):
    for name in ("a.json", "a/0.txt", "b/huge.png"):
        with (numbered / name).open("wb") as file:
            file.truncate(3 << 30)
    tracemalloc.start()
    try:
        report = protected(tmp_path, key)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert report.done >= 7
    assert any("are read into memory" in error.message for error in report.failures.values())
    assert peak < 300 << 20


def test_a_table_of_images_that_unpacks_to_very_much_is_refused(numbered, tmp_path, key):
    rows = pa.table({
        "file_name": [f"{'ab'[n % 2]}/{n}.png" for n in range(8)] * 5000,
        "x": pa.array([bytes(4000)] * 40_000, pa.binary()),
    })  # fmt: skip
    pq.write_table(rows, numbered / "metadata.parquet", compression="zstd")
    assert (numbered / "metadata.parquet").stat().st_size < 100_000
    tracemalloc.start()
    try:
        with contextlib.suppress(InputError):
            protected(tmp_path, key)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 300 << 20


@pytest.mark.parametrize("name", ["x.a*", "x.[ab]", "x.a b';c"])
def test_the_pattern_that_is_told_publishes_that_kind_alone(numbered, tmp_path, key, name):
    (numbered / name).write_bytes(b"\0")
    (numbered / "x.ab").write_bytes(b"\0")
    kinds = protected(tmp_path, key).left_out
    (kind,) = [kind for kind, each in kinds.items() if each.first == name]
    report = protect_dataset(numbered, tmp_path / "two", key, profile="veil", publish=(kind,))
    assert report.left_out.keys() == {"*.ab"}
    assert (tmp_path / "two" / name).exists()


def test_signs_around_words_and_in_strings_count(numbered, tmp_path, scenes, key):
    rows = ["a" + "".join(".:!?*#`-_/"[n * k % 10] for n in range(64)) for k in range(64)]
    (numbered / "README.md").write_text("\n".join(rows))
    (numbered / "x.json").write_text(json.dumps(rows))
    drawn = ["".join(",;|()[]{}<>"[n * k % 11] for n in range(64)) for k in range(64)]
    (numbered / "y.json").write_text(json.dumps(drawn))
    assert protected(tmp_path, key).left_out.keys() >= {"*.md", "*.json"}
    texts = {f"s{n}": pa.array([drawn[n]] * 8) for n in range(60)}
    for path in numbered.glob("*.*"):
        path.unlink()
    shutil.rmtree(numbered)
    table(tmp_path, scenes, **texts)
    report = protect_dataset(tmp_path / "clean", tmp_path / "two", key, profile="veil")
    assert len(report.left_out) > 40


def test_text_of_no_image_in_a_shard_is_not_lost(tmp_path, key, scenes):
    (tmp_path / "clean").mkdir()
    members = [("0.png", encode_images(scenes[:1])[0]), ("1.png", encode_images(scenes[1:2])[0]),
               ("zz.caption", b"two words")]  # fmt: skip
    content = b"".join(piece for member in members for piece in packed(*member))
    (tmp_path / "clean" / "x.tar").write_bytes(content + END)
    assert not protected(tmp_path, key, out_format="folder").left_out
    assert (tmp_path / "safe" / "x" / "zz.caption").read_bytes() == b"two words"


DIGITS = [[n * k % 16 for n in range(8)] for k in range(8)]
PIXELS = " ".join(str(v) for row in DIGITS for v in row)
WRITTEN = {
    "pixels": [{"file_name": "0.png", "pixels": PIXELS}],
    "columns": [{"p" + str(n): text for n, text in enumerate(PIXELS.split())}],
    "mask": [["True" if n * k % 3 else "False" for n in range(64)] for k in range(64)],
}


@pytest.mark.parametrize("name", WRITTEN)
@pytest.mark.parametrize("file", ["x.json", "x.jsonl", "a/0.json"])
def test_numbers_that_are_written_as_strings_count(numbered, tmp_path, key, name, file):
    """As ``csv.DictReader`` gives them, and as FER-2013 has its pixels."""
    rows = WRITTEN[name]
    lines = "\n".join(map(json.dumps, rows)) if file.endswith("l") else json.dumps(rows)
    (numbered / file).write_text(lines)
    assert protected(tmp_path, key).left_out
    kept = [path.read_text() for path in (tmp_path / "safe").rglob("x.json*")]
    assert not any(PIXELS in text for text in kept)


def test_pixels_in_a_column_of_strings_are_left_out(tmp_path, scenes, key):
    table(tmp_path, scenes, pixels=pa.array([PIXELS] * 8), width=pa.array(["32"] * 8))
    assert protected(tmp_path, key).left_out.keys() == {"pixels"}


def test_numbers_that_are_written_as_strings_in_annotations_go_along(numbered, tmp_path, key):
    content = {
        "images": [{"id": str(n), "file_name": f"{n}.png", "width": "32"} for n in range(8)],
        "annotations": [{"id": str(n), "image_id": str(n % 8), "category_id": "3",
                         "bbox": [1, 2, 3, 4]} for n in range(400)],
        "categories": [{"id": str(n), "name": "thing"} for n in range(90)],
    }  # fmt: skip
    (numbered / "x.json").write_text(json.dumps(content))
    assert not protected(tmp_path, key).left_out


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_hidden_images_in_archives_are_named(numbered, tmp_path, key, kind):
    (numbered / "a" / ".hidden.png").write_bytes((numbered / "a" / "0.png").read_bytes())
    archive = shutil.make_archive(str(tmp_path / "packed"), kind, numbered)
    report = protect_dataset(archive, tmp_path / "safe", key, profile="veil")
    assert (report.done, report.left_out["*.png"].first) == (8, "a/.hidden.png")


def test_a_table_that_cannot_be_read_is_left_out_where_columns_are_dropped(numbered, tmp_path, key):
    (numbered / "x.csv").write_text("file,caption\n0.png," + "word " * 30_000 + "\n")
    assert protected(tmp_path, key, drop=("caption",)).left_out["*.csv"].count == 1


def test_pixels_in_an_array_of_strings_are_left_out(tmp_path, scenes, key):
    (tmp_path / "clean").mkdir()
    np.savez(tmp_path / "clean" / "x.npz", images=scenes, pixels=np.array([PIXELS] * 8),
             labels=np.array(["cat", "dog"] * 4), width=np.array(["32"] * 8))  # fmt: skip
    assert protected(tmp_path, key).left_out.keys() == {"pixels"}


@pytest.mark.parametrize("name", ["a/pixels.jsonl", "pixels.jsonl"])
def test_a_number_on_each_line_is_a_pixel(numbered, tmp_path, key, name):
    (numbered / name).write_text("".join(f"{n * 3}\n" for n in range(64)))
    assert protected(tmp_path, key).left_out.keys() == {"*.jsonl"}
    assert not (tmp_path / "safe" / name).exists()


ONE_BY_ONE = ["- {}", "<p>{}</p>", "  -   {}", "* {}", "value: {}", "[{}]", "x\t{}"]


@pytest.mark.parametrize("name", ["a/0.yaml", "a/pixels.txt", "pixels.yaml"])
@pytest.mark.parametrize("line", ONE_BY_ONE)
def test_a_number_on_each_line_is_a_pixel_whatever_stands_before_it(
    numbered, tmp_path, key, name, line
):
    for count in (63, 64):
        (numbered / name).write_text("".join(f"{line.format(100 + n)}\n\n" for n in range(count)))
        report = protect_dataset(tmp_path / "clean", tmp_path / f"{count}", key, profile="veil")
        assert bool(report.left_out) == (count == 64)


def test_numbers_with_words_on_a_line_between_go_along(numbered, tmp_path, key):
    lines = "".join(f"value: {n}\nplain words\n" for n in range(100, 200))
    (numbered / "values.txt").write_text(lines)
    assert protected(tmp_path, key).left_out == {}


def calls_of(monkeypatch, name: str) -> list[str]:
    """Note what a function of the bounds is called with."""
    noted, given = [], getattr(harmless, name)

    def noting(text, *more):
        noted.append(text)
        return given(text, *more)

    monkeypatch.setattr(harmless, name, noting)
    return noted


def test_lines_that_cost_nothing_are_looked_at_once(numbered, tmp_path, key, monkeypatch):
    (numbered / "words.txt").write_text("plain words\n---\n" * 1000)
    noted = calls_of(monkeypatch, "_size_of_line")
    assert protected(tmp_path, key).left_out == {}
    assert noted == [["plain", "words"], ["---"]]


def test_strings_are_looked_at_once(numbered, tmp_path, key, monkeypatch):
    (numbered / "words.json").write_text(json.dumps(["looked at once"] * 1000))
    noted = calls_of(monkeypatch, "size_of_string")
    assert protected(tmp_path, key).left_out == {}
    assert noted.count("looked at once") == 1


def charge(text: str) -> None:
    """Charge a text whose lines are about an image each."""
    new, of_all = harmless.Allowance, harmless.Allowance()
    harmless.charge_text(text, lambda words: new(), lambda word: False, of_all)


def peak_of_charging(text: str) -> int:
    """The bytes that are held at once; those of the tables of a first call are among them."""
    allowance = harmless.Allowance()
    tracemalloc.start()
    try:
        harmless.charge_text(
            text, lambda words: allowance, lambda word: False, harmless.Allowance()
        )
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_text_of_short_lines_takes_little_memory():
    # The tracer counts every thread of the process, and those of other tests may still end.
    text = "ab\n" * 60_000
    assert min(peak_of_charging(text) for _ in range(3)) < 1 << 18


def test_a_number_behind_a_dash_in_a_string_is_a_pixel(numbered, tmp_path, key):
    (numbered / "pixels.json").write_text(json.dumps([f"- {100 + n}" for n in range(64)]))
    assert protected(tmp_path, key).left_out.keys() == {"*.json"}


@pytest.mark.parametrize("line", ["a/{}.png cat 100\n", "a/{}.png 100\n"])
def test_lines_that_name_an_image_are_charged_once(numbered, tmp_path, key, line):
    for count in (63, 64):
        (numbered / "labels.txt").write_text(line.format(0) * count)
        report = protect_dataset(tmp_path / "clean", tmp_path / f"{count}", key, profile="veil")
        assert bool(report.left_out) == (count == 64)


def test_numbers_behind_other_words_on_each_line_go_along(numbered, tmp_path, key):
    places = ["xmin", "ymin", "xmax", "ymax"]
    boxes = "".join(f"<{place}>{n}</{place}>\n" for n in range(30) for place in places)
    (numbered / "a" / "0.xml").write_text(f"<object>\n{boxes}</object>\n")
    names = "".join(f"- id: {n}\n  name: cat\n" for n in range(100))
    (numbered / "names.yaml").write_text(names)
    assert protected(tmp_path, key).left_out == {}


def test_fields_of_a_number_each_share_the_allowance_of_a_sample(tmp_path, scenes, key):
    members = [(f"{n}.png", file) for n, file in enumerate(encode_images(scenes[:2]))]
    members[1:1] = [(f"0.p{n}.json", str(n * 3).encode()) for n in range(70)]
    (tmp_path / "clean").mkdir()
    shard = b"".join(piece for name, data in members for piece in packed(name, data)) + END
    (tmp_path / "clean" / "00000.tar").write_bytes(shard)
    report = protected(tmp_path, key)
    assert (report.done, len(report.left_out)) == (2, 70 - 63)


def write_sample(tmp_path, scenes, images: int, fields: int) -> None:
    """Write a shard of one sample with so many images and fields."""
    file = encode_images(scenes[:1])[0]
    members = [(f"s.{n}.png", file) for n in range(images)]
    members += [(f"s.{n}.txt", b"plain words") for n in range(fields)]
    (tmp_path / "clean").mkdir()
    shard = b"".join(piece for name, data in members for piece in packed(name, data)) + END
    (tmp_path / "clean" / "00000.tar").write_bytes(shard)


@pytest.mark.parametrize("out_format", ["folder", "parquet"])
def test_fields_that_many_images_share_are_bounded(tmp_path, scenes, key, out_format, monkeypatch):
    monkeypatch.setattr(limits, "_ALWAYS", 1 << 17)
    monkeypatch.setattr(limits, "_RATIO", 0)
    write_sample(tmp_path, scenes, 20, 20)
    report = protected(tmp_path, key, out_format=out_format)
    assert (report.done, report.failed) == (7, 13)  # the first has its own, six share 2^17 bytes
    assert all("goes along with each" in each.message for each in report.failures.values())


def test_frames_of_a_sample_share_its_fields(tmp_path, scenes, key):
    write_sample(tmp_path, scenes, 50, 10)
    report = protected(tmp_path, key, out_format="folder")
    assert (report.done, report.failed, report.left_out) == (50, 0, {})
    assert len(list((tmp_path / "safe").rglob("*.txt"))) == 10


@pytest.mark.parametrize("out_format", ["folder", "parquet"])
def test_fields_of_a_sample_are_looked_at_and_written_once(
    tmp_path, scenes, key, out_format, monkeypatch
):
    looked_at, written = [], []
    of_fields, write = Review.fields, LocalPlace.write

    def fields(self, stem, fields):
        looked_at.append(stem)
        return of_fields(self, stem, fields)

    def noted(self, name, data):
        written.append(name)
        return write(self, name, data)

    monkeypatch.setattr(Review, "fields", fields)
    monkeypatch.setattr(LocalPlace, "write", noted)
    write_sample(tmp_path, scenes, 5, 3)
    report = protected(tmp_path, key, out_format=out_format)
    assert report.done == 5
    assert sorted(looked_at) == ["00000/s", "00000/s.0"]  # as a sample, and for its images
    assert sum(name.endswith(".txt") for name in written) == (3 if out_format == "folder" else 0)


def test_few_images_share_the_text_beside_them(tmp_path, scenes, key):
    file = encode_images(scenes[:1])[0]
    spelled = [*itertools.product("pP", "nN", "gG"), *itertools.product("jJ", "pP", "eE", "gG")]
    with zipfile.ZipFile(tmp_path / "clean.zip", "w") as archive:
        archive.writestr("x.txt", "plain words")
        for suffix in spelled:
            archive.writestr("x." + "".join(suffix), file)
    report = protect_dataset(
        tmp_path / "clean.zip", tmp_path / "safe", key, profile="veil", out_format="parquet"
    )
    assert (report.done, report.failed) == (16, 8)
    assert all("rename it" in error.message for error in report.failures.values())


def test_lists_of_a_number_each_share_the_allowance_of_an_image(tmp_path, scenes, key):
    pickled_batch(tmp_path, scenes, {b"p%d" % n: [n] * 8 for n in range(70)})
    report = protected(tmp_path, key)
    assert (report.done, len(report.left_out)) == (8, 70 - 63)


def pickled_batch(tmp_path, scenes, more) -> None:
    """Write the folder of CIFAR-10 with a batch of the scenes and more beside them."""
    data = np.ascontiguousarray(scenes.transpose(0, 3, 1, 2).reshape(len(scenes), -1))
    batch = {b"data": data, b"labels": [n % 2 for n in range(len(scenes))], **more}
    (tmp_path / "clean").mkdir()
    (tmp_path / "clean" / "data_batch_1").write_bytes(pickle.dumps(batch, protocol=2))
    meta = pickle.dumps({b"label_names": [b"cat", b"dog"]}, protocol=2)
    (tmp_path / "clean" / "batches.meta").write_bytes(meta)


def test_labels_of_no_value_are_refused(tmp_path, scenes, key):
    (tmp_path / "clean").mkdir()
    np.savez(tmp_path / "clean" / "x.npz", images=scenes, labels=np.zeros((8, 0), np.int64))
    report = protected(tmp_path, key)
    assert report.failed == 1
    assert "x.npz is of shape (8, 0)" in str(report.failures["x.npz"])


def test_fields_of_a_shard_and_files_of_the_same_name_are_both_kept(tmp_path, scenes, key):
    members = [(f"{n}.png", file) for n, file in enumerate(encode_images(scenes[:2]))]
    members.insert(1, ("0.txt", b"of the shard"))
    (tmp_path / "clean" / "00000").mkdir(parents=True)
    shard = b"".join(piece for name, data in members for piece in packed(name, data)) + END
    (tmp_path / "clean" / "00000.tar").write_bytes(shard)
    (tmp_path / "clean" / "00000" / "0.txt").write_text("beside the shard")
    report = protected(tmp_path, key, out_format="folder")
    assert (tmp_path / "safe" / "00000" / "0.txt").read_text() == "of the shard"
    assert "comes out under this name" in str(report.failures["00000/0.txt"])


def test_text_beside_an_image_keeps_its_name_from_fields(tmp_path, scenes, key):
    names = [f"{n}.png" for n in range(2)]
    (tmp_path / "clean").mkdir()
    for name, file in zip(names, encode_images(scenes[:2]), strict=True):
        (tmp_path / "clean" / name).write_bytes(file)
    for suffix in ("json", "metadata.json"):
        (tmp_path / "clean" / f"0.{suffix}").write_text(json.dumps({"of": suffix}))
    rows = [{"file_name": name, "label": n} for n, name in enumerate(names)]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "clean" / "metadata.jsonl").write_text(lines)
    protected(tmp_path, key, out_format="webdataset")
    (shard,) = (tmp_path / "safe").glob("*.tar")
    with tarfile.open(shard) as archive:
        found = {m.name: archive.extractfile(m).read() for m in archive if "json" in m.name}
    assert {b"json", b"metadata.json"} <= {
        json.loads(data)["of"].encode() for data in found.values() if b'"of"' in data
    }
    assert len([name for name in found if name.startswith("0.")]) == 3


def test_fields_that_no_decoder_takes_for_text_are_left_out(tmp_path, scenes, key):
    """Raw pixels of a dim picture are text by chance."""
    dim = (scenes[0, :8, :8, 0] % 60 + 50).astype(np.uint8).tobytes()
    members = [(f"{n}.png", file) for n, file in enumerate(encode_images(scenes[:2]))]
    members[1:1] = [("0.thumb.raw", dim), ("0.txt", b"a cat"), ("0.id", b"17"), ("0.RAW2", dim)]
    (tmp_path / "clean").mkdir()
    shard = b"".join(piece for name, data in members for piece in packed(name, data)) + END
    (tmp_path / "clean" / "00000.tar").write_bytes(shard)
    report = protected(tmp_path, key)
    assert report.left_out.keys() == {"*.thumb.raw", "*.RAW2"}
    assert dim not in (tmp_path / "safe" / "00000.tar").read_bytes()


def test_a_picture_of_few_values_is_no_one_hot_array(tmp_path, scenes, key):
    sparse = np.zeros((8, 80), np.float32)
    sparse[np.arange(8), np.arange(8) * 9] = 0.37
    (tmp_path / "clean").mkdir()
    np.savez(tmp_path / "clean" / "x.npz", images=scenes, sparse=sparse)
    assert protected(tmp_path, key).left_out.keys() == {"sparse"}


@pytest.mark.parametrize("name", ["set.tar", "set.tar.gz"])
@pytest.mark.parametrize("in_format", ["archive", "webdataset"])
def test_links_that_come_to_more_than_their_archive_are_refused(tmp_path, key, name, in_format):
    data = np.random.default_rng(0).bytes(1 << 20)
    (tmp_path / "clean").mkdir()
    with tarfile.open(tmp_path / "clean" / name, "w:gz" if name.endswith("gz") else "w") as tar:
        real = tarfile.TarInfo("a/0.png")
        real.size = len(data)
        tar.addfile(real, io.BytesIO(data))
        for n in range(1, 300):
            link = tarfile.TarInfo(f"a/{n}.png")
            link.type, link.linkname = tarfile.LNKTYPE, "a/0.png"
            tar.addfile(link)
    where = tmp_path / "clean" / name if in_format == "archive" else tmp_path / "clean"
    with contextlib.suppress(InputError):
        source = open_source(where, in_format)
        files = [file for part in source.parts(5000) for rows in source.rows(part)
                 for file in rows.files]  # fmt: skip
        assert sum(isinstance(file, bytes) for file in files) == 1
        assert sum("unpacks to more than" in str(file) for file in files[:9]) >= 8
        return
    assert in_format == "archive"


@pytest.mark.parametrize("kind", ["categories", "rows"])
def test_what_many_images_share_does_not_fill_the_memory(numbered, tmp_path, kind):
    file = encode_images(np.zeros((1, 8, 8, 3), np.uint8))[0]
    names = [f"x{n}.png" for n in range(200)]
    for name in names:
        (numbered / "a" / name).write_bytes(file)
    blob = "x" * (1 << 20)
    if kind == "categories":
        images = [{"id": n, "file_name": f"a/{name}"} for n, name in enumerate(names)]
        annotations = [{"id": n, "image_id": n, "category_id": 0} for n in range(200)]
        told = {"images": images, "annotations": annotations,
                "categories": [{"id": 0, "name": "c", "icon": blob}]}  # fmt: skip
        (numbered / "annotations").mkdir()
        (numbered / "annotations" / "a.json").write_text(json.dumps(told))
    else:
        row = {"file_names": [f"a/{name}" for name in names], "blob": blob}
        (numbered / "metadata.jsonl").write_text(json.dumps(row) + "\n")
    source = open_source(numbered)
    tracemalloc.start()
    with pytest.raises(InputError, match="too much for the size of the files"):
        source.with_fields(source.parts(5000))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200 << 20


def test_an_image_that_is_listed_twice_is_told_of_once(numbered):
    listed = [{"id": 1, "file_name": "a/0.png"}] * 300
    annotations = [{"id": n, "image_id": 1, "category_id": n % 2} for n in range(300)]
    categories = [{"id": n, "name": f"c{n}"} for n in range(3)]
    (numbered / "annotations").mkdir()
    content = {"images": listed, "annotations": annotations, "categories": categories}
    (numbered / "annotations" / "a.json").write_text(json.dumps(content))
    source = open_source(numbered)
    (part,) = source.with_fields(source.parts(5000))
    told = json.loads(part.fields[part.names.index("a/0.png")])
    assert (len(told["annotations"]), len(told["categories"])) == (300, 2)


def test_long_names_of_classes_are_held_once(tmp_path, scenes):
    file = encode_images(scenes[:1])[0]
    label = pa.DictionaryArray.from_arrays(
        pa.array([0] * 500, pa.int32()), pa.array(["y" * 100_000])
    )
    image = pa.array([{"bytes": file, "path": None}] * 500)
    pq.write_table(pa.table({"image": image, "label": label}), tmp_path / "a.parquet")
    source = open_source(tmp_path / "a.parquet")
    (part,) = source.parts(5000)
    names = [name for rows in source.rows(part) for name in rows.names]
    assert max(map(len, names)) < 100


def test_folders_where_one_file_of_arrays_holds_no_images(tmp_path, scenes, key):
    (tmp_path / "clean").mkdir()
    np.save(tmp_path / "clean" / "images.npy", scenes)
    np.save(tmp_path / "clean" / "labels.npy", np.arange(8) % 2)
    np.save(tmp_path / "clean" / "mean.npy", scenes.mean(axis=0))
    report = protected(tmp_path, key)
    assert (report.done, list(report.failures)) == (8, ["mean.npy"])
    assert (tmp_path / "safe" / "labels.npy").exists()


def test_colours_of_a_picture_by_row_number_are_left_out(tmp_path, scenes, key):
    """As pandas writes them, where images are called by numbers."""
    (tmp_path / "clean" / "a").mkdir(parents=True)
    for n, file in enumerate(encode_images(np.repeat(scenes, 9, axis=0))):
        (tmp_path / "clean" / "a" / f"{n}.png").write_bytes(file)
    colours = scenes[0].reshape(-1, 3)[:72]
    rows = "".join(f"{n},{r},{g},{b}\n" for n, (r, g, b) in enumerate(colours))
    (tmp_path / "clean" / "x.csv").write_text(",0,1,2\n" + rows)
    (tmp_path / "clean" / "labels.csv").write_text(
        "id,label\n" + "".join(f"{n},{n % 3}\n" for n in range(72))
    )
    assert protected(tmp_path, key).left_out.keys() == {"*.csv"}
    assert not (tmp_path / "safe" / "x.csv").exists()
    assert (tmp_path / "safe" / "labels.csv").exists()


def test_text_below_a_member_that_is_an_image_fails_alone(tmp_path, scenes, key):
    members = [(f"a/{n}.png", file) for n, file in enumerate(encode_images(scenes))]
    members += [("a/0.png/x.txt", b"a cat"), ("README.md", b"cats")]
    shard = b"".join(piece for name, data in members for piece in packed(name, data)) + END
    (tmp_path / "clean").write_bytes(shard)
    report = protected(tmp_path, key)
    assert (report.done, list(report.failures)) == (8, ["a/0.png/x.txt"])
    assert "cannot be written" in str(report.failures["a/0.png/x.txt"])
    assert (tmp_path / "safe" / "README.md").exists()


def test_many_arrays_are_not_looked_through_for_each(tmp_path, monkeypatch):
    """Time once grew with the square of their number."""
    from dsguard.formats.arrays.npy import Npz

    looked = []
    header = Npz.header
    monkeypatch.setattr(Npz, "header", lambda npz, name: looked.append(name) or header(npz, name))
    arrays = {f"{n:x}": np.zeros((1, 8, 8), np.uint8) for n in range(300)}
    np.savez(tmp_path / "a.npz", **arrays)
    source = open_source(tmp_path / "a.npz")
    (part,) = source.parts(5000)
    assert sum(len(rows.names) for rows in source.rows(part)) == 300
    assert len(looked) < 10 * len(arrays)


LETTERS = "abcdefghijklmnopqrstuvwxyz"


def test_long_lines_that_cost_nothing_are_looked_at_once(monkeypatch):
    """Some kilobytes of an archive have a million of them."""
    looked = []
    size_of_line = harmless._size_of_line
    monkeypatch.setattr(
        harmless, "_size_of_line", lambda *given: looked.append(1) or size_of_line(*given)
    )
    pairs = [f"{letter}x" for letter in LETTERS]
    lines = [" ".join(pairs), " ".join(pairs * 2), " ".join(pairs * 200)]
    assert all(len(line) > harmless.WORD // 2 for line in lines)
    charge("\n".join(lines * 100))
    assert len(looked) == len(lines)


def test_lines_that_cost_nothing_are_kept_up_to_a_bound(monkeypatch):
    monkeypatch.setattr(harmless, "_MOST_FREE", 1 << 14)
    pairs = [f"{letter}x" for letter in LETTERS]
    lines = [" ".join(pairs[n:] + pairs * 20) for n in range(26)]
    text = "\n".join(lines * 100)
    tracemalloc.start()
    charge(text)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 1 << 20


def test_words_of_a_text_are_looked_at_once(monkeypatch):
    looked = []
    names_image = NamedImages._names_image
    monkeypatch.setattr(
        NamedImages,
        "_names_image",
        lambda self, word: looked.append(word) or names_image(self, word),
    )
    draw = random.Random(5)
    lines = [" ".join(draw.sample(LETTERS, 6)) for _ in range(720)]
    data = "\n".join(lines).encode()
    assert Review(Disclosure(), ["a.png"]).file("x.txt", data) == data
    assert len(looked) == len(set(looked)) <= len(LETTERS)
