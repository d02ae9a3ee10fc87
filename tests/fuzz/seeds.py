"""Tiny valid datasets of every format, clean and protected: what mutations begin with.

All lie below one folder: the dataset at ``in``, journals beside what they are of.
"""

from __future__ import annotations

import functools
import gzip
import io
import json
import pickle
import tarfile
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

import dsguard
from dsguard.bulk import protect_dataset, restore_dataset
from dsguard.bulk.destination import CODE
from dsguard.bulk.plan import code_of
from dsguard.formats import encode_image

KEY = dsguard.DatasetKey(bytes(range(32)))
COUNT = 4
CLASSES = ("cat", "dog")
ROOT = b"@ROOT@"
"""Stands for the folder that all lies in."""

Files = dict[str, bytes]


@dataclass(frozen=True)
class Seed:
    """A dataset as files by name, and where in them it lies."""

    kind: str
    location: str
    files: Files
    is_protected: bool = False


@functools.cache
def images(side: int = 8) -> np.ndarray:
    """Return images that no two pixels of are alike enough to be met by chance."""
    rng = np.random.default_rng(side)
    slopes = np.linspace(60, 180, side)[None, :, None, None] + np.zeros((COUNT, 1, side, 3))
    noisy = slopes + rng.integers(-9, 9, slopes.shape) + 10 * np.arange(COUNT)[:, None, None, None]
    return noisy.astype(np.uint8)


def _saved(array: np.ndarray, name: str, mode: str = "RGB", **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(array).convert(mode).save(file, name, **options)
    return file.getvalue()


def _files() -> list[bytes]:
    return [encode_image(image) for image in images()]


def folder() -> Files:
    files = {f"in/train/{CLASSES[n % 2]}/{n}.png": data for n, data in enumerate(_files())}
    return {**files, "in/labels.csv": b"0,cat\n1,dog\n", "in/train/cat/0.json": b'{"number": 0}'}


def pictures() -> Files:
    """Return a folder of every format of image file that is read."""
    first, second = images()[:2]
    exif = Image.Exif()
    exif[274] = 6
    files = {
        "a.jpg": _saved(first, "jpeg", exif=exif.tobytes()),
        "b.jpeg": _saved(second, "jpeg", progressive=True),
        "c.gif": _saved(first, "gif"),
        "d.webp": _saved(first, "webp", lossless=True),
        "e.ppm": _saved(first, "ppm"),
        "f.pgm": _saved(first, "ppm", "L"),
        "g.bmp": _saved(first, "bmp"),
        "h.tif": _saved(first, "tiff", compression="tiff_lzw"),
        "i.tiff": _saved(second, "tiff", compression="tiff_deflate"),
        "j.png": _saved(first, "png", "P"),
        "k.png": _saved(first, "png", "LA"),
        "m.png": _saved(second, "png", "RGBA"),
        "n.png": _saved(second, "png", "L"),
        "l.png": _saved(second, "png", icc_profile=b"profile" * 9),
    }
    return {f"in/{CLASSES[n % 2]}/{name}": file for n, (name, file) in enumerate(files.items())}


def as_zip(files: Files, compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Pack files; what no zip can hold is left out."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content, compression)
    return data.getvalue()


def as_tar(files: Files) -> bytes:
    """Pack files."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return data.getvalue()


def _tree() -> Files:
    return {name.removeprefix("in/"): data for name, data in folder().items()}


def shard() -> Files:
    samples: Files = {}
    for n, data in enumerate(_files()):
        fields = {"cls": b"%d" % (n % 2), "json": b'{"number": %d}' % n, "png": data}
        samples |= {f"{n:04d}.{name}": content for name, content in fields.items()}
    return samples


def parquet(compression: str = "none") -> bytes:
    table = pa.table(
        {
            "image": [{"bytes": data, "path": f"{n}.png"} for n, data in enumerate(_files())],
            "label": [n % 2 for n in range(COUNT)],
            "note": [f"number {n}" for n in range(COUNT)],
        }
    )
    names = {"info": {"features": {"label": {"names": list(CLASSES), "_type": "ClassLabel"}}}}
    table = table.replace_schema_metadata({"huggingface": json.dumps(names)})
    data = io.BytesIO()
    pq.write_table(table, data, row_group_size=2, compression=compression)
    return data.getvalue()


def _npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def _npz() -> bytes:
    file = io.BytesIO()
    np.savez(file, x_train=images(), y_train=np.arange(COUNT) % 2, note=np.array("as it was made"))
    return file.getvalue()


def cifar(protocol: int = 2) -> Files:
    rows = images(32).transpose(0, 3, 1, 2).reshape(COUNT, -1)
    batch = {b"data": rows, b"labels": [n % 2 for n in range(COUNT)], b"batch_label": b"batch"}
    meta = {b"label_names": [name.encode() for name in CLASSES], b"num_vis": 3072}
    content = {"data_batch_1": batch, "test_batch": batch, "batches.meta": meta}
    return {f"in/{name}": pickle.dumps(data, protocol) for name, data in content.items()}


def coco() -> Files:
    files = {f"in/val/{n}.png": data for n, data in enumerate(_files())}
    told = {
        "images": [{"id": n, "file_name": f"{n}.png", "height": 8} for n in range(COUNT)],
        "annotations": [
            {"id": n, "image_id": n, "category_id": n % 2, "area": 3.5, "bbox": [0, 0, 3, 4]}
            for n in range(COUNT)
        ],
        "categories": [{"id": n, "name": name} for n, name in enumerate(CLASSES)],
    }
    return {**files, "in/annotations/instances_val.json": json.dumps(told).encode()}


def metadata() -> Files:
    files = {f"in/train/{n}.png": data for n, data in enumerate(_files())}
    lines = [{"file_name": f"{n}.png", "label": CLASSES[n % 2]} for n in range(COUNT)]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    return {**files, "in/train/metadata.jsonl": text.encode()}


def clean_seeds() -> list[Seed]:
    """Return a clean dataset of each format."""
    labels = np.arange(COUNT) % 2
    return [
        Seed("folder", "in", folder()),
        Seed("pictures", "in", pictures()),
        Seed("zip", "in/set.zip", {"in/set.zip": as_zip(_tree())}),
        Seed("tar", "in/set.tar", {"in/set.tar": as_tar(_tree())}),
        Seed("tar.gz", "in/set.tar.gz", {"in/set.tar.gz": gzip.compress(as_tar(_tree()), mtime=0)}),
        Seed("webdataset", "in", {"in/00.tar": as_tar(shard()), "in/01.tar": as_tar(shard())}),
        Seed("parquet", "in", {"in/a.parquet": parquet(), "in/b.parquet": parquet("snappy")}),
        Seed("npy", "in", {"in/photos.npy": _npy(images()), "in/photos_labels.npy": _npy(labels)}),
        Seed("npz", "in/set.npz", {"in/set.npz": _npz()}),
        Seed("cifar", "in", cifar()),
        Seed("cifar 4", "in", cifar(4)),
        Seed("coco", "in", coco()),
        Seed("metadata", "in", metadata()),
    ]


def written(root: Path, *names: str) -> Files:
    """Return the files below some folders."""
    paths = [path for name in names for path in sorted((root / name).rglob("*")) if path.is_file()]
    return {str(path.relative_to(root)): path.read_bytes() for path in paths}


def _settled(files: Files, root: Path) -> Files:
    """Return files that are the same every time: without times, and without their folder."""
    return {
        name: b"1-1 0-0" if "/stamps/" in name else data.replace(bytes(root), ROOT)
        for name, data in files.items()
    }


def write(files: Files, root: Path) -> None:
    """Write files; what no file system holds is left out."""
    for name, data in files.items():
        path = root / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            data = data.replace(ROOT, bytes(root))  # noqa: PLW2901
            path.write_bytes(_coded(data) if name.endswith(".dsguard/settings.json") else data)
        except (OSError, ValueError):
            continue


def _coded(settings: bytes) -> bytes:
    """Return the settings of a journal with the code of its key, or its other parts go unread."""
    try:
        facts = json.loads(settings)
        del facts[CODE]
        return json.dumps({**facts, CODE: code_of(facts, KEY)}, indent=2).encode()
    except (ValueError, TypeError, KeyError, RecursionError):
        return settings


def protected_seed(seed: Seed) -> Seed:
    """Return the protected form of a clean dataset, with the journal beside it."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write(seed.files, root)
        protect_dataset(root / seed.location, root / "out", KEY, profile="veil", epsilon=40)
        files = _settled(written(root, "out", "out.dsguard"), root)
    files = {"in" + name.removeprefix("out"): data for name, data in files.items()}
    return Seed(f"{seed.kind} protected", "in", files, is_protected=True)


def journal_seed(seed: Seed) -> Seed:
    """Return a protected dataset that was restored already: a second run reads its journal."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write(seed.files, root)
        restore_dataset(root / "in", root / "out", KEY)
        files = _settled(written(root, "in", "out", "out.dsguard"), root)
    return Seed("journal", "in", files, is_protected=True)


@functools.cache
def all_seeds() -> tuple[Seed, ...]:
    """Return every dataset, clean and protected; the one with a journal comes last."""
    clean = clean_seeds()
    unlike = {"zip", "tar", "tar.gz", "cifar 4"}  # whose protected form is that of another
    protected = [protected_seed(seed) for seed in clean if seed.kind not in unlike]
    return (*clean, *protected, journal_seed(protected[0]))


@functools.cache
def clean_pixels() -> frozenset[bytes]:
    """Return the pixels of all clean images, of those of other formats as they are decoded."""
    decoded = [dsguard.formats.decode_image(data) for data in pictures().values()]
    return frozenset(image.tobytes() for image in [*images(), *images(32), *decoded])
