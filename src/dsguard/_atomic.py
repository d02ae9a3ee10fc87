"""Files that are written whole or not at all, and that a power cut leaves whole as well."""

from __future__ import annotations

import codecs
import contextlib
import ctypes
import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import IO, Any, BinaryIO

from dsguard._published import check_unpublished
from dsguard.errors import FileThereError, FormatError, InputError

MOST_TEXT = 1 << 20
"""Bytes of a small text file, such as one with a key."""

_NO_BYTE = (
    1 << 43
)  # no file of a run is as long: who reads a byte that Windows has locked gets an error

_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",  # before the next, which it begins with
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def read_text(path: Path) -> str:
    """Read a small text file as any editor stores it: UTF-8, or what its first bytes say.

    Raises
    ------
    FormatError
        If it is no text, or large.
    """
    with path.open("rb") as file:
        data = file.read(MOST_TEXT + 1)
    if len(data) > MOST_TEXT:
        msg = f"{path} is larger than any text file that is read here"
        raise FormatError(msg)
    text = text_in(data)
    if text is None:
        msg = f"{path} is no text in UTF-8; save it as UTF-8, or give another file"
        raise FormatError(msg)
    return text


def text_in(data: bytes) -> str | None:
    """Return text in UTF-8, or in the encoding that its mark says; None where it is none."""
    coding = next((name for mark, name in _MARKS.items() if data.startswith(mark)), "utf-8")
    try:
        text = data.decode(coding)
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text  # as in UTF-16 without its mark


@contextlib.contextmanager
def write_whole(path: Path, *, private: bool = False) -> Iterator[BinaryIO]:
    """Open a file for writing that appears under its name only once it is complete.

    The bytes go to a temporary name in the same folder, which is renamed on success and removed on
    any error. Folders are made as needed. A `private` file is one that only its owner can read; it
    lies in no folder that is published.

    Raises
    ------
    InputError
        If a `private` file would lie in one.
    """
    if private:
        check_unpublished(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary(path)
    try:
        with open_new(temporary, 0o600 if private else 0o666) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)  # noqa: PTH105 - the atomic rename, whatever lies there
        sync_folder(path.parent)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)  # a full disk does not say of which file
        raise


def write_new(path: Path, data: bytes) -> None:
    """Write a file that only its owner can read, whole or not at all; it must not exist.

    Raises
    ------
    FileThereError
        If there is something at `path`.
    InputError
        If it would lie in a folder that is published.
    """
    check_unpublished(path)
    try:
        file = open_new(path, 0o600)
    except FileExistsError as error:
        msg = f"there is something at {path}, and it is kept; choose another path, or move it away"
        raise FileThereError(msg) from error
    try:
        with file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        sync_folder(path.parent)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


IGNORE = ".gitignore"
"""Where git looks for what it is to pass over."""


def open_new(path: Path, mode: int) -> BinaryIO:
    """Open a new file for writing, with these permissions less those that the umask takes."""
    binary = getattr(os, "O_BINARY", 0)
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | binary, mode), "wb")


def make_private(folder: Path) -> None:
    """Make a folder that only its owner can look into; one of theirs that is there becomes so.

    Raises
    ------
    OSError
        If it is a link, whose owner might not be theirs.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if sys.platform == "win32":
        return
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        with contextlib.suppress(PermissionError):  # of somebody else, who lets us write there
            os.fchmod(opened, 0o700)
    finally:
        os.close(opened)


def temporary_folder() -> Path:
    """Return a folder for temporary files that only their owner can look into.

    Raises
    ------
    TemporaryFilesError
        If somebody else has made it, or nothing but the current folder can be written; or if it
        lies in what is published: a killed run would leave clean images there.
    """
    user = getattr(os, "getuid", lambda: "user")()
    try:
        above = Path(tempfile.gettempdir())
    except FileNotFoundError as error:  # not even the current folder
        raise TemporaryFilesError(_NO_FOLDER) from error
    named = [Path(each) for each in map(os.environ.get, _TEMPORARY) if each]
    is_named = any(each.exists() and each.samefile(above) for each in named)
    if above.samefile(os.curdir) and not is_named:
        raise TemporaryFilesError(_NO_FOLDER)  # what lies in the current folder may be published
    try:
        check_unpublished(above, "folder for temporary files (TMPDIR)")
    except InputError as error:
        raise TemporaryFilesError(error.message) from error
    folder = above / f"dsguard-{user}"
    with temporary_writing(folder):
        folder.mkdir(mode=0o700, exist_ok=True)
    if os.name == "posix" and (folder.is_symlink() or folder.lstat().st_uid != user):
        msg = f"{folder} was made by another user; set TMPDIR to a folder of your own"
        raise TemporaryFilesError(msg)
    with temporary_writing(folder):
        make_private(folder)
    return folder


class TemporaryFilesError(InputError):
    """Temporary files cannot be written; nothing is wrong with what was read."""


@contextlib.contextmanager
def temporary_writing(folder: Path) -> Iterator[None]:
    """Have it told of the folder for temporary files, where it cannot be written to."""
    try:
        yield
    except OSError as error:
        msg = (
            f"temporary files cannot be written to {folder}: {error.strerror or error}; make room "
            "there, or set TMPDIR to another folder"
        )
        raise TemporaryFilesError(msg) from error


_NO_FOLDER = (
    "no folder for temporary files can be written: TMPDIR, /tmp and the like are full, or "
    "read-only; set TMPDIR to another folder"
)


_TEMPORARY = ("TMPDIR", "TEMP", "TMP")
"""Variables that name the folder for temporary files."""


@contextlib.contextmanager
def temporary_subfolder(kind: str) -> Iterator[Path]:
    """Make a folder for temporary files; those of this kind that killed runs have left go."""
    above = temporary_folder()
    for path in _left(above, f"{kind}-*/lock"):
        shutil.rmtree(path.parent, ignore_errors=True)
    with (
        tempfile.TemporaryDirectory(prefix=f"{kind}-", dir=above) as name,
        open_new(Path(name, "lock"), 0o600) as file,
    ):
        lock(file)
        yield Path(name)


def remove_left(folder: Path, pattern: str) -> None:
    """Remove files that no process has locked: killed runs have left them."""
    for path in _left(folder, pattern):
        with contextlib.suppress(OSError):
            path.unlink()


def _left(folder: Path, pattern: str) -> Iterator[Path]:
    """Yield files that no process has locked; each is locked until the next is asked for."""
    for path in folder.glob(pattern):
        with contextlib.suppress(OSError), path.open("rb") as file:
            if lock(file):
                yield path


def sync_folder(folder: str | os.PathLike[str]) -> None:
    """Have the names of the files in a folder reach the disk, where the platform can do that."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some file systems have no such thing for folders
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_disk(folder: str | os.PathLike[str]) -> None:
    """Have all that was written to the file system of a folder reach the disk.

    For many small files this takes a tenth of the time that `os.fsync` of each would.

    Raises
    ------
    OSError
        If the disk has lost some of it.
    """
    syncfs = _syncfs()
    if syncfs is None:
        getattr(os, "sync", lambda: None)()
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        if syncfs(descriptor):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), os.fspath(folder))
    finally:
        os.close(descriptor)


@lru_cache(maxsize=1)
def _syncfs() -> Callable[[int], int] | None:
    """Return the function of Linux that syncs one file system, None elsewhere."""
    try:
        function: Callable[[int], int] = ctypes.CDLL(None, use_errno=True).syncfs
    except (AttributeError, OSError, TypeError):
        return None
    return function


def lock(file: IO[Any]) -> bool:
    """Lock a file for as long as it is open, and tell whether nobody else has.

    The lock ends with the process, however that ends. Where the file system has none, it is none.
    """
    try:
        lock_or_raise(file)
    except OSError:
        return False
    return True


def lock_or_raise(file: IO[Any]) -> None:
    """Lock a file for as long as it is open.

    Raises
    ------
    BlockingIOError, PermissionError
        If somebody else has locked it.
    OSError
        If its file system has no locks.
    """
    number = file.fileno()
    if sys.platform == "win32":
        import msvcrt

        at = os.lseek(number, 0, os.SEEK_CUR)
        os.lseek(number, _NO_BYTE, os.SEEK_SET)
        try:
            msvcrt.locking(number, msvcrt.LK_NBLCK, 1)
        finally:
            os.lseek(number, at, os.SEEK_SET)
    else:
        import fcntl

        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _temporary(path: Path) -> Path:
    """Return a new name beside `path`, short: the name itself may be as long as names can be."""
    return path.with_name(f".dsguard-{secrets.token_hex(8)}.tmp")
