"""The same command again, after the source changed, leaves what a new run makes."""

from __future__ import annotations

import io
import json
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import dsguard
from dsguard.bulk import protect_dataset, restore_dataset
from dsguard.covers import Other
from dsguard.formats.sealing import SEALED_FIELDS

from .folders import files_in

KEY = dsguard.DatasetKey(bytes(range(32)))


def pictures(count: int, seed: int = 0):
    return np.random.default_rng(seed).integers(0, 256, (count, 16, 16, 3), np.uint8)


def png(image) -> bytes:
    out = io.BytesIO()
    Image.fromarray(image).save(out, "png")
    return out.getvalue()


def folder(root: Path, count: int = 6) -> None:
    root.mkdir()
    for n, image in enumerate(pictures(count)):
        (root / f"{n}.png").write_bytes(png(image))


def npy(root: Path, labels: list[int]) -> None:
    root.mkdir(exist_ok=True)
    if not (root / "x_train.npy").exists():
        np.save(root / "x_train.npy", pictures(6))
    np.save(root / "y_train.npy", np.array(labels))


def cifar(root: Path, names: list[str]) -> None:
    root.mkdir(exist_ok=True)
    rows = np.random.default_rng(1).integers(0, 256, (4, 3072), np.uint8)
    for name in [*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"]:
        if not (root / name).exists():
            batch = {b"data": rows, b"labels": [0, 1, 0, 1]}
            (root / name).write_bytes(pickle.dumps(batch))
    (root / "batches.meta").write_bytes(pickle.dumps({b"label_names": names}))


def image_folder(root: Path, labels: list[str]) -> None:
    if not root.exists():
        folder(root)
    rows = (json.dumps({"file_name": f"{n}.png", "label": each}) for n, each in enumerate(labels))
    (root / "metadata.jsonl").write_text("\n".join(rows))


def coco(root: Path, categories: list[int]) -> None:
    if not root.exists():
        folder(root)
    document = {
        "images": [{"id": n, "file_name": f"{n}.png"} for n in range(6)],
        "categories": [{"id": n, "name": name} for n, name in enumerate(["cat", "dog", "cow"])],
        "annotations": [
            {"id": n, "image_id": n, "category_id": each, "bbox": [0, 0, 4, 4]}
            for n, each in enumerate(categories)
        ],
    }
    (root / "annotations.json").write_text(json.dumps(document))


SOURCES: dict[str, tuple[Callable[[Path], None], Callable[[Path], None]]] = {
    "labels beside an array": (
        lambda root: npy(root, [0, 1, 2, 0, 1, 2]),
        lambda root: npy(root, [2, 1, 0, 0, 1, 2]),
    ),
    "names of classes of CIFAR": (
        lambda root: cifar(root, ["cat", "dog"]),
        lambda root: cifar(root, ["dog", "cat"]),
    ),
    "labels in a table": (
        lambda root: image_folder(root, ["cat"] * 3 + ["dog"] * 3),
        lambda root: image_folder(root, ["cat"] * 5 + ["cow"]),
    ),
    "categories of COCO": (
        lambda root: coco(root, [0, 0, 0, 1, 1, 1]),
        lambda root: coco(root, [0, 0, 0, 0, 0, 2]),
    ),
}


@pytest.mark.parametrize("kind", ["folder", "parquet", "webdataset", "auto"])
@pytest.mark.parametrize("source", SOURCES)
def test_other_labels_are_those_of_a_new_run(tmp_path, source, kind):
    before, after = SOURCES[source]
    before(tmp_path / "clean")
    options = {"out_format": kind, "shard_size": 3, "workers": 1}
    protect_dataset(tmp_path / "clean", tmp_path / "out", KEY, **options)
    after(tmp_path / "clean")
    protect_dataset(tmp_path / "clean", tmp_path / "new", KEY, **options)
    protect_dataset(tmp_path / "clean", tmp_path / "out", KEY, **options)
    assert files_in(tmp_path / "out") == files_in(tmp_path / "new")
    again = protect_dataset(tmp_path / "clean", tmp_path / "out", KEY, **options)
    assert again.resumed == again.shards


def test_sealed_values_of_another_release_are_those_that_come_back(tmp_path):
    """A copy that is brought up to date gets the files that differ: here the sealed ones alone."""
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    for release in ("one", "two"):
        masks = pictures(6, seed=len(release) + ord(release[0]))
        rows = [{"bytes": png(each), "path": f"{n}.png"} for n, each in enumerate(pictures(6))]
        others = [{"bytes": png(each), "path": f"{n}.png"} for n, each in enumerate(masks)]
        (tmp_path / release).mkdir()
        pq.write_table(pa.table({"image": rows, "mask": others}), tmp_path / release / "a.parquet")
        protect_dataset(tmp_path / release, tmp_path / f"{release}-safe", KEY, workers=1)
    copy, back = tmp_path / "one-safe", tmp_path / "back"
    restore_dataset(copy, back, KEY, workers=1)
    other = files_in(tmp_path / "two-safe")
    differing = {name for name, data in files_in(copy).items() if data != other[name]}
    assert differing == {f"a.parquet.0.{SEALED_FIELDS}"}
    for name in differing:
        (copy / name).write_bytes(other[name])
    restore_dataset(copy, back, KEY, workers=1)
    assert pq.read_table(back / "a.parquet").equals(pq.read_table(tmp_path / "two/a.parquet"))
    assert restore_dataset(copy, back, KEY, workers=1).resumed == 1


@pytest.mark.parametrize("options", [{"cover": Other(KEY)}, {"profile": "veil"}])
def test_an_image_that_was_replaced_shows_in_no_other_shard(tmp_path, options):
    """Images show others of the set: all are done anew, or one would show what is there no more."""
    folder(tmp_path / "clean", 9)
    options = {**options, "shard_size": 3, "workers": 1}
    protect_dataset(tmp_path / "clean", tmp_path / "out", KEY, **options)
    (tmp_path / "clean" / "4.png").write_bytes(png(pictures(1, seed=9)[0]))
    protect_dataset(tmp_path / "clean", tmp_path / "new", KEY, **options)
    again = protect_dataset(tmp_path / "clean", tmp_path / "out", KEY, **options)
    assert (again.resumed, again.failed) == (0, 0)
    assert files_in(tmp_path / "out") == files_in(tmp_path / "new")


def test_drawn_pictures_do_not_depend_on_other_shards(tmp_path):
    folder(tmp_path / "clean", 9)
    options = {"shard_size": 3, "workers": 1}
    protect_dataset(tmp_path / "clean", tmp_path / "out", KEY, **options)
    (tmp_path / "clean" / "4.png").write_bytes(png(pictures(1, seed=9)[0]))
    assert protect_dataset(tmp_path / "clean", tmp_path / "out", KEY, **options).resumed == 2
