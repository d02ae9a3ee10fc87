"""A part of a published set comes back as it was: chosen images, or one shard."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import dsguard
from dsguard.bulk import (
    Selection,
    protect_dataset,
    restore_dataset,
    source_journal,
    verify_dataset,
)
from dsguard.formats import encode_images, png

from .folders import files_in

KEY = dsguard.DatasetKey(bytes(range(32)))
CAPTION = "a fish lies on the hand of a man beside the river " * 8


def jpeg(scene) -> bytes:
    out = io.BytesIO()
    Image.fromarray(scene).save(out, "jpeg")
    return out.getvalue()


def image_folder(root: Path, split: str, count: int) -> None:
    rows = ({"file_name": f"{n}.jpg", "text": f"{n} {CAPTION}"} for n in range(count))
    (root / split / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def coco(root: Path, split: str, count: int) -> None:
    document = {
        "images": [{"id": n, "file_name": f"{n}.jpg"} for n in range(count)],
        "annotations": [{"id": n, "image_id": n, "caption": CAPTION} for n in range(count)],
    }
    (root / split / "captions.json").write_text(json.dumps(document))


def labelme(root: Path, split: str, count: int) -> None:
    for n in range(count):
        told = {"imagePath": f"{n}.jpg", "imageData": "x" * 500, "shapes": []}
        (root / split / f"{n}.json").write_text(json.dumps(told))


@pytest.fixture(params=[image_folder, coco, labelme])
def clean(tmp_path, request, scenes, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for split in ("train", "test"):
        (tmp_path / "clean" / split).mkdir(parents=True)
        for n, scene in enumerate(scenes[:4]):
            (tmp_path / "clean" / split / f"{n}.jpg").write_bytes(jpeg(scene))
        request.param(tmp_path / "clean", split, 4)
    return tmp_path / "clean"


@pytest.mark.parametrize("only_named", [False, True])
def test_chosen_images_have_their_sealed_texts(clean, only_named):
    """What is published of a text has `null` in the place of long values."""
    protect_dataset("clean", "safe", KEY, only_named=only_named)
    wanted = {name: data for name, data in files_in(clean).items() if name.startswith("train/")}
    restore_dataset("safe", "part", KEY, selection=Selection(include=("train/*",)))
    found = files_in(clean.parent / "part")
    assert {name: found[name] for name in wanted} == wanted
    assert not [name for name in found if name.startswith("test/") and name.endswith(".jpg")]
    assert CAPTION not in "".join(
        data.decode() for name, data in found.items() if name.startswith("test/")
    )
    restore_dataset("safe", "all", KEY, selection=Selection(include=("*",)))
    assert files_in(clean.parent / "all") == files_in(clean)
    dates = [path.stat().st_mtime_ns for path in sorted(Path("all").rglob("*.*"))]
    assert dates == [path.stat().st_mtime_ns for path in sorted(clean.rglob("*.*"))]


@pytest.mark.parametrize("shard", ["00000.tar", "a.tar.gz"])
def test_one_shard_has_its_sealed_fields(tmp_path, scenes, shard):
    """Its name does not tell whether a tar file is a shard; what was sealed beside it does."""
    (tmp_path / "clean").mkdir()
    mode = "w:gz" if shard.endswith("gz") else "w"
    with tarfile.open(tmp_path / "clean" / shard, mode) as tar:
        for n, file in enumerate(encode_images(scenes[:2])):
            mask = io.BytesIO()
            np.save(mask, scenes[n][..., 0])
            for end, data in (("png", file), ("cls", b"%d" % n), ("mask.npy", mask.getvalue())):
                info = tarfile.TarInfo(f"{n}.{end}")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    protect_dataset(tmp_path / "clean", tmp_path / "safe", KEY, workers=1)
    published = next(path for path in (tmp_path / "safe").iterdir() if ".tar" in path.name)
    assert restore_dataset(published, tmp_path / "one", KEY, workers=1).sealed_fields == 2
    restore_dataset(tmp_path / "safe", tmp_path / "all", KEY, workers=1)
    assert files_in(tmp_path / "one") == files_in(tmp_path / "all")
    assert verify_dataset(published, KEY, workers=1).sealed_fields == 2
    report = verify_dataset(published, KEY, against=tmp_path / "clean" / shard, workers=1)
    assert (report.differences, report.compared) == (0, "all")


@pytest.mark.parametrize(
    "name",
    ["sealed-files (1).dsguard", "sealed-files.dsguard.txt", "Sealed-Files.DSGUARD", "a.part"],
)
def test_sealed_files_under_another_name_are_named(tmp_path, scenes, name):
    """Browsers and systems add to names; the texts would have `null` for long values."""
    (tmp_path / "clean").mkdir()
    (tmp_path / "clean" / "0.jpg").write_bytes(jpeg(scenes[0]))
    (tmp_path / "clean" / "0.json").write_text(json.dumps({"caption": CAPTION}))
    protect_dataset(tmp_path / "clean", tmp_path / "safe", KEY)
    (tmp_path / "safe.dsguard").rename(tmp_path / "journal")
    name = name.replace("a.part", "sealed-files.dsguard.part")
    (tmp_path / "safe" / "sealed-files.dsguard").rename(tmp_path / "safe" / name)
    for report in (
        restore_dataset(tmp_path / "safe", tmp_path / "back", KEY),
        verify_dataset(tmp_path / "safe", KEY),
    ):
        assert set(report.failures) == {name, "0.json"}  # the list is in it
        assert "has another name" in str(report.failures[name])


@pytest.mark.parametrize("name", ["sealed-files.dsguard.sha256", "sealed-files (1).dsguard"])
def test_check_sums_and_spare_copies_are_nothing_sealed(tmp_path, scenes, name):
    (tmp_path / "clean").mkdir()
    (tmp_path / "clean" / "0.jpg").write_bytes(jpeg(scenes[0]))
    (tmp_path / "clean" / "0.json").write_text(json.dumps({"caption": CAPTION}))
    protect_dataset(tmp_path / "clean", tmp_path / "safe", KEY)
    sealed = (tmp_path / "safe" / "sealed-files.dsguard").read_bytes()
    is_sum = name.endswith("sha256")
    beside = f"{hashlib.sha256(sealed).hexdigest()}  sealed-files.dsguard\n".encode()
    (tmp_path / "safe" / name).write_bytes(beside if is_sum else sealed)
    assert restore_dataset(tmp_path / "safe", tmp_path / "back", KEY).failures == {}
    assert json.loads((tmp_path / "back" / "0.json").read_text()) == {"caption": CAPTION}
    assert verify_dataset(tmp_path / "safe", KEY).failures == {}
    if not is_sum:  # one that was changed since may hold more
        (tmp_path / "safe" / name).write_bytes(sealed + b"\0")
        assert list(verify_dataset(tmp_path / "safe", KEY).failures) == [name]


def test_sealed_files_above_a_part_are_named(tmp_path, scenes):
    for split in ("train", "test"):
        (tmp_path / "clean" / split).mkdir(parents=True)
        (tmp_path / "clean" / split / "0.jpg").write_bytes(jpeg(scenes[0]))
        (tmp_path / "clean" / split / "0.json").write_text(json.dumps({"caption": CAPTION}))
    protect_dataset(tmp_path / "clean", tmp_path / "safe", KEY)
    part = tmp_path / "safe" / "train"
    above = str(tmp_path / "safe" / "sealed-files.dsguard")
    report = restore_dataset(part, tmp_path / "back", KEY)
    assert list(report.failures) == [above, "0.json"]
    assert f"give {tmp_path / 'safe'} and --include" in str(report.failures[above])
    assert verify_dataset(part, KEY).broken == 2
    deep = tmp_path / "clean/a/b/c/d/e"
    deep.mkdir(parents=True)
    (deep / "0.jpg").write_bytes(jpeg(scenes[0]))
    (deep / "0.json").write_text(json.dumps({"caption": CAPTION}))
    protect_dataset(tmp_path / "clean", tmp_path / "far", KEY)
    far = str(tmp_path / "far" / "sealed-files.dsguard")
    assert list(verify_dataset(tmp_path / "far/a/b/c/d/e", KEY).failures) == [far, "0.json"]
    protect_dataset(tmp_path / "clean" / "train", tmp_path / "own", KEY)
    (tmp_path / "own").rename(tmp_path / "safe" / "own")
    assert verify_dataset(tmp_path / "safe" / "own", KEY).broken == 0  # it has its own
    for shards in ("webdataset", "parquet"):
        protect_dataset(tmp_path / "clean", tmp_path / shards, KEY, out_format=shards)
        (tmp_path / shards).rename(tmp_path / "safe" / shards)
        assert verify_dataset(tmp_path / "safe" / shards, KEY).broken == 0


POINTER = b"version https://git-lfs.github.com/spec/v1\n"


@pytest.mark.parametrize("damage", ["pointer", "empty", "changed", "link", "pipe", "other key"])
def test_sealed_files_above_a_part_that_are_not_fetched_are_named(tmp_path, scenes, damage):
    """Of Git LFS and DataLad, whose users fetch a part."""
    (tmp_path / "clean" / "train").mkdir(parents=True)
    (tmp_path / "clean" / "train" / "0.jpg").write_bytes(jpeg(scenes[0]))
    (tmp_path / "clean" / "train" / "0.json").write_text(json.dumps({"caption": CAPTION}))
    protect_dataset(tmp_path / "clean", tmp_path / "safe", KEY)
    above = tmp_path / "safe" / "sealed-files.dsguard"
    data = bytearray(above.read_bytes())
    data[len(data) // 2] ^= 1
    above.unlink()
    if damage == "link":
        above.symlink_to(".git/annex/objects/of/nothing")
    elif damage == "pipe":
        os.mkfifo(tmp_path / "pipe")
        above.symlink_to(tmp_path / "pipe")  # reading it would never end
    elif damage == "other key":
        other = dsguard.DatasetKey(bytes(32))
        protect_dataset(tmp_path / "clean", tmp_path / "other", other)
        (tmp_path / "other" / above.name).rename(above)
    else:
        above.write_bytes({"pointer": POINTER, "empty": b"", "changed": bytes(data)}[damage])
    report = restore_dataset(tmp_path / "safe" / "train", tmp_path / "back", KEY)
    named = ["0.json"] if damage == "other key" else [str(above), "0.json"]
    assert list(report.failures) == named
    assert list(verify_dataset(tmp_path / "safe" / "train", KEY).failures) == named


def whole(tmp_path, scenes, **options):
    """Protect a dataset whose features are sealed with others; return where."""
    (tmp_path / "clean" / "train").mkdir(parents=True)
    for n in range(2):
        (tmp_path / "clean" / "train" / f"{n}.jpg").write_bytes(jpeg(scenes[n]))
        (tmp_path / "clean" / "train" / f"{n}.npy").write_bytes(npy(scenes[n]))
    protect_dataset(tmp_path / "clean", tmp_path / "safe", KEY, **options)
    return tmp_path / "safe"


def npy(values):
    file = io.BytesIO()
    np.save(file, values)
    return file.getvalue()


@pytest.mark.parametrize("inside", [False, True])
def test_sealed_files_above_a_part_that_is_given_by_a_link_are_named(tmp_path, scenes, inside):
    """The link leads to the part, or stands for it in the published folder."""
    part = whole(tmp_path, scenes) / "train"
    if inside:
        part.rename(tmp_path / "other disk")
        part.symlink_to(tmp_path / "other disk")
    else:
        (tmp_path / "link").symlink_to(part)
        part = tmp_path / "link"
    for report in (restore_dataset(part, tmp_path / "back", KEY), verify_dataset(part, KEY)):
        assert list(report.failures) == [str(tmp_path / "safe" / "sealed-files.dsguard")]


def test_sealed_files_above_a_part_at_a_url_are_named(tmp_path, scenes):
    fsspec = pytest.importorskip("fsspec")
    safe = whole(tmp_path, scenes)
    fsspec.filesystem("memory").put(str(safe), "/hub/owner/set", recursive=True)
    part = "memory://hub/owner/set/train"
    for report in (restore_dataset(part, tmp_path / "back", KEY), verify_dataset(part, KEY)):
        assert list(report.failures) == ["memory://hub/owner/set/sealed-files.dsguard"]
    assert verify_dataset("memory://hub/owner/set", KEY).failures == {}
    for answer, is_named in ((b"any path is well here", False), (POINTER, True)):
        fsspec.filesystem("memory").pipe("/hub/owner/set/sealed-files.dsguard", answer)
        assert bool(verify_dataset(part, KEY).failures) == is_named


@pytest.mark.parametrize("kind", ["webdataset", "parquet"])
def test_sealed_files_beside_one_shard_are_named(tmp_path, scenes, kind):
    if kind == "parquet":
        pytest.importorskip("pyarrow")
    safe = whole(tmp_path, scenes, out_format=kind)
    (shard,) = (each for each in safe.iterdir() if not each.name.endswith(".dsguard"))
    for report in (restore_dataset(shard, tmp_path / "back", KEY), verify_dataset(shard, KEY)):
        assert list(report.failures) == [str(safe / "sealed-files.dsguard")]
    assert verify_dataset(safe, KEY).failures == {}
    link = tmp_path / shard.name
    link.symlink_to(shard)
    assert list(verify_dataset(link, KEY).failures) == [str(safe / "sealed-files.dsguard")]
    (tmp_path / "alone").mkdir()
    shard.rename(tmp_path / "alone" / shard.name)
    assert verify_dataset(tmp_path / "alone" / shard.name, KEY).failures == {}


def test_pieces_beside_that_which_a_link_leads_to_are_named(tmp_path, scenes):
    (tmp_path / "clean").mkdir()
    (tmp_path / "clean" / "0.jpg").write_bytes(jpeg(scenes[0]))
    (tmp_path / "clean" / "0.json").write_text(json.dumps({"caption": CAPTION}))
    protect_dataset(tmp_path / "clean", tmp_path / "safe", KEY, out_format="webdataset")
    (tmp_path / "home").mkdir()
    link = tmp_path / "home" / "0.tar"
    link.symlink_to(tmp_path / "safe" / "00000.tar")
    piece = tmp_path / "safe" / "00000.0.sealed-fields.dsguard"
    assert list(verify_dataset(link, KEY).failures) == [str(piece)]
    assert "give that, and not a link to it" in str(verify_dataset(link, KEY).failures[str(piece)])


def test_many_files_that_are_called_as_sealed_ones_are_each_read_once(
    tmp_path, scenes, monkeypatch
):
    (tmp_path / "clean").mkdir()
    (tmp_path / "clean" / "0.jpg").write_bytes(jpeg(scenes[0]))
    protect_dataset(tmp_path / "clean", tmp_path / "safe", KEY)
    for n in range(50):
        for name in (f"{n}.sealed-files.dsguard", f"{n}.sealed-files (1).dsguard"):
            (tmp_path / "safe" / name).write_bytes(png.SIGNATURE + name.encode())
    read = []
    monkeypatch.setattr(source_journal, "start_of", lambda source, name: read.append(name) or b"")
    verify_dataset(tmp_path / "safe", KEY)
    assert len(read) <= 100


def test_shards_with_pieces_of_their_own_need_no_sealed_file_above(tmp_path, scenes):
    (tmp_path / "clean").mkdir()
    (tmp_path / "clean" / "0.jpg").write_bytes(jpeg(scenes[0]))
    (tmp_path / "clean" / "0.json").write_text(json.dumps({"caption": CAPTION}))
    (tmp_path / "hub").mkdir()
    part = tmp_path / "hub" / "shards"
    protect_dataset(tmp_path / "clean", part, KEY, out_format="webdataset")
    (tmp_path / "hub" / "sealed-files.dsguard").write_bytes(POINTER)
    assert verify_dataset(part, KEY).failures == {}


def test_a_sealed_file_that_only_its_check_sum_tells_of_is_named(tmp_path, scenes):
    (tmp_path / "clean").mkdir()
    (tmp_path / "clean" / "0.jpg").write_bytes(jpeg(scenes[0]))
    (tmp_path / "clean" / "0.json").write_text(json.dumps({"caption": CAPTION}))
    protect_dataset(tmp_path / "clean", tmp_path / "safe", KEY)
    (tmp_path / "safe.dsguard").rename(tmp_path / "journal")
    (tmp_path / "safe" / "sealed-files.dsguard").unlink()
    (tmp_path / "safe" / "sealed-files.dsguard.dvc").write_text("outs:\n- md5: 0\n")
    report = restore_dataset(tmp_path / "safe", tmp_path / "back", KEY)
    assert list(report.failures) == ["sealed-files.dsguard.dvc", "0.json"]


@pytest.mark.parametrize("piece", [b"", POINTER, b"\x89PN", b"link"])
def test_a_sealed_piece_of_one_shard_that_is_damaged_is_named(tmp_path, scenes, piece):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    images = [{"bytes": file, "path": None} for file in encode_images(scenes[:2])]
    (tmp_path / "clean").mkdir()
    pq.write_table(
        pa.table({"image": images, "report": [CAPTION] * 2}), tmp_path / "clean/t.parquet"
    )
    protect_dataset(tmp_path / "clean", tmp_path / "safe", KEY, workers=1)
    path = tmp_path / "safe/t.parquet.0.sealed-fields.dsguard"
    path.write_bytes(piece)
    if piece == b"link":
        path.unlink()
        path.symlink_to(".git/annex/objects/of/nothing")
    shard = tmp_path / "safe/t.parquet"
    assert restore_dataset(shard, tmp_path / "back", KEY, workers=1).broken == 1
    assert verify_dataset(shard, KEY, workers=1).broken == 1


@pytest.mark.skipif(os.name != "posix", reason="needs links")
@pytest.mark.parametrize(
    ("selection", "named"),
    [
        (Selection(include=("*.jpg",)), True),
        (Selection(include=("train/*/*.jpg",)), True),
        (Selection(include=("train/dog/1*", "test/*")), True),
        (Selection(include=("train/cat/*",)), False),
        (Selection(include=("test/*",)), False),
        (Selection(exclude=("train/dog/*",)), False),
    ],
)
def test_a_folder_that_is_not_read_is_named_where_its_images_may_be_chosen(
    tmp_path, scenes, selection, named
):
    for folder in ("clean/train/cat", "clean/test/cat", "disk/dog"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "1.jpg").write_bytes(jpeg(scenes[0]))
    (tmp_path / "clean/train/dog").symlink_to(tmp_path / "disk/dog")
    report = protect_dataset(tmp_path / "clean", tmp_path / "out", KEY, selection=selection)
    assert list(report.failures) == ["train/dog/"] * named
    assert report.done > 0
