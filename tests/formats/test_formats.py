"""Every format there and back: labels, names and other fields kept, open to its own readers."""

from __future__ import annotations

import bz2
import gc
import gzip
import io
import json
import lzma
import os
import pickle
import tarfile
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import dsguard
from dsguard.bulk import Selection, protect_dataset, restore_dataset, verify_dataset
from dsguard.formats import decode_image, encode_image, encode_images, open_source
from dsguard.formats.tar import END, members, packed
from dsguard.formats.webdataset.reader import sample_of

CLASSES = ["cat", "dog"]


@pytest.fixture(params=["made", "real"])
def images(request, scenes):
    """A dozen images, made here and real ones; the last is noise, which needs a sidecar."""
    some = scenes if request.param == "made" else request.getfixturevalue("cifar")[0][::17]
    noise = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3), dtype=np.uint8)
    return np.concatenate([some, noise])


def label(n: int) -> int:
    return n % 2


def there_and_back(source, tmp_path, key, **settings):
    """Protect with a veil and restore; return the two destinations."""
    protected = protect_dataset(
        source, tmp_path / "safe", key, profile="veil", epsilon=40, **settings
    )
    assert not protected.failures
    assert protected.sidecars >= 1
    checked = verify_dataset(tmp_path / "safe", key)
    assert (checked.done, checked.failed) == (protected.done, 0)
    restored = restore_dataset(tmp_path / "safe", tmp_path / "back", key)
    assert not restored.failures
    assert restored.done == protected.done
    return tmp_path / "safe", tmp_path / "back"


def test_folder(tmp_path, images, key):
    for n, image in enumerate(images):
        path = tmp_path / "clean" / "train" / CLASSES[label(n)] / f"{n}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_image(image))
    (tmp_path / "clean" / "labels.csv").write_text("0,cat\n")
    (tmp_path / "clean" / "clean.zip").write_bytes(b"would give all away")
    safe, back = there_and_back(tmp_path / "clean", tmp_path, key)
    for n, image in enumerate(images):
        name = f"train/{CLASSES[label(n)]}/{n}.png"
        np.testing.assert_array_equal(decode_image((back / name).read_bytes()), image)
        shown = decode_image((safe / name).read_bytes())
        assert (shown != image).any()
    assert (back / "labels.csv").read_text() == "0,cat\n"
    assert not (safe / "clean.zip").exists()
    assert open_source(tmp_path / "clean").left_out() == ["clean.zip"]


def test_parquet(tmp_path, images, key):
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        {
            "image": datasets.Image(),
            "label": datasets.ClassLabel(names=CLASSES),
            "note": datasets.Value("string"),
        }
    )
    rows = {
        "image": [
            {"bytes": encode_image(image), "path": f"{n}.bmp"} for n, image in enumerate(images)
        ],
        "label": [label(n) for n in range(len(images))],
        "note": [f"number {n}" for n in range(len(images))],
    }
    (tmp_path / "clean").mkdir()
    clean = datasets.Dataset.from_dict(rows, features=features)
    clean.to_parquet(tmp_path / "clean" / "train-00000-of-00001.parquet")
    names = open_source(tmp_path / "clean").names()
    assert "train-00000-of-00001/dog/0000001.png" in names
    safe, back = there_and_back(tmp_path / "clean", tmp_path, key, shard_size=3)
    for folder in (safe, back):
        files = sorted(str(path) for path in folder.glob("*.parquet"))
        found = datasets.load_dataset(
            "parquet", data_files=files, cache_dir=str(tmp_path / "cache"), split="train"
        )
        assert found.features == features
        assert found["note"][:] == rows["note"]
        assert found["label"][:] == rows["label"]
        same = [(np.asarray(a) == b).all() for a, b in zip(found["image"][:], images, strict=True)]
        assert all(same) if folder == back else not any(same)
    raw = pq.read_table(sorted(safe.glob("*.parquet"))[0])
    assert raw.column("image").chunk(0).field("path").to_pylist()[0] == "0.png"
    given = pq.read_schema(next((tmp_path / "clean").glob("*")))
    assert raw.schema.metadata[b"huggingface"] == given.metadata[b"huggingface"]


@pytest.mark.parametrize("is_done", [False, True])
def test_parts_that_an_earlier_version_has_named_stay(tmp_path, scenes, key, monkeypatch, is_done):
    """The first part of a file was called as the file, and sorted behind all others."""

    def earlier(cls, part, number):
        del number
        stem = part.file.removesuffix(".parquet")
        return f"{stem}-{part.start:05d}{cls.suffix}" if part.start else part.file

    files = encode_images(np.concatenate([scenes, scenes]))
    if not is_done:
        files[0] = files[0][:60]
    columns = {"image": pa.array(files, pa.binary()), "mask": [b"x" * 300] * 16}
    pq.write_table(pa.table(columns), tmp_path / "data.parquet", row_group_size=4)
    options = {"shard_size": 6, "keep": "pixels"} if not is_done else {"shard_size": 6}
    with monkeypatch.context() as patch:
        patch.setattr("dsguard.formats.parquet.writer.ParquetSink.file_of", classmethod(earlier))
        protect_dataset(tmp_path / "data.parquet", tmp_path / "safe", key, **options)
    report = protect_dataset(tmp_path / "data.parquet", tmp_path / "safe", key, **options)
    assert (report.resumed, report.foreign) == (1 + is_done, [])
    first = "data.parquet" if is_done else "data-00000.parquet"
    found = {path.name for path in (tmp_path / "safe").iterdir() if path.suffix == ".parquet"}
    assert found == {first, "data-00002.parquet"}
    report = verify_dataset(tmp_path / "safe", key)
    assert (report.failed, report.lost, report.done) == (0, 0, 15 + is_done)
    if is_done:
        restored = restore_dataset(tmp_path / "safe", tmp_path / "back", key)
        assert (restored.failed, restored.sealed_fields) == (0, 16)


def test_parquet_is_cut_at_row_groups(tmp_path, scenes, key):
    files = encode_images(np.concatenate([scenes, scenes]))
    table = pa.table({"image": pa.array(files, pa.binary()), "y": [0, 1] * len(scenes)})
    pq.write_table(table, tmp_path / "data.parquet", row_group_size=4)
    report = protect_dataset(
        tmp_path / "data.parquet", tmp_path / "safe", key, profile="veil", shard_size=6
    )
    assert (report.shards, report.done) == (2, 16)
    assert sorted(path.name for path in (tmp_path / "safe").iterdir()) == [
        "data-00000.parquet",
        "data-00002.parquet",
    ]
    restore_dataset(tmp_path / "safe", tmp_path / "back", key)
    back = [pq.read_table(tmp_path / "back" / f"data-{cut}.parquet") for cut in ("00000", "00002")]
    found = [decode_image(data) for part in back for data in part["image"].to_pylist()]
    np.testing.assert_array_equal(found, np.concatenate([scenes, scenes]))
    assert [value for part in back for value in part["y"].to_pylist()] == [0, 1] * len(scenes)


def webdataset_shard(path, images, start=0, names="{:04d}") -> None:
    with tarfile.open(path, "w") as archive:
        for n, image in enumerate(images, start):
            key = names.format(n)
            for suffix, data in (
                ("cls", str(label(n)).encode()),
                ("png", encode_image(image)),
                ("json", json.dumps({"number": n}).encode()),
            ):
                member = tarfile.TarInfo(f"{key}.{suffix}")
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # its files
def test_webdataset(tmp_path, images, key):
    webdataset = pytest.importorskip("webdataset")
    (tmp_path / "clean").mkdir()
    half = len(images) // 2
    long = "x" * 120 + "/é{:04d}"  # needs extended headers
    webdataset_shard(tmp_path / "clean" / "a-000000.tar", images[:half])
    webdataset_shard(tmp_path / "clean" / "a-000001.tar", images[half:], half, long)
    safe, back = there_and_back(tmp_path / "clean", tmp_path, key)
    for folder in (safe, back):
        shards = sorted(str(path) for path in folder.glob("*.tar"))
        samples = webdataset.WebDataset(shards, shardshuffle=False)
        found = list(samples.decode("rgb8", only=["png", "cls", "json"]))
        assert [sample["__key__"] for sample in found] == [
            ("{:04d}" if n < half else long).format(n) for n in range(len(images))
        ]
        assert [sample["cls"] for sample in found] == [label(n) for n in range(len(images))]
        assert [sample["json"]["number"] for sample in found] == list(range(len(images)))
        same = [(s["png"] == image).all() for s, image in zip(found, images, strict=True)]
        assert all(same) if folder == back else not any(same)
    gc.collect()


def test_an_archive_comes_out_as_a_folder(tmp_path, images, key):
    webdataset_shard(tmp_path / "clean.tar", images, names="train/x/{:04d}")
    _, back = there_and_back(tmp_path / "clean.tar", tmp_path, key)
    assert (back / "train" / "x" / "0001.cls").read_text() == "1"
    assert (decode_image((back / "train" / "x" / "0001.png").read_bytes()) == images[1]).all()


@pytest.mark.parametrize("named", [True, False])
def test_npz(tmp_path, images, key, named):
    arrays = ("train_images", "train_labels") if named else ("x", "y")
    labels = np.array([[label(n)] for n in range(len(images))])
    content = {
        arrays[0]: images,
        arrays[1]: labels,
        "gray_images": images[..., 0],
        "more": np.arange(3.0),
    }
    (tmp_path / "clean").mkdir()
    np.savez(tmp_path / "clean" / "data.npz", **content)
    safe, back = there_and_back(tmp_path / "clean", tmp_path, key)
    with np.load(back / "data.npz") as found:
        assert sorted(found.files) == sorted(content)
        for name, array in content.items():
            np.testing.assert_array_equal(found[name], array)
    with np.load(safe / "data.npz") as found:
        assert (found[arrays[0]] != images).any(axis=(1, 2, 3)).all()
        np.testing.assert_array_equal(found[arrays[1]], labels)


def test_npy(tmp_path, images, key):
    (tmp_path / "clean").mkdir()
    np.save(tmp_path / "clean" / "images.npy", images)
    np.save(tmp_path / "clean" / "labels.npy", np.arange(len(images)) % 2)
    source = open_source(tmp_path / "clean")
    assert "images/array/1/0000001.png" in source.names()
    safe, back = there_and_back(tmp_path / "clean" / "images.npy", tmp_path, key)
    np.testing.assert_array_equal(np.load(back / "images.npy"), images)
    assert (back / "labels.npy").exists()
    assert (safe / "images.npy.sidecars.npz").exists()
    assert not (back / "images.npy.sidecars.npz").exists()


def cifar_batch(images, labels, name: bytes) -> bytes:
    rows = np.ascontiguousarray(images.transpose(0, 3, 1, 2)).reshape(len(images), -1)
    return pickle.dumps({b"data": rows, name: labels, b"filenames": [b"x"] * len(images)})


@pytest.mark.parametrize("kind", [10, 100])
def test_cifar(tmp_path, images, key, kind):
    root = tmp_path / "clean"
    root.mkdir()
    labels = [label(n) for n in range(len(images))]
    if kind == 10:
        meta, name, files = "batches.meta", b"labels", ("data_batch_1", "test_batch")
        (root / meta).write_bytes(pickle.dumps({b"label_names": [b"cat", b"dog"]}))
    else:
        meta, name, files = "meta", b"fine_labels", ("train", "test")
        (root / meta).write_bytes(pickle.dumps({b"fine_label_names": [b"cat", b"dog"]}))
    for file in files:
        (root / file).write_bytes(cifar_batch(images, labels, name))
    safe, back = there_and_back(root, tmp_path, key)
    given, came = (pickle.loads((folder / meta).read_bytes()) for folder in (root, back))
    assert came == given
    for file in files:
        found = pickle.loads((back / file).read_bytes(), encoding="bytes")
        clean = pickle.loads((root / file).read_bytes(), encoding="bytes")
        assert found.keys() == clean.keys()
        np.testing.assert_array_equal(found[b"data"], clean[b"data"])
        assert (found[name], found[b"filenames"]) == (clean[name], clean[b"filenames"])
    report = restore_dataset(safe, tmp_path / "folder", key, out_format="folder")
    assert report.done == 2 * len(images)
    shown = decode_image((tmp_path / f"folder/test/dog/{files[1]}-00001.png").read_bytes())
    np.testing.assert_array_equal(shown, images[1])


def test_coco(tmp_path, images, key):
    root = tmp_path / "clean"
    (root / "annotations").mkdir(parents=True)
    (root / "train2017").mkdir()
    listed, boxes = [], []
    for n, image in enumerate(images):
        suffix = ".bmp" if n == 0 else ".png"
        name = f"{n:012d}{suffix}"
        Image.fromarray(image).save(root / "train2017" / name)
        listed.append({"id": n, "file_name": name, "height": 32, "width": 32})
        boxes += [
            {"id": 2 * n, "image_id": n, "category_id": 7, "area": 9, "bbox": [0, 0, 3, 3]},
            {"id": 2 * n + 1, "image_id": n, "category_id": label(n) + 1, "area": 99},
        ]
    content = {
        "images": listed,
        "annotations": boxes[2:],  # the first image has none
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}, {"id": 7, "name": "x"}],
    }
    file = root / "annotations" / "instances_train2017.json"
    file.write_text(json.dumps(content))
    source = open_source(root)
    assert source.kind == "coco"
    classes = {name: class_name for name, class_name, _ in source.read()}
    assert classes["train2017/000000000000.bmp"] == "none"
    assert classes["train2017/000000000001.png"] == "dog"
    sent = pickle.loads(pickle.dumps((source, source.parts(2))))  # as a worker gets it
    file.rename(file.with_suffix(".away"))
    found = {name: c for part in sent[1] for rows in sent[0].rows(part)
             for name, c in zip(rows.names, rows.classes, strict=True)}  # fmt: skip
    assert found == classes
    file.with_suffix(".away").rename(file)
    safe, back = there_and_back(root, tmp_path, key)
    for folder in (safe, back):
        found = json.loads((folder / "annotations" / file.name).read_text())
        assert found["annotations"] == content["annotations"]
        for entry in found["images"]:
            with Image.open(folder / "train2017" / entry["file_name"]) as image:
                assert image.size == (entry["width"], entry["height"])
                if folder == back:
                    np.testing.assert_array_equal(np.asarray(image), images[entry["id"]])
    before = (safe / "annotations" / file.name).read_bytes()
    assert (back / "annotations" / file.name).read_bytes() == before  # no name is new: untouched


@pytest.mark.parametrize("out_format", ["webdataset", "parquet"])
def test_a_folder_becomes_shards(tmp_path, scenes, key, out_format):
    for n, image in enumerate(scenes):
        path = tmp_path / "clean" / CLASSES[label(n)] / f"{n}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_image(image))
    protect_dataset(
        tmp_path / "clean",
        tmp_path / "safe",
        key,
        profile="veil",
        out_format=out_format,
        shard_size=3,
    )
    files = sorted((tmp_path / "safe").iterdir())
    assert len(files) == 3
    restored = restore_dataset(tmp_path / "safe", tmp_path / "back", key, out_format="folder")
    assert restored.done == len(scenes)
    source = open_source(tmp_path / "safe")
    assert sorted({name for _, name, _ in source.read()}) == CLASSES
    found = {name: image for name, _, image in open_source(tmp_path / "back").read()}
    for n, image in enumerate(scenes):
        name = f"{CLASSES[label(n)]}/{n}.png"
        names = [name] if out_format == "parquet" else [f"0000{k}/{name}" for k in range(3)]
        assert [(found[name] == image).all() for name in names if name in found] == [True]
    if out_format == "parquet":
        datasets = pytest.importorskip("datasets")
        found = datasets.load_dataset(
            "parquet", data_files=[str(f) for f in files], cache_dir=str(tmp_path / "cache")
        )["train"]
        assert found.features["label"].names == CLASSES


def test_zip_files_of_images_that_cannot_be_had(tmp_path, scenes, key):
    path = tmp_path / "clean.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for n, image in enumerate(scenes):
            archive.writestr(f"cat/{n}.png", encode_image(image))
    whole = bytearray(path.read_bytes())
    whole[200] ^= 0xFF
    path.write_bytes(whole)
    report = protect_dataset(path, tmp_path / "safe", key, profile="veil")
    assert (report.done, report.failed) == (len(scenes) - 1, 1)
    assert "cannot be read" in str(next(iter(report.failures.values())))


def by_way_of_a_folder(tmp_path, key, out_format):
    """Protect into a folder and restore from there into a format; return the files."""
    protect_dataset(tmp_path / "clean", tmp_path / "safe", key, profile="veil", out_format="folder")
    report = restore_dataset(tmp_path / "safe", tmp_path / "back", key, out_format=out_format)
    assert not report.failures
    return list((tmp_path / "back").iterdir())


@pytest.mark.parametrize("out_format", ["webdataset", "parquet"])
def test_labels_and_fields_come_back_by_way_of_a_folder(tmp_path, scenes, key, out_format):
    (tmp_path / "clean").mkdir()
    webdataset_shard(tmp_path / "clean" / "a.tar", scenes)
    (path,) = by_way_of_a_folder(tmp_path, key, out_format)
    classes = {name.split("/")[-2] for name in open_source(tmp_path / "safe").names()}
    assert classes == {"0", "1"}  # folders, as all that read folders take them
    if out_format == "webdataset":
        with tarfile.open(path) as archive:
            found = [
                (int(json.loads(archive.extractfile(m).read())["number"]),
                 int(archive.extractfile(m.name.replace(".json", ".cls")).read()))
                for m in archive.getmembers() if m.name.endswith(".json")
            ]  # fmt: skip
    else:
        rows = pq.read_table(path).to_pylist()
        fields = [json.loads(row["fields"]) for row in rows]
        assert [int(field["cls"]) for field in fields] == [row["label"] for row in rows]
        found = [
            (json.loads(field["json"])["number"], row["label"])
            for field, row in zip(fields, rows, strict=True)
        ]
    assert sorted(found) == [(n, label(n)) for n in range(len(scenes))]


def test_columns_come_back_by_way_of_a_folder(tmp_path, scenes, key):
    files = [{"bytes": encode_image(image), "path": None} for image in scenes]
    captions = [f"no. {n}" for n in range(len(scenes))]
    columns = {"image": files, "label": [label(n) for n in range(len(scenes))]}
    (tmp_path / "clean").mkdir()
    pq.write_table(pa.table(columns | {"caption": captions}), tmp_path / "clean" / "x.parquet")
    (path,) = by_way_of_a_folder(tmp_path, key, "parquet")
    rows = pq.read_table(path).to_pylist()
    found = [json.loads(json.loads(row["fields"])["json"])["caption"] for row in rows]
    assert sorted(found) == captions
    assert {(text, row["label"]) for text, row in zip(found, rows, strict=True)} == {
        (text, label(n)) for n, text in enumerate(captions)
    }


def test_text_beside_an_image_belongs_to_its_sample(tmp_path, scenes, key):
    for name, data in [("b/1.png", encode_image(scenes[0])), ("b/1.txt", b"a cat"),
                       ("b/1.seg.json", b"{}"), ("b/12.txt", b"nobody's"),
                       ("b/2.png", encode_image(scenes[1]))]:  # fmt: skip
        (tmp_path / "clean" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "clean" / name).write_bytes(data)
    protect_dataset(tmp_path / "clean", tmp_path / "shards", key, profile="veil",
                    out_format="webdataset")  # fmt: skip
    with tarfile.open(tmp_path / "shards" / "00000.tar") as archive:
        names = archive.getnames()
    assert names == [
        *("b/1.png", "b/1.cls", "b/1.classname.txt", "b/1.seg.json", "b/1.txt"),
        *("b/2.png", "b/2.cls", "b/2.classname.txt"),
    ]
    protect_dataset(tmp_path / "clean", tmp_path / "files", key, profile="veil")
    assert (tmp_path / "files" / "b" / "12.txt").read_bytes() == b"nobody's"
    assert (tmp_path / "files" / "b" / "1.txt").read_bytes() == b"a cat"


@pytest.mark.parametrize("field", ["/../../../out.txt", "..\\\\x", "png", "a/b", "seg.png"])
@pytest.mark.parametrize("out_format", ["folder", "webdataset"])
def test_fields_write_nothing_but_text_beside_their_image(tmp_path, scenes, key, field, out_format):
    tables = tmp_path / "deep" / "er" / "clean"
    tables.mkdir(parents=True)
    table = pa.table(
        {
            "image": [{"bytes": encode_image(image), "path": f"{n}.png"}
                      for n, image in enumerate(scenes[:2])],
            "label": ["a", "b"],
            "fields": [json.dumps({field: "text"}), json.dumps({"txt": "text"})],
        }
    ).replace_schema_metadata({"dsguard.named": "1"})  # fmt: skip
    pq.write_table(table, tables / "x.parquet")
    before = set(tmp_path.rglob("*"))
    report = protect_dataset(tables, tmp_path / "deep" / "er" / "out", key, profile="veil",
                             out_format=out_format)  # fmt: skip
    assert list(report.failures) == ["0.png"]
    assert "no file beside it can be" in str(report.failures["0.png"])
    new = {path for path in set(tmp_path.rglob("*")) - before if path.is_file()}
    assert all(tmp_path / "deep" / "er" in path.parents for path in new)
    assert len([path for path in new if ".dsguard" not in str(path)]) == (
        2 if out_format == "folder" else 1
    )


def shard(path, content: list[tuple[str, bytes | tuple[bytes, str]]]) -> None:
    """Write a tar; a pair stands for a link."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, data in content:
            member = tarfile.TarInfo(name)
            if isinstance(data, bytes):
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
            else:
                member.type, member.linkname = data
                archive.addfile(member)


def content_of(path) -> dict[str, bytes]:
    with tarfile.open(path) as archive:
        return {m.name: archive.extractfile(m).read() for m in archive if m.isfile()}


def test_an_archive_that_ends_in_another_is_itself(tmp_path, scenes):
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("masks/0.png", encode_image(scenes[0]))
    images = [(f"c/{n}.png", encode_image(image)) for n, image in enumerate(scenes)]
    shard(tmp_path / "x.tar", [*images, ("c/masks.zip", inner.getvalue())])
    source = open_source(tmp_path / "x.tar")
    assert source.names() == [name for name, _ in images]
    assert source.left_out() == ["c/masks.zip"]
    assert open_source(tmp_path / "x.tar", "webdataset").kind == "webdataset"
    shard(tmp_path / "y.tar", [("BZh0.png", encode_image(scenes[0]))])
    assert open_source(tmp_path / "y.tar").names() == ["BZh0.png"]


@pytest.mark.parametrize("kind", ["gz", "bz2", "xz"])
def test_damaged_compression_fails_with_its_shard(tmp_path, scenes, key, kind):
    for n in range(2):
        images = [(f"{k}.png", encode_image(scenes[4 * n + k])) for k in range(4)]
        shard(tmp_path / "plain" / f"{n}.tar", images)
    (tmp_path / "clean").mkdir()
    (tmp_path / "clean" / "0.tar").write_bytes((tmp_path / "plain" / "0.tar").read_bytes())
    pack = {"gz": gzip, "bz2": bz2, "xz": lzma}[kind].compress
    packed_shard = pack((tmp_path / "plain" / "1.tar").read_bytes())
    flipped = packed_shard[:40] + b"\0\1\2\3" + packed_shard[44:]
    for number, damaged in enumerate((packed_shard[: len(packed_shard) // 2], flipped)):
        (tmp_path / "clean" / f"1.tar.{kind}").write_bytes(damaged)
        out = tmp_path / f"out{number}"
        report = protect_dataset(tmp_path / "clean", out, key, profile="veil")
        assert list(report.failures) == [f"1.tar.{kind}"]
        assert report.done == 4


def test_of_text_met_twice_the_last_counts(tmp_path, scenes, key):
    images = [(f"c/{n}.png", encode_image(image)) for n, image in enumerate(scenes[:2])]
    shard(tmp_path / "x.tar", [("a.csv", b"old"), *images, ("a.csv", b"new")])
    protect_dataset(tmp_path / "x.tar", tmp_path / "safe", key, profile="veil")
    assert (tmp_path / "safe" / "a.csv").read_bytes() == b"new"


def test_an_image_that_was_moved_has_the_class_of_its_folder(tmp_path, scenes, key):
    images = [(f"{n}.png", encode_image(image)) for n, image in enumerate(scenes[:4])]
    classes = [(f"{n}.classname.txt", b"cat" if n < 3 else b"dog") for n in range(4)]
    shard(
        tmp_path / "clean" / "a.tar",
        [m for pair in zip(images, classes, strict=True) for m in pair],
    )
    protect_dataset(tmp_path / "clean", tmp_path / "safe", key, profile="veil",
                    out_format="folder")  # fmt: skip
    for file in (tmp_path / "safe" / "a" / "cat").glob("1.*"):
        file.rename(tmp_path / "safe" / "a" / "dog" / file.name)
    restore_dataset(tmp_path / "safe", tmp_path / "back", key, out_format="webdataset")
    found = content_of(tmp_path / "back" / "00000.tar")
    names = {name.split(".")[0][-1]: data for name, data in found.items() if "classname" in name}
    assert names == {"0": b"cat", "1": b"dog", "2": b"cat", "3": b"dog"}


def test_links_to_text_are_followed_or_told(tmp_path, scenes, key):
    one, two, three = (encode_image(image) for image in scenes[:3])
    shard(tmp_path / "clean" / "0.tar", [
        ("a.cls", b"3"), ("a.png", one), ("b.png", two), ("b.cls", (tarfile.LNKTYPE, "a.cls")),
        ("c.cls", (tarfile.SYMTYPE, "gone")), ("c.png", three),
    ])  # fmt: skip
    report = protect_dataset(tmp_path / "clean", tmp_path / "safe", key, profile="veil")
    assert content_of(tmp_path / "safe" / "0.tar")["b.cls"] == b"3"
    assert list(report.failures) == ["0/c.png"]
    assert "c.cls, that is a link to 'gone'" in str(report.failures["0/c.png"])


def test_what_belongs_to_images_that_are_not_wanted_stays_away(tmp_path, scenes, key):
    members = [("README.txt", b"all")]
    for n, image in enumerate(scenes[:4]):
        members += [(f"{n}.png", encode_image(image)), (f"{n}.txt", b"text")]
    shard(tmp_path / "clean" / "0.tar", members)
    protect_dataset(tmp_path / "clean", tmp_path / "safe", key, profile="veil",
                    selection=Selection(exclude=("0/1.png",)))  # fmt: skip
    names = {"README.txt", *(f"{n}.{suffix}" for n in (0, 2, 3) for suffix in ("png", "txt"))}
    assert content_of(tmp_path / "safe" / "0.tar").keys() == names


def test_text_of_no_image_keeps_the_name_of_its_shard(tmp_path, scenes, key):
    for n in range(2):
        images = [(f"{n}{k}.png", encode_image(scenes[2 * n + k])) for k in range(2)]
        text = [("README.txt", b"shard %d" % n), ("c/ab.seg.json", b"{}")]
        shard(tmp_path / "clean" / f"{n}.tar", [*text, *images])
    (tmp_path / "clean" / "labels.csv").write_text("x")
    for out_format in ("folder", "parquet"):
        out = tmp_path / out_format
        protect_dataset(tmp_path / "clean", out, key, profile="veil", out_format=out_format)
        assert [(out / f"{n}" / "README.txt").read_bytes() for n in range(2)] == [
            b"shard 0",
            b"shard 1",
        ]
        assert (out / "labels.csv").read_text() == "x"


def test_an_archive_is_the_folder_that_it_was_made_of(tmp_path, scenes, key):
    text = {"c/IMG.001.txt": b"one", "c/IMG.002.txt": b"two", "c/IMG.txt": b"about", "x.md": b"x"}
    images = {f"c/IMG.00{n}.png": encode_image(scenes[n]) for n in (1, 2)}
    given = [*images.items(), *text.items(), ("c/cat.json", b'{"label": 7}'), ("c/x.npy", b"x")]
    shard(tmp_path / "clean.tar", given)  # texts behind all images, as they may be
    source = open_source(tmp_path / "clean.tar")
    assert source.left_out() == ["c/x.npy"]
    protect_dataset(source, tmp_path / "safe", key, profile="veil")
    found = {p.relative_to(tmp_path / "safe").as_posix() for p in (tmp_path / "safe").rglob("*.*")}
    assert found == {*images, *text, "c/cat.json", "sealed-files.dsguard"}
    assert all((tmp_path / "safe" / name).read_bytes() == data for name, data in text.items())
    protect_dataset(source, tmp_path / "tars", key, profile="veil", out_format="webdataset")
    samples = content_of(tmp_path / "tars" / "00000.tar")
    assert (samples["c/IMG_001.txt"], samples["c/IMG_002.txt"]) == (b"one", b"two")
    assert samples["c/IMG_001.classname.txt"] == b"c"
    restore_dataset(tmp_path / "tars", tmp_path / "back", key)  # it reads what it wrote


CLASS_NAMES = ["a/b", "a_b", "", ".", "..", "x\\y", " cat ", "%2F", "ü"]


def test_classes_that_no_folder_can_be_called_come_back(tmp_path, scenes, key):
    images = [np.roll(scenes[n % 8], n, axis=0) for n in range(len(CLASS_NAMES))]
    files = [{"bytes": encode_image(image), "path": None} for image in images]
    (tmp_path / "clean").mkdir()
    pq.write_table(pa.table({"image": files, "label": CLASS_NAMES}), tmp_path / "clean/x.parquet")
    for out_format in ("folder", "webdataset", "parquet"):
        out = tmp_path / out_format
        protect_dataset(tmp_path / "clean", out, key, profile="veil", out_format=out_format)
        found = {name for _, name, _ in open_source(out).read()}
        if out_format == "folder":
            found = found - {"x"} | {""}  # without a class it lies in the folder of its file
        assert found == set(CLASS_NAMES)


def test_two_rows_do_not_come_out_as_one_file(tmp_path, scenes, key):
    table = pa.table(
        {
            "image": [{"bytes": encode_image(image), "path": path}
                      for image, path in zip(scenes, ("c/x.png", "m.png", "x.png"), strict=False)],
            "label": ["c", "", "c"],
        }
    ).replace_schema_metadata({"dsguard.named": "1"})  # fmt: skip
    (tmp_path / "clean").mkdir()
    pq.write_table(table, tmp_path / "clean" / "x.parquet", row_group_size=1)
    with pytest.raises(dsguard.InputError, match=r"one image named c/x\.png; take --out-format"):
        protect_dataset(tmp_path / "clean", tmp_path / "safe", key, profile="veil",
                        out_format="folder", shard_size=1)  # fmt: skip


def test_text_in_columns_that_is_damaged_fails_with_its_file(tmp_path, scenes, key):
    (tmp_path / "clean").mkdir()
    files = [{"bytes": encode_image(image), "path": None} for image in scenes]
    for n in range(2):
        columns = {"image": files, "label": ["é"] * len(files)}
        pq.write_table(pa.table(columns), tmp_path / "clean" / f"{n}.parquet",
                       compression="none", use_dictionary=False, write_statistics=False)  # fmt: skip  # noqa: E501
    path = tmp_path / "clean" / "0.parquet"
    data = path.read_bytes()
    at = data.rindex("é".encode())
    path.write_bytes(data[:at] + b"\xff" + data[at + 1 :])
    report = protect_dataset(tmp_path / "clean", tmp_path / "safe", key, profile="veil")
    assert list(report.failures) == ["0.parquet"]
    assert report.done == len(files)


def test_a_zip_archive_with_damaged_text(tmp_path, scenes, key):
    path = tmp_path / "clean.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for n in range(2):
            archive.writestr(f"./c/{n}.png", encode_image(scenes[n]))
        archive.writestr("./c/0.txt", "hello hello")
    protect_dataset(path, tmp_path / "safe", key, profile="veil")
    assert (tmp_path / "safe" / "c" / "0.txt").read_text() == "hello hello"
    path.write_bytes(path.read_bytes().replace(b"hello hello", b"hello hullo"))
    report = protect_dataset(path, tmp_path / "safe2", key, profile="veil")
    assert (report.done, list(report.failures)) == (2, ["c/0.txt"])
    whole = path.read_bytes()
    end = whole.rindex(b"PK\5\6")
    path.write_bytes(whole[: end + 10] + b"\x09" + whole[end + 11 :])
    with pytest.raises(dsguard.InputError, match="tells of 9 members"):
        open_source(path).names()


def test_fields_that_are_damaged_fail_with_their_image(tmp_path, scenes, key):
    (tmp_path / "clean" / "a").mkdir(parents=True)
    for n, image in enumerate(scenes):
        (tmp_path / "clean" / "a" / f"{n}.png").write_bytes(encode_image(image))
        (tmp_path / "clean" / "a" / f"{n}.txt").write_text("text")
    protect_dataset(tmp_path / "clean", tmp_path / "safe", key, profile="veil",
                    out_format="parquet")  # fmt: skip
    path = tmp_path / "safe" / "00000.parquet"
    table = pq.read_table(path)
    texts = ["[1]", "{", *table["fields"].to_pylist()[2:]]
    pq.write_table(table.set_column(2, table.schema.field(2), pa.array(texts)), path)
    report = restore_dataset(tmp_path / "safe", tmp_path / "back", key, out_format="folder")
    assert sorted(report.failures) == ["a/0.png", "a/1.png"]
    assert (tmp_path / "back" / "a" / "2.txt").read_text() == "text"


def test_links_within_an_archive(tmp_path, scenes):
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        data = encode_image(scenes[0])
        member = tarfile.TarInfo("./all/1.png")
        member.size = len(data)
        archive.addfile(member, io.BytesIO(data))
        for name, kind, target in [("./cat/1.png", tarfile.SYMTYPE, "../all/1.png"),
                                   ("./all/2.png", tarfile.SYMTYPE, "1.png"),
                                   ("./cat/2.png", tarfile.LNKTYPE, "./all/1.png"),
                                   ("./cat/3.png", tarfile.SYMTYPE, "/all/1.png")]:  # fmt: skip
            link = tarfile.TarInfo(name)
            link.type, link.linkname = kind, target
            archive.addfile(link)
    found = {name: image for name, _, image in open_source(tmp_path / "x.tar").read()}
    for name in ("cat/1.png", "all/2.png", "cat/2.png"):
        np.testing.assert_array_equal(found[name], scenes[0])
    assert "not in the archive" in str(found["cat/3.png"])


def test_kinds_that_do_not_fit_are_refused(tmp_path, scenes, key):
    for n, image in enumerate(scenes):
        path = tmp_path / "clean" / "cat" / f"{n}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_image(image))
    for settings, message in [
        ({"out_format": "cifar"}, "keeps the layout of its source"),
        ({"out_format": "tfrecord"}, "no output format"),
        ({"image_format": "jpg"}, "choose one of: png, tiff"),
        ({"engine": "spark"}, "no engine"),
    ]:
        with pytest.raises(dsguard.InputError, match=message):
            restore_dataset(tmp_path / "clean", tmp_path / "out", key, **settings)
    with pytest.raises(dsguard.InputError, match="no format"):
        open_source(tmp_path / "clean", "tfrecord")
    with pytest.raises(dsguard.InputError, match="holds no parquet"):
        open_source(tmp_path / "clean", "parquet")
    (tmp_path / "clean" / "model.pth.tar").write_bytes(b"")  # a checkpoint of torch, no archive
    assert open_source(tmp_path / "clean").kind == "folder"
    (tmp_path / "clean" / "x.parquet").write_bytes(b"")
    with pytest.raises(dsguard.InputError, match="several kinds"):
        open_source(tmp_path / "clean")
    with pytest.raises(dsguard.InputError, match="not a Parquet file"):
        open_source(tmp_path / "clean" / "x.parquet").names()
    assert not list(tmp_path.glob("out*"))


def test_parquet_without_images_is_refused(tmp_path, key):
    pq.write_table(pa.table({"text": ["a"]}), tmp_path / "x.parquet")
    with pytest.raises(dsguard.InputError, match="0 columns of images"):
        open_source(tmp_path / "x.parquet").names()


def test_our_tar_is_what_tarfile_reads():
    files = {"a.png": b"1" * 513, "b" * 100: b"", "c/" + "d" * 150: b"x" * 512, "ü": b"y"}
    data = b"".join(piece for name, file in files.items() for piece in packed(name, file)) + END
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        found = {m.name: archive.extractfile(m).read() for m in archive}
    assert found == files
    ours = {m.name: data[m.data : m.data + m.size] for m in members(data)}
    assert ours == files


@pytest.mark.parametrize("kind", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_tars_of_others_are_read(kind):
    names = ["a/b.png", "c" * 90 + "/" + "d" * 90 + ".png", "e.txt"]
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=kind) as archive:
        folder = tarfile.TarInfo("a")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        for n, name in enumerate(names):
            member = tarfile.TarInfo(name)
            member.size = 700 + n
            archive.addfile(member, io.BytesIO(bytes([n]) * member.size))
    data = file.getvalue()
    found = list(members(data))
    assert [member.name for member in found] == names
    assert [member.size for member in found] == [700, 701, 702]
    assert data[found[1].data] == 1
    with pytest.raises(dsguard.InputError, match="stops within"):
        list(members(data[: found[2].data + 5]))
    again = list(members(data, found[1].start, found[2].start))
    assert [member.name for member in again] == names[1:2]


def test_samples_are_named_as_webdataset_does():
    assert sample_of("a.b/c.left.png") == "a.b/c"
    assert sample_of("c") == "c"


def shard_of(path, files: list[tuple[str, bytes]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    data = b"".join(piece for name, file in files for piece in packed(name, file)) + END
    path.write_bytes(data)


def test_members_below_a_dot_keep_what_belongs_to_them(tmp_path, scenes, key):
    files = encode_images(scenes)
    shard = [
        (f"./{n}.{suffix}", data)
        for n, file in enumerate(files)
        for suffix, data in (("png", file), ("cls", b"%d" % n))
    ]
    shard_of(tmp_path / "clean" / "0.tar", [*shard, ("./.hidden/x.png", files[0])])
    protect_dataset(tmp_path / "clean", tmp_path / "safe", key, profile="veil")
    restore_dataset(tmp_path / "safe", tmp_path / "back", key)
    data = (tmp_path / "back" / "0.tar").read_bytes()
    found = {m.name: data[m.data : m.data + m.size] for m in members(data)}
    assert len(found) == 2 * len(scenes)
    for n, image in enumerate(scenes):
        assert found[f"{n}.cls"] == b"%d" % n
        np.testing.assert_array_equal(decode_image(found[f"{n}.png"]), image)


def test_files_that_would_come_out_as_one_are_refused(tmp_path, scenes, key):
    files = encode_images(scenes)
    for name in ("s.tar", "s.tar.gz"):
        shard_of(tmp_path / "tars" / name, [(f"{n}.png", f) for n, f in enumerate(files)])
    with pytest.raises(dsguard.InputError, match=r"would come out as s\.tar"):
        restore_dataset(tmp_path / "tars", tmp_path / "out", key)
    table = pa.table({"image": pa.array(files, pa.binary())})
    (tmp_path / "pq").mkdir()
    pq.write_table(table, tmp_path / "pq" / "t.parquet", row_group_size=4)
    pq.write_table(table, tmp_path / "pq" / "t-00001.parquet")
    with pytest.raises(dsguard.InputError, match=r"would come out as t-00001\.parquet"):
        restore_dataset(tmp_path / "pq", tmp_path / "out", key, shard_size=4)


def test_images_of_one_sample_keep_apart(tmp_path, scenes, key):
    files = encode_images(scenes)
    shard = [("0.jpg", files[0]), ("0.png", files[1]), ("0.cls", b"1")]
    shard += [("1.left.png", files[2]), ("1.right.png", b"broken"), ("1.json", b"{}")]
    shard_of(tmp_path / "clean" / "0.tar", shard)
    report = protect_dataset(tmp_path / "clean", tmp_path / "safe", key, profile="veil")
    assert (report.done, report.failed) == (3, 1)
    names = [member.name for member in members((tmp_path / "safe" / "0.tar").read_bytes())]
    assert names == ["0.jpg.png", "0.png", "0.cls", "1.left.png", "1.json"]


def test_samples_in_pieces_are_refused(tmp_path, scenes, key):
    files = encode_images(scenes)
    shard = [(f"{n}.png", file) for n, file in enumerate(files)]
    shard += [(f"{n}.cls", b"1") for n in range(len(files))]
    shard_of(tmp_path / "clean" / "0.tar", shard)
    report = protect_dataset(tmp_path / "clean", tmp_path / "safe", key, profile="veil")
    assert "in two places" in str(report.failures["0.tar"])


def test_arrays_of_one_name_keep_apart(tmp_path, scenes, key):
    for split in ("train", "test"):
        (tmp_path / "clean" / split).mkdir(parents=True)
        np.save(tmp_path / "clean" / split / "images.npy", scenes)
    report = protect_dataset(
        tmp_path / "clean", tmp_path / "safe", key, profile="veil", out_format="folder"
    )
    assert report.done == len(list((tmp_path / "safe").rglob("*.png"))) == 2 * len(scenes)


@pytest.mark.parametrize("out_format", ["webdataset", "parquet", "folder"])
def test_odd_names_come_through(tmp_path, scenes, key, out_format):
    names = [b"caf\xe9/\xff.png", b"a/b\\c.png", "é/ü.png".encode(), b"a/0.b.png", b"a/0_b.png"]
    for name, image in zip(names, scenes, strict=False):
        path = tmp_path / "clean" / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_image(image))
    protected = protect_dataset(
        tmp_path / "clean", tmp_path / "safe", key, profile="veil", out_format=out_format
    )
    restored = restore_dataset(tmp_path / "safe", tmp_path / "back", key, out_format="folder")
    assert (protected.done, restored.done, restored.failed) == (len(names), len(names), 0)
    found = {image.tobytes() for _, _, image in open_source(tmp_path / "back").read()}
    assert found == {image.tobytes() for image in scenes[: len(names)]}


@pytest.mark.parametrize("name", ["cache", "p", "pt", "sav", "pkl", "x.pickles"])
def test_shards_may_be_called_as_suffixes_of_pickles(tmp_path, key, scenes, name):
    (tmp_path / "in").mkdir()
    for each in (name, "other"):
        with tarfile.open(tmp_path / "in" / f"{each}.tar", "w") as archive:
            member = tarfile.TarInfo(f"{each}0.png")
            member.size = len(data := encode_image(scenes[0]))
            archive.addfile(member, io.BytesIO(data))
    assert protect_dataset(tmp_path / "in", tmp_path / "out", key, workers=1).done == 2
    assert restore_dataset(tmp_path / "out", tmp_path / "back", key, workers=1).done == 2
    assert sorted(path.name for path in (tmp_path / "back").iterdir()) == sorted(
        [f"{name}.tar", "other.tar"]
    )


def test_a_table_called_as_a_pickle_becomes_a_shard_that_is_read(tmp_path, key, scenes):
    (tmp_path / "in").mkdir()
    table = pa.table({"image": pa.array([encode_image(scenes[0])])})
    pq.write_table(table, tmp_path / "in" / "x.pkl.parquet")
    done = protect_dataset(
        tmp_path / "in", tmp_path / "out", key, out_format="webdataset", workers=1
    )
    assert done.done == 1
    assert verify_dataset(tmp_path / "out", key, workers=1).done == 1
