"""Stores that are listed folder by folder: what cannot be listed is told, and is not empty."""

from __future__ import annotations

import ftplib

import pytest

from dsguard.errors import InputError
from dsguard.formats.places import RemotePlace
from dsguard.formats.places.walked import is_walked, walked

fsspec = pytest.importorskip("fsspec")


class Store(fsspec.AbstractFileSystem):
    """A store with two classes, of which one cannot be listed."""

    protocol = "ftp"
    fault: Exception | bool | None = None

    def ls(self, path, detail=True, **_):
        known = {"/d": ["a/", "b/", "x.txt"], "/d/a": ["0.png"], "/d/b": ["1.png"]}
        if path not in known:
            raise FileNotFoundError(path)
        if path == "/d/b" and self.fault is False:
            return []
        if path == "/d/b" and self.fault is not None:
            raise self.fault
        kinds = {True: "directory", False: "file"}
        return [
            {"name": f"{path}/{name}".rstrip("/"), "type": kinds[name.endswith("/")], "size": 1}
            for name in known[path]
        ]


@pytest.fixture
def store():
    return Store(skip_instance_cache=True)


def test_all_files_are_found(store):
    assert is_walked(store)
    assert walked(store, "/d") == (["/d/a/0.png", "/d/b/1.png", "/d/x.txt"], [])
    assert walked(store, "/none") == ([], [])
    assert not is_walked(fsspec.filesystem("memory"))


@pytest.mark.parametrize(
    "fault", [ConnectionResetError("reset"), TimeoutError(), PermissionError("no"),
              FileNotFoundError("gone")]
)  # fmt: skip
def test_a_folder_that_cannot_be_listed_is_told(store, fault):
    store.fault = fault
    with pytest.raises(InputError, match=r"/d/b cannot be listed: \w+; try again later"):
        walked(store, "/d")


def test_a_folder_of_ftp_that_lists_nothing_is_named(store, monkeypatch):
    """Its client lists nothing of a folder that it may not read."""
    store.fault = False
    assert walked(store, "/d")[1] == ["/d/b"]
    monkeypatch.setattr(RemotePlace, "_opened", (store, "/d"))
    found = RemotePlace("ftp://host/d").listing()
    assert found.files == ["a/0.png", "x.txt"]
    assert "lists nothing" in str(found.refused["b/"])


def test_folders_without_end_are_refused(store, monkeypatch):
    monkeypatch.setattr(store, "ls", lambda path, **_: [{"name": f"{path}/a", "type": "directory"}])
    with pytest.raises(InputError, match="folders in folders without end"):
        walked(store, "/d")


def test_folders_that_a_server_makes_up_are_refused(store, monkeypatch):
    monkeypatch.setattr("dsguard.formats.places.walked.MOST_FOLDERS", 50)
    made_up = [{"name": name, "type": "directory"} for name in "ab"]
    monkeypatch.setattr(
        store, "ls", lambda path, **_: [e | {"name": f"{path}/{e['name']}"} for e in made_up]
    )
    with pytest.raises(InputError, match="has more than 50 folders; download it"):
        walked(store, "/d")


class Bucket(fsspec.AbstractFileSystem):
    """A store of objects, as S3, with folders that a console has made."""

    protocol = ("s3", "s3a")

    def find(self, path, **_):
        return [f"{path}/", f"{path}/a/", f"{path}/a/0.png"]

    def makedirs(self, path, exist_ok=False):
        pytest.fail("made a bucket")

    def pipe_file(self, path, value, **_):
        self.written = path


def test_objects_that_stand_for_folders_are_no_files(monkeypatch):
    store = Bucket(skip_instance_cache=True)
    monkeypatch.setattr(RemotePlace, "_opened", (store, "bucket/d"))
    place = RemotePlace("s3://bucket/d")
    found = place.listing()
    assert (found.files, found.refused) == (["a/0.png"], {})
    place.write("a/1.png", b"x")
    assert store.written == "bucket/d/a/1.png"


def test_passwords_are_not_shown():
    assert str(RemotePlace("sftp://me:secret@host/d")) == "sftp://me:***@host/d"


class Stale(fsspec.AbstractFileSystem):
    """A store whose listings are of before, and which raises errors of its own, as FTP."""

    protocol = "ftp"
    listed = ()
    there = ("/d",)

    def invalidate_cache(self, path=None):
        self.listed = self.there

    def makedirs(self, path, exist_ok=False):
        if "/d" not in self.listed:
            msg = "550 File exists."
            raise ftplib.error_perm(msg)
        self.there = (*self.there, path)

    def pipe_file(self, path, value, **_):
        if path.endswith("large.png"):
            msg = "452 no space"
            raise ftplib.error_temp(msg)
        self.written = path


def test_a_folder_that_is_there_is_not_made_again(monkeypatch):
    store = Stale(skip_instance_cache=True)
    monkeypatch.setattr(RemotePlace, "_opened", (store, "/d"))
    place = RemotePlace("ftp://host/d")
    place.write("a/1.png", b"x")
    assert (store.there, store.written) == (("/d", "/d/a"), "/d/a/1.png")
    with pytest.raises(OSError, match="the server failed: 452 no space"):
        place.write("a/large.png", b"x")
    monkeypatch.setattr(store, "invalidate_cache", lambda: None)
    store.listed = ()
    with pytest.raises(OSError, match="the server failed: 550 File exists"):
        place.write("b/1.png", b"x")
