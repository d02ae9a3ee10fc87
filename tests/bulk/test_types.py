"""Tables of any types that Arrow has come back, from Parquet files and beside image folders."""

from __future__ import annotations

import datetime
import decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import dsguard
from dsguard.bulk import protect_dataset, restore_dataset, verify_dataset
from dsguard.formats import encode_image

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

KEY = dsguard.DatasetKey(bytes(range(32)))
PNG = [encode_image(np.full((4, 4, 3), 60 * n, np.uint8)) for n in range(3)]

TEXTS = st.sampled_from(["", "word", "some words", "x" * 300, "1234abcd" * 40])
BYTES = st.sampled_from([b"", b"abc", b"\0\xff" * 150])
DAYS = st.dates(datetime.date(1990, 1, 1), datetime.date(2030, 1, 1))
MOMENTS = st.datetimes(datetime.datetime(1990, 1, 1), datetime.datetime(2030, 1, 1))
NUMBERS = st.integers(-128, 127)
VALUES = {
    pa.int8(): NUMBERS,
    pa.float16(): NUMBERS.map(float),
    pa.float64(): st.floats(),
    pa.bool_(): st.booleans(),
    pa.string(): TEXTS,
    pa.large_string(): TEXTS,
    pa.string_view(): TEXTS,
    pa.binary(): BYTES,
    pa.binary(4): st.binary(min_size=4, max_size=4),
    pa.binary_view(): BYTES,
    pa.date32(): DAYS,
    pa.timestamp("us"): MOMENTS,
    pa.timestamp("ms", "Europe/Berlin"): MOMENTS.map(lambda moment: moment.replace(microsecond=0)),
    pa.time64("us"): st.times(),
    pa.duration("us"): st.timedeltas(*(datetime.timedelta(days) for days in (-999, 999))),
    pa.decimal128(20, 3): NUMBERS.map(lambda number: decimal.Decimal(number).scaleb(-3)),
    pa.decimal256(60, 2): NUMBERS.map(decimal.Decimal),
    pa.null(): st.none(),
}
LISTS = (pa.list_, pa.large_list, pa.list_view, lambda kind: pa.list_(kind, 2))


def nested(kinds: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return types that have others in them."""
    structs = st.dictionaries(st.sampled_from("abc"), kinds, min_size=1).map(
        lambda fields: pa.struct(list(fields.items()))
    )
    lists = st.builds(lambda list_of, kind: list_of(kind), st.sampled_from(LISTS), kinds)
    return structs | lists | kinds.map(lambda kind: pa.map_(pa.string(), kind))


CATEGORIES = pa.dictionary(pa.int8(), pa.string())
TYPES = st.just(CATEGORIES) | st.recursive(st.sampled_from(list(VALUES)), nested, max_leaves=3)


def values_of(kind: Any) -> st.SearchStrategy[Any]:
    """Return what can stand in a column of a type."""
    types = pa.types
    if kind == CATEGORIES:
        found = TEXTS
    elif kind in VALUES:
        found = VALUES[kind]
    elif types.is_struct(kind):
        found = st.fixed_dictionaries({each.name: values_of(each.type) for each in kind})
    elif types.is_map(kind):
        found = st.lists(st.tuples(st.sampled_from("xyz"), values_of(kind.item_type)), max_size=2)
    else:
        least, most = (2, 2) if types.is_fixed_size_list(kind) else (0, 3)
        found = st.lists(values_of(kind.value_type), min_size=least, max_size=most)
    return st.none() | found


@st.composite
def columns(draw) -> dict[str, Any]:
    """Draw columns of three rows that Arrow can write, and read again."""
    found = {}
    for name in draw(st.lists(st.sampled_from(["p", "q"]), min_size=1, unique=True)):
        kind = draw(TYPES)
        column = pa.array([draw(values_of(kind)) for _ in PNG], kind)
        sink = pa.BufferOutputStream()
        try:
            pq.write_table(pa.table({name: column}), sink)
            pq.read_table(pa.BufferReader(sink.getvalue()))
        except pa.ArrowException:
            continue
        found[name] = column
    return found


def in_parquet(source: Path, beside: dict[str, Any]) -> Path:
    """Write images and columns into a Parquet file; return it."""
    source.mkdir()
    pq.write_table(pa.table({"image": pa.array(PNG), **beside}), source / "a.parquet")
    return Path("a.parquet")


def in_folder(source: Path, beside: dict[str, Any]) -> Path:
    """Write images, and columns beside them; return the table."""
    source.mkdir()
    for number, image in enumerate(PNG):
        (source / f"{number}.png").write_bytes(image)
    names = pa.array([f"{number}.png" for number in range(len(PNG))])
    pq.write_table(pa.table({"file_name": names, **beside}), source / "metadata.parquet")
    return Path("metadata.parquet")


def read(path: Path) -> list[str]:
    """Return rows as texts: to Python, NaN is not the same as NaN."""
    return list(map(repr, pq.read_table(path).to_pylist()))


@pytest.mark.parametrize("written", [in_parquet, in_folder])
@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(beside=columns())
def test_tables_of_any_types_come_back(tmp_path_factory, written, beside):
    root = tmp_path_factory.mktemp("types")
    table = written(root / "clean", beside)
    assert protect_dataset(root / "clean", root / "out", KEY).failed == 0
    report = restore_dataset(root / "out", root / "back", KEY)
    assert (report.failed, report.done) == (0, len(PNG))
    assert read(root / "back" / table) == read(root / "clean" / table)
    report = verify_dataset(root / "out", KEY, against=root / "clean")
    assert (report.failed, report.compared) == (0, "all")


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(beside=columns())
def test_tables_of_any_types_go_along_into_shards(tmp_path_factory, beside):
    root = tmp_path_factory.mktemp("types")
    in_folder(root / "clean", beside)
    assert protect_dataset(root / "clean", root / "out", KEY, out_format="parquet").failed == 0
    assert restore_dataset(root / "out", root / "back", KEY).failed == 0


VIEWS = {
    "bytes": pa.array([b"abc", None, b"\0" * 300], pa.binary_view()),
    "list": pa.array([["a"], None, ["c" * 300]], pa.list_(pa.string_view())),
    "views": pa.array([["a"], None, ["c" * 300]], pa.list_view(pa.string_view())),
    "large": pa.array([[b"a"], None, [None, b"c"]], pa.large_list(pa.binary_view())),
    "two": pa.array([["a", "b"], None, ["c", None]], pa.list_(pa.string_view(), 2)),
    "map": pa.array([[("a", "x" * 300)], None, []], pa.map_(pa.string(), pa.string_view())),
    "struct": pa.array([{"s": "a"}, None, {"s": "b" * 300}], pa.struct([("s", pa.string_view())])),
}


@pytest.mark.parametrize("written", [in_parquet, in_folder])
@pytest.mark.parametrize("name", VIEWS)
def test_views_come_back_from_chosen_images_as_well(tmp_path, written, name):
    table = written(tmp_path / "clean", {"x": VIEWS[name]})
    chosen = dsguard.bulk.Selection(include=("*1.png", "*2.png"))
    report = protect_dataset(tmp_path / "clean", tmp_path / "out", KEY, selection=chosen)
    assert (report.failed, report.done) == (0, 2)
    assert restore_dataset(tmp_path / "out", tmp_path / "back", KEY).failed == 0
    assert read(tmp_path / "back" / table) == read(tmp_path / "clean" / table)[1:]


def test_images_may_be_views(tmp_path):
    kind = pa.struct([("bytes", pa.binary_view()), ("path", pa.string_view())])
    files = [{"bytes": image, "path": f"{n}.png"} for n, image in enumerate(PNG)]
    (tmp_path / "clean").mkdir()
    for name, column in {"a": pa.array(files, kind), "b": pa.array(PNG, pa.binary_view())}.items():
        pq.write_table(pa.table({"image": column}), tmp_path / "clean" / f"{name}.parquet")
    assert protect_dataset(tmp_path / "clean", tmp_path / "out", KEY).done == 6
    assert restore_dataset(tmp_path / "out", tmp_path / "back", KEY).failed == 0
    for name in ("a.parquet", "b.parquet"):
        assert read(tmp_path / "back" / name) == read(tmp_path / "clean" / name)


FAR = {
    "days": pa.array([2**31 - 1] * 3, pa.int32()).cast(pa.date32()),
    "moments": pa.array([2**53] * 3, pa.timestamp("ms", "Europe/Berlin")),
    "times": pa.array([2**62] * 3, pa.duration("ms")),
    "list": pa.array([[2**53]] * 3, pa.list_(pa.timestamp("ms"))),
}
"""Values that Python has none for."""


@pytest.mark.parametrize("out_format", ["folder", "parquet", "webdataset"])
@pytest.mark.parametrize("name", FAR)
def test_moments_that_python_has_none_for_end_no_run(tmp_path, name, out_format):
    in_folder(tmp_path / "clean", {"x": FAR[name]})
    report = protect_dataset(tmp_path / "clean", tmp_path / "out", KEY, out_format=out_format)
    assert (report.failed, report.left_out) == (0, {})
    assert restore_dataset(tmp_path / "out", tmp_path / "back", KEY).failed == 0
    if out_format == "folder":
        clean, back = (tmp_path / name / "metadata.parquet" for name in ("clean", "back"))
        assert back.read_bytes() == clean.read_bytes()


@pytest.mark.parametrize("keep", [(), ("p",)])
def test_what_columns_say_of_themselves_comes_back(tmp_path, keep):
    told = {b"unit": b"\0metres"}
    fields = [
        pa.field("image", pa.binary(), metadata={b"camera": b"\0secret"}),
        pa.field("p", pa.int64(), metadata=told),
        pa.field("q", pa.binary(), metadata=told),
    ]
    given = pa.table([PNG, [1, 2, 3], [b"\0a", b"\0b", b"\0c"]], schema=pa.schema(fields))
    (tmp_path / "clean").mkdir()
    pq.write_table(given.select(["image", *(keep or "pq")]), tmp_path / "clean" / "a.parquet")
    assert protect_dataset(tmp_path / "clean", tmp_path / "out", KEY).failed == 0
    assert not any(each.metadata for each in pq.read_schema(tmp_path / "out" / "a.parquet"))
    assert restore_dataset(tmp_path / "out", tmp_path / "back", KEY).failed == 0
    clean, back = (pq.read_schema(tmp_path / name / "a.parquet") for name in ("clean", "back"))
    assert back.equals(clean, check_metadata=True)
    dropped = protect_dataset(tmp_path / "clean", tmp_path / "less", KEY, drop=("unit",))
    assert dropped.failed == 0
    assert restore_dataset(tmp_path / "less", tmp_path / "rest", KEY).failed == 0
    rest = pq.read_schema(tmp_path / "rest" / "a.parquet")
    assert rest.field("image").metadata == fields[0].metadata
    assert not any(rest.field(name).metadata for name in rest.names[1:])


WITHIN = {
    "list": (pa.list_(CATEGORIES), [["x"], None, ["x", "y" * 300], [None], [], None]),
    "struct": (
        pa.struct([("a", CATEGORIES)]),
        [None, None, {"a": "x"}, {"a": "y" * 300}, None, None],
    ),
    "one": (
        pa.list_(pa.struct([("a", CATEGORIES)]), 1),
        [None, None, [{"a": "x"}], [None], None, [{"a": None}]],
    ),
    "map": (pa.map_(pa.string(), CATEGORIES), [None, None, [("k", "x")], [], None, [("k", None)]]),
}


@pytest.mark.parametrize("rows", [2, 3, 6])
@pytest.mark.parametrize("name", WITHIN)
def test_categories_within_columns_come_back(tmp_path, name, rows):
    kind, values = WITHIN[name]
    (tmp_path / "clean").mkdir()
    table = pa.table({"image": PNG * 2, "p": pa.array(values, kind)})
    pq.write_table(table, tmp_path / "clean" / "a.parquet", row_group_size=rows)
    report = protect_dataset(tmp_path / "clean", tmp_path / "out", KEY)
    assert (report.failures, report.done) == ({}, 6)
    assert restore_dataset(tmp_path / "out", tmp_path / "back", KEY).failures == {}
    back = pq.ParquetFile(tmp_path / "back" / "a.parquet")
    groups = [back.read_row_group(n, ["p"]) for n in range(back.num_row_groups)]
    assert [row["p"] for each in groups for row in each.to_pylist()] == table["p"].to_pylist()


@pytest.mark.parametrize(
    "kind",
    [
        pa.struct([("bytes", pa.int64()), ("path", pa.string())]),
        pa.struct([("bytes", pa.struct([("a", pa.int8())])), ("path", pa.string())]),
        pa.struct([("bytes", pa.binary()), ("path", pa.map_(pa.string(), pa.int8()))]),
    ],
)
def test_structs_of_other_types_are_no_images(tmp_path, kind):
    in_parquet(tmp_path / "clean", {"p": pa.nulls(3, kind)})
    assert protect_dataset(tmp_path / "clean", tmp_path / "out", KEY).done == 3
    assert restore_dataset(tmp_path / "out", tmp_path / "back", KEY).failed == 0
    clean, back = (tmp_path / name / "a.parquet" for name in ("clean", "back"))
    assert read(back) == read(clean)
