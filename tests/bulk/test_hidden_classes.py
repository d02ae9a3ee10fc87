"""Classes that are not published do not show in the drawn pictures either."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dsguard.bulk import protect_dataset, restore_dataset
from dsguard.cli.commands import Exit
from dsguard.cli.commands import run as cli
from dsguard.covers import (
    Blank,
    DrawnPatterns,
    Itself,
    Marked,
    Other,
    Preview,
    Samples,
)
from dsguard.errors import InputError
from dsguard.formats import encode_images
from tests.fuzz.seeds import as_tar

LABELS = [0, 1, 2, 0, 1, 2, 0, 1]


@pytest.fixture
def home(tmp_path, monkeypatch, key):
    monkeypatch.chdir(tmp_path)
    key.save("k")
    return tmp_path


def images_in(place, scenes):
    place.mkdir(parents=True)
    for n, file in enumerate(encode_images(scenes)):
        (place / f"{n}.png").write_bytes(file)


def csv(place, scenes):
    images_in(place, scenes)
    rows = [f"{n}.png,{label}\n" for n, label in enumerate(LABELS)]
    (place / "metadata.csv").write_text("file_name,label\n" + "".join(rows))


def jsonl(place, scenes):
    images_in(place, scenes)
    rows = [{"file_name": f"{n}.png", "label": label} for n, label in enumerate(LABELS)]
    (place / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def coco(place, scenes):
    images_in(place / "images", scenes)
    entries = [{"id": n, "file_name": f"{n}.png"} for n in range(8)]
    boxes = [
        {"id": n, "image_id": n, "category_id": label, "bbox": [1, 2, 3, 4]}
        for n, label in enumerate(LABELS)
    ]
    kinds = [{"id": n, "name": "abc"[n]} for n in range(3)]
    whole = {"images": entries, "annotations": boxes, "categories": kinds}
    (place / "instances.json").write_text(json.dumps(whole))


def samples_with(field, value):
    def layout(place, scenes):
        place.mkdir()
        files = encode_images(scenes)
        members = {}
        for n, label in enumerate(LABELS):
            members |= {f"{n}.{field}": value(label), f"{n}.png": files[n]}
        (place / "x.tar").write_bytes(as_tar(members))

    return layout


def parquet(place, scenes):
    place.mkdir()
    files = [{"bytes": file, "path": f"{n}.png"} for n, file in enumerate(encode_images(scenes))]
    pq.write_table(pa.table({"image": files, "label": LABELS}), place / "x.parquet")


def npz(place, scenes):
    place.mkdir()
    np.savez(place / "x.npz", images=scenes, labels=LABELS)


def npy(place, scenes):
    place.mkdir()
    np.save(place / "images.npy", scenes)
    np.save(place / "labels.npy", LABELS)


def as_json(label):
    return json.dumps({"label": label}).encode()


LAYOUTS = {
    "csv": (csv, ["label", "metadata.csv", "*"]),
    "jsonl": (jsonl, ["LABEL", "*.jsonl"]),
    "coco": (coco, ["annotations", "category_id", "instances.json"]),
    "cls": (samples_with("cls", b"%d".__mod__), ["*.cls"]),
    "classname": (samples_with("classname.txt", b"%d".__mod__), ["*.classname.txt"]),
    "json": (samples_with("json", as_json), ["label", "*.json"]),
    "parquet": (parquet, ["label", "x.parquet/label"]),
    "npz": (npz, ["labels", "*"]),
    "npy": (npy, ["labels.npy"]),
}
CASES = [(name, drop) for name, (_, drops) in LAYOUTS.items() for drop in drops]


def cover_of(destination):
    return json.loads(Path(f"{destination}.dsguard/settings.json").read_text())["cover"]


def published(destination):
    return {
        path.relative_to(destination): path.read_bytes()
        for path in sorted(Path(destination).rglob("*.png"))
    }


@pytest.mark.parametrize(("name", "drop"), CASES)
def test_pictures_tell_nothing_of_a_class_that_is_dropped(home, key, scenes, name, drop):
    LAYOUTS[name][0](home / "clean", scenes)
    report = protect_dataset("clean", "out", key, drop=(drop,))
    assert (report.done, report.failed, report.left_out) == (8, 0, {})
    assert cover_of("out") == "blank, without labels"
    protect_dataset("clean", "bare", key, cover=Blank(key), drop=(drop,))
    assert published("out") == published("bare")
    assert protect_dataset("clean", "whole", key).left_out == {}
    assert cover_of("whole") == "blank, by label"


@pytest.mark.parametrize("name", ["csv", "jsonl", "coco", "json"])
def test_nor_of_a_class_that_is_not_named(home, key, scenes, name):
    LAYOUTS[name][0](home / "clean", scenes)
    assert protect_dataset("clean", "out", key, only_named=True).left_out == {}
    assert cover_of("out") == "blank, without labels"
    named = ("metadata.*", "*.json")
    assert protect_dataset("clean", "named", key, only_named=True, publish=named).left_out == {}
    assert cover_of("named") == "blank, by label"


@pytest.mark.parametrize("name", ["cls", "classname", "parquet", "npz", "npy"])
def test_classes_that_are_published_in_any_case_show(home, key, scenes, name):
    LAYOUTS[name][0](home / "clean", scenes)
    protect_dataset("clean", "out", key, only_named=True)
    assert cover_of("out") == "blank, by label"


@pytest.mark.parametrize("name", ["csv", "coco", "cls", "npz"])
def test_a_dropped_class_that_another_format_has_is_named(home, scenes, name, capsys):
    layout, drops = LAYOUTS[name]
    layout(home / "clean", scenes)
    other = "parquet" if name in ("csv", "coco") else "folder"
    options = ["--key", "k", "--drop", drops[0], "--out-format", other]
    assert cli(["protect", "clean", "out", *options]) == Exit.LEFT_OUT
    assert "dropped, and published" in capsys.readouterr().err
    assert cover_of("out") == "blank, without labels"


def test_a_trial_is_no_other_format(home, scenes, capsys):
    LAYOUTS["cls"][0](home / "clean", scenes)
    options = ["--key", "k", "--drop", "*.cls", "--dry-run"]
    assert cli(["protect", "clean", "out", *options]) == Exit.OK
    assert "dropped" not in capsys.readouterr().err


def held_back(name, place, scenes):
    """Write a dataset whose classes are in something that could hold a picture."""
    LAYOUTS[name][0](place, scenes)
    thumb = base64.b64encode(np.random.default_rng(0).bytes(300)).decode()
    if name == "csv":
        rows = [f"{n}.png,{label},{thumb}\n" for n, label in enumerate(LABELS)]
        (place / "metadata.csv").write_text("file_name,label,thumb\n" + "".join(rows))
        return
    many = {f"n{n}": n for n in range(900)}  # beyond what an image may have
    about = [{**many, "label": label} for label in LABELS]
    if name == "jsonl":
        rows = [{"file_name": f"{n}.png", **each} for n, each in enumerate(about)]
        (place / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        return
    files, members = encode_images(scenes), {}
    for n, each in enumerate(about):
        members |= {f"{n}.json": json.dumps(each).encode(), f"{n}.png": files[n]}
    (place / "x.tar").write_bytes(as_tar(members))


@pytest.mark.parametrize("name", ["csv", "jsonl", "json"])
def test_a_class_that_is_held_back_and_shows_is_named(home, key, scenes, name, capsys):
    held_back(name, home / "clean", scenes)
    assert cli(["protect", "clean", "out", "--key", "k"]) == Exit.LEFT_OUT
    told = " ".join(capsys.readouterr().err.split())
    assert "left out, and shown" in told
    assert "add --no-labels" in told
    assert cli(["protect", "clean", "bare", "--key", "k", "--no-labels"]) == Exit.OK
    assert cli(["protect", "clean", "out", "--key", "k"]) == Exit.LEFT_OUT  # as it says again
    assert restore_dataset("bare", "back", key).failed == 0


def test_the_class_of_one_sample_that_is_dropped_and_shows_is_named(home, key, scenes):
    LAYOUTS["cls"][0](home / "clean", scenes)
    report = protect_dataset("clean", "out", key, drop=("5.cls",))
    [told] = report.left_out.values()
    assert told.first == "x/5"
    assert "shows in the drawn pictures" in told.reason


def test_covers_that_need_the_class_are_refused(home, key, scenes, capsys):
    LAYOUTS["parquet"][0](home / "clean", scenes)
    itself = Marked(Itself(), DrawnPatterns(key, 8))
    with pytest.raises(InputError, match=r"x\.parquet/label\) is not published"):
        protect_dataset("clean", "out", key, cover=itself, codec="exact", drop=("label",))
    options = ["--key", "k", "--drop", "label", "--cover", "patterns", "--codec", "exact"]
    assert cli(["protect", "clean", "out", *options]) == Exit.USAGE
    assert "take cover blank or preview" in " ".join(capsys.readouterr().err.split())
    assert not Path("out.dsguard").exists()


def test_covers_without_labels(key):
    assert Blank(key, labelled=True).without_labels() == Blank(key)
    assert Samples(key, 2).without_labels() == Samples(key, 2, labelled=False)
    assert Preview(4).without_labels() == Preview(4)
    veil = Marked(Other(key), DrawnPatterns(key, 8))
    assert veil.without_labels() == Other(key)
    assert Marked(Itself(), DrawnPatterns(key, 8)).without_labels() is None
    assert Marked(Samples(key), DrawnPatterns(key, 8)).without_labels().labelled is False
