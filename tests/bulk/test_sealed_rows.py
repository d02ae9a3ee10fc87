"""Images that are alike: each row, sample and array gets back what was sealed of it."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import dsguard
from dsguard.bulk import Selection, protect_dataset, restore_dataset, verify_dataset
from dsguard.cli.commands import Exit, run
from dsguard.formats import encode_image
from dsguard.formats.sealing import SEALED_FIELDS

from .test_sealed_fields import members_of, tarred

KEY = dsguard.DatasetKey(bytes(range(32)))
PNG = [encode_image(np.full((4, 4, 3), 60 * n, np.uint8)) for n in range(3)]


def parquet_of(path: Path, images: list[int], first: int = 0) -> None:
    """Write a table in which the value of each row is another, whatever its image."""
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    path.parent.mkdir(parents=True, exist_ok=True)
    secrets = [b"\0%d" % n for n in range(first, first + len(images))]
    files = [{"bytes": PNG[n], "path": "same.png"} for n in images]
    parquet.write_table(pa.table({"image": files, "secret": secrets}), path)


def secrets_in(folder: Path, stem: str) -> list[bytes | None]:
    """Return what came back of a file, from all that it was cut into."""
    from pyarrow import parquet

    files = sorted(folder.glob(f"{stem}*.parquet"), key=lambda path: path.stem)
    return [each for file in files for each in parquet.read_table(file)["secret"].to_pylist()]


@settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    images=st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=9), min_size=2, max_size=2),
    chunk=st.integers(1, 4),
    cut=st.integers(1, 9),
    chosen=st.sets(st.integers(0, 8), max_size=4),
)
def test_rows_of_equal_images_have_their_own(tmp_path_factory, images, chunk, cut, chosen):
    root = tmp_path_factory.mktemp("rows")
    for stem, own in zip("ab", images, strict=True):
        parquet_of(root / "clean" / f"{stem}.parquet", own, 100 * (stem == "b"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dsguard.formats.parquet.pages.CHUNK_IMAGES", chunk)
        protect_dataset(root / "clean", root / "out", KEY, shard_size=1000)
        names = tuple(f"*/{n:07d}.png" for n in chosen)
        for n, selection in enumerate([Selection(), Selection(include=names)]):
            picked = sorted(chosen) if n and names else range(9)
            mine = [[row for row in picked if row < len(own)] for own in images]
            if not any(mine):
                continue
            back = root / f"back{n}"
            report = restore_dataset(root / "out", back, KEY, selection=selection, shard_size=cut)
            assert report.failed == 0
            for stem, first, some in zip("ab", (0, 100), mine, strict=True):
                assert secrets_in(back, stem) == [b"\0%d" % (first + row) for row in some]


def test_a_row_without_sealed_values_takes_none_of_its_like(tmp_path, monkeypatch):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    monkeypatch.setattr("dsguard.formats.parquet.pages.CHUNK_IMAGES", 2)
    captions = ["plain", "words", "plain", "x" * 999, "more", "words"]
    table = pa.table({"image": [PNG[0]] * 6, "caption": captions})
    (tmp_path / "clean").mkdir()
    parquet.write_table(table, tmp_path / "clean" / "a.parquet")
    protect_dataset(tmp_path / "clean", tmp_path / "out", KEY)
    restore_dataset(tmp_path / "out", tmp_path / "back", KEY)
    assert parquet.read_table(tmp_path / "back" / "a.parquet").equals(table)


@pytest.mark.parametrize("rows", [[1, 2, 3], [2, 1, 0, 3], [3, 0, 2]])
def test_rows_that_moved_are_told_apart_or_told(tmp_path, rows):
    """Images 0 and 2 are alike: once rows have moved, nobody knows whose values are whose."""
    from pyarrow import parquet

    parquet_of(tmp_path / "clean" / "a.parquet", [0, 1, 0, 2])
    protect_dataset(tmp_path / "clean", tmp_path / "out", KEY)
    path = tmp_path / "out" / "a.parquet"
    parquet.write_table(parquet.read_table(path).take(rows), path)
    report = restore_dataset(tmp_path / "out", tmp_path / "back", KEY)
    back = secrets_in(tmp_path / "back", "a")
    if rows == [2, 1, 0, 3]:  # which nothing shows
        assert (report.failed, len(set(back))) == (0, 4)
        return
    assert back == [None if row in (0, 2) else b"\0%d" % row for row in rows]
    ((name, error),) = report.failures.items()
    assert name == f"a.parquet.*.{SEALED_FIELDS}"
    assert "whose values are whose is not known" in error.message
    assert report.done == 3


def test_a_key_in_some_rows_takes_no_other_values_away(tmp_path, monkeypatch):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    monkeypatch.setattr("dsguard.formats.parquet.pages.CHUNK_IMAGES", 2)
    notes = [b"\0one", b"\0two", KEY.secret.hex().encode(), b"\0four"]
    table = pa.table({"image": [PNG[n % 3] for n in range(4)], "note": notes})
    (tmp_path / "clean").mkdir()
    parquet.write_table(table, tmp_path / "clean" / "a.parquet")
    protect_dataset(tmp_path / "clean", tmp_path / "out", KEY)
    report = restore_dataset(tmp_path / "out", tmp_path / "back", KEY)
    assert report.failed == 0
    back = parquet.read_table(tmp_path / "back" / "a.parquet")["note"].to_pylist()
    assert back == [*notes[:2], None, None]


def test_samples_of_equal_images_have_their_own(tmp_path):
    members = [
        member for n in range(6) for member in ((f"{n}.png", PNG[n % 2]), (f"{n}.npy", b"\0%d" % n))
    ]
    for shard in "ab":
        tarred(tmp_path / "clean" / f"{shard}.tar", members[:: 1 if shard == "a" else -1])
    protect_dataset(tmp_path / "clean", tmp_path / "out", KEY)
    for n, names in enumerate(itertools.combinations("012345", 2)):
        if n % 5 == 0:
            chosen = Selection(include=tuple(f"*/{name}.png" for name in names))
            back = tmp_path / f"back{n}"
            restore_dataset(tmp_path / "out", back, KEY, selection=chosen, shard_size=1)
            for shard in "ab":
                found = members_of(back / f"{shard}.tar")
                was = members_of(tmp_path / "clean" / f"{shard}.tar")
                assert found == [each for each in was if each[0][0] in names]


def test_arrays_of_equal_images_have_their_own(tmp_path):
    images = np.zeros((6, 8, 8, 3), np.uint8)
    for n, name in enumerate("ab"):
        (tmp_path / "clean").mkdir(exist_ok=True)
        features = np.arange(6000.0).reshape(6, 1000) + n
        np.savez(tmp_path / "clean" / f"{name}.npz", images=images, features=features)
    protect_dataset(tmp_path / "clean", tmp_path / "out", KEY)
    restore_dataset(tmp_path / "out", tmp_path / "back", KEY, shard_size=2)
    for n, name in enumerate("ab"):
        with np.load(tmp_path / "back" / f"{name}.npz") as back:
            assert back["features"][0, 0] == n
    assert verify_dataset(tmp_path / "out", KEY, against=tmp_path / "clean").different == {}


@pytest.mark.parametrize("kind", ["rows", "column", "several", "tar", "texts"])
def test_shards_without_images_end_like_a_folder_without(tmp_path, kind, capsys):
    clean = tmp_path / "clean"
    if kind in ("tar", "texts"):
        tarred(clean / "s.tar", [("a.txt", b"words")] * (kind == "texts"))
    else:
        pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        clean.mkdir()
        table = pa.table({"image": PNG, "a": [1, 2, 3]})
        if kind != "column":
            parquet.write_table(table.slice(0, 0), clean / "t.parquet")
        if kind != "rows":
            parquet.write_table(table.select(["a"]), clean / "u.parquet")
    KEY.save(tmp_path / "key")
    key = ["--key", str(tmp_path / "key")]
    for _ in range(2):
        assert run(["protect", str(clean), str(tmp_path / "out"), *key]) == Exit.USAGE
        assert "holds no images" in capsys.readouterr().err
    assert run(["verify", str(clean), *key]) == Exit.USAGE
    assert {path.name for path in tmp_path.iterdir()} == {"clean", "key"}


@pytest.mark.parametrize("plain", [True, False])
def test_an_image_that_is_null_is_said_to_be(tmp_path, plain):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    cells = [{"bytes": PNG[0], "path": "a.png"}, None, {"bytes": None, "path": "b.png"}]
    images = pa.array([PNG[0], None] if plain else cells)
    (tmp_path / "clean").mkdir()
    parquet.write_table(pa.table({"image": images}), tmp_path / "clean" / "t.parquet")
    report = protect_dataset(tmp_path / "clean", tmp_path / "out", KEY)
    told = [error.message for error in report.failures.values()]
    assert (report.done, len(told)) == (1, 1 if plain else 2)
    assert told[0].startswith("is null in its row")
    assert plain or "has but its path" in told[1]


def exchanged(folder: Path, one: str, other: str) -> None:
    """Have two shards the pieces of each other."""
    paths = [folder / f"{stem}.0.{SEALED_FIELDS}" for stem in (one, other)]
    first, second = (path.read_bytes() for path in paths)
    paths[0].write_bytes(second)
    paths[1].write_bytes(first)


@pytest.fixture(params=["tar", "parquet", "npz"])
def alike(request, tmp_path, scenes):
    """Return two shards that differ in their images and sealed values alone, by kind."""
    clean = tmp_path / "clean"
    clean.mkdir()
    for n, stem in enumerate("ab"):
        images = [encode_image(scene) for scene in scenes[4 * n : 4 * n + 4]]
        if request.param == "tar":
            members = [
                each
                for k, image in enumerate(images)
                for each in ((f"{k}.png", image), (f"{k}.npy", b"\0" + stem.encode()))
            ]
            tarred(clean / f"{stem}.tar", [*members, ("x.bin", b"\0" + stem.encode())])
        elif request.param == "parquet":
            pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
            table = pa.table({"image": images, "secret": [b"\0" + stem.encode()] * 4})
            parquet.write_table(table, clean / f"{stem}.parquet")
        else:
            features = np.full((4, 1000), n + 2.5)
            np.savez(clean / f"{stem}.npz", images=scenes[4 * n : 4 * n + 4], features=features)
    protect_dataset(clean, tmp_path / "out", KEY)
    return clean, {"tar": "", "parquet": ".parquet", "npz": ".npz"}[request.param]


def test_pieces_of_another_shard_stay_sealed_and_are_told(tmp_path, alike):
    _, suffix = alike
    out = tmp_path / "out"
    exchanged(out, f"a{suffix}", f"b{suffix}")
    for n, report in enumerate(
        [verify_dataset(out, KEY), restore_dataset(out, tmp_path / "back", KEY)]
    ):
        assert (report.done, report.broken) == (8, 2), n
        for stem in "ab":
            told = report.failures[f"{stem}{suffix}.*.{SEALED_FIELDS}"]
            assert "belongs to none of the images here" in told.message
        assert report.sealed_fields == 0
    exchanged(out, f"a{suffix}", f"b{suffix}")
    assert verify_dataset(out, KEY).failed == 0


def test_shards_are_renamed_with_their_pieces(tmp_path, alike):
    clean, _ = alike
    out = tmp_path / "out"
    shutil.rmtree(tmp_path / "out.dsguard")  # as with who has but what was published
    for path in sorted(out.iterdir()):
        path.rename(out / f"new-{path.name}")
    for path in sorted(clean.iterdir()):
        path.rename(clean / f"new-{path.name}")
    report = verify_dataset(out, KEY, against=clean)
    assert (report.done, report.failed, report.different) == (8, 0, {})


def test_fields_of_another_run_are_told_by_sample(tmp_path, scenes):
    """An image of the one run lies in the shard of the other, and has no fields of that."""
    for run_, some in (("one", scenes[:3]), ("two", scenes[3:6])):
        members = [
            each
            for n, scene in enumerate(some)
            for each in ((f"{n}.png", encode_image(scene)), (f"{n}.npy", b"\0" + run_.encode()))
        ]
        tarred(tmp_path / run_ / "s.tar", members)
        protect_dataset(tmp_path / run_, tmp_path / f"out-{run_}", KEY)
    shard = tmp_path / "out-one" / "s.tar"
    other = dict(members_of(tmp_path / "out-two" / "s.tar"))["1.png"]
    was = members_of(shard)
    tarred(shard, [(name, other if name == "1.png" else data) for name, data in was])
    report = restore_dataset(tmp_path / "out-one", tmp_path / "back", KEY)
    (error,) = report.failures.values()
    assert "has fields of '1', of 1 in all, whose images are others here" in error.message
    names = [name for name, _ in members_of(tmp_path / "back" / "s.tar")]
    assert names == ["0.png", "0.npy", "1.png", "2.png", "2.npy"]
