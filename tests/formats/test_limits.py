"""Text that becomes many objects is refused before it is parsed."""

from __future__ import annotations

import json
import zipfile

import pytest

from dsguard.bulk import protect_dataset, restore_dataset, verify_dataset
from dsguard.bulk.journal import Journal
from dsguard.bulk.published_files import NO_LIST
from dsguard.errors import InputError
from dsguard.formats import encode_images, limits, open_source
from dsguard.formats.allowance import CouldHoldPictureError
from dsguard.formats.limits import check_csv, check_json, json_lines
from dsguard.formats.listings import coco, imagefolder
from dsguard.formats.listings.base import ImageIndex
from dsguard.formats.places import LocalPlace
from dsguard.formats.texts import parsed_lines
from dsguard.formats.webdataset import reader as webdataset

MOST = 1000


@pytest.fixture(autouse=True)
def few(monkeypatch):
    monkeypatch.setattr(limits, "MOST_CONTAINERS", MOST)
    monkeypatch.setattr(limits, "MOST_LINES", MOST)


@pytest.fixture
def unparsed(monkeypatch):
    """Have the parser fail: nothing may come to it."""

    def parsed(data):
        pytest.fail("it was parsed")

    monkeypatch.setattr(json, "loads", parsed)


@pytest.mark.parametrize("one", ["[],", "{},", '{"a":1},', "[[["])
def test_lists_and_objects_are_counted(one):
    text = one * MOST
    fits = one * (MOST // (one.count("[") + one.count("{")))
    for made in (text + "[", (text + "[").encode(), (text + "[").encode("utf-16")):
        with pytest.raises(InputError, match="lists and objects, 1000 are the most"):
            check_json(made)
    check_json(fits)
    check_json(fits.encode())


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"])
def test_lines_are_counted(end):
    check_csv(f"a{end}" * MOST)
    with pytest.raises(InputError, match="1001 lines, 1000 are the most"):
        check_csv(f"a{end}" * (MOST + 1))


def test_the_limit_has_room_for_real_files(monkeypatch):
    monkeypatch.undo()
    assert limits.MOST_CONTAINERS == 8_000_000  # twice those of COCO 2017
    assert limits.MOST_LINES >= 2_000_000


COCO = '{"images":[{"file_name":"0.png","id":1},%s[]],"annotations":[]}' % ("[]," * MOST)


def test_coco_files_are_not_parsed(unparsed):
    with pytest.raises(InputError, match="the most"):
        coco.loaded(COCO.encode(), "images", "annotations")


def test_samples_of_a_shard_are_not_parsed(unparsed):
    data = b'{"label":"x","a":[%b[]]}' % (b"[]," * MOST)
    assert webdataset._class("a/0.png", {"json": data}) == "a"


@pytest.mark.parametrize(
    ("file", "data"),
    [
        ("metadata.jsonl", '{"file_name":"0.png"}\n' * (MOST + 1)),
        ("metadata.jsonl", '{"file_name":"0.png","a":[%s[]]}' % ("[]," * MOST)),
        ("metadata.csv", "file_name,label\n" + "0.png,1\n" * MOST),
    ],
)
def test_tables_are_not_parsed(unparsed, file, data):
    index = ImageIndex(["0.png"])
    with pytest.raises(InputError, match=f"{file} cannot be read as a table: .* are the most"):
        list(imagefolder._rows(file, data.encode()))
    with pytest.raises(InputError, match="are the most"):
        imagefolder.with_names(data.encode(), file, {"0.png": "0.png"}, index)


def test_lines_of_json_are_those_of_the_file():
    text = "{}\r\n\n[1]\r2\n\u2028\x85\n3"
    assert list(json_lines(text)) == ["{}\r\n", "\n", "[1]\r", "2\n", "\u2028\x85\n", "3"]
    assert b"".join(json_lines(text.encode())) == text.encode()
    assert list(json_lines("")) == []


@pytest.mark.parametrize("line", ["{}", "1", "[[[]]]"])
def test_lines_of_json_are_counted_together(line):
    text = f"{line}\n" * (MOST + 1)
    for data in (text, text.encode()):
        with pytest.raises(InputError, match="1000 are the most"):
            json_lines(data)
    with pytest.raises(CouldHoldPictureError, match="1000 are the most"):
        parsed_lines(text)


@pytest.mark.parametrize("line", ["{}", "1", '"plain"'])
def test_lines_of_json_beside_images_are_counted_together(tmp_path, scenes, key, line):
    (tmp_path / "clean").mkdir()
    for n, file in enumerate(encode_images(scenes)):
        (tmp_path / "clean" / f"{n}.png").write_bytes(file)
    (tmp_path / "clean" / "notes.jsonl").write_text(f"{line}\n" * (MOST + 1))
    report = protect_dataset(tmp_path / "clean", tmp_path / "out", key, profile="veil")
    assert "1000 are the most" in report.left_out["*.jsonl"].reason
    assert report.done == 8


def test_manifests_of_too_many_lines_are_damaged(tmp_path, scenes, key):
    (tmp_path / "clean").mkdir()
    for n, file in enumerate(encode_images(scenes)):
        (tmp_path / "clean" / f"{n}.png").write_bytes(file)
    protect_dataset(tmp_path / "clean", tmp_path / "out", key, profile="veil")
    journal = Journal.of(LocalPlace(tmp_path / "out"))
    rows = journal.lines(0)
    assert rows is not None
    manifest = tmp_path / "out.dsguard" / "shards" / "00000.jsonl"
    manifest.write_text(f"{json.dumps(rows[0])}\n" * (MOST + 1))
    assert journal.lines(0) is None
    assert verify_dataset(tmp_path / "out", key).journal_damaged


def test_a_manifest_is_read_as_far_as_it_is_one(tmp_path, monkeypatch):
    parsed = []

    def noted(line):
        parsed.append(line)
        return {}

    shards = tmp_path / "out.dsguard" / "shards"
    shards.mkdir(parents=True)
    (shards / "00000.jsonl").write_text("{}\n" * MOST)
    monkeypatch.setattr(json, "loads", noted)
    assert Journal.of(LocalPlace(tmp_path / "out")).lines(0) is None
    assert len(parsed) == 1


@pytest.mark.parametrize("packed", [False, True])
def test_a_bomb_beside_images_fails_alone(tmp_path, scenes, key, packed):
    clean = tmp_path / "clean.zip" if packed else tmp_path / "clean"
    members = {f"{n}.png": file for n, file in enumerate(encode_images(scenes))}
    if packed:
        with zipfile.ZipFile(clean, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in {**members, "m.json": COCO}.items():
                archive.writestr(name, data)
    else:
        clean.mkdir()
        for name, data in members.items():
            (clean / name).write_bytes(data)
        (clean / "m.json").write_text(COCO)
    assert open_source(clean).kind in ("archive", "folder")
    report = protect_dataset(clean, tmp_path / "out", key, profile="veil")
    assert report.done == 8
    assert report.left_out or report.failures
    assert verify_dataset(tmp_path / "out", key).done == 8
    (tmp_path / "out" / "m.json").write_text(COCO)
    restored = restore_dataset(tmp_path / "out", tmp_path / "back", key)
    assert restored.done == 8
    assert restored.failures["m.json"].message == NO_LIST
