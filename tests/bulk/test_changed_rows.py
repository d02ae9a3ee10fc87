"""Parquet files that were changed since they were published: nothing is lost without a word."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import dsguard
from dsguard.bulk import protect_dataset, restore_dataset, verify_dataset
from dsguard.formats import encode_image
from dsguard.formats.sealing import SEALED_FIELDS

pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")

KEY = dsguard.DatasetKey(bytes(range(32)))
PNG = [encode_image(np.full((4, 4, 3), 60 * n, np.uint8)) for n in range(4)]
TOLD = f"a.parquet.*.{SEALED_FIELDS}"


class Published:
    """A table that was published with its column ``secret`` sealed, to be changed."""

    def __init__(self, root: Path) -> None:
        self._root, self.path = root, root / "out" / "a.parquet"

    def of(self, images: list[int], **columns: object) -> None:
        files = [{"bytes": PNG[n], "path": "same.png"} for n in images]
        secrets = [b"\0%d" % n for n in range(len(images))]
        table = pa.table({"image": files, "secret": secrets, **columns})
        (self._root / "clean").mkdir()
        parquet.write_table(table, self._root / "clean" / "a.parquet", row_group_size=2)
        assert protect_dataset(self._root / "clean", self._root / "out", KEY).failed == 0
        self.table = parquet.read_table(self.path)

    def change(self, name: str, values: object) -> None:
        """Have other values in a column, which is a new one where there is none of this name."""
        place = self.table.schema.get_field_index(name)
        if place < 0:
            self.table = self.table.append_column(name, values)
        else:
            self.table = self.table.set_column(place, name, values)

    def restored(self):
        """Return what comes back, and what is told of it; `verify` tells the same."""
        parquet.write_table(self.table, self.path)
        shutil.rmtree(self._root / "back", ignore_errors=True)
        report = restore_dataset(self._root / "out", self._root / "back", KEY)
        told = {name: error.message for name, error in report.failures.items()}
        verified = verify_dataset(self._root / "out", KEY).failures
        assert {name: error.message for name, error in verified.items()} == told
        return parquet.read_table(self._root / "back" / "a.parquet"), told


@pytest.fixture
def published(tmp_path) -> Published:
    return Published(tmp_path)


def secrets_of(table) -> list[bytes | None]:
    return table.column("secret").to_pylist()


@pytest.mark.parametrize("order", [[2, 1, 0], [1, 0], [2], [0, 2, 2, 1]])
def test_rows_of_equal_images_are_told_by_their_published_values(published, order):
    published.of([0, 1, 0], id=[2, 1, 0])
    published.table = published.table.take(order)
    back, told = published.restored()
    assert told == {}
    assert secrets_of(back) == [b"\0%d" % row for row in order]


def test_rows_alike_in_both_are_known_by_place_alone(published):
    published.of([0, 1, 0, 0], id=[7, 7, 7, 8])
    back, told = published.restored()
    assert (secrets_of(back), told) == ([b"\0%d" % row for row in range(4)], {})
    published.table = published.table.take([3, 1, 0, 2])
    back, told = published.restored()
    assert secrets_of(back) == [b"\0003", b"\0001", None, None]
    assert "whose values are whose is not known" in told[TOLD]


def test_values_that_were_changed_tell_no_rows_apart(published):
    published.of([0, 1, 0], id=[2, 1, 0], kind=["a", "b", "a"])
    published.change("id", pa.array([2, 1, 5]))
    back, told = published.restored()
    assert secrets_of(back) == [b"\0000", b"\0001", None]
    assert "changed since" in told[TOLD]


@pytest.mark.parametrize("kind", [pa.float64(), pa.large_string()])
def test_columns_of_another_type_or_none_tell_what_they_can(published, kind):
    published.of([0, 1, 0], id=[2, 1, 0], kind=["a", "b", "c"], gone=[1, 2, 3])
    published.change("id", published.table.column("id").cast(kind))
    published.table = published.table.drop_columns(["gone"]).take([2, 1, 0])
    back, told = published.restored()
    assert (secrets_of(back), told) == ([b"\0002", b"\0001", b"\0000"], {})
    assert back.column("id").type == pa.int64()


def test_sets_of_before_come_back_by_place(tmp_path):
    """They were made when entries had no marks of rows."""
    out = Path(__file__).parents[1] / "data" / "sealed-fields" / "parquet"
    report = restore_dataset(out, tmp_path / "back", KEY)
    back = parquet.read_table(tmp_path / "back" / "a.parquet")
    assert (report.failures, report.done) == ({}, 3)
    assert back.column("secret").to_pylist() == [b"\0000", b"\0001", b"\0002"]
    assert back.column("id").to_pylist() == [0, 1, 2]


def test_a_column_of_another_type_comes_back_as_it_is_published(published):
    pairs = pa.array([[("a", 1)], [("b", 2)], []], pa.map_(pa.string(), pa.int32()))
    published.of([0, 1, 2], pairs=pairs, small=pa.array([1, 2, 3], pa.int8()))
    lists = pa.array([[{"key": k, "value": v} for k, v in pair] for pair in pairs.to_pylist()])
    published.change("pairs", lists)
    published.change("small", pa.array([1, 2, 300]))  # the last of which is in another row group
    back, told = published.restored()
    assert told == {}
    assert back.column("pairs").to_pylist() == lists.to_pylist()
    assert back.column("small").to_pylist() == [1, 2, 300]
    assert secrets_of(back) == [b"\0000", b"\0001", b"\0002"]


def test_a_new_part_of_a_value_is_not_lost(published):
    published.of([0, 1], box=[{"x": 1}, {"x": 2}])
    boxes = [{"x": 1, "y": None}, {"x": 2, "y": 3}]
    published.change("box", pa.array(boxes))
    back, told = published.restored()
    assert (back.column("box").to_pylist(), told) == (boxes, {})


def test_what_is_sealed_of_a_column_of_another_type_is_told(published):
    published.of([0, 1, 2], caption=["x" * 999, "short", "words"])
    published.change("caption", pa.array([None, ["short"], ["words"]]))
    back, told = published.restored()
    assert back.column("caption").to_pylist() == [None, ["short"], ["words"]]
    assert "another type of column caption" in told[TOLD]
    assert secrets_of(back) == [b"\0000", b"\0001", b"\0002"]


def test_columns_that_were_added_come_back(published):
    published.of([0, 1, 2], id=[1, 2, 3])
    published.change("quality", pa.array([0, 1, 1]))
    features = {"quality": {"names": ["good", "bad"], "_type": "ClassLabel"}}
    info = json.dumps({"info": {"features": features}})
    published.table = published.table.replace_schema_metadata({"huggingface": info})
    back, told = published.restored()
    assert told == {}
    assert back.column_names == ["image", "secret", "id", "quality"]
    assert back.column("quality").to_pylist() == [0, 1, 1]
    assert b'"good"' in back.schema.metadata[b"huggingface"]


@pytest.mark.parametrize("name", ["secret", "caption"])
def test_values_that_were_put_where_others_were_sealed_are_told(published, name):
    captions = ["x" * 999, "y" * 999, "words"]
    published.of([0, 1, 2], caption=captions)
    new = {"secret": [None, b"new", None], "caption": [None, "new", "words"]}
    published.change(name, pa.array(new[name]))
    back, told = published.restored()
    assert "other values than were published" in told[TOLD]
    assert name in told[TOLD]
    assert back.column("caption").to_pylist() == captions
    assert secrets_of(back) == [b"\0000", b"\0001", b"\0002"]
