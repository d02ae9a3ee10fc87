"""An error of the machine, such as a full disk, is not told as damage of what is read."""

from __future__ import annotations

import errno
import io
import os
import tarfile
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

import dsguard
from dsguard.errors import raise_if_of_machine
from dsguard.formats import encode_image, open_source
from dsguard.formats.archive import _zip
from dsguard.formats.places.local import LocalPlace

IMAGE = encode_image(np.zeros((8, 8, 3), np.uint8))


def failing_with(number: int):
    def fail(*_: object, **__: object):
        raise OSError(number, os.strerror(number))

    return fail


def archive(path: Path) -> Path:
    with tarfile.open(path, "w:gz") as file:
        member = tarfile.TarInfo("a/0.png")
        member.size = len(IMAGE)
        file.addfile(member, io.BytesIO(IMAGE))
    return path


@pytest.mark.parametrize("where", ["nowhere", "full", "current"])
def test_a_full_temporary_folder_is_no_damage_of_an_archive(tmp_path, monkeypatch, where):
    path = archive(tmp_path / "x.tar.gz")
    if where == "nowhere":
        monkeypatch.setattr(tempfile, "gettempdir", failing_with(errno.ENOENT))
    elif where == "current":
        for name in ("TMPDIR", "TEMP", "TMP"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))
    else:
        monkeypatch.setattr("dsguard.formats.tar.open_new", failing_with(errno.ENOSPC))
    with pytest.raises(dsguard.InputError, match="temporary files") as told:
        list(open_source(path).names())
    assert "TMPDIR" in told.value.message
    assert "damaged" not in told.value.message
    assert "x.tar.gz" not in told.value.message


class Broken(io.BytesIO):
    """A file that the machine stops reading."""

    def read(self, size: int = -1) -> bytes:
        if self.tell() > 64 or size > 64 or size < 0:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return super().read(size)

    def readinto(self, _: object) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))


def parquet_file(path: Path) -> Path:
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    pq.write_table(pa.table({"image": [IMAGE]}), path)
    return path


def numpy_file(path: Path) -> Path:
    np.savez(path, images=np.zeros((2, 8, 8, 3), np.uint8))
    return path


def zip_file(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a/0.png", IMAGE)
    return path


@pytest.mark.parametrize(
    ("make", "name"), [(parquet_file, "x.parquet"), (numpy_file, "x.npz"), (zip_file, "x.zip")]
)
def test_a_disk_that_fails_is_no_damage_of_a_file(tmp_path, monkeypatch, make, name):
    source = open_source(make(tmp_path / name))
    data = (tmp_path / name).read_bytes()
    monkeypatch.setattr(LocalPlace, "open", lambda *_: Broken(data))
    _zip.cache_clear()
    with pytest.raises(dsguard.InputError, match=r"cannot be read: Input/output error") as told:
        list(source.names())
    assert "damaged" not in told.value.message


def test_too_many_open_files_are_no_damage_of_a_surrogate(tmp_path, monkeypatch):
    pytest.importorskip("torch")
    from dsguard.covers.surrogate import Surrogate

    (tmp_path / "s.pt").write_bytes(b"x")
    monkeypatch.setattr("dsguard.covers.surrogate.load_whole", failing_with(errno.EMFILE))
    with pytest.raises(dsguard.InputError, match="cannot be read: Too many open files"):
        Surrogate.load(tmp_path / "s.pt")


def test_damage_is_told_by_whoever_reads():
    for error in (OSError("bad stream"), OSError(errno.EINVAL, "Invalid argument"), ValueError()):
        raise_if_of_machine(error, "x")
    for error in (ConnectionResetError(), TimeoutError("late"), PermissionError(13, "denied")):
        with pytest.raises(dsguard.InputError, match="x cannot be read: "):
            raise_if_of_machine(error, "x")
