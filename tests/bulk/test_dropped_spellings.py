"""What ``--drop`` names is dropped however it is written: capitals, blanks, forms of letters."""

from __future__ import annotations

import json
import unicodedata

import numpy as np
import pytest

from dsguard.bulk import protect_dataset, restore_dataset
from dsguard.formats import mentions
from dsguard.formats.disclosure import Disclosure
from dsguard.formats.patterns import folded, like
from dsguard.formats.review import Review

from .test_dropped import IMAGES, KEY, all_in
from .test_sealed_fields import tarred

WIDE = "".join(chr(ord(sign) + 0xFEE0) for sign in "Patient")
SPELLED = ["Patient", "PATIENT", "patient ", "\tpatient", "\xa0patient\xa0", "pat\u200bient", WIDE]


def test_names_are_alike_however_they_are_written():
    for name in SPELLED:
        assert folded(name) == "patient"
        assert like(f"a.json/{name}", ("patient", "A.JSON/*", "x")) == ["patient", "A.JSON/*"]
        assert like("patient", (name,)) == [name]
        assert not like(f"a.json/{name}", ("patient",), exactly=True)
    assert folded("Stra\xdfe") == folded("STRASSE")
    assert folded("\ufb01le") == folded("FILE")
    assert like("a", ("[!A]",)) == like("a", ("[!A]",), exactly=True) == ["[!A]"]
    for name in ("patients", "pa tient", "pati\xe9nt"):
        assert not like(name, ("patient",))


@pytest.mark.parametrize("name", SPELLED)
@pytest.mark.parametrize("given", ["patient", WIDE])
def test_keys_columns_and_words_go(name, given):
    texts = {
        "a.json": json.dumps({"x": [{name: "SECRET", "a": 1}]}, ensure_ascii=False),
        "b.json": json.dumps({name: "SECRET", "a": 1}),
        "a.csv": f"image,{name},age\n0.png,SECRET,3\n",
        "a.yaml": f"{name}: SECRET\n",
        "a.xml": f"<a><{name.strip()}>SECRET</a>",
    }
    for file, text in texts.items():
        for form in ("NFC", "NFD"):
            review = Review(Disclosure(drop=(given,)))
            left = review.drops.without_dropped(file, unicodedata.normalize(form, text).encode())
            assert b"SECRET" not in (left or b"")
            assert review.account.met == {given}
    value = {"a": f"{{'{name}': 'SECRET'}}", "b": [(name, "SECRET")]}
    assert "SECRET" not in str(Review(Disclosure(drop=(given,))).drops.undropped("f", value))


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("a.csv", "patient,SECRET,SECRET\nage,3,4\n"),
        ("a.csv", "patient,3,SECRET\nage,3,4\n"),
        ("a.csv", "patient,SECRET\n"),
        ("a.csv", "Patient,SECRET\nHospital,St Mary\n"),
        ("a.txt", "patient,SECRET\n"),
        ("a.md", "a,b\npatient,SECRET\n"),
    ],
)
def test_a_row_that_begins_with_a_name_is_no_header(file, text):
    review = Review(Disclosure(drop=("patient",)))
    assert review.drops.without_dropped(file, text.encode()) is None
    assert review.account.left_out


def test_a_header_with_rows_is_one():
    for table, left in {
        b"patient,age,file\nBob,3,a.png\nJim,4,b.png\n": b"age,file\n3,a.png\n4,b.png\n",
        b"age,patient,sex\n3,Bob,m\n": b"age,sex\n3,m\n",
        b"patient,age\n1,3\n2,4\n": b"age\n3\n4\n",
    }.items():
        drops = Review(Disclosure(drop=("patient",))).drops
        assert drops.without_dropped("a.csv", table) == left


@pytest.mark.parametrize("name", [*SPELLED, "Pr\xe9nom", "\ufb01rst", "Stra\xdfe"])
def test_letters_are_found_in_bytes(name, monkeypatch):
    """At any place, also where one part of the bytes ends; texts of 4 bytes a sign begin evenly."""
    monkeypatch.setattr(mentions, "_AT_ONCE", 64)
    rest = folded(name)
    for encoding in ("utf-8", "latin-1", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"):
        try:
            data = f"\x01 {name}=1".encode(encoding)
        except UnicodeEncodeError:
            continue
        for shown in (data, data.hex().encode(), b"f" + data.hex().upper().encode()):
            for count in range(2, 70, 4 if "32" in encoding else 1):
                start = b"\xff\xfe" + b"\x07" * count
                assert mentions.has_letters(start + shown, [rest]), (encoding, count)
                assert not mentions.has_letters(start + shown, [f"{rest}x"])


def test_patterns_with_classes_of_letters_find_their_letters():
    assert mentions.has_letters(b"\xff PATIENT", ["p?t[hi]ent"])
    assert mentions.has_letters(b"\xff", ["*"])
    assert not mentions.has_letters(b"\xff PATxENT", ["*ie*"])


def test_what_is_published_is_called_so_to_the_letter():
    review = Review(Disclosure(publish=("Caption",)))
    assert review.account.says("a.json/Caption") is True
    assert review.account.says("a.json/caption") is None


def test_plain_arrays_are_not_looked_through():
    data = b"\x93NUMPY\1\0v\0{'descr': '<f4', 'shape': (7,), }\n" + b"\xffpatient" * (1 << 18)
    review = Review(Disclosure(drop=("patient",)))
    assert review.drops.without_dropped("a.npy", data) is data


@pytest.mark.parametrize("kind", ["folder", "webdataset", "parquet"])
def test_no_spelling_of_it_comes_back(tmp_path, kind):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    clean = tmp_path / "clean"
    (clean / "a").mkdir(parents=True)
    if kind == "folder":
        (clean / "a" / "0.png").write_bytes(IMAGES[0])
        (clean / "a" / "0.json").write_text(json.dumps({"PATIENT": "SECRET"}))
        (clean / "Patient").mkdir()
        (clean / "Patient.txt").write_text("SECRET")
        (clean / "t.csv").write_text("image, Patient ,n\n0.png,SECRET,1\n")
    elif kind == "webdataset":
        told = json.dumps({"Patient": "SECRET"}).encode()
        tarred(
            clean / "s.tar", [("0.png", IMAGES[0]), ("0.json", told), ("PATIENT.TXT", b"SECRET")]
        )
    else:
        columns = {"image": IMAGES[:1], "Patient": ["SECRET"], "m": [{"PATIENT": "SECRET", "n": 1}]}
        parquet.write_table(pa.table(columns), clean / "t.parquet")
    report = protect_dataset(clean, tmp_path / "out", KEY, drop=("patient", "patient.txt"))
    assert report.done == 1
    restore_dataset(tmp_path / "out", tmp_path / "back", KEY)
    for place in ("out", "back"):
        assert "SECRET" not in all_in(tmp_path / place)


def test_arrays_of_any_spelling_go(tmp_path):
    images = np.zeros((2, 8, 8, 3), np.uint8)
    np.savez(tmp_path / "a.npz", images=images, Patient=np.array(["SECRET"] * 2))
    protect_dataset(tmp_path / "a.npz", tmp_path / "out", KEY, drop=("patient",))
    restore_dataset(tmp_path / "out", tmp_path / "back", KEY)
    for place in ("out", "back"):
        with np.load(tmp_path / place / "a.npz") as arrays:
            assert "Patient" not in arrays


@pytest.mark.parametrize("name", ["patient", "meta.patient", "meta.Patient.name", "dc:patient"])
def test_a_name_with_dots_is_a_path(name, tmp_path):
    """So tables have the columns of objects that they were made of."""
    review = Review(Disclosure(drop=("patient",)))
    assert review.drops.undropped("f", {"a": {name: "SECRET"}, "b": 1}) == {"a": {}, "b": 1}
    assert review.drops.undropped("f", [{"name": name, "value": 1}, 2]) == [2]
    table = f"image,{name},n\n0.png,SECRET,1\n".encode()
    assert review.drops.without_dropped("t.csv", table) == b"image,n\n0.png,1\n"
    images = np.zeros((2, 8, 8, 3), np.uint8)
    np.savez(tmp_path / "a.npz", images=images, **{name: np.array(["SECRET"] * 2)})
    protect_dataset(tmp_path / "a.npz", tmp_path / "out", KEY, drop=("patient",))
    assert b"SECRET" not in (tmp_path / "out" / "a.npz").read_bytes().replace(b"\0", b"")


def test_names_of_images_have_dots_of_their_own():
    told = {"patient.png": 1, "patients.a": 2, "1.patient.png": 3}
    review = Review(Disclosure(drop=("patient", "png")))
    assert review.drops.undropped("f", told) is told
    table = b"image,n\npatient.png,1\n0.patient.png,2\n"
    assert review.drops.without_dropped("t.csv", table) is table
    long = {"a" + ".b" * 2000 + ".patient": 1}
    assert review.drops.undropped("f", long) is long
