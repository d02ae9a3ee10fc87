"""Pickles in shards: published ones are not handed on, since anybody can have put them there."""

from __future__ import annotations

import io
import json
import pickle
import shutil

import numpy as np
import pytest

import dsguard
from dsguard.bulk import protect_dataset, restore_dataset, verify_dataset
from dsguard.cli.commands import Exit, run
from dsguard.formats import encode_image

from .folders import files_in
from .test_sealed_fields import members_of, tarred

KEY = dsguard.DatasetKey(bytes(32))
PICKLES = [("0.pkl", b"a"), ("1.PTH", b"b"), ("1.x.pyd.gz", b"c"), ("notes.pickle", b"d")]
MESSAGE = "is a pickle, which readers of WebDataset run"


@pytest.fixture
def clean(tmp_path, scenes):
    """A shard with pickles, one of them of no image."""
    images = [(f"{n}.png", encode_image(scenes[n])) for n in range(3)]
    tarred(tmp_path / "in" / "0.tar", sorted([*images, ("0.txt", b"cat"), *PICKLES]))
    return tmp_path / "in"


@pytest.mark.parametrize("publish", [(), ("0.pkl", "*.PTH", "*.gz", "*.pickle")])
def test_those_of_the_owner_come_back(tmp_path, clean, publish):
    protect_dataset(clean, tmp_path / "safe", KEY, publish=publish, workers=1)
    published = dict(members_of(tmp_path / "safe" / "0.tar"))
    assert {name for name, _ in PICKLES if name in published} == (
        {name for name, _ in PICKLES} if publish else set()
    )
    report = verify_dataset(tmp_path / "safe", KEY, against=clean, workers=1)
    assert not report.failed
    assert not report.different
    assert not restore_dataset(tmp_path / "safe", tmp_path / "back", KEY, workers=1).failed
    given, back = members_of(clean / "0.tar"), members_of(tmp_path / "back" / "0.tar")
    assert sorted(back) == sorted(given)


def test_those_of_strangers_do_not(tmp_path, clean):
    protect_dataset(clean, tmp_path / "safe", KEY, workers=1)
    shard = tmp_path / "safe" / "0.tar"
    theirs = [("1.pkl", b"x"), ("2.pyd", b"x"), ("2.txt", b"dog"), ("3.pth", b"x"), ("0.pkl", b"x")]
    tarred(shard, sorted([*members_of(shard), *theirs]))
    KEY.save(tmp_path / "k")
    failed = {"0/0.pkl", "0/1.pkl", "0/2.pyd", "0/3.pth"}
    for report in (
        verify_dataset(tmp_path / "safe", KEY, workers=1),
        restore_dataset(tmp_path / "safe", tmp_path / "back", KEY, workers=1),
        restore_dataset(
            tmp_path / "safe", tmp_path / "folder", KEY, out_format="folder", workers=1
        ),
    ):
        assert failed <= set(report.failures)
        assert all(MESSAGE in str(report.failures[name]) for name in failed)
    came = dict(members_of(tmp_path / "back" / "0.tar"))
    assert {name: came[name] for name, _ in PICKLES} == dict(PICKLES)
    assert came["2.txt"] == b"dog"
    assert b"x" not in came.values()
    assert not any(file.read_bytes() == b"x" for file in (tmp_path / "folder").rglob("*.p*"))
    assert run(["verify", str(tmp_path / "safe"), "--key", str(tmp_path / "k"), "--quiet"]) == (
        Exit.SOME_FAILED
    )


@pytest.mark.parametrize("is_sealed", [True, False])
def test_fields_of_a_table_that_are_pickles(tmp_path, clean, is_sealed):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    protect_dataset(clean, tmp_path / "safe", KEY, out_format="parquet", workers=1)
    (file,) = (tmp_path / "safe").glob("*.parquet")
    if not is_sealed:
        table = pq.read_table(file)
        place = table.column_names.index("fields")
        theirs = pa.array([json.dumps({"pkl": "theirs"})] * len(table))
        pq.write_table(table.set_column(place, "fields", theirs), file)
        for piece in (tmp_path / "safe").glob("*.dsguard"):
            piece.unlink()
    report = restore_dataset(
        tmp_path / "safe", tmp_path / "back", KEY, out_format="webdataset", workers=1
    )
    told = [name for name, error in report.failures.items() if MESSAGE in str(error)]
    (shard,) = (tmp_path / "back").glob("*.tar")
    found = {name.split(".", 1)[1]: data for name, data in members_of(shard)}
    if is_sealed:
        assert not told
        assert {"pkl": b"a", "PTH": b"b", "x.pyd.gz": b"c"}.items() <= found.items()
    else:
        assert len(told) == 3
        assert b"theirs" not in found.values()


# Files beside the images of folders


def npy(array) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


FILES = {
    "labels/train.cache": npy(np.array({"version": "1"}, object)),  # as Ultralytics keeps labels
    "labels/0.cache": b"",
    "features.npy": npy(np.array([None])),
    "infos.pkl": b"x",
    "infos.pkl.gz": b"x",
    "notes.P": b"x",
    "embedding.pt": b"x",
    "model.joblib": b"x",
    "index.dill": b"x",
    "vocabulary": pickle.dumps([1]),
    "sizes.bin": pickle.dumps([1], 2),
}
HARMLESS = {"sizes.npy": npy(np.arange(3)), "raw.bin": b"\x80\x00\x01", "a.dat": b"\x93NUMBER"}


@pytest.fixture
def folder(tmp_path, scenes):
    for n in range(3):
        path = tmp_path / "photos" / "images" / f"{n}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_image(scenes[n]))
    return tmp_path / "photos"


def put(folder, files) -> None:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def beside(folder) -> dict[str, bytes]:
    found = files_in(folder)
    return {name: data for name, data in found.items() if not name.startswith("images/")}


@pytest.mark.parametrize("publish", [(), tuple(FILES)])
def test_files_of_the_owner_come_back(tmp_path, folder, publish):
    put(folder, FILES | HARMLESS)
    protect_dataset(folder, tmp_path / "safe", KEY, publish=publish, workers=1)
    assert set(beside(tmp_path / "safe")) >= set(publish)
    report = verify_dataset(tmp_path / "safe", KEY, against=folder, workers=1)
    assert not report.failures
    assert not report.different
    assert not restore_dataset(tmp_path / "safe", tmp_path / "back", KEY, workers=1).failures
    assert beside(tmp_path / "back") == FILES | HARMLESS


@pytest.mark.parametrize("out_format", ["auto", "webdataset", "parquet"])
def test_files_of_strangers_do_not(tmp_path, folder, out_format):
    protect_dataset(folder, tmp_path / "safe", KEY, workers=1)
    put(tmp_path / "safe", FILES | HARMLESS)
    report = restore_dataset(
        tmp_path / "safe", tmp_path / "back", KEY, out_format=out_format, workers=1
    )
    for each in (report, verify_dataset(tmp_path / "safe", KEY, workers=1)):
        assert set(each.failures) == set(FILES)
        assert all("is a pickle, which trainers run" in str(e) for e in each.failures.values())
    assert not set(FILES) & set(beside(tmp_path / "back"))
    assert set(HARMLESS) <= set(beside(tmp_path / "back"))


def test_a_file_of_a_stranger_takes_the_place_of_none(tmp_path, folder):
    put(folder, {"infos.pkl": b"own"})
    protect_dataset(folder, tmp_path / "safe", KEY, publish=("*.pkl",), workers=1)
    put(tmp_path / "safe", {"infos.pkl": b"theirs"})
    assert not restore_dataset(tmp_path / "safe", tmp_path / "back", KEY, workers=1).failures
    assert beside(tmp_path / "back") == {"infos.pkl": b"own"}


def test_files_of_strangers_in_archives_do_not_come_back(tmp_path, folder):
    protect_dataset(folder, tmp_path / "safe", KEY, workers=1)
    put(tmp_path / "safe", FILES)
    archive = shutil.make_archive(str(tmp_path / "safe"), "zip", tmp_path / "safe")
    for report in (
        restore_dataset(archive, tmp_path / "back", KEY, workers=1),
        verify_dataset(archive, KEY, workers=1),
    ):
        assert set(report.failures) == set(FILES)
    assert not set(FILES) & set(beside(tmp_path / "back"))
