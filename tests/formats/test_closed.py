"""Sources of every kind with a clean picture in every place: no output of any format has it."""

from __future__ import annotations

import base64
import csv
import json
import pickle
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from dsguard.bulk import protect_dataset
from dsguard.formats import encode_image, encode_images

from .test_disclosure import found_in, hidden_in_bytes, hidden_in_text

CLASSES = ("cat", "dog")
COUNT = 8


@dataclass
class Hidden:
    """A picture in every form, beside images."""

    images: np.ndarray
    picture: np.ndarray

    @property
    def png(self) -> bytes:
        return encode_image(self.picture)

    @property
    def coded(self) -> str:
        return base64.b64encode(self.png).decode()

    @property
    def numbers(self) -> list[int]:
        return self.picture.reshape(-1).tolist()

    def values(self) -> dict[str, Any]:
        """Return what JSON can hold it as."""
        return {
            "thumb": self.coded,
            "pieces": [self.coded[start : start + 60] for start in range(0, len(self.coded), 60)],
            "hex": self.png.hex(),
            "text": " ".join(map(str, self.numbers)),
            "inner": json.dumps({"pixels": self.numbers}),
            "pixels": self.numbers,
            "rows": self.picture.tolist(),
            "objects": [{"v": value} for value in self.numbers],
            "segmentation": [self.numbers],
            "keypoints": self.numbers,
        }

    def lay_images(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        for n, file in enumerate(encode_images(self.images)):
            (folder / f"{n}.png").write_bytes(file)


def coco(root: Path, hidden: Hidden) -> None:
    hidden.lay_images(root / "val")
    values = hidden.values()
    listed = [{"id": n, "file_name": f"{n}.png"} for n in range(COUNT)]
    boxes = [{"id": n, "image_id": n, "category_id": n % 2, "bbox": [0, 0, 9, 9]}
             for n in range(COUNT)]  # fmt: skip
    content = {
        "images": [listed[0] | values, *listed[1:]],
        "annotations": [boxes[0] | values | {"rle": {"counts": hidden.numbers}}, *boxes[1:]],
        "categories": [{"id": n, "name": name, **values} for n, name in enumerate(CLASSES)],
        "info": values,
        "licenses": [{"id": 0, "name": hidden.coded}],
        **values,
    }
    (root / "annotations").mkdir()
    (root / "annotations" / "instances_val.json").write_text(json.dumps(content))


def rows_of(hidden: Hidden, values: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"file_name": f"{n}.png", "label": CLASSES[n % 2], **values} for n in range(COUNT)]


def metadata_jsonl(root: Path, hidden: Hidden) -> None:
    hidden.lay_images(root / "train")
    rows = rows_of(hidden, hidden.values())
    (root / "train" / "metadata.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))


def metadata_csv(root: Path, hidden: Hidden) -> None:
    hidden.lay_images(root / "train")
    texts = {name: value for name, value in hidden.values().items() if isinstance(value, str)}
    pixels = {f"p{n}": value for n, value in enumerate(hidden.numbers)}
    rows = rows_of(hidden, texts | pixels)
    with (root / "train" / "metadata.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, rows[0])
        table.writeheader()
        table.writerows(rows)


def metadata_parquet(root: Path, hidden: Hidden) -> None:
    hidden.lay_images(root / "train")
    more = {"raw": hidden.png, "crops": [{"bytes": hidden.png, "path": None}]}
    rows = rows_of(hidden, hidden.values() | more)
    table = pa.Table.from_pylist(rows).replace_schema_metadata({"icon": hidden.png})
    pq.write_table(table, root / "train" / "metadata.parquet", compression="none")


def arrays(root: Path, hidden: Hidden) -> None:
    np.savez(root / "x.npz", images=hidden.images, labels=np.arange(COUNT) % 2, **of_arrays(hidden))


def of_arrays(hidden: Hidden) -> dict[str, np.ndarray]:
    each = np.repeat(hidden.picture[None], COUNT, axis=0)
    return {
        "floats": each.astype(np.float32) / 255,
        "first": each.transpose(0, 3, 1, 2),
        "flat": each.reshape(COUNT, -1),
        "one": hidden.picture,
        "coded": np.array([hidden.coded] * COUNT),
        "raw": np.array([hidden.png] * COUNT),
    }


def loose_arrays(root: Path, hidden: Hidden) -> None:
    np.save(root / "images.npy", hidden.images)
    np.save(root / "labels.npy", np.arange(COUNT) % 2)
    for name, array in of_arrays(hidden).items():
        np.save(root / f"{name}.npy", array)


def cifar(root: Path, hidden: Hidden) -> None:
    same = np.repeat(hidden.picture.reshape(1, -1), COUNT, axis=0)
    names = {b"label_names": [b"cat", b"dog"], b"mean": same, b"png": hidden.png.hex().encode()}
    batch = {
        b"data": hidden.images.transpose(0, 3, 1, 2).reshape(COUNT, -1),
        b"labels": [n % 2 for n in range(COUNT)],
        b"raw": hidden.png,
        b"list": [hidden.numbers] * COUNT,
        b"copy": same,
        b"coded": [hidden.coded.encode()] * COUNT,
    }
    (root / "batches.meta").write_bytes(pickle.dumps(names) + hidden.png)
    (root / "data_batch_1").write_bytes(pickle.dumps(batch) + hidden.png)


def tar_gz(root: Path, hidden: Hidden) -> None:
    files = hidden_in_text(hidden.picture) | hidden_in_bytes(hidden.picture)
    tree = root.parent / "tree"
    hidden.lay_images(tree / "a")
    for name, data in files.items():
        (tree / name).write_bytes(data)
        (tree / "a" / f"0.{name}").write_bytes(data)
    shutil.make_archive(str(root / "set"), "gztar", tree)


SOURCES: list[Callable[[Path, Hidden], None]] = [
    coco, metadata_jsonl, metadata_csv, metadata_parquet, arrays, loose_arrays, cifar, tar_gz
]  # fmt: skip


@pytest.fixture
def hidden(scenes, cifar):
    """A real photograph beside other images."""
    small = Image.fromarray(cifar[0][8]).resize((16, 16))
    return Hidden(scenes[:COUNT], np.asarray(small))


@pytest.mark.parametrize("make", SOURCES, ids=lambda make: make.__name__)
@pytest.mark.parametrize(("profile", "out_format"), [
    ("sealed", "auto"), ("veil", "auto"), ("veil", "folder"), ("veil", "webdataset"),
    ("veil", "parquet"),
])  # fmt: skip
def test_no_picture_comes_out(tmp_path, key, hidden, make, profile, out_format):
    (tmp_path / "clean").mkdir()
    make(tmp_path / "clean", hidden)
    is_packed = make is tar_gz
    assert is_packed or found_in(tmp_path / "clean", hidden.picture)
    source = tmp_path / "clean" / ("set.tar.gz" if is_packed else "")
    report = protect_dataset(source, tmp_path / "safe", key, profile=profile, out_format=out_format)
    assert report.done >= COUNT  # with sealed, HEIC files are images
    assert not found_in(tmp_path / "safe", hidden.picture)
    assert report.left_out or report.failures or profile == "sealed"
