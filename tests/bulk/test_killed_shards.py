"""A shard that was killed and is done again by other options leaves nothing of the first."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import numpy as np
import pytest

import dsguard
from dsguard.bulk import protect_dataset, restore_dataset
from dsguard.bulk.journal import Journal
from dsguard.bulk.sealed_fields import PieceSealer
from dsguard.formats import encode_image
from dsguard.formats.places import LocalPlace

from .folders import files_in
from .test_sealed_fields import tarred

KEY = dsguard.DatasetKey(bytes(range(32)))
FORMATS = ("folder", "webdataset", "parquet")
SECRET = b"\0secret name of a patient"


@pytest.fixture
def clean(tmp_path, scenes) -> Path:
    """Two shards of four images, with their pixels and a secret beside each."""
    for shard in range(2):
        members = []
        for n in range(4 * shard, 4 * shard + 4):
            pixels = np.ascontiguousarray(scenes[n]).tobytes()
            members += [(f"{n}.png", encode_image(scenes[n])), (f"{n}.npy", pixels)]
            members += [(f"{n}.patient", SECRET)]
        tarred(tmp_path / "clean" / f"{shard}.tar", members)
    return tmp_path / "clean"


def killed(monkeypatch, at: str, clean: Path, **settings) -> dict[str, bytes]:
    """Protect, end as if killed, and return what is in the destination then.

    That is at the third of the published arrays, after the first piece of what is sealed, or before
    the manifest of the first or the second shard.
    """
    place, name = {
        "array": (LocalPlace, "_write"),
        "piece": (PieceSealer, "close"),
        "first": (Journal, "write"),
        "second": (Journal, "write"),
    }[at]
    real, left = getattr(place, name), iter(range({"array": 2, "second": 1}.get(at, 0)))

    def write(self, *given: object) -> None:
        counts = at != "array" or str(given[0]).endswith(".npy")
        is_last = counts and next(left, None) is None
        if not is_last or at == "piece":
            real(self, *given)
        if is_last:
            raise OSError(errno.ENOSPC, "as if it were killed")

    with monkeypatch.context() as patch:
        patch.setattr(place, name, write)
        with pytest.raises(OSError, match="killed"):
            protect_dataset(clean, clean.parent / "out", KEY, **settings)
    return files_in(clean.parent / "out")


PUBLISHED = {"publish": ["*.npy"]}
DROPPED = {"drop": ["*.patient", "*.npy"]}


@pytest.mark.parametrize(
    ("at", "out_format", "before", "after"),
    [
        ("array", "folder", PUBLISHED, {}),
        ("first", "folder", PUBLISHED, {}),
        ("second", "folder", PUBLISHED, DROPPED),
        *((at, kind, {}, DROPPED) for at in ("piece", "second") for kind in FORMATS),
        ("first", "webdataset", PUBLISHED, DROPPED),
        ("first", "parquet", PUBLISHED, DROPPED),
    ],
)
def test_nothing_of_a_killed_shard_stays(clean, monkeypatch, at, out_format, before, after):
    if out_format == "parquet":
        pytest.importorskip("pyarrow")
    assert killed(monkeypatch, at, clean, out_format=out_format, **before)
    report = protect_dataset(clean, clean.parent / "out", KEY, out_format=out_format, **after)
    assert (report.done, report.resumed, report.foreign) == (8, 0, [])
    protect_dataset(clean, clean.parent / "fresh", KEY, out_format=out_format, **after)
    assert files_in(clean.parent / "out") == files_in(clean.parent / "fresh")


def test_what_is_dropped_comes_back_to_nobody(clean, monkeypatch):
    killed(monkeypatch, "first", clean)
    protect_dataset(clean, clean.parent / "out", KEY, **DROPPED)
    restore_dataset(clean.parent / "out", clean.parent / "back", KEY)
    assert not any(SECRET in data for data in files_in(clean.parent / "back").values())


def test_a_run_that_is_killed_while_it_removes_goes_on(clean, monkeypatch):
    killed(monkeypatch, "first", clean, out_format="folder", **PUBLISHED)
    real, left = LocalPlace.discard, iter(range(2))

    def discard(self, name: str) -> None:
        if next(left, None) is None:
            raise OSError(errno.EIO, "as if it were killed")
        real(self, name)

    with monkeypatch.context() as patch:
        patch.setattr(LocalPlace, "discard", discard)
        with pytest.raises(OSError, match="killed"):
            protect_dataset(clean, clean.parent / "out", KEY, out_format="folder")
    assert protect_dataset(clean, clean.parent / "out", KEY, out_format="folder").foreign == []
    assert not [name for name in files_in(clean.parent / "out") if name.endswith(".npy")]


def test_what_a_finished_shard_has_written_stays(clean, monkeypatch):
    before = killed(monkeypatch, "second", clean, out_format="folder", **PUBLISHED)
    notes = clean.parent / "out.dsguard" / "intended"
    (notes / "00001-99.json").write_text(json.dumps(sorted(before)))
    discarded = list[str]()
    real = LocalPlace.discard
    monkeypatch.setattr(
        LocalPlace, "discard", lambda self, name: (discarded.append(name), real(self, name))
    )
    protect_dataset(clean, clean.parent / "out", KEY, out_format="folder", **PUBLISHED)
    assert {name for name in discarded if name.startswith("0/")} == set()
    assert {name for name in discarded if name.startswith("1/")} >= {"1/4.npy", "1/4.png"}
    assert before.items() <= files_in(clean.parent / "out").items()


def test_what_the_owner_had_there_before_stays(clean, monkeypatch):
    mine = clean.parent / "out" / "1" / "5.npy"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"mine")
    settings = {"out_format": "folder", **PUBLISHED}
    there = killed(monkeypatch, "array", clean, **settings, overwrite=True)
    assert "1/5.npy" in there
    notes = clean.parent / "out.dsguard" / "intended"
    (notes / "00001-0.json").write_text('["1/5.npy"]')
    report = protect_dataset(clean, clean.parent / "out", KEY, out_format="folder")
    assert mine.read_bytes() == b"mine"
    assert report.foreign == [str(mine)]
