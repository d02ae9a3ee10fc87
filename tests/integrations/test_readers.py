"""Published and restored sets open in the readers that people use, with what they came from."""

from __future__ import annotations

import contextlib
import gc
import io
import json
import tarfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import dsguard
from dsguard.bulk import protect_dataset, restore_dataset

KEY = dsguard.DatasetKey(bytes(32))
CLASSES = ("cat", "dog")


def jpeg(scene: np.ndarray) -> bytes:
    data = io.BytesIO()
    Image.fromarray(scene).save(data, "jpeg", quality=90)
    return data.getvalue()


@contextlib.contextmanager
def quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # some readers leave files open
        yield
        gc.collect()


# Each source comes with a reader: (class or caption, pixels or None) of each image, in order.

Read = list[tuple[Any, np.ndarray | None]]


def make_folder(root: Path, scenes) -> None:
    for n, scene in enumerate(scenes):
        path = root / CLASSES[n % 2] / f"{n}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg(scene))


def read_folder(root: Path) -> Read:
    """Read a folder as torchvision's `ImageFolder` does: classes are the sorted folders."""
    known = {".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp"}
    classes = sorted(path.name for path in root.iterdir() if path.is_dir())
    found: Read = []
    for number, name in enumerate(classes):
        paths = [path for path in sorted((root / name).rglob("*")) if path.suffix.lower() in known]
        found += [(number, np.asarray(Image.open(path).convert("RGB"))) for path in paths]
    return found


def make_imagefolder(root: Path, scenes) -> None:
    rows = []
    root.mkdir()
    for n, scene in enumerate(scenes):
        (root / f"{n}.jpg").write_bytes(jpeg(scene))
        rows.append({"file_name": f"{n}.jpg", "text": f"a scene of {CLASSES[n % 2]}s"})
    (root / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def read_imagefolder(root: Path) -> Read:
    datasets = pytest.importorskip("datasets")
    with quiet():
        found = datasets.load_dataset(
            "imagefolder", data_dir=str(root), cache_dir=f"{root}.cache", split="train"
        )
        return [(row["text"], np.asarray(row["image"].convert("RGB"))) for row in found]


def make_parquet(root: Path, scenes) -> None:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=list(CLASSES))}
    )
    rows = {
        "image": [{"bytes": jpeg(scene), "path": f"{n}.jpg"} for n, scene in enumerate(scenes)],
        "label": [n % 2 for n in range(len(scenes))],
    }
    root.mkdir()
    datasets.Dataset.from_dict(rows, features).to_parquet(str(root / "train.parquet"))


def read_parquet(root: Path) -> Read:
    datasets = pytest.importorskip("datasets")
    with quiet():
        found = datasets.load_dataset(
            "parquet",
            data_files=str(root / "*.parquet"),
            cache_dir=f"{root}.cache",
            split="train",
        )
        assert found.features["label"].names == list(CLASSES)
        return [(row["label"], np.asarray(row["image"].convert("RGB"))) for row in found]


def make_webdataset(root: Path, scenes) -> None:
    root.mkdir()
    with tarfile.open(root / "00000.tar", "w") as tar:
        for n, scene in enumerate(scenes):
            for suffix, data in (("jpg", jpeg(scene)), ("cls", b"%d" % (n % 2))):
                entry = tarfile.TarInfo(f"{n:04d}.{suffix}")
                entry.size = len(data)
                tar.addfile(entry, io.BytesIO(data))


def read_webdataset(root: Path) -> Read:
    webdataset = pytest.importorskip("webdataset")
    (shard,) = root.glob("*.tar")
    with quiet():
        samples = webdataset.WebDataset(str(shard), shardshuffle=False)
        samples = samples.decode("rgb8", only=["png", "jpg", "cls"])
        return [(s["cls"], s.get("png", s.get("jpg"))) for s in samples]


def make_coco(root: Path, scenes) -> None:
    (root / "images").mkdir(parents=True)
    images, boxes = [], []
    for n, scene in enumerate(scenes):
        (root / "images" / f"{n}.jpg").write_bytes(jpeg(scene))
        images.append({"id": n, "file_name": f"{n}.jpg", "width": 32, "height": 32})
        box = {"bbox": [1, 2, 20, 20], "area": 400, "iscrowd": 0}
        boxes.append({"id": n, "image_id": n, "category_id": n % 2 + 1, **box})
    names = [{"id": n + 1, "name": name} for n, name in enumerate(CLASSES)]
    (root / "annotations").mkdir()
    (root / "annotations" / "instances.json").write_text(
        json.dumps({"images": images, "annotations": boxes, "categories": names})
    )


def read_coco(root: Path) -> Read:
    coco = pytest.importorskip("pycocotools.coco")
    with contextlib.redirect_stdout(io.StringIO()):
        found = coco.COCO(str(root / "annotations" / "instances.json"))
    rows = []
    for number in found.getImgIds():
        (image,) = found.loadImgs(number)
        (box,) = found.loadAnns(found.getAnnIds(imgIds=number))
        pixels = np.asarray(Image.open(root / "images" / image["file_name"]).convert("RGB"))
        rows.append(((box["category_id"], tuple(box["bbox"])), pixels))
    return rows


FORMATS = {
    "folder": (make_folder, read_folder),
    "imagefolder": (make_imagefolder, read_imagefolder),
    "parquet": (make_parquet, read_parquet),
    "webdataset": (make_webdataset, read_webdataset),
    "coco": (make_coco, read_coco),
}


@pytest.mark.parametrize("options", [
    {}, {"keep": "files"}, {"keep": "files", "cover_size": "fit"},
], ids=["pixels", "files", "fit"])  # fmt: skip
@pytest.mark.parametrize("name", FORMATS)
def test_published_and_restored_sets_open(tmp_path, scenes, name, options):
    make, read = FORMATS[name]
    make(tmp_path / "clean", scenes)
    clean = read(tmp_path / "clean")
    assert len(clean) == len(scenes)
    report = protect_dataset(tmp_path / "clean", tmp_path / "out", KEY, **options)
    assert (report.done, report.failed) == (len(scenes), 0)
    published = read(tmp_path / "out")
    assert [told for told, _ in published] == [told for told, _ in clean]
    for (_, shown), (_, was) in zip(published, clean, strict=True):
        assert shown.shape != was.shape or np.abs(shown.astype(int) - was).mean() > 8
    report = restore_dataset(tmp_path / "out", tmp_path / "back", KEY)
    assert (report.done, report.failed) == (len(scenes), 0)
    back = read(tmp_path / "back")
    assert [told for told, _ in back] == [told for told, _ in clean]
    for (_, pixels), (_, was) in zip(back, clean, strict=True):
        np.testing.assert_array_equal(pixels, was)
