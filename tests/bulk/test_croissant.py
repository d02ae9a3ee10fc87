"""Croissant: what describes a dataset describes the protected files, and comes back as it was."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import dsguard
from dsguard.bulk import protect_dataset, restore_dataset, verify_dataset
from dsguard.cli.commands import Exit, run
from dsguard.formats import croissant
from dsguard.formats.croissant import CROISSANT, PROTECTED, Facts
from dsguard.formats.croissant_values import MOST_LETTERS, without_secrets

from .folders import files_in

KEY = dsguard.DatasetKey(bytes(32))
LONG = "".join(map(str, range(400)))


def described(scenes) -> dict:
    """Return a document with much of what Croissant has."""
    field = {"@type": "cr:Field", "dataType": "sc:ImageObject"}
    image = {"fileSet": {"@id": "jpegs"}, "extract": {"fileProperty": "content"}}
    column = {"fileObject": {"@id": "archive"}, "extract": {"column": "x"}}
    return {
        "@context": {**croissant._CONTEXT, "geo": "http://mlcommons.org/croissant/geo/"},
        "@type": "sc:Dataset",
        "name": "photos",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "description": "A few photographs of a street. " * 20,
        "license": "https://creativecommons.org/licenses/by/4.0/",
        "citeAs": "@misc{photos, title={Photos}, year={2026}}",
        "keywords": ["street", LONG],
        "datePublished": "2026-01-02",
        "distribution": [
            {
                "@type": "cr:FileObject",
                "@id": "table",
                "name": "table",
                "contentUrl": "https://example.org/photos/labels.csv",
                "contentSize": "1 B",
                "encodingFormat": "text/csv",
                "md5": "a" * 32,
                "sha256": "ab" * 32,
            },
            {
                "@type": "cr:FileObject",
                "@id": "archive",
                "name": "archive",
                "contentUrl": "https://example.org/photos.zip",
                "encodingFormat": "application/zip",
                "sha256": "cd" * 32,
            },
            {
                "@type": "cr:FileSet",
                "@id": "jpegs",
                "name": "jpegs",
                "containedIn": {"@id": "archive"},
                "encodingFormat": "image/jpeg",
                "includes": "**/*.jpg",
            },
        ],
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": "records",
                "name": "records",
                "key": {"@id": "records/image"},
                "field": [
                    {**field, "@id": "records/image", "name": "image", "source": image},
                    {**field, "@id": "records/x", "name": "x", "source": column},
                ],
                "examples": [{"records/image": scenes[0].tolist()}],
            },
            {
                "@type": "cr:RecordSet",
                "@id": "of archive",
                "name": "of archive",
                "field": [{**field, "@id": "of archive/x", "name": "x", "source": column}],
            },
        ],
    }


@pytest.fixture
def photos(tmp_path, scenes) -> Path:
    root = tmp_path / "photos"
    for n, scene in enumerate(scenes[:4]):
        path = root / "ab"[n % 2] / f"{n}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(scene).save(path)
    (root / "labels.csv").write_text("file,label\n0.jpg,a\n")
    return root


def check_files(root: Path) -> dict:
    """Return the document of a folder, all of whose files are as it says."""
    document = json.loads((root / CROISSANT).read_bytes())
    for item in document["distribution"]:
        if "contentUrl" in item and "://" not in item["contentUrl"]:
            data = (root / item["contentUrl"]).read_bytes()
            assert item["sha256"] == hashlib.sha256(data).hexdigest()
            assert item["contentSize"] == f"{len(data)} B"
            assert "md5" not in item
    return document


def listed(document: dict) -> set[str]:
    return {item["contentUrl"] for item in document["distribution"] if "contentUrl" in item}


@pytest.mark.parametrize("keep", ["files", "pixels"])
def test_a_document_is_mended_and_comes_back(tmp_path, photos, scenes, keep):
    (photos / CROISSANT).write_text(json.dumps(described(scenes)))
    report = protect_dataset(photos, tmp_path / "out", KEY, keep=keep, access="https://keys.org/x")
    assert (report.done, report.failed, report.foreign) == (4, 0, [])
    assert report.left_out.keys() == (set() if keep == "files" else {CROISSANT})
    document = check_files(tmp_path / "out")
    assert listed(document) == files_in(tmp_path / "out").keys() - {CROISSANT} - {
        name for name in files_in(tmp_path / "out") if name.endswith(".png")
    }
    assert document["usageInfo"] == "https://keys.org/x"
    assert document["conditionsOfAccess"].startswith(PROTECTED)
    assert [each["@id"] for each in document["recordSet"]] == ["records"]
    assert [each["name"] for each in document["recordSet"][0]["field"]] == ["image"]
    kept = ("name", "description", "license", "citeAs", "datePublished", "@context")
    assert all(document[name] == described(scenes)[name] for name in kept)
    assert document["keywords"] == ["street"]
    images = next(item for item in document["distribution"] if item["@id"] == "jpegs")
    assert (images["includes"], images["encodingFormat"]) == ("**/*.png", "image/png")
    text = (tmp_path / "out" / CROISSANT).read_text()
    assert "examples" not in text.replace('"examples": {', "").replace('"cr:examples"', "")
    restore_dataset(tmp_path / "out", tmp_path / "back", KEY)
    back = files_in(tmp_path / "back")
    if keep == "files":
        assert back == files_in(photos)
        assert verify_dataset(tmp_path / "out", KEY, against=photos).different == {}
    assert keep == "files" or CROISSANT not in back


def test_the_owner_decides(tmp_path, photos, scenes):
    (photos / CROISSANT).write_text(json.dumps(described(scenes)))
    protect_dataset(photos, tmp_path / "all", KEY, publish=(CROISSANT,))
    whole = check_files(tmp_path / "all")
    assert whole["recordSet"][0]["examples"]
    protect_dataset(photos, tmp_path / "none", KEY, keep="files", drop=(CROISSANT,))
    assert CROISSANT not in files_in(tmp_path / "none")
    restore_dataset(tmp_path / "none", tmp_path / "back", KEY)
    assert CROISSANT not in files_in(tmp_path / "back")


@pytest.mark.parametrize("key", ["keywords", "description", "@id", "names", "objects"])
def test_many_small_strings_are_no_picture(key):
    rows = [" ".join(str((7 * x + n * n) % 251) for x in range(12)) for n in range(300)]
    more = {
        "names": {"x": dict.fromkeys(rows, "a")},
        "objects": {"x": [{"a": row} for row in rows]},
        "@id": {"x": [{"@id": row} for row in rows]},
    }
    document = {"@type": "sc:Dataset", "name": "photos", "distribution": []}
    document |= more.get(key, {key: rows})
    data, is_cut = croissant.mended(document, {}, (), str, "")
    assert is_cut
    assert sum(row in data.decode() for row in set(rows)) <= 5  # 63 numbers
    assert json.loads(data)["name"] == "photos"


def test_a_long_chain_of_fields_takes_no_long_time(monkeypatch):
    calls = []
    one = croissant._without_gone
    monkeypatch.setattr(croissant, "_without_gone", lambda *args: calls.append(1) or one(*args))
    fields = [{"@id": f"f{n}", "source": {"@id": f"f{n + 1}"}} for n in range(500)]
    document = {"@type": "sc:Dataset", "distribution": [{"@id": "f500"}], "recordSet": fields}
    data, _ = croissant.mended(document, {}, (), str, "")
    assert json.loads(data)["recordSet"] == []
    assert len(calls) <= 16 * 500


def test_a_large_document_without_pictures_is_kept():
    facts = {f"a/{n:06}.png": Facts(1, "ab" * 32) for n in range(300)}
    items = [
        {"@type": "cr:FileObject", "@id": f"a/{n:06}.jpg", "contentUrl": f"a/{n:06}.jpg",
         "sha256": "cd" * 32}
        for n in range(300)
    ]  # fmt: skip
    columns = ["caption", "box_x1", *("abcdefgh"[n % 8] * (1 + n // 8) for n in range(200))]
    fields = [
        {"@type": "cr:Field", "@id": f"default/{column}", "name": column, "dataType": "sc:Text",
         "source": {"fileObject": {"@id": "a/000000.jpg"}, "extract": {"column": column}}}
        for column in columns
    ]  # fmt: skip
    records = {"@type": "cr:RecordSet", "@id": "default", "name": "default", "field": fields}
    document = {
        "@context": croissant._CONTEXT, "@type": "sc:Dataset", "name": "photos",
        "url": "https://example.org/datasets/photos", "version": "1.0.0",
        "distribution": items, "recordSet": [records],
    }  # fmt: skip
    names = {f"a/{n:06}.jpg": f"a/{n:06}.png" for n in range(300)}
    data, is_cut = croissant.mended(document, facts, list(facts), lambda n: names.get(n, n), "")
    assert not is_cut
    assert json.loads(data)["recordSet"] == [records]
    assert len(json.loads(data)["distribution"]) == 300


def test_a_new_one_is_renewed_and_does_not_come_back(tmp_path, photos):
    for _ in range(2):
        protect_dataset(photos, tmp_path / "out", KEY, keep="files", croissant=True)
        document = check_files(tmp_path / "out")
        assert listed(document) == files_in(tmp_path / "out").keys() - {CROISSANT}
        (photos / "labels.csv").write_text("file,label\n0.jpg,b\n")
        (photos / "more.txt").write_text("words\n")
    assert "more.txt" in listed(document)
    protect_dataset(photos, tmp_path / "out", KEY, keep="files")
    assert CROISSANT not in files_in(tmp_path / "out")
    protect_dataset(photos, tmp_path / "out", KEY, keep="files", access="Ask me.")
    document = check_files(tmp_path / "out")
    assert document["conditionsOfAccess"].endswith("Ask me.")
    assert document["name"] == "out"
    restore_dataset(tmp_path / "out", tmp_path / "back", KEY)
    assert files_in(tmp_path / "back") == files_in(photos)


def test_many_images_are_not_listed_one_by_one(tmp_path, photos, monkeypatch):
    monkeypatch.setattr("dsguard.bulk.croissant.MOST_LISTED", 3)
    protect_dataset(photos, tmp_path / "out", KEY, croissant=True, keep="pixels")
    document = check_files(tmp_path / "out")
    assert listed(document) == {"labels.csv", "sealed-files.dsguard"}
    assert [item["includes"] for item in document["distribution"] if "includes" in item] == [
        "**/*.png"
    ]


def test_a_key_is_not_published(tmp_path, photos, scenes):
    KEY.save(tmp_path / "key")
    document = described(scenes) | {"description": (tmp_path / "key").read_text()}
    (photos / CROISSANT).write_text(json.dumps(document))
    protect_dataset(photos, tmp_path / "out", KEY, keep="files", publish=(CROISSANT,))
    assert CROISSANT not in files_in(tmp_path / "out")
    report = protect_dataset(
        photos, tmp_path / "text", KEY, access=(tmp_path / "key").read_text(), drop=(CROISSANT,)
    )
    assert CROISSANT in {each.first for each in report.left_out.values()}


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"@type": "sc:Dataset"}', "[" * 5000, "nul"])
def test_what_is_none_is_a_file_like_others(tmp_path, photos, text):
    (photos / CROISSANT).write_text(text)
    report = protect_dataset(photos, tmp_path / "out", KEY, keep="files")
    assert report.failed == 0
    restore_dataset(tmp_path / "out", tmp_path / "back", KEY)
    assert files_in(tmp_path / "back") == files_in(photos)


def test_a_file_of_another_kind_is_not_replaced(tmp_path, photos):
    (photos / CROISSANT).write_text("not json")
    report = protect_dataset(photos, tmp_path / "out", KEY, keep="files", croissant=True)
    assert (report.done, report.broken) == (4, 1)
    assert (tmp_path / "out" / CROISSANT).read_text() == "not json"
    report = protect_dataset(
        photos, tmp_path / "new", KEY, keep="files", croissant=True, drop=(CROISSANT,)
    )
    assert report.broken == 0
    check_files(tmp_path / "new")


keys = st.sampled_from(
    ["@id", "@type", "name", "field", "subField", "source", "includes", "contentUrl", "containedIn",
     "references", "key", "fileObject", "encodingFormat", "description", "data"]
)  # fmt: skip
numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
json_values = st.recursive(
    st.none() | st.booleans() | numbers | st.text(max_size=5) | st.just("x.jpg"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=12,
)


@given(json_values, json_values, st.booleans())
def test_any_document_is_mended(distribution, records, whole):
    document = {"@type": "Dataset", "distribution": distribution, "recordSet": records}
    assert croissant.read(json.dumps(document).encode()) == document
    files = {"x.png": Facts(1, "ab" * 32), "y.tar": Facts(2, "cd" * 32)}
    data, _ = croissant.mended(document, files, ["x.png"], str, "", whole=whole)
    listed = {item["contentUrl"]: item for item in json.loads(data)["distribution"]
              if "sha256" in item and "contentSize" in item}  # fmt: skip
    assert listed["y.tar"]["sha256"] == "cd" * 32
    assert croissant.is_of_protected(data)


HASH = "a3f1" * 16


def told_of(*items: dict, **more: object) -> list[dict]:
    """Return what is published of the items of a document of one image, a/0.jpg."""
    document = {"@type": "sc:Dataset", "distribution": list(items), **more}
    read = croissant.read(json.dumps(document).encode())
    files = {"a/0.png": Facts(5, "f" * 64)}
    data, _ = croissant.mended(
        read, files, ["a/0.png"], lambda n: n.replace(".jpg", ".png"), "", whole=True
    )
    assert HASH[:20] not in data.decode()
    return json.loads(data)["distribution"]


@pytest.mark.parametrize(
    "key",
    ["sha256", "sc:sha256", "cr:md5", "https://schema.org/sha256", "checksum", "h", "sha512"],
)
def test_no_hash_of_a_clean_file_is_published(key):
    [item] = told_of({"@type": "cr:FileObject", "@id": "i", "sc:contentUrl": "a/0.jpg",
                      "sc:contentSize": "12345 B", key: HASH, "name": "first"})  # fmt: skip
    assert item == {
        "@type": "cr:FileObject", "@id": "i", "name": "first", "contentUrl": "a/0.png",
        "contentSize": "5 B", "encodingFormat": "image/png", "sha256": "f" * 64,
    }  # fmt: skip
    if key != "h":
        told_of({"@id": "i", "contentUrl": "a/0.jpg"}, isPartOf={"name": "x", key: HASH})


def mended(**also):
    document = {"@type": "sc:Dataset", "distribution": [], **also}
    new_name = str
    told, _ = croissant.mended(document, {}, [f"{'ab' * 16}.png"], new_name, "", whole=True)
    return json.loads(told)


@pytest.mark.parametrize(
    "key",
    ["md5sum", "sha256sum", "checksums", "hashes", "hashValue", "hash_sha256", "MD5Sum", "cksum",
     "spdx:checksumValue", "fingerprint", "sha3-256", "sha512/256", "sha256-hex", "SHA-256 of file",
     "blake3", "b2sum", "phash", "etags", "dcat:byteSize", "size", "file size", "sizeInBytes",
     "h", "bytes-of-it"],
)  # fmt: skip
def test_facts_of_clean_files_go_however_their_keys_are_spelled(key):
    context = {"h": "https://schema.org/sha256", "bytes-of-it": {"@id": "sc:contentSize"}}
    part = {"name": "x", key: "12345", "length": "7 m", "hashtag": "#cat", "voltage": 5}
    told = mended(**{"@context": context}, isBasedOn=[part])
    assert told["@context"] == context
    assert told["isBasedOn"] == [{each: value for each, value in part.items() if each != key}]


ELSEWHERE = "http://stranger.example/context"


@pytest.mark.parametrize(
    ("context", "kept"),
    [
        (ELSEWHERE, croissant._CONTEXT),
        ([ELSEWHERE, {"a": "b:c"}], [{"a": "b:c"}]),
        ([ELSEWHERE], croissant._CONTEXT),
        ({"@import": ELSEWHERE, "a": {"@id": "b:c", "@context": ELSEWHERE}}, {"a": {"@id": "b:c"}}),
        ({"a": {"@context": [ELSEWHERE, None]}}, {"a": {"@context": [None]}}),
    ],
)
def test_readers_are_sent_to_no_context_elsewhere(context, kept):
    """Whoever validates the document would ask there, and get any names for its keys."""
    told = mended(**{"@context": context}, isBasedOn=[{"@context": ELSEWHERE, "name": "x"}])
    assert told["@context"] == kept
    assert told["isBasedOn"] == [{"name": "x"}]


@pytest.mark.parametrize("name", ["md5", "sha1", "sha224", "sha256", "sha384", "sha512"])
def test_hashes_of_clean_files_go_from_texts(name):
    clean = hashlib.new(name, b"clean")
    digest, coded = clean.hexdigest(), base64.b64encode(clean.digest()).decode()
    texts = [digest, f"{name}:{digest.upper()}.", f"see urn:{name}:{digest}, {name}-{coded}"]
    told = mended(**{"@context": {"x": digest}}, description=texts, identifier={"@id": digest})
    assert digest not in json.dumps(told).lower()
    assert coded not in json.dumps(told)
    assert told["identifier"]["@id"] == told["description"][0]  # the same name for the same
    assert told["description"][2] == f"see urn:{name}:hash-1, {name}"


def test_names_of_published_files_may_be_hashes():
    told = mended(description=f"{'AB' * 16} and {'ab' * 16}.png, {'ab' * 15}, {'cd' * 16}")
    assert told["description"] == f"{'AB' * 16} and {'ab' * 16}.png, {'ab' * 15}, hash-1"


def test_the_files_of_a_document_are_known_by_any_spelling():
    item = {"@type": "https://schema.org/FileObject", "contentUrl": "a/0.jpg", "sha256": HASH}
    [told] = told_of(**{"https://schema.org/distribution": [item]})
    assert told["sha256"] == "f" * 64


def test_a_set_of_files_tells_of_published_ones_alone():
    kind = {"@type": "cr:FileSet", "@id": "s", "contentSize": "999999 B", "includes": "**/*.jpg"}
    [one] = told_of({**kind, "excludes": "private/3.jpg"})
    assert one.keys() == {"@type", "@id", "includes", "encodingFormat"}
    [two] = told_of({**kind, "excludes": ["private/3.jpg", "a/*.jpg"]})
    assert two["excludes"] == "a/*.png"


@pytest.mark.parametrize(
    ("address", "published"),
    [
        ("https://user:pass@word@example.org/repo", "https://example.org/repo"),
        ("git+https://x-token@example.org/repo.git#main", "git+https://example.org/repo.git#main"),
        (
            "see //me@a.org/x?b=1&sig=2, and http://b.org/@c",
            "see //a.org/x?b=1 and http://b.org/@c",
        ),
        ("https://a.org/x?X-Amz-Signature=1&page=2#access_token=3", "https://a.org/x?page=2"),
        ("https://a.org/?h=ab01ab01ab01ab01ab01ab01", "https://a.org/"),
        ("https://a.org/?author=me&keyword=x&doi=10.5281/zenodo.1234567", None),
    ],
)
def test_addresses_are_published_without_user_and_token(address, published):
    item = {"encodingFormat": "git+https", "contentUrl": address, "sha256": HASH}
    [repository, _] = told_of(item)
    assert repository["contentUrl"] == (published or address)
    assert repository["sha256"] == croissant._HASH_OF_REPOSITORY


def test_long_texts_are_looked_through_once():
    """What looked from each character on to the end would take hours."""
    for text in ("a" * 300_000 + "//", "https://x?" + "-" * 50_000 + "a" * 50_000, "//" * 100_000):
        assert without_secrets(text).startswith(text[:10].removesuffix("?"))


def drawn(rows: int, columns: int) -> list[str]:
    return [
        "".join(chr(97 + (x * n // 7 + n * n // 3) % 17) for x in range(columns))
        for n in range(1, rows + 1)
    ]


@pytest.mark.parametrize("key", ["letters", "description", "texts", "name", "keys"])
def test_drawings_in_letters_are_no_texts(key):
    rows = [" ".join(row[n : n + 20] for n in range(0, 80, 20)) for row in drawn(300, 80)]
    one_by_one = [{"name": "x", "sc:description": row} for row in rows]
    values = {
        "letters": rows, "description": "\n".join(rows), "texts": one_by_one,
        "name": [{"@id": row} for row in rows], "keys": dict.fromkeys(rows, "x"),
    }  # fmt: skip
    document = {"@type": "sc:Dataset", "name": "photos", "distribution": [], key: values[key]}
    data, is_cut = croissant.mended(document, {}, (), str, "")
    assert is_cut
    assert sum(row in data.decode() for row in set(rows)) <= 7


def test_all_words_of_a_document_are_bounded():
    names = drawn(2000, 24)
    fields = [{"@id": f"f/{name}{'x' * (n % 7)}", "name": name} for n, name in enumerate(names)]
    document = {"@type": "sc:Dataset", "distribution": [], "recordSet": [{"field": fields}]}
    data, is_cut = croissant.mended(document, {}, (), str, "")
    assert is_cut
    assert sum(name in data.decode() for name in set(names)) <= MOST_LETTERS / 24


def test_patterns_are_tried_so_often_at_most(monkeypatch):
    images = {f"a/{n:04}.png": Facts(1, "ab" * 32) for n in range(1000)}
    sets = [{"@type": "cr:FileSet", "@id": f"s{n}", "includes": f"{n}/*"} for n in range(3000)]
    last = {"@type": "cr:FileSet", "@id": "last", "includes": "a/*"}
    for most, found in ((5_000_000, {"last"}), (2000, {"last"})):
        monkeypatch.setattr(croissant, "_MOST_TRIED", most)
        document = {"@type": "sc:Dataset", "distribution": [last, *sets]}
        data, is_cut = croissant.mended(document, images, list(images), str, "")
        told = json.loads(data)["distribution"]
        assert {item["@id"] for item in told if item["@type"] == "cr:FileSet"} == found
        assert is_cut


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize(
    ("number", "published"),
    [("1" * 30, None), ("0." + "3" * 40, 0.3333333333333333), ("1e999", None), ("NaN", None)],
)
def test_a_long_number_is_published_as_a_number_or_not_at_all(number, published, whole):
    text = f'{{"@type": "sc:Dataset", "distribution": [], "x": [1, {number}]}}'
    data, is_cut = croissant.mended(croissant.read(text.encode()), {}, (), str, "", whole=whole)
    if number.isdigit() and whole:
        published = int(number)
    assert json.loads(data)["x"] == [1, *([] if published is None else [published])]
    assert is_cut == (published is None)


def test_what_is_nested_too_deeply_is_none():
    deep = json.loads("[" * 300 + "]" * 300)
    document = {"@type": "Dataset", "distribution": [], "x": deep}
    assert croissant.read(json.dumps(document).encode()) is None


def test_strange_documents_end_in_no_traceback(tmp_path, photos):
    strange = {
        "@type": ["sc:Dataset", 1],
        "@context": 5,
        "distribution": ["x", {"@type": "FileSet", "includes": [1, "*.jpg"]}, {"@type": 4}, {}],
        "recordSet": {"field": [3, {"source": {"fileSet": 7}, "subField": {"field": []}}]},
    }
    (photos / CROISSANT).write_text(json.dumps(strange))
    report = protect_dataset(photos, tmp_path / "out", KEY)
    assert report.failed == 0
    check_files(tmp_path / "out")


def test_they_are_valid(tmp_path, photos, scenes):
    """Of every kind of output, in one process: it takes long to load."""
    if importlib.util.find_spec("mlcroissant") is None:
        pytest.skip("mlcroissant is not here: pip install dsguard[croissant]")
    archive = shutil.make_archive(str(tmp_path / "packed"), "zip", photos)
    protect_dataset(archive, tmp_path / "archive", KEY, croissant=True)
    kinds = ["folder", "webdataset", *(["parquet"] if importlib.util.find_spec("pyarrow") else [])]
    for kind in kinds:
        protect_dataset(photos, tmp_path / kind, KEY, access="Ask me.", out_format=kind)
    (photos / CROISSANT).write_text(json.dumps(described(scenes)))
    protect_dataset(photos, tmp_path / "mended", KEY, keep="files")
    made = [str(tmp_path / kind / CROISSANT) for kind in (*kinds, "archive", "mended")]
    for path in made:
        check_files(Path(path).parent)
    broken = json.loads(Path(made[0]).read_text()) | {"distribution": [{"@type": "cr:FileObject"}]}
    (tmp_path / "broken.json").write_text(json.dumps(broken))
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-c",
        _VALIDATE,
        *made,
        str(tmp_path / "broken.json"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["valid"] * len(made) + ["ValidationError"], done.stderr


_VALIDATE = """
import sys, mlcroissant
for path in sys.argv[1:]:
    try:
        mlcroissant.Dataset(jsonld=path)
    except Exception as error:
        print(type(error).__name__)
    else:
        print("valid")
"""


def test_from_the_command_line(tmp_path, photos):
    KEY.save(tmp_path / "key")
    options = ["--key", str(tmp_path / "key"), "--access", "Ask me.", "--croissant"]
    assert run(["protect", str(photos), str(tmp_path / "out"), *options]) == Exit.OK
    assert "Ask me." in check_files(tmp_path / "out")["conditionsOfAccess"]
