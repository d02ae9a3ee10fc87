"""Files and folders that nobody else can read, whatever the umask is and whatever was there."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from pathlib import Path
from typing import BinaryIO

from dsguard._atomic import IGNORE, open_new
from dsguard.errors import InputError

_OURS = ("master.key", "dmcp.sqlite", "jobs")
JOB_FILE = re.compile(r"[0-9a-f]{32}\.(in|out|part)")
"""Files of jobs."""
_BESIDE = ("", "-wal", "-shm", "-journal")
"""Endings of the files of an SQLite database."""


def make_folder(folder: Path) -> None:
    """Make the folder of a service, or close one that was there, and what is the service's in it.

    Raises
    ------
    InputError
        If it is somebody else's, or others can write there, or it holds other things.
    """
    there = folder.exists()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if sys.platform == "win32":
        return
    if folder.is_symlink() and folder.lstat().st_uid != os.geteuid():
        msg = f"{folder} is a link that another user has made; give the folder itself"
        raise InputError(msg)
    own = [folder / name for name in (*_OURS, "owner.token")]
    for path in own:
        if path.is_symlink():
            msg = f"{path} is a link, and the service would write there; remove it"
            raise InputError(msg)
    jobs = folder / "jobs"
    names = {path.name for path in folder.iterdir()} - {IGNORE} if there else set()
    inside = {path.name for path in jobs.iterdir()} if jobs.is_dir() else set()
    foreign = sorted(name for name in inside if not JOB_FILE.fullmatch(name))
    if foreign or (names and names.isdisjoint(_OURS)):
        msg = (
            f"{folder} holds other things, such as {(foreign or sorted(names))[0]}; give the "
            "service a folder of its own"
        )
        raise InputError(msg)
    _close(folder, 0o700)
    with contextlib.suppress(FileExistsError), open_new(folder / IGNORE, 0o600) as file:
        file.write(b"*\n")  # whoever adds all files of a repository adds no key of the service
    for path in (*own, folder / IGNORE, *jobs.glob("*")):
        if path.exists() and not path.is_symlink():
            _close(path, 0o700 if path.is_dir() else 0o600)


def make_database(path: Path) -> None:
    """Make the file of an SQLite database, or close one that was there and what lies beside it.

    SQLite gives the files beside it the mode of the database.

    Raises
    ------
    InputError
        If one is somebody else's, or others can write to it.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not path.exists():
        new_file(path).close()
    for ending in _BESIDE:
        if (beside := path.with_name(path.name + ending)).exists():
            _close(beside, 0o600)


def new_file(path: Path) -> BinaryIO:
    """Open a new file to write and read that nobody else can read."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    return os.fdopen(os.open(path, flags, 0o600), "w+b")


def _close(path: Path, mode: int) -> None:
    """Close a file or folder to others, one of whom could have made it to know its content.

    What they could write to stays as it is: accounts or a master key of theirs may be in it.
    """
    if sys.platform == "win32":
        return
    status = path.stat()
    if status.st_uid != os.geteuid():
        msg = (
            f"{path} belongs to another user, who can read and change it; make it the user's who "
            "runs the service (chown), or give another folder"
        )
        raise InputError(msg)
    if status.st_mode & 0o022:
        msg = (
            f"others can write to {path}, and could have put accounts or a master key of theirs "
            "there; give another folder, or, if you trust all of them, close it first: chmod go-w"
        )
        raise InputError(msg)
    if not status.st_mode & 0o077:
        return
    try:
        path.chmod(mode)
    except OSError as error:
        msg = (
            f"others can read {path}, and it cannot be closed to them: {error.strerror}; make it "
            "the user's who runs the service"
        )
        raise InputError(msg) from None
