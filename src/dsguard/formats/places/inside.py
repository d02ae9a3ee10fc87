"""Files of a folder, written and removed in it and nowhere else, whoever else may write there.

Folders are opened one in another, and none through a link. What is then done in one is done there,
even if somebody has put a link in its place meanwhile. Windows has paths alone.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections import OrderedDict
from typing import TYPE_CHECKING

from dsguard._regular import BINARY, open_file
from dsguard.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

_FOLDER = getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0)
_HAS_FOLDERS = {os.open, os.mkdir, os.unlink, os.rename} <= os.supports_dir_fd
_MOST_OPEN = 32


def identity_of(status: os.stat_result) -> tuple[int, int]:
    """Return the numbers that no other file or folder of this machine has."""
    return status.st_dev, status.st_ino


class Folder:
    """An open folder.

    Parameters
    ----------
    path : str
    number : int or None
        Its descriptor; None where the platform opens no folders.
    """

    def __init__(self, path: str, number: int | None) -> None:
        self.path, self.number = path, number

    def close(self) -> None:
        """Close it, while somebody may still refer to it."""
        if self.number is not None:
            os.close(self.number)
            self.number = None

    __del__ = close

    def at(self, name: str) -> str:
        """Return the path of a file: from this folder on, where that is open."""
        return f"{self.path}/{name}" if self.number is None else name

    def inner(self, name: str, mode: int | None) -> Folder:
        """Open a folder in this one; make it, with `mode`, where it is not there."""
        path = f"{self.path}/{name}"
        if mode is not None:
            with contextlib.suppress(FileExistsError):
                os.mkdir(self.at(name), mode, dir_fd=self.number)
        if self.number is None:
            return Folder(path, None)
        return Folder(path, os.open(name, os.O_RDONLY | _FOLDER, dir_fd=self.number))

    def open(self, name: str) -> int:
        """Open a file of this folder for reading; it must not be a link."""
        return open_file(self.at(name), getattr(os, "O_NOFOLLOW", 0), self.number)

    def create(self, name: str, mode: int) -> int:
        """Open a new file of this folder for reading and writing."""
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | BINARY
        return os.open(self.at(name), flags, mode, dir_fd=self.number)

    def open_lock(self, name: str) -> int:
        """Open a file of this folder that is there to be locked; make it where it is not there."""
        flags = os.O_RDWR | os.O_CREAT | BINARY | getattr(os, "O_NOFOLLOW", 0)
        return os.open(self.at(name), flags, 0o600, dir_fd=self.number)

    def date(self, name: str, modified: int) -> None:
        """Set the date of a file of this folder, not of what a link leads to."""
        follow = os.utime not in os.supports_follow_symlinks  # Windows, where links are rare
        at, number = self.at(name), self.number
        if follow or (number is not None and os.utime not in os.supports_dir_fd):
            at, number = f"{self.path}/{name}", None
        os.utime(at, ns=(modified, modified), dir_fd=number, follow_symlinks=follow)

    def discard(self, name: str) -> None:
        """Remove a file of this folder, if it is there and no folder."""
        with contextlib.suppress(FileNotFoundError, IsADirectoryError):
            os.unlink(self.at(name), dir_fd=self.number)

    def clear(self, name: str) -> None:
        """Remove what is there of this name, with all that is in it; of a link only the link."""
        try:
            os.unlink(self.at(name), dir_fd=self.number)
        except (IsADirectoryError, PermissionError):  # the latter on some systems
            shutil.rmtree(self.at(name), ignore_errors=True, dir_fd=self.number)
        except FileNotFoundError:
            pass

    def identity_above(self) -> tuple[int, int] | None:
        """Return the identity of the folder that this one lies in, None if that is not known."""
        if self.number is None:
            return None
        return identity_of(os.stat("..", dir_fd=self.number))

    def take(self, other: Folder, name: str, new: str) -> None:
        """Move a file of another folder here."""
        os.replace(other.at(name), self.at(new), src_dir_fd=other.number, dst_dir_fd=self.number)


class Inside:
    """The folders below one that was given, which may be a link itself.

    Parameters
    ----------
    path : str
    follow : bool
        Whether it may be a link itself.
    """

    def __init__(self, path: str, *, follow: bool = True) -> None:
        self._path = path
        self._flags = getattr(os, "O_DIRECTORY", 0) if follow else _FOLDER
        self._open: OrderedDict[str, Folder] = OrderedDict()
        self._root: Folder | None = None
        self.identity: tuple[int, int] | None = None  # no other folder is taken for it, if known

    def hold(self, *, follow: bool = True) -> None:
        """Know the given folder from now on, whatever somebody puts in its place."""
        if _HAS_FOLDERS:
            if not follow:
                self._flags = _FOLDER
            root = self._rooted().number
            assert root is not None
            self.identity = identity_of(os.fstat(root))

    def _rooted(self) -> Folder:
        """Return the given folder, opened once."""
        if self._root is None:
            number = None
            if _HAS_FOLDERS:
                number = os.open(self._path, os.O_RDONLY | self._flags)
            root = Folder(self._path, number)
            known = self.identity
            if number is not None and known and identity_of(os.fstat(number)) != known:
                msg = f"{self._path} was replaced by another folder while it was written to"
                raise InputError(msg)
            self._root = root
        return self._root

    def folder(self, name: str, real: Callable[[str], str], mode: int | None = None) -> Folder:
        """Return a folder by its name, empty for the given one; make it where it is not there.

        Parameters
        ----------
        name : str
        real : callable
            Returns the name of a folder without links, for one that goes through some; raises where
            they lead out.
        mode : int, optional
            Of new folders; without it there are none.
        """
        if name in self._open:
            self._open.move_to_end(name)
            return self._open[name]
        self._open[name] = self._opened(real(name), mode)
        while len(self._open) > _MOST_OPEN:
            self._open.popitem(last=False)
        return self._open[name]

    def _opened(self, name: str, mode: int | None) -> Folder:
        if mode is not None:
            os.makedirs(self._path, mode, exist_ok=True)  # noqa: PTH103
        found = self._rooted()
        for part in filter(None, name.split("/")):
            if part == "..":
                msg = f"{name!r} leads out of {self._path}"
                raise InputError(msg)
            found = found.inner(part, mode)
        return found

    def forget(self) -> None:
        """Close all folders: some may not be there any more."""
        while self._open:
            self._open.popitem()[1].close()
        if self._root is not None:
            self._root.close()
            self._root = None
