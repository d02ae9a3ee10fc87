"""Folders of this machine, which nothing is written or read out of."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import itertools
import os
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

from dsguard._atomic import IGNORE, make_private, sync_disk
from dsguard._regular import open_file
from dsguard.errors import InputError
from dsguard.formats.limits import MOST_LOOSE, check_size
from dsguard.formats.names import (
    JOURNAL_FILES,
    SCRATCH,
    checked,
    is_hidden,
    is_temporary,
    leads_out,
    may_be_journal,
)
from dsguard.formats.places.base import Listing, Place
from dsguard.formats.places.hidden import may_be_data
from dsguard.formats.places.inside import Folder, Inside, identity_of
from dsguard.formats.places.spelling import Spelling

_AT_ONCE = 1 << 16
_NO_LINKS = getattr(os, "O_NOFOLLOW", 0)
_IS_LINK = (errno.ELOOP, errno.EMLINK)  # what `_NO_LINKS` gives; the latter on FreeBSD
_count = itertools.count()
_UNGUESSED = secrets.token_hex(8)  # nobody can lay a link where a file will be


@dataclass(frozen=True)
class LocalPlace(Place):
    """A folder of this machine. It may be a link; links in it must not lead out of it.

    Attributes
    ----------
    path : Path
    private : bool
        Whether only its owner can read it. Files are on the disk before they have their name.
    asked_for : str
        A file that somebody asked for by name: it may be a link to anywhere.
    """

    path: Path
    private: bool = False
    asked_for: str = ""

    def __str__(self) -> str:
        return str(self.path)

    def __reduce__(self) -> tuple[Any, ...]:
        known = self._inside.identity, self.__dict__.get("_spelling")
        return _place, (self.path, self.private, self.asked_for, *known)

    def listing(self) -> Listing:
        found, seen, left = Listing(), set[tuple[int, int]](), [""]
        while left:
            folder = left.pop()
            for entry in self._entries(folder, seen):
                name = f"{folder}{entry.name}"
                if self._sort_in(entry, name, found):
                    left.append(f"{name}/")
        return found.ordered()

    def _entries(self, folder: str, seen: set[tuple[int, int]]) -> list[os.DirEntry[str]]:
        """Return what is in a folder; refuse one that was met before, or there is no end."""
        path = f"{self.path}/{folder}".rstrip("/") or "/"
        here = identity_of(os.stat(path))  # noqa: PTH116 - no Path for a million names
        if here in seen:
            msg = f"{path} is a link to a folder met before; remove one of the two"
            raise InputError(msg)
        seen.add(here)
        try:
            with os.scandir(path) as entries:
                return list(entries)
        except OSError as error:
            msg = f"the folder {path} cannot be read: {error.strerror}"
            raise InputError(msg) from error

    def _sort_in(self, entry: os.DirEntry[str], name: str, found: Listing) -> bool:
        """Add an entry to what was found; tell whether it is a folder to look into."""
        if is_temporary(entry.name):
            found.leftovers.append(name)
        elif entry.is_symlink() and not os.path.exists(entry.path):  # noqa: PTH110
            found.files.append(name)  # it leads nowhere, or to itself, as whoever reads it says
        elif entry.is_file():  # through links; not a pipe, which has no end
            found.files.append(name)
        elif entry.is_dir() and not entry.name.startswith("."):
            if entry.is_symlink() and not self._holds(entry.path):
                found.refused[f"{name}/"] = self._leading_out(name)
            elif may_be_journal(entry.name) and _is_journal(entry.path):
                found.leftovers.append(name)
            else:
                return True
        return False

    @cached_property
    def _known(self) -> set[str]:
        """Folders that are no links which lead out."""
        return {""}

    @cached_property
    def _root(self) -> str:
        return os.path.realpath(self.path)

    def _holds(self, path: str) -> bool:
        """Tell whether that which a path leads to lies in this folder."""
        return self._is_in(os.path.realpath(path))

    def _is_in(self, real: str) -> bool:
        return real == self._root or real.startswith(os.path.join(self._root, ""))  # noqa: PTH118

    def _at(self, name: str) -> str:
        """Return the path of a file; refuse one in a folder that leads out."""
        folder = name.rpartition("/")[0]
        if folder not in self._known:
            self._check_folder(folder)
        return f"{self.path}/{name}"

    def _check_folder(self, folder: str) -> None:
        if leads_out(folder):
            raise self._leading_out(folder)
        above = ""
        for part in folder.split("/"):
            above = f"{above}/{part}" if above else part
            if above not in self._known:
                self._check_link(above)
                self._known.add(above)

    def _check_link(self, name: str) -> None:
        path = f"{self.path}/{name}"
        if name != self.asked_for and os.path.islink(path) and not self._holds(path):  # noqa: PTH114
            raise self._leading_out(name)

    def modified(self, name: str) -> int | None:
        try:
            return os.stat(self._at(name)).st_mtime_ns  # noqa: PTH116 - no Path for a million names
        except (InputError, OSError):
            return None

    def set_modified(self, name: str, date: int) -> None:
        folder, _, last = checked(name).rpartition("/")
        with contextlib.suppress(OSError, OverflowError):  # some disks have no such date
            self._folder(folder, make=False).date(last, date)

    def _leading_out(self, name: str) -> InputError:
        return InputError(
            f"{name!r} is a link that leads out of {self.path}; put what it leads to in its place "
            "(cp -rL), or give the folder that both lie in"
        )

    def _opened(self, name: str) -> int:
        folder, _, last = name.rpartition("/")
        if not _NO_LINKS:
            self._check_link(name)
        try:
            return self._folder(folder, make=False).open(last)
        except OSError as error:
            if error.errno not in _IS_LINK:
                raise
        if name == self.asked_for:
            return open_file(f"{self.path}/{name}")
        folder, _, last = self._real(name).rpartition("/")
        try:
            return self._inside.folder(folder, self._real).open(last)
        except OSError as error:  # which names where the link leads
            error.filename = f"{self.path}/{name}"
            raise

    def open(self, name: str) -> BinaryIO:
        file = self._opened(name)
        try:
            return os.fdopen(file, "rb", 1 << 18)
        except BaseException:
            os.close(file)
            raise

    def read(self, name: str) -> bytes:
        file = self._opened(name)  # small files, many of them
        try:
            data = os.read(file, _AT_ONCE)
            if len(data) < _AT_ONCE:
                return data
            check_size(os.fstat(file).st_size, MOST_LOOSE)
            with os.fdopen(file, "rb", closefd=False) as rest:
                return data + rest.read()
        finally:
            os.close(file)

    def exists(self, name: str) -> bool:
        return os.path.exists(self._at(name))  # noqa: PTH110 - no Path for a million names

    def has_file(self, name: str) -> bool:
        return os.path.isfile(self._at(name))  # noqa: PTH113

    @cached_property
    def _inside(self) -> Inside:
        return Inside(str(self.path), follow=not self.private)

    def _real(self, folder: str) -> str:
        """Return the name of a folder without the links in it, which must not lead out."""
        path = f"{self.path}/{folder}"
        if not folder or not os.path.lexists(path):
            return folder
        real = os.path.realpath(path)  # once: it may be another the next time
        if leads_out(folder) or not self._is_in(real):
            raise self._leading_out(folder)
        return os.path.relpath(real, self._root).replace(os.sep, "/")

    def _folder(self, name: str, *, make: bool = True) -> Folder:
        """Return a folder of this place; refuse one that leads out."""
        mode = 0o700 if self.private or name == SCRATCH else 0o777
        try:
            return self._inside.folder(name, self._real, mode if make else None)
        except OSError as error:
            if error.errno not in (*_IS_LINK, errno.ENOTDIR) or not self._is_link(name):
                raise
            raise self._leading_out(name) from error

    def _is_link(self, folder: str) -> bool:
        return os.path.realpath(f"{self.path}/{folder}") != os.path.join(self._root, folder)  # noqa: PTH118

    def write(self, name: str, data: bytes) -> None:
        checked(name)
        try:
            self._write(name, data)
        except FileNotFoundError:  # somebody has removed a folder meanwhile
            self._inside.forget()
            self._write(name, data)

    def _write(self, name: str, data: bytes) -> None:
        scratch, temporary = self._folder(SCRATCH), f"{os.getpid()}-{_UNGUESSED}-{next(_count)}"
        file = scratch.create(temporary, 0o600 if self.private else 0o666)
        try:
            try:
                while data:
                    data = data[os.write(file, data) :]
                if self.private:
                    os.fsync(file)
            finally:
                os.close(file)
            self.take(temporary, name)
        except BaseException:
            scratch.discard(temporary)
            raise

    def discard(self, name: str) -> None:
        folder, _, last = checked(name).rpartition("/")
        with contextlib.suppress(FileNotFoundError):
            self._folder(folder, make=False).discard(last)

    def new_file(self, name: str) -> BinaryIO:
        return os.fdopen(self._folder(SCRATCH).create(name, 0o666), "w+b", 1 << 18)

    def lock_file(self, name: str) -> BinaryIO:
        """Open the file of this folder that a run locks."""
        return os.fdopen(self._folder("").open_lock(name), "r+b")

    def hide_from_git(self) -> None:
        """Have git pass over this folder, also where all files of a repository are added."""
        with contextlib.suppress(FileExistsError):
            file = self._folder("").create(IGNORE, 0o600)
            try:
                os.write(file, b"*\n")
            finally:
                os.close(file)

    def show_to_git(self) -> None:
        """Undo `hide_from_git`."""
        with contextlib.suppress(FileNotFoundError):
            self._folder("").discard(IGNORE)

    def drop(self, name: str) -> None:
        self._folder(SCRATCH).discard(name)

    def take(self, file: str, name: str) -> None:
        folder, _, last = checked(name).rpartition("/")
        self._folder(folder).take(self._folder(SCRATCH), file, last)

    def scratch(self) -> Path:
        if self.private:
            make_private(self.path)
        folder = self.path / SCRATCH
        if folder.is_symlink():  # which was not made here
            folder.unlink()
        make_private(folder)
        return folder

    def clear(self, folder: str) -> None:
        self._clear(checked(folder))

    def clear_scratch(self) -> None:
        self._clear(SCRATCH)

    def _clear(self, name: str) -> None:
        self._inside.forget()  # it may be open
        folder, _, last = name.rpartition("/")
        with contextlib.suppress(FileNotFoundError):
            self._folder(folder, make=False).clear(last)

    def folded(self, name: str) -> str:
        return self._spelling.folded(name)

    @cached_property
    def _spelling(self) -> Spelling:
        """What is not told apart in names, looked at once for a run and all its workers."""
        return Spelling.of(self.nearest())

    def nearest(self) -> Path:
        """Return the folder itself, or the nearest above it that is there."""
        folders = (self.path, *real_path(self.path).parents)
        return next(folder for folder in folders if folder.exists())

    def lies_in(self, other: Place) -> bool:
        return isinstance(other, LocalPlace) and is_within(self.path, other.path)

    def lies_beside(self, other: LocalPlace) -> bool:
        """Tell whether two folders lie in one, and not only by their paths; both are held."""
        return self._folder("").identity_above() == other._folder("").identity_above()

    def sync(self) -> None:
        if self.path.exists():
            sync_disk(self.path)

    def hidden_files(self, found: Listing) -> list[str]:
        del found  # hidden folders were not looked into
        told: list[str] = []
        for folder, _, files in os.walk(self.path):
            above = os.path.relpath(folder, self.path).replace(os.sep, "/")
            names = (file if above == "." else f"{above}/{file}" for file in files)
            told += filter(may_be_data, names)
        return sorted(told)

    def hold(self) -> None:
        try:
            self.path.mkdir(0o700 if self.private else 0o777, parents=True)
        except FileExistsError:
            self._inside.hold()
        else:  # what was made here is no link, even if one is there by now
            self._inside.hold(follow=False)

    def release(self) -> None:
        self._inside.forget()

    def remove_if_empty(self) -> None:
        for folder, _, _ in os.walk(self.path, topdown=False):
            if not is_hidden(os.path.relpath(folder, self.path)):
                with contextlib.suppress(OSError):  # it has something in it
                    Path(folder).rmdir()

    def beside(self, suffix: str) -> LocalPlace:
        whole = real_path(self.path)
        if not whole.name:
            msg = f"{whole} has no name, and so nothing can lie beside it; give a folder in it"
            raise InputError(msg)
        return LocalPlace(whole.with_name(whole.name + suffix), private=True)

    def stamp(self, name: str) -> str:
        path = self._at(name)
        try:
            status = os.stat(path)  # noqa: PTH116 - no Path for a million names
        except OSError:
            status = os.lstat(path)  # a link that leads nowhere, or to itself
        # Archives without dates leave one date: what was unpacked over a file is told by the other.
        return f"{status.st_size}-{status.st_mtime_ns}-{status.st_ctime_ns}"

    def stamp_of_written(self, names: Iterable[str]) -> str:
        told = (f"{name} {_length_and_date(self._at(name))}\n" for name in sorted(names))
        return hashlib.sha256("".join(told).encode("utf-8", "surrogateescape")).hexdigest()


def _length_and_date(path: str) -> str:
    """Return what tells a file that was written from another; its permissions may change."""
    try:
        status = os.stat(path)  # noqa: PTH116 - no Path for a million names
    except OSError:
        return ""
    return f"{status.st_size}-{status.st_mtime_ns}"


def real_path(path: str | os.PathLike[str]) -> Path:
    """Return a path without the links in it, of a loop of links as well: `Path` raises there."""
    return Path(os.path.realpath(path))


def is_within(path: Path, folder: Path) -> bool:
    """Tell whether a path is a folder or leads into it.

    Paths of many spellings lead to one folder: links, mounts, other capitals on some disks.
    """
    real = real_path(path)
    if real.is_relative_to(real_path(folder)):
        return True
    try:
        wanted = identity_of(folder.stat())
    except OSError:  # it is not there, and nothing is in it
        return False
    return any(_identity(each) == wanted for each in (real, *real.parents))


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        return identity_of(path.stat())
    except OSError:
        return None


def _is_journal(path: str) -> bool:
    """Tell whether a folder with the ending of a journal is one."""
    return any(os.path.lexists(f"{path}/{file}") for file in JOURNAL_FILES)


def _place(
    path: Path,
    private: bool,
    asked_for: str,
    identity: tuple[int, int] | None,
    spelling: Spelling | None,
) -> LocalPlace:
    """Return a place in another process."""
    place = LocalPlace(path, private, asked_for)
    place._inside.identity = identity
    if spelling is not None:
        place.__dict__["_spelling"] = spelling
    return place
