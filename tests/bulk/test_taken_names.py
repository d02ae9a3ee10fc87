"""Files beside the images take no place of what a run writes, and pass for nothing else."""

from __future__ import annotations

import io
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import dsguard
from dsguard.bulk import protect_dataset, restore_dataset, verify_dataset
from dsguard.bulk.sealed_files import SEALED_FILES
from dsguard.bulk.selection import Selection
from dsguard.errors import TamperedError
from dsguard.formats import open_source

KEY = dsguard.DatasetKey(bytes(32))


def png(scene: np.ndarray) -> bytes:
    data = io.BytesIO()
    Image.fromarray(scene).save(data, "png")
    return data.getvalue()


def tar_of(**files: bytes) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name.replace("__", "/").replace("_", "."))
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return data.getvalue()


@pytest.fixture
def photos(tmp_path, scenes) -> Path:
    root = tmp_path / "photos"
    (root / "a").mkdir(parents=True)
    for n in range(3):
        (root / "a" / f"{n}.png").write_bytes(png(scenes[n]))
    return root


def names_in(tar: Path) -> list[str]:
    with tarfile.open(tar) as opened:
        return opened.getnames()


@pytest.mark.parametrize("publish", [(), ("*.tar",)])
def test_a_file_called_like_a_shard_does_not_take_its_place(tmp_path, photos, publish):
    (photos / "00000.tar").write_bytes(tar_of(hello_txt=b"hello"))
    source = open_source(photos, "folder")
    report = protect_dataset(
        source, tmp_path / "out", KEY, out_format="webdataset", publish=publish
    )
    assert "a/0.png" in names_in(tmp_path / "out" / "00000.tar")
    assert report.broken == bool(publish)


@pytest.mark.parametrize("kind", ["webdataset", "parquet"])
def test_nor_when_it_was_sealed(tmp_path, photos, kind):
    taken = {"webdataset": "00000.tar", "parquet": "00000.parquet"}[kind]
    (photos / taken).write_bytes(tar_of(hello_txt=b"hello"))
    source = open_source(photos, "folder")
    protect_dataset(source, tmp_path / "safe", KEY, keep="files")
    report = restore_dataset(tmp_path / "safe", tmp_path / "back", KEY, out_format=kind)
    assert report.broken == 1
    assert taken in report.failures
    back = open_source(tmp_path / "back", kind)
    assert sum(len(rows.names) for part in back.parts(10) for rows in back.rows(part)) == 3


def test_an_added_file_does_not_take_the_place_of_a_restored_one(tmp_path, photos):
    scan = bytes(128) + b"DICM" + b"\x28\0\x10\0US\2\0\x40\0\x28\0\x11\0US\2\0\x40\0" + bytes(900)
    (photos / "a" / "9.dcm").write_bytes(scan)
    protect_dataset(photos, tmp_path / "safe", KEY, keep="files")
    (tmp_path / "safe" / "a" / "9.dcm").write_bytes(b"another scan")
    report = restore_dataset(tmp_path / "safe", tmp_path / "back", KEY)
    assert "a/9.dcm" in report.failures
    assert (tmp_path / "back" / "a" / "9.dcm").read_bytes() == scan


def test_the_file_of_an_image_passes_for_no_sealed_files(tmp_path, photos):
    (photos / "a" / "evil.jpg").write_bytes(tar_of(a__0_png=b"forged", labels_csv=b"forged"))
    assert protect_dataset(photos, tmp_path / "safe", KEY, keep="files").done == 4
    (tmp_path / "safe" / "a" / "evil.png").rename(tmp_path / "safe" / SEALED_FILES)
    assert TamperedError in verify_dataset(tmp_path / "safe", KEY).kinds
    report = restore_dataset(tmp_path / "safe", tmp_path / "back", KEY)
    assert TamperedError in report.kinds
    assert (tmp_path / "back/a/0.png").read_bytes() == (photos / "a/0.png").read_bytes()
    assert not (tmp_path / "back" / "labels.csv").exists()


def test_sealed_files_pass_for_no_image(tmp_path, photos):
    (photos / "long.txt").write_text("word" * 2000)
    protect_dataset(photos, tmp_path / "safe", KEY, keep="files")
    (tmp_path / "safe" / SEALED_FILES).rename(tmp_path / "safe" / "a" / "picture.png")
    report = restore_dataset(tmp_path / "safe", tmp_path / "back", KEY)
    assert "beside images" in report.failures["a/picture.png"].message
    assert report.done == 3
    assert not list((tmp_path / "back").rglob("*.tar"))


def test_overwriting_leaves_files_that_no_run_has_written(tmp_path, photos):
    (photos / "notes.txt").write_text("word" * 2000)  # is left out
    out = tmp_path / "out"
    out.mkdir()
    for name in ("notes.txt", SEALED_FILES):
        (out / name).write_text("mine")
    report = protect_dataset(photos, out, KEY, overwrite=True, keep="pixels")
    assert {(out / name).read_text() for name in ("notes.txt", SEALED_FILES)} == {"mine"}
    assert len(report.foreign) == 2


@pytest.mark.parametrize("name", ["table.csv", "arrays.h5"])
def test_what_tells_of_images_that_were_not_chosen_is_not_sealed(tmp_path, photos, name):
    (photos / name).write_bytes(b"file,thumbnail\na/0.png," + b"abc0" * 900 + b"\n")
    chosen = Selection(exclude=("a/0.png",))
    report = protect_dataset(photos, tmp_path / "safe", KEY, keep="files", selection=chosen)
    assert report.sealed_files == 0
    assert [each.first for each in report.left_out.values()] == [name]
    restore_dataset(tmp_path / "safe", tmp_path / "back", KEY)
    assert not (tmp_path / "back" / name).exists()


def shard(folder: Path, *members: tuple[str, bytes]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(folder / "s.tar", "w") as tar:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return folder


@pytest.mark.parametrize("first", ["image", "text"])
def test_a_text_of_no_image_takes_no_place_of_a_field(tmp_path, scenes, first):
    image = [("a.png", png(scenes[0])), ("a.cls", b"dog"), ("a.json", b'{"own": 1}')]
    text = [("dog/a.json", b'{"foreign": 2}')]
    members = [*image, *text] if first == "image" else [*text, *image]
    shards = shard(tmp_path / "in", *members, ("z.png", png(scenes[1])))
    report = protect_dataset(shards, tmp_path / "out", KEY, out_format="folder")
    found = (tmp_path / "out/s/dog/a.json").read_bytes()
    assert found == b'{"own": 1}'
    assert [each.first for each in report.left_out.values()] == ["s/dog/a.json"]


def test_hidden_images_in_shards_are_named(tmp_path, scenes):
    files = [(name, png(scenes[0])) for name in ("a.png", ".b.png", "c/.d.png")]
    report = protect_dataset(shard(tmp_path / "in", *files), tmp_path / "out", KEY)
    assert report.done == 1
    assert [(each.first, each.count) for each in report.left_out.values()] == [("s/.b.png", 2)]
    alone = protect_dataset(shard(tmp_path / "in2", *files[1:], files[0]), tmp_path / "o2", KEY)
    assert [each.count for each in alone.left_out.values()] == [2]


def test_members_that_were_added_take_no_place_of_restored_files(tmp_path, scenes):
    """Nobody needs a key to add them to what is published."""
    true, forged = (bytes(128) + b"DICM" + each * 90 for each in (b"true", b"forged"))
    clean = shard(
        tmp_path / "in",
        ("a.dcm", true),
        ("a.classname.txt", b"dog"),
        ("b.dcm", true),
        ("b.classname.txt", b"dog"),
    )
    protect_dataset(clean, tmp_path / "out", KEY, keep="files")
    with tarfile.open(tmp_path / "out" / "s.tar") as tar:
        members = [(member.name, tar.extractfile(member).read()) for member in tar]
    members.insert(2, ("a.dcm", forged))
    changed = shard(tmp_path / "changed", *members, ("dog/b.dcm", forged))
    report = restore_dataset(changed, tmp_path / "back", KEY)
    assert (report.done, report.broken) == (2, 1)
    with tarfile.open(tmp_path / "back" / "s.tar") as tar:
        found = [tar.extractfile(member).read() for member in tar if member.name == "a.dcm"]
    assert found == [true]
    report = restore_dataset(changed, tmp_path / "folder", KEY, out_format="folder")
    assert (tmp_path / "folder" / "s" / "dog" / "b.dcm").read_bytes() == true
    assert (tmp_path / "folder" / "s" / "dog" / "a.dcm").read_bytes() == true
    assert report.broken


def test_a_key_is_no_name_of_a_class(tmp_path, scenes):
    key = dsguard.DatasetKey(bytes(range(1, 33)))
    members = [("a.png", png(scenes[0])), ("a.classname.txt", key.secret.hex().encode())]
    report = protect_dataset(shard(tmp_path / "in", *members), tmp_path / "out", key)
    assert report.left_out
    with tarfile.open(tmp_path / "out" / "s.tar") as tar:
        found = b"".join(tar.extractfile(member).read() for member in tar)
    assert key.secret.hex().encode() not in found


def test_what_there_is_no_room_for_is_told(tmp_path, photos, monkeypatch):
    monkeypatch.setattr("dsguard.bulk.companions.Companions._room", 10)
    (photos / "a" / "0.png").rename(photos / "a" / "0.bmp")
    (photos / "metadata.csv").write_text("file_name,label\na/0.bmp,1\n")
    report = protect_dataset(photos, tmp_path / "out", KEY, keep="files")
    told = {each.first: each.reason for each in report.left_out.values()}
    assert "as it was" in told["metadata.csv"]


def test_fields_of_a_shard_pass_for_no_sealed_files(tmp_path, scenes):
    members = [("a.png", png(scenes[0])), ("a.npy", b"x" * 90), ("b.png", png(scenes[1]))]
    protect_dataset(shard(tmp_path / "in", *members), tmp_path / "out", KEY)
    (fields,) = (tmp_path / "out").glob("*.sealed-fields.dsguard")
    shutil.copy(fields, tmp_path / "out" / SEALED_FILES)
    report = restore_dataset(tmp_path / "out", tmp_path / "back", KEY)
    assert TamperedError in report.kinds
    assert [path.name for path in (tmp_path / "back").iterdir()] == ["s.tar"]


@pytest.mark.parametrize("kind", ["webdataset", "folder", "parquet"])
def test_texts_of_a_shard_are_not_sealed_where_images_are_chosen(tmp_path, scenes, kind):
    table = b"b.png,THUMBNAIL" + b"x" * 9000
    members = [("a.png", png(scenes[0])), ("all.csv", table), ("b.png", png(scenes[1]))]
    clean = shard(tmp_path / "in", *members)
    chosen = Selection(exclude=("*b.png",))
    report = protect_dataset(clean, tmp_path / "out", KEY, selection=chosen, out_format=kind)
    assert report.done == 1
    assert [each.first for each in report.left_out.values()] == ["s/all.csv"]
    restore_dataset(tmp_path / "out", tmp_path / "back", KEY, out_format="folder")
    found = [path.read_bytes() for path in (tmp_path / "back").rglob("*") if path.is_file()]
    assert not any(b"THUMBNAIL" in data for data in found)
    whole = protect_dataset(clean, tmp_path / "all", KEY, out_format=kind)
    assert not whole.left_out
    restore_dataset(tmp_path / "all", tmp_path / "again", KEY, out_format="folder")
    found = [path.read_bytes() for path in (tmp_path / "again").rglob("*") if path.is_file()]
    assert any(b"THUMBNAIL" in data for data in found)


@pytest.mark.parametrize("kind", ["folder", "parquet"])
def test_members_of_a_shard_that_was_added_take_no_place_of_restored_files(tmp_path, scenes, kind):
    """Whoever has no key can add a shard, whose members of no image are called as they like."""
    if kind == "parquet":
        pytest.importorskip("pyarrow")
    members = [("k.png", png(scenes[0])), ("k.cls", b"cat"), ("k.npy", scenes.tobytes()[:3000])]
    shard(tmp_path / "clean" / "train", *members)
    protect_dataset(tmp_path / "clean", tmp_path / "out", KEY)
    with tarfile.open(tmp_path / "out" / "train" / "s.tar") as tar:
        added = ("z.png", tar.extractfile("k.png").read())
    forged = {"folder": "s/cat/k.npy", "parquet": "s.parquet"}[kind]
    shard(tmp_path / "more", added, (forged, b"forged"))
    (tmp_path / "more" / "s.tar").rename(tmp_path / "out" / "train.tar")
    report = restore_dataset(tmp_path / "out", tmp_path / "back", KEY, out_format=kind)
    assert list(report.failures) == [f"train/{forged}"]
    if kind == "parquet":
        assert (tmp_path / "back" / "train" / "s.parquet").read_bytes()[:4] == b"PAR1"


@pytest.mark.parametrize("kind", ["webdataset", "parquet"])
def test_sealed_texts_of_no_image_keep_their_names_beside_shards(tmp_path, scenes, kind):
    """Parquet files have them beside them, and so have shards that are made of these."""
    pytest.importorskip("pyarrow")
    table = b"thumbnails " + b"x" * 9000
    clean = shard(tmp_path / "in", ("k.png", png(scenes[0])), ("all.csv", table))
    protect_dataset(clean, tmp_path / "out", KEY, out_format="parquet")
    report = restore_dataset(tmp_path / "out", tmp_path / "back", KEY, out_format=kind)
    assert (report.failures, report.sealed_fields) == ({}, 1)
    assert (tmp_path / "back" / "s" / "all.csv").read_bytes() == table
    (tmp_path / "out" / "s").mkdir()
    (tmp_path / "out" / "s" / "all.csv").write_bytes(b"forged")
    report = restore_dataset(tmp_path / "out", tmp_path / "again", KEY, out_format=kind)
    assert list(report.failures) == ["s/all.csv"]
    assert (tmp_path / "again" / "s" / "all.csv").read_bytes() == table


def test_of_texts_of_no_image_that_two_files_have_one_is_named(tmp_path, scenes):
    pytest.importorskip("pyarrow")
    sets = [tmp_path / "in" / "a", tmp_path / "in" / "b"]
    for n, folder in enumerate(sets):
        shard(folder, (f"{n}.png", png(scenes[n])), ("all.csv", b"thumbnails " + b"xy"[n:] * 9000))
        protect_dataset(folder, tmp_path / f"out{n}", KEY, out_format="parquet")
    for path in (tmp_path / "out1").iterdir():
        path.rename(tmp_path / "out0" / path.name.replace("s.parquet", "t.parquet"))
    report = restore_dataset(tmp_path / "out0", tmp_path / "back", KEY, out_format="webdataset")
    assert list(report.failures) == ["s/all.csv"]
