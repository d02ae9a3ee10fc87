"""Pickles of CIFAR: what they have beside images and labels is sealed, and comes back."""

from __future__ import annotations

import io
import os
import pickle
import struct
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from PIL import Image

import dsguard
from dsguard.bulk import protect_dataset, restore_dataset, verify_dataset
from dsguard.bulk.sealed_files import SEALED_FILES, sealed
from dsguard.covers import FolderOfCovers
from dsguard.formats.arrays import sealed_pickle, writer
from dsguard.formats.arrays.npy import SealedArrays
from dsguard.formats.arrays.sealed_pickle import SealedPickle
from dsguard.formats.sealing import Entries

from .folders import files_in
from .test_ahead import Derived

KEY = dsguard.DatasetKey(bytes(32))


class _OfPython2(pickle._Pickler):
    """Writes strings as Python 2 did, with which CIFAR was made."""

    dispatch: ClassVar[dict[type, Any]] = dict(pickle._Pickler.dispatch)

    def save_string(self, text: bytes) -> None:
        head = b"U" + bytes([len(text)]) if len(text) < 256 else b"T" + struct.pack("<i", len(text))
        self.write(head + text)
        self.memoize(text)

    dispatch[bytes] = save_string


def _as_python_2(content: Any) -> bytes:
    out = io.BytesIO()
    _OfPython2(out, 2).dump(content)
    return out.getvalue()


def _batch(scenes: np.ndarray, labels: str, start: int) -> dict[str, Any]:
    rows = np.ascontiguousarray(scenes.transpose(0, 3, 1, 2)).reshape(len(scenes), -1)
    numbers = list(range(start, start + len(scenes)))
    return {
        "batch_label": f"training batch {start}",
        labels: [n % 2 for n in numbers],
        "data": rows,
        "filenames": [f"scene_s_{n:06d}.png" for n in numbers],
        "embedding": np.arange(200, dtype=np.uint8).reshape(4, 50) + np.uint8(start),
        "notes": {"long": "words " * 900, "of": [1, 2.5, None]},
    }


def _with_bytes(value: Any) -> Any:
    """Return what Python 2 had, whose strings are bytes."""
    if isinstance(value, dict):
        return {_with_bytes(key): _with_bytes(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_with_bytes(each) for each in value]
    return value.encode() if isinstance(value, str) else value


@pytest.fixture(params=["python 2", "python 3", "python 3, protocol 0"])
def pickled(request):
    """Return what pickles a batch."""
    if request.param == "python 2":
        return lambda content: _as_python_2(_with_bytes(content))
    return lambda content: pickle.dumps(content, 0 if "0" in request.param else 4)


@pytest.fixture(params=[10, 100])
def clean(tmp_path, scenes, pickled, request) -> Path:
    """Return a folder as CIFAR-10 or CIFAR-100 is published."""
    root = tmp_path / "clean"
    root.mkdir()
    names = ["cat", "dog"]
    if request.param == 10:
        meta = {"num_cases_per_batch": 4, "label_names": names, "num_vis": 3072}
        (root / "batches.meta").write_bytes(pickled(meta))
        for n, file in enumerate(("data_batch_1", "test_batch")):
            (root / file).write_bytes(pickled(_batch(scenes[4 * n : 4 * n + 4], "labels", 4 * n)))
        return root
    meta = {"fine_label_names": names, "coarse_label_names": ["animal"]}
    (root / "meta").write_bytes(pickled(meta))
    for n, file in enumerate(("train", "test")):
        batch = _batch(scenes[4 * n : 4 * n + 4], "fine_labels", 4 * n)
        (root / file).write_bytes(pickled({**batch, "coarse_labels": [0] * 4}))
    return root


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        return list(one) == list(other) and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(one, other)
    return type(one) is type(other) and one == other


def test_all_of_a_pickle_comes_back(tmp_path, clean, request):
    report = protect_dataset(clean, tmp_path / "out", KEY)
    assert (report.done, report.failed, report.left_out) == (8, 0, {})
    assert report.sealed_fields > 0
    assert b"words words" not in b"".join(files_in(tmp_path / "out").values())
    assert verify_dataset(tmp_path / "out", KEY, against=clean).different == {}
    back = restore_dataset(tmp_path / "out", tmp_path / "back", KEY)
    assert (back.failures, back.sealed_fields) == ({}, report.sealed_fields)
    was, came = files_in(clean), files_in(tmp_path / "back")
    assert came.keys() == was.keys()
    for name, data in was.items():
        for encoding in ("bytes", "latin1"):
            given = pickle.loads(data, encoding=encoding)
            assert _same(pickle.loads(came[name], encoding=encoding), given)
    if "protocol 0" not in request.node.name:
        assert came == was


def test_data_alone_comes_back_by_keys_of_images(tmp_path, clean):
    protect_dataset(clean, tmp_path / "out", KEY)
    back = restore_dataset(tmp_path / "out", tmp_path / "back", Derived(KEY))
    assert back.failures == {}
    assert not verify_dataset(tmp_path / "out", Derived(KEY)).failures
    assert files_in(tmp_path / "back").keys() == files_in(clean).keys()


def test_what_does_not_come_back_is_told(tmp_path, clean):
    protect_dataset(clean, tmp_path / "out", KEY)
    for piece in (tmp_path / "out").glob("*.sealed-fields.dsguard"):
        piece.unlink()
    report = verify_dataset(tmp_path / "out", KEY, against=clean)
    assert {name.rpartition("/")[2] for name in report.different} == {"embedding", "notes"}
    assert report.compared == "all"
    assert restore_dataset(tmp_path / "out", tmp_path / "back", KEY).done == 8


def test_what_is_dropped_does_not_come_back(tmp_path, clean):
    protect_dataset(clean, tmp_path / "out", KEY, drop=("embedding", "long"))
    restore_dataset(tmp_path / "out", tmp_path / "back", KEY)
    for name, data in files_in(tmp_path / "back").items():
        assert b"words words" not in data
        found = pickle.loads(data, encoding="latin1")
        keys = {key.decode() if isinstance(key, bytes) else key for key in found}
        assert "embedding" not in keys
        assert ("filenames" in keys) == ("meta" not in name)


def test_a_key_of_a_dataset_is_not_sealed(tmp_path, clean):
    file = clean / ("train" if (clean / "train").exists() else "data_batch_1")
    content = pickle.loads(file.read_bytes(), encoding="latin1")
    file.write_bytes(pickle.dumps({**content, "secret": KEY.secret.hex()}))
    report = protect_dataset(clean, tmp_path / "out", KEY)
    assert [each.first for each in report.left_out.values()] == [f"{file.name}/secret"]
    restore_dataset(tmp_path / "out", tmp_path / "back", KEY)
    assert "secret" not in pickle.loads((tmp_path / "back" / file.name).read_bytes())


def test_in_another_format_it_is_named(tmp_path, clean):
    protect_dataset(clean, tmp_path / "out", KEY)
    report = restore_dataset(tmp_path / "out", tmp_path / "back", KEY, out_format="webdataset")
    assert report.done == 8
    name = "train" if (clean / "train").exists() else "data_batch_1"
    assert {f"{name}/embedding", f"{name}/filenames"} <= report.failures.keys()


def test_a_piece_of_another_pickle_is_named(tmp_path, clean):
    protect_dataset(clean, tmp_path / "out", KEY)
    one, other = sorted((tmp_path / "out").glob("*.sealed-fields.dsguard"))
    other.write_bytes(one.read_bytes())
    report = restore_dataset(tmp_path / "out", tmp_path / "back", KEY)
    assert (report.done, report.broken) == (8, 1)


class _Given(Entries):
    def __init__(self, given: dict[str, bytes]) -> None:
        self._given = given

    def __iter__(self):
        return iter(self._given)

    def images(self) -> frozenset[bytes]:
        return frozenset()

    def size(self) -> int:
        return sum(map(len, self._given.values()))

    def __getitem__(self, name: str) -> bytes:
        return self._given[name]


@pytest.mark.parametrize("behind", [b"", b"cos\nsystem\n(U\2idtR.", b"."])
def test_a_pickle_of_strangers_is_refused(behind):
    """Whoever has the key may have sealed another."""
    entries = {"0/before": b"\x80\3C\4", "1/behind": behind, "2/keys": b"x"}
    for given in (entries, {"0/before": b""}, {}):
        with pytest.raises(dsguard.InputError, match=r"pickle"):
            SealedPickle(_Given(given), np.zeros((2, 2), np.uint8))
    with pytest.raises(dsguard.InputError):
        SealedArrays(_Given(entries))


_CODE = b"'\ncposix\nsystem\n(S'touch was-run'\ntR0(dS'data'\nNs."
_LINE = (
    b"(dS'data'\ncnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR(I1\n"
    b"(I2\nI3072\ntcnumpy\ndtype\n(S'u1'\nI0\nI1\ntR(I3\nS'|'\nNNNI-1\nI-1\nI0\ntbI00\nS'",
    b"'\ntbsS'labels'\n(lI0\naI1\nas.",
)


@pytest.mark.parametrize("is_checked", [True, False])
def test_restored_pixels_are_never_code(tmp_path, monkeypatch, is_checked):
    """Whoever has the key can seal a pickle whose pixels end with a line, and go on as code."""
    monkeypatch.chdir(tmp_path)
    rows = np.random.default_rng(0).integers(0, 256, (2, 3072), np.uint8)
    rows[0, : len(_CODE)] = np.frombuffer(_CODE, np.uint8)
    (tmp_path / "clean").mkdir()
    for file, content in (
        ("data_batch_1", {b"data": rows, b"labels": [0, 1]}),
        ("batches.meta", {b"label_names": ["cat", "dog"]}),
    ):
        (tmp_path / "clean" / file).write_bytes(pickle.dumps(content, 2))
    (tmp_path / "mine").mkdir()
    Image.new("RGB", (32, 32), (112, 112, 112)).save(tmp_path / "mine" / "gray.png")
    monkeypatch.setattr(writer, "cut_of", lambda *_: _LINE)
    cover = FolderOfCovers.of(KEY, tmp_path / "mine")
    assert protect_dataset("clean", "out", KEY, cover=cover).failed == 0
    if not is_checked:  # what holds of any pixels is checked when it is opened
        monkeypatch.setattr(sealed_pickle, "_fits", lambda *_: True)
    assert restore_dataset("out", "back", KEY).failures
    found = pickle.loads((tmp_path / "back" / "data_batch_1").read_bytes(), encoding="latin1")
    assert not (tmp_path / "was-run").exists()
    np.testing.assert_array_equal(found[b"data" if b"data" in found else "data"], rows)


class _Runs:
    def __reduce__(self):
        return os.system, ("touch was-run",)


@pytest.mark.parametrize(("name", "is_sealed"), [
    ("batches.meta", True), ("data_batch_2", True), ("notes.pkl", True),
    ("data_batch_2", False), ("test", False), ("notes.pkl", False),
])  # fmt: skip
def test_what_readers_of_cifar_load_is_data_alone(tmp_path, monkeypatch, scenes, name, is_sealed):
    """Whoever has the key can seal any file under any name; others are the reader's business.

    Whoever can write to the published folder can put it there.
    """
    monkeypatch.chdir(tmp_path)
    (tmp_path / "clean").mkdir()
    meta = {"label_names": ["cat", "dog"], "more": "words " * 500}
    for file, content in (("data_batch_1", _batch(scenes, "labels", 0)), ("batches.meta", meta)):
        (tmp_path / "clean" / file).write_bytes(pickle.dumps(content, 2))
    assert protect_dataset("clean", "out", KEY).failed == 0
    evil = pickle.dumps(_Runs())
    if is_sealed:
        (tmp_path / "out" / SEALED_FILES).write_bytes(sealed({name: evil}, KEY))
    else:
        (tmp_path / "out" / name).write_bytes(evil)
    failures = restore_dataset("out", "back", KEY).failures
    comes_back = is_sealed and name == "notes.pkl"
    assert (name in failures) == (not comes_back)
    back = tmp_path / "back" / name
    assert not back.exists() or b"was-run" not in back.read_bytes() or comes_back
