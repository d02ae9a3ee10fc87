"""``verify --against``: all of a clean dataset comes back as it is, or it is told."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import dsguard
from dsguard.bulk import Selection, protect_dataset, restore_dataset, verify_dataset
from dsguard.cli.commands import Exit, run
from dsguard.formats import encode_image

from .test_sealed_fields import members_of, tarred

KEY = dsguard.DatasetKey(bytes(32))


@pytest.fixture
def photos(tmp_path, scenes) -> Path:
    root = tmp_path / "photos"
    for n, scene in enumerate(scenes[:6]):
        path = root / "ab"[n % 2] / f"{n}.{'jpg' if n < 4 else 'png'}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(scene).save(path)
    (root / "README.md").write_text("some words\n")
    (root / "film.mp4").write_bytes(scenes.tobytes())
    return root


@pytest.mark.parametrize("kind", ["folder", "webdataset", "parquet"])
@pytest.mark.parametrize("keep", ["files", "pixels"])
def test_all_comes_back(tmp_path, photos, keep, kind):
    if kind == "parquet":
        pytest.importorskip("pyarrow")
    (photos / "film.mp4").unlink()
    protect_dataset(photos, tmp_path / "out", KEY, keep=keep, out_format=kind)
    report = verify_dataset(tmp_path / "out", KEY, against=photos)
    assert (report.done, report.failed, report.different) == (6, 0, {})
    assert report.compared == ("all" if kind == "folder" else "contents")


def test_workers_tell_it_as_well(tmp_path, photos):
    protect_dataset(photos, tmp_path / "out", KEY, keep="files", shard_size=2)
    report = verify_dataset(tmp_path / "out", KEY, against=photos, workers=2, shard_size=2)
    assert (report.done, report.different) == (6, {})


def test_arrays_come_back(tmp_path, scenes):
    np.savez(tmp_path / "a.npz", images=scenes, labels=np.arange(len(scenes)) % 2)
    protect_dataset(tmp_path / "a.npz", tmp_path / "out", KEY)
    assert verify_dataset(tmp_path / "out", KEY, against=tmp_path / "a.npz").different == {}


def test_what_does_not_is_named(tmp_path, photos, scenes):
    protect_dataset(photos, tmp_path / "out", KEY, keep="files")
    published = tmp_path / "out"
    (published / "a" / "0.png").unlink()
    (published / "a" / "2.png").rename(published / "b" / "2.png")  # another class
    (photos / "b" / "1.jpg").write_bytes((photos / "b" / "1.jpg").read_bytes() + b"\0")
    Image.fromarray(scenes[7]).save(photos / "b" / "new.png")
    (photos / "README.md").write_text("other words\n")
    (photos / "more.txt").write_text("words\n")
    report = verify_dataset(published, KEY, against=photos)
    assert report.different.keys() == {
        "a/0.jpg", "a/2.jpg", "b/1.jpg", "b/new.png", "README.md", "more.txt", str(photos),
    }  # fmt: skip
    assert "comes back changed" in report.different["README.md"]
    assert "2 images more" in report.different[str(photos)]


@pytest.mark.parametrize("keep", ["files", "pixels"])
def test_paths_matter_and_not_only_classes(tmp_path, scenes, keep):
    for n, folder in enumerate(["train/c", "test/c"]):
        (tmp_path / "photos" / folder).mkdir(parents=True)
        Image.fromarray(scenes[n]).save(tmp_path / "photos" / folder / "1.png")
    out = tmp_path / "out"
    protect_dataset(tmp_path / "photos", out, KEY, keep=keep)
    assert verify_dataset(out, KEY, against=tmp_path / "photos").different == {}
    (out / "train" / "c" / "1.png").rename(out / "x.png")
    (out / "test" / "c" / "1.png").rename(out / "train" / "c" / "1.png")
    (out / "x.png").rename(out / "test" / "c" / "1.png")
    found = verify_dataset(out, KEY, against=tmp_path / "photos").different
    assert {"train/c/1.png", "test/c/1.png"} < found.keys()


def test_files_of_other_names_are_told(tmp_path, photos):
    protect_dataset(photos, tmp_path / "out", KEY, keep="files")
    (tmp_path / "out" / "a" / "0.png").rename(tmp_path / "out" / "a" / "other.png")
    report = verify_dataset(tmp_path / "out", KEY, against=photos)
    assert report.different.keys() == {"a/0.jpg", str(photos)}


def test_an_archive_with_a_folder_of_its_own_is_the_same(tmp_path, photos):
    (photos / "film.mp4").unlink()
    (photos / "README.md").unlink()
    protect_dataset(photos, tmp_path / "out", KEY, keep="files")
    archive = shutil.make_archive(str(tmp_path / "packed"), "gztar", tmp_path, "photos")
    assert verify_dataset(tmp_path / "out", KEY, against=archive).different == {}


def test_one_folder_of_several_comes_back_where_it_was(tmp_path, photos):
    (photos / "film.mp4").unlink()
    protect_dataset(photos, tmp_path / "out", KEY, selection=Selection(include=("a/*",)))
    report = verify_dataset(tmp_path / "out", KEY, against=photos)
    assert report.different.keys() == {"b/1.jpg", "b/3.jpg", "b/5.png"}


@pytest.mark.parametrize("kind", ["webdataset", "parquet", "numpy"])
def test_those_without_a_class_come_back_as_a_folder(tmp_path, scenes, kind):
    """They lie in the folder of their shard, which readers of folders take for a class."""
    clean = tmp_path / "clean"
    clean.mkdir()
    files = [encode_image(scene) for scene in scenes[:3]]
    if kind == "webdataset":
        tarred(clean / "s.tar", [(f"{n}.png", file) for n, file in enumerate(files)])
    elif kind == "parquet":
        pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        parquet.write_table(pa.table({"image": files}), clean / "s.parquet")
    else:
        np.save(clean / "s.npy", scenes[:3])
    protect_dataset(clean, tmp_path / "out", KEY, out_format="folder")
    report = verify_dataset(tmp_path / "out", KEY, against=clean)
    assert (report.done, report.compared, report.different) == (3, "images", {})
    image = next((tmp_path / "out").rglob("*.png"))
    (tmp_path / "out" / "other").mkdir()
    image.rename(tmp_path / "out" / "other" / image.name)  # a class that it never had
    assert len(verify_dataset(tmp_path / "out", KEY, against=clean).different) == 2


def test_members_that_the_clean_set_never_had_are_named(tmp_path, scenes):
    image = encode_image(scenes[0])
    members = [("0.png", image), ("0.cls", b"1"), ("1.png", image), ("1.cls", b"1")]
    tarred(tmp_path / "clean" / "s.tar", members)
    protect_dataset(tmp_path / "clean", tmp_path / "out", KEY)
    published = tmp_path / "out" / "s.tar"
    was = members_of(published)
    tarred(published, [*was[:2], ("0.text", b"x"), *was[2:], ("x.txt", b"words")])
    report = verify_dataset(tmp_path / "out", KEY, against=tmp_path / "clean")
    assert report.different.keys() == {"*.text", "s/x.txt"}
    assert "the clean dataset does not have it" in report.different["*.text"]
    tarred(published, [*was[:1], ("0.cls", b"2"), *was[2:]])  # changed, and not one more
    report = verify_dataset(tmp_path / "out", KEY, against=tmp_path / "clean")
    assert {"*.cls"}.isdisjoint(report.different)
    assert report.different


@pytest.mark.parametrize("kind", ["webdataset", "parquet"])
def test_texts_of_no_image_are_compared_where_they_lie(tmp_path, scenes, kind):
    if kind == "parquet":
        pytest.importorskip("pyarrow")
    told = json.dumps({"a": 1, "pixels": list(range(999))}).encode()
    members = [("0.png", encode_image(scenes[0])), ("x.json", told), ("y.txt", b"words")]
    tarred(tmp_path / "clean" / "s.tar", members)
    protect_dataset(tmp_path / "clean", tmp_path / "out", KEY, out_format=kind)
    assert verify_dataset(tmp_path / "out", KEY, against=tmp_path / "clean").different == {}
    members[2] = ("y.txt", b"other")
    tarred(tmp_path / "clean" / "s.tar", members)
    report = verify_dataset(tmp_path / "out", KEY, against=tmp_path / "clean")
    assert report.different.keys() == {"s/y.txt"}


def test_columns_and_arrays_that_the_clean_set_never_had_are_named(tmp_path, scenes):
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    (tmp_path / "clean").mkdir()
    table = pa.table({"image": [encode_image(scenes[0])], "id": [1]})
    parquet.write_table(table, tmp_path / "clean" / "t.parquet")
    protect_dataset(tmp_path / "clean", tmp_path / "out", KEY)
    published = parquet.read_table(tmp_path / "out" / "t.parquet")
    more = published.append_column("more", pa.array([7]))
    parquet.write_table(more, tmp_path / "out" / "t.parquet")
    found = verify_dataset(tmp_path / "out", KEY, against=tmp_path / "clean").different
    assert "does not have" in found["more"]
    np.savez(tmp_path / "a.npz", images=scenes, labels=np.arange(8))
    protect_dataset(tmp_path / "a.npz", tmp_path / "arrays", KEY)
    assert not verify_dataset(tmp_path / "arrays", KEY, against=tmp_path / "a.npz").different
    with np.load(tmp_path / "arrays" / "a.npz") as arrays:
        np.savez(tmp_path / "arrays" / "a.npz", **arrays, more=np.arange(3))
    found = verify_dataset(tmp_path / "arrays", KEY, against=tmp_path / "a.npz").different
    assert found.keys() == {"a.npz/more"}


def test_a_part_is_not_compared(tmp_path, photos):
    protect_dataset(photos, tmp_path / "out", KEY)
    with pytest.raises(dsguard.InputError, match="leave out the choice of images"):
        verify_dataset(tmp_path / "out", KEY, against=photos, selection=Selection(limit=2))


def test_files_that_are_not_kept_are_told(tmp_path, photos):
    protect_dataset(photos, tmp_path / "out", KEY, keep="pixels")
    report = verify_dataset(tmp_path / "out", KEY, against=photos)
    assert report.different.keys() == {"film.mp4"}


def test_images_that_are_twice_have_to_come_back_twice(tmp_path, photos):
    twice = (photos / "a" / "0.jpg").read_bytes()
    protect_dataset(photos, tmp_path / "out", KEY, keep="files")
    (photos / "b" / "0.jpg").write_bytes(twice)
    (photos / "a" / "x").mkdir()
    (photos / "a" / "x" / "0.jpg").write_bytes(twice)
    report = verify_dataset(tmp_path / "out", KEY, against=photos)
    assert report.different.keys() == {"b/0.jpg", "a/x/0.jpg"}


def test_from_the_command_line(tmp_path, photos, capsys):
    KEY.save(tmp_path / "key")
    key = ["--key", str(tmp_path / "key")]
    out = str(tmp_path / "out")
    assert run(["protect", str(photos), out, *key, "--keep", "files"]) == Exit.OK
    assert run(["verify", out, *key, "--against", str(photos)]) == Exit.OK
    assert "all of the clean dataset comes back as it is" in capsys.readouterr().out
    data = io.BytesIO()
    Image.new("RGB", (20, 20)).save(data, "jpeg")
    (photos / "a" / "0.jpg").write_bytes(data.getvalue())
    assert run(["verify", out, *key, "--against", str(photos)]) == Exit.SOME_FAILED
    assert "a/0.jpg: does not come back as it is" in capsys.readouterr().err
    assert run(["verify", out, *key, "--against", str(photos), "--json"]) == Exit.SOME_FAILED
    assert "a/0.jpg" in json.loads(capsys.readouterr().out)["different"]


def test_what_comes_back_in_another_format_is_not_called_as_it_is(tmp_path, photos, capsys):
    """A table becomes fields: a restored folder has none."""
    KEY.save(tmp_path / "key")
    (photos / "metadata.jsonl").write_text('{"file_name": "a/0.jpg", "text": "a boat"}\n')
    key, out = ["--key", str(tmp_path / "key")], str(tmp_path / "out")
    assert run(["protect", str(photos), out, *key, "--out-format", "webdataset"]) == Exit.OK
    assert run(["verify", out, *key, "--against", str(photos)]) == Exit.OK
    told = capsys.readouterr().out
    assert "all images, fields and labels of the clean dataset come back" in told
    assert "as it is" not in told


@pytest.mark.parametrize("kind", ["folder", "webdataset", "parquet"])
def test_columns_that_were_added_come_back(tmp_path, photos, kind):
    """A Parquet file that was made of a folder is its owner's, who adds columns to it."""
    pq = pytest.importorskip("pyarrow.parquet")
    (photos / "a" / "0.json").write_text('{"old": 1}')
    protect_dataset(photos, tmp_path / "once", KEY, out_format="parquet")
    restore_dataset(tmp_path / "once", tmp_path / "clean", KEY)
    file = tmp_path / "clean" / "00000.parquet"
    pq.write_table(pq.read_table(file).append_column("caption", [list(map(str, range(6)))]), file)
    protect_dataset(tmp_path / "clean", tmp_path / "out", KEY, out_format=kind)
    assert verify_dataset(tmp_path / "out", KEY, against=tmp_path / "clean").different == {}
    restore_dataset(tmp_path / "out", tmp_path / "back", KEY, out_format="webdataset")
    shard = next((tmp_path / "back").glob("*.tar"))
    told = {data for name, data in members_of(shard) if name.endswith(".json")}
    assert told == {b'{"old": 1}', *(b'{"caption": "%d"}' % n for n in range(6))}


def test_fields_that_are_called_as_hexadecimal_come_back(tmp_path, scenes):
    pytest.importorskip("pyarrow")
    own = {"note:hex": b"hello", "more:hex": b"6869", "x": b"\xff", "x:hex": b"", "y.txt": b""}
    members = [("k.png", encode_image(scenes[0])), *((f"k.{n}", data) for n, data in own.items())]
    tarred(tmp_path / "clean" / "0.tar", members)
    protect_dataset(tmp_path / "clean", tmp_path / "out", KEY, out_format="parquet")
    restore_dataset(tmp_path / "out", tmp_path / "back", KEY, out_format="webdataset")
    back = dict(members_of(tmp_path / "back" / "0.tar"))
    assert {f"0/k.{name}": data for name, data in own.items()}.items() <= back.items()


@pytest.mark.parametrize("kind", ["webdataset", "parquet"])
@pytest.mark.parametrize("folder", ["", "k/"])
@pytest.mark.parametrize(("suffix", "text"), [("cls", "3\n"), ("json", '{"label": "x"}')])
def test_a_class_that_a_file_beside_an_image_tells(tmp_path, scenes, kind, folder, suffix, text):
    """A shard has it from there, a folder does not."""
    if kind == "parquet":
        pytest.importorskip("pyarrow")
    for n, name in enumerate((f"{folder}a.png", "m/b.png")):
        (tmp_path / "clean" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "clean" / name).write_bytes(encode_image(scenes[n]))
    beside = tmp_path / "clean" / f"{folder}a.{suffix}"
    beside.write_text(text)
    protect_dataset(tmp_path / "clean", tmp_path / "out", KEY, out_format=kind)
    report = verify_dataset(tmp_path / "out", KEY, against=tmp_path / "clean")
    assert (report.different, report.compared) == ({}, "contents")
    beside.write_text(text.translate(str.maketrans("3x", "4z")))
    assert verify_dataset(tmp_path / "out", KEY, against=tmp_path / "clean").different
    beside.write_text(text)
    (tmp_path / "clean" / folder / "a.png").write_bytes(encode_image(scenes[2]))
    assert verify_dataset(tmp_path / "out", KEY, against=tmp_path / "clean").different


@pytest.mark.parametrize("kind", ["npz", "webdataset", "parquet"])
def test_a_table_that_was_sealed_beside_shards_is_missed_in_none(tmp_path, photos, scenes, kind):
    clean = tmp_path / "clean"
    clean.mkdir()
    if kind == "npz":
        np.savez(clean / "set.npz", images=scenes, labels=np.arange(len(scenes)) % 2)
    else:
        if kind == "parquet":
            pytest.importorskip("pyarrow")
        protect_dataset(photos, tmp_path / "once", KEY, out_format=kind, drop=["film.mp4"])
        restore_dataset(tmp_path / "once", clean, KEY)
    told = [{"row": n, "thumb": scenes[n].tobytes().hex()} for n in range(6)]
    (clean / "metadata.jsonl").write_text("".join(json.dumps(each) + "\n" for each in told))
    assert protect_dataset(clean, tmp_path / "out", KEY).sealed_files == 1
    assert verify_dataset(tmp_path / "out", KEY, against=clean).different == {}
    report = restore_dataset(tmp_path / "out", tmp_path / "back", KEY)
    assert (report.failed, report.failures) == (0, {})
    for name in ("metadata.jsonl", "README.md"):
        if (clean / name).exists():
            assert (tmp_path / "back" / name).read_bytes() == (clean / name).read_bytes()


def test_a_file_with_more_pictures_than_came_back_is_named(tmp_path, scenes):
    frames = [b"P6 32 32 255 " + scene.tobytes() for scene in scenes[:2]]
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "film.ppm").write_bytes(frames[0])
    protect_dataset(tmp_path / "in", tmp_path / "out", KEY, keep="pixels")
    assert not verify_dataset(tmp_path / "out", KEY, against=tmp_path / "in").different
    (tmp_path / "in" / "film.ppm").write_bytes(b"".join(frames))
    assert verify_dataset(tmp_path / "out", KEY, against=tmp_path / "in").different


def test_another_number_of_a_class_is_named(tmp_path, photos):
    """Shards of a folder have numbers of classes, which the folder has not."""
    (photos / "film.mp4").unlink()
    protect_dataset(photos, tmp_path / "out", KEY, out_format="webdataset")
    (shard,) = (tmp_path / "out").glob("*.tar")
    members = [(name, b"1" if name == "a/0.cls" else data) for name, data in members_of(shard)]
    tarred(shard, members)
    report = verify_dataset(tmp_path / "out", KEY, against=photos)
    assert set(report.different) == {"a/0.jpg"}
    assert "number of its class" in str(report.different["a/0.jpg"])
