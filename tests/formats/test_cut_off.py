"""Files at servers that end before they should: no half of one is taken for the whole."""

from __future__ import annotations

import ftplib

import pytest

from dsguard.formats.places import RemotePlace

fsspec = pytest.importorskip("fsspec")

DATA = bytes(range(200))


class File(fsspec.spec.AbstractBufferedFile):
    """A file as FTP has it, of a server that sends some of it."""

    def _fetch_range(self, start: int, end: int) -> bytes:
        if isinstance(self.fs.sends, Exception):
            raise self.fs.sends
        return DATA[: self.fs.sends][start:end]


class Store(fsspec.AbstractFileSystem):
    protocol = "ftp"

    def __init__(self, sends) -> None:
        super().__init__(skip_instance_cache=True)
        self.sends = sends

    def _open(self, path, mode="rb", **_):
        return File(self, path, mode, size=len(DATA))


@pytest.mark.parametrize(
    ("sends", "told"),
    [
        (200, ""),
        (100, r"the server sent 100 of 200 bytes; try again"),
        (0, "the server sent 0 of 200 bytes"),
        (ftplib.error_temp("426 closed"), "the server failed: 426 closed"),
        (EOFError(), "the server failed: EOFError"),
        (ConnectionResetError("reset"), "reset"),
    ],
)
def test_a_file_comes_whole_or_not_at_all(monkeypatch, sends, told):
    monkeypatch.setattr(RemotePlace, "_opened", (Store(sends), "/d"))
    place = RemotePlace("ftp://host/d")
    if told:
        with pytest.raises(OSError, match=told):
            place.read("0.jpg")
    else:
        assert place.read("0.jpg") == DATA


class Paramiko(File):
    """A file whose `seek` returns nothing, as that of SFTP."""

    def seek(self, *to):
        super().seek(*to)


def test_a_file_tells_where_it_is(monkeypatch):
    store = Store(len(DATA))
    monkeypatch.setattr(store, "_open", lambda path, *_, **__: Paramiko(store, path, size=200))
    monkeypatch.setattr(RemotePlace, "_opened", (store, "/d"))
    with RemotePlace("sftp://host/d").open("0.zip") as file:
        assert (file.seek(0, 2), file.seek(-10, 1), file.read(1)) == (200, 190, DATA[190:191])
