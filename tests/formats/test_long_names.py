"""Names of very many parts, as headers of archives can have them: they take little memory."""

from __future__ import annotations

import io
import json
import tarfile
import tracemalloc

import pytest

import dsguard
from dsguard.bulk import protect_dataset
from dsguard.cli.commands import run
from dsguard.cli.console import shortened
from dsguard.formats import encode_images, open_source
from dsguard.formats.listings.base import ImageIndex, locate
from dsguard.formats.listings.coco import CocoListing
from dsguard.formats.names import lies_in, some_of, top

PARTS = 4000
DEEP = "d/" * PARTS + "x.png"
MOST = 4 << 20
"""Bytes: a name has 8 kB, all folders above it together have 16 MB."""


def most_memory(work) -> int:
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_the_folders_of_a_deep_name_take_little_memory():
    assert most_memory(lambda: ImageIndex([DEEP])) < MOST


def test_the_ends_of_a_deep_name_take_little_memory():
    texts = ["d/" * n + "x.png" for n in range(0, PARTS, 40)]

    def work():
        locate(texts, "a.json", ImageIndex([DEEP]))

    assert most_memory(work) < MOST


def test_deep_names_are_looked_for_all_the_same():
    index = ImageIndex([DEEP, "a/b/y.png"])
    folder = top(DEEP.rpartition("/")[0])
    assert folder == "/".join(["d"] * 128)
    assert index.depth() == 16
    assert locate(["y.png", DEEP], "m.json", index).images == {DEEP: DEEP}
    assert locate(["d/d/x.png"], "m.json", index).images == {"d/d/x.png": DEEP}
    shallow = "d/" * 100 + "x.png"
    own = "d/" * 100 + "m.json"
    assert locate(["x.png"], own, ImageIndex([shallow])).images == {"x.png": shallow}


@pytest.mark.parametrize("folder", ["d", "d/" * 127 + "d", "d/" * 19 + "d"])
def test_files_of_a_journal_are_found_however_deep_they_lie(folder):
    assert lies_in(DEEP, {folder})
    assert not lies_in(folder, {folder})
    assert not lies_in("e/" + DEEP, {folder})


def test_a_walk_up_the_folders_of_a_long_name_ends():
    """Of a megabyte; it would take minutes to go up part by part, or suffix by suffix."""
    assert not lies_in("d/" * 500_000 + "x.png", {"e"})
    assert locate(["x.png"], "d/" * 500_000 + "m.json", ImageIndex(["a/x.png"])).images


@pytest.fixture
def deep_tar(tmp_path, scenes):
    files = encode_images(scenes[:3])
    content = json.dumps({"images": [{"id": 1, "file_name": "0.png"}], "annotations": []})
    members = {"a/0.png": files[0], "a/1.png": files[1], DEEP: files[2], "m.json": content.encode()}
    members["d/" * PARTS + "annotations/n" + ".n" * PARTS + ".json"] = content.encode()
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def test_a_deep_name_fails_alone(tmp_path, deep_tar):
    key = dsguard.DatasetKey(bytes(32))
    source = open_source(deep_tar)
    assert most_memory(lambda: CocoListing.recognises(source)) < MOST
    report = protect_dataset(deep_tar, tmp_path / "out", key, profile="veil")
    assert report.done == 2
    assert DEEP in report.failures


def test_long_names_are_shown_in_short(tmp_path, deep_tar, capsys):
    run(["keygen", str(tmp_path / "k")])
    capsys.readouterr()
    run(["protect", str(deep_tar), str(tmp_path / "out"), "--key", str(tmp_path / "k"),
         "--profile", "veil", "--quiet"])  # fmt: skip
    told = capsys.readouterr().err
    assert "d/d/d" in told
    assert "x.png" in told
    assert len(told) < 3000
    assert shortened("x" * 200) == "x" * 200


def test_many_names_are_shown_in_short():
    assert some_of(["a", "b"]) == "a, b"
    told = some_of(["x" * 5000] * 1000)
    assert told.endswith("x… and 990 more")
    assert len(told) < 2100
