"""WebDataset shards that were changed since they were published: nothing is lost without a word."""

from __future__ import annotations

import io
import itertools
import shutil
from pathlib import Path

import numpy as np
import pytest

import dsguard
from dsguard.bulk import protect_dataset, restore_dataset, verify_dataset
from dsguard.formats import encode_image
from dsguard.formats.sealing import SEALED_FIELDS

from .test_sealed_fields import members_of, tarred

KEY = dsguard.DatasetKey(bytes(range(32)))
PNG = encode_image(np.full((4, 4, 3), 60, np.uint8))
TOLD = f"s.*.{SEALED_FIELDS}"
LONG = b'{"label": 1, "pixels": "%s"}' % (b"0123456789abcdef" * 99)


def restored(root: Path) -> tuple[dict[str, bytes], dict[str, str]]:
    """Return the members that come back, and what is told; `verify` tells the same."""
    shutil.rmtree(root / "back", ignore_errors=True)
    report = restore_dataset(root / "out", root / "back", KEY)
    told = {name: error.message for name, error in report.failures.items()}
    verified = verify_dataset(root / "out", KEY).failures
    assert {name: error.message for name, error in verified.items()} == told
    return dict(members_of(root / "back" / "s.tar")), told


@pytest.fixture
def was(tmp_path) -> dict[str, bytes]:
    """Return the members of a shard that was published."""
    members = {"0.json": LONG, "0.npy": b"\0zero", "0.png": PNG, "1.png": PNG, "z.bin": b"\0z"}
    tarred(tmp_path / "clean" / "s.tar", list(members.items()))
    assert protect_dataset(tmp_path / "clean", tmp_path / "out", KEY).failed == 0
    return members


def changed(root: Path, new: dict[str, bytes]) -> None:
    """Have other members in the published shard, those of a sample side by side."""
    shard = root / "out" / "s.tar"
    tarred(shard, sorted((dict(members_of(shard)) | new).items()))


@pytest.mark.parametrize("name", ["0.json", "0.npy", "z.bin"])
def test_members_that_were_put_where_others_were_sealed_are_told(tmp_path, was, name):
    array = io.BytesIO()
    np.save(array, np.arange(2))
    changed(tmp_path, {name: array.getvalue() if name == "0.npy" else b'{"label": 2}'})
    back, told = restored(tmp_path)
    assert back == was
    if name == "z.bin":
        assert "could be a program" in told["s/z.bin"]
    else:
        assert f"other content than was published in {name}" in told[TOLD]


def test_members_that_were_added_come_back(tmp_path, was):
    new = {"0.txt": b"words", "1.json": b"{}", "README.txt": b"words"}
    changed(tmp_path, new)
    back, told = restored(tmp_path)
    assert (back, told) == (was | new, {})


def test_shards_of_before_come_back(tmp_path):
    """They were made when entries did not tell what was published in their place."""
    out = Path(__file__).parents[1] / "data" / "sealed-fields" / "webdataset"
    report = restore_dataset(out, tmp_path / "back", KEY)
    back = dict(members_of(tmp_path / "back" / "b.tar"))
    assert report.failures == {}
    assert [back["0.npy"], back["1.npy"], back["z.bin"]] == [b"\0000", b"\0001", b"\0z"]


def test_arrays_that_were_added_come_back_and_take_no_sealed_one_away(tmp_path):
    images, features = np.full((2, 8, 8, 3), 60, np.uint8), np.arange(2000.0)
    (tmp_path / "clean").mkdir()
    np.savez(tmp_path / "clean" / "s.npz", images=images, features=features)
    protect_dataset(tmp_path / "clean", tmp_path / "out", KEY)
    for name in ("quality", "features"):
        with np.load(tmp_path / "out" / "s.npz") as published:
            np.savez(tmp_path / "new.npz", **published, **{name: np.ones(2)})
        shutil.move(tmp_path / "new.npz", tmp_path / "out" / "s.npz")
        report = restore_dataset(tmp_path / "out", tmp_path / name, KEY)
        with np.load(tmp_path / name / "s.npz") as back:
            assert np.array_equal(back["quality"], np.ones(2))
            assert len(back["features"]) == (2 if name == "features" else 2000)
        assert list(report.failures) == (["s.npz/features"] if name == "features" else [])


def test_members_of_a_sample_without_images_stay_side_by_side(tmp_path):
    members = {
        "a.json": LONG,
        "a.npy": b"\0one",
        "a.txt": b"words",
        "b.png": PNG,
        "b.txt": b"words",
        "c.bin": b"\0two",
        "c.npy": b"\0three",
        "d.png": PNG,
        "e.txt": b"words",
        "e.bin": b"\0four",
    }
    tarred(tmp_path / "clean" / "s.tar", list(members.items()))
    assert protect_dataset(tmp_path / "clean", tmp_path / "out", KEY).failed == 0
    assert restored(tmp_path) == (members, {})
    names = [name for name, _ in members_of(tmp_path / "back" / "s.tar")]
    samples = [name[0] for name in names]
    assert [sample for sample, _ in itertools.groupby(samples)] == ["a", "b", "d", "e", "c"]
    assert names[:3] == ["a.json", "a.txt", "a.npy"]  # the first is published in part
    again = protect_dataset(tmp_path / "back", tmp_path / "again", KEY)
    assert (again.failed, again.done) == (0, 2)
