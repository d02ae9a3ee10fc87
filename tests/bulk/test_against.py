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
from dsguard.bulk import Selection, protect_dataset, verify_dataset
from dsguard.cli.commands import Exit, run

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
    assert report.compared == "all"


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
