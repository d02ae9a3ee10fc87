"""What Parquet files say of themselves comes back, or is named: metadata at any depth."""

from __future__ import annotations

import json

import numpy as np
import pytest

import dsguard
from dsguard.bulk import protect_dataset, restore_dataset, verify_dataset
from dsguard.formats import encode_image

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

KEY = dsguard.DatasetKey(bytes(range(32)))
IMAGES = [
    encode_image(np.random.default_rng(n).integers(0, 256, (48, 48, 3), np.uint8)) for n in range(4)
]
WITHIN = pa.struct([pa.field("x", pa.int64(), metadata={b"axis": b"left"})])
FIELDS = [
    pa.field("image", pa.binary()),
    pa.field("v", pa.int64(), metadata={b"unit": b"mm"}),
    pa.field("s", WITHIN),
    pa.field("l", pa.list_(pa.field("element", pa.int64(), metadata={b"of": b"numbers"}))),
]
COLUMNS = {"image": IMAGES, "v": [1, 2, 3, 4], "s": [{"x": n} for n in range(4)], "l": [[5]] * 4}
TOLD = {b"other": b"calibration: 12", b"pandas": b'{"columns": []}'}
PREVIEW = dsguard.covers.Preview(4)
UNSEALED = [
    {"keep": "pixels"},
    {"codec": "exact", "cover": PREVIEW},
    {"profile": "veil", "keep": "pixels"},
]


def stored(folder, told=None, names=("image", "v", "s", "l"), name="a.parquet"):
    """Store a table of columns that are all published; return the folder."""
    folder.mkdir(exist_ok=True)
    fields = [each for each in FIELDS if each.name in names]
    columns = [COLUMNS[each.name] for each in fields]
    table = pa.table(columns, schema=pa.schema(fields, metadata=told))
    pq.write_table(table, folder / name, row_group_size=2)
    return folder


@pytest.mark.parametrize("how", UNSEALED)
def test_metadata_that_is_not_sealed_is_named(tmp_path, how):
    clean = stored(tmp_path / "clean", TOLD)
    report = protect_dataset(clean, tmp_path / "out", KEY, **how)
    assert report.failed == 0
    assert {kind: each.first for kind, each in report.left_out.items()} == {
        "other": "a.parquet/other",
        "pandas": "a.parquet/pandas",
        "unit": "a.parquet/v/unit",
        "axis": "a.parquet/s.x/axis",
        "of": "a.parquet/l.element/of",
    }
    assert {each.count for each in report.left_out.values()} == {1}
    told = verify_dataset(tmp_path / "out", KEY, against=clean).different
    assert sorted(told) == sorted(each.first for each in report.left_out.values())


def test_metadata_goes_along_where_its_owner_publishes_it(tmp_path):
    clean = stored(tmp_path / "clean", TOLD, names=("image", "v"))
    names = ("pandas", "a.parquet/v/unit")
    report = protect_dataset(clean, tmp_path / "out", KEY, keep="pixels", publish=names)
    assert list(report.left_out) == ["other"]
    published = pq.read_schema(tmp_path / "out" / "a.parquet")
    assert published.metadata == {b"pandas": TOLD[b"pandas"]}
    assert published.field("v").metadata == {b"unit": b"mm"}
    assert restore_dataset(tmp_path / "out", tmp_path / "back", KEY).failed == 0
    assert pq.read_schema(tmp_path / "back" / "a.parquet").equals(published, check_metadata=True)
    assert list(verify_dataset(tmp_path / "out", KEY, against=clean).different) == [
        "a.parquet/other"
    ]


def test_a_key_in_metadata_is_published_by_no_name(tmp_path):
    told = {b"note": f"the key: {KEY.secret.hex()}".encode()}
    for keep in ("pixels", "files"):
        clean = stored(tmp_path / keep, told, names=("image",))
        out = tmp_path / f"{keep}.out"
        report = protect_dataset(clean, out, KEY, keep=keep, publish=("note",))
        assert "holds the key" in report.left_out["note"].reason
        assert not pq.read_schema(out / "a.parquet").metadata


def test_metadata_that_is_dropped_is_not_named(tmp_path):
    clean = stored(tmp_path / "clean", TOLD)
    names = ("other", "pandas", "unit", "axis", "of")
    report = protect_dataset(clean, tmp_path / "out", KEY, keep="pixels", drop=names)
    assert (report.left_out, report.unmatched_drop) == ({}, [])


def test_metadata_that_another_format_has_no_place_for_is_named(tmp_path):
    clean = stored(tmp_path / "clean", TOLD, names=("image", "v"))
    report = protect_dataset(clean, tmp_path / "out", KEY, out_format="webdataset")
    assert {kind: each.count for kind, each in report.left_out.items()} == {
        "other": 1,
        "pandas": 1,
        "unit": 1,
    }


@pytest.mark.parametrize("names", [("image", "s"), ("image", "l"), ("image", "v", "s", "l")])
def test_metadata_of_fields_within_types_is_sealed_where_nothing_else_is(tmp_path, names):
    clean = stored(tmp_path / "clean", names=names)
    report = protect_dataset(clean, tmp_path / "out", KEY)
    assert (report.failed, report.left_out) == (0, {})
    assert restore_dataset(tmp_path / "out", tmp_path / "back", KEY).failed == 0
    back, was = (pq.read_schema(tmp_path / each / "a.parquet") for each in ("back", "clean"))
    assert back.equals(was, check_metadata=True)
    assert verify_dataset(tmp_path / "out", KEY, against=clean).different == {}


def test_metadata_within_types_may_be_dropped_of_what_is_sealed(tmp_path):
    clean = stored(tmp_path / "clean")
    report = protect_dataset(clean, tmp_path / "out", KEY, drop=("axis",))
    assert (report.failed, report.left_out, report.unmatched_drop) == (0, {}, [])
    restore_dataset(tmp_path / "out", tmp_path / "back", KEY)
    back = pq.read_schema(tmp_path / "back" / "a.parquet")
    assert back.field("s").type.field("x").metadata is None
    assert back.field("l").type.value_field.metadata == {b"of": b"numbers"}
    beside = stored(tmp_path / "tables", name="more.parquet")
    (beside / "0.png").write_bytes(IMAGES[0])
    source = dsguard.formats.open_source(beside, "folder")
    protect_dataset(source, tmp_path / "out2", KEY, drop=("axis",))
    restore_dataset(tmp_path / "out2", tmp_path / "back2", KEY)
    more = pq.read_schema(tmp_path / "back2" / "more.parquet")
    assert more.field("s").type.field("x").metadata is None
    assert more.field("v").metadata == {b"unit": b"mm"}


def test_sealed_metadata_that_may_tell_of_what_is_dropped_is_named(tmp_path):
    clean = stored(tmp_path / "clean", TOLD)
    report = protect_dataset(clean, tmp_path / "out", KEY, drop=("l",))
    assert list(report.left_out) == ["other", "pandas", "unit", "axis"]
    assert {each.reason for each in report.left_out.values()} == {
        "is metadata, which may tell of what does not come back"
    }


def test_what_datasets_says_of_columns_is_compared_by_its_meaning(tmp_path):
    """A file that was written anew says the same in other words, and null says nothing."""
    label = {"num_classes": 2, "names": ["a", "b"], "id": None, "_type": "ClassLabel"}
    features = {"image": {"_type": "Image"}, "label": label}
    clean = tmp_path / "clean"
    clean.mkdir()
    for more in ({}, {"description": "photos of my own"}):
        told = {"huggingface": json.dumps({"info": {"features": features, **more}}, indent=1)}
        table = pa.table({"image": IMAGES, "label": [0, 1, 0, 1]}).replace_schema_metadata(told)
        pq.write_table(table, clean / "a.parquet")
        out = tmp_path / f"out{len(more)}"
        report = protect_dataset(clean, out, KEY, profile="veil", keep="pixels")
        assert list(report.left_out) == ["huggingface"] * len(more)
        told_of = verify_dataset(out, KEY, against=clean).different
        assert list(told_of) == ["a.parquet/huggingface"] * len(more)


def test_numbers_of_fields_are_how_a_file_is_stored(tmp_path):
    clean = tmp_path / "clean"
    clean.mkdir()
    fields = [pa.field("image", pa.binary(), metadata={b"PARQUET:field_id": b"7"})]
    pq.write_table(pa.table([IMAGES], schema=pa.schema(fields)), clean / "a.parquet")
    assert protect_dataset(clean, tmp_path / "out", KEY, keep="pixels").left_out == {}
    assert verify_dataset(tmp_path / "out", KEY, against=clean).different == {}
