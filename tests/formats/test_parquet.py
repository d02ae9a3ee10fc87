"""Parquet files of some hundred bytes that stand for any amount of memory."""

from __future__ import annotations

import base64
import io
import json
import subprocess
import sys
import tarfile

import numpy as np
import pytest
from PIL import Image

from dsguard.bulk import Selection, protect_dataset, restore_dataset, verify_dataset
from dsguard.errors import InputError
from dsguard.formats import encode_image, open_source
from dsguard.formats.base import CHUNK_IMAGES
from dsguard.formats.parquet.batches import batches_of, plain_schema
from dsguard.formats.parquet.fields import _from_text, as_text
from dsguard.formats.parquet.foreign import parquet_file, without_types
from dsguard.formats.parquet.pages import (
    _Effort,
    _measured,
    _Nulls,
    groups_of,
    pages_of,
    rows_at_once,
)
from dsguard.formats.programs.pickled import is_pickle
from dsguard.integrations.images import as_bytes

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

MOST_MEMORY = 512 << 20
IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def images(files):
    return pa.array([{"bytes": file, "path": None} for file in files], IMAGE)


def repeated(value, rows):
    """One value in a dictionary, for any number of rows."""
    column = pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), [value])
    return pa.table({"image": column})


def delta(value, rows):
    table = pa.table({"image": images([value] * rows)})
    encoding = {"image.bytes": "DELTA_BYTE_ARRAY", "image.path": "PLAIN"}
    return table, {"use_dictionary": False, "column_encoding": encoding}


def beside(name, column):
    return pa.table({"image": images([b"x"] * len(column)), name: column})


BOMBS = {
    "repeated": lambda: (repeated(bytes(5 << 20), 1024), {"store_schema": False}),
    "repeated often": lambda: (repeated(bytes(1 << 20), 5000), {"store_schema": False}),
    "prefixes": lambda: delta(bytes(1 << 20), 400),
    "page": lambda: (pa.table({"image": images([bytes(150 << 20)])}), {"use_dictionary": False}),
    "dictionary": lambda: (pa.table({"image": images([bytes(150 << 20)])}), {}),
    "nulls": lambda: (pa.table({"image": pa.nulls(5_000_000, IMAGE)}), {}),
    "list": lambda: (beside("l", listed(pa.nulls(40_000_000, pa.int64()))), {}),
    "list of texts": lambda: (beside("l", listed(pa.array(["a" * 40_000] * 8000))), {}),
    "width": lambda: (wide(640, 1 << 20), {}),
    "one text": lambda: (beside("t", pa.array(["a" * (1 << 20)] * 300)), {"store_schema": False}),
    "one category": lambda: (beside("t", categories("a" * (1 << 20), 300)), {}),
    "categories": lambda: (beside("t", within(categories("a" * (1 << 20), 300))), {}),
    "texts of a row": lambda: (texts_of_a_row(40, 8 << 20), {}),
    "pages": lambda: (texts_of_a_row(40, 16 << 20, 1), {"use_dictionary": False}),
}
"""What makes each of them: a table, and how it is written."""


def categories(text, rows):
    return pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), pa.array([text]))


def within(values):
    return pa.StructArray.from_arrays([values], ["text"])


def texts_of_a_row(count, length, rows=4):
    columns = {f"t{n}": pa.array(["a" * length] * rows) for n in range(count)}
    return pa.table({"image": images([b"x"] * rows), **columns})


def listed(values):
    return pa.ListArray.from_arrays(pa.array([0, len(values)], pa.int32()), values)


def wide(rows, width):
    return pa.table({"image": images([b"x"] * rows), "w": pa.nulls(rows, pa.binary(width))})


@pytest.fixture(scope="module")
def bombs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bombs")
    for name, made in BOMBS.items():
        table, options = made()
        given = {"compression": "zstd", "row_group_size": 1 << 30, **options}
        pq.write_table(table, folder / f"{name}.parquet", **given)
        assert (folder / f"{name}.parquet").stat().st_size < 50_000
    return folder


PEAK = """
import sys
import tarfile
from dsguard.formats import open_source
from dsguard.formats.base import decode_rows
from dsguard.errors import InputError
rows = 0
try:
    source = open_source(sys.argv[1])
    for part in source.parts(5000):
        for some in source.rows(part):
            rows += len(some.names)
            if rows > 200:
                break
except InputError as error:
    print(error)
with open("/proc/self/status") as status:
    print(next(line.split()[1] for line in status if line.startswith("VmHWM")))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is told by /proc")
@pytest.mark.parametrize("name", BOMBS)
def test_memory_is_bounded(bombs, name):
    command = [sys.executable, "-c", PEAK, str(bombs / f"{name}.parquet")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout.split()[-1]) << 10 < MOST_MEMORY
    assert len(done.stdout.splitlines()) == 2  # an error, and the memory
    assert not done.stderr


@pytest.mark.parametrize("name", ["page", "list", "nulls", "one text", "texts of a row"])
def test_the_file_is_named(bombs, name):
    with pytest.raises(InputError, match=rf"{name}\.parquet.* (unpack|lists|claims|may have)"):
        everything(bombs / f"{name}.parquet")


def test_categories_of_many_rows_are_read(tmp_path):
    columns = {
        "t": categories("a" * 20_000, 3000),
        "s": within(categories("b", 3000)),
        "n": pa.DictionaryArray.from_arrays(pa.array([0] * 3000), pa.array([7])),
    }
    table = pa.table({"image": images([bytes(5000)] * 3000), **columns})
    pq.write_table(table, tmp_path / "x.parquet", row_group_size=7, use_dictionary=["t", "n"])
    assert sum(len(rows.names) for rows in everything(tmp_path / "x.parquet")) == 3000


def everything(path):
    source = open_source(path)
    return [rows for part in source.parts(5000) for rows in source.rows(part)]


@pytest.mark.parametrize("compression", ["none", "snappy", "gzip", "brotli", "zstd", "lz4"])
@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("use_dictionary", [True, False])
def test_ordinary_files_are_read_in_large_pieces(scenes, compression, version, use_dictionary):
    files = [encode_image(image) for image in scenes]
    labels = pa.array([f"class {n % 7}" for n in range(4000)])
    tags = pa.array([[f"t{n}", None] if n % 3 else None for n in range(4000)])
    table = pa.table(
        {"image": images(files * 500), "label": labels, "tags": tags, "n": range(4000)}
    )
    file = io.BytesIO()
    pq.write_table(
        table,
        file,
        compression=compression,
        data_page_version=version,
        use_dictionary=use_dictionary,
        row_group_size=1500,
        data_page_size=10_000,
    )
    parquet = pq.ParquetFile(file)
    facts = parquet.metadata
    assert facts.num_row_groups == 3
    for group in range(3):
        for number in range(facts.row_group(group).num_columns):
            column = facts.row_group(group).column(number)
            chunk = groups_of(file)[group].chunks[number]
            pages = list(pages_of(file, chunk))
            assert chunk.values == column.num_values
            assert sum(page.values for page in pages if page.kind != 2) == column.num_values
            last = pages[-1].start + pages[-1].packed
            starts = (column.dictionary_page_offset, column.data_page_offset)
            assert chunk.start == min(start for start in starts if start)
            assert last == chunk.start + column.total_compressed_size
    assert rows_at_once(file, parquet, range(3), None) == CHUNK_IMAGES
    assert rows_at_once(file, parquet, [1], ["label"]) == CHUNK_IMAGES


def test_large_images_are_read_some_at_a_time():
    rng = np.random.default_rng(0)
    table = pa.table({"image": images([rng.bytes(1 << 20) for _ in range(20)])})
    file = io.BytesIO()
    pq.write_table(table, file)
    assert 1 <= rows_at_once(file, pq.ParquetFile(file), [0], None) <= 8


@pytest.mark.parametrize("seed", range(60))
def test_damaged_headers_are_refused_or_read(tmp_path, scenes, seed):
    """Whatever is damaged ends in an error of the file, or in images."""
    rng = np.random.default_rng(seed)
    table = pa.table({"image": images([encode_image(image) for image in scenes] * 3)})
    file = io.BytesIO()
    pq.write_table(table, file, compression="zstd" if seed % 2 else "none")
    data = bytearray(file.getvalue())
    starts = [page.start for page in pages_of(file, groups_of(file)[0].chunks[0])]
    for start in starts:
        for place in range(max(4, start - 20), start):
            if rng.random() < 0.2:
                data[place] = rng.integers(256)
    read_or_refused(tmp_path / "a.parquet", data)


def read_or_refused(path, data):
    path.write_bytes(data)
    try:
        assert all(len(rows.names) == len(rows.files) for rows in everything(path))
    except InputError as error:
        if "a.parquet" not in str(error):
            raise


def test_every_damage_of_the_footer_is_refused_or_read(tmp_path, scenes):
    """One of them makes pyarrow end the process, if it is asked for what is in a column."""
    table = pa.table(
        {"image": images([encode_image(image) for image in scenes[:2]]), "l": [[1]] * 2}
    )
    file = io.BytesIO()
    pq.write_table(table, file, compression="none")
    data = file.getvalue()
    length = int.from_bytes(data[-8:-4], "little")
    for place in range(len(data) - 8 - length, len(data) - 8, 3):
        changed = bytearray(data)
        changed[place] ^= 1 << place % 8
        read_or_refused(tmp_path / "a.parquet", changed)


@pytest.mark.parametrize(
    "footer",
    [
        b"",
        b"\x49\xf7" + b"\xff" * 8 + b"\x7f",  # a list of very many doubles
        b"\x1c" * 5000,  # structs in structs
        b"\x15\x02\x05\x02\x02",  # a field twice
        b"\x05\xff\xff\xff\xff\x0f\x02\0",
        b"\x16" + b"\xff" * 11,
    ],
)
def test_odd_structs_are_refused(footer):
    file = io.BytesIO(footer + len(footer).to_bytes(4, "little") + b"PAR1")
    with pytest.raises(ValueError, match=r"damaged|twice|more than 64"):
        groups_of(file)


def test_a_page_that_goes_on_behind_the_end_is_refused_before_it_is_read():
    file = io.BytesIO()
    pq.write_table(pa.table({"image": [bytes(range(256)) * 4]}), file, compression="none")
    data = bytearray(file.getvalue())
    at = 4 + 2 + 1  # behind the magic and the kind of the page: two sizes, as varints
    first_end = next(n for n in range(at, at + 5) if data[n] < 128)
    last = next(n for n in range(first_end + 2, first_end + 7) if data[n] < 128)
    data[last - 1 : last + 1] = b"\xfe\x7f"
    chunk = groups_of(io.BytesIO(bytes(data)))[0].chunks[0]
    assert list(pages_of(io.BytesIO(file.getvalue()), chunk))
    with pytest.raises(ValueError, match="goes on behind the end"):
        list(pages_of(io.BytesIO(bytes(data)), chunk))


def as_varint(number):
    """Return a number between 64 and 8191 as it is in a footer."""
    return bytes([number << 1 & 127 | 128, number >> 6])


def test_row_groups_that_share_a_column_are_refused(tmp_path, scenes):
    files = [encode_image(image) for image in scenes[:2, :16, :16].copy()]
    table = pa.table({"image": images(files), "n": [0, 1]})
    file = io.BytesIO()
    pq.write_table(
        table, file, row_group_size=1, use_dictionary=False, write_statistics=False,
        compression="none",
    )  # fmt: skip
    data = file.getvalue()
    first, second = (group.chunks[-1].start for group in groups_of(file))
    end = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    changed = data[:end] + data[end:].replace(as_varint(second), as_varint(first))
    assert len(changed) == len(data)
    (tmp_path / "a.parquet").write_bytes(data)
    assert sum(len(rows.names) for rows in everything(tmp_path / "a.parquet")) == 2
    (tmp_path / "a.parquet").write_bytes(changed)
    with pytest.raises(InputError, match=rf"a\.parquet is damaged.* at {first} goes on behind"):
        everything(tmp_path / "a.parquet")


def test_empty_row_groups_lie_anywhere():
    file = io.BytesIO()
    pq.write_table(pa.table({"image": pa.array([], pa.binary()), "n": pa.nulls(0)}), file)
    assert rows_at_once(file, pq.ParquetFile(file), [0], None) == CHUNK_IMAGES


def test_very_many_pages_are_refused(tmp_path):
    path = tmp_path / "a.parquet"
    rows = pa.table({"image": images([b"x"] * 3000)})
    options = {"write_statistics": False, "use_dictionary": False, "compression": "none"}
    pq.write_table(rows, path, data_page_size=1, write_batch_size=1, **options)
    with pytest.raises(InputError, match=r"a\.parquet: it has very many pages for its size"):
        everything(path)
    pq.write_table(rows, path, data_page_size=100, **options)
    assert len(everything(path)) > 0


def test_values_of_all_dictionaries_are_looked_at_up_to_a_bound():
    file = io.BytesIO()
    pq.write_table(pa.table({"label": ["cat", "dog", "horse"] * 2}), file, row_group_size=3)
    column = pq.ParquetFile(file).schema.column(0)
    first, second = (group.chunks[0] for group in groups_of(file))
    effort = _Effort(pages=100, listed=5)
    assert _measured(file, column, first, effort, _Nulls(0))[0] == len("horse")
    assert _measured(file, column, second, effort, _Nulls(0))[0] == 3 * 4 + len("catdoghorse")


def test_a_short_file_has_no_large_image(tmp_path, scenes):
    blank = io.BytesIO()
    Image.new("1", (5000, 5000)).save(blank, "bmp")
    files = [blank.getvalue(), encode_image(scenes[0])]
    pq.write_table(pa.table({"image": files}), tmp_path / "x.parquet", compression="zstd")
    assert (tmp_path / "x.parquet").stat().st_size < 10_000
    source = open_source(tmp_path)
    (rows,) = (rows for part in source.parts(100) for rows in source.rows(part))
    assert isinstance(rows.files[0], InputError)
    assert "claims 25000000 pixels" in rows.files[0].message
    assert rows.files[1] == files[1]


FLOATS = pa.list_(pa.float32(), 1 << 20)
WIDE = {
    "list": (pa.nulls(6, FLOATS), 4),
    "within a struct": (pa.nulls(6, pa.struct([("x", FLOATS), ("y", pa.int8())])), 3),
    "of lists": (pa.nulls(6, pa.list_(pa.list_(pa.int8(), 1 << 10), 1 << 10)), 3),
    "bytes": (pa.nulls(6, pa.binary(1 << 23)), 3),
    "narrow": (pa.nulls(6, pa.list_(pa.float32(), 3)), CHUNK_IMAGES),
}


@pytest.mark.parametrize("name", WIDE)
def test_nulls_of_fixed_length_are_read_few_at_a_time(name):
    column, most = WIDE[name]
    data = io.BytesIO()
    pq.write_table(pa.table({"image": images([b"x"] * 6), "w": column}), data)
    count = rows_at_once(data, pq.ParquetFile(data), [0], None)
    assert count <= most
    assert count >= min(most // 2, CHUNK_IMAGES)
    assert rows_at_once(data, pq.ParquetFile(data), [0], ["image"]) > 100


@pytest.mark.parametrize("kind", [pa.list_(pa.int8(), 20 << 20), pa.list_(FLOATS)])
def test_nulls_longer_than_the_memory_are_refused(kind):
    column = pa.nulls(1, kind) if kind != pa.list_(FLOATS) else listed(pa.nulls(40, FLOATS))
    data = io.BytesIO()
    pq.write_table(pa.table({"image": images([b"x"]), "w": column}), data)
    with pytest.raises(InputError, match=r"column w\..* in lists, in|column w\..* has lists of"):
        rows_at_once(data, pq.ParquetFile(data), [0], None)


def test_vectors_of_images_are_read():
    """Embeddings, as most have them: nothing about them is odd."""
    rows = 2000
    vectors = pa.array(np.ones((rows, 768), np.float32).tolist(), pa.list_(pa.float32(), 768))
    data = io.BytesIO()
    pq.write_table(pa.table({"image": images([b"x"] * rows), "w": vectors}), data)
    assert rows_at_once(data, pq.ParquetFile(data), [0], None) >= 200


def test_fields_of_any_name_come_back():
    fields = {
        "note:hex": b"hello",
        "x": b"\xff\x00",
        "x:hex": b"6869",
        "y:hex:hex": b"\x80",
        "z": b"",
    }
    assert _from_text(as_text(fields)) == fields
    assert _from_text('{"x:hex": "ff00"}') == {"x": b"\xff\x00"}


ELSEWHERE = ["/etc/hostname", "../x.png", "a/../../x", "https://a.b/x.png", "zip://a::b.zip",
             r"C:\\x.png", r"..\\x.png", r"\\\\server\\x.png", "~/x.png", "file:///x"]  # fmt: skip


@pytest.mark.parametrize("path", [*ELSEWHERE, "cat/0.png"])
def test_nobody_is_told_to_read_files_that_a_stranger_names(tmp_path, path):
    rows = pa.array([{"bytes": None, "path": path}], IMAGE)
    pq.write_table(pa.table({"image": rows}), tmp_path / "a.parquet")
    source = open_source(tmp_path / "a.parquet")
    (row,) = [file for part in source.parts(8) for rows in source.rows(part) for file in rows.files]
    with pytest.raises(InputError) as told:
        as_bytes({"bytes": None, "path": path}, 0)
    for message in (str(row), told.value.message):
        assert ("embed_table_storage" in message) == (path not in ELSEWHERE)
        assert ("URL or any file" in message) == (path in ELSEWHERE)
        assert path in ELSEWHERE or "do it with no dataset of others" in message


@pytest.fixture
def run():
    """What a registered type was made of: Ray registers one whose values are pickles."""
    given = []

    class Loaded(pa.ExtensionType):
        def __init__(self):
            super().__init__(pa.binary(), "tests.loaded")

        def __arrow_ext_serialize__(self):
            return b""

        @classmethod
        def __arrow_ext_deserialize__(cls, _, said):
            given.append(said)
            return cls()

    pa.register_extension_type(Loaded())
    yield given
    pa.unregister_extension_type("tests.loaded")


def field_of(*names):
    """A field of a file of a stranger, who says of which type it is."""
    pairs = [(b"ARROW:extension:name", name) for name in names]
    said = pa.KeyValueMetadata([*pairs, (b"ARROW:extension:metadata", b"evil")])
    return pa.field("extra", pa.binary(), metadata=said)


def with_schema(told):
    """A file that tells another schema than it has."""
    table = pa.table({"extra": pa.array([b"x"])}, metadata={b"ARROX:schema": told})
    file = io.BytesIO()
    pq.write_table(table, file)
    own = file.getvalue().replace(b"ARROW:schema", b"ARROZ:schema")
    return io.BytesIO(own.replace(b"ARROX:schema", b"ARROW:schema"))


LOADED = field_of(b"tests.loaded")
KINDS = {
    "column": LOADED,
    "struct": pa.field("extra", pa.struct([LOADED])),
    "list": pa.field("extra", pa.list_(LOADED)),
    "list of a length": pa.field("extra", pa.list_(LOADED, 2)),
    "map": pa.field("extra", pa.map_(pa.string(), LOADED)),
    "union": pa.field("extra", pa.sparse_union([LOADED])),
    "numbered": pa.field("extra", pa.dictionary(pa.int8(), pa.struct([LOADED]))),
    "numbered in a list": pa.field("extra", pa.list_(pa.dictionary(pa.int8(), pa.list_(LOADED)))),
    "first of two": field_of(b"tests.loaded", b"arrow.json"),
    "last of two": field_of(b"arrow.json", b"tests.loaded"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_types_of_packages_that_are_imported_are_not_made(request, kind):
    """A stranger names a type, and pyarrow makes it of what else the file says."""
    schema = pa.schema([KINDS[kind]]).serialize().to_pybytes()
    file = with_schema(base64.b64encode(schema))
    run = request.getfixturevalue("run")
    if kind != "last of two":
        pq.read_schema(file)
        assert b"evil" in run, "the test would fail if nothing were done"
        run.clear()
    read = parquet_file(file)
    assert [batch.num_rows for batch in batches_of(file, read)] == [1]
    assert run == []


def schema_of(file):
    """What a file says of its columns, to whoever has not their packages."""
    read = parquet_file(io.BytesIO(file.read_bytes()))
    return [(each.name, each.type, each.metadata) for each in plain_schema(read.schema_arrow)]


def test_columns_of_types_of_packages_come_back(tmp_path, scenes, key, request):
    (tmp_path / "clean").mkdir()
    schema = pa.schema([pa.field("image", pa.binary()), LOADED])
    arrays = [pa.array([encode_image(scenes[0])]), pa.array([b"x"])]
    pq.write_table(pa.Table.from_arrays(arrays, schema=schema), tmp_path / "clean" / "t.parquet")
    run = request.getfixturevalue("run")
    protect_dataset(tmp_path / "clean", tmp_path / "out", key, workers=1)
    report = verify_dataset(tmp_path / "out", key, against=tmp_path / "clean", workers=1)
    restored = restore_dataset(tmp_path / "out", tmp_path / "back", key, workers=1)
    assert (report.failed, restored.failed, run) == (0, 0, [])
    assert schema_of(tmp_path / "back" / "t.parquet") == schema_of(tmp_path / "clean" / "t.parquet")
    assert b"evil" in (LOADED.metadata or {}).values()
    assert not any(metadata for _, _, metadata in schema_of(tmp_path / "out" / "t.parquet"))


@pytest.mark.parametrize("sealed", [True, False])
def test_types_that_strangers_add_do_not_come_back(tmp_path, scenes, key, sealed):
    """Whoever has their package runs what is in the column."""
    (tmp_path / "clean").mkdir()
    columns = {"image": pa.array([encode_image(scenes[0])]), "long": pa.array(["word " * 9999])}
    table = pa.table(columns if sealed else {"image": columns["image"]})
    pq.write_table(table, tmp_path / "clean" / "t.parquet")
    protect_dataset(tmp_path / "clean", tmp_path / "out", key, workers=1)
    published = pq.read_table(tmp_path / "out" / "t.parquet")
    pq.write_table(published.append_column(LOADED, [[b"x"]]), tmp_path / "out" / "t.parquet")
    for report in (
        verify_dataset(tmp_path / "out", key, workers=1),
        restore_dataset(tmp_path / "out", tmp_path / "back", key, workers=1),
    ):
        assert "of a type of some package" in str(report.failures["t.parquet/extra"])
    names = [(name, metadata) for name, _, metadata in schema_of(tmp_path / "back" / "t.parquet")]
    assert ("extra", None) in names or ("extra", {}) in names


ODD = ["create_library_symlinks", "", 7, None, "timestamp[ns]x", "int64 "]
USUAL = ["int64", "string", "timestamp[ns, tz=Europe/Paris]", "decimal128(10, 2)", "float32"]


@pytest.mark.parametrize("dtype", [*ODD, *USUAL])
def test_features_that_strangers_name_as_functions_do_not_come_back(tmp_path, scenes, key, dtype):
    """`datasets` calls any function of pyarrow that is called so."""
    (tmp_path / "clean").mkdir()
    table = pa.table({"image": pa.array([encode_image(scenes[0])])})
    pq.write_table(table, tmp_path / "clean" / "t.parquet")
    protect_dataset(tmp_path / "clean", tmp_path / "out", key, workers=1)
    features = {"image": {"_type": "Image"}, "n": [{"x": {"_type": "Value", "dtype": dtype}}]}
    told = {b"huggingface": json.dumps({"info": {"features": features}}).encode()}
    published = pq.read_table(tmp_path / "out" / "t.parquet").append_column("n", [["x"]])
    pq.write_table(published.replace_schema_metadata(told), tmp_path / "out" / "t.parquet")
    report = restore_dataset(tmp_path / "out", tmp_path / "back", key, workers=1)
    back = pq.read_schema(tmp_path / "back" / "t.parquet").metadata[b"huggingface"]
    assert ("t.parquet/n" in report.failures) == (dtype in ODD)
    assert ("n" in json.loads(back)["info"]["features"]) == (dtype in USUAL)


@pytest.mark.parametrize(
    "feature",
    [{"_type": "Image"}, [{"_type": "Image"}], {"a": {"_type": "Video"}}, {"_type": "Json"}],
)
def test_features_that_are_opened_come_back_of_the_images_alone(tmp_path, scenes, key, feature):
    """`datasets` opens them: PostScript with Ghostscript, and files elsewhere."""
    (tmp_path / "clean").mkdir()
    table = pa.table({"image": pa.array([encode_image(scenes[0])])})
    pq.write_table(table, tmp_path / "clean" / "t.parquet")
    protect_dataset(tmp_path / "clean", tmp_path / "out", key, workers=1)
    features = {"image": {"_type": "Image", "mode": "RGB"}, "n": feature}
    told = {b"huggingface": json.dumps({"info": {"features": features}}).encode()}
    published = pq.read_table(tmp_path / "out" / "t.parquet").append_column("n", [[b"%!PS"]])
    pq.write_table(published.replace_schema_metadata(told), tmp_path / "out" / "t.parquet")
    report = restore_dataset(tmp_path / "out", tmp_path / "back", key, workers=1)
    back = pq.read_schema(tmp_path / "back" / "t.parquet").metadata[b"huggingface"]
    assert set(report.failures) == {"t.parquet/n"}
    assert json.loads(back)["info"]["features"] == {"image": {"_type": "Image", "mode": "RGB"}}


@pytest.mark.parametrize("told", [b"[]", b'{"info": {"features": 3}}', b"[" * 100_000])
def test_features_that_cannot_be_read_do_not_come_back(told):
    batch = pa.record_batch({"a": [1]}).replace_schema_metadata({b"huggingface": told, b"x": b"y"})
    bare, names = without_types(batch)
    assert (bare.schema.metadata, names) == ({b"x": b"y"}, ["huggingface"])


@pytest.mark.parametrize("name", ["a.parquet", "a.pq", "a", "a.arrow", "a.feather", "a.arrows"])
def test_tables_beside_images_that_name_types_are_like_pickles(name):
    table = pa.Table.from_arrays([pa.array([b"x"])], schema=pa.schema([LOADED]))
    plain = table.cast(pa.schema([pa.field("extra", pa.binary())]))
    for each, is_one in ((table, True), (plain, False)):
        file = io.BytesIO()
        if name.endswith(("arrow", "feather")):
            with pa.ipc.new_file(file, each.schema) as writer:
                writer.write_table(each)
        elif name.endswith("arrows"):
            with pa.ipc.new_stream(file, each.schema) as writer:
                writer.write_table(each)
        else:
            pq.write_table(each, file)
        assert is_pickle(name, file.getvalue()) == is_one
        assert is_pickle(name, io.BytesIO(file.getvalue())) == is_one


class Changing(io.BytesIO):
    """A file of a server that sends another one when it is asked again."""

    def __init__(self, first, then):
        super().__init__(first)
        self.then = then

    def read(self, size=-1, /):
        data = super().read(size)
        self.getbuffer()[:] = self.then
        return data


def test_arrow_has_the_footer_that_was_looked_at(request):
    schema = base64.b64encode(pa.schema([LOADED]).serialize().to_pybytes())
    evil = with_schema(schema).read()
    good = evil.replace(b"ARROW:schema", b"ARROX:schema")
    run = request.getfixturevalue("run")
    assert parquet_file(Changing(good, evil)).schema_arrow.names == ["extra"]
    assert b"evil" not in run


@pytest.mark.parametrize("file", [b"", b"PAR1", b"x" * 100, bytes(8) + b"\xff\0\0\0PAR1"])
def test_a_file_that_is_none_is_damaged(file):
    with pytest.raises(ValueError, match="does not end as a Parquet file does"):
        parquet_file(io.BytesIO(file))


@pytest.mark.parametrize("drop", [(), ("foo",)])
@pytest.mark.parametrize("kind", [pa.timestamp("us"), pa.duration("s"), pa.date32()])
def test_moments_that_python_has_none_for_end_no_run(tmp_path, scenes, key, kind, drop):
    (tmp_path / "clean").mkdir()
    far = pa.array([2**30 if kind == pa.date32() else 2**62], kind)
    column = pa.ListArray.from_arrays([0, 1], far)
    table = pa.table({"image": pa.array([encode_image(scenes[0])]), "x": column})
    pq.write_table(table, tmp_path / "clean" / "t.parquet")
    report = protect_dataset(tmp_path / "clean", tmp_path / "out", key, workers=1, drop=drop)
    assert (report.done, report.failed) == (1, 0)


def test_a_table_of_very_many_columns_is_refused(tmp_path, scenes, monkeypatch):
    monkeypatch.setattr("dsguard.formats.parquet.columns.MOST_COLUMNS", 20)
    images = [{"bytes": encode_image(scenes[0]), "path": None}]
    columns = {"image": images, **{f"x{n}": [n] for n in range(20)}}
    pq.write_table(pa.table(columns), tmp_path / "x.parquet")
    with pytest.raises(InputError, match="21 columns, and 20 are the most"):
        list(open_source(tmp_path).read())


@pytest.mark.parametrize("publish", [(), ("k", "s", "l", "m")])
def test_categories_of_other_rows_are_not_published(tmp_path, scenes, key, publish):
    """A dictionary has values of rows that were not chosen, and of none."""
    words = ["cat", "dog", "a value of no row", "a value of another row"]
    place = pa.array([0, 1, 0, 1, 0, 1, 0, 3], pa.int8())
    one = pa.DictionaryArray.from_arrays(place, pa.array(words))
    ends = pa.array(range(9), pa.int32())
    columns = {
        "k": one,
        "s": pa.StructArray.from_arrays([one], ["x"]),
        "l": pa.ListArray.from_arrays(ends, one),
        "m": pa.MapArray.from_arrays(ends, pa.array(["x"] * 8), one),
    }
    table = pa.table({"image": images([*map(encode_image, scenes[:8])]), **columns})
    (tmp_path / "clean").mkdir()
    pq.write_table(table, tmp_path / "clean" / "x.parquet")
    options = {"selection": Selection(exclude=("x/0000007.png",)), "publish": publish}
    protect_dataset(tmp_path / "clean", tmp_path / "safe", key, **options)
    found = pq.read_table(tmp_path / "safe" / "x.parquet")
    assert found["s"].to_pylist() == [{"x": each} for each in words[:2] * 3] + [{"x": "cat"}]
    written = (tmp_path / "safe" / "x.parquet").read_bytes()
    assert b"dog" in written
    assert not any(word.encode() in written for word in words[2:])
    restore_dataset(tmp_path / "safe", tmp_path / "back", key)
    back = pq.read_table(tmp_path / "back" / "x.parquet")
    assert back.schema.types[1:] == table.schema.types[1:]
    assert all(back[name].to_pylist() == table[name].to_pylist()[:7] for name in columns)


@pytest.mark.parametrize("out_format", ["folder", "webdataset"])
def test_metadata_for_which_another_format_has_no_place_is_named(tmp_path, scenes, key, out_format):
    label = pa.field("label", pa.int64(), metadata={"unit": "none"})
    schema = pa.schema([pa.field("image", IMAGE), label], metadata={"licence": "CC BY 4.0"})
    table = pa.table([images([*map(encode_image, scenes[:8])]), pa.array([0, 1] * 4)], schema)
    (tmp_path / "clean").mkdir()
    pq.write_table(table, tmp_path / "clean" / "x.parquet")
    protect_dataset(tmp_path / "clean", tmp_path / "safe", key)
    assert not restore_dataset(tmp_path / "safe", tmp_path / "back", key).failures
    report = restore_dataset(tmp_path / "safe", tmp_path / "other", key, out_format=out_format)
    assert (report.done, report.failures.keys()) == (
        8, {"x.parquet/licence", "x.parquet/label/unit"}
    )  # fmt: skip
    assert all("has no place" in error.message for error in report.failures.values())


def test_moments_beside_categories_come_back_to_the_nanosecond(tmp_path, scenes, key):
    """Python has no kind for them, nor for years behind 9999."""
    cat = pa.DictionaryArray.from_arrays(pa.array([0, 1] * 4, pa.int8()), pa.array(["a", "b"]))
    parts = {
        "cat": cat,
        "far": pa.array([1 << 50] * 8, pa.timestamp("ms")),
        "time": pa.array([123456789] * 8, pa.time64("ns")),
        "span": pa.array([123456789] * 8, pa.duration("ns")),
    }
    column = pa.StructArray.from_arrays(list(parts.values()), list(parts))
    table = pa.table({"image": images([*map(encode_image, scenes[:8])]), "v": column})
    (tmp_path / "clean").mkdir()
    pq.write_table(table, tmp_path / "clean" / "x.parquet")
    for publish in ((), ("v",)):
        safe, back = (tmp_path / f"{name}{len(publish)}" for name in ("safe", "back"))
        report = protect_dataset(tmp_path / "clean", safe, key, publish=publish)
        assert report.failures == {}
        assert restore_dataset(safe, back, key).failures == {}
        held = verify_dataset(safe, key, against=tmp_path / "clean")
        assert (held.failures, held.different) == ({}, {})
        found = pq.read_table(back / "x.parquet")["v"].combine_chunks()
        for name in ("far", "time", "span"):
            assert found.field(name).equals(parts[name])
        assert found.field("cat").to_pylist() == ["a", "b"] * 4


@pytest.mark.parametrize("nested", [False, True])
def test_nanoseconds_of_times_are_not_lost_in_json(tmp_path, scenes, key, nested):
    """Python has no kind for them, and cuts them off without a word."""
    column = pa.array([123456789] * 8, pa.time64("ns"))
    column = pa.ListArray.from_arrays(range(9), column) if nested else column
    table = pa.table({"image": images([*map(encode_image, scenes[:8])]), "time": column})
    (tmp_path / "clean").mkdir()
    pq.write_table(table, tmp_path / "clean" / "x.parquet")
    safe = tmp_path / "safe"
    report = protect_dataset(
        tmp_path / "clean", safe, key, publish=("time",), out_format="webdataset"
    )
    assert report.failures == {}
    with tarfile.open(next(safe.glob("*.tar"))) as shard:
        told = [shard.extractfile(m).read() for m in shard if m.name.endswith(".json")]
    expected = [123456789] if nested else 123456789
    assert [json.loads(each)["time"] for each in told] == [expected] * 8
