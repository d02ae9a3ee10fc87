"""Pickles in shards: published ones are not handed on, since anybody can have put them there."""

from __future__ import annotations

import json

import pytest

import dsguard
from dsguard.bulk import protect_dataset, restore_dataset, verify_dataset
from dsguard.cli.commands import Exit, run
from dsguard.formats import encode_image

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
