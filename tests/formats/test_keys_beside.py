"""The key of a dataset does not go along, whatever else does."""

from __future__ import annotations

import base64
import binascii
import bz2
import gzip
import hashlib
import io
import json
import lzma
import pickle
import tarfile
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import dsguard
from dsguard.bulk import protect_dataset
from dsguard.formats.disclosure import A_KEY
from dsguard.formats.encoded import z85
from dsguard.formats.key_search import forms_of, holds_key, is_key, texts_in
from dsguard.formats.packed import unpacked_starts

KEY = dsguard.DatasetKey(hashlib.sha256(b"a key").digest())
SECRET = KEY.secret.hex()
TITLE = "dsguard-key"
FILE = f"{TITLE} 1\nkey-id: {KEY.key_id}\nsecret: {SECRET}\n"

FORMS = {
    "tab": FILE.replace(f"{TITLE} 1", f"{TITLE}\t1").encode(),
    "blanks": FILE.replace(f"{TITLE} 1", f"{TITLE}   1").encode(),
    "no-break": FILE.replace(f"{TITLE} 1", f"{TITLE}\u00a01").encode(),
    "utf-16": FILE.encode("utf-16"),
    "utf-16-be": FILE.encode("utf-16-be"),
    "utf-32": FILE.encode("utf-32"),
    "mark": FILE.encode("utf-8-sig"),
    "without title": FILE.partition("\n")[2].encode(),
    "json": json.dumps({"key_id": KEY.key_id, "secret": SECRET}).encode(),
    "escaped": json.dumps({"key": FILE}).replace("-", "\\u002d").encode(),
    "sentence": f"the key of the run is {SECRET.upper()}.\n".encode(),
    "base64": base64.b64encode(KEY.secret),
    "far": bytes(range(32, 127)) * 12_000 + FILE.encode(),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_key_is_known_in_every_form(form):
    assert holds_key(FORMS[form], forms_of(KEY.secret))
    assert not holds_key(FORMS[form][:8], forms_of(KEY.secret))
    assert not holds_key(bytes(range(256)) * 9000, forms_of(KEY.secret))


BYTES = list(KEY.secret)
BASE64 = base64.b64encode(KEY.secret).decode()
IN_PIECES = {
    "assigned": "".join(f"KEY_{n}={SECRET[16 * n : 16 * n + 16]}\n" for n in range(4)),
    "words": "".join(f"w{n}={int(SECRET[8 * n : 8 * n + 8], 16)}\n" for n in range(8)),
    "words-in-hex": "".join(f"w{n}=0x{SECRET[8 * n : 8 * n + 8]}\n" for n in range(8)),
    "little": "".join(
        f"{n}: {int.from_bytes(KEY.secret[2 * n : 2 * n + 2], 'little')}\n" for n in range(16)
    ),
    "numbered": "".join(f"byte{n}={each}\n" for n, each in enumerate(BYTES)),
    "alike": "".join(f"byte={each}\n" for each in BYTES),
    "in-c": "".join(f"key[{n}] = {each};\n" for n, each in enumerate(BYTES)),
    "in-c-in-hex": "".join(f"key[{n}] = 0x{each:02x};\n" for n, each in enumerate(BYTES)),
    "list": "<ul>" + "".join(f"<li>{each}</li>" for each in BYTES) + "</ul>",
    "bold": "".join(f"<b>{each}</b>" for each in BYTES),
    "entities": "".join(f"&#{each};" for each in BYTES),
    "sentences": "".join(f"byte {n} is {each}\n" for n, each in enumerate(BYTES)),
    "halves": f"part one: {SECRET[:32]}\npart two: {SECRET[32:]}\n",
    "halves-of-base64": f"first {BASE64[:22]} second {BASE64[22:]}",
}


@pytest.mark.parametrize("form", IN_PIECES)
def test_a_key_is_known_in_pieces(form):
    text = IN_PIECES[form].encode()
    assert holds_key(text, forms_of(KEY.secret))
    assert is_key({"a": [text.decode()]}, forms_of(KEY.secret))
    assert holds_key(b"cat 1 2 3\n" + text + b"dog 7\n", forms_of(KEY.secret))
    for n in range(20):
        other = hashlib.sha256(bytes([n])).digest()
        assert not holds_key(text, forms_of(other))


def test_a_key_of_others_is_known_by_its_file():
    for form in ("tab", "utf-16", "without title", "json", "escaped"):
        assert holds_key(FORMS[form])
    assert not holds_key(f"a check sum: {SECRET}".encode())


def test_a_token_of_the_platform_is_a_key():
    token = "dsg_" + base64.urlsafe_b64encode(KEY.secret).decode().rstrip("=")
    for text in (token, f"DSGUARD_DMCP_TOKEN={token} dsguard restore", json.dumps({"t": token})):
        assert holds_key(text.encode())
        assert holds_key(text.encode("utf-16"))
    for text in (token[:-1], f"{token}a", f"x{token}", "dsg_ and a word"):
        assert not holds_key(text.encode())


NUMBERS = list(KEY.secret)
LONGS = np.frombuffer(KEY.secret, np.int64).tolist()
BASE64 = base64.b64encode(hashlib.sha256(b"22").digest()).decode()
"""Of another key, with both signs."""

SPELLED = {
    "numbers": json.dumps({"k": NUMBERS}, indent=8),
    "in lists": json.dumps([NUMBERS[:7], [NUMBERS[7:20], [NUMBERS[20:]]]]),
    "floats": json.dumps([float(each) for each in NUMBERS]),
    "longs": json.dumps(LONGS),
    "words": json.dumps(np.frombuffer(KEY.secret, ">u4").tolist()),
    "one number": str(int(SECRET, 16)),
    "strings of numbers": json.dumps([f"{each:02x}" for each in NUMBERS]),
    "parts": json.dumps({"k": [SECRET[n : n + 16] for n in range(0, 64, 16)]}),
    "parts under keys": json.dumps({f"k{n}": SECRET[n : n + 9] for n in range(0, 64, 9)}),
    "numbers under keys": json.dumps({f"k{n}": each for n, each in enumerate(NUMBERS)}),
    "keys": json.dumps({SECRET[n : n + 8]: n for n in range(0, 64, 8)}),
    "objects": json.dumps([{"i": n, "byte": each, "t": "x"} for n, each in enumerate(NUMBERS)]),
    "lines": "".join(f'{{"i": {n}, "byte": {each}}}\n' for n, each in enumerate(NUMBERS)),
    "codes": json.dumps(list(SECRET.encode())),
    "bits": json.dumps(np.unpackbits(np.frombuffer(KEY.secret, np.uint8)).tolist()),
    "row": ";".join(map(str, NUMBERS)),
    "column": "".join(f"a/{n}.png,a cat{n * ' '},{each},1\n" for n, each in enumerate(NUMBERS)),
    "column of parts": "".join(f"{n}\t{SECRET[n : n + 8]}\n" for n in range(0, 64, 8)),
    "colons": ":".join(f"{each:02X}" for each in NUMBERS),
    "0x": ", ".join(map(hex, NUMBERS)),
    "savetxt": "\n".join(f"{each:.18e}" for each in NUMBERS),
    "repr": repr(KEY.secret),
    "latin": json.dumps(KEY.secret.decode("latin-1")),
    "not escaped": json.dumps(KEY.secret.decode("latin-1"), ensure_ascii=False),
    "yaml": "".join(f"- {each}\n" for each in NUMBERS),
    "address": "https://example.org/?" + "".join(f"%{each:02X}" for each in NUMBERS),
}


def dumped(words: list[str], each: int, after: str = "", colon: str = "") -> str:
    """Return lines with addresses, as ``xxd`` and ``od`` print the secret."""
    rows = [words[n : n + each] for n in range(0, len(words), each)]
    return "".join(f"{16 * n:08x}{colon} {' '.join(row)}{after}\n" for n, row in enumerate(rows))


PAIRS = [SECRET[n : n + 2] for n in range(0, 64, 2)]
HALVES = np.frombuffer(KEY.secret, "<u2").tolist()
IN_FILE = FILE.encode().hex(" ", 2).split()
PRINTED = {
    "octal": " ".join(f"{each:03o}" for each in NUMBERS),
    "octal without zeros": " ".join(f"{each:o}" for each in NUMBERS),
    "od": dumped([f"{each:06o}" for each in HALVES], 8),
    "od -b": dumped([f"{each:03o}" for each in NUMBERS], 16),
    "od -x": dumped([f"{each:04x}" for each in HALVES], 8),
    "xxd": dumped([SECRET[n : n + 4] for n in range(0, 64, 4)], 8, "  ab cd be..ab", ":"),
    "xxd -g1": dumped(PAIRS, 16, "  abcdef0123456789", ":"),
    "xxd of a file": dumped(IN_FILE, 8, "  dead beef", ":"),
    "hexdump -C": dumped(PAIRS, 16, "  |abcdef0123456789|"),
    "base32": base64.b32encode(KEY.secret).decode(),
    "ascii85": base64.a85encode(KEY.secret).decode(),
    "ascii85 of Adobe": base64.a85encode(KEY.secret, adobe=True).decode(),
    "base85": base64.b85encode(KEY.secret).decode(),
    "z85": z85(KEY.secret).decode(),
    "uuencode": f"begin 644 k\n{binascii.b2a_uu(KEY.secret).decode()}`\nend\n",
    "uuencode of perl": binascii.b2a_uu(KEY.secret, backtick=True).decode(),
}


@pytest.mark.parametrize("form", PRINTED)
def test_a_key_is_known_as_tools_print_it(form):
    text, forms = PRINTED[form], forms_of(KEY.secret)
    assert holds_key(f"the key:\n{text}\n".encode(), forms)
    assert holds_key(json.dumps({"a": text}).encode(), forms)
    assert is_key([{"a": text}], forms)
    assert not holds_key(text.encode(), forms_of(hashlib.sha256(b"other").digest()))


def test_it_does_not_go_along_as_tools_print_it(tmp_path, scenes):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").write_bytes(png(scenes[0]))
    for n, text in enumerate(PRINTED.values()):
        (tmp_path / "photos" / f"note{n}.txt").write_text(text)
    protect_dataset(tmp_path / "photos", tmp_path / "safe", KEY, publish=("*.txt",))
    assert not [*(tmp_path / "safe").rglob("*.txt")]


@pytest.mark.parametrize("form", SPELLED)
def test_a_key_is_known_however_it_is_spelled(form):
    text, forms = SPELLED[form], forms_of(KEY.secret)
    assert holds_key(text.encode(), forms)
    assert holds_key(b"some words\n" * 99_999 + text.encode("utf-16-le"), forms)
    assert holds_key(json.dumps({"a": [text]}).encode(), forms)
    assert not holds_key(text.encode(), forms_of(hashlib.sha256(b"other").digest()))
    assert is_key([{"a": text}], forms)


@pytest.mark.parametrize(
    ("sign", "other"),
    [("/", "\\/"), ("/", "\\u002f"), ("+", "\\u002B"), ("/", "%2F"), ("/", "&#47;"), ("/", "_")],
)
def test_base64_is_known_with_escapes(sign, other):
    assert sign in BASE64
    text, forms = BASE64.replace(sign, other), forms_of(base64.b64decode(BASE64))
    for spelled in (f'{{"k": "{text}"}}', f"{text[:20]}\n{text[20:]}", json.dumps([text])):
        assert holds_key(spelled.encode(), forms)
    assert holds_key(json.dumps({text: 1}).encode(), forms)


def test_a_key_is_known_in_values():
    forms = forms_of(KEY.secret)
    columns = [{"i": n, "byte": each} for n, each in enumerate(NUMBERS)]
    parts = {f"k{n}": SECRET[n : n + 16] for n in range(0, 64, 16)}
    lists = [NUMBERS[n : n + 4] for n in range(0, 32, 4)]
    for value in (columns, parts, lists, [[500, *NUMBERS]], [*map(float, NUMBERS)], LONGS):
        assert is_key(value, forms)
    assert not is_key([columns[1:], lists[::-1], NUMBERS[:-1], [0.5] * 64], forms)


def test_tables_that_are_no_keys_are_read_to_their_end():
    rows = [b"1\n", b"1,", b"]", b'"', b"\\", b"%25", b",\n"]
    assert not any(holds_key(row * (1 << 17), forms_of(KEY.secret)) for row in rows)


@pytest.mark.parametrize("publish", [(), ("*",)])
def test_it_does_not_go_along_as_numbers_and_parts_in_text(tmp_path, scenes, publish):
    folder = tmp_path / "photos" / "x"
    folder.mkdir(parents=True)
    (folder / "a.png").write_bytes(png(scenes[0]))
    names = ["numbers", "parts", "column", "row", "objects"]
    for name in names:
        (tmp_path / "photos" / f"{name}.json").write_text(SPELLED[name])
        (tmp_path / "photos" / f"{name}.csv").write_text(SPELLED[name])
    (folder / "a.json").write_text(SPELLED["numbers"])
    report = protect_dataset(tmp_path / "photos", tmp_path / "safe", KEY, publish=publish)
    of_key = [each for each in report.left_out.values() if each.reason == A_KEY]
    assert sum(each.count for each in of_key) == 2 * len(names) + 1
    assert not [*(tmp_path / "safe").rglob("*.json"), *(tmp_path / "safe").rglob("*.csv")]


def test_keys_of_zeros_are_not_everywhere():
    assert not holds_key(b"some words", forms_of(bytes(32)))
    assert holds_key(b"0" * 64, forms_of(bytes(32)))
    assert not holds_key(json.dumps(list(range(99))).encode(), forms_of(bytes(range(32))))


def test_long_strings_are_found_wherever_they_are():
    found = set(texts_in({"a": [("x" * 40,), {"y" * 40: 1}], "b": b"z" * 40, "c": "short"}))
    assert found == {b"x" * 40, b"y" * 40, b"z" * 40}


def png(scene) -> bytes:
    data = io.BytesIO()
    Image.fromarray(scene).save(data, "png")
    return data.getvalue()


def published(root: Path) -> bytes:
    """Return all that is published, as text as far as it can be."""
    found = []
    for path in sorted(root.rglob("*")):
        if path.suffix == ".parquet":
            parquet = pytest.importorskip("pyarrow.parquet")
            table = parquet.read_table(path)
            found.append(repr(table.to_pylist()).encode())
        elif path.suffix == ".npz":
            with np.load(path) as arrays:
                found += [arrays[name].tobytes() for name in arrays.files]
        elif path.is_file():
            found.append(path.read_bytes())
    return b"".join(found).replace(b"\0", b"")


@pytest.mark.parametrize("publish", [(), ("*",)])
@pytest.mark.parametrize("form", ["tab", "json", "sentence", "utf-32"])
def test_it_does_not_go_along_with_a_folder(tmp_path, scenes, form, publish):
    folder = tmp_path / "photos" / "x"
    folder.mkdir(parents=True)
    (folder / "a.png").write_bytes(png(scenes[0]))
    (folder / "a.txt").write_bytes(FORMS[form])
    notes = json.dumps({"note": FORMS[form].decode("latin-1")})
    (tmp_path / "photos" / "notes.json").write_text(notes)
    for kind in ("folder", "webdataset"):
        report = protect_dataset(
            tmp_path / "photos", tmp_path / kind, KEY, publish=publish, out_format=kind
        )
        assert A_KEY in {each.reason for each in report.left_out.values()}
        assert SECRET.encode() not in published(tmp_path / kind).lower()


@pytest.mark.parametrize("publish", [(), ("note", "notes", "raw")])
def test_it_does_not_go_along_with_arrays(tmp_path, scenes, publish):
    notes = {"note": np.array([FILE] * 4), "raw": np.frombuffer(FILE.encode(), np.uint8)}
    np.savez(tmp_path / "a.npz", images=scenes[:4], labels=np.arange(4), **notes)
    report = protect_dataset(tmp_path / "a.npz", tmp_path / "out", KEY, publish=publish)
    assert len(report.left_out) == 2
    assert SECRET.encode() not in published(tmp_path / "out")


@pytest.mark.parametrize("publish", [(), ("note", "notes", "k")])
def test_it_does_not_go_along_with_pickles(tmp_path, scenes, publish):
    batch = {
        b"data": scenes[:4].transpose(0, 3, 1, 2).reshape(4, -1),
        b"labels": [0, 1, 0, 1],
        b"note": FILE.encode(),
        b"notes": [FILE.encode()] * 4,
    }
    (tmp_path / "in").mkdir()
    for name in ("data_batch_1", "test_batch"):
        (tmp_path / "in" / name).write_bytes(pickle.dumps(batch, 2))
    names = {b"label_names": [b"a", b"b"], b"k": FILE.encode()}
    (tmp_path / "in" / "batches.meta").write_bytes(pickle.dumps(names, 2))
    protect_dataset(tmp_path / "in", tmp_path / "out", KEY, publish=publish)
    assert SECRET.encode() not in published(tmp_path / "out")


@pytest.mark.parametrize("publish", [(), ("note", "*")])
def test_it_does_not_go_along_with_columns(tmp_path, scenes, publish):
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    image = [{"bytes": png(scene), "path": None} for scene in scenes[:4]]
    (tmp_path / "in").mkdir()
    for n, note in enumerate((FILE, FILE.encode(), [FILE], {"a": {"b": SECRET}})):
        table = pa.table({"image": image, "label": [0, 1, 0, 1], "note": [note] * 4})
        pq.write_table(table, tmp_path / "in" / f"{n}.parquet")
    report = protect_dataset(tmp_path / "in", tmp_path / "out", KEY, publish=publish)
    assert sum(each.count for each in report.left_out.values()) >= 16
    assert SECRET.encode() not in published(tmp_path / "out")


@pytest.mark.parametrize("publish", [(), ("*",)])
def test_it_is_found_in_the_rows_of_a_column(tmp_path, scenes, publish):
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    image = [{"bytes": png(scenes[n % 4]), "path": None} for n in range(32)]
    parts = [SECRET[2 * n : 2 * n + 2] for n in range(32)]
    rows = {"byte": NUMBERS, "float": [*map(float, NUMBERS)], "part": parts, "n": [*range(32)]}
    (tmp_path / "in").mkdir()
    pq.write_table(pa.table({"image": image, **rows}), tmp_path / "in" / "a.parquet")
    report = protect_dataset(tmp_path / "in", tmp_path / "out", KEY, publish=publish)
    assert {each.reason for each in report.left_out.values()} == {A_KEY}
    back = pq.read_table(next((tmp_path / "out").glob("*.parquet")))
    for name in ("byte", "float", "part"):
        assert name not in back.column_names or not any(back[name].to_pylist())
    assert back["n"].to_pylist() == [*range(32)]


def test_it_does_not_go_along_in_shards(tmp_path, scenes):
    (tmp_path / "in").mkdir()
    with tarfile.open(tmp_path / "in" / "a.tar", "w") as tar:
        for name, data in (("0.png", png(scenes[0])), ("0.txt", FORMS["tab"])):
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    for n, publish in enumerate([(), ("*.txt",)]):
        report = protect_dataset(tmp_path / "in", tmp_path / f"out{n}", KEY, publish=publish)
        assert A_KEY in {each.reason for each in report.left_out.values()}
        assert SECRET.encode() not in published(tmp_path / f"out{n}")


def in_numbers(secret: bytes) -> dict[str, np.ndarray]:
    """Return arrays that have a secret in them, as numbers and as strings."""
    digits = secret.hex()
    return {
        "base64": np.frombuffer(base64.b64encode(secret).rstrip(b"="), np.uint8),
        "bytes": np.frombuffer(secret, np.uint8),
        "signed": np.frombuffer(secret, np.int8),
        "words": np.frombuffer(secret, np.uint32),
        "longs": np.frombuffer(secret, np.int64),
        "parts": np.array([digits[n : n + 16] for n in range(0, 64, 16)]),
    }


@pytest.mark.parametrize("publish", [(), ("*",)])
@pytest.mark.parametrize("form", in_numbers(KEY.secret))
def test_it_is_found_in_numbers(tmp_path, scenes, form, publish):
    array = in_numbers(KEY.secret)[form]
    (tmp_path / "arrays").mkdir()
    np.savez(tmp_path / "arrays" / "a.npz", images=scenes[:4], labels=np.arange(4), note=array)
    report = protect_dataset(tmp_path / "arrays", tmp_path / "out", KEY, publish=publish)
    assert A_KEY in {each.reason for each in report.left_out.values()}
    assert array.tobytes() not in published(tmp_path / "out")
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    image = [{"bytes": png(scene), "path": None} for scene in scenes[:4]]
    (tmp_path / "shards").mkdir()
    table = pa.table({"image": image, "label": [0, 1, 0, 1], "note": [array.tolist()] * 4})
    pq.write_table(table, tmp_path / "shards" / "0.parquet")
    report = protect_dataset(tmp_path / "shards", tmp_path / "safe", KEY, publish=publish)
    assert A_KEY in {each.reason for each in report.left_out.values()}
    back = pq.read_table(next((tmp_path / "safe").glob("*.parquet")))
    assert "note" not in back.column_names or array.tolist() not in back["note"].to_pylist()


def packed_in_zip(data: bytes, method: int) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        archive.writestr("other.txt", b"words " * 1000)
        archive.writestr("k", data)
    return file.getvalue()


PACKED = {
    "gzip": gzip.compress(FILE.encode()),
    "bzip2": bz2.compress(FILE.encode()),
    "xz": lzma.compress(FILE.encode()),
    "zlib": zlib.compress(KEY.secret),
    "stored": packed_in_zip(KEY.secret, zipfile.ZIP_STORED),
    "deflated": packed_in_zip(FILE.encode(), zipfile.ZIP_DEFLATED),
    "lzma": packed_in_zip(FILE.encode(), zipfile.ZIP_LZMA),
    "far": gzip.compress(bytes(1 << 23) + FILE.encode()),
}


@pytest.mark.parametrize("form", PACKED)
@pytest.mark.parametrize("publish", [(), ("*",)])
def test_a_packed_key_is_neither_published_nor_sealed(tmp_path, scenes, form, publish):
    """Whoever has the key of one image opens what is sealed beside it."""
    (tmp_path / "clean").mkdir()
    Image.fromarray(scenes[0]).save(tmp_path / "clean" / "0.png")
    (tmp_path / "clean" / "notes.gz").write_bytes(PACKED[form])
    report = protect_dataset(tmp_path / "clean", tmp_path / "out", KEY, publish=publish)
    assert [each.reason for each in report.left_out.values()] == [A_KEY]
    assert report.sealed_files == 0
    assert not (tmp_path / "out" / "notes.gz").exists()


def test_damaged_and_large_packed_files_are_no_keys():
    for data in (
        b"PK\3\4" + bytes(100),
        b"\x1f\x8b",
        gzip.compress(bytes(1 << 26)),
        PACKED["xz"][:9],
    ):
        assert not any(holds_key(part, forms_of(KEY.secret)) for part in unpacked_starts(data))
