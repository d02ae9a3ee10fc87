"""Nothing clean is published: a picture is put in every place beside images, and looked for."""

from __future__ import annotations

import base64
import io
import json
import math
import pickle
import re
import tarfile
import zipfile
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from dsguard.bulk import Selection, Settings, protect_dataset, restore_dataset
from dsguard.cli.commands import Exit
from dsguard.cli.commands import run as cli
from dsguard.errors import InputError
from dsguard.formats import OUTPUT_FORMATS, encode_image, encode_images, named_images, open_source
from dsguard.formats.disclosure import Disclosure
from dsguard.formats.parquet.types import reason_against
from dsguard.formats.places import LocalPlace
from dsguard.formats.review import Review


@pytest.fixture(scope="module")
def picture():
    """The picture that must not come out: 16x16, smooth enough for JPEG, no two rows alike."""
    y, x = np.mgrid[:16, :16]
    planes = [(7 * x + 11 * y) % 251, (13 * x + 3 * y + x * y) % 241, (5 * x * x + 17 * y) % 239]
    return np.stack(planes, axis=2).astype(np.uint8)


def as_jpeg(picture) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "jpeg", quality=95)
    return file.getvalue()


def as_npy(array) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def hidden_in_text(picture) -> dict[str, bytes]:
    """Return text files that hold the picture, by suffix."""
    png = encode_image(picture)
    coded, pixels = base64.b64encode(png).decode(), picture.reshape(-1).tolist()
    pieces = [coded[start : start + 60] for start in range(0, len(coded), 60)]
    rows = picture.reshape(16, -1).tolist()
    documents = {
        "labelme.json": {"version": "5", "shapes": [], "imageData": coded},
        "flat.json": {"pixels": pixels},
        "nested.json": {"pixels": picture.tolist()},
        "gray.json": {"pixels": picture[..., 0].tolist()},
        "keys.json": {f"p{n}": value for n, value in enumerate(pixels)},
        "pieces.json": {"parts": pieces},
        "boxes.json": {"boxes": picture.reshape(-1, 3).tolist()},
        "hex.json": [png.hex()],
        "text.json": {"text": " ".join(map(str, pixels))},
        "inner.json": {"text": json.dumps({"pixels": pixels})},
        "objects.json": [{"x": n, "v": v} for n, v in enumerate(pixels)],
        "columns.json": {f"pixel{n}": {"image0.png": v} for n, v in enumerate(pixels)},
        "inside.json": {"image0.png": {f"c{x}": v for x, v in enumerate(rows[0])}, "rest": rows},
        "records.json": [{f"c{x}": v for x, v in enumerate(row)} for row in rows],
        "mixed.json": {"image0.png": ["cat", *pixels]},
        "long.json": [{"file": "image0.png", "x": n, "v": v} for n, v in enumerate(pixels)],
        "one.json": {"pixels": [{"v": v} for v in pixels]},
        "uri.json": {"src": f"data:image/png;base64,{coded}"},
    }
    lines = "\n".join(json.dumps({"row": row}) for row in rows) + "\n"
    texts = {
        "twice.json": f'{{"image": "{coded}", "image": 1}}',
        "lines.jsonl": lines,
        "one.csv": ",".join(map(str, pixels)) + "\n",
        "rows.csv": "\n".join(",".join(map(str, row)) for row in picture[..., 1].tolist()),
        "savetxt.txt": "\n".join(" ".join(f"{v:.2e}" for v in row) for row in picture[..., 2]),
        "base64.txt": "\n".join(pieces),
        "uri.md": f"# Data\n\n![sample](data:image/png;base64,{coded})\n",
        "inline.xml": f"<annotation><image>{coded}</image></annotation>",
        "list.yaml": "pixels:\n" + "".join(f"- {value}\n" for value in pixels * 2),
        "column.txt": "".join(f"{value}\n" for value in picture[..., 0].reshape(-1)),
        "named.csv": "".join(
            f"r{n}," + ",".join(map(str, row)) + "\n" for n, row in enumerate(rows)
        ),
        "long.csv": "".join(f"a/image0.png,{value}\n" for value in pixels),
        "long3.csv": "".join(f"a/image0.png,{n},{v}\n" for n, v in enumerate(pixels[::3])),
        "table.tsv": "x\ty\tv\n" + "".join(f"{n}\t{v}\t{n}\n" for n, v in enumerate(pixels)),
    }
    return {
        **{name: json.dumps(content).encode() for name, content in documents.items()},
        **{name: text.encode() for name, text in texts.items()},
        "wide.txt": texts["base64.txt"].encode("utf-16"),
        "raw.txt": png,
        "bom.csv": b"\xef\xbb\xbf" + texts["one.csv"].encode(),
    }


def hidden_in_bytes(picture) -> dict[str, bytes]:
    """Return other files that hold the picture, by suffix."""
    return {
        "original.npy": as_npy(picture),
        "float.npy": as_npy(picture.astype(np.float32) / 255),
        "pyd": pickle.dumps(picture),
        "orig": as_jpeg(picture),
        "bin": picture.tobytes(),
        "heic": encode_image(picture),
    }


def needles(picture) -> list[bytes]:
    """Return pieces of the picture as they would lie in a file."""
    png, jpeg = encode_image(picture), as_jpeg(picture)
    found = [png[len(png) // 2 :][:24], jpeg[len(jpeg) // 2 :][:24]]
    middle = picture[8]
    for row in (middle.reshape(-1), middle[:, 0], middle[:, 1], middle[:, 2]):
        found += [row.astype(kind).tobytes()[:96] for kind in ("u1", "i2", "i4", "i8", "f4", "f8")]
        found += [(row.astype(kind) / np.array(255, kind)).tobytes() for kind in ("f4", "f8")]
    for data in (png, jpeg, picture.tobytes()):
        found += [base64.b64encode(data[start:])[64:84] for start in (0, 1, 2)]
        found.append(data.hex().encode()[64:104])
    return found


def numbers_in(data: bytes) -> list[int]:
    return [round(float(n)) for n in re.findall(rb"\d+(?:\.\d+)?(?:e[+-]?\d+)?", data)]


def is_in(picture, data: bytes) -> bool:
    """Tell whether the picture can be found in the bytes of a file."""
    if any(needle in data for needle in needles(picture)):
        return True
    numbers = numbers_in(data)
    every = range(1, 4)  # between pixels may be their names or places
    texts = [",".join(map(str, numbers[first::step])) for step in every for first in range(step)]
    rows = (picture[8].reshape(-1)[:12], picture[8, :12, 0], picture[8, :12, 1], picture[8, :12, 2])
    return any(",".join(map(str, row.tolist())) in text for row in rows for text in texts)


def found_in(folder: Path, picture) -> list[str]:
    """Return the files under a folder that the picture is in; Parquet rows as numbers as well."""
    found = []
    for path in sorted(folder.rglob("*")):
        if not path.is_file():
            continue
        contents = [path.read_bytes()]
        if path.suffix == ".parquet":
            table = pq.read_table(path)
            contents += [str(list(row.values())).encode() for row in table.to_pylist()]
            contents.append(repr(table.schema.metadata).encode())
        if b"\xff\xfe" in contents[0]:
            contents.append(contents[0].replace(b"\0", b""))
        if any(is_in(picture, content) for content in contents):
            found.append(path.relative_to(folder).as_posix())
    return found


def protected(source, tmp_path, key, **settings):
    return protect_dataset(source, tmp_path / "safe", key, profile="veil", **settings)


@pytest.fixture
def tree(tmp_path, scenes):
    """A folder of two classes."""
    for n, file in enumerate(encode_images(scenes)):
        path = tmp_path / "clean" / "ab"[n % 2] / f"image{n}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file)
    return tmp_path / "clean"


def add_everywhere(tree: Path, files: dict[str, bytes]) -> int:
    """Put each file beside an image, under its name, and at the top of the dataset."""
    (tree / "deep" / "er").mkdir(parents=True)
    for suffix, data in files.items():
        (tree / "a" / f"image0.{suffix}").write_bytes(data)
        (tree / "deep" / "er" / suffix).write_bytes(data)
        (tree / suffix).write_bytes(data)
    return 3 * len(files)


def packed(tree: Path, kind: str) -> Path:
    """Return a folder as it is, or in an archive."""
    paths = sorted(path for path in tree.rglob("*") if path.is_file())
    if kind == "zip":
        with zipfile.ZipFile(tree.with_suffix(".zip"), "w") as archive:
            for path in paths:
                archive.write(path, path.relative_to(tree))
        return tree.with_suffix(".zip")
    if kind == "tar":
        with tarfile.open(tree.with_suffix(".tar"), "w") as archive:
            for path in paths:
                archive.add(path, path.relative_to(tree))
        return tree.with_suffix(".tar")
    return tree


@pytest.mark.parametrize("out_format", ["folder", "webdataset", "parquet"])
@pytest.mark.parametrize("kind", ["folder", "zip", "tar"])
def test_trees(tree, tmp_path, key, picture, kind, out_format):
    files = hidden_in_text(picture) | hidden_in_bytes(picture)
    add_everywhere(tree, files)
    hidden = found_in(tree, picture)
    assert sum("image" not in Path(name).name for name in hidden) == 2 * len(files)
    source = packed(tree, kind)
    report = protected(source, tmp_path, key, out_format=out_format)
    assert (report.done, report.failed) == (8, 0)
    assert found_in(tmp_path / "safe", picture) == []
    told = "\n".join(f"{kind} {each.first}" for kind, each in report.left_out.items())
    for suffix in files:
        assert suffix.rpartition(".")[2] in told
    restored = restore_dataset(tmp_path / "safe", tmp_path / "back", key)
    assert restored.done == 8


@pytest.mark.parametrize("suffix", [*hidden_in_text(np.zeros((16, 16, 3), np.uint8))])
def test_each_text_is_judged_by_itself(tree, tmp_path, key, picture, suffix):
    data = hidden_in_text(picture)[suffix]
    (tree / suffix).write_bytes(data)
    (tree / "b" / f"image1.{suffix}").write_bytes(data)
    report = protected(tree, tmp_path, key)
    assert found_in(tmp_path / "safe", picture) == []
    assert sum(each.count for each in report.left_out.values()) >= 2
    named = protect_dataset(tree, tmp_path / "named", key, profile="veil", publish=(f"*{suffix}",))
    assert not named.left_out
    assert (tmp_path / "named" / suffix).read_bytes() == data
    dropped = protect_dataset(tree, tmp_path / "dropped", key, profile="veil", drop=(f"*{suffix}",))
    assert not dropped.left_out
    assert not (tmp_path / "dropped" / suffix).exists()


def hidden_in_small_numbers(picture) -> dict[str, bytes]:
    """Return text files that say one channel of the picture a number or two at a time."""
    gray = picture[..., 0].reshape(-1).tolist() * 2
    values = [{"id": n, "value": v} for n, v in enumerate(gray)]
    ids = [{"pixel_id": n, "class_id": v} for n, v in enumerate(gray)]
    bits = [str(bool(v >> bit & 1)) for v in gray for bit in range(8)]
    return {
        "values.json": json.dumps(values).encode(),
        "ids.json": json.dumps(ids).encode(),
        "dashes.yaml": "".join(f"- {v}\n" for v in gray).encode(),
        "stars.md": "".join(f"* {v}\n" for v in gray).encode(),
        "words.csv": "".join(f"{v},gray\n" for v in gray).encode(),
        "bits.csv": "\n".join(",".join(bits[n : n + 32]) for n in range(0, len(bits), 32)).encode(),
    }


@pytest.mark.parametrize("name", [*hidden_in_small_numbers(np.zeros((16, 16, 3), np.uint8))])
def test_small_numbers_add_up(tree, tmp_path, key, picture, name):
    (tree / name).write_bytes(hidden_in_small_numbers(picture)[name])
    report = protected(tree, tmp_path, key)
    assert [each.first for each in report.left_out.values()] == [name]
    safe = tmp_path / "safe" / name
    left = json.loads(safe.read_bytes()) if safe.exists() else []
    assert sum(value is not None for value in left) <= 255  # of 512


@pytest.mark.parametrize("where", ["files", "tables"])
def test_an_image_has_one_allowance_in_all_files(tree, tmp_path, key, picture, where):
    rows = picture[..., 0].tolist()
    for n, row in enumerate(rows):
        if where == "files":
            line = ",".join(["a/image0.png", *map(str, row)])
            (tree / f"row{n:02d}.csv").write_text(line + "\n")
        else:
            folder = tree / f"row{n:02d}"
            folder.mkdir()
            told = {"file_name": ["../a/image0.png"], **{f"p{x}": [v] for x, v in enumerate(row)}}
            pq.write_table(pa.table(told), folder / "metadata.parquet")
    report = protected(tree, tmp_path, key)
    safe = tmp_path / "safe"
    left = [*safe.rglob("row*.csv"), *safe.rglob("row*/metadata.parquet")]
    assert len(left) <= 63 // 16
    assert sum(each.count for each in report.left_out.values()) == 16 - len(left)


def test_rows_of_a_table_of_one_image_add_up(tree, tmp_path, key, picture):
    columns = {f"p{x}": values for x, values in enumerate(picture[..., 0].T.tolist())}
    table = {"file_name": ["a/image0.png"] * 16, **columns}
    pq.write_table(pa.table(table), tree / "metadata.parquet")
    report = protected(tree, tmp_path, key)
    assert (report.done, len(report.left_out)) == (8, 1)
    assert not (tmp_path / "safe" / "metadata.parquet").exists()


HARMLESS = {
    "labels.csv": b"file,label\na/image0.png,3\nb/image1.png,4\n",
    "README.md": b"# Cats\n\nSome prose, with 12 words or so; see http://example.org/data.\n" * 9,
    "classes.txt": b"cat\ndog\nhorse\n",
    "meta.jsonl": b'{"file_name": "a/image0.png", "text": "a cat on a mat", "score": 0.25}\n' * 40,
    "boxes.json": json.dumps(
        {"images": [{"file": "a/image0.png", "boxes": [[1, 2, 30, 40]] * 50}]}
    ).encode(),
    "a/image0.txt": b"0 0.5 0.5 0.25 0.25\n" * 12,
    "a/image2.xml": b"<annotation><filename>image2.png</filename><size><width>32</width></size>"
    b"<object><name>cat</name><bndbox><xmin>1</xmin><ymin>2</ymin></bndbox></object></annotation>",
    "a/image4.json": b'{"label": "cat", "attributes": {"fur": true, "age": 3}}',
    "LICENSE": b"Use it as you like.\n",
}


def test_labels_boxes_and_prose_go_along_as_they_are(tree, tmp_path, key):
    for name, data in HARMLESS.items():
        (tree / name).write_bytes(data)
    report = protected(tree, tmp_path, key)
    assert not report.left_out
    for name, data in HARMLESS.items():
        assert (tmp_path / "safe" / name).read_bytes() == data


def test_a_picture_in_an_annotation_leaves_the_rest_of_it(tree, tmp_path, key, picture):
    shapes = [{"label": "cat", "points": [[1.5, 2.5], [20.0, 30.0]]}]
    content = {"version": "5.0", "shapes": shapes, "imageHeight": 32}
    coded = base64.b64encode(encode_image(picture)).decode()
    (tree / "a" / "image0.json").write_text(json.dumps(content | {"imageData": coded}))
    report = protected(tree, tmp_path, key)
    left = json.loads((tmp_path / "safe" / "a" / "image0.json").read_text())
    assert left == content | {"imageData": None}
    ((kind, told),) = report.left_out.items()
    assert (kind, told.count, told.first) == ("imageData", 1, "a/image0.json/imageData")
    again = protect_dataset(tree, tmp_path / "two", key, profile="veil", publish=("imageData",))
    assert not again.left_out
    assert coded in (tmp_path / "two" / "a" / "image0.json").read_text()


def test_annotations_of_many_images_go_along(tree, tmp_path, key):
    names = [f"{'ab'[n % 2]}/image{n}.png" for n in range(8)]
    content = {
        "images": [{"id": n, "file_name": name, "width": 32} for n, name in enumerate(names)],
        "annotations": [
            {"id": n, "image_id": n % 8, "category_id": n % 80, "bbox": [1, 2, 3.5, 4], "area": 9}
            for n in range(400)
        ],
        "categories": [{"id": n, "name": f"thing {n}", "supercategory": "a"} for n in range(80)],
    }
    (tree / "boxes.json").write_text(json.dumps(content))
    assert not protected(tree, tmp_path, key).left_out
    content["annotations"] *= 4
    (tree / "boxes.json").write_text(json.dumps(content))
    report = protect_dataset(tree, tmp_path / "more", key, profile="veil")
    assert "510 numbers in short lists" in report.left_out["*.json"].reason


def test_a_whole_coco_file_goes_along(tree, tmp_path, key):
    """As large as those of COCO 2017: licences, addresses, outlines, key points, many objects."""
    names = [f"{'ab'[n % 2]}/image{n}.png" for n in range(8)]
    turns = [2 * math.pi * n / 48 for n in range(48)]
    points = [(16 + 9 * math.cos(turn), 12 + 5 * math.sin(turn)) for turn in turns]
    outline = [round(each, 2) for point in points for each in point]
    content = {
        "info": {"description": "COCO 2017 Dataset", "url": "http://cocodataset.org",
                 "version": "1.0", "year": 2017, "date_created": "2017/09/01"},
        "licenses": [{"url": f"http://creativecommons.org/licenses/by-nc-sa/2.0/{n}", "id": n,
                      "name": "Attribution-NonCommercial-ShareAlike License"} for n in range(8)],
        "images": [{"license": 1, "file_name": name, "height": 32, "width": 32, "id": n,
                    "coco_url": f"http://images.cocodataset.org/{n:012d}.jpg",
                    "date_captured": "2013-11-14 17:02:52"} for n, name in enumerate(names)],
        "annotations": [{"id": 10**11 + n, "image_id": n % 8, "category_id": n % 80, "iscrowd": 0,
                         "area": 12.5, "bbox": [1.5, 2.25, 3.5, 4.0],
                         "segmentation": [outline] if n < 64 else [],
                         "keypoints": [n % 3] * 51 if n < 16 else []} for n in range(8 * 93)],
        "categories": [{"supercategory": "thing", "id": n, "name": "abc"[n % 3] * (1 + n // 3)}
                       for n in range(90)],
    }  # fmt: skip
    (tree / "annotations").mkdir()
    (tree / "annotations" / "instances.json").write_text(json.dumps(content))
    report = protected(tree, tmp_path, key)
    assert not report.left_out
    safe = json.loads((tmp_path / "safe" / "annotations" / "instances.json").read_text())
    assert safe == content


def test_a_row_that_is_left_out_does_not_take_boxes_with_it(tree, tmp_path, key):
    told = {"embedding": [0.5] * 100, "bbox": [1, 2, 3, 4]}
    (tree / "a" / "image0.json").write_text(json.dumps([told] * 5))
    protected(tree, tmp_path, key)
    left = json.loads((tmp_path / "safe" / "a" / "image0.json").read_text())
    assert left == [{"embedding": None, "bbox": [1, 2, 3, 4]}] * 5


def test_many_files_of_a_kind_are_one_line(tree, tmp_path, key, picture):
    for n in range(0, 8, 2):
        (tree / "a" / f"image{n}.json").write_text(json.dumps(picture.reshape(-1).tolist()))
    report = protected(tree, tmp_path, key)
    assert {kind: each.count for kind, each in report.left_out.items()} == {"*.json": 4}


def test_a_hidden_image_is_named(tree, tmp_path, key, picture):
    (tree / "a" / ".image9.png").write_bytes(encode_image(picture))
    (tree / "a" / ".DS_Store").write_bytes(b"x")
    report = protected(tree, tmp_path, key)
    assert [each.first for each in report.left_out.values()] == ["a/.image9.png"]


def shard(path: Path, images, fields) -> None:
    with tarfile.open(path, "w") as archive:
        for n, file in enumerate(encode_images(images)):
            members = {"png": file, "cls": b"%d" % (n % 2), "json": b'{"number": %d}' % n}
            for suffix, data in (members | fields.get(n, {})).items():
                member = tarfile.TarInfo(f"{n:04d}.{suffix}")
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
        for suffix, data in fields.get(-1, {}).items():
            member = tarfile.TarInfo(f"nobody.{suffix}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))


@pytest.mark.parametrize("out_format", ["webdataset", "folder", "parquet"])
def test_webdataset(tmp_path, scenes, key, picture, out_format):
    files = hidden_in_text(picture) | hidden_in_bytes(picture)
    (tmp_path / "clean").mkdir()
    shard(tmp_path / "clean" / "x.tar", scenes, {0: files, 3: files, -1: files})
    assert found_in(tmp_path / "clean", picture)
    report = protected(tmp_path / "clean", tmp_path, key, out_format=out_format)
    assert (report.done, report.failed) == (8, 0)
    assert found_in(tmp_path / "safe", picture) == []
    assert {"*.original.npy", "*.pyd", "imageData"} <= report.left_out.keys()
    restored = restore_dataset(tmp_path / "safe", tmp_path / "back", key)
    assert restored.done == 8


def test_a_class_cannot_hold_a_picture(tmp_path, scenes, key, picture):
    coded = base64.b64encode(encode_image(picture))
    (tmp_path / "clean").mkdir()
    shard(tmp_path / "clean" / "x.tar", scenes, {2: {"cls": coded}, 3: {"classname.txt": coded}})
    for out_format in ("webdataset", "folder", "parquet"):
        safe = tmp_path / out_format
        report = protect_dataset(
            tmp_path / "clean", safe, key, profile="veil", out_format=out_format
        )
        assert report.failed == 2
        assert all("class" in error.message for error in report.failures.values())
        assert found_in(safe, picture) == []


def with_classes(root: Path, scenes, out_format: str, names: list[str]) -> None:
    """Write a dataset of images of these classes, that can come out in a format."""
    root.mkdir()
    count = len(scenes)
    classes = [names[n % len(names)] for n in range(count)]
    if out_format == "numpy":
        np.savez(root / "x.npz", images=scenes, labels=np.array(classes))
    elif out_format == "cifar":
        planes = scenes.transpose(0, 3, 1, 2).reshape(count, -1)
        labels = [names.index(name) for name in classes]
        (root / "batches.meta").write_bytes(pickle.dumps({b"label_names": names}))
        (root / "data_batch_1").write_bytes(pickle.dumps({b"data": planes, b"labels": labels}))
    else:
        for n, file in enumerate(encode_images(scenes)):
            (root / f"{n}.png").write_bytes(file)
        rows = [{"file_name": f"{n}.png", "label": name} for n, name in enumerate(classes)]
        (root / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.mark.parametrize("out_format", OUTPUT_FORMATS)
def test_a_class_that_was_refused_is_named_nowhere(tmp_path, scenes, key, picture, out_format):
    coded = base64.b64encode(encode_image(picture)).decode()
    with_classes(tmp_path / "clean", scenes, out_format, ["cat", "dog", coded])
    report = protected(tmp_path / "clean", tmp_path, key, out_format=out_format)
    assert report.left_out or report.failed
    assert found_in(tmp_path / "safe", picture) == []


@pytest.mark.parametrize("out_format", ["folder", "webdataset", "parquet"])
def test_classes_of_images_that_are_not_wanted_are_named_nowhere(
    tmp_path, scenes, key, picture, out_format
):
    coded = base64.b64encode(encode_image(picture)).decode()
    with_classes(tmp_path / "clean", scenes, out_format, ["cat", "dog", coded, "Cecil the lion"])
    given = {"out_format": out_format, "selection": Selection(exclude=("[2367].png",))}
    report = protected(tmp_path / "clean", tmp_path, key, **given)
    assert (report.done, report.failed) == (4, 0)
    assert found_in(tmp_path / "safe", picture) == []
    files = [path.read_bytes() for path in (tmp_path / "safe").rglob("*") if path.is_file()]
    assert not any(b"Cecil" in data for data in files)


@pytest.mark.parametrize("out_format", ["webdataset", "parquet"])
def test_classes_that_are_too_much_together_are_told_by_each_image(
    tmp_path, scenes, key, out_format
):
    names = [" ".join([f"n{n}" * 12] * 4) for n in range(1000, 1008)]
    with_classes(tmp_path / "clean", scenes, out_format, names)
    report = protected(tmp_path / "clean", tmp_path, key, out_format=out_format)
    assert (report.done, report.failed) == (8, 0)
    assert b"ClassLabel" not in b"".join(p.read_bytes() for p in (tmp_path / "safe").iterdir())
    assert [name for _, name, _ in open_source(tmp_path / "safe").read()] == names


def parquet_columns(picture, count: int) -> dict[str, pa.Array]:
    png = encode_image(picture)
    pixels, rows = picture.reshape(-1).tolist(), picture[..., 0].tolist()
    crop = {"bytes": png, "path": None}
    coded = base64.b64encode(png).decode()
    short = [coded[start : start + 50] for start in range(0, len(coded), 50)]
    columns = {
        "crops": pa.array([[crop]] * count),
        "thumbnail": pa.array([png] * count, pa.binary()),
        "large": pa.array([png] * count, pa.large_binary()),
        "deep": pa.array([{"a": {"b": [png]}}] * count),
        "fixed": pa.array([png[:200]] * count, pa.binary(200)),
        "once": pa.array([png] * count).dictionary_encode(),
        "target": pa.array([png] * count, pa.binary()),
        "coded": pa.array([coded] * count),
        "pieces": pa.array([short] * count),
        "pixels": pa.array([pixels] * count, pa.list_(pa.uint8())),
        "floats": pa.array([[v / 255 for v in pixels]] * count),
        "rows": pa.array([rows] * count),
        "objects": pa.array([[{"v": v} for v in pixels]] * count),
        "inner": pa.array([json.dumps({"pixels": pixels})] * count),
        "map": pa.array([[("k", png)]] * count, pa.map_(pa.string(), pa.binary())),
    }
    return columns | {f"p{n}": pa.array([v] * count) for n, v in enumerate(pixels[:100])}


@pytest.mark.parametrize("out_format", ["parquet", "folder", "webdataset"])
def test_parquet(tmp_path, scenes, key, picture, out_format):
    count = len(scenes)
    own = {
        "image": pa.array([{"bytes": file, "path": None} for file in encode_images(scenes)]),
        "label": pa.array([n % 2 for n in range(count)]),
        "note": pa.array([f"number {n}" for n in range(count)]),
        "boxes": pa.array([[[1.0, 2.0, 3.0, 4.0]] * 3] * count),
    }
    hidden = parquet_columns(picture, count)
    given = {b"huggingface": b"{}", b"pandas": encode_image(picture), b"x": picture.tobytes()}
    (tmp_path / "clean").mkdir()
    table = pa.table(own | hidden).replace_schema_metadata(given)
    pq.write_table(table, tmp_path / "clean" / "x.parquet", compression="none")
    assert found_in(tmp_path / "clean", picture)
    report = protected(tmp_path / "clean", tmp_path, key, out_format=out_format)
    assert (report.done, report.failed) == (8, 0)
    assert found_in(tmp_path / "safe", picture) == []
    if out_format == "parquet":
        safe = pq.read_table(tmp_path / "safe" / "x.parquet")
        assert safe["note"].to_pylist() == own["note"].to_pylist()
        assert safe["boxes"].to_pylist() == own["boxes"].to_pylist()
        assert {"crops", "thumbnail", "pixels", "p0", "once"} <= report.left_out.keys()
        assert {"crops", "thumbnail", "large", "deep", "map", "target"}.isdisjoint(
            safe.column_names
        )
        named = protect_dataset(
            tmp_path / "clean", tmp_path / "two", key, profile="veil", publish=("crops",)
        )
        assert "crops" not in named.left_out
        two = pq.read_table(tmp_path / "two" / "x.parquet")
        assert two["crops"].to_pylist() == table["crops"].to_pylist()
    assert restore_dataset(tmp_path / "safe", tmp_path / "back", key).done == 8


def test_parquet_numbers_of_other_types(tmp_path, scenes, key, picture):
    count, gray = len(scenes), picture[..., 0].reshape(-1).tolist()
    decimals = [Decimal(v) for v in gray]
    columns = {
        "image": pa.array([{"bytes": file, "path": None} for file in encode_images(scenes)]),
        "label": pa.array([n % 2 for n in range(count)]),
        "decimals": pa.array([decimals] * count),
        "dates": pa.array([[date(1970, 1, 1) + timedelta(v) for v in gray]] * count),
        **{f"d{n}": pa.array([v] * count) for n, v in enumerate(decimals)},
    }
    (tmp_path / "clean").mkdir()
    pq.write_table(pa.table(columns), tmp_path / "clean" / "x.parquet")
    report = protected(tmp_path / "clean", tmp_path, key)
    safe = pq.read_table(tmp_path / "safe" / "x.parquet")
    assert safe.column_names == ["image", "label", "decimals", "dates"]
    assert safe["decimals"].null_count == safe["dates"].null_count == count
    assert len(report.left_out) == 2 + len(gray)


def test_one_of_several_columns_of_images_is_named_image(tmp_path, scenes, key, picture):
    images = [{"bytes": file, "path": None} for file in encode_images(scenes)]
    thumbs = [{"bytes": encode_image(picture), "path": None}] * len(scenes)
    long = base64.b64encode(encode_image(picture)).decode()
    columns = {"thumbnail": pa.array(thumbs), "image": pa.array(images), long: pa.array([1] * 8)}
    strings = {f"s{n}": pa.array([str(v)] * 8) for n, v in enumerate(picture[..., 0].reshape(-1))}
    (tmp_path / "clean").mkdir()
    pq.write_table(pa.table(columns | strings), tmp_path / "clean" / "x.parquet")
    report = protected(tmp_path / "clean", tmp_path, key)
    assert (report.done, report.failed) == (8, 0)
    assert {"thumbnail", long, "s0", "s255"} <= report.left_out.keys()
    assert pq.read_table(tmp_path / "safe" / "x.parquet").column_names == ["image"]


def test_columns_of_one_name_are_refused(tmp_path, scenes, key):
    arrays = [pa.array(encode_images(scenes)), pa.array([1] * 8), pa.array([2] * 8)]
    (tmp_path / "clean").mkdir()
    table = pa.Table.from_arrays(arrays, ["image", "a", "a"])
    pq.write_table(table, tmp_path / "clean" / "x.parquet")
    report = protected(tmp_path / "clean", tmp_path, key)
    assert "more than one column named 'a'" in report.failures["x.parquet"].message


def test_paths_and_types_of_parquet_hold_no_picture(tmp_path, scenes, key, picture):
    uri = "data:image/png;base64," + base64.b64encode(encode_image(picture)).decode()
    images = [{"bytes": file, "path": uri} for file in encode_images(scenes)]
    box = pa.field("x", pa.int64(), metadata={"note": encode_image(picture)})
    boxes = pa.array([{"x": n} for n in range(len(scenes))], pa.struct([box]))
    (tmp_path / "clean").mkdir()
    table = pa.table({"image": pa.array(images), "box": boxes})
    pq.write_table(table, tmp_path / "clean" / "x.parquet", compression="none")
    assert found_in(tmp_path / "clean", picture)
    report = protected(tmp_path / "clean", tmp_path, key)
    assert found_in(tmp_path / "safe", picture) == []
    assert report.left_out.keys() == {"path", "note"}
    safe = pq.read_table(tmp_path / "safe" / "x.parquet")
    assert safe["box"].to_pylist() == table["box"].to_pylist()


MANY_TAGS = [(f"tag {n}", 37 * n) for n in range(64)]  # the key counts from 0
TAGS = pa.map_(pa.string(), pa.int32())
MANY_TEXTS = [(f"key {n}", "ok") for n in range(5)]
MAPS = {
    "map": (TAGS, MANY_TAGS),
    "of texts": (pa.map_(pa.string(), pa.string()), [*MANY_TEXTS, ("url", "x" * 300)]),
    "long key": (TAGS, [("x" * 300, 1), ("a", 2), ("b", 3), ("c", 4)]),
    "in a list": (pa.list_(TAGS), [MANY_TAGS, [("a", 1)]]),
    "in a list view": (pa.list_view(TAGS), [MANY_TAGS, [("a", 1)]]),
    "in a struct": (pa.struct({"tags": TAGS, "n": pa.int32()}), {"tags": MANY_TAGS, "n": 1}),
    "in a map": (pa.map_(pa.string(), TAGS), [("a", MANY_TAGS), ("b", [("c", 1)])]),
}


@pytest.mark.parametrize("beside", ["images", "table"])
@pytest.mark.parametrize("name", MAPS)
def test_maps_lose_the_entries_that_are_too_much(tmp_path, scenes, key, beside, name):
    """A null in their place would have Arrow end the process."""
    kind, value = MAPS[name]
    files = encode_images(scenes)
    told = {"tags": pa.array([value] * len(scenes), kind)}
    (tmp_path / "clean").mkdir()
    if beside == "images":
        path, told = tmp_path / "clean" / "x.parquet", {"image": pa.array(files), **told}
    else:
        path = tmp_path / "clean" / "metadata.parquet"
        told = {"file_name": [f"{n}.png" for n in range(len(files))], **told}
        for n, file in enumerate(files):
            (tmp_path / "clean" / f"{n}.png").write_bytes(file)
    pq.write_table(pa.table(told), path)
    report = protected(tmp_path / "clean", tmp_path, key)
    assert (report.done, report.failed) == (8, 0)
    assert report.left_out
    safe = pq.read_table(tmp_path / "safe" / path.name)
    safe.validate(full=True)
    assert all(len(str(each)) < len(str(value)) for each in safe["tags"].to_pylist())


def told_of(kind: pa.DataType, told: dict[str, bytes]) -> dict[str, tuple[pa.DataType, object]]:
    """Return types with a field of `kind` that says something of itself, and a value of each."""
    field = pa.field("element", kind, metadata=told)
    return {
        "list": (pa.list_(field), [1]),
        "large_list": (pa.large_list(field), [1]),
        "list_view": (pa.list_view(field), [1]),
        "large_list_view": (pa.large_list_view(field), [1]),
        "fixed": (pa.list_(field, 1), [1]),
        "struct": (pa.struct([field]), {"element": 1}),
        "map": (pa.map_(pa.string(), field), [("x", 1)]),
        "deep": (pa.list_(pa.struct([pa.field("a", pa.list_view(field))])), [{"a": [1]}]),
        "in_map": (pa.map_(pa.string(), pa.list_view(field)), [("x", [1])]),
    }


def test_no_type_of_parquet_says_anything_of_its_fields(tmp_path, scenes, key, picture):
    columns = told_of(pa.int32(), {"preview": encode_image(picture)})
    given = {name: pa.array([value] * 8, kind) for name, (kind, value) in columns.items()}
    table = pa.table({"image": pa.array(encode_images(scenes)), **given})
    (tmp_path / "clean").mkdir()
    pq.write_table(table, tmp_path / "clean" / "x.parquet", compression="none")
    report = protected(tmp_path / "clean", tmp_path, key)
    assert (report.done, list(report.left_out)) == (8, ["preview"])
    safe = pq.read_table(tmp_path / "safe" / "x.parquet")
    assert [field for field in safe.schema if says_something(field)] == []
    assert safe.drop_columns("image").to_pylist() == table.drop_columns("image").to_pylist()


def says_something(field: pa.Field) -> bool:
    inner = (field.type.field(n) for n in range(field.type.num_fields))
    return bool(field.metadata) or any(map(says_something, inner))


@pytest.mark.parametrize(
    "kind",
    [
        pa.run_end_encoded(pa.int32(), pa.int32()),
        pa.sparse_union([pa.field("a", pa.int32(), metadata={"a": "b"})]),
        pa.list_(pa.dense_union([pa.field("a", pa.int32())])),
        pa.fixed_shape_tensor(pa.int32(), [2]),
    ],
)
def test_nested_types_that_are_not_known_are_left_out(kind):
    assert reason_against(kind)


def test_tables_whose_row_numbers_look_like_images(tmp_path, scenes, key, picture):
    """As pandas writes them: the first column counts the rows."""
    for n, file in enumerate(encode_images(np.concatenate([scenes] * 3))):
        path = tmp_path / "clean" / "ab"[n % 2] / f"{n}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file)
    rows = picture.reshape(16, -1).tolist()
    header = "," + ",".join(map(str, range(len(rows[0]))))
    lines = [f"{n}," + ",".join(map(str, row)) for n, row in enumerate(rows)]
    (tmp_path / "clean" / "table.csv").write_text("\n".join([header, *lines]))
    by_column = {str(x): {str(y): v for y, v in enumerate(row)} for x, row in enumerate(rows)}
    (tmp_path / "clean" / "table.json").write_text(json.dumps(by_column))
    (tmp_path / "clean" / "labels.csv").write_text("".join(f"{n},{n % 2}\n" for n in range(24)))
    report = protected(tmp_path / "clean", tmp_path, key)
    assert found_in(tmp_path / "safe", picture) == []
    assert "*.csv" in report.left_out
    assert (tmp_path / "safe" / "labels.csv").exists()


def test_drawings_of_signs_are_no_prose(tree, tmp_path, key):
    lines = ["".join(" .:!*#"[(x * y) % 6] for x in range(64)) for y in range(64)]
    for name in ("README.md", "a/image0.txt"):
        (tree / name).write_text("\n".join(lines))
    report = protected(tree, tmp_path, key)
    assert report.left_out.keys() == {"*.md", "*.txt"}


def test_npz(tmp_path, scenes, key, picture):
    count = len(scenes)
    arrays = {
        "images": scenes,
        "labels": np.arange(count) % 2,
        "boxes": np.ones((count, 4)),
        "float_images": np.repeat(picture[None].astype(np.float32) / 255, count, axis=0),
        "channels_first": np.repeat(picture.transpose(2, 0, 1)[None], count, axis=0),
        "flat": np.repeat(picture.reshape(1, -1), count, axis=0),
        "one": picture,
        "whole": picture.reshape(-1),
        "coded": np.array([base64.b64encode(encode_image(picture)).decode()] * count),
        "raw": np.array([encode_image(picture)] * count),
        "void": np.frombuffer(picture.tobytes(), "V768"),
        "bytes": np.array([bytes(picture[..., 0].reshape(-1))[:200]] * count, "S200"),
        **{f"row{n}": np.repeat(picture[n, None, :, 0], count, axis=0) for n in range(16)},
        "complex": np.repeat(picture[None, :, 0, 0].astype(complex), count, axis=0),
    }
    (tmp_path / "clean").mkdir()
    np.savez(tmp_path / "clean" / "x.npz", **arrays)
    report = protected(tmp_path / "clean", tmp_path, key)
    assert report.done == count
    assert found_in(tmp_path / "safe", picture) == []
    with np.load(tmp_path / "safe" / "x.npz") as safe:
        names = {name for name in safe.files if not name.startswith("dsguard-sidecar")}
        assert names == {"images", "labels", "boxes"}
    assert report.left_out.keys() == arrays.keys() - names


@pytest.mark.parametrize("kind", ["numpy", "cifar", "parquet", "webdataset"])
def test_every_folder_names_what_lies_beside_its_files(tmp_path, scenes, key, picture, kind):
    root = tmp_path / "clean"
    root.mkdir()
    if kind == "numpy":
        np.save(root / "images.npy", scenes)
    elif kind == "cifar":
        (root / "batches.meta").write_bytes(pickle.dumps({b"label_names": [b"cat", b"dog"]}))
        planes = scenes.transpose(0, 3, 1, 2).reshape(len(scenes), -1)
        batch = {b"data": planes, b"labels": [n % 2 for n in range(len(scenes))]}
        (root / "data_batch_1").write_bytes(pickle.dumps(batch))
    elif kind == "parquet":
        pq.write_table(pa.table({"image": pa.array(encode_images(scenes))}), root / "x.parquet")
    else:
        shard(root / "x.tar", scenes, {})
    (root / "README.md").write_text("Some cats.\n")
    (root / "raw.jpg").write_bytes(as_jpeg(picture))
    (root / "table.csv").write_bytes(hidden_in_text(picture)["one.csv"])
    for out in ("auto", "folder"):
        report = protect_dataset(
            open_source(root, kind), tmp_path / out, key, profile="veil", out_format=out
        )
        assert {each.first for each in report.left_out.values()} == {"raw.jpg", "table.csv"}
        assert (tmp_path / out / "README.md").read_text() == "Some cats.\n"
        assert found_in(tmp_path / out, picture) == []
        assert not report.foreign


def test_arrays_beside_arrays(tmp_path, scenes, key, picture):
    (tmp_path / "clean").mkdir()
    np.save(tmp_path / "clean" / "images.npy", scenes)
    labels = as_npy(np.arange(len(scenes)) % 2)
    (tmp_path / "clean" / "labels.npy").write_bytes(labels + encode_image(picture))
    report = protected(tmp_path / "clean", tmp_path, key)
    assert report.done == len(scenes)
    assert (tmp_path / "safe" / "labels.npy").read_bytes() == labels
    np.save(tmp_path / "clean" / "labels.npy", np.repeat(picture.reshape(1, -1), 8, axis=0))
    report = protect_dataset(tmp_path / "clean", tmp_path / "two", key, profile="veil")
    assert found_in(tmp_path / "two", picture) == []


def test_cifar(tmp_path, scenes, key, picture):
    root = tmp_path / "clean"
    root.mkdir()
    mean = np.repeat(picture.reshape(1, -1), 3, axis=0)
    hidden = {
        b"mean": mean,
        b"names": [b"cat", b"dog"],
        b"picture": encode_image(picture).hex().encode(),
    }
    meta = {b"label_names": [b"cat", b"dog"], **hidden}
    (root / "batches.meta").write_bytes(pickle.dumps(meta) + encode_image(picture))
    planes = scenes.transpose(0, 3, 1, 2).reshape(len(scenes), -1)
    batch = {
        b"data": planes,
        b"labels": [n % 2 for n in range(len(scenes))],
        b"filenames": [b"%d.png" % n for n in range(len(scenes))],
        b"batch_label": b"training batch 1 of 5",
        b"copy": np.repeat(picture.reshape(1, -1), len(scenes), axis=0),
        b"raw": encode_image(picture),
        b"list": [picture.reshape(-1).tolist()] * len(scenes),
        b"arrays": [picture.reshape(-1)] * len(scenes),
        b"deep": {"a": [{"b": picture.reshape(-1)}]},
        b"coded": [base64.b64encode(encode_image(picture))] * len(scenes),
    }
    (root / "data_batch_1").write_bytes(pickle.dumps(batch) + encode_image(picture))
    report = protected(root, tmp_path, key)
    assert report.done == len(scenes)
    assert found_in(tmp_path / "safe", picture) == []
    assert {"picture", "copy", "raw", "list", "coded", "arrays", "b"} <= report.left_out.keys()
    safe = pickle.loads((tmp_path / "safe" / "data_batch_1").read_bytes())
    assert safe[b"filenames"] == batch[b"filenames"]
    assert safe[b"batch_label"] == batch[b"batch_label"]


def test_keys_of_cifar_share_the_allowance_of_an_image(tmp_path, scenes, key, picture):
    (tmp_path / "clean").mkdir()
    planes = scenes.transpose(0, 3, 1, 2).reshape(len(scenes), -1)
    rows = {b"row%02d" % y: [row] * 8 for y, row in enumerate(picture[..., 0].tolist())}
    batch = {b"data": planes, b"labels": [n % 2 for n in range(8)], **rows}
    (tmp_path / "clean" / "data_batch_1").write_bytes(pickle.dumps(batch))
    coded = base64.b64encode(encode_image(picture)).decode()
    pieces = [coded[start : start + 60] for start in range(0, len(coded), 60)]
    meta = {b"label_names": [b"cat", b"dog"], b"sample_images": pieces}
    (tmp_path / "clean" / "batches.meta").write_bytes(pickle.dumps(meta))
    report = protected(tmp_path / "clean", tmp_path, key)
    assert report.done == 8
    assert "sample_images" in report.left_out
    safe = pickle.loads((tmp_path / "safe" / "data_batch_1").read_bytes())
    for image in range(8):
        values = [safe[name][image] for name in rows if name in safe]
        assert sum(value is not None for value in values) <= 63 // 16
    meta = pickle.loads((tmp_path / "safe" / "batches.meta").read_bytes())
    assert meta[b"label_names"] == [b"cat", b"dog"]
    assert not meta.get(b"sample_images")


def test_image_files_bring_nothing_but_pixels(tree, tmp_path, key, picture):
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text("preview", base64.b64encode(encode_image(picture)).decode())
    clean = Image.open(tree / "a" / "image0.png")
    clean.save(tree / "a" / "image0.png", pnginfo=info)
    data = (tree / "a" / "image2.png").read_bytes()
    (tree / "a" / "image2.png").write_bytes(data + encode_image(picture))
    protected(tree, tmp_path, key)
    assert found_in(tmp_path / "safe", picture) == []


def test_the_command_line_names_it_and_ends_with_its_own_code(
    tree, tmp_path, key, picture, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    key.save("k")
    (tree / "a" / "scan.avif").write_bytes(encode_image(picture))
    (tree / "noted").write_bytes(encode_image(picture))
    (tree / "pixels.csv").write_bytes(hidden_in_text(picture)["one.csv"])
    command = ["protect", "clean", "safe", "--key", "k", "--profile", "veil", "--quiet"]
    assert cli([*command, "--json"]) == Exit.LEFT_OUT
    out, err = capsys.readouterr()
    told = json.loads(out)["left_out"]
    assert told["*.avif"]["first"] == "a/scan.avif"
    assert told["noted"]["reason"].startswith("is not read as an image")
    assert "768 numbers" in told["*.csv"]["reason"]
    for name in ("a/scan.avif", "noted", "pixels.csv"):
        assert name in err
    assert "--publish '*.csv'" in err
    decided = ["--drop", "*.avif", "--drop", "noted", "--publish", "pixels.csv"]
    assert cli([*command, *decided]) == Exit.OK
    assert (tmp_path / "safe" / "pixels.csv").exists()
    assert capsys.readouterr().err == ""
    assert cli(command) == Exit.LEFT_OUT
    assert not (tmp_path / "safe" / "pixels.csv").exists(), "it is published no more"
    assert cli(["restore", "safe", "back", "--key", "k", "--quiet"]) == Exit.OK


def test_shards_done_before_are_told_of_again(tmp_path, scenes, key, picture):
    (tmp_path / "clean").mkdir()
    shard(tmp_path / "clean" / "x.tar", scenes, {1: {"npy": as_npy(picture)}})
    first = protected(tmp_path / "clean", tmp_path, key)
    again = protected(tmp_path / "clean", tmp_path, key)
    assert again.resumed == 1
    assert first.left_out == again.left_out != {}
    named = protected(tmp_path / "clean", tmp_path, key, publish=("*.npy",))
    assert (named.resumed, named.left_out) == (0, {})
    with tarfile.open(tmp_path / "safe" / "x.tar") as archive:
        assert "0001.npy" in archive.getnames()


def test_text_of_no_image_goes_when_it_is_published_no_more(tmp_path, scenes, key, picture):
    coded = base64.b64encode(encode_image(picture))
    (tmp_path / "clean").mkdir()
    shard(tmp_path / "clean" / "x.tar", scenes, {-1: {"txt": coded}})
    options = {"out_format": "folder"}
    protected(tmp_path / "clean", tmp_path, key, publish=("*.txt",), **options)
    assert found_in(tmp_path / "safe", picture) == ["x/nobody.txt"]
    report = protected(tmp_path / "clean", tmp_path, key, drop=("*.txt",), **options)
    assert found_in(tmp_path / "safe", picture) == []
    assert not report.foreign


def test_what_was_copied_before_a_run_was_killed_goes(tree, tmp_path, key, picture, monkeypatch):
    for name in ("a.csv", "b.csv"):
        (tree / name).write_bytes(hidden_in_text(picture)["one.csv"])
    write = LocalPlace.write

    def killed(place, name, data):
        write(place, name, data)
        if name == "a.csv":
            raise KeyboardInterrupt

    monkeypatch.setattr(LocalPlace, "write", killed)
    with pytest.raises(KeyboardInterrupt):
        protected(tree, tmp_path, key, publish=("*.csv",))
    monkeypatch.undo()
    assert found_in(tmp_path / "safe", picture) == ["a.csv"]
    report = protected(tree, tmp_path, key, drop=("*.csv",))
    assert found_in(tmp_path / "safe", picture) == []
    assert not report.foreign


@pytest.mark.parametrize("out_format", ["webdataset", "parquet"])
def test_shards_change_with_the_text_beside_images(tree, tmp_path, key, picture, out_format):
    text = tree / "a" / "image0.note.txt"
    text.write_bytes(base64.b64encode(encode_image(picture)))
    options = {"out_format": out_format}
    protected(tree, tmp_path, key, publish=("*.txt",), **options)
    assert found_in(tmp_path / "safe", picture)
    text.write_text("a cat")
    assert protected(tree, tmp_path, key, publish=("*.txt",), **options).resumed == 0
    assert found_in(tmp_path / "safe", picture) == []
    text.unlink()
    assert protected(tree, tmp_path, key, publish=("*.txt",), **options).resumed == 0


@pytest.mark.parametrize("out_format", ["folder", "webdataset", "parquet"])
def test_files_that_no_run_has_written_are_named(
    tree, tmp_path, key, out_format, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    key.save("k")
    command = ["protect", "clean", "safe", "--key", "k", "--profile", "veil", "--quiet", "--json"]
    command += ["--out-format", out_format]
    (tmp_path / "safe" / "a").mkdir(parents=True)
    (tmp_path / "safe" / "a" / "image0.jpg").write_bytes((tree / "a" / "image0.png").read_bytes())
    assert cli([*command, "--overwrite"]) == Exit.LEFT_OUT
    out, err = capsys.readouterr()
    assert [Path(path).name for path in json.loads(out)["foreign"]] == ["image0.jpg"]
    assert "image0.jpg: lies in the destination" in err
    (tmp_path / "safe" / "a" / "image0.jpg").unlink()
    (tmp_path / "safe" / "photos").symlink_to(tree / "a")
    assert cli(command) == Exit.LEFT_OUT
    assert json.loads(capsys.readouterr().out)["foreign"] == ["safe/photos/"]
    (tmp_path / "safe" / "photos").unlink()
    assert cli(command) == Exit.OK
    assert json.loads(capsys.readouterr().out)["foreign"] == []


def test_patterns_are_tuples():
    with pytest.raises(InputError, match="tuples of patterns"):
        Settings(publish="*.json")


@pytest.mark.parametrize("suffix", ["jsonl", "parquet", "csv"])
def test_names_of_images_are_no_code(tmp_path, scenes, key, suffix):
    names = [f"n01855672/n01855672_{n}.JPEG" for n in (0, 1, 7, 10)]
    (tmp_path / "clean" / "n01855672").mkdir(parents=True)
    for name, scene in zip(names, scenes, strict=False):
        (tmp_path / "clean" / name).write_bytes(as_jpeg(scene))
    rows = [{"file_name": name, "text": "a goose"} for name in names]
    table = tmp_path / "clean" / f"metadata.{suffix}"
    if suffix == "jsonl":
        table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif suffix == "csv":
        table.write_text("file_name,text\n" + "".join(f"{name},a goose\n" for name in names))
    else:
        pq.write_table(pa.Table.from_pylist(rows), table)
    (tmp_path / "clean" / "split.json").write_text(json.dumps({"train": names * 20}))
    report = protected(tmp_path / "clean", tmp_path, key, keep="pixels")
    assert (report.done, report.left_out) == (4, {})
    renamed = [name.replace("JPEG", "png") for name in names]
    if suffix == "jsonl":
        lines = (tmp_path / "safe" / table.name).read_text().splitlines()
        assert [json.loads(line)["file_name"] for line in lines] == renamed
    elif suffix == "parquet":
        safe = pq.read_table(tmp_path / "safe" / table.name)
        assert safe.column("file_name").to_pylist() == renamed
    assert len(json.loads((tmp_path / "safe" / "split.json").read_text())["train"]) == 80


def test_long_numbers_of_json_stay_numbers():
    """In a file that is written anew, since something in it is dropped or left out."""
    digits = "0." + "3" * 40
    data = f'{{"a": {10**40}, "b": {digits}, "c": 1}}'.encode()
    review = Review(Disclosure(drop=("c",)))
    assert json.loads(review.drops.without_dropped("x.json", data)) == {
        "a": 10**40,
        "b": float(digits),
    }
    kept = json.loads(review.file("x.json", data))
    assert kept == {"a": None, "b": float(digits)}
    assert [each.reason for each in review.account.left_out.values()] == [
        "is a number of more than 64 bits"
    ]


def test_long_texts_are_not_looked_through_for_names(monkeypatch):
    looked = []
    monkeypatch.setattr(named_images, "numbers_in", lambda text: looked.append(text) or 0)
    images = named_images.NamedImages(["a/0.png"])
    assert images.is_name("a/0.png")
    assert looked == ["a/0.png"]
    assert not images.is_name("ab " * (5 << 20))
    assert looked == ["a/0.png"]


def test_half_a_sign_is_escaped_in_json_that_is_written_anew():
    """UTF-8 does not have it: the file could not be read any more."""
    given = rb'{"v": "\ud800 \u00e9 \ud83d\ude00", "imageData": "' + b"A1b2" * 200 + b'"}'
    kept = Review(Disclosure()).file("a.json", given)
    assert json.loads(kept.decode("utf-8")) == {**json.loads(given), "imageData": None}
