"""COCO that becomes shards: what is told of the dataset goes along with what is told of images."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

import dsguard
from dsguard.bulk import protect_dataset, restore_dataset
from dsguard.formats import encode_image

from .folders import files_in

KEY = dsguard.DatasetKey(bytes(32))
INFO = {"description": "Some photographs", "version": "1.0", "url": "http://example.org"}
LICENSES = [{"id": n, "name": f"License {n}", "url": f"http://example.org/{n}"} for n in (1, 2, 3)]


@pytest.fixture
def clean(tmp_path, scenes) -> Path:
    root = tmp_path / "clean"
    (root / "annotations").mkdir(parents=True)
    for n in range(3):
        (root / f"{n}.png").write_bytes(encode_image(scenes[n]))
    return root


def _coco(root: Path, file: str = "instances.json", **more: Any) -> None:
    images = [{"id": n, "file_name": f"{n}.png", "license": (2, "3", None)[n]} for n in range(3)]
    boxes = [{"id": n, "image_id": n, "category_id": 7, "bbox": [n, 2, 3, 4]} for n in range(3)]
    content = {
        "images": images,
        "annotations": boxes,
        "categories": [{"id": 7, "name": "cat"}],
        "licenses": LICENSES,
        "info": INFO,
    }
    (root / "annotations" / file).write_text(json.dumps(content | more))


def _fields(folder: Path) -> list[dict[str, Any]]:
    """Return what shards tell of each image."""
    if not list(folder.glob("*.tar")):
        from pyarrow import parquet

        rows = parquet.read_table(folder / "00000.parquet")["fields"].to_pylist()
        return [json.loads(json.loads(row)["json"]) for row in rows]
    with tarfile.open(folder / "00000.tar") as archive:
        files = [archive.extractfile(each) for each in archive if each.name.endswith(".json")]
        return [json.load(io.BytesIO(file.read())) for file in files if file]


@pytest.mark.parametrize("kind", ["webdataset", "parquet"])
@pytest.mark.parametrize("keep", ["auto", "pixels"])
def test_licenses_and_info_go_with_each_image(tmp_path, clean, kind, keep):
    if kind == "parquet":
        pytest.importorskip("pyarrow")
    _coco(clean)
    _coco(clean, "captions.json", info={**INFO, "version": "2.0"})
    report = protect_dataset(clean, tmp_path / "out", KEY, out_format=kind, keep=keep)
    assert (report.failures, report.left_out) == ({}, {})
    restore_dataset(tmp_path / "out", tmp_path / "back", KEY)
    for told in (_fields(tmp_path / "out"), _fields(tmp_path / "back")):
        assert [each.get("licenses") for each in told] == [LICENSES[1:2], None, None]
        assert [each["info"] for each in told] == [[{**INFO, "version": "2.0"}, INFO]] * 3
    assert not [name for name in files_in(tmp_path / "back") if name.endswith(".json")]


@pytest.mark.parametrize("drop", ["info", "licenses", "url"])
def test_its_owner_drops_them(tmp_path, clean, drop):
    _coco(clean)
    protect_dataset(clean, tmp_path / "out", KEY, out_format="webdataset", drop=(drop,))
    restore_dataset(tmp_path / "out", tmp_path / "back", KEY)
    told = _fields(tmp_path / "back")[0]
    assert drop not in told
    assert ("info" in told, "licenses" in told) == (drop != "info", drop != "licenses")
    assert "url" not in told.get("info", {}) or drop != "url"


@pytest.mark.parametrize(
    "more",
    [
        {"videos": [{"id": 1, "name": "film"}]},
        {"info": {**INFO, "history": "long words " * 200}},
        {"info": "a text"},
    ],
)
def test_what_has_no_place_there_lies_beside_shards(tmp_path, clean, more):
    _coco(clean, **more)
    report = protect_dataset(clean, tmp_path / "out", KEY, out_format="webdataset")
    assert (report.failures, report.left_out) == ({}, {})
    restore_dataset(tmp_path / "out", tmp_path / "back", KEY)
    name = "annotations/instances.json"
    assert files_in(tmp_path / "back")[name] == files_in(clean)[name]


@pytest.mark.parametrize("licenses", [None, {}, "x", [None, 1, {"name": "x"}, LICENSES[1]]])
def test_licenses_of_another_layout_are_no_fault(tmp_path, clean, licenses):
    _coco(clean, licenses=licenses)
    report = protect_dataset(clean, tmp_path / "out", KEY, out_format="webdataset")
    assert (report.done, report.failures) == (3, {})
    assert _fields(tmp_path / "out")[0].get("licenses", []) == LICENSES[1:2] * isinstance(
        licenses, list
    )
