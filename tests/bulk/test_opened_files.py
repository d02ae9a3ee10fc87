"""Folders that are restored as shards: what was sealed beside the images is in them."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import dsguard
from dsguard.bulk import Selection, protect_dataset, restore_dataset, verify_dataset
from dsguard.bulk.clean_names import clean_names, packed_names
from dsguard.bulk.sealed_files import SEALED_FILES, opened, sealed

from .folders import files_in

KEY = dsguard.DatasetKey(bytes(32))
THUMB = "dGh1bWI5MDIxQUJDZGVmR0hJSktMbW5vUFFSU3R1dg" * 9
LONG = f"a caption with what does not go along, {THUMB}"
KINDS = ("webdataset", "parquet")


def _images(root: Path, scenes: np.ndarray, names: list[str]) -> None:
    for name, scene in zip(names, scenes, strict=False):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(scene).save(root / name)


def _table(root: Path, scenes: np.ndarray) -> None:
    names = [f"train/{n}.jpg" for n in range(4)]
    _images(root, scenes, names)
    rows = [f"{name},{'xy'[n % 2]},{THUMB}" for n, name in enumerate(names)]
    (root / "metadata.csv").write_text("\n".join(["file_name,label,thumb", *rows]) + "\n")


def _coco(root: Path, scenes: np.ndarray) -> None:
    _images(root / "train", scenes, [f"{n}.jpg" for n in range(4)])
    boxes = [
        {"id": n, "image_id": n % 4, "category_id": n % 2, "area": n, "bbox": [n, 2, 3, 4]}
        for n in range(2000)
    ]
    images = [{"id": n, "file_name": f"{n}.jpg", "thumb": THUMB} for n in range(4)]
    classes = [{"id": n, "name": name} for n, name in enumerate("xy")]
    (root / "annotations").mkdir()
    content = {"images": images, "annotations": boxes, "categories": classes}
    (root / "annotations" / "instances_train.json").write_text(json.dumps(content))


def _captions(root: Path, scenes: np.ndarray) -> None:
    """Captions of images two of which have one, and files that are no fields."""
    _images(root, scenes, ["a/0.jpg", "a/0.png", "a/1.jpeg", "b/2.webp", "b/2.x.jpg"])
    for name in ("a/0.txt", "a/1.caption.txt", "b/2.txt"):
        (root / name).write_text(f"{name} {LONG}")
    np.save(root / "features.npy", scenes[:2].astype(np.float32))
    np.save(root / "a" / "0.npy", scenes[:1].astype(np.float32))


MADE = {"table": _table, "coco": _coco, "captions": _captions}


def _shards(folder: Path) -> dict[str, Any]:
    """Return all that shards hold, and what lies beside them."""
    found: dict[str, Any] = {}
    for name, data in files_in(folder).items():
        if name.endswith(".tar"):
            with tarfile.open(fileobj=io.BytesIO(data)) as archive:
                members = [(each.name, archive.extractfile(each)) for each in archive]
                found[name] = _samples([(each, file.read()) for each, file in members if file])
        elif name.endswith(".parquet"):
            from pyarrow import parquet

            found[name] = parquet.read_table(io.BytesIO(data)).to_pylist()
        else:
            found[name] = data
    return found


def _samples(members: list[tuple[str, bytes]]) -> list[list[tuple[str, bytes]]]:
    """Return the fields of each sample; where two images have one name, keys are not those."""
    fields: dict[str, list[tuple[str, bytes]]] = {}
    for name, data in members:
        key, _, field = name.partition(".")
        fields.setdefault(key, []).append((field, data))
    return sorted(map(sorted, fields.values()))


def _through_shards(root: Path, kind: str, home: Path) -> dict[str, Any]:
    """Return the shards of a clean dataset: those that were protected come back whole."""
    protect_dataset(root, home / "in-shards", KEY, out_format=kind)
    assert restore_dataset(home / "in-shards", home / "expected", KEY).broken == 0
    return _shards(home / "expected")


@pytest.mark.parametrize("made", MADE)
@pytest.mark.parametrize("kind", KINDS)
def test_shards_are_those_of_the_clean_dataset(tmp_path, scenes, made, kind):
    if kind == "parquet":
        pytest.importorskip("pyarrow")
    root, out = tmp_path / "photos", tmp_path / "out"
    MADE[made](root, scenes)
    expected = _through_shards(root, kind, tmp_path)
    report = protect_dataset(root, out, KEY)
    named = set() if made == "captions" else {"class of the images"}  # in a list that is sealed
    assert (report.broken, set(report.left_out)) == (0, named)
    assert THUMB.encode() not in b"".join(files_in(out).values())
    assert verify_dataset(out, KEY, against=root).different == {}
    back = restore_dataset(out, tmp_path / "back", KEY, out_format=kind)
    assert (back.failures, back.sealed_files) == ({}, report.sealed_files)
    assert _shards(tmp_path / "back") == expected
    again = restore_dataset(out, tmp_path / "back", KEY, out_format=kind)
    assert (again.resumed, again.failed) == (1, 0)
    assert restore_dataset(out, tmp_path / "folder", KEY).broken == 0
    assert files_in(tmp_path / "folder") == files_in(root)


def test_several_sets_side_by_side_and_an_archive(tmp_path, scenes):
    _table(tmp_path / "photos", scenes)
    protect_dataset(tmp_path / "photos", tmp_path / "sets" / "one", KEY)
    shutil.copytree(tmp_path / "sets" / "one", tmp_path / "sets" / "two")
    shutil.rmtree(tmp_path / "sets" / "one.dsguard")
    packed = shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path, "sets")
    for n, source in enumerate([tmp_path / "sets", Path(packed)]):
        back = tmp_path / f"back{n}"
        report = restore_dataset(
            source, back, KEY, out_format="webdataset", workers=2, shard_size=3
        )
        assert (report.done, report.failures, report.sealed_files) == (8, {}, 2)
        samples = [each for shard in _shards(back).values() for each in shard]
        told = [json.loads(dict(each)["json"]) for each in samples]
        assert [each["thumb"] for each in told] == [THUMB] * 8


@pytest.mark.parametrize("fault", ["gone", "damaged", "names"])
def test_images_come_back_without_what_is_sealed(tmp_path, scenes, fault):
    out = tmp_path / "out"
    _table(tmp_path / "photos", scenes)
    protect_dataset(tmp_path / "photos", out, KEY)
    file = out / SEALED_FILES
    whole = file.read_bytes()
    if fault == "gone":
        file.unlink()
    elif fault == "damaged":
        middle = len(whole) // 2
        file.write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
    else:
        file.write_bytes(sealed({**opened(whole, KEY), ".names": b"x"}, KEY))
    report = restore_dataset(out, tmp_path / "back", KEY, out_format="webdataset")
    assert (report.done, list(report.failures)) == (4, [SEALED_FILES])


@pytest.mark.parametrize("name", ["../x", "/x", "a/../../x", ".hidden", "x.dsguard/lock"])
def test_files_stay_in_the_folder(tmp_path, scenes, name, monkeypatch):
    """Whoever has the key may have made others."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    _table(tmp_path / "photos", scenes)
    protect_dataset(tmp_path / "photos", tmp_path / "out", KEY)
    (tmp_path / "out" / SEALED_FILES).write_bytes(sealed({name: b"y", "good": b"z"}, KEY))
    before = set(tmp_path.iterdir())
    report = restore_dataset(tmp_path / "out", tmp_path / "back", KEY, out_format="webdataset")
    assert set(tmp_path.iterdir()) - before == {tmp_path / "back", tmp_path / "back.dsguard"}
    assert (report.done, report.broken, report.sealed_files) == (4, 1, 1)
    assert not [path for path in (tmp_path / "temporary").rglob("*") if path.is_file()]


def test_images_that_are_chosen_have_their_fields(tmp_path, scenes):
    _table(tmp_path / "photos", scenes)
    protect_dataset(tmp_path / "photos", tmp_path / "out", KEY)
    chosen = Selection(include=("train/1.*",))
    report = restore_dataset(
        tmp_path / "out", tmp_path / "back", KEY, out_format="webdataset", selection=chosen
    )
    assert (report.done, report.failures) == (1, {})
    [[sample]] = _shards(tmp_path / "back").values()
    assert [name for name, _ in sample] == ["classname.txt", "cls", "jpg", "json"]


@pytest.mark.parametrize(
    "names",
    [
        {},
        {"a/1.png": "a/1.png"},
        {"a/1.jpg": "a/1.png", "b": "b.png", "c.jpg": "c.png"},
        {"a/1.jpg": "a/1.jpg.png", "a/1.png": "a/1.png", "a/1.jpeg": "a/1.jpeg.png"},
        {"x" * 250 + ".tiff": "x" * 251 + ".png"},
    ],
)
def test_clean_names_are_told(names):
    published = {new: clean for clean, new in names.items()}
    data = packed_names(names)
    found = clean_names("", data, published) if data else {name: name for name in published}
    assert found == published


def test_a_list_of_names_of_one_suffix_is_short():
    names = {f"{n}.jpg": f"{n}.png" for n in range(10_000)}
    assert len(packed_names(names)) < 20


def test_fields_of_samples_that_lie_beside_images_are_fields_again(tmp_path, scenes):
    """Of shards that were published as a folder: whatever is in a field."""
    (tmp_path / "clean").mkdir()
    fields = {"txt": LONG.encode(), "npy": scenes.tobytes()[:5000], "pyd": b"\0" * 90}
    with tarfile.open(tmp_path / "clean" / "s.tar", "w") as archive:
        for n in range(3):
            image = io.BytesIO()
            Image.fromarray(scenes[n]).save(image, "JPEG")
            for name, data in {"jpg": image.getvalue(), **fields}.items():
                info = tarfile.TarInfo(f"{n}.{name}")
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    protect_dataset(tmp_path / "clean", tmp_path / "out", KEY, out_format="folder")
    report = restore_dataset(
        tmp_path / "out", tmp_path / "back", KEY, out_format="webdataset", workers=2
    )
    assert (report.failures, report.sealed_files) == ({}, 9)
    [shard] = _shards(tmp_path / "back").values()
    assert [{name: dict(each)[name] for name in fields} for each in shard] == [fields] * 3


def test_that_there_is_no_room_for_names_is_told(tmp_path, scenes, monkeypatch):
    _table(tmp_path / "photos", scenes)
    monkeypatch.setattr("dsguard.bulk.companions._MOST_NAMES", 3)
    monkeypatch.setattr("dsguard.bulk.companions.Companions._room", 2000)
    monkeypatch.setattr("dsguard.bulk.companions.packed_names", lambda names: bytes(2001))
    report = protect_dataset(tmp_path / "photos", tmp_path / "out", KEY)
    assert "names of all images" in report.left_out[SEALED_FILES].reason


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("names", [("x", "x/y"), ("x/y", "x")])
def test_files_in_each_others_way_are_named(tmp_path, scenes, kind, names):
    _table(tmp_path / "clean", scenes)
    protect_dataset(tmp_path / "clean", tmp_path / "out", KEY)
    forged = sealed(dict.fromkeys(names, b"data"), KEY)
    (tmp_path / "out" / SEALED_FILES).write_bytes(forged)
    report = restore_dataset(tmp_path / "out", tmp_path / "back", KEY, out_format=kind)
    assert report.done == 4
    assert report.failures.keys() & set(names)


@pytest.mark.parametrize("kind", KINDS)
def test_published_texts_stay_with_images_of_one_stem(tmp_path, scenes, kind):
    """A picture, its mask and its caption: nothing else is sealed, and one has a new name."""
    _images(tmp_path / "clean", scenes, ["a/1.jpg", "a/1.png", "a/2.jpg", "a/2.png"])
    for n in (1, 2):
        (tmp_path / "clean" / "a" / f"{n}.txt").write_text(f"words of {n}")
    protect_dataset(tmp_path / "clean", tmp_path / "out", KEY)
    protect_dataset(tmp_path / "clean", tmp_path / "shards", KEY, out_format=kind)
    restore_dataset(tmp_path / "shards", tmp_path / "direct", KEY)
    assert restore_dataset(tmp_path / "out", tmp_path / "back", KEY, out_format=kind).failures == {}
    direct, back = (
        sum(data.count(b"words of 1") for data in files_in(tmp_path / name).values())
        for name in ("direct", "back")
    )
    assert back == direct > 0
