"""What ``--drop`` names comes back to nobody, wherever it lies."""

from __future__ import annotations

import io
import json
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest

import dsguard
from dsguard.bulk import protect_dataset, restore_dataset
from dsguard.formats import encode_image, open_source
from dsguard.formats.disclosure import THE_CLASS, Disclosure
from dsguard.formats.dropping import UNREAD
from dsguard.formats.review import Review

from .folders import files_in
from .test_sealed_fields import tarred

KEY = dsguard.DatasetKey(bytes(range(32)))
LONG = " ".join(f"word{n}" for n in range(99))
THUMB = "SECRET" + "ab" * 200
TOLD = {"cap": LONG, "thumb": THUMB}
TEXT = json.dumps(TOLD)
IMAGES = [encode_image(np.full((8, 8, 3), 90 * n, np.uint8)) for n in range(2)]


def folder(root: Path) -> None:
    (root / "a").mkdir(parents=True)
    for n, image in enumerate(IMAGES):
        (root / "a" / f"{n}.png").write_bytes(image)


def texts(root: Path) -> None:
    folder(root)
    for n in range(2):
        (root / "a" / f"{n}.json").write_text(TEXT)
        (root / "a" / f"{n}.prompt.txt").write_text(TEXT)
        (root / "a" / f"{n}.csv").write_text(f"cap,thumb\n{LONG},{THUMB}\n")
    cell = TEXT.replace('"', '""')
    (root / "all.csv").write_text(f'name,told\na/0.png,"{cell}"\n')
    (root / "m.json").write_text(json.dumps({"cap": LONG, "inner": json.dumps({"x": [TEXT]})}))


def listed(root: Path) -> None:
    folder(root)
    lines = [f'a/{n}.png,"{LONG}",{THUMB}\n' for n in range(2)]
    (root / "metadata.csv").write_text("file_name,cap,thumb\n" + "".join(lines))


def tabled(root: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    folder(root)
    names = [f"a/{n}.png" for n in range(2)]
    table = pa.table(
        {"file_name": names, "cap": [LONG] * 2, "thumb": [THUMB] * 2, "js": [TEXT] * 2}
    )
    parquet.write_table(table, root / "metadata.parquet")
    parquet.write_table(table, root / "more.parquet")
    (root / "cut.parquet").write_bytes(b"PAR1 SECRET")


def shard(root: Path) -> None:
    members = []
    for n, image in enumerate(IMAGES):
        members += [(f"{n}.png", image), (f"{n}.json", TEXT.encode()), (f"{n}.text", TEXT.encode())]
    tarred(root / "s.tar", [*members, ("loose.json", TEXT.encode())])


def columns(root: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    root.mkdir(parents=True)
    strings = pa.string()
    each = {
        "text": pa.array([TEXT] * 2),
        "bytes": pa.array([TEXT.encode()] * 2, pa.large_binary()),
        "categories": pa.array([TEXT] * 2).dictionary_encode(),
        "struct": pa.array([TOLD] * 2),
        "list": pa.array([[TOLD, None]] * 2),
        "texts": pa.array([[TEXT, "plain"]] * 2),
        "map": pa.array([list(TOLD.items())] * 2, pa.map_(strings, strings)),
        "short": pa.array([[("cap", "x"), ("thumb", "SECRET")]] * 2, pa.map_(strings, strings)),
        "python": pa.array([str(TOLD)] * 2),
    }
    parquet.write_table(pa.table({"image": IMAGES, **each}), root / "t.parquet")


def all_in(root: Path) -> str:
    """Return all that a dataset has, columns of tables as Python shows them."""
    found = []
    for name, data in files_in(root).items():
        if name.endswith(".parquet"):
            from pyarrow import parquet

            found.append(repr(parquet.read_table(root / name).to_pylist()))
        else:
            found.append(data.decode("latin-1"))
    return "\n".join(found)


@pytest.mark.parametrize("kind", ["folder", "webdataset", "parquet"])
@pytest.mark.parametrize("make", [texts, listed, tabled, shard, columns])
def test_what_is_dropped_comes_back_to_nobody(tmp_path, make, kind):
    pytest.importorskip("pyarrow")
    make(tmp_path / "clean")
    source = open_source(tmp_path / "clean", "imagefolder" if make is tabled else "auto")
    report = protect_dataset(source, tmp_path / "out", KEY, drop=("thumb",), out_format=kind)
    assert report.done == 2
    restore_dataset(tmp_path / "out", tmp_path / "back", KEY)
    for place in ("out", "back"):
        told = all_in(tmp_path / place)
        assert "SECRET" not in told
        assert b"SECRET".hex() not in told
    assert "word98" in told
    named = {kind: left.reason for kind, left in report.left_out.items()}
    assert make is not tabled or named.keys() == {"*.parquet"}
    if make is columns and kind == "parquet":
        assert named == {"python": "may contain what is dropped, but dsguard cannot look inside"}


def test_columns_without_what_is_dropped_come_back_as_they_were(tmp_path):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    columns(tmp_path / "clean")
    clean = parquet.read_table(tmp_path / "clean" / "t.parquet")
    protect_dataset(tmp_path / "clean", tmp_path / "out", KEY, drop=("other", "python"))
    restore_dataset(tmp_path / "out", tmp_path / "back", KEY)
    back = parquet.read_table(tmp_path / "back" / "t.parquet")
    assert back.equals(clean.drop_columns(["python"]))
    protect_dataset(tmp_path / "clean", tmp_path / "cut", KEY, drop=("thumb", "python"))
    restore_dataset(tmp_path / "cut", tmp_path / "less", KEY)
    less = parquet.read_table(tmp_path / "less" / "t.parquet").to_pylist()[0]
    left = {"cap": LONG}
    assert [json.loads(less[name]) for name in ("text", "bytes", "categories")] == [left] * 3
    assert (less["struct"], less["list"]) == (
        {**left, "thumb": None},
        [{**left, "thumb": None}, None],
    )
    assert less["map"] == [("cap", LONG)]
    assert less["short"] == [("cap", "x")]
    assert pa.types.is_map(back.schema.field("map").type)


def test_a_dropped_field_of_a_struct_ends_no_run(tmp_path):
    """It is null where the column is published as well as where it is sealed."""
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    (tmp_path / "clean").mkdir()
    values = [{"a": n, "thumb": "x", "deep": [{"thumb": 1, "b": n}]} for n in range(2)]
    parquet.write_table(
        pa.table({"image": IMAGES, "meta": values}), tmp_path / "clean" / "t.parquet"
    )
    report = protect_dataset(tmp_path / "clean", tmp_path / "out", KEY, drop=("thumb",))
    assert (report.done, report.failed, report.left_out, report.sealed_fields) == (2, 0, {}, 0)
    published = parquet.read_table(tmp_path / "out" / "t.parquet")["meta"].to_pylist()
    assert published == [
        {"a": n, "thumb": None, "deep": [{"thumb": None, "b": n}]} for n in range(2)
    ]


def test_what_is_published_whole_is_without_what_is_dropped(tmp_path):
    texts(tmp_path / "clean")
    protect_dataset(
        tmp_path / "clean", tmp_path / "out", KEY, drop=("thumb",), publish=("m.json", "*.txt")
    )
    assert "SECRET" not in all_in(tmp_path / "out")
    assert "word98" in (tmp_path / "out" / "m.json").read_text()


@pytest.mark.parametrize("text", [TEXT, '{"thumb": "SECRET"}'])
def test_arrays_of_texts_with_what_is_dropped_stay_away(tmp_path, text):
    images = np.zeros((4, 8, 8, 3), np.uint8)
    told = np.array([text] * 4)
    np.savez(tmp_path / "a.npz", images=images, told=told, words=np.array([LONG] * 4))
    report = protect_dataset(tmp_path / "a.npz", tmp_path / "out", KEY, drop=("thumb",))
    assert [(each.first, each.count) for each in report.left_out.values()] == [("a.npz/told", 1)]
    restore_dataset(tmp_path / "out", tmp_path / "back", KEY)
    for place in ("out", "back"):
        with np.load(tmp_path / place / "a.npz") as arrays:
            assert "told" not in arrays
            assert place == "out" or arrays["words"].tolist() == [LONG] * 4


@pytest.mark.parametrize(
    ("value", "left"),
    [
        ({"a": 1}, {"a": 1}),
        ({"a": 1, "k": 2}, {"a": 1}),
        ([{"k": 2}, 3], [{}, 3]),
        ((1, {"k": 2}), (1, {})),
        ([("a", {"k": 1}), ("k", 2)], [("a", {})]),
        ([["k", 1], ["a", {"k": 2}]], [["a", {}]]),
        ([["a", {"k": 2}]], [["a", {}]]),
        (' {"k": 2, "a": [1]}', '{"a": [1]}'),
        (b'\xef\xbb\xbf{"k": 1}', b"{}"),
        ('{"k": 2}'.encode("utf-16"), b"{}"),
        (json.dumps('{"k": 1, "a": 2}'), json.dumps('{"a": 2}')),
        ('{"a": "[{\\"k\\": 1}]"}', '{"a": "[{}]"}'),
        (b'{"k": 1, "a": 2}'.hex(), b'{"a": 2}'.hex()),
        ("{k} is none, k", "{k} is none, k"),
        ("{'k': 1}", None),
        ("{k: 1}", None),
        ('{"\\u006b": 1, }', None),
        ('{"k": 1, "k": 2}', None),
        ('meta = {"k": 1}', None),
        ('<b>({"k": 1})</b>', None),
        ("[a caption]", "[a caption]"),
        ("k: 1", None),
        ("a k=1", None),
        ("<k>1</k>", None),
        ("k - 1", "k - 1"),
        (b"\0{k", b"\0{k"),
        (7.5, 7.5),
    ],
)
def test_keys_are_taken_out_of_values(value, left):
    review = Review(Disclosure(drop=("k",)))
    found = review.drops.undropped("f", value)
    assert found == left
    assert (found is value) == (value == left)
    assert Review(Disclosure(drop=("x",))).drops.undropped("f", value) in (value, None)


HEADS = {
    "plain": "image,patient,age\na/0.png,{0},3\na/1.png,{1},5\n",
    "blank": "\nimage,patient,age\na/0.png,{0},3\na/1.png,{1},5\n",
    "sep": "sep=,\nimage,patient,age\na/0.png,{0},3\na/1.png,{1},5\n",
    "comment": "# of 2024\nimage,patient,age\na/0.png,{0},3\na/1.png,{1},5\n",
    "spaces": "image, patient, age\na/0.png, {0}, 3\na/1.png, {1}, 5\n",
    "semicolons": "image;patient;age, years\na/0.png;{0};3\na/1.png;{1};5\n",
    "tabs": "image\tpatient\tage, years\na/0.png\t{0}\t3\na/1.png\t{1}\t5\n",
    "bars": "image|patient|age\na/0.png|{0}|3\na/1.png|{1}|5\n",
    "quoted": 'image,"patient",told\na/0.png,{0},"a, b"\na/1.png,{1},"c\nd"\n',
}
UNSURE = {
    "R": 'patient,image,age\n1,"{0}",a/0.png,3\n2,"{1}",a/1.png,5\n',
    "numpy": "# image,patient,age\na/0.png,{0},3\na/1.png,{1},5\n",
    "two heads": "a,a,b\nimage,patient,age\na/0.png,{0},3\na/1.png,{1},5\n",
    "keys": "what,is\nimage,a/0.png\nimage,a/0.png\nage,3\npatient,{0}\n",
    "blanks": "image patient age\na/0.png {0} 3\na/1.png {1} 5\n",
    "short": "image,age,patient\na/0.png,3,{0}\na/1.png\n",
    "no quotes": 'image\tpatient\tn\na/0.png\t{0}\t"open\na/1.png\t{1}\tend"\n',
    "long": "image,age,patient\na/0.png,3,{0}\na/1.png,5,{1},7\n",
}


@pytest.mark.parametrize("suffix", ["csv", "tsv"])
@pytest.mark.parametrize("name", [*HEADS, *UNSURE])
def test_columns_go_whatever_the_table_looks_like(name, suffix):
    """Or the table is left out, and named."""
    text = (HEADS | UNSURE)[name].format("SECRET", "SECRET Carl")
    review = Review(Disclosure(drop=("patient",)))
    left = review.drops.without_dropped(f"t.{suffix}", text.encode())
    assert (left is None) == (name in UNSURE)
    assert [each.first for each in review.account.left_out.values()] == [f"t.{suffix}"] * (
        left is None
    )
    assert left is None or (b"SECRET" not in left and b"a/1.png" in left and b"image" in left)
    other = Review(Disclosure(drop=("other", "*.csv")))
    data = text.encode()
    assert other.drops.without_dropped(f"t.{suffix}", data) is data
    assert not other.account.left_out


def test_a_column_may_have_a_dot_in_its_name():
    review = Review(Disclosure(drop=("patient.name", "*.npy")))
    data = b"image,patient.name\na/0.png,SECRET\n"
    assert review.drops.without_dropped("t.csv", data) == b"image\na/0.png\n"
    assert review.account.met == {"patient.name"}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("m.yaml", "- patient : SECRET\n"),
        ("m.yaml", '"\\x70atient": SECRET\n'),
        ("m.toml", "[patient]\nname = 'SECRET'\n"),
        ("m.toml", "a.patient = 'SECRET'\n"),
        ("m.ini", "patient=SECRET\n"),
        ("m.xml", "<a><patient>SECRET</patient></a>"),
        ("m.xml", '<a key="patient" value="SECRET"/>'),
        ("m.plist", "<key>patient</key><string>SECRET</string>"),
        ("m.txt", 'x {"patient": "SECRET"}'),
        ("m.txt", "image,patient\na/0.png,SECRET\n"),
        ("m.txt", "image patient\na/0.png SECRET\n"),
        ("m.txt", "it isn't so\npatient: SECRET, isn't it\n"),
        ("m.md", "# all\n\n| image | patient |\n|---|---|\n| 0 | SECRET |\n"),
        ("m.json", '{"patient": "SECRET", }'),
        ("m.bin", b"\x81\xa7patient\xa6SECRET\xff"),
        ("m.bin", "patient: SECRET".encode("utf-16")),
        ("m.latin", "patient: SECRETé".encode("latin-1")),
        ("m.gz", b"\x1f\x8b SECRET"),
        ("m.jsonl.zst", b"SECRET"),
        ("m.tar", bytes(257) + b"ustar SECRET"),
        ("m.npz", b"PK\3\4 SECRET"),
        ("m.parquet", b"PAR1 SECRET"),
    ],
)
def test_what_is_not_looked_into_is_left_out(name, text):
    data = text if isinstance(text, bytes) else text.encode()
    for like in ("patient", f"a/{name}/patient", f"a/{name}/*/patient", "*/patient", "p?t[hi]ent"):
        review = Review(Disclosure(drop=(like,)))
        assert review.drops.without_dropped(f"a/{name}", data) is None
        assert [each.first for each in review.account.left_out.values()] == [f"a/{name}"]
    for like in ("*.csv", "b/*", "labels.txt", f"b/{name}/patient", f"*{name}", "x/*.npz"):
        review = Review(Disclosure(drop=(like,)))
        assert review.drops.without_dropped(f"a/{name}", data) is data


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.txt", b"a patient in a bed"),
        ("a.md", b"# Photos\n\nOf each patient there are two."),
        ("a.text", b'{"told": "patient"}'),
        ("a.geojson", b'{"told": "patient"}'),
        ("a.mp4", b"\0\1patient\xff"),
        ("a.heic", b"\0\1patient\xff"),
        ("a.npy", b"\x93NUMPY\1\0v\0{'descr': '<f4', 'shape': (7,), }\npatient\xff"),
        ("a.bin", b"\0\1\xff\\u0070"),
        ("a.json", b'{"patients": 1, "the patient": 2, "a": "patient"}'),
        ("a.csv", b"image,patients\n0,a\n1,a\n2,a\n3,patient\n"),
    ],
)
def test_what_only_has_the_word_goes_along(name, data):
    review = Review(Disclosure(drop=("patient",)))
    assert review.drops.without_dropped(name, data) is data
    assert not review.account.left_out


def test_arrays_and_columns_go_from_members_of_shards(tmp_path):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    arrays, table = io.BytesIO(), io.BytesIO()
    np.savez(
        arrays,
        e=np.full((4, 777), 3.25, np.float32),
        thumb=np.array(["SECRET"]),
        told=np.array([TEXT]),
        rows=np.array([("SECRET", 1)], [("thumb", "S9"), ("n", "i4")]),
    )
    parquet.write_table(pa.table({"cap": [LONG], "thumb": ["SECRET"]}), table)
    members = [(f"{n}.png", image) for n, image in enumerate(IMAGES)]
    for sample in ("1", "alone"):
        members.append((f"{sample}.npz", arrays.getvalue()))
        members.append((f"{sample}.parquet", table.getvalue()))
    tarred(tmp_path / "clean" / "s.tar", members)
    report = protect_dataset(tmp_path / "clean", tmp_path / "out", KEY, drop=("thumb",))
    assert {each.reason for each in report.left_out.values()} == {UNREAD}
    restore_dataset(tmp_path / "out", tmp_path / "back", KEY)
    with tarfile.open(tmp_path / "back" / "s.tar") as tar:
        back = {name: tar.extractfile(name).read() for name in tar.getnames()}
    assert len(back) == len(members)
    for sample in ("1", "alone"):
        with np.load(io.BytesIO(back[f"{sample}.npz"])) as found:
            assert list(found) == ["e"]
        kept = parquet.read_table(io.BytesIO(back[f"{sample}.parquet"]))
        assert kept.to_pylist() == [{"cap": LONG}]


def test_numbers_keep_their_digits_where_a_key_goes():
    inner = '{"thumb": 1, "p": 0.12345678901234567890123456789, "q": 1e400, "r": NaN}'
    left = '{"p": 0.12345678901234567890123456789, "q": 1E+400, "r": NaN}'
    review = Review(Disclosure(drop=("thumb",)))
    assert review.drops.without_dropped("a.json", inner.encode()) == f"{left}\n".encode()
    outer = json.dumps({"x": inner}).encode()
    assert json.loads(review.drops.without_dropped("a.json", outer)) == {"x": left}
    beyond = b'{"thumb": 1, "p": 1e9999999999999999999}'
    assert review.drops.without_dropped("a.json", beyond) is None
    assert [each.reason for each in review.account.left_out.values()] == [UNREAD]


def coco(root: Path) -> None:
    folder(root)
    images = [{"id": n, "file_name": f"a/{n}.png", "thumb": THUMB, "cap": LONG} for n in range(2)]
    boxes = [{"id": n, "image_id": n, "category_id": 1, "thumb": "kept"} for n in range(2)]
    told = {"images": images, "annotations": boxes, "categories": [{"id": 1, "name": "cat"}]}
    (root / "instances.json").write_text(json.dumps(told))


@pytest.mark.parametrize("kind", ["folder", "webdataset", "parquet"])
@pytest.mark.parametrize(
    ("make", "like"),
    [
        (listed, ("metadata.csv/thumb",)),
        (coco, ("instances.json/images/thumb",)),
        (columns, tuple(f"t.parquet/{name}" for name in
                        ("thumb", "*/thumb", "bytes", "categories", "texts", "python", "text"))),
    ],
)  # fmt: skip
def test_names_in_files_hold_where_the_format_changes(tmp_path, make, like, kind):
    pytest.importorskip("pyarrow")
    make(tmp_path / "clean")
    report = protect_dataset(tmp_path / "clean", tmp_path / "out", KEY, drop=like, out_format=kind)
    assert report.unmatched_drop == [each for each in like if each == "t.parquet/thumb"]
    restore_dataset(tmp_path / "out", tmp_path / "back", KEY)
    for place in ("out", "back"):
        assert "SECRET" not in all_in(tmp_path / place)
    assert "word98" in all_in(tmp_path / "back")
    assert make is not coco or "kept" in all_in(tmp_path / "back")


@pytest.mark.parametrize("make", [listed, coco])
def test_a_listing_that_is_dropped_becomes_no_fields(tmp_path, make):
    make(tmp_path / "clean")
    name = "metadata.csv" if make is listed else "instances.json"
    report = protect_dataset(
        tmp_path / "clean", tmp_path / "out", KEY, drop=(name,), out_format="webdataset"
    )
    restore_dataset(tmp_path / "out", tmp_path / "back", KEY)
    for place in ("out", "back"):
        assert "word98" not in all_in(tmp_path / place)
    assert not report.unmatched_drop


def test_a_pattern_that_nothing_is_like_is_told(tmp_path):
    shard(tmp_path / "clean")
    like = ("thumb", "thmub", "loose.json", "*.npy")
    for overwrite in (False, False, True):  # a run that has nothing left to do tells it as well
        report = protect_dataset(
            tmp_path / "clean", tmp_path / "out", KEY, drop=like, overwrite=overwrite
        )
        assert report.unmatched_drop == ["thmub", "*.npy"]


def test_a_croissant_document_is_published_without_what_is_dropped(tmp_path):
    folder(tmp_path / "clean")
    files = [{"@type": "cr:FileSet", "@id": "i", "includes": "**/*.png"}]
    told = {"@type": "sc:Dataset", "name": "x", "thumb": "SECRET", "distribution": files}
    deep: dict = {"thumb": "SECRET", "odd": "\ud800"}
    for _ in range(9):
        deep = {"more": deep}
    text = json.dumps(told | deep, indent=8)  # so many blanks that it is not read as a text
    (tmp_path / "clean" / "croissant.json").write_text(text)
    report = protect_dataset(tmp_path / "clean", tmp_path / "out", KEY, drop=("thumb",))
    restore_dataset(tmp_path / "out", tmp_path / "back", KEY)
    assert not report.left_out
    for place in ("out", "back"):
        data = (tmp_path / place / "croissant.json").read_bytes()
        assert json.loads(data.decode("utf-8", "surrogatepass"))["name"] == "x"
        assert "SECRET" not in all_in(tmp_path / place)


def test_names_within_names_are_not_held_at_any_length():
    """Each level of an object has the names of all those above it."""
    review = Review(Disclosure(drop=("k",)))
    value: object = 1
    for _ in range(9):
        value = {"n" * 700: value}
    assert (
        review.drops.without_dropped("a.json", json.dumps([value, {"k": 1}]).encode()) is not None
    )
    assert [each.reason for each in review.account.left_out.values()] == [UNREAD]
    long = [["k" * 5000, 1], ["a" * 5000, 2]]  # texts
    assert review.drops.undropped("a.json", long) is long


def test_what_is_looked_through_is_bounded():
    review = Review(Disclosure(drop=("k",)))
    for text in ("{" + "a:" * 200_000 + " k", '{"k": 1, "a": ' + "[" * 900 + "]" * 900 + "}"):
        assert review.drops.undropped("a", text) is None
    for text in ("x k" + "\na:" * 300_000, "k" + "\na" * 9):
        assert review.drops.without_dropped("a.txt", text.encode()) is None
    for text in ("ak" + "\na" * 300_000, "a" * 300_000 + "\nk"):
        assert review.drops.without_dropped("a.text", text.encode()) is not None
    assert {name: each.count for name, each in review.account.left_out.items()} == {
        "a": 2,
        "*.txt": 2,
    }
    table = "k\na" + ",b" * 70_000 + "\n"
    assert Review(Disclosure(drop=("k",))).drops.without_dropped("a.csv", table.encode()) is None


def test_keys_of_pickles_go(tmp_path):
    (tmp_path / "clean").mkdir()
    rows = np.arange(4 * 3072, dtype=np.uint32).astype(np.uint8).reshape(4, 3072)
    batch = {"data": rows, "labels": [0, 1, 0, 1], "thumb": ["SECRET"] * 4, "filenames": ["a"] * 4}
    batch["list"] = [b"SECRET"] * 4
    told = {"label_names": [b"cat", b"dog"], "thumb": "SECRET", "num_vis": 3072}
    for name, content in (("data_batch_1", batch), ("batches.meta", told)):
        data = {key.encode(): value for key, value in content.items()}
        (tmp_path / "clean" / name).write_bytes(pickle.dumps(data, protocol=2))
    like = ("thumb", "data_batch_1/list", "label_names")
    report = protect_dataset(tmp_path / "clean", tmp_path / "out", KEY, drop=like)
    assert {name: each.reason for name, each in report.left_out.items()} == {
        "label_names": THE_CLASS
    }
    assert not report.unmatched_drop
    restore_dataset(tmp_path / "out", tmp_path / "back", KEY)
    for place in ("out", "back"):
        assert "SECRET" not in all_in(tmp_path / place)
        assert "filenames" in all_in(tmp_path / place)


@pytest.mark.parametrize("kind", ["parquet", "webdataset"])
def test_the_class_is_dropped_or_named(tmp_path, kind):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    (tmp_path / "clean").mkdir()
    table = pa.table({"image": IMAGES, "label": ["SECRET", "x"], "n": [1, 2]})
    parquet.write_table(table, tmp_path / "clean" / "t.parquet")
    report = protect_dataset(
        tmp_path / "clean", tmp_path / "out", KEY, drop=("label",), out_format=kind
    )
    assert report.done == 2
    restore_dataset(tmp_path / "out", tmp_path / "back", KEY)
    if kind == "webdataset":
        assert [each.reason for each in report.left_out.values()] == [THE_CLASS]
        return
    assert not report.left_out
    for place in ("out", "back"):
        found = parquet.read_table(tmp_path / place / "t.parquet")
        assert found.column_names == ["image", "n"]


def test_the_class_of_a_sample_is_dropped(tmp_path):
    fields = [("0.png", IMAGES[0]), ("0.classname.txt", b"SECRET"), ("0.cls", b"7")]
    tarred(tmp_path / "clean" / "s.tar", fields)
    drop = ("*.classname.txt",)
    assert protect_dataset(tmp_path / "clean", tmp_path / "out", KEY, drop=drop).done == 1
    restore_dataset(tmp_path / "out", tmp_path / "back", KEY)
    for place in ("out", "back"):
        assert "SECRET" not in all_in(tmp_path / place)


@pytest.mark.parametrize("kind", ["shard", "folder"])
@pytest.mark.parametrize("out_format", ["auto", "parquet"])
def test_a_field_is_dropped_by_a_word_of_its_name(tmp_path, kind, out_format):
    """Keys `patient` of JSON go, and so does a file or field that is called so between dots."""
    fields = [
        ("cat/0.png", IMAGES[0]),
        ("cat/0.Patient.txt", b"SECRET"),
        ("cat/0.patient.json", b'{"a": "SECRET"}'),
        ("cat/0.patient", b"SECRET"),
        ("cat/0.json", b'{"patient": "SECRET", "b": "OPEN"}'),
    ]
    if kind == "shard":
        tarred(tmp_path / "clean" / "s.tar", fields)
    else:
        for name, data in fields:
            path = tmp_path / "clean" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    report = protect_dataset(
        tmp_path / "clean", tmp_path / "out", KEY, drop=("patient",), out_format=out_format
    )
    assert (report.done, report.left_out) == (1, {})
    restore_dataset(tmp_path / "out", tmp_path / "back", KEY)
    for place in ("out", "back"):
        assert "SECRET" not in all_in(tmp_path / place)
    assert "OPEN" in all_in(tmp_path / "back")
