"""Regular files, of folders that somebody else may have filled: nothing waits for a pipe."""

from __future__ import annotations

import errno
import os
import stat

from dsguard.errors import InputError

BINARY = getattr(os, "O_BINARY", 0)
"""The flag that Windows needs."""

_NO_WAITING = getattr(os, "O_NONBLOCK", 0)  # for somebody to write to a pipe


def open_file(path: str | os.PathLike[str], flags: int = 0, folder: int | None = None) -> int:
    """Open a file for reading; refuse a pipe, which nobody may ever write to.

    Raises
    ------
    InputError
        If it is a pipe or a device.
    OSError
        If it cannot be opened, or is a folder.
    """
    file = os.open(path, os.O_RDONLY | BINARY | _NO_WAITING | flags, dir_fd=folder)
    mode = os.fstat(file).st_mode
    if stat.S_ISREG(mode):
        return file
    os.close(file)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    msg = f"{path} is no file, but a pipe or a device; remove it"
    raise InputError(msg)


def read_file(path: str | os.PathLike[str], most: int = -1) -> bytes:
    """Return a file, or its first bytes; errors are those of `open_file`."""
    with os.fdopen(open_file(path), "rb") as opened:
        return opened.read(most)
