"""Arrays whose images were moved since they were published: no value goes to another image."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

import dsguard
from dsguard.bulk import protect_dataset, restore_dataset, verify_dataset
from dsguard.formats.sealing import SEALED_FIELDS

KEY = dsguard.DatasetKey(bytes(range(32)))
COUNT = 6
FEATURES = np.arange(COUNT * 300.0).reshape(COUNT, 300)


@pytest.fixture
def out(tmp_path, scenes) -> Path:
    """Return a published folder with an .npz file; its features are sealed beside it."""
    (tmp_path / "clean").mkdir()
    arrays = {"images": scenes[:COUNT], "labels": np.arange(COUNT), "features": FEATURES}
    np.savez(tmp_path / "clean" / "s.npz", **arrays)
    assert protect_dataset(tmp_path / "clean", tmp_path / "out", KEY).sealed_fields == 1
    return tmp_path / "out"


def restored(out: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Return the arrays that come back, and what is told; `verify` tells the same."""
    back = out.parent / "back"
    shutil.rmtree(back, ignore_errors=True)
    report = restore_dataset(out, back, KEY)
    told = {name: error.message for name, error in report.failures.items()}
    verified = verify_dataset(out, KEY).failures
    assert {name: error.message for name, error in verified.items()} == told
    with np.load(back / "s.npz") as arrays:
        return dict(arrays), told


def in_order(out: Path, order: list[int]) -> None:
    """Have the published rows in another order, as one would sort them."""
    with np.load(out / "s.npz") as found:
        arrays = {name: array[order] for name, array in found.items()}
    np.savez(out / "s.npz", **arrays)


@pytest.mark.parametrize("order", [[1, 0, 2, 3, 4, 5], [5, 4, 3, 2, 1, 0], [0, 1, 2], [0, 2, 4]])
def test_values_of_images_that_were_moved_stay_sealed(out, scenes, order):
    in_order(out, order)
    back, told = restored(out)
    np.testing.assert_array_equal(back["images"], scenes[order])
    np.testing.assert_array_equal(back["labels"], order)
    assert "features" not in back
    assert list(told) == [f"s.npz.*.{SEALED_FIELDS}"]
    assert "moved or taken out" in told[f"s.npz.*.{SEALED_FIELDS}"]


def test_those_of_a_file_in_its_order_come_back(out, scenes):
    in_order(out, list(range(COUNT)))
    back, told = restored(out)
    assert told == {}
    np.testing.assert_array_equal(back["features"], FEATURES)


def test_a_damaged_image_moves_no_other(out):
    with np.load(out / "s.npz") as found:
        arrays = {name: array.copy() for name, array in found.items()}
    arrays["images"][2, 5, 5] ^= 1
    np.savez(out / "s.npz", **arrays)
    back, told = restored(out)
    assert list(told) == ["s/images/2/0000002.png"]
    np.testing.assert_array_equal(back["features"], FEATURES)


def test_a_part_of_the_images_may_be_verified(out):
    assert verify_dataset(out, KEY, selection=dsguard.bulk.Selection(limit=2)).failures == {}


def test_a_pickle_whose_rows_were_sorted_is_told(tmp_path, scenes):
    rows = scenes[:COUNT].transpose(0, 3, 1, 2).reshape(COUNT, -1)
    names = [f"scene_{n}_{'x' * 300}.png" for n in range(COUNT)]
    (tmp_path / "clean").mkdir()
    batch = {b"data": np.ascontiguousarray(rows), b"labels": [0] * COUNT, b"filenames": names}
    for file, content in (
        ("data_batch_1", batch),
        ("batches.meta", {b"label_names": ["scene"]}),
    ):
        (tmp_path / "clean" / file).write_bytes(pickle.dumps(content, 2))
    assert protect_dataset(tmp_path / "clean", tmp_path / "out", KEY).failed == 0
    published = tmp_path / "out" / "data_batch_1"
    found = pickle.loads(published.read_bytes())
    key = next(key for key in found if key in (b"data", "data"))
    found[key] = np.ascontiguousarray(found[key][::-1])
    published.write_bytes(pickle.dumps(found, 2))
    report = restore_dataset(tmp_path / "out", tmp_path / "back", KEY)
    assert any("moved or taken out" in error.message for error in report.failures.values())
    back = pickle.loads((tmp_path / "back" / "data_batch_1").read_bytes())
    assert back[b"filenames"] == found[b"filenames"] != names  # as it was published
