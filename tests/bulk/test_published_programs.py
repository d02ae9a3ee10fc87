"""Programs in shards and folders: published ones do not come back, since anybody can add them."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import shutil
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest

import dsguard
from dsguard.bulk import protect_dataset, restore_dataset, verify_dataset
from dsguard.bulk.published_files import A_STRANGER
from dsguard.bulk.sealed_files import sealed, sealed_archive
from dsguard.cli.commands import Exit, run
from dsguard.formats import decode_image, encode_image, encode_images, open_source
from dsguard.formats.sealing import digest_of

from .folders import files_in
from .test_ahead import Derived
from .test_sealed_fields import members_of, tarred

KEY = dsguard.DatasetKey(bytes(32))
MESSAGE = "could be a program"


def npy(array) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def npz(array, save=np.savez) -> bytes:
    file = io.BytesIO()
    save(file, numbers=np.arange(3), x=array)
    return file.getvalue()


def zipped(**files: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return file.getvalue()


OBJECTS = np.array([None])
OF_TORCH = zipped(**{"model/data.pkl": b"x", "model/version": b"3"})
UNMARKED = pickle.dumps(Path("a"), 0)
PICKLES = [
    *[("0.pkl", b"a"), ("1.PTH", b"b"), ("1.x.pyd.gz", b"c"), ("notes.pickle", b"d")],
    *[("0.cache", b"e"), ("0.joblib", b"f"), ("2.dill", b"g"), ("labels.cache", b"h")],
    *[("0.npy", npy(OBJECTS)), ("1.npz", npz(OBJECTS)), ("2.bin", OF_TORCH), ("2.dat", UNMARKED)],
]
NUMBERS = [("1.npy", npy(np.arange(3))), ("2.npz", npz(np.ones(2))), ("sizes.npy", npy(np.ones(2)))]


@pytest.fixture
def clean(tmp_path, scenes):
    """A shard with pickles, one of them of no image."""
    images = [(f"{n}.png", encode_image(scenes[n])) for n in range(3)]
    members = [*images, ("0.txt", b"cat"), *NUMBERS, *PICKLES]
    tarred(tmp_path / "in" / "0.tar", sorted(members))
    return tmp_path / "in"


@pytest.mark.parametrize("publish", [(), tuple(name for name, _ in PICKLES)])
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
    theirs = [("1.pkl", b"x"), ("2.pyd", b"x"), ("3.pth", b"x"), ("0.pkl", b"x"), ("1.cache", b"x")]
    objects = [
        ("2.npy", npy(np.array(["theirs"], object))),
        ("more.npz", npz(np.array([3], object))),
    ]
    harmless = [("2.txt", b"dog"), ("0.npz", npz(np.zeros(1))), ("more.npy", npy(np.zeros(1)))]
    tarred(shard, sorted([*members_of(shard), *theirs, *objects, *harmless]))
    KEY.save(tmp_path / "k")
    failed = {f"0/{name}" for name, _ in (*theirs, *objects)}
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
    assert dict(harmless).items() <= came.items()
    assert b"x" not in came.values()
    assert not {name for name, _ in objects} & set(came)
    in_folder = files_in(tmp_path / "folder").values()
    assert not {b"x", *dict(objects).values()} & set(in_folder)
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


@pytest.mark.parametrize("note", ["short", "a long note " * 40])
def test_columns_of_strangers_are_no_program_beside_sealed_ones(tmp_path, scenes, note):
    """One field of JSON has all columns, of which some may be sealed."""
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    (tmp_path / "in").mkdir()
    images = [{"bytes": encode_image(scene), "path": None} for scene in scenes[:2]]
    table = pa.table({"image": images, "label": [0, 1], "note": [note] * 2})
    pq.write_table(table, tmp_path / "in" / "a.parquet")
    protect_dataset(tmp_path / "in", tmp_path / "safe", KEY, workers=1)
    (file,) = (tmp_path / "safe").glob("*.parquet")
    published = pq.read_table(file)
    pq.write_table(published.append_column("_target_", pa.array(["os.system"] * 2)), file)
    report = restore_dataset(
        tmp_path / "safe", tmp_path / "back", KEY, out_format="folder", workers=1
    )
    told = [name for name, error in report.failures.items() if MESSAGE in str(error)]
    assert len(told) == 2
    assert b"_target_" not in b"".join(files_in(tmp_path / "back").values())


def stranger_writes(file, mark: bool, rows: list[dict[str, object]]) -> None:
    """Write rows of a published table anew, and whether they say that they were made here."""
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    schema = pq.read_schema(file)
    told = {key: data for key, data in schema.metadata.items() if key != b"dsguard.named"}
    told |= {b"dsguard.named": b"1"} if mark else {}
    pq.write_table(pa.Table.from_pylist(rows, schema=schema.with_metadata(told)), file)


@pytest.mark.parametrize("mark", [False, True])
@pytest.mark.parametrize("out_format", ["folder", "webdataset"])
def test_a_row_of_a_stranger_has_nothing_sealed(tmp_path, folder, out_format, mark):
    """Its image was saved anew, so that nobody knows it; others of the table have sealed fields."""
    pq = pytest.importorskip("pyarrow.parquet")
    (folder / "images" / "1.json").write_text(json.dumps({"caption": "long words " * 60}))
    protect_dataset(folder, tmp_path / "safe", KEY, out_format="parquet", workers=1)
    (file,) = (tmp_path / "safe").glob("*.parquet")
    rows = pq.read_table(file).to_pylist()
    image = decode_image(rows[2]["image"]["bytes"])
    rows[2]["image"]["bytes"] = encode_images(image[None], "tiff")[0]
    theirs = {"pkl:hex": pickle.dumps([1]).hex(), "py": "import os", "json": '{"_target_": "id"}'}
    rows[2]["fields"] = json.dumps(theirs)
    stranger_writes(file, mark, rows)
    report = restore_dataset(
        tmp_path / "safe", tmp_path / "back", KEY, out_format=out_format, workers=1
    )
    assert any(MESSAGE in str(error) for error in report.failures.values())
    back = b"".join(files_in(tmp_path / "back").values())
    assert b"long words" in back
    assert not any(sign in back for sign in (b"import os", b"_target_", pickle.dumps([1])))


def test_images_of_strangers_name_no_file_that_is_run(tmp_path, folder):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    (tmp_path / "in").mkdir()
    images = [{"bytes": encode_image(open_image(folder, n)), "path": f"{n}.png"} for n in range(2)]
    table = pa.table({"image": images, "note": ["a long note " * 40] * 2})
    pq.write_table(table, tmp_path / "in" / "a.parquet")
    protect_dataset(tmp_path / "in", tmp_path / "safe", KEY, workers=1)
    (file,) = (tmp_path / "safe").glob("*.parquet")
    published = pq.read_table(file)
    rows = published.to_pylist()
    rows[0]["image"]["path"] = "package.png"
    theirs = pa.Table.from_pylist(rows, schema=published.schema)
    theirs = theirs.append_column("scripts", pa.array(['{"postinstall": "id"}'] * 2))
    pq.write_table(theirs.replace_schema_metadata({b"dsguard.named": b"1"}), file)
    report = restore_dataset(
        tmp_path / "safe", tmp_path / "back", KEY, out_format="folder", workers=1
    )
    assert report.failures
    assert not list((tmp_path / "back").rglob("package.json"))


PICKLED = {b"ARROW:extension:name": b"ray.data.arrow_pickled_object"}
IMAGES = {"info": {"features": {"mask": {"_type": "Image"}, "image": {"_type": "Image"}}}}


@pytest.mark.parametrize("kind", ["type", "feature"])
@pytest.mark.parametrize("change", ["row", "column"])
def test_a_sealed_type_has_sealed_values_alone(tmp_path, scenes, kind, change):
    """The owner says that a column is of a type which readers run; a stranger publishes values."""
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    (tmp_path / "in").mkdir()
    images = pa.array([{"bytes": encode_image(scenes[n]), "path": f"{n}.png"} for n in range(4)])
    masks = pa.array([bytes(600)] * 4)
    fields = [
        pa.field("image", images.type),
        pa.field("mask", masks.type, metadata=PICKLED if kind == "type" else None),
    ]
    told = {b"huggingface": json.dumps(IMAGES).encode()} if kind == "feature" else None
    table = pa.Table.from_arrays([images, masks], schema=pa.schema(fields, metadata=told))
    pq.write_table(table, tmp_path / "in" / "a.parquet")
    protect_dataset(tmp_path / "in", tmp_path / "safe", KEY, workers=1)
    assert not restore_dataset(tmp_path / "safe", tmp_path / "whole", KEY, workers=1).failures
    assert pq.read_table(tmp_path / "whole" / "a.parquet").equals(table, check_metadata=True)
    file = tmp_path / "safe" / "a.parquet"
    published = pq.read_table(file)
    rows = published.to_pylist()
    if change == "row":  # whose image nobody knows then
        image = decode_image(rows[2]["image"]["bytes"])
        rows[2]["image"]["bytes"] = encode_images(image[None], "tiff")[0]
        theirs = pa.array([None, None, b"theirs", None], pa.binary())
    else:  # of another type than what was sealed
        theirs = pa.array([{"theirs": n} for n in range(4)])
    pq.write_table(
        pa.Table.from_pylist(rows, schema=published.schema).append_column("mask", theirs), file
    )
    report = restore_dataset(tmp_path / "safe", tmp_path / "back", KEY, workers=1)
    assert report.failures
    assert verify_dataset(tmp_path / "safe", KEY, workers=1).failures
    back = pq.read_table(tmp_path / "back" / "a.parquet")
    if change == "row":
        assert back["mask"].to_pylist() == [bytes(600)] * 2 + [None, bytes(600)]
    else:
        assert not back.schema.field("mask").metadata
        features = json.loads(
            (back.schema.metadata or {}).get(b"huggingface", b'{"info": {"features": {}}}')
        )
        assert "mask" not in features["info"]["features"]


def open_image(folder, number: int):
    return decode_image((folder / "images" / f"{number}.png").read_bytes())


@pytest.mark.parametrize("names", [
    ("Makefile.txt.png", "Makefile"), ("run.txt.png", "run"), ("package.build.png", "package.json"),
    ("package.q.png", "package..json"),
])  # fmt: skip
def test_fields_are_judged_by_the_names_of_their_files(tmp_path, clean, names):
    """A field is called after its sample, and an image may have more dots in its name."""
    protect_dataset(clean, tmp_path / "safe", KEY, workers=1)
    shard = tmp_path / "safe" / "0.tar"
    members = [(names[0] if name == "1.png" else name, data) for name, data in members_of(shard)]
    tarred(shard, sorted([*members, (names[1], b"{}\n")]))
    report = restore_dataset(
        tmp_path / "safe", tmp_path / "back", KEY, out_format="folder", workers=1
    )
    assert not list((tmp_path / "back").rglob(names[1].replace("..", ".")))
    assert f"0/{names[1]}" in report.failures or ".." in names[1]


# Files beside the images of folders


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
    "features.npz": npz(OBJECTS),
    "features-2.NPZ": npz(OBJECTS, np.savez_compressed),
    "model.bin": OF_TORCH,
    "model": OF_TORCH,
    "data.pk": b"x",
    "data.pickle5": b"x",
    "model.sav": b"x",
    "data.pklz": b"x",
    "data.pgz": b"x",
    "data.gz": gzip.compress(pickle.dumps([1])),
    "infos0": UNMARKED,
    "infos1.bin": pickle.dumps(Path("a"), 1),
    "raw.bin": b"\x80\x00\x01",
    "a.dat": b"\x93NUMBER",
    "texts.zip": zipped(a=b"cat"),
    "texts.gz": gzip.compress(b"cat\ndog\n"),
    "run.sh": b"true\n",
    "loader.py": b"import os\n",
    "labels.h5": b"\x89HDF\r\n\x1a\n",
    "data.yaml": b"train: images\ndownload: import os\n",
    "more.yml": b"train: images\ndownlo\x7fad: import os\n",
    "tags.yaml": b"x: !!python/object/apply:os.getpid []\n",
    "objects.json": b'{"p\\u0079/object": "os.getpid"}',
    "entities.xml": b'<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/hostname">]><a>&b;</a>',
    "requirements.txt": b"evil\n",
    "playlist.mp4": b"#EXTM3U\n",
    "packed.txt": zlib.compress(b"cat"),
}
THEIRS = FILES | {"model.pth.tar": b"x"}  # by which a folder could be one of shards
HARMLESS = {
    "sizes.npy": npy(np.arange(3)),
    "sizes.npz": npz(np.ones(3)),
    "tags.yml": b"path: .\nnames:\n  0: cat!\n",
    "boxes.json": b'{"a": [1, 2], "b": "py/a"}',
    "boxes.xml": b'<?xml version="1.0" encoding="utf-8"?><annotation><name>cat</name></annotation>',
    "notes.txt": "# Katzen äöü\n".encode("utf-16"),
}


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
    put(tmp_path / "safe", THEIRS | HARMLESS)
    source = open_source(tmp_path / "safe", "folder")
    report = restore_dataset(source, tmp_path / "back", KEY, out_format=out_format, workers=1)
    for each in (report, verify_dataset(source, KEY, workers=1)):
        assert set(each.failures) == {*THEIRS, *HARMLESS}
        assert {error.message for error in each.failures.values()} == {A_STRANGER}
    assert not {*THEIRS, *HARMLESS} & set(beside(tmp_path / "back"))


def test_a_file_of_a_stranger_takes_the_place_of_none(tmp_path, folder):
    put(folder, {"infos.pkl": b"own"})
    protect_dataset(folder, tmp_path / "safe", KEY, publish=("*.pkl",), workers=1)
    put(tmp_path / "safe", {"infos.pkl": b"theirs"})
    report = restore_dataset(tmp_path / "safe", tmp_path / "back", KEY, workers=1)
    assert report.failures["infos.pkl"].message == A_STRANGER
    assert beside(tmp_path / "back") == {}


def test_files_of_strangers_in_archives_do_not_come_back(tmp_path, folder):
    protect_dataset(folder, tmp_path / "safe", KEY, workers=1)
    put(tmp_path / "safe", THEIRS)
    archive = shutil.make_archive(str(tmp_path / "safe"), "zip", tmp_path / "safe")
    for report in (
        restore_dataset(archive, tmp_path / "back", KEY, workers=1),
        verify_dataset(archive, KEY, workers=1),
    ):
        assert set(report.failures) == set(THEIRS)
    assert not set(THEIRS) & set(beside(tmp_path / "back"))


# Keys of images, with which others than the owner can seal


@pytest.mark.parametrize("out_format", ["webdataset", "folder"])
def test_fields_that_others_can_have_sealed(tmp_path, clean, out_format):
    protect_dataset(clean, tmp_path / "safe", KEY, workers=1)
    report = restore_dataset(
        tmp_path / "safe", tmp_path / "back", Derived(KEY), out_format=out_format, workers=1
    )
    assert set(report.failures) == {f"0/{name}" for name, _ in PICKLES}
    assert all(MESSAGE in str(error) for error in report.failures.values())
    if out_format == "webdataset":
        back = members_of(tmp_path / "back" / "0.tar")
        assert sorted(back) == sorted({*members_of(clean / "0.tar")} - {*PICKLES})


@pytest.mark.parametrize("out_format", ["auto", "webdataset"])
def test_files_that_others_can_have_sealed(tmp_path, folder, out_format):
    put(folder, FILES | HARMLESS)
    protect_dataset(folder, tmp_path / "safe", KEY, workers=1)
    key = Derived(KEY)
    report = restore_dataset(
        tmp_path / "safe", tmp_path / "back", key, out_format=out_format, workers=1
    )
    for each in (report, verify_dataset(tmp_path / "safe", key, workers=1)):
        assert set(each.failures) == set(FILES)
        assert all(MESSAGE in str(error) for error in each.failures.values())
    if out_format == "auto":
        assert beside(tmp_path / "back") == HARMLESS


def test_fields_of_a_table_that_others_can_have_sealed(tmp_path, clean):
    pytest.importorskip("pyarrow")
    protect_dataset(clean, tmp_path / "safe", KEY, out_format="parquet", workers=1)
    report = restore_dataset(
        tmp_path / "safe", tmp_path / "back", Derived(KEY), out_format="webdataset", workers=1
    )
    assert any(MESSAGE in str(error) for error in report.failures.values())
    (shard,) = (tmp_path / "back").glob("*.tar")
    assert not {name for name, _ in members_of(shard)} & {name for name, _ in PICKLES}


LOOSE = {"train.py": b"import os\n", "cat/labels.cache": b"x", "data.yaml": b"download: os\n"}


@pytest.mark.parametrize("out_format", ["auto", "folder"])
def test_files_of_no_image_that_others_can_have_sealed(tmp_path, folder, out_format):
    pq = pytest.importorskip("pyarrow.parquet")
    protect_dataset(folder, tmp_path / "safe", KEY, out_format="parquet", workers=1)
    (shard,) = (tmp_path / "safe").glob("*.parquet")
    images = [digest_of(image["bytes"]) for image in pq.read_table(shard)["image"].to_pylist()]
    members = [(f"-/{name}", data) for name, data in [*LOOSE.items(), ("notes.txt", b"words")]]
    archive = sealed_archive([*members, ("images", b"".join(images))], KEY, "fields.tar")
    (tmp_path / "safe" / f"{shard.name}.0.sealed-fields.dsguard").write_bytes(archive)
    report = restore_dataset(
        tmp_path / "safe", tmp_path / "back", Derived(KEY), out_format=out_format, workers=1
    )
    for each in (report, verify_dataset(tmp_path / "safe", Derived(KEY), workers=1)):
        assert set(each.failures) == set(LOOSE)
        assert all(MESSAGE in str(error) for error in each.failures.values())
    back = files_in(tmp_path / "back")
    assert back["notes.txt"] == b"words"
    assert not set(LOOSE) & set(back)
    owner = restore_dataset(tmp_path / "safe", tmp_path / "own", KEY, workers=1)
    assert (owner.failures, set(LOOSE) <= set(files_in(tmp_path / "own"))) == ({}, True)


def test_tables_that_others_can_have_sealed_become_no_programs(tmp_path, folder):
    """A table is data, and its rows become JSON."""
    protect_dataset(folder, tmp_path / "safe", KEY, workers=1)
    rows = "".join(f"images/{n}.png,os.system,id\n" for n in range(3))
    table = f"file_name,_target_,_args_\n{rows}".encode()
    (tmp_path / "safe" / "sealed-files.dsguard").write_bytes(sealed({"metadata.csv": table}, KEY))
    report = restore_dataset(
        tmp_path / "safe", tmp_path / "back", Derived(KEY), out_format="webdataset", workers=1
    )
    assert set(report.failures) == {f"images/{n}.json" for n in range(3)}
    assert b"os.system" not in b"".join(files_in(tmp_path / "back").values())


@pytest.mark.parametrize("name", ["train.py", "index.html", "run.desktop"])
def test_no_script_comes_back_as_an_image(tmp_path, scenes, folder, name):
    protect_dataset(folder, tmp_path / "safe", KEY, workers=1)
    files = {0: dsguard.File(name, b"import os")}
    theirs = dsguard.protect_batch(scenes[:1], KEY, files=files)
    image = next((tmp_path / "safe").rglob("*.png"))
    image.write_bytes(encode_image(theirs.images[0]))
    restore_dataset(tmp_path / "safe", tmp_path / "back", KEY, workers=1)
    assert f"{image.stem}.file" in {Path(file).name for file in files_in(tmp_path / "back")}
    restore_dataset(tmp_path / "safe", tmp_path / "shards", KEY, out_format="webdataset", workers=1)
    (shard,) = (tmp_path / "shards").glob("*.tar")
    found = [member for member, _ in members_of(shard)]
    assert not any(member.endswith(Path(name).suffix) for member in found)


@pytest.mark.parametrize("name", ["Makefile", "Makefile.sh", "run", "Dockerfile"])
@pytest.mark.parametrize("data", [b"all: ; touch x", b"BM = 1\nall: ; touch x"])
def test_no_image_comes_back_under_a_name_without_a_suffix(tmp_path, scenes, folder, name, data):
    protect_dataset(folder, tmp_path / "safe", KEY, workers=1)
    theirs = dsguard.protect_batch(scenes[:1], KEY, files={0: dsguard.File(name, data)})
    image = next((tmp_path / "safe").rglob("*.png")).with_name(f"{Path(name).stem}.png")
    image.write_bytes(encode_image(theirs.images[0]))
    restore_dataset(tmp_path / "safe", tmp_path / "back", KEY, workers=1)
    (back,) = (tmp_path / "back").rglob(f"{Path(name).stem}*")
    assert back.suffix in (".file", ".bmp")
    assert back.read_bytes() == data


# Fields, which become files that are called after their images


@pytest.mark.parametrize("out_format", ["webdataset", "folder"])
def test_texts_of_strangers_are_fields_of_no_image(tmp_path, folder, out_format):
    protect_dataset(folder, tmp_path / "safe", KEY, workers=1)
    images = tmp_path / "safe" / "images"
    (images / "0.png").rename(images / "requirements.png")
    put(images, {"requirements.txt": b"evil\n", "1.txt": b"cat"})
    report = restore_dataset(
        tmp_path / "safe", tmp_path / "back", KEY, out_format=out_format, workers=1
    )
    assert set(report.failures) == {"images/requirements.txt", "images/1.txt"}
    found = {name for path in (tmp_path / "back").rglob("*.tar") for name, _ in members_of(path)}
    assert not any("1.txt" in name for name in {*found, *files_in(tmp_path / "back")})
    assert not any("requirements.txt" in name for name in {*found, *files_in(tmp_path / "back")})


@pytest.mark.parametrize("out_format", ["webdataset", "folder"])
def test_fields_of_a_table_are_judged_by_those_names_too(tmp_path, folder, out_format):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    protect_dataset(folder, tmp_path / "safe", KEY, out_format="parquet", workers=1)
    (file,) = (tmp_path / "safe").glob("*.parquet")
    table = pq.read_table(file)
    rows = table.to_pylist()
    rows[0]["image"]["path"] = "x/requirements.png"
    rows[0]["fields"], rows[1]["fields"] = json.dumps({"txt": "evil"}), json.dumps({"txt": "cat"})
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), file)
    report = restore_dataset(
        tmp_path / "safe", tmp_path / "back", KEY, out_format=out_format, workers=1
    )
    (name,) = report.failures
    assert name.endswith("requirements.txt")
    found = {name for path in (tmp_path / "back").rglob("*.tar") for name, _ in members_of(path)}
    names = {*found, *files_in(tmp_path / "back")}
    assert not any("requirements.txt" in name for name in names)
    assert any(name.endswith("1.txt") for name in names)


@pytest.mark.parametrize("stem", ["conftest.py", "Makefile", "run.sh"])
def test_a_field_without_a_name_is_a_file_called_as_the_image(tmp_path, folder, stem):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    protect_dataset(folder, tmp_path / "safe", KEY, out_format="parquet", workers=1)
    (file,) = (tmp_path / "safe").glob("*.parquet")
    table = pq.read_table(file)
    rows = table.to_pylist()
    rows[0]["image"]["path"], rows[0]["fields"] = f"{stem}.png", json.dumps({"": "evil"})
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), file)
    report = restore_dataset(tmp_path / "safe", tmp_path / "back", KEY, out_format="folder")
    assert any(name.endswith(stem) for name in report.failures)
    assert not list((tmp_path / "back").rglob(stem))


@pytest.mark.parametrize("name", ["Makefile.", "Makefile"])
def test_a_member_without_a_suffix_is_one_as_well(tmp_path, clean, name):
    protect_dataset(clean, tmp_path / "safe", KEY, workers=1)
    shard = tmp_path / "safe" / "0.tar"
    members = members_of(shard)
    image = next(data for member, data in members if member.endswith(".png"))
    tarred(shard, [*members, ("Makefile.png", image), (name, b"all:")])
    report = restore_dataset(tmp_path / "safe", tmp_path / "back", KEY, out_format="folder")
    assert any("Makefile" in name for name in report.failures)
    assert not list((tmp_path / "back").rglob("Makefile"))


def test_texts_that_come_out_under_one_name_are_named(tmp_path, folder):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    protect_dataset(folder, tmp_path / "safe", KEY, out_format="parquet", workers=1)
    (file,) = (tmp_path / "safe").glob("*.parquet")
    table = pq.read_table(file)
    rows = table.to_pylist()
    rows[0]["image"]["path"], rows[0]["fields"] = "b.txt.png", json.dumps({"": "four"})
    rows[1]["image"]["path"], rows[1]["fields"] = "b.png", json.dumps({"txt": "five"})
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), file)
    report = restore_dataset(tmp_path / "safe", tmp_path / "back", KEY, out_format="folder")
    assert any("comes out as" in str(error) for error in report.failures.values())
    assert report.done == 2


@pytest.mark.parametrize("kind", ["folder", "webdataset", "parquet"])
def test_texts_of_the_owner_that_could_be_programs_come_back_of_all_formats(tmp_path, folder, kind):
    if kind == "parquet":
        pytest.importorskip("pyarrow")
    texts = {"images/0.yaml": b"download: x\n", "images/1.csv": b"a\n=1\n", "images/1.txt": b"cat"}
    put(folder, texts)
    protect_dataset(folder, tmp_path / "safe", KEY, out_format=kind, workers=1)
    assert not verify_dataset(tmp_path / "safe", KEY, against=folder, workers=1).different
    report = restore_dataset(
        tmp_path / "safe", tmp_path / "back", KEY, out_format="webdataset", workers=1
    )
    assert not report.failures
    (shard,) = (tmp_path / "back").glob("*.tar")
    found = {data for _, data in members_of(shard)}
    assert found >= set(texts.values())


@pytest.mark.parametrize("name", ["y.npy", "labels.npy"])
def test_no_pickle_comes_back_beside_arrays(tmp_path, scenes, name):
    (tmp_path / "arrays").mkdir()
    np.save(tmp_path / "arrays" / "images.npy", scenes)
    np.save(tmp_path / "arrays" / "labels.npy", np.arange(len(scenes)))
    protect_dataset(tmp_path / "arrays", tmp_path / "safe", KEY, workers=1)
    (tmp_path / "safe" / name).write_bytes(pickle.dumps(Path("a")))
    report = restore_dataset(tmp_path / "safe", tmp_path / "back", KEY, workers=1)
    assert name in report.failures
    assert not (tmp_path / "back" / name).exists()


def test_bytes_of_a_table_are_no_words(tmp_path, scenes):
    """A row of bytes may be a picture of two levels, and its digits would be one word."""
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    (tmp_path / "in").mkdir()
    masks = {"mask": [bytes(range(32))], "masks": [[b"x"]], "caption": ["cat"]}
    table = pa.table({"image": [encode_image(scenes[0])], "label": [1], **masks})
    pq.write_table(table, tmp_path / "in" / "0.parquet")
    for kind in ("folder", "webdataset"):
        protect_dataset(tmp_path / "in", tmp_path / kind, KEY, out_format=kind, workers=1)
        whole = b"".join(files_in(tmp_path / kind).values())
        assert b"caption" in whole
        assert bytes(range(32)).hex().encode() not in whole
        assert b'"masks"' not in whole
        assert not verify_dataset(
            tmp_path / kind, KEY, against=tmp_path / "in", workers=1
        ).different
    report = protect_dataset(
        tmp_path / "in", tmp_path / "out", KEY, out_format="folder", profile="veil", workers=1
    )
    assert {"mask", "masks"} <= set(report.left_out)
