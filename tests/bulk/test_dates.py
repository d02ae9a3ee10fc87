"""Dates of files: they come back from archives as from folders."""

from __future__ import annotations

import io
import os
import shutil
import struct
import subprocess
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import dsguard
from dsguard.bulk import protect_dataset, restore_dataset
from dsguard.formats.archive_dates import date_in_tar, date_in_zip
from dsguard.formats.tar import members

KEY = dsguard.DatasetKey(bytes(32))
SECOND = 10**9


def _dates(root: Path) -> dict[str, int]:
    files = (path for path in root.rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix(): path.stat().st_mtime_ns for path in files}


@pytest.fixture
def photos(tmp_path, scenes) -> Path:
    root = tmp_path / "photos"
    for n, scene in enumerate(scenes[:3]):
        (root / "ab"[n % 2]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(scene).save(root / "ab"[n % 2] / f"{n}.jpg")
    (root / "README.md").write_text("A few photographs.\n")
    np.save(root / "features.npy", scenes[:2].astype(np.float32))
    os.link(root / "a" / "0.jpg", root / "a" / "again.jpg")
    for n, path in enumerate(sorted(root.rglob("*.*"))):
        os.utime(path, ns=(0, 1_000_000_000 * SECOND + 7_000_000_123 * n))
    return root


@pytest.mark.parametrize("kind", ["gnu", "ustar", "pax", "pax.gz"])
def test_dates_of_tar_archives_come_back(tmp_path, photos, kind):
    archive, out = tmp_path / "photos.tar", tmp_path / "out"
    written = {"gnu": tarfile.GNU_FORMAT, "ustar": tarfile.USTAR_FORMAT}
    mode = "w:gz" if kind == "pax.gz" else "w"
    with tarfile.open(archive, mode, format=written.get(kind, tarfile.PAX_FORMAT)) as tar:
        for name, date in sorted(_dates(photos).items()):
            info = tar.gettarinfo(photos / name, name)
            if kind.startswith("pax"):  # tarfile has floats
                info.pax_headers = {"mtime": f"{date // SECOND}.{date % SECOND:09d}"}
            with (photos / name).open("rb") as file:
                tar.addfile(info, file if info.isreg() else None)
    protect_dataset(archive, out, KEY)
    assert not set(_dates(out).values()) & set(_dates(photos).values())
    restore_dataset(out, tmp_path / "back", KEY)
    unit = 1 if kind.startswith("pax") else SECOND
    whole = {name: date // unit * unit for name, date in _dates(photos).items()}
    assert _dates(tmp_path / "back") == whole


@pytest.mark.skipif(not shutil.which("zip"), reason="zip writes moments, zipfile does not")
def test_dates_of_zip_archives_come_back(tmp_path, photos):
    subprocess.run(["zip", "-qr", tmp_path / "photos.zip", "."], cwd=photos, check=True)
    protect_dataset(tmp_path / "photos.zip", tmp_path / "out", KEY)
    restore_dataset(tmp_path / "out", tmp_path / "back", KEY)
    whole = {name: date // SECOND * SECOND for name, date in _dates(photos).items()}
    assert _dates(tmp_path / "back") == whole


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_a_protected_folder_that_was_packed_has_the_dates(tmp_path, photos, kind):
    protect_dataset(photos, tmp_path / "out", KEY)
    packed = shutil.make_archive(str(tmp_path / "packed"), kind, tmp_path / "out")
    restore_dataset(packed, tmp_path / "back", KEY)
    assert _dates(tmp_path / "back") == _dates(photos)


def test_the_time_of_a_wall_clock_is_no_date(tmp_path, photos):
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        for name in _dates(photos):
            archive.write(photos / name, name)
    before = (tmp_path / "photos.zip").stat().st_mtime_ns - SECOND
    protect_dataset(tmp_path / "photos.zip", tmp_path / "out", KEY)
    assert restore_dataset(tmp_path / "out", tmp_path / "back", KEY).broken == 0
    assert min(_dates(tmp_path / "back").values()) > before


@pytest.mark.parametrize(
    ("extra", "date"),
    [
        (b"", None),
        (b"UT\5\0\1" + struct.pack("<i", -5), -5 * SECOND),
        (b"UT\5\0\2" + struct.pack("<i", 5), None),
        (b"UT\5\0\1\0", None),
        (b"xx\1\0y" + b"UT\5\0\1" + struct.pack("<i", 9), 9 * SECOND),
        (
            b"\n\0\x20\0\0\0\0\0\1\0\x18\0"
            + struct.pack("<3Q", 116_444_736 * 10**9 + 15, 0, 0)
            + b"UT\5\0\1\0\0\0\0",
            1500,
        ),
        (b"\n\0\4\0\0\0\0\0", None),
        (b"UT\xff\xff\1", None),
    ],
)
def test_dates_in_zip_headers(extra, date):
    info = zipfile.ZipInfo("x")
    info.extra = extra
    assert date_in_zip(info) == date


@pytest.mark.parametrize(
    ("told", "date"),
    [
        ("1.5", 15 * SECOND // 10),
        ("-1.25", -125 * SECOND // 100),
        ("7", 7 * SECOND),
        ("7.", 7 * SECOND),
        ("7.1234567899", 7_123_456_789),
        ("nan", None),
        ("", None),
        ("1e9", None),
        ("9" * 40, None),
    ],
)
def test_dates_in_tar_headers(told, date):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        info = tarfile.TarInfo("é" * 200)
        info.pax_headers = {"mtime": told}
        tar.addfile(info)
    [member] = members(out.getvalue())
    assert date_in_tar(out.getvalue(), member) == date


def test_a_damaged_date_is_none():
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        tar.addfile(tarfile.TarInfo("x"))
    data = bytearray(out.getvalue())
    data[136:148] = b"\x80" + bytes(11)
    data[148:156] = b" " * 8
    data[148:156] = b"%06o\0 " % sum(data[:512])
    [member] = members(bytes(data))
    assert date_in_tar(bytes(data), member) is None
