"""What ``--drop`` names is dropped where its name is a value, beside its own."""

from __future__ import annotations

import json

import numpy as np
import pytest

from dsguard.bulk import protect_dataset, restore_dataset
from dsguard.formats import open_source
from dsguard.formats.disclosure import Disclosure
from dsguard.formats.dropping import UNREAD
from dsguard.formats.mentions import names_in
from dsguard.formats.review import Review

from .test_dropped import IMAGES, KEY, all_in, folder
from .test_sealed_fields import tarred

PAIR = {"name": "Patient", "value": "SECRET"}
OTHER = {"name": "age", "value": 3}


def reviewed(*drop: str) -> Review:
    return Review(Disclosure(drop=drop or ("patient",)))


@pytest.mark.parametrize(
    "pair",
    [
        PAIR,
        {"key": "patient", "values": ["SECRET"]},
        {"k": "patient", "v": "SECRET"},
        {"what": "patient", "value": "SECRET"},
        {"trait_type": "patient", "value": "SECRET"},
        {"keys": ["age", "patient"], "values": [3, "SECRET"]},
        {"columns": ["image", "patient"], "data": [["a.png", "SECRET"]]},
        {"resourceType": "Patient", "text": "SECRET"},
        {"name": b"patient", "text": "SECRET"},
        {"fields": [{"name": "a"}, {"name": "patient"}], "rows": [["x", "SECRET"]]},
        {"names": ["image", "patient"], "rows": [["a.png", "SECRET"]]},
        *({name: "patient", "text": "SECRET"} for name in (
            "field", "tag", "attribute", "column", "property", "fieldName", "@key", "Tag-Name",
        )),
    ],
)  # fmt: skip
def test_an_object_about_it_goes_whole(pair):
    for value, left in (
        ([pair, OTHER], [OTHER]),
        ({"a": pair, "b": 1}, {"a": None, "b": 1}),
        ({"a": {"b": [pair, OTHER, None]}}, {"a": {"b": [OTHER, None]}}),
        (pair, None),
    ):
        review = reviewed()
        assert review.drops.undropped("f.json", value) == left
        assert review.account.met == {"patient"}
        assert not review.account.left_out
        assert reviewed("other").drops.undropped("f.json", value) is value
    assert reviewed("f.json/patient", "g.json/*").drops.undropped("g.json", [PAIR]) == []


@pytest.mark.parametrize(
    ("value", "left"),
    [
        ([["patient", "SECRET"], ["age", 3]], [["age", 3]]),
        ([["patient", "text", "SECRET"], 3], [3]),
        ([["image", "patient"], ["a.png", "SECRET"]], None),
        ([["SECRET", "patient"], ["3", "age"]], None),
        ({"a": [["SECRET", "Patient"]], "b": 1}, {"a": None, "b": 1}),
    ],
)
def test_lists_in_lists_go_as_pairs_or_as_tables(value, left):
    review = reviewed()
    assert review.drops.undropped("f.json", value) == left
    assert bool(review.account.left_out) == ("None" in str(left))


@pytest.mark.parametrize(
    "value",
    [
        {"label": "patient", "text": "in bed"},
        {"classes": ["dog", "patient"], "boxes": [[1, 2, 3, 4]]},
        ["patient", "dog"],
        [["patient"], ["dog"]],
        {"tags": ["patient", "x-ray"], "caption": "a patient"},
        {"name": "patients", "value": 1},
        {"id": "patient", "text": "in bed"},
        {"name": "x" * 5000, "value": 1},
        [("label", "patient"), ("age", "3")],
    ],
)
def test_classes_and_words_stay(value):
    review = reviewed()
    assert review.drops.undropped("f.json", value) is value
    assert not review.account.left_out


LONG = "image,name,value\na/0.png,age,3\na/0.png,patient,SECRET\na/1.png,age,5\n"
LINES = "\n".join(map(json.dumps, (PAIR, OTHER)))
TEXTS = {
    "t.csv": LONG,
    "u.tsv": LONG.replace(",", "\t").replace("name", "what").replace("patient", "Patient "),
    "m.json": json.dumps({"a": json.dumps([PAIR, OTHER])}),
    "m.jsonl": LINES,
    "n.jsonl": '["patient", "SECRET"]\n["age", 3]\n',
    "c.csv": f'image,told\na/0.png,"{json.dumps([PAIR]).replace(chr(34), chr(34) * 2)}"\n',
}
UNSURE = {
    "a.yaml": "- name: patient\n  value: SECRET\n",
    "b.yaml": "- {value: SECRET, name: patient}\n",
    "c.yaml": "- [patient, SECRET]\n",
    "d.yaml": "? patient\n: SECRET\n",
    "e.yaml": "- Field Name: Patient\n  text: SECRET\n",
    "f.yaml": "- name:\n    patient\n  value: SECRET\n",
    "g.yaml": "fields: [image, patient]\nrows:\n- [a/0.png, SECRET]\n",
    "b.xml": "<name>\n patient\n</name><value>SECRET</value>",
    "a.sql": "INSERT INTO t (image, patient) VALUES ('a', 'SECRET');\n",
    "a.md": "a\n\nPatient\n=======\nSECRET\n",
    "b.md": "**Patient** SECRET\n",
    "a.txt": "a\nPatient - SECRET\n",
    "b.txt": "a\nPatient|SECRET\n",
    "c.txt": "list(patient <- 'SECRET')\n",
    "d.txt": "name=patient value=SECRET\n",
    "a.tex": "\\patient{SECRET}\n",
    "d.csv": "a/0.png,age=3;patient=SECRET\nb/0.png,age=3\n",
    "a.ini": "key = patient\nvalue = SECRET\n",
    "a.xml": "<key>patient</key><value>SECRET</value>",
    "a.csv": "a/0.png,patient,SECRET\na/1.png,patient,SECRET\n",
    "b.csv": "x,patient,SECRET\ny,patient,SECRET\n",
    "c.csv": "image,what,is\na/0.png,patient,SECRET\n",
    "a.json": '[["image", "patient"], ["a/0.png", "SECRET"]]',
}


@pytest.mark.parametrize(
    "text",
    ["age: 3, Patient: SECRET", "a patient=SECRET", "<patient>SECRET</patient>",
     "https://x.org/?patient=SECRET", "name=patient value=SECRET"],
)  # fmt: skip
def test_texts_in_values_are_as_texts_of_files(text):
    review = reviewed()
    assert review.drops.undropped("f.json", {"a": [text], "b": 1}) == {"a": [None], "b": 1}
    assert {each.reason for each in review.account.left_out.values()} == {UNREAD}
    for other in ("a patient in a bed: 3 < 5", "https://x.org/patient", "patient, bed"):
        assert reviewed().drops.undropped("f.json", other) is other


@pytest.mark.parametrize("name", TEXTS)
def test_rows_and_lines_about_it_go(name):
    review = reviewed()
    left = review.drops.without_dropped(name, TEXTS[name].encode())
    assert left is not None
    assert b"SECRET" not in left
    assert b"age" in left or name == "c.csv"
    assert not review.account.left_out
    assert review.account.met == {"patient"}
    other = reviewed("other")
    assert other.drops.without_dropped(name, TEXTS[name].encode()) == TEXTS[name].encode()


@pytest.mark.parametrize("name", UNSURE)
def test_what_may_be_such_pairs_is_left_out(name):
    review = reviewed()
    assert review.drops.without_dropped(name, UNSURE[name].encode()) is None
    assert {each.reason for each in review.account.left_out.values()} == {UNREAD}


def test_a_file_of_it_alone_goes_without_a_word():
    for name, text in (("a.json", json.dumps(PAIR)), ("a.jsonl", f"{json.dumps(PAIR)}\n" * 2)):
        review = reviewed()
        assert review.drops.without_dropped(name, text.encode()) is None
        assert not review.account.left_out


@pytest.mark.parametrize(
    "text",
    [
        "image,label\na/0.png,patient\na/1.png,dog\n",
        "image,what\na/0.png,patient\na/1.png,dog\n",
        "label,image,n\npatient,a/0.png,3\ndog,a/1.png,5\n",
        "image,width,Class\na/0.png,3,patient\na/1.png,5,dog\n",
    ],
)
def test_tables_with_a_class_of_that_name_stay(text):
    review = reviewed()
    data = text.encode()
    assert review.drops.without_dropped("t.csv", data) is data
    assert not review.account.left_out


@pytest.mark.parametrize(
    "text",
    [
        "label,cat,dog\nimage,x,y\npatient,12,13\n",
        "label,label,b\nimage,patient,age\na/0.png,SECRET,3\n",
        "image,label,n\n1,patient,3\n",
    ],
)
def test_tables_with_names_elsewhere_are_left_out(text):
    assert reviewed().drops.without_dropped("t.csv", text.encode()) is None


@pytest.mark.parametrize("kind", ["folder", "webdataset", "parquet"])
@pytest.mark.parametrize("make", ["texts", "shard", "columns", "long", "imagefolder"])
def test_no_pair_of_it_comes_back(tmp_path, make, kind):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    clean = tmp_path / "clean"
    both = [PAIR, OTHER | {"value": "3"}]
    if make == "texts":
        folder(clean)
        for name, text in {**TEXTS, **UNSURE}.items():
            (clean / name).write_text(text)
            (clean / "a" / f"0.{name}").write_text(text)
        parquet.write_table(pa.table({k: [d[k] for d in both] for k in PAIR}), clean / "l.parquet")
    elif make == "shard":
        told = [("0.png", IMAGES[0]), ("0.json", json.dumps(both).encode())]
        tarred(clean / "s.tar", [*told, ("0.csv", LONG.encode()), ("x.csv", LONG.encode())])
    elif make == "columns":
        clean.mkdir()
        table = {"image": IMAGES, "told": [both] * 2, "text": [json.dumps(both)] * 2}
        parquet.write_table(pa.table(table), clean / "t.parquet")
    elif make == "long":
        clean.mkdir()
        table = {"image": IMAGES, **{k: [d[k] for d in both] for k in PAIR}, "n": [7, 8]}
        parquet.write_table(pa.table(table), clean / "t.parquet")
    else:
        folder(clean)
        (clean / "metadata.csv").write_text(LONG.replace("image,", "file_name,"))
    source = open_source(clean, "folder" if make == "texts" else "auto")
    report = protect_dataset(source, tmp_path / "out", KEY, drop=("patient",), out_format=kind)
    assert report.failed == 0
    assert not report.unmatched_drop
    restore_dataset(tmp_path / "out", tmp_path / "back", KEY)
    for place in ("out", "back"):
        assert "SECRET" not in all_in(tmp_path / place)
    assert "age" in all_in(tmp_path / "back")


def test_arrays_of_names_and_values_stay_away(tmp_path):
    images = np.zeros((2, 8, 8, 3), np.uint8)
    arrays = {
        "table": np.array([["patient", "SECRET"], ["age", "3"]]),
        "keys": np.array(["patient", "age"]),
        "rows": np.array([("patient", "SECRET")], [("name", "U9"), ("value", "U9")]),
        "classes": np.array(["patient", "dog"]),
    }
    np.savez(tmp_path / "a.npz", images=images, **arrays)
    report = protect_dataset(tmp_path / "a.npz", tmp_path / "out", KEY, drop=("patient",))
    assert {each.first for each in report.left_out.values()} >= {"a.npz/table", "a.npz/keys"}
    restore_dataset(tmp_path / "out", tmp_path / "back", KEY)
    for place in ("out", "back"):
        with np.load(tmp_path / place / "a.npz") as found:
            assert not {"table", "keys", "rows"} & set(found)
    assert "classes" in found


def test_a_category_of_coco_may_go_and_its_images_stay(tmp_path):
    folder(tmp_path / "clean")
    told = {
        "images": [{"id": n, "file_name": f"a/{n}.png", "more": [PAIR]} for n in range(2)],
        "annotations": [{"id": n, "image_id": n, "category_id": n} for n in range(2)],
        "categories": [{"id": 0, "name": "patient"}, {"id": 1, "name": "dog"}],
    }
    (tmp_path / "clean" / "instances.json").write_text(json.dumps(told))
    report = protect_dataset(tmp_path / "clean", tmp_path / "out", KEY, drop=("patient",))
    assert report.done == 2
    assert restore_dataset(tmp_path / "out", tmp_path / "back", KEY).done == 2
    left = json.loads((tmp_path / "back" / "instances.json").read_text())
    assert left["categories"] == [{"id": 1, "name": "dog"}]
    assert len(left["images"]) == 2
    assert "SECRET" not in all_in(tmp_path / "out")


def test_metadata_of_parquet_files_is_looked_into(tmp_path):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    told = {"Patient": "SECRET", "pandas": json.dumps({"columns": [{"name": "patient"}]}), "a": "b"}
    fields = [pa.field("n", pa.int64(), metadata={"patient": "SECRET"}), pa.field("x", pa.string())]
    schema = pa.schema(fields, metadata=told)
    folder(tmp_path / "clean")
    table = pa.table({"n": [1], "x": ["y"]}, schema=schema)
    parquet.write_table(table, tmp_path / "clean" / "more.parquet")
    source = open_source(tmp_path / "clean", "folder")
    protect_dataset(source, tmp_path / "out", KEY, drop=("patient",))
    restore_dataset(tmp_path / "out", tmp_path / "back", KEY)
    back = parquet.read_table(tmp_path / "back" / "more.parquet")
    assert back.to_pylist() == [{"n": 1, "x": "y"}]
    assert b"SECRET" not in (tmp_path / "back" / "more.parquet").read_bytes()
    assert back.schema.metadata[b"a"] == b"b"


def test_all_rows_of_a_table_may_go(tmp_path):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    folder(tmp_path / "clean")
    table = pa.table({"name": ["patient"], "value": ["SECRET"], "more": [["x"]]})
    parquet.write_table(table, tmp_path / "clean" / "more.parquet")
    source = open_source(tmp_path / "clean", "folder")
    assert protect_dataset(source, tmp_path / "out", KEY, drop=("patient",)).done == 2
    restore_dataset(tmp_path / "out", tmp_path / "back", KEY)
    assert parquet.read_table(tmp_path / "back" / "more.parquet").to_pylist() == []


def test_blanks_and_signs_are_looked_at_once():
    """Each of these took a minute or more where it was tried anew from each sign."""
    for text in ("a patient\n" + " " * 200_000, "(" + "," * 200_000, " " * 60 + "a -" * 50_000):
        assert "patient" not in names_in(text)
