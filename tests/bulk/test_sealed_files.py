"""Files beside the images: what is not published of them is sealed, and comes back."""

from __future__ import annotations

import json
import os
import shutil
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import dsguard
from dsguard.bulk import Selection, protect_dataset, restore_dataset, verify_dataset
from dsguard.bulk.sealed_files import MOST_BYTES, SEALED_FILES, opened, sealed
from dsguard.bulk.sealed_lists import PUBLISHED
from dsguard.cli.commands import Exit, run
from dsguard.codecs import Sealed
from dsguard.formats import encode_image

from .folders import files_in

KEY, OTHER = dsguard.DatasetKey(bytes(32)), dsguard.DatasetKey(bytes(31) + b"x")


@pytest.fixture
def photos(tmp_path, scenes) -> Path:
    """Return a folder with files beside the images that are not published as they are."""
    root = tmp_path / "photos"
    captions = []
    for n, scene in enumerate(scenes[:6]):
        path = root / "ab"[n % 2] / f"{n}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(scene).save(path, quality=90)
        captions.append({"file_name": f"{'ab'[n % 2]}/{n}.jpg", "text": "long words " * 90})
    (root / "metadata.jsonl").write_text("".join(json.dumps(each) + "\r\n" for each in captions))
    (root / "README.md").write_text("A few photographs.\n")
    (root / "a" / "0.json").write_text(json.dumps({"pixels": scenes[0].tolist(), "label": "a"}))
    (root / "film.mp4").write_bytes(scenes.tobytes())
    np.save(root / "features.npy", scenes[:2].astype(np.float32))
    return root


AS_PUBLISHED = ("README.md", "metadata.jsonl", "a/0.json")


def seal_others(out, files: dict[str, bytes]) -> None:
    """Seal other files than a run has, beside its list of published ones."""
    path = out / SEALED_FILES
    published = opened(path.read_bytes(), KEY)[PUBLISHED]
    path.write_bytes(sealed({**files, PUBLISHED: published}, KEY))


def test_a_folder_comes_back_as_it_was(tmp_path, photos):
    report = protect_dataset(photos, tmp_path / "out", KEY, keep="files")
    assert (report.done, report.failed, report.left_out, report.foreign) == (6, 0, {}, [])
    assert report.sealed_files == 4
    published = files_in(tmp_path / "out")
    assert {"metadata.jsonl", "README.md", SEALED_FILES} <= published.keys()
    assert not {"film.mp4", "features.npy"} & published.keys()
    assert b"long words" not in b"".join(published.values())
    assert restore_dataset(tmp_path / "out", tmp_path / "back", KEY).failed == 0
    assert files_in(tmp_path / "back") == files_in(photos)
    again = protect_dataset(photos, tmp_path / "again", KEY, keep="files")
    assert again.sealed_files == 4
    assert files_in(tmp_path / "again") == published


def test_without_files_they_are_left_out_and_named(tmp_path, photos):
    report = protect_dataset(photos, tmp_path / "out", KEY, keep="pixels")
    assert {"film.mp4", "features.npy"} <= {each.first for each in report.left_out.values()}
    assert report.sealed_files == 0
    assert opened(files_in(tmp_path / "out")[SEALED_FILES], KEY).keys() == {PUBLISHED}


def test_the_owner_decides(tmp_path, photos):
    protect_dataset(
        photos, tmp_path / "out", KEY, keep="files", drop=("*.mp4",), publish=("*.npy", "*.jsonl")
    )
    was = files_in(photos)
    published = files_in(tmp_path / "out")
    assert published["features.npy"] == was["features.npy"]
    assert "film.mp4" not in published
    restore_dataset(tmp_path / "out", tmp_path / "back", KEY)
    del was["film.mp4"]
    assert files_in(tmp_path / "back") == was


def test_a_key_is_not_sealed(tmp_path, photos):
    KEY.save(photos / "a" / "dataset.key")
    report = protect_dataset(photos, tmp_path / "out", KEY, keep="files")
    assert [each.first for each in report.left_out.values()] == ["a/dataset.key"]


def test_too_much_is_left_out(tmp_path, photos, monkeypatch):
    monkeypatch.setattr("dsguard.bulk.companions.Companions._room", 40_000)
    report = protect_dataset(photos, tmp_path / "out", KEY, keep="files")
    assert {each.first for each in report.left_out.values()} >= {"film.mp4"}
    restore_dataset(tmp_path / "out", tmp_path / "back", KEY)
    was = files_in(photos)
    assert all(was[name] == data for name, data in files_in(tmp_path / "back").items()
               if name.endswith((".md", ".jpg")))  # fmt: skip
    assert MOST_BYTES > 1 << 20


def test_a_change_is_noticed(tmp_path, photos):
    protect_dataset(photos, tmp_path / "out", KEY, keep="files")
    path = tmp_path / "out" / SEALED_FILES
    whole = path.read_bytes()
    assert verify_dataset(tmp_path / "out", KEY).failed == 0
    for place in (len(whole) // 2, len(whole) - 20, 200):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        report = verify_dataset(tmp_path / "out", KEY)
        assert SEALED_FILES in report.failures
        restored = restore_dataset(tmp_path / "out", tmp_path / f"back{place}", KEY)
        assert restored.done == 6
        assert restored.failures.keys() == {SEALED_FILES, *AS_PUBLISHED}  # the list is in it
    path.write_bytes(sealed({"x": b"y"}, OTHER))
    assert isinstance(
        verify_dataset(tmp_path / "out", KEY).failures[SEALED_FILES], dsguard.WrongKeyError
    )


@pytest.mark.parametrize("name", ["../x", "/x", "a/../../x", ".hidden", "a\0b", "x.dsguard/lock"])
def test_files_stay_in_the_folder(tmp_path, photos, name):
    """Whoever has the key may have made others."""
    protect_dataset(photos, tmp_path / "out", KEY, keep="files")
    seal_others(tmp_path / "out", {name: b"y", "good": b"z"})
    before = set(tmp_path.iterdir())
    report = restore_dataset(tmp_path / "out", tmp_path / "back", KEY)
    after = set(tmp_path.iterdir())
    assert after - before == {tmp_path / "back", tmp_path / "back.dsguard"}
    assert report.broken == 1 or name == "a\0b"
    assert not [path for path in (tmp_path / "back").rglob("*") if path.name in ("x", ".hidden")]


def test_what_carries_something_else_is_refused(scenes):
    image = dsguard.protect_batch(scenes[:1], KEY, codec=Sealed(64)).images[0]
    with pytest.raises(dsguard.TamperedError, match="carries an image"):
        opened(encode_image(image), KEY)
    with pytest.raises(dsguard.NotProtectedError):
        opened(encode_image(scenes[0]), KEY)


def test_from_the_command_line(tmp_path, photos, capsys):
    KEY.save(tmp_path / "key")
    key = ["--key", str(tmp_path / "key")]
    out, back = str(tmp_path / "out"), str(tmp_path / "back")
    assert run(["protect", str(photos), out, *key, "--keep", "files"]) == Exit.OK
    assert f"4 files beside the images sealed in {SEALED_FILES}" in capsys.readouterr().out
    assert run(["restore", out, back, *key]) == Exit.OK
    assert files_in(Path(back)) == files_in(photos)
    assert run(["verify", out, *key]) == Exit.OK


@pytest.mark.parametrize("kind", ["webdataset", "parquet"])
def test_files_beside_shards_come_back(tmp_path, photos, kind):
    if kind == "parquet":
        pytest.importorskip("pyarrow")
    protect_dataset(photos, tmp_path / "out", KEY, keep="files", out_format=kind)
    restore_dataset(tmp_path / "out", tmp_path / "back", KEY)
    was, back = files_in(photos), files_in(tmp_path / "back")
    assert back["film.mp4"] == was["film.mp4"]
    assert back["features.npy"] == was["features.npy"]


def test_they_are_found_in_any_folder(tmp_path, photos):
    """Of a download that was packed with its folder, or several sets that lie side by side."""
    protect_dataset(photos, tmp_path / "sets" / "one", KEY, keep="files")
    shutil.copytree(tmp_path / "sets" / "one", tmp_path / "sets" / "two")
    shutil.rmtree(tmp_path / "sets" / "one.dsguard")
    archive = shutil.make_archive(str(tmp_path / "packed"), "tar", tmp_path, "sets")
    for n, source in enumerate([tmp_path / "sets", archive]):
        assert verify_dataset(source, KEY).failed == 0
        report = restore_dataset(source, tmp_path / f"back{n}", KEY)
        assert (report.failed, report.sealed_files) == (0, 8)
        above = tmp_path / f"back{n}" / ("sets" if n else "")
        for name in ("one", "two"):
            assert files_in(above / name) == files_in(photos)


def test_that_they_are_gone_is_told(tmp_path, photos):
    protect_dataset(photos, tmp_path / "out", KEY, keep="files")
    (tmp_path / "out" / SEALED_FILES).unlink()
    assert "not there any more" in verify_dataset(tmp_path / "out", KEY).failures[
        SEALED_FILES
    ].message  # fmt: skip
    report = restore_dataset(tmp_path / "out", tmp_path / "back", KEY)
    assert report.done == 6
    assert report.failures.keys() == {SEALED_FILES, *AS_PUBLISHED}


@pytest.mark.parametrize("publish", [(), ("*",), ("*.dsguard",)])
def test_a_file_of_that_name_is_not_published(tmp_path, photos, publish):
    (photos / SEALED_FILES).write_bytes(b"mine")
    report = protect_dataset(photos, tmp_path / "out", KEY, keep="files", publish=publish)
    assert b"mine" not in (tmp_path / "out" / SEALED_FILES).read_bytes()[:4]
    if publish:
        assert "rename it" in report.left_out[SEALED_FILES].reason
    restore_dataset(tmp_path / "out", tmp_path / "back", KEY)
    back = files_in(tmp_path / "back")
    assert back.get(SEALED_FILES) == (None if publish else b"mine")


def test_files_of_images_that_are_not_chosen_stay_behind(tmp_path, photos):
    (photos / "b" / "1.npy").write_bytes(b"of an image that is not chosen")
    (photos / "a" / "2.npy").write_bytes(b"of one that is")
    chosen = Selection(include=("a/*",))
    report = protect_dataset(photos, tmp_path / "out", KEY, keep="files", selection=chosen)
    assert report.done == 3
    restore_dataset(tmp_path / "out", tmp_path / "back", KEY)
    back = files_in(tmp_path / "back")
    assert "a/2.npy" in back
    assert "b/1.npy" not in back
    rows = [json.loads(line) for line in back["metadata.jsonl"].decode().splitlines()]
    assert [row["file_name"] for row in rows] == ["a/0.jpg", "a/2.jpg", "a/4.jpg"]


def test_why_a_file_is_not_sealed_is_told(tmp_path, photos, monkeypatch):
    monkeypatch.setattr("dsguard.bulk.companions.Companions._room", 100)
    KEY.save(photos / "my.key")
    report = protect_dataset(photos, tmp_path / "out", KEY, keep="files")
    reasons = {each.first: each.reason for each in report.left_out.values()}
    assert "24 MiB together" in reasons["film.mp4"]
    assert "the key of a dataset" in reasons["my.key"]


def test_a_link_that_leads_out_is_an_error_whatever_is_left_out(tmp_path, photos):
    KEY.save(tmp_path / "key")
    KEY.save(photos / "my.key")  # is left out
    (tmp_path / "outside.bin").write_bytes(b"\0")
    (photos / "link.bin").symlink_to(tmp_path / "outside.bin")
    code = run(["protect", str(photos), str(tmp_path / "out"), "--key", str(tmp_path / "key"),
                "--keep", "files"])  # fmt: skip
    assert code == Exit.SOME_FAILED
    published = b"".join(files_in(tmp_path / "out").values())
    assert b"link.bin" not in published


def _dates(root: Path) -> dict[str, int]:
    return {
        path.relative_to(root).as_posix(): path.stat().st_mtime_ns
        for path in root.rglob("*")
        if path.is_file()
    }


def test_dates_come_back_and_are_not_published(tmp_path, photos):
    for n, path in enumerate(sorted(photos.rglob("*.*"))):
        os.utime(path, ns=(0, 1_000_000_000_000_000_000 + 7 * n))
    was = _dates(photos)
    protect_dataset(photos, tmp_path / "out", KEY, keep="files")
    assert not set(_dates(tmp_path / "out").values()) & set(was.values())
    restore_dataset(tmp_path / "out", tmp_path / "back", KEY)
    assert _dates(tmp_path / "back") == was
    restore_dataset(tmp_path / "out", tmp_path / "part", KEY, selection=Selection(include=("a/*",)))
    assert {name: was[name] for name in _dates(tmp_path / "part")} == _dates(tmp_path / "part")


def test_dates_of_strangers_change_nothing_else(tmp_path, photos):
    protect_dataset(photos, tmp_path / "out", KEY, keep="files")
    other = tmp_path / "other"
    other.write_bytes(b"x")
    before = other.stat().st_mtime_ns
    lines = b"5 ../other\n99999999999999999999 a/0.jpg\nx a/2.jpg\n-1 a/4.jpg\n7\n"
    for n, data in enumerate([zlib.compress(lines), b"", zlib.compress(b"1 a\n" * (1 << 25))]):
        seal_others(tmp_path / "out", {".dates": data})
        report = restore_dataset(tmp_path / "out", tmp_path / f"back{n}", KEY)
        assert (report.done, report.broken) == (6, int(n > 0))
    assert other.stat().st_mtime_ns == before


def test_a_dry_run_judges_files_as_the_run_does(tmp_path, photos, capsys):
    (photos / "features.bin").write_bytes(bytes(100))
    KEY.save(tmp_path / "k")
    command = ["protect", str(photos), str(tmp_path / "out"), "--key", str(tmp_path / "k")]
    assert run([*command, "--dry-run"]) == Exit.OK
    assert "left out" not in capsys.readouterr().err
    assert run(command) == Exit.OK


@pytest.mark.parametrize(
    "name", ["x\n--5 y.jpg", "x\x85--5 y.jpg", "x\u2028--5 y.jpg", "x\n7 a/0.jpg"]
)
def test_a_name_that_no_file_may_have_gives_no_dates(tmp_path, photos, name):
    (photos / name).parent.mkdir(exist_ok=True)
    shutil.copy(photos / "a" / "0.jpg", photos / name)
    was = _dates(photos)
    assert protect_dataset(photos, tmp_path / "out", KEY, keep="files").failed == 1
    report = restore_dataset(tmp_path / "out", tmp_path / "back", KEY)
    assert (report.done, report.broken) == (6, 0)
    back = _dates(tmp_path / "back")
    assert {each: was[each] for each in back} == back


@pytest.mark.parametrize("date", ["--5", "-", "", "+5", "\u0665", "1_0"])
def test_what_is_no_date_is_passed_over(tmp_path, photos, date):
    protect_dataset(photos, tmp_path / "out", KEY, keep="files")
    lines = f"{date} a/0.jpg\nx\u20286 a/2.jpg\n5 a/4.jpg\n".encode()
    seal_others(tmp_path / "out", {".dates": zlib.compress(lines)})
    assert restore_dataset(tmp_path / "out", tmp_path / "back", KEY).broken == 0
    back = _dates(tmp_path / "back")
    assert back["a/4.jpg"] <= 100  # some disks have no single nanoseconds
    assert min(back["a/0.jpg"], back["a/2.jpg"]) > 100


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("cut.jsonl", '{"file_name": "a/0.jpg", "thumb": "SECRET"}\n{"file_name": \n'),
        ("odd.json", '{"thumb": "SECRET", }'),
        ("long.csv", "file_name,thumb\na/0.jpg,SECRET" + "x" * 140_000 + "\n"),
    ],
)
def test_what_is_dropped_of_a_file_that_cannot_be_read_is_not_sealed(
    tmp_path, photos, name, content
):
    (photos / name).write_text(content)
    report = protect_dataset(photos, tmp_path / "out", KEY, keep="files", drop=("thumb",))
    assert name in {each.first for each in report.left_out.values()}
    restore_dataset(tmp_path / "out", tmp_path / "back", KEY)
    assert not any(b"SECRET" in data for data in files_in(tmp_path / "back").values())


@pytest.mark.parametrize("kind", ["webdataset", "parquet"])
def test_other_files_that_are_sealed_lie_beside_shards(tmp_path, photos, kind):
    for name in ("metadata.jsonl", "a/0.json"):
        (photos / name).unlink()
    protect_dataset(photos, tmp_path / "out", KEY)
    report = restore_dataset(tmp_path / "out", tmp_path / "back", KEY, out_format=kind)
    assert report.sealed_files > 0
    assert report.broken == 0


@pytest.mark.parametrize("chosen", [{"include": ("a/1.jpg", "a/2.jpg")}, {"exclude": ("b/*",)}])
@pytest.mark.parametrize("kind", ["jsonl", "coco"])
def test_lists_are_sealed_as_they_tell_of_images_that_are_chosen(tmp_path, scenes, chosen, kind):
    clean, long = tmp_path / "clean", "word " * 200
    names = ["a/1.jpg", "a/2.jpg", "b/3.jpg"]
    for name, scene in zip(names, scenes, strict=False):
        (clean / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(scene).save(clean / name)
    entries = [
        {"id": n, "file_name": name, "caption": f"{n} {long}"} for n, name in enumerate(names)
    ]
    if kind == "jsonl":
        table = clean / "metadata.jsonl"
        table.write_text("".join(json.dumps(each) + "\n" for each in entries))
    else:
        table = clean / "all.json"
        table.write_text(json.dumps({"images": entries, "annotations": []}))
    report = protect_dataset(clean, tmp_path / "out", KEY, selection=Selection(**chosen))
    assert (report.done, report.failed, report.left_out, report.sealed_files) == (2, 0, {}, 1)
    restore_dataset(tmp_path / "out", tmp_path / "back", KEY)
    back = (tmp_path / "back" / table.name).read_text()
    told = [json.loads(line) for line in back.splitlines()]
    assert (told if kind == "jsonl" else told[0]["images"]) == entries[:2]
    assert "b/3" not in back
