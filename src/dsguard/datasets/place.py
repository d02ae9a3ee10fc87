"""Where datasets lie: a local folder or file, or what fsspec opens (``s3://``, ``hf://``, …)."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, cast
from urllib.request import url2pathname

from dsguard.errors import InputError, MissingExtraError

SCRATCH = ".dsguard-tmp"
"""Folder of a destination for what is not whole yet; a run begins and ends by removing it."""

_AT_ONCE = 1 << 16
_BINARY = getattr(os, "O_BINARY", 0)


class Place(ABC):
    """A folder, and the files under it by relative name with ``/``."""

    @abstractmethod
    def __str__(self) -> str: ...

    @abstractmethod
    def files(self) -> list[str]:
        """Return the names of all files at any depth, sorted; hidden folders are passed over."""

    @abstractmethod
    def open(self, name: str) -> BinaryIO:
        """Open a file for reading, in any order."""

    @abstractmethod
    def exists(self, name: str) -> bool:
        """Tell whether there is such a file or folder."""

    @abstractmethod
    def write(self, name: str, data: bytes) -> None:
        """Write a file whole or not at all, over what may be there."""

    @abstractmethod
    def discard(self, name: str) -> None:
        """Remove a file."""

    def remove_if_empty(self) -> None:  # noqa: B027 - some have no empty folders
        """Remove the folders where nothing is in them, this one as well; hidden ones stay."""

    def discard_all(self) -> None:
        """Remove all files that `files` has, and what is left empty by that."""
        for name in self.files() if self.exists("") else ():
            self.discard(name)
        self.remove_if_empty()

    @abstractmethod
    def clear(self, folder: str) -> None:
        """Remove a folder in this one with all that is in it."""

    @abstractmethod
    def take(self, path: Path, name: str) -> None:
        """Move a file of the scratch folder here, whole or not at all."""

    @abstractmethod
    def scratch(self) -> Path:
        """Return a local folder for files on their way here."""

    @abstractmethod
    def clear_scratch(self) -> None:
        """Remove the scratch folder."""

    @abstractmethod
    def beside(self, suffix: str) -> Place:
        """Return the place whose name is that of this one and `suffix`."""

    def read(self, name: str) -> bytes:
        """Return the content of a file."""
        with self.open(name) as file:
            return file.read()

    def stamp(self, name: str) -> str:
        """Return what changes when the file does, as far as can be told without reading it."""
        with self.open(name) as file:
            return str(file.seek(0, os.SEEK_END))


@dataclass(frozen=True)
class LocalPlace(Place):
    """A folder of this machine."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)

    def files(self) -> list[str]:
        root = str(self.path)
        return sorted(name[len(root) + 1 :].replace(os.sep, "/") for name in _walk(root, set()))

    def open(self, name: str) -> BinaryIO:
        return (self.path / name).open("rb", buffering=1 << 18)

    def read(self, name: str) -> bytes:
        file = os.open(f"{self.path}/{name}", os.O_RDONLY | _BINARY)  # small files, many of them
        try:
            data = os.read(file, _AT_ONCE)
            if len(data) < _AT_ONCE:
                return data
        finally:
            os.close(file)
        return (self.path / name).read_bytes()

    def exists(self, name: str) -> bool:
        return (self.path / name).exists()

    def write(self, name: str, data: bytes) -> None:
        final = f"{self.path}/{name}"
        temporary = f"{self.path}/{SCRATCH}/{os.getpid()}-{next(_count)}"
        try:
            _put(temporary, final, data)
        except FileNotFoundError:  # a folder is missing, as it is for the first file in it
            self.scratch()
            Path(final).parent.mkdir(parents=True, exist_ok=True)
            _put(temporary, final, data)

    def discard(self, name: str) -> None:
        (self.path / name).unlink(missing_ok=True)

    def take(self, path: Path, name: str) -> None:
        final = self.path / name
        final.parent.mkdir(parents=True, exist_ok=True)
        path.replace(final)

    def scratch(self) -> Path:
        folder = self.path / SCRATCH
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def clear(self, folder: str) -> None:
        shutil.rmtree(self.path / folder, ignore_errors=True)

    def clear_scratch(self) -> None:
        self.clear(SCRATCH)

    def remove_if_empty(self) -> None:
        for folder, _, _ in os.walk(self.path, topdown=False):
            if not is_hidden(os.path.relpath(folder, self.path)):
                with contextlib.suppress(OSError):  # it has something in it
                    Path(folder).rmdir()

    def beside(self, suffix: str) -> LocalPlace:
        whole = self.path.resolve()
        return LocalPlace(whole.with_name(whole.name + suffix))

    def stamp(self, name: str) -> str:
        try:
            status = os.stat(f"{self.path}/{name}")  # noqa: PTH116 - no Path for a million names
        except FileNotFoundError:
            status = os.lstat(f"{self.path}/{name}")  # a link that leads nowhere
        return f"{status.st_size}-{status.st_mtime_ns}"


@dataclass(frozen=True)
class RemotePlace(Place):
    """A folder that fsspec reaches."""

    url: str

    def __str__(self) -> str:
        return self.url

    @cached_property
    def _opened(self) -> tuple[Any, str]:
        try:
            import fsspec
        except ImportError:
            raise MissingExtraError.of(package="fsspec", extra="remote") from None
        try:
            system, path = fsspec.core.url_to_fs(self.url)
        except (ImportError, ValueError) as error:
            msg = f"{self.url} cannot be reached: {error}"
            raise InputError(msg) from error
        return system, path.rstrip("/")

    def __reduce__(self) -> tuple[type[RemotePlace], tuple[str]]:
        return type(self), (self.url,)

    def _at(self, name: str) -> str:
        return f"{self._opened[1]}/{name}" if name else self._opened[1]

    def _with_folder(self, name: str) -> str:
        """Return where a file is to lie, in a folder that is there."""
        path = self._at(name)
        self._opened[0].makedirs(str(PurePosixPath(path).parent), exist_ok=True)
        return path

    def files(self) -> list[str]:
        system, root = self._opened
        found = (path[len(root) :].lstrip("/") for path in system.find(root))
        folders = ((name, name.rpartition("/")[0]) for name in found)
        return sorted(
            name
            for name, folder in folders
            if not is_hidden(folder) and not any(map(is_journal, folder.split("/")))
        )

    def open(self, name: str) -> BinaryIO:
        return cast("BinaryIO", self._opened[0].open(self._at(name), "rb"))

    def exists(self, name: str) -> bool:
        return bool(self._opened[0].exists(self._at(name)))

    def stamp(self, name: str) -> str:
        return str(self._opened[0].ukey(self._at(name)))

    def write(self, name: str, data: bytes) -> None:
        self._opened[0].pipe_file(self._with_folder(name), data)

    def discard(self, name: str) -> None:
        self._opened[0].rm_file(self._at(name))

    def clear(self, folder: str) -> None:
        if self.exists(folder):
            self._opened[0].rm(self._at(folder), recursive=True)

    def take(self, path: Path, name: str) -> None:
        self._opened[0].put_file(str(path), self._with_folder(name))
        path.unlink()

    def scratch(self) -> Path:
        folder = Path(tempfile.gettempdir(), f"dsguard-{os.getuid()}")
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder

    def clear_scratch(self) -> None:
        """Leave it: other runs may be using it, and each removes its own files."""

    def beside(self, suffix: str) -> RemotePlace:
        return RemotePlace(self.url.rstrip("/") + suffix)


_count = itertools.count()


def _put(temporary: str, final: str, data: bytes) -> None:
    """Write a file under one name and give it the other; leave nothing where that fails."""
    file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | _BINARY, 0o666)
    try:
        try:
            while data:
                data = data[os.write(file, data) :]
        finally:
            os.close(file)
        os.replace(temporary, final)  # noqa: PTH105 - no Path for a million names
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def place_of(location: str | os.PathLike[str]) -> Place:
    """Return the place at a local path or URL."""
    text = local_path(location)
    return RemotePlace(text) if is_url(text) else LocalPlace(Path(text))


def local_path(location: str | os.PathLike[str]) -> str:
    """Return a ``file://`` URL as the path that it is, anything else unchanged."""
    text = os.fspath(location)
    for start in ("file://", "local://"):
        if text.startswith(start):
            return url2pathname(text.removeprefix(start))
    return text


def is_url(location: str | os.PathLike[str]) -> bool:
    """Tell whether this is a URL, for fsspec."""
    return "://" in os.fspath(location)


def _walk(folder: str, seen: set[tuple[int, int]]) -> Iterator[str]:
    """Yield the paths of all regular files; links are followed, but not in circles."""
    status = os.stat(folder)  # noqa: PTH116 - no Path for a million names
    here = (status.st_dev, status.st_ino)
    if here in seen:
        msg = f"{folder} is a link to a folder met before; remove one of the two"
        raise InputError(msg)
    seen.add(here)
    try:
        entries = list(os.scandir(folder))
    except OSError as error:
        msg = f"the folder {folder} cannot be read: {error.strerror}"
        raise InputError(msg) from error
    for entry in entries:
        if entry.is_file():  # through links; not a pipe, which has no end
            yield entry.path
        elif entry.is_symlink() and not os.path.exists(entry.path):  # noqa: PTH110
            yield entry.path  # whoever reads it says that it leads nowhere
        elif entry.is_dir() and not entry.name.startswith(".") and not is_journal(entry.name):
            yield from _walk(entry.path, seen)


JOURNAL = ".dsguard"
"""What the folder with the journal of a run ends with."""


def is_journal(folder: str) -> bool:
    """Tell whether a folder is a journal, which is never part of a dataset."""
    return folder.endswith(JOURNAL) and folder != JOURNAL


def is_hidden(name: str) -> bool:
    """Tell whether a file, or a folder that it lies in, is hidden."""
    if "/." not in f"/{name}":
        return False
    return any(part.startswith(".") and part not in (".", "..") for part in name.split("/"))
