"""The table of docs/reference/kinds-of-files.md: every kind of image file, and its fate."""

from __future__ import annotations

import io
import os
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import dsguard
from dsguard.bulk import protect_dataset, restore_dataset
from dsguard.bulk.sealed_files import SEALED_FILES
from dsguard.covers.named import Ingredients, cover_named
from dsguard.formats import decode_image
from dsguard.formats.images import CARRIED_SUFFIXES, READABLE_SUFFIXES, is_image_name

from .image_kinds import KINDS, SIZE, deep, plain, sized

KEY = dsguard.DatasetKey(bytes(32))
PAGE = Path(__file__).resolve().parents[2] / "docs/reference/kinds-of-files.md"


def table() -> dict[str, list[str]]:
    """Return the cells of each row of the table, by the first."""
    text = PAGE.read_text().partition("<!-- kinds -->")[2].partition("<!-- end of kinds -->")[0]
    rows = [line.strip("| ").split(" | ") for line in text.strip().splitlines()[2:]]
    return {row[0]: row[1:] for row in rows}


def folder_of(root: Path, files: dict[str, bytes]) -> Path:
    (root / "photos" / "class").mkdir(parents=True)
    for name, data in files.items():
        path = root / "photos" / "class" / name
        path.write_bytes(data)
        os.utime(path, (1_000_000_000, 1_000_000_000))
    return root / "photos"


def files_in(root: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_the_table_has_all_kinds():
    assert table().keys() == KINDS.keys()
    names = [name for files in KINDS.values() for name in files()]
    assert len(names) == len(set(names)) >= 60
    told = {suffix for cells in table().values() for suffix in cells[0].replace("`", "").split()}
    known = READABLE_SUFFIXES | CARRIED_SUFFIXES | {".nii.gz"}
    assert told == known


@pytest.mark.parametrize("kind", KINDS)
def test_files_of_a_kind_are_of_its_suffixes(kind):
    suffixes = tuple(table()[kind][0].replace("`", "").split())
    assert all(name.lower().endswith(suffixes) for name in KINDS[kind]())


@pytest.mark.parametrize("kind", KINDS)
def test_what_becomes_of_pixels(tmp_path, kind):
    files = KINDS[kind]()
    source = folder_of(tmp_path, files)
    told = table()[kind][1]
    read = [name for name in files if is_image_name(name)]
    if not read:
        assert told == "left out, and named"
        with pytest.raises(dsguard.InputError, match="no images"):
            protect_dataset(source, tmp_path / "out", KEY, keep="pixels")
        return
    report = protect_dataset(source, tmp_path / "out", KEY, keep="pixels")
    if told == "restored":
        assert (report.done, report.failed) == (len(files), 0)
    else:
        assert told == "fails, and is named"
        assert (report.done, report.failed) == (0, len(files))
        assert all("--keep files" in error.message for error in report.failures.values())


def side_by_bytes(data: bytes) -> int:
    """Return the side of a square of 64 pixels a byte, as the page below the table has it."""
    return max(16, min(128, int((64 * len(data)) ** 0.5)))


@pytest.mark.parametrize("cover_size", ["own", "fit"])
@pytest.mark.parametrize("kind", KINDS)
def test_what_becomes_of_files(tmp_path, kind, cover_size):
    files = KINDS[kind]()
    source = folder_of(tmp_path, files)
    told, size = table()[kind][2:4]
    assert told == "restored, byte for byte"
    report = protect_dataset(source, tmp_path / "out", KEY, keep="files", cover_size=cover_size)
    assert (report.done, report.failed, report.left_out) == (len(files), 0, {})
    restore_dataset(tmp_path / "out", tmp_path / "back", KEY)
    assert files_in(tmp_path / "back") == files
    if cover_size == "own":
        published = files_in(tmp_path / "out")
        del published[SEALED_FILES]  # dates
        shapes = {decode_image(data).shape[:2] for data in published.values()}
        own = {SIZE[::-1], SIZE}  # one is turned by its EXIF
        by_bytes = {(side, side) for side in map(side_by_bytes, files.values())}
        expected = {
            "that of the image": own,
            "from its bytes": by_bytes,
            "that of the image, or from its bytes": own | by_bytes,
        }
        assert shapes <= expected[size]


def test_a_folder_of_all_kinds_comes_back_as_it_was(tmp_path):
    files = {name: data for kind in KINDS.values() for name, data in kind().items()}
    source = folder_of(tmp_path, files)
    report = protect_dataset(source, tmp_path / "out", KEY, keep="files")
    assert (report.done, report.failed, report.left_out) == (len(files), 0, {})
    for data in files.values():
        middle = data[len(data) // 2 :][:24]
        assert len(middle) < 16 or not any(
            middle in each for each in files_in(tmp_path / "out").values()
        )
    restore_dataset(tmp_path / "out", tmp_path / "back", KEY)
    assert files_in(tmp_path / "back") == files


@pytest.mark.parametrize("packed", ["zip", "tar"])
def test_archives_of_all_kinds_come_back_as_folders(tmp_path, packed):
    files = {name: data for kind in KINDS.values() for name, data in kind().items()}
    folder_of(tmp_path, files)
    archive = shutil.make_archive(str(tmp_path / "packed"), packed, tmp_path / "photos")
    report = protect_dataset(archive, tmp_path / "out", KEY, keep="files")
    assert (report.done, report.failed, report.left_out) == (len(files), 0, {})
    restore_dataset(tmp_path / "out", tmp_path / "back", KEY)
    assert files_in(tmp_path / "back") == files


def test_shards_may_hold_all_kinds(tmp_path):
    files = {name: data for kind in KINDS.values() for name, data in kind().items()}
    files |= {f"{name.partition('.')[0]}.cls": b"3" for name in files}
    (tmp_path / "shards").mkdir()
    with tarfile.open(tmp_path / "shards" / "a.tar", "w") as tar:
        for name in sorted(files, key=lambda name: name.partition(".")):
            entry = tarfile.TarInfo(name)
            entry.size = len(files[name])
            tar.addfile(entry, io.BytesIO(files[name]))
    report = protect_dataset(tmp_path / "shards", tmp_path / "out", KEY, keep="files")
    assert (report.failed, report.left_out) == (0, {})
    restore_dataset(tmp_path / "out", tmp_path / "back", KEY)
    with tarfile.open(tmp_path / "back" / "a.tar") as tar:
        back = {member.name: tar.extractfile(member).read() for member in tar}
    assert back == files


def test_shards_of_all_kinds_come_back(tmp_path):
    files = {name: data for kind in KINDS.values() for name, data in kind().items()}
    source = folder_of(tmp_path, files)
    report = protect_dataset(source, tmp_path / "out", KEY, keep="files", out_format="webdataset")
    assert (report.done, report.failed) == (len(files), 0)
    restore_dataset(tmp_path / "out", tmp_path / "back", KEY, out_format="folder")
    assert set(files.values()) <= set(files_in(tmp_path / "back").values())


@pytest.mark.parametrize("shows", ["given", "samples"])
@pytest.mark.parametrize("cover_size", ["own", "fit"])
def test_what_is_not_decoded_shows_a_drawn_picture(tmp_path, shows, cover_size):
    """A folder of covers may have copies of those very images, which nothing here can tell."""
    files = {name: data for name, data in deep().items() if name != "deep.pgm"}
    source = folder_of(tmp_path, files)
    (tmp_path / "covers" / "class").mkdir(parents=True)
    for name in files:
        copy = Image.new("RGB", SIZE, (255, 0, 0))
        copy.save(tmp_path / "covers" / "class" / f"{name}.png")
        copy.save((tmp_path / "covers" / "class" / name).with_suffix(".png"))
    names = tuple(f"class/{name}" for name in files)
    of = Ingredients(KEY, labelled=False, names=names, folder=tmp_path / "covers")
    report = protect_dataset(
        source, tmp_path / "out", KEY,
        keep="files", cover=cover_named(shows, of), cover_size=cover_size,
    )  # fmt: skip
    assert (report.done, report.failed) == (len(files), 0)
    shown = [decode_image(data).astype(int) for data in files_in(tmp_path / "out").values()]
    red = np.array([255, 0, 0])
    assert all(np.abs(image - red).mean() > 60 for image in shown)
    means = {tuple(image.mean(axis=(0, 1)).round()) for image in shown}
    assert len(means) == len(shown)


def test_a_folder_of_others_alone_says_how(tmp_path):
    source = folder_of(tmp_path, {"scan.dcm": sized()["scan.dcm"]})
    with pytest.raises(dsguard.InputError, match=r"scan\.dcm and others like it .* --keep files"):
        protect_dataset(source, tmp_path / "out", KEY, keep="pixels")


def test_no_other_image_shows_the_digest_of_a_file(tmp_path):
    """What stands for a file is told from others by it, and cover other shows images of the set."""
    files = {f"{n}.png": deep()["deep.png"] + bytes([n]) for n in range(3)}
    files["seen.png"] = plain()["colours.png"]
    source = folder_of(tmp_path, files)
    cover = cover_named("other", Ingredients(KEY, labelled=False))
    report = protect_dataset(source, tmp_path / "out", KEY, keep="files", cover=cover)
    assert (report.done, report.failed) == (len(files), 0)
    shown = decode_image((tmp_path / "out" / "class" / "seen.png").read_bytes())
    assert np.abs(shown.astype(int) - 128).max() <= 64
