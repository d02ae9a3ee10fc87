"""Fields of shards that are not published: they are sealed beside the shard, and come back."""

from __future__ import annotations

import base64
import contextlib
import importlib.util
import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import dsguard
from dsguard.bulk import Selection, protect_dataset, restore_dataset, verify_dataset
from dsguard.bulk.sealed_fields import (
    PIECE_BYTES,
    SEALED_FIELDS,
    PieceSealer,
    opened_fields,
    pieces_of,
)
from dsguard.bulk.sealed_files import SEALED_FILES, sealed_archive
from dsguard.cli.commands import Exit, run
from dsguard.formats.arrays.reader import NumpySource
from dsguard.formats.base import Part
from dsguard.formats.parquet.reader import ParquetSource
from dsguard.formats.places import LocalPlace
from dsguard.formats.sealing import Entries
from dsguard.formats.unsealing import unsealed
from dsguard.formats.webdataset.reader import WebDatasetSource

from .folders import files_in

KEY, OTHER = dsguard.DatasetKey(bytes(32)), dsguard.DatasetKey(bytes(31) + b"x")
LONG = base64.b64encode(bytes(range(256)))


def jpeg(scene) -> bytes:
    out = io.BytesIO()
    Image.fromarray(scene).save(out, "jpeg")
    return out.getvalue()


def tarred(path: Path, members: list[tuple[str, bytes]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))


def members_of(path: Path) -> list[tuple[str, bytes]]:
    with tarfile.open(path) as archive:
        return [(each.name, archive.extractfile(each).read()) for each in archive]


@pytest.fixture
def shards(tmp_path, scenes) -> Path:
    """Return two shards whose samples have fields that are not published as they are."""
    for shard in range(2):
        members: list[tuple[str, bytes]] = []
        for n, scene in enumerate(scenes[4 * shard : 4 * shard + 4]):
            pixels = {"label": n % 2, "pixels": scene.tolist()}
            members += [
                (f"{n}.cls", b"%d" % (n % 2)),
                (f"{n}.features.npy", scene.tobytes()[: 100 * n]),
                (f"{n}.jpg", jpeg(scene)),
                (f"{n}.json", json.dumps(pixels).encode()),
                (f"{n}.txt", LONG + b"%d" % n),
            ]
        tarred(tmp_path / "clean" / f"{shard}.tar", [*members, ("z.bin", b"\0of no image")])
    return tmp_path / "clean"


def test_members_come_back_where_they_were(tmp_path, shards):
    report = protect_dataset(shards, tmp_path / "out", KEY, keep="files", workers=2)
    assert (report.done, report.failed, report.left_out, report.foreign) == (8, 0, {}, [])
    assert report.sealed_fields == 2 * (4 * 3 + 1)
    published = files_in(tmp_path / "out")
    assert published.keys() == {"0.tar", "1.tar", *(f"{n}.0.{SEALED_FIELDS}" for n in range(2))}
    assert LONG not in b"".join(published.values())
    assert verify_dataset(tmp_path / "out", KEY).sealed_fields == report.sealed_fields
    back = restore_dataset(tmp_path / "out", tmp_path / "back", KEY)
    assert (back.done, back.failed, back.sealed_fields) == (8, 0, report.sealed_fields)
    for name in ("0.tar", "1.tar"):
        assert members_of(tmp_path / "back" / name) == members_of(shards / name)


def test_a_run_that_goes_on_writes_the_same(tmp_path, shards):
    protect_dataset(shards, tmp_path / "out", KEY, keep="files")
    whole = files_in(tmp_path / "out")
    (tmp_path / "out" / f"1.0.{SEALED_FIELDS}").unlink()
    report = protect_dataset(shards, tmp_path / "out", KEY, keep="files")
    assert (report.resumed, report.sealed_fields) == (1, 26)
    assert files_in(tmp_path / "out") == whole
    protect_dataset(shards, tmp_path / "out", KEY, keep="files", drop=("*",), overwrite=True)
    assert files_in(tmp_path / "out").keys() == {"0.tar", "1.tar"}


def test_what_is_dropped_is_dropped(tmp_path, shards):
    report = protect_dataset(
        shards, tmp_path / "out", KEY, keep="files", drop=("*.npy", "pixels", "*.bin")
    )
    assert (report.left_out, report.sealed_fields) == ({}, 8)
    restore_dataset(tmp_path / "out", tmp_path / "back", KEY)
    back = dict(members_of(tmp_path / "back" / "0.tar"))
    assert not [name for name in back if name.endswith((".npy", ".bin"))]
    assert json.loads(back["1.json"]) == {"label": 1}
    assert back["1.txt"] == LONG + b"1"


def test_a_key_is_never_sealed(tmp_path, shards, scenes):
    KEY.save(tmp_path / "key")
    key = (tmp_path / "key").read_bytes()
    tarred(shards / "0.tar", [("0.jpg", jpeg(scenes[0])), ("0.secret", key), ("0.note", b"\0")])
    report = protect_dataset(shards, tmp_path / "out", KEY, keep="files")
    assert [each.first for each in report.left_out.values()] == ["0/0.secret"]
    restore_dataset(tmp_path / "out", tmp_path / "back", KEY)
    assert [name for name, _ in members_of(tmp_path / "back" / "0.tar")] == ["0.jpg", "0.note"]


def test_images_that_fail_or_are_not_wanted_keep_their_fields(tmp_path, shards):
    members = members_of(shards / "0.tar")
    broken = [(name, b"" if name == "1.jpg" else data) for name, data in members]
    tarred(shards / "0.tar", broken)
    chosen = Selection(exclude=("*/0.jpg",))
    protect_dataset(shards, tmp_path / "out", KEY, keep="files", selection=chosen)
    restore_dataset(
        tmp_path / "out", tmp_path / "back", KEY, selection=Selection(include=("0/3.*",))
    )
    assert members_of(tmp_path / "back" / "0.tar") == [m for m in members if m[0][0] == "3"]


def test_one_at_other_places_has_its_own(tmp_path, shards):
    """Samples are known by their keys, in whatever order they are."""
    protect_dataset(shards, tmp_path / "out", KEY, keep="files")
    members = members_of(tmp_path / "out" / "0.tar")
    tarred(tmp_path / "out" / "0.tar", sorted(members, key=lambda each: -int(each[0][0])))
    assert restore_dataset(tmp_path / "out", tmp_path / "back", KEY).failed == 0
    assert dict(members_of(tmp_path / "back" / "0.tar")) == dict(members_of(shards / "0.tar"))


def test_long_values_go_on_in_the_next_piece(tmp_path, shards, monkeypatch):
    monkeypatch.setattr("dsguard.bulk.sealed_fields.PIECE_BYTES", 4000)
    monkeypatch.setattr("dsguard.formats.webdataset.sealed._AT_ONCE", 1000)
    protect_dataset(shards, tmp_path / "out", KEY, keep="files")
    pieces = sorted(path.name for path in (tmp_path / "out").glob("0.*.dsguard"))
    assert len(pieces) > 3
    restore_dataset(tmp_path / "out", tmp_path / "back", KEY)
    assert members_of(tmp_path / "back" / "0.tar") == members_of(shards / "0.tar")
    for n, gone in enumerate([pieces[0], f"0.{len(pieces) - 1}.{SEALED_FIELDS}"]):
        data = (tmp_path / "out" / gone).read_bytes()
        (tmp_path / "out" / gone).unlink()
        assert verify_dataset(tmp_path / "out", KEY).failed
        report = restore_dataset(tmp_path / "out", tmp_path / f"back{n}", KEY)
        assert report.done == 8
        assert report.broken >= 1
        (tmp_path / "out" / gone).write_bytes(data)
    assert PIECE_BYTES < 64 << 20


@pytest.fixture
def pieces(tmp_path, monkeypatch):
    """Return what seals entries in pieces of 100 bytes, and what opens them again."""
    monkeypatch.setattr("dsguard.bulk.sealed_fields.PIECE_BYTES", 100)
    (tmp_path / "s.tar").write_bytes(b"")
    place = LocalPlace(tmp_path)

    def seal(*entries: tuple[str, bytes]) -> list[bytes]:
        sealer = PieceSealer(place, pieces_of("s.tar", 0), KEY, set[str]().update)
        for name, data in entries:
            assert sealer.add(name, data) == ""
        sealer.close()
        return [(tmp_path / name).read_bytes() for name in sealer.written]

    def opened(*files: bytes) -> dict[str, bytes]:
        for old in tmp_path.glob(f"*.{SEALED_FIELDS}"):
            old.unlink()
        for n, file in enumerate(files):
            (tmp_path / f"s.{n}.{SEALED_FIELDS}").write_bytes(file)
        found = opened_fields(WebDatasetSource(place, ["s.tar"]), "s.tar", KEY)
        return {} if found is None else {name: found[name] for name in found}

    return seal, opened


def test_pieces_have_one_order(pieces):
    seal, opened = pieces
    entries = [("0/0.npy", b"a" * 220), ("0/1.npy", b"b" * 150)]
    first, second, *rest = seal(*entries)
    other = seal(("0/0.npy", b"c" * 220), entries[1])
    assert opened(first, second, *rest) == dict(entries)
    assert opened(*other)["0/0.npy"] == b"c" * 220
    for wrong in (
        (second, first, *rest),
        (first, *rest),
        (first, first, second, *rest),
        rest[-1:],
        (first, *other[1:]),
        (first, second, *other[2:]),
        (first, second, *rest[:-1], other[-1]),
    ):
        with pytest.raises(dsguard.TamperedError, match="at another place"):
            opened(*wrong)


def test_a_name_is_sealed_once(pieces, tmp_path):
    _, opened = pieces
    sealer = PieceSealer(LocalPlace(tmp_path), pieces_of("s.tar", 0), KEY, set[str]().update)
    assert sealer.add("-/x", b"1" * 60) == sealer.add("-/y", b"2" * 60) == ""
    assert "has the name of another" in sealer.add("-/x", b"3")
    sealer.close()
    files = [(tmp_path / name).read_bytes() for name in sealer.written]
    assert opened(*files) == {"-/x": b"1" * 60, "-/y": b"2" * 60}
    assert sealer.count == 2


def test_fields_of_one_name_fail_with_their_images(tmp_path, scenes):
    image = jpeg(scenes[0])
    good = [("z.jpg", jpeg(scenes[1])), ("z.npy", b"Z")]
    for n, members in enumerate(
        [
            [("a.jpg", image), ("a.npy", b"1"), ("a.jpg", image), ("a.npy", b"2")],
            [("a.npy", b"1"), ("a.npy", b"2"), ("a.jpg", image)],
        ]
    ):
        clean, out = tmp_path / f"clean{n}", tmp_path / f"out{n}"
        tarred(clean / "0.tar", members + good)
        report = protect_dataset(clean, out, KEY, keep="files")
        assert (report.done, report.left_out) == (1, {})
        assert "more than one field 'npy'" in report.failures["0/a.jpg"].message
        assert "0/a.jpg" in verify_dataset(out, KEY, against=clean).different
        restore_dataset(out, tmp_path / f"back{n}", KEY)
        assert members_of(tmp_path / f"back{n}" / "0.tar") == good


@pytest.mark.parametrize("out_format", ["auto", "folder"])
def test_a_field_with_a_dot_of_its_own_is_another(tmp_path, scenes, out_format):
    members = [("a.jpg", jpeg(scenes[0])), ("a.npy", b"1"), ("a..npy", b"2")]
    tarred(tmp_path / "clean" / "0.tar", members)
    report = protect_dataset(tmp_path / "clean", tmp_path / "out", KEY, keep="files")
    assert (report.done, report.left_out) == (1, {})
    restored = restore_dataset(tmp_path / "out", tmp_path / "back", KEY, out_format=out_format)
    assert restored.failures == {}
    if out_format == "auto":
        assert members_of(tmp_path / "back" / "0.tar") == members
    else:
        back = {path.name: path.read_bytes() for path in (tmp_path / "back").rglob("*.*")}
        assert {name: back[name] for name, _ in members} == dict(members)


@pytest.mark.parametrize("second", [b"\0other", b"short"])
def test_of_no_image_the_second_of_a_name_is_named(tmp_path, scenes, second):
    loose = [("x.txt", LONG), ("x.txt", second)]
    good = [("0.jpg", jpeg(scenes[0])), ("0.npy", b"Z")]
    tarred(tmp_path / "clean" / "0.tar", good + loose)
    report = protect_dataset(tmp_path / "clean", tmp_path / "out", KEY, keep="files")
    assert [(each.first, each.count) for each in report.left_out.values()] == [("0/x.txt", 1)]
    assert (report.failed, report.sealed_fields) == (0, 2)
    restore_dataset(tmp_path / "out", tmp_path / "back", KEY)
    assert members_of(tmp_path / "back" / "0.tar") == [*good, loose[0]]
    report = verify_dataset(tmp_path / "out", KEY, against=tmp_path / "clean")
    assert report.different.keys() == {"0/x.txt"}


def test_what_has_no_place_is_named(tmp_path, shards):
    """Of a published shard to which members were added, and of which a sample was taken."""
    protect_dataset(shards, tmp_path / "out", KEY, keep="files")
    shard = tmp_path / "out" / "0.tar"
    kept = [(name, data) for name, data in members_of(shard) if not name.startswith("1.")]
    tarred(shard, [*kept, ("x.txt", b"first"), ("x.txt", b"second")])
    report = restore_dataset(tmp_path / "out", tmp_path / "back", KEY)
    told = {name: error.message for name, error in report.failures.items()}
    assert told.keys() == {"0/x.txt", "0/1.features.npy", "0/1.json", "0/1.txt"}
    assert "another in its shard" in told["0/x.txt"]
    assert (report.done, report.broken) == (7, 4)
    assert verify_dataset(tmp_path / "out", KEY).failures.keys() == told.keys()
    some = Selection(include=("0/2.*",))
    report = restore_dataset(tmp_path / "out", tmp_path / "some", KEY, selection=some)
    assert report.failures.keys() == {"0/x.txt"}  # fields of others are not wanted


def test_a_member_of_no_image_that_cannot_be_kept_is_named(tmp_path, scenes):
    long = "n" * 300 + ".txt"
    tarred(tmp_path / "clean" / "0.tar", [("0.jpg", jpeg(scenes[0])), (long, b"words")])
    report = protect_dataset(tmp_path / "clean", tmp_path / "out", KEY, keep="files")
    (left,) = report.left_out.values()
    assert left.first.startswith("0/nnn")
    assert "too long" in left.reason


def test_what_belongs_to_no_image_comes_back_once(tmp_path, scenes):
    """It is published without its pixels; the whole of it takes that place."""
    told = json.dumps({"label": 1, "pixels": scenes[1].tolist()}).encode()
    members = [("0.jpg", jpeg(scenes[0])), ("x.json", told), ("z.txt", b"short")]
    tarred(tmp_path / "clean" / "0.tar", members)
    protect_dataset(tmp_path / "clean", tmp_path / "out", KEY, keep="files")
    restore_dataset(tmp_path / "out", tmp_path / "back", KEY)
    assert members_of(tmp_path / "back" / "0.tar") == members


@pytest.mark.parametrize("change", ["bit", "key", "moved"])
def test_what_does_not_open_is_told_and_images_come_back(tmp_path, shards, change):
    protect_dataset(shards, tmp_path / "out", KEY, keep="files")
    path = tmp_path / "out" / f"0.0.{SEALED_FIELDS}"
    data = path.read_bytes()
    if change == "bit":
        path.write_bytes(data[:5000] + bytes([data[5000] ^ 1]) + data[5001:])
    elif change == "key":
        path.write_bytes(sealed_archive([("0/0.npy", b"x")], OTHER))
    else:
        path.rename(path.with_name(f"9.0.{SEALED_FIELDS}"))
    for report in (
        verify_dataset(tmp_path / "out", KEY),
        restore_dataset(tmp_path / "out", tmp_path / "back", KEY),
    ):
        assert report.done == 8
        assert report.broken >= 1
        assert all(name.endswith(SEALED_FIELDS) for name in report.failures)


@pytest.mark.parametrize(
    "name", ["0/../x", "0//x", "0/.hidden", "0/0.png", "-/../x", "x", "99999999999/../0.npy"]
)
def test_members_of_strangers_stay_in_the_shard(tmp_path, shards, name):
    protect_dataset(shards, tmp_path / "out", KEY, keep="files")
    piece = sealed_archive([(name, b"y"), ("0/0.note", b"z")], KEY)
    (tmp_path / "out" / f"0.0.{SEALED_FIELDS}").write_bytes(piece)
    before = set(tmp_path.iterdir())
    report = restore_dataset(tmp_path / "out", tmp_path / "back", KEY)
    assert report.broken == 1
    assert set(tmp_path.iterdir()) - before == {tmp_path / "back", tmp_path / "back.dsguard"}
    back = members_of(tmp_path / "back" / "0.tar")
    assert not [name for name, _ in back if name in ("0.note", "0.npy", "x")]


def test_as_a_folder_they_lie_beside_the_images(tmp_path, shards):
    protect_dataset(shards, tmp_path / "out", KEY, keep="files", out_format="folder")
    assert f"00000.0.{SEALED_FILES}" in files_in(tmp_path / "out")
    restore_dataset(tmp_path / "out", tmp_path / "back", KEY)
    restore_dataset(tmp_path / "out", tmp_path / "flat", KEY)
    was, back = dict(members_of(shards / "0.tar")), files_in(tmp_path / "back")
    for field in ("features.npy", "json", "txt"):
        assert back[f"0/1/3.{field}"] == was[f"3.{field}"]
    assert back["0/z.bin"] == was["z.bin"]
    assert not [name for name in back if name.endswith(".dsguard")]


def test_fields_of_shards_made_of_folders_come_back(tmp_path, scenes):
    pytest.importorskip("pyarrow")
    for n, scene in enumerate(scenes[:3]):
        (tmp_path / "clean" / "a").mkdir(parents=True, exist_ok=True)
        (tmp_path / "clean" / "a" / f"{n}.jpg").write_bytes(jpeg(scene))
        (tmp_path / "clean" / "a" / f"{n}.txt").write_bytes(LONG)
    for kind in ("webdataset", "parquet"):
        out, back = tmp_path / kind, tmp_path / f"{kind}-back"
        report = protect_dataset(tmp_path / "clean", out, KEY, keep="files", out_format=kind)
        assert (report.left_out, report.sealed_fields) == ({}, 3)
        report = restore_dataset(out, back, KEY, out_format="folder")
        assert (report.failed, report.sealed_fields) == (0, 3)
        texts = {name: data for name, data in files_in(back).items() if name.endswith(".txt")}
        assert list(texts.values()).count(LONG) == 3


def table(scenes, rows: int = 6):
    import pyarrow as pa

    images = [{"bytes": jpeg(scenes[n % 8]), "path": f"{n}.jpg"} for n in range(rows)]
    captions = [(LONG if n % 3 == 0 else b"short").decode() for n in range(rows)]
    embeddings = pa.array(np.arange(rows * 100.0).reshape(rows, 100).tolist())
    return pa.table(
        {
            "id": list(range(rows)),
            "mask": [bytes([n]) * 50 for n in range(rows)],
            "image": images,
            "caption": captions,
            "embedding": embeddings,
            "label": [n % 2 for n in range(rows)],
        }
    ).replace_schema_metadata({"made by": "me"})


@pytest.fixture
def columns(tmp_path, scenes):
    """Return a folder with a Parquet file of two row groups, and its table."""
    parquet = pytest.importorskip("pyarrow.parquet")
    (tmp_path / "clean").mkdir()
    parquet.write_table(table(scenes), tmp_path / "clean" / "a.parquet", row_group_size=4)
    return tmp_path / "clean", parquet.read_table(tmp_path / "clean" / "a.parquet")


@pytest.mark.parametrize("at_once", [1, 3000, 1 << 24])
def test_columns_come_back(tmp_path, columns, monkeypatch, at_once):
    from pyarrow import parquet

    clean, was = columns
    monkeypatch.setattr("dsguard.formats.parquet.sealed._AT_ONCE", at_once)
    report = protect_dataset(clean, tmp_path / "out", KEY, keep="files")
    assert (report.done, report.left_out, report.sealed_fields) == (6, {}, 18)
    published = parquet.read_table(tmp_path / "out" / "a.parquet")
    assert "mask" not in published.schema.names
    assert set(published.column("embedding").to_pylist()) == {None}
    assert published.column("caption").to_pylist()[:2] == [None, "short"]
    restored = restore_dataset(tmp_path / "out", tmp_path / "back", KEY)
    assert (restored.failed, restored.sealed_fields) == (0, 18)
    back = parquet.read_table(tmp_path / "back" / "a.parquet")
    assert back.equals(was)
    assert back.schema.equals(was.schema, check_metadata=True)


def test_columns_are_known_by_their_images(tmp_path, columns):
    """Rows may be sorted, taken and added since; they keep what was sealed of them."""
    import pyarrow as pa
    from pyarrow import parquet

    clean, was = columns
    protect_dataset(clean, tmp_path / "out", KEY, keep="files")
    path = tmp_path / "out" / "a.parquet"
    published = parquet.read_table(path)
    other = protect_dataset(clean, tmp_path / "other", OTHER, keep="files")
    assert other.failed == 0
    strange = parquet.read_table(tmp_path / "other" / "a.parquet").slice(0, 1)
    parquet.write_table(pa.concat_tables([published.take([5, 3, 0]), strange]), path)
    restore_dataset(tmp_path / "out", tmp_path / "back", KEY)
    back = parquet.read_table(tmp_path / "back" / "a.parquet")
    assert back.equals(was.take([5, 3, 0]))


def test_columns_that_are_dropped_stay_away(tmp_path, columns):
    from pyarrow import parquet

    clean, _ = columns
    protect_dataset(clean, tmp_path / "out", KEY, keep="files", drop=("mask", "embedding"))
    restore_dataset(tmp_path / "out", tmp_path / "back", KEY)
    names = parquet.read_table(tmp_path / "back" / "a.parquet").schema.names
    assert names == ["id", "image", "caption", "label"]


def test_columns_of_strangers_do_not_fill_the_memory(tmp_path, columns):
    import pyarrow as pa
    from pyarrow import parquet

    clean, _ = columns
    protect_dataset(clean, tmp_path / "out", KEY, keep="files")
    rows = 9_000
    many = pa.table(
        {
            "dsguard.image": pa.array([bytes(16)] * rows, pa.binary(16)),
            "x": pa.DictionaryArray.from_arrays(pa.array([0] * rows), ["y" * 60_000]),
        }
    )
    out = io.BytesIO()
    parquet.write_table(many, out, compression="zstd", store_schema=False)
    assert len(out.getvalue()) < 1 << 20
    for n, data in enumerate([out.getvalue(), b"PAR1 and no more", b""]):
        piece = sealed_archive([("0/0.parquet", data)], KEY, "fields.tar")
        (tmp_path / "out" / f"a.parquet.0.{SEALED_FIELDS}").write_bytes(piece)
        report = restore_dataset(tmp_path / "out", tmp_path / f"back{n}", KEY)
        assert (report.done, report.broken) == (6, 1)


def test_arrays_come_back(tmp_path, scenes):
    arrays = {
        "features": np.arange(8000.0).reshape(8, 1000),
        "images": scenes,
        "labels": np.arange(8) % 2,
        "extra": np.arange(3000, dtype=np.float32),
    }
    np.savez(tmp_path / "a.npz", **arrays)
    report = protect_dataset(tmp_path / "a.npz", tmp_path / "out", KEY, keep="files")
    assert (report.left_out, report.sealed_fields) == ({}, 2)
    assert restore_dataset(tmp_path / "out", tmp_path / "back", KEY).sealed_fields == 2
    assert verify_dataset(tmp_path / "out", KEY).sealed_fields == 2
    with np.load(tmp_path / "back" / "a.npz") as back:
        assert back.files == list(arrays)
        for name, array in arrays.items():
            np.testing.assert_array_equal(back[name], array)
    pickled = io.BytesIO()
    np.save(pickled, np.array([{}], object), allow_pickle=True)
    piece = sealed_archive([("0/features", pickled.getvalue())], KEY, "fields.tar")
    (tmp_path / "out" / f"a.npz.0.{SEALED_FIELDS}").write_bytes(piece)
    report = restore_dataset(tmp_path / "out", tmp_path / "other", KEY)
    assert report.done == 8
    assert "Python objects" in next(iter(report.failures.values())).message


@pytest.mark.parametrize("kind", ["folder", "webdataset", "parquet"])
def test_arrays_for_which_there_is_no_room_are_named(tmp_path, scenes, kind):
    if kind == "parquet":
        pytest.importorskip("pyarrow")
    arrays = {"images": scenes, "labels": np.arange(8), "emb": np.arange(8000.0), "age": [30] * 8}
    (tmp_path / "clean").mkdir()
    np.savez(tmp_path / "clean" / "a.npz", **arrays)
    report = protect_dataset(
        tmp_path / "clean", tmp_path / "out", KEY, out_format=kind, drop=("age",)
    )
    assert [each.first for each in report.left_out.values()] == ["a.npz/emb"]
    KEY.save(tmp_path / "k")
    given = ["protect", str(tmp_path / "clean"), "x", "--key", str(tmp_path / "k"), "--dry-run"]
    assert run(given) == Exit.OK  # a sample becomes a folder; the dataset does not
    assert run([*given, "--out-format", kind]) == Exit.LEFT_OUT
    report = verify_dataset(tmp_path / "out", KEY, against=tmp_path / "clean")
    lost = {"a.npz/emb", "a.npz/age"}
    assert report.compared == "images" or report.different.keys() == lost
    protect_dataset(tmp_path / "clean", tmp_path / "arrays", KEY)
    report = restore_dataset(tmp_path / "arrays", tmp_path / "back", KEY, out_format=kind)
    assert (report.done, report.failures.keys()) == (8, lost)


def test_others_called_as_sidecars_and_labels_are_kept_or_named(tmp_path, scenes):
    clean, out, back = (tmp_path / name for name in ("clean", "out", "back"))
    clean.mkdir()
    np.save(clean / "x.npy", scenes)
    np.save(clean / "x_labels.npy", np.arange(8))
    np.save(clean / "labels.npy", np.arange(8) + 1)
    np.savez(clean / "x.npy.sidecars.npz", a=np.arange(3))
    np.savez(
        clean / "y.npz", images=scenes, **{"dsguard-sidecar/images/0": np.arange(3, dtype="u1")}
    )
    report = protect_dataset(clean, out, KEY)
    assert (report.sealed_files, report.sealed_fields, report.left_out) == (1, 1, {})
    report = verify_dataset(out, KEY, against=clean)
    assert (report.failed, report.different, report.sealed_fields) == (0, {}, 1)
    assert restore_dataset(out, back, KEY).failures == {}
    name = "x.npy.sidecars.npz"
    assert (back / name).read_bytes() == (clean / name).read_bytes()
    with np.load(back / "y.npz") as y:
        assert y.files == ["images", "dsguard-sidecar/images/0"]
    report = protect_dataset(clean, tmp_path / "shards", KEY, out_format="webdataset")
    named = {"labels.npy", "y.npz/dsguard-sidecar/images/0"}
    assert {each.first for each in report.left_out.values()} == named
    report = verify_dataset(tmp_path / "shards", KEY, against=clean)
    assert report.different.keys() == named


def test_all_of_shards_is_compared(tmp_path, shards):
    protect_dataset(shards, tmp_path / "out", KEY, keep="files")
    report = verify_dataset(tmp_path / "out", KEY, against=shards)
    assert (report.compared, report.different) == ("all", {})
    members = members_of(shards / "0.tar")
    other = {"1.txt": b"other", "z.bin": b"\0other"}
    tarred(shards / "0.tar", [(name, other.get(name, data)) for name, data in members])
    report = verify_dataset(tmp_path / "out", KEY, against=shards, workers=2)
    assert report.different.keys() == {"0/1.jpg", "0/z.bin"}
    assert "field 'txt'" in report.different["0/1.jpg"]
    (tmp_path / "out" / f"0.0.{SEALED_FIELDS}").unlink()
    report = verify_dataset(tmp_path / "out", KEY, against=shards)
    assert {"0/0.jpg", "0/1.jpg", "0/2.jpg", "0/3.jpg"} < report.different.keys()


def test_columns_and_arrays_are_compared(tmp_path, columns, scenes):
    clean, _ = columns
    arrays = {"images": scenes, "features": np.arange(8000.0).reshape(8, 1000)}
    np.savez(tmp_path / "a.npz", **arrays)
    for source, keep in ((clean, "files"), (tmp_path / "a.npz", "files")):
        out = tmp_path / f"out-{source.name}"
        protect_dataset(source, out, KEY, keep=keep)
        report = verify_dataset(out, KEY, against=source)
        assert (report.compared, report.different) == ("all", {})
        next(out.glob(f"*.{SEALED_FIELDS}")).unlink()
        assert verify_dataset(out, KEY, against=source).different


def test_inspect_tells_what_is_sealed(tmp_path, shards, capsys):
    KEY.save(tmp_path / "key")
    protect_dataset(shards, tmp_path / "out", KEY, keep="files")
    piece = str(tmp_path / "out" / f"0.0.{SEALED_FIELDS}")
    assert run(["inspect", piece]) == Exit.OK
    told = capsys.readouterr().out
    assert "holds fields of a shard, sealed" in told
    assert "txt" not in told
    assert run(["inspect", piece, "--key", str(tmp_path / "key")]) == Exit.OK
    assert f"4/1.txt: {len(LONG) + 1} bytes" in capsys.readouterr().out
    assert run(["inspect", piece, "--json", "--key", str(tmp_path / "key")]) == Exit.OK
    assert json.loads(capsys.readouterr().out)["files"]["-/z.bin"] == 12


entries = st.dictionaries(
    st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=120),
    st.binary(max_size=2000),
    max_size=8,
)


@settings(max_examples=25)
@given(given=entries, piece=st.integers(1, 900))
def test_any_entries_come_back_from_their_pieces(tmp_path_factory, given, piece):
    root = tmp_path_factory.mktemp("pieces")
    (root / "s.tar").write_bytes(b"")
    place, told = LocalPlace(root), set()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dsguard.bulk.sealed_fields.PIECE_BYTES", piece)
        sealer = PieceSealer(place, pieces_of("s.tar", 0), KEY, told.update)
        for name, data in given.items():
            assert sealer.add(name, data) == ""
        sealer.close()
    assert told == set(sealer.written)
    found = opened_fields(WebDatasetSource(place, ["s.tar"]), "s.tar", KEY)
    assert (found is None) == (not given)
    assert {name: found[name] for name in found or ()} == given


class Given(dict, Entries):
    """Entries of strangers, who have the key."""

    def size(self) -> int:
        return sum(map(len, self.values()))


@given(
    st.dictionaries(
        st.builds("{}/{}".format, st.sampled_from(["0", "-", "7", "x"]), st.text(max_size=9))
        | st.sampled_from(["0/0.parquet", "1/0.npy", "-/../x", "0/a.png"]),
        st.binary(max_size=60) | st.sampled_from([b"PAR1", b"\x93NUMPY\x01\0\x02\0{}"]),
        max_size=3,
    )
)
def test_entries_of_strangers_are_refused_or_taken(found):
    for source in (WebDatasetSource, NumpySource, ParquetSource):
        if source is ParquetSource and importlib.util.find_spec("pyarrow") is None:
            continue
        with contextlib.suppress(dsguard.DsguardError):
            unsealed(source(LocalPlace(Path("nowhere")), ["a"]), Part("a"), Given(found))


def test_it_is_said_on_the_command_line(tmp_path, shards, capsys):
    KEY.save(tmp_path / "key")
    key = ["--key", str(tmp_path / "key")]
    out = str(tmp_path / "out")
    assert run(["protect", str(shards), out, *key, "--keep", "files"]) == Exit.OK
    assert f"26 values beside the images sealed in *.{SEALED_FIELDS}" in capsys.readouterr().out
    piece = tmp_path / "out" / f"0.0.{SEALED_FIELDS}"
    piece.write_bytes(piece.read_bytes()[:-100])
    assert run(["verify", out, *key]) != Exit.OK
    told = capsys.readouterr().err
    assert "1 sealed file could not be opened" in told
    assert "to the end" not in told
