"""Folders that fsspec reaches (``s3://``, ``hf://``, ...)."""

from __future__ import annotations

import contextlib
import errno
import os
import posixpath
import secrets
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cached_property, partial, wraps
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, ParamSpec, TypeVar, cast
from weakref import ref

from dsguard._atomic import remove_left, temporary_folder
from dsguard.errors import DsguardError, InputError, MissingExtraError
from dsguard.formats.names import (
    checked,
    is_hidden,
    is_temporary,
    journals_among,
    leads_out_of_url,
    lies_in,
)
from dsguard.formats.places import addresses, http
from dsguard.formats.places.base import Listing, Place
from dsguard.formats.places.schemes import check_schemes, without_password
from dsguard.formats.places.stamps import stamp_in
from dsguard.formats.places.walked import is_walked, walked

_Given = ParamSpec("_Given")
_Result = TypeVar("_Result")

_PARTS_OF_ROOT = {"memory": 0, "hf": 2, "smb": 2}
"""How many parts of a path name a bucket, server, share or repository, where it is not one."""

_BUCKETS = frozenset({"abfs", "abfss", "az", "gcs", "gs", "oss", "s3", "s3a"})
"""Stores whose folders are parts of names: to make one would make a bucket, of a mistyped name."""

_PORTS = {"FTPFileSystem": 21, "SFTPFileSystem": 22, "SMBFileSystem": 445}
"""Those that a URL need not name."""

_NOT_FOUND = 404

_KINDS_OF_HUB = ("buckets", "datasets", "spaces")


def _telling(use: Callable[_Given, _Result]) -> Callable[_Given, _Result]:
    """Return what uses a store, with OSError for whatever its library raises, as that of FTP."""

    @wraps(use)
    def told(*args: _Given.args, **kwargs: _Given.kwargs) -> _Result:
        try:
            return use(*args, **kwargs)
        except (OSError, DsguardError):
            raise
        except Exception as error:
            raise _failed(error) from error

    return told


def _failed(error: BaseException) -> OSError:
    """Return what a library raised as an error of files: a refusal lasts, a failure may not."""
    told = f"the server failed: {str(error) or type(error).__name__}"
    refused = getattr(error, "status", 0) in (401, 403)
    return PermissionError(errno.EACCES, told) if refused else OSError(errno.EIO, told)


@dataclass(frozen=True)
class RemotePlace(Place):
    """A folder that fsspec reaches."""

    url: str

    def __post_init__(self) -> None:
        check_schemes(self.url)

    def __str__(self) -> str:
        return without_password(self.url)

    @cached_property
    def _opened(self) -> tuple[Any, str]:
        try:
            import fsspec
        except ImportError:
            raise MissingExtraError.of(package="fsspec", extra="remote") from None
        try:
            system, path = fsspec.core.url_to_fs(self.url, **http.options_of(self.url))
        except Exception as error:  # of any implementation that somebody has installed
            msg = f"{self} cannot be reached: {error}"
            raise InputError(msg) from error
        return system, path.rstrip("/")

    def __reduce__(self) -> tuple[Any, ...]:
        return _in_worker, (self.url, dict(addresses.KEPT))

    def _at(self, name: str) -> str:
        root = str(self._opened[1])
        if not name:
            return root
        path = f"{root}/{name}"
        if leads_out_of_url(name) or (self._is_of_web and not http.lies_below(root, path)):
            raise self._leading_out(name)
        return path

    def _leading_out(self, name: str) -> InputError:
        return InputError(f"{name!r} leads out of {self}; do not trust who put it there")

    def _with_folder(self, name: str) -> str:
        """Return where a file is to lie, in a folder that is there."""
        path = self._at(checked(name))
        folder = str(PurePosixPath(path).parent)
        if folder not in self._made and not _BUCKETS & {*_protocols(self._store)}:
            try:
                self._opened[0].makedirs(folder, exist_ok=True)
            except Exception:  # a part of it may be there since a listing was asked for
                self._opened[0].invalidate_cache()
                self._opened[0].makedirs(folder, exist_ok=True)
        self._made.add(folder)
        return path

    def listing(self) -> Listing:
        system, root = self._opened
        start = f"{root}/" if root else ""
        found, names = Listing(), list[str]()
        try:
            if self._is_of_web:
                paths, empty = http.find(self._store, root)
            elif is_walked(self._store):
                paths, empty = walked(self._store, root)
            else:
                paths, empty = system.find(root), []
        except RecursionError as error:
            msg = f"{self} has folders in folders without end"
            raise InputError(msg) from error
        for path in paths:
            inside = path.startswith(start)
            name = path[len(start) :] if root else path.removeprefix("/")
            if inside and path.endswith("/") and not leads_out_of_url(name.rstrip("/") or "."):
                continue  # an object without content, which stands for a folder
            if not inside or leads_out_of_url(name):
                found.refused[path] = self._leading_out(path)
            else:
                names.append(name)
        for folder in empty:
            found.refused[f"{folder[len(start) :]}/"] = InputError(
                f"{folder} lists nothing: it is empty, or the server sent something else; remove "
                "it, or look at that address"
            )
        _sort_in(names, found)
        return found.ordered()

    def open(self, name: str) -> BinaryIO:
        try:
            file = cast("BinaryIO", self._opened[0].open(self._at(name), "rb"))
        except FileNotFoundError as error:
            if isinstance(error.__cause__, InputError):  # a refusal, which says more
                raise error.__cause__ from None
            cause = error.__cause__
            if cause is not None and getattr(cause, "status", _NOT_FOUND) != _NOT_FOUND:
                raise _failed(cause) from error
            raise FileNotFoundError(
                errno.ENOENT, os.strerror(errno.ENOENT), f"{self}/{name}"
            ) from error
        if self._is_of_web and getattr(file, "size", 0) is None:
            file.seek = partial(_sought, file.seek, f"{self}/{name}")  # type: ignore[method-assign]
        if self._is_of_web:
            file.read = partial(_read, ref(file), f"{self}/{name}")  # type: ignore[method-assign]
        if not self._is_of_web and file.seek(0) is None:  # as of sftp
            # Not by a bound method: a file that holds itself is closed late, when none answers.
            file.seek = partial(_told_where, ref(file))  # type: ignore[method-assign]
        cache = getattr(file, "cache", None)
        if cache is not None and not self._is_of_web and hasattr(cache, "fetcher"):
            cache.fetcher = partial(_fetched, cache.fetcher, getattr(file, "size", None))
        return file

    def exists(self, name: str) -> bool:
        return bool(self._opened[0].exists(self._at(name)))

    def has_file(self, name: str) -> bool:
        system, path = self._opened[0], self._at(name)
        try:
            if self._is_of_web:
                return http.has_file(self._store, path)
            return bool(system.info(path)["type"] == "file")
        except (FileNotFoundError, PermissionError):  # who may not list is told so of what is not
            return False
        except Exception as error:
            msg = f"{self}/{name}: nobody tells whether it is there ({error}); try again"
            raise InputError(msg) from error

    def stamp(self, name: str) -> str:
        if not self._is_of_web:
            return self.stamps([name])[0]
        if name not in self._stamps:  # an archive asks for each text in it: one request tells it
            (self._stamps[name],) = self.stamps([name])
        return self._stamps[name]

    def stamps(self, names: Collection[str]) -> list[str]:
        store, paths = self._store, list(map(self._at, names))
        infos = http.infos(store, paths) if self._is_of_web else map(store.info, paths)
        return [stamp_in(info) or self._untold for info in infos]

    @property
    def _store(self) -> Any:
        """The store that fsspec reaches, without caches before it."""
        store = self._opened[0]
        for _ in range(self.url.count("::")):
            store = store.fs
        return store

    @cached_property
    def _is_of_web(self) -> bool:
        """Whether it is a web server, which can tell of any files; a cache may stand before it."""
        return http.is_of_web(self._store)

    @cached_property
    def _stamps(self) -> dict[str, str]:
        return {}

    @cached_property
    def _made(self) -> set[str]:
        """The folders that this process has made."""
        return set()

    @cached_property
    def _untold(self) -> str:
        """The stamp of what nothing is told of: no later run has it."""
        return f"untold {secrets.token_hex(16)}"

    @_telling
    def write(self, name: str, data: bytes) -> None:
        self._opened[0].pipe_file(self._with_folder(name), data)

    @_telling
    def discard(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._opened[0].rm_file(self._at(checked(name)))

    @_telling
    def clear(self, folder: str) -> None:
        if self.exists(checked(folder)):
            self._opened[0].rm(self._at(folder), recursive=True)

    def new_file(self, name: str) -> BinaryIO:
        return (self.scratch() / name).open("x+b")

    def drop(self, name: str) -> None:
        (self.scratch() / name).unlink(missing_ok=True)

    @_telling
    def take(self, file: str, name: str) -> None:
        path = self.scratch() / file
        self._opened[0].put_file(str(path), self._with_folder(name))
        path.unlink()

    def scratch(self) -> Path:
        return temporary_folder()

    def clear_scratch(self) -> None:
        """Remove what runs that were killed have spooled; each removes its other files itself."""
        remove_left(self.scratch(), "spool-*")

    def folded(self, name: str) -> str:
        is_share = self.url.rpartition("::")[2].startswith("smb://")  # of Windows, or as there
        return name.casefold() if is_share else name

    def lies_in(self, other: Place) -> bool:
        return isinstance(other, RemotePlace) and f"{self._whole}/".startswith(f"{other._whole}/")

    @property
    def _whole(self) -> str:
        """The place as one text, the same however its URL is spelled."""
        system, path = self._opened
        host = str(getattr(system, "host", "")).lower()
        port = getattr(system, "port", None) or _PORTS.get(type(system).__name__, "")
        plain = posixpath.normpath("/" + path.lstrip("/")).rstrip("/")
        return f"{type(system).__qualname__}:{host}:{port}{plain}"

    def is_root(self) -> bool:
        """Tell whether this is a whole bucket or server: one beside it may be anybody's."""
        scheme, _, path = self.url.rpartition("::")[2].partition("://")
        parts = list(filter(None, path.split("/")))
        more = parts[:1] and (
            parts[0].startswith("arn:") or (scheme == "hf" and parts[0] in _KINDS_OF_HUB)
        )
        return len(parts) <= _PARTS_OF_ROOT.get(scheme, 1) + bool(more)

    def beside(self, suffix: str) -> RemotePlace:
        url = self.url.rstrip("/")
        if self.is_root():
            msg = (
                f"{self} is a whole bucket, server or repository, and what dsguard puts beside it "
                f"would lie in another; give a folder in it, like {url}/protected"
            )
            raise InputError(msg)
        return RemotePlace(url + suffix)


def _sort_in(names: Collection[str], found: Listing) -> None:
    """Add the names of all files to a listing."""
    journals = journals_among(names)
    found.leftovers += journals
    for name in names:
        folder, _, file = name.rpartition("/")
        if is_temporary(file):
            found.leftovers.append(name)
        elif is_hidden(folder):
            found.hidden.append(name)
        elif not (journals and lies_in(name, journals)):
            found.files.append(name)


def _sought(seek: Callable[..., int], address: str, *to: int) -> int:
    """Go to a place in a file that may be readable only from its start."""
    try:
        return seek(*to)
    except ValueError as error:
        msg = f"{address} is sent without its length, and so only from its start; download it"
        raise InputError(msg) from error


@_telling
def _read(known: ref[BinaryIO], address: str, *count: int) -> bytes:
    """Read from a file of a web server, whose library raises errors of its own."""
    file = known()
    assert file is not None
    try:
        return type(file).read(file, *count)
    except ValueError as error:
        msg = f"{address}: its server sends whole files, not parts of them; download it"
        raise InputError(msg) from error


def _told_where(known: ref[BinaryIO], *to: int) -> int:
    """Go to a place in a file, and return it, as files do."""
    file = known()
    assert file is not None
    type(file).seek(file, *to)
    return file.tell()


def _protocols(store: Any) -> tuple[str, ...]:
    known = store.protocol
    return (known,) if isinstance(known, str) else tuple(known)


def _fetched(fetch: Callable[..., bytes], size: int | None, start: int, end: int) -> bytes:
    """Return a part of a file, all of it; raise OSError if the server ends it early."""
    found = _telling(fetch)(start, end)
    if size is not None and len(found) < (wanted := min(end, size) - start):
        raise OSError(errno.EIO, f"the server sent {len(found)} of {wanted} bytes; try again")
    return found


def _in_worker(url: str, found: dict[str, dict[str, Any]]) -> RemotePlace:
    """Return a place as it is in the process that sent it: its server keeps the address."""
    addresses.keep(found)
    return RemotePlace(url)
