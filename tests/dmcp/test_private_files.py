"""Where the platform keeps things: nobody else reads them, and odd key files are told plainly."""

from __future__ import annotations

import codecs
import os
import sqlite3
import stat
from pathlib import Path

import httpx
import pytest

from dsguard.dmcp import private_files
from dsguard.dmcp.secret_text import text_of
from dsguard.dmcp.settings import Settings
from dsguard.dmcp.state import Platform
from dsguard.dmcp.vault import read_master_key
from dsguard.errors import InputError
from tests.dmcp.service import running

pytestmark = pytest.mark.skipif(os.name != "posix", reason="modes are of POSIX")


def modes(folder: Path) -> dict[str, int]:
    return {
        str(path.relative_to(folder.parent)): stat.S_IMODE(path.stat().st_mode)
        for path in (folder, *folder.rglob("*"))
    }


@pytest.fixture
def open_umask():
    before = os.umask(0)
    yield
    os.umask(before)


def test_nobody_else_reads_a_new_folder(tmp_path, open_umask):
    with running(tmp_path / "service") as server:
        with server.client(server.owner_token) as owner:
            owner.deposit("d")
        found = modes(server.folder)
        assert {"service/dmcp.sqlite", "service/dmcp.sqlite-wal", "service/owner.token"} <= set(
            found
        )
        assert {mode & 0o077 for mode in found.values()} == {0}


def test_a_folder_that_was_open_is_closed(tmp_path, open_umask):
    folder = tmp_path / "service"
    with running(folder) as server:
        with server.client(server.owner_token) as owner:
            owner.deposit("d")
        server.kill()
        assert (folder / "dmcp.sqlite-wal").exists()
        (folder / "jobs" / f"{'1' * 32}.part").touch()
        (folder / "jobs" / f"{'0' * 32}.out").touch()
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
        shown = server.operate("audit", "verify")  # the commands do so as well
        assert "all good" in shown.stdout
        assert {mode & 0o077 for mode in modes(folder).values() if mode & 0o100 == 0} == {0}
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
        server.start()
        assert httpx.get(f"{server.url}/readyz").status_code == 200
        assert {mode & 0o077 for mode in modes(folder).values()} == {0}


def test_an_empty_folder_and_a_database_elsewhere_are_closed(tmp_path, open_umask):
    folder, path = tmp_path / "service", tmp_path / "other" / "d.sqlite"
    folder.mkdir(mode=0o755)
    path.parent.mkdir()
    sqlite3.connect(path).close()
    path.chmod(0o644)
    Path(f"{path}-journal").touch(mode=0o644)
    Settings(folder=folder, database=f"sqlite:///{path}").make_folder()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()} == {0o600}


def test_a_folder_of_other_things_is_left_alone(tmp_path):
    tmp_path.chmod(0o755)
    (tmp_path / "holiday.txt").write_text("x")
    with pytest.raises(InputError, match="a folder of its own"):
        Settings(folder=tmp_path).make_folder()
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755
    tmp_path.chmod(0o700)
    (tmp_path / "holiday.txt").chmod(0o755)
    with pytest.raises(InputError, match="a folder of its own"):
        Settings(folder=tmp_path).make_folder()
    assert stat.S_IMODE((tmp_path / "holiday.txt").stat().st_mode) == 0o755


def test_what_cannot_be_closed_is_told(tmp_path, monkeypatch):
    folder = tmp_path / "service"
    folder.mkdir(mode=0o755)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "chmod", refuse)
    with pytest.raises(InputError, match="cannot be closed to them: Operation not permitted"):
        private_files.make_folder(folder)


@pytest.mark.parametrize("name", ["", "master.key", "jobs", "dmcp.sqlite"])
def test_a_place_that_somebody_else_has_made_is_refused(tmp_path, monkeypatch, name):
    """Who has made the master key knows it, and with it all keys of the service."""
    folder = tmp_path / "service"
    settings = Settings(folder=folder)
    settings.make_folder()
    with (folder / "master.key").open("x") as file:
        file.write("00" * 32)
    (folder / "jobs").mkdir(exist_ok=True)
    real = Path.stat

    def strange(self, **more):
        status = real(self, **more)
        return os.stat_result((*status[:4], os.geteuid() + 1, *status[5:]))

    own = real(folder / name)
    monkeypatch.setattr(
        Path,
        "stat",
        lambda self, **more: (strange if os.path.samestat(real(self), own) else real)(self, **more),
    )
    with pytest.raises(InputError, match="belongs to another user"):
        settings.make_folder()


@pytest.mark.parametrize("mode", [0o020, 0o002])
@pytest.mark.parametrize(
    "name", ["", "master.key", "jobs", "dmcp.sqlite", "dmcp.sqlite-wal", f"jobs/{'0' * 32}.out"]
)
def test_what_others_could_write_to_is_refused(tmp_path, name, mode):
    """They could have put accounts there, or a trigger of SQLite that grants them all keys."""
    folder = tmp_path / "service"
    settings = Settings(folder=folder)
    settings.make_folder()
    path = folder / name
    if path.parent.name == "jobs" or name == "jobs":
        (folder / "jobs").mkdir()
    if not path.is_dir():
        path.touch()
    open_to_others = stat.S_IMODE(path.stat().st_mode) | mode
    path.chmod(open_to_others)
    with pytest.raises(InputError, match=f"others can write to .*{path.name}, .*chmod go-w"):
        settings.make_folder()
    assert stat.S_IMODE(path.stat().st_mode) == open_to_others
    path.chmod(open_to_others & ~0o022)
    settings.make_folder()


@pytest.mark.parametrize("ending", ["", "-wal", "-journal"])
def test_a_database_elsewhere_that_others_could_write_to_is_refused(tmp_path, ending):
    path = tmp_path / "other" / "d.sqlite"
    path.parent.mkdir()
    for each in {path, Path(f"{path}{ending}")}:
        each.touch(mode=0o600)
    Path(f"{path}{ending}").chmod(0o620)
    with pytest.raises(InputError, match="others can write to"):
        Settings(folder=tmp_path / "service", database=f"sqlite:///{path}").make_folder()


def test_the_token_of_the_first_owner_is_in_no_log(tmp_path):
    with running(tmp_path / "service") as server:
        path = server.folder / "owner.token"
        assert server.owner_token.startswith("dsg_")
        server.stop()
        log = "".join(server.log)
        assert str(path) in log
        assert "dsg_" not in log
        server.start()  # there is an owner: no other token is made
        assert path.read_text().strip() == server.owner_token


def test_an_owner_is_made_only_with_a_token_that_is_kept(tmp_path):
    from dsguard.dmcp.admin import first_owner

    platform = Platform(Settings(folder=tmp_path / "service"))
    try:
        path = tmp_path / "service" / "owner.token"
        path.mkdir()
        with pytest.raises(OSError, match=r"owner\.token"):
            first_owner(platform)
        path.rmdir()
        path.write_text("of a database that is gone")
        assert first_owner(platform) == path
        assert path.read_text().startswith("dsg_")
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    finally:
        platform.workers.stop()
        platform.engine.dispose()


HEX = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    "data",
    [
        HEX.encode(),
        f"{HEX}\n".encode(),
        f"\r\n\n {HEX.upper()} \r\n\n".encode(),
        codecs.BOM_UTF8 + HEX.encode(),
        codecs.BOM_UTF16_LE + f"{HEX}\r\n".encode("utf-16-le"),
        codecs.BOM_UTF16_BE + f"\n{HEX}".encode("utf-16-be"),
    ],
    ids=["plain", "line", "blanks", "utf-8", "utf-16-le", "utf-16-be"],
)
def test_master_keys_of_any_editor_are_read(tmp_path, data):
    (tmp_path / "plain").write_text(HEX)
    (tmp_path / "key").write_bytes(data)
    found, plain = (read_master_key(tmp_path / name) for name in ("key", "plain"))
    found._jobs = plain._jobs = bytes(32)
    assert found._wrapping == plain._wrapping


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (HEX.encode("utf-16-le"), "not plain text"),
        (b"\xff\xfe\x00", "not plain text"),
        (b"\x80\x81", "not plain text"),
        (b"", "64 hexadecimal digits"),
        (b"hello", "64 hexadecimal digits"),
        (HEX[:62].encode(), "64 hexadecimal digits"),
    ],
)
def test_what_is_no_master_key_is_told(tmp_path, data, told):
    (tmp_path / "key").write_bytes(data)
    with pytest.raises(InputError, match=told):
        read_master_key(tmp_path / "key")


def test_texts_lose_what_editors_add():
    assert text_of(b" \n\n x y \r\n\n", "it") == "x y"


def test_text_beside_images_takes_no_name_from_them():
    from dsguard.dmcp.bodies import _unlike
    from dsguard.dmcp.restoring import Upload

    sent = ["c/6.txt", "c/6.png", "c/6.json", "c/6.jpg", "README.md", *["a.txt"] * 3, *["b"] * 3]
    names = [image.name for image in _unlike(iter(Upload(name, b"", "") for name in sent))]
    own = ["c/6.txt", "c/6.png", "c/6.json", "c/6.2.png", "README.md"]
    assert names == [*own, "a.txt", "a.2.txt", "a.3.txt", "b", "b.2.png", "b.3.png"]


@pytest.mark.parametrize("mode", [0o700, 0o755])
@pytest.mark.parametrize("name", ["jobs/application.pdf", "notes.txt", "jobs/notes.part"])
def test_a_folder_of_somebody_is_none_of_the_service(tmp_path, mode, name):
    folder = tmp_path / "mine"
    (folder / name).parent.mkdir(parents=True)
    (folder / name).write_bytes(b"precious")
    folder.chmod(mode)
    with pytest.raises(InputError, match="holds other things"):
        Settings(folder=folder).make_folder()
    assert (folder / name).read_bytes() == b"precious"
    assert folder.stat().st_mode & 0o777 == mode


@pytest.mark.parametrize("name", ["jobs", "dmcp.sqlite", "master.key", "owner.token"])
def test_links_in_a_folder_of_the_service_are_refused(tmp_path, name):
    folder, other = tmp_path / "dmcp", tmp_path / "other"
    folder.mkdir()
    other.mkdir()
    (folder / name).symlink_to(other)
    with pytest.raises(InputError, match="is a link"):
        Settings(folder=folder).make_folder()
    assert not list(other.iterdir())
