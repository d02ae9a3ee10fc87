"""With `only_named`, nothing is published but images, names, classes and what the owner names."""

from __future__ import annotations

import io
import json
import pickle
import shutil
import tarfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dsguard.bulk import protect_dataset, restore_dataset, verify_dataset
from dsguard.cli.commands import Exit
from dsguard.cli.commands import run as cli
from dsguard.formats import encode_images, open_source

MARK = "harmless"
ABOUT = {"caption": f"a {MARK} word", "n": 3}


def folder(place, scenes):
    for n, file in enumerate(encode_images(scenes)):
        path = place / "ab"[n % 2] / f"{n}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file)
        path.with_suffix(".txt").write_text(MARK)
    (place / "info.json").write_text(json.dumps(ABOUT))
    (place / "notes.csv").write_text(f"file,caption\n0.png,{MARK}\n")


def archive(place, scenes):
    folder(place.with_name("loose"), scenes)
    shutil.make_archive(str(place), "zip", place.with_name("loose"))
    place.with_suffix(".zip").rename(place)


def imagefolder(place, scenes):
    folder(place, scenes)
    rows = [{"file_name": f"{'ab'[n % 2]}/{n}.png", **ABOUT} for n in range(8)]
    (place / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def coco(place, scenes):
    folder(place / "images", scenes)
    entries = [{"id": n, "file_name": f"{'ab'[n % 2]}/{n}.png", **ABOUT} for n in range(8)]
    boxes = [{"id": n, "image_id": n, "category_id": 1, "bbox": [1, 2, 3, 4]} for n in range(8)]
    whole = {"images": entries, "annotations": boxes, "categories": [{"id": 1, "name": "cat"}]}
    (place / "annotations").mkdir()
    (place / "annotations" / "instances.json").write_text(json.dumps(whole))


def webdataset(place, scenes):
    place.mkdir()
    with tarfile.open(place / "x.tar", "w") as shard:
        for n, file in enumerate(encode_images(scenes)):
            fields = {"cls": b"1", "json": json.dumps(ABOUT).encode(), "png": file}
            for suffix, data in fields.items():
                info = tarfile.TarInfo(f"{n:04}.{suffix}")
                info.size = len(data)
                shard.addfile(info, io.BytesIO(data))


def parquet(place, scenes):
    place.mkdir()
    images = [{"bytes": file, "path": f"{n}.png"} for n, file in enumerate(encode_images(scenes))]
    columns = {"image": images, "label": [1] * 8, "caption": [MARK] * 8, "n": [77] * 8}
    pq.write_table(pa.table(columns), place / "x.parquet")


def arrays(place, scenes):
    place.mkdir()
    np.savez(place / "x.npz", images=scenes, labels=np.arange(8), told=np.array([MARK] * 8))


def array(place, scenes):
    place.mkdir()
    np.save(place / "x.npy", scenes)
    np.save(place / "x_labels.npy", np.arange(8))
    (place / "notes.txt").write_text(MARK)


def cifar(place, scenes):
    place.mkdir()
    rows = scenes.transpose(0, 3, 1, 2).reshape(8, -1)
    names = [f"{MARK}_{n}.png".encode() for n in range(8)]
    batch = {b"data": rows, b"labels": [n % 2 for n in range(8)], b"filenames": names}
    (place / "data_batch_1").write_bytes(pickle.dumps(batch, protocol=2))
    meta = {b"label_names": [b"a", b"b"], b"told": MARK.encode()}
    (place / "batches.meta").write_bytes(pickle.dumps(meta, protocol=2))


KINDS = {
    each.__name__: each
    for each in (folder, archive, imagefolder, coco, webdataset, parquet, arrays, array, cifar)
}


def published(place) -> bytes:
    """Return all that is published, and what is in its Parquet files and arrays."""
    found = []
    for path in sorted(path for path in place.rglob("*") if path.is_file()):
        found.append(str(path).encode() + path.read_bytes())
        if path.suffix == ".parquet":
            table = pq.read_table(path)
            light = table.drop_columns([n for n in table.column_names if n == "image"])
            found.append(repr((light.to_pydict(), table.schema.metadata)).encode())
        if path.suffix == ".npz":
            with np.load(path) as arrays:
                found += [repr((name, arrays[name].tolist())).encode() for name in arrays]
    return b"\n".join(found)


def classes_of(place) -> list[str]:
    return [class_name for _, class_name, _ in open_source(place).read()]


OTHERS = ("folder", "archive", "imagefolder", "coco", "webdataset", "parquet")
PAIRS = [(kind, "auto") for kind in KINDS] + [
    (kind, out) for kind in OTHERS for out in ("folder", "webdataset", "parquet")
]


@pytest.mark.parametrize(("kind", "out_format"), PAIRS)
def test_nothing_else_is_published_and_all_comes_back(tmp_path, scenes, key, kind, out_format):
    clean, out = tmp_path / "clean", tmp_path / "out"
    KINDS[kind](clean, scenes)
    assert protect_dataset(clean, tmp_path / "open", key, out_format=out_format).done == 8
    report = protect_dataset(clean, out, key, out_format=out_format, only_named=True)
    assert (report.done, report.left_out) == (8, {})
    assert MARK.encode() not in published(out)
    assert not verify_dataset(out, key, against=clean).differences
    assert restore_dataset(out, tmp_path / "back", key).done == 8
    assert restore_dataset(tmp_path / "open", tmp_path / "again", key).done == 8
    if kind != "cifar":  # whose pickles are sealed whole
        assert MARK.encode() in published(tmp_path / "open")
        assert MARK.encode() in published(tmp_path / "back")
    assert published(tmp_path / "back").count(MARK.encode()) == published(tmp_path / "again").count(
        MARK.encode()
    )


def test_what_is_named_is_published(tmp_path, scenes, key):
    folder(tmp_path / "clean", scenes)
    settings = {"only_named": True, "publish": ("*.csv",)}
    protect_dataset(tmp_path / "clean", tmp_path / "out", key, **settings)
    kept = {path.suffix for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert kept == {".png", ".csv", ".dsguard"}


def test_classes_are_published(tmp_path, scenes, key):
    for kind in ("webdataset", "parquet", "arrays", "array", "cifar"):
        KINDS[kind](tmp_path / kind, scenes)
        protect_dataset(tmp_path / kind, tmp_path / f"{kind}-out", key, only_named=True)
        assert classes_of(tmp_path / f"{kind}-out") == classes_of(tmp_path / kind)


def test_a_codec_that_seals_nothing_names_it(tmp_path, scenes, key):
    folder(tmp_path / "clean", scenes)
    report = protect_dataset(
        tmp_path / "clean", tmp_path / "out", key, profile="veil", only_named=True
    )
    assert set(report.left_out) == {"*.txt", "*.json", "*.csv"}
    assert {each.reason for each in report.left_out.values()} == {
        "is not named, and nothing else is published"
    }
    assert {path.suffix for path in (tmp_path / "out").rglob("*") if path.is_file()} == {".png"}


def test_a_run_anew_takes_back_what_was_published(tmp_path, scenes, key, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder(tmp_path / "clean", scenes)
    key.save("k.key")
    assert cli(["protect", "clean", "out", "--key", "k.key", "--quiet"]) == Exit.OK
    assert MARK.encode() in published(tmp_path / "out")
    assert cli(["protect", "clean", "out", "--key", "k.key", "--quiet", "--only-named"]) == Exit.OK
    assert MARK.encode() not in published(tmp_path / "out")
