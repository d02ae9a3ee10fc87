"""Sources: where images come from. Each lists its images by name, then reads the wanted ones."""

from __future__ import annotations

import os
import pickle
import tarfile
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from functools import partial
from lzma import LZMAError
from pathlib import Path, PurePosixPath
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from dsguard.datasets.images import READABLE_SUFFIXES, decode_protected
from dsguard.errors import DsguardError, FormatError, InputError

Image: TypeAlias = npt.NDArray[np.uint8]

_MOST_BYTES = 1 << 28
"""Image files of an archive are smaller than this: a short archive can unpack to any length."""


class Source(ABC):
    """A dataset to read.

    The name of an image is a relative path with ``/``; the folder right above the file is its
    class, whatever lies above that (``train/cat/01.png`` and ``test/cat/02.png`` are both ``cat``).
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @abstractmethod
    def names(self) -> list[str]:
        """Return the names of all images, sorted."""

    @abstractmethod
    def files(self, wanted: Collection[str]) -> Iterator[tuple[str, Callable[[], bytes]]]:
        """Yield name and reader of each wanted image file, in the order of the source."""

    def read(self, wanted: Collection[str]) -> Iterator[tuple[str, Image | DsguardError]]:
        """Yield the wanted images in the order of the source; an unreadable one as its error."""
        for name, image in self.read_protected(wanted):
            yield name, image if isinstance(image, DsguardError) else image[0]

    def read_protected(
        self, wanted: Collection[str]
    ) -> Iterator[tuple[str, tuple[Image, bytes] | DsguardError]]:
        """Yield the wanted images and their sidecars, which are empty as a rule."""
        for name, read in self.files(wanted):
            yield name, _decoded(read)


def class_of(name: str) -> str:
    """Return the class of an image: the name of the folder that it lies in."""
    return PurePosixPath(name).parent.name


def open_source(path: str | Path) -> Source:
    """Open a dataset, whatever kind it is of.

    Parameters
    ----------
    path : path-like
        A folder of images in class folders, a ``.tar``, ``.tar.xz``, ``.tar.gz``, ``.tar.bz2`` or
        ``.zip`` of one, or a ``cifar-10-batches-py`` folder.

    Raises
    ------
    InputError
        If there is nothing at `path`, or nothing that dsguard reads.
    """
    path = Path(path)
    if path.is_dir():
        return CifarSource(path) if CifarSource.recognises(path) else FolderSource(path)
    if not path.exists():
        msg = f"there is nothing at {path}"
        raise InputError(msg)
    try:
        if zipfile.is_zipfile(path):
            return ZipSource(path)
        if tarfile.is_tarfile(path):
            return TarSource(path)
    except (EOFError, OSError) as error:
        msg = f"{path} cannot be read: {error}"
        raise InputError(msg) from error
    msg = f"{path} is neither a folder nor a tar or zip archive"
    raise InputError(msg)


class FolderSource(Source):
    """A folder of images, at any depth."""

    def names(self) -> list[str]:
        found, seen = [], set()
        for folder, _, files in os.walk(self.path, onerror=_refuse_folder, followlinks=True):
            status = Path(folder).stat()
            if (status.st_dev, status.st_ino) in seen:
                msg = f"{folder} is a link to a folder met before; remove one of the two"
                raise InputError(msg)
            seen.add((status.st_dev, status.st_ino))
            paths = (Path(folder, file) for file in files if _is_image(file))
            found += [path.relative_to(self.path).as_posix() for path in paths if path.is_file()]
        return sorted(found)

    def files(self, wanted: Collection[str]) -> Iterator[tuple[str, Callable[[], bytes]]]:
        for name in sorted(wanted):
            yield name, (self.path / name).read_bytes


class TarSource(Source):
    """A tar archive of such a folder."""

    def names(self) -> list[str]:
        with self._open() as tar:
            return _distinct([member.name for member in self._images(tar)], self.path)

    def files(self, wanted: Collection[str]) -> Iterator[tuple[str, Callable[[], bytes]]]:
        with self._open() as tar:
            for member in self._images(tar):
                if member.name in wanted:
                    yield member.name, partial(_read_member, tar, member)

    def _open(self) -> tarfile.TarFile:
        return tarfile.open(self.path, "r:*")

    def _images(self, tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
        try:
            for member in tar:
                linked = member.islnk() or member.issym()  # how tar stores a file met twice
                if (member.isfile() or linked) and _is_image(member.name):
                    member.name = _safe_name(member.name, self.path)
                    yield member
            _check_end(tar, self.path)
        except (EOFError, OSError, ValueError, tarfile.TarError, LZMAError, zlib.error) as error:
            if isinstance(error, DsguardError):
                raise
            msg = f"{self.path} is damaged or truncated: {error}"
            raise InputError(msg) from error


def _check_end(tar: tarfile.TarFile, path: Path) -> None:
    """Refuse an archive that stops at something else than its end: `tarfile` takes a damaged header
    for the end, and what lies behind it would be lost without a word.
    """  # noqa: D205 - one sentence
    assert tar.fileobj is not None
    tar.fileobj.seek(tar.offset)
    block = tar.fileobj.read(tarfile.BLOCKSIZE)
    if len(block) < tarfile.BLOCKSIZE or any(block):
        msg = f"{path} is damaged or truncated: it stops within or at a damaged header"
        raise InputError(msg)


def _read_member(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    _check_size(member.size)
    file = tar.extractfile(member)  # follows links; KeyError where they lead nowhere
    return b"" if file is None else file.read(_MOST_BYTES)


class ZipSource(Source):
    """A zip archive of such a folder."""

    def names(self) -> list[str]:
        with self._open() as archive:
            return _distinct([name for name, _ in self._images(archive)], self.path)

    def files(self, wanted: Collection[str]) -> Iterator[tuple[str, Callable[[], bytes]]]:
        with self._open() as archive:
            for name, member in self._images(archive):
                if name in wanted:
                    yield name, partial(_unzip, archive, member)

    def _open(self) -> zipfile.ZipFile:
        try:
            return zipfile.ZipFile(self.path)
        except (zipfile.BadZipFile, NotImplementedError, ValueError, EOFError, OSError) as error:
            msg = f"{self.path} is damaged or truncated: {error}"
            raise InputError(msg) from error

    def _images(self, archive: zipfile.ZipFile) -> Iterator[tuple[str, zipfile.ZipInfo]]:
        for member in archive.infolist():
            if _is_image(member.filename) and not member.is_dir():
                yield _safe_name(member.filename, self.path), member


def _unzip(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    _check_size(member.file_size)
    with archive.open(member) as file:
        return file.read(_MOST_BYTES)  # whatever the directory says of its size


class CifarSource(Source):
    """CIFAR-10 as its authors publish it: pickled batches of 10,000 rows."""

    @staticmethod
    def recognises(path: Path) -> bool:
        """Tell whether a folder holds the pickled batches."""
        return (path / "batches.meta").exists() and (path / "data_batch_1").exists()

    def names(self) -> list[str]:
        return sorted(name for name, _ in self._rows())

    def files(self, wanted: Collection[str]) -> Iterator[tuple[str, Callable[[], bytes]]]:
        raise NotImplementedError  # rows, not files

    def read_protected(
        self, wanted: Collection[str]
    ) -> Iterator[tuple[str, tuple[Image, bytes] | DsguardError]]:
        for name, row in self._rows():
            if name in wanted:
                yield name, (np.ascontiguousarray(row.reshape(3, 32, 32).transpose(1, 2, 0)), b"")

    def _rows(self) -> Iterator[tuple[str, Image]]:
        """Yield (name, 3072 samples), the name made of split, class and original file name."""
        classes = self._classes()
        batches = [*sorted(self.path.glob("data_batch_*")), self.path / "test_batch"]
        for file in batches:
            if not file.exists():
                continue
            split = "test" if file.name == "test_batch" else "train"
            batch = _unpickle(file)
            rows: Any = batch.get(b"data")
            labels: Any = batch.get(b"labels")
            if not _is_cifar_batch(rows, labels, len(classes)):
                msg = f"{file} does not have the layout of a CIFAR-10 batch"
                raise FormatError(msg)
            for number, (row, label) in enumerate(zip(rows, labels, strict=True)):
                yield f"{split}/{classes[label]}/{file.name}-{number:05d}.png", row

    def _classes(self) -> list[str]:
        file = self.path / "batches.meta"
        names = _unpickle(file).get(b"label_names")
        try:
            classes = [n.decode() if isinstance(n, bytes) else n for n in names or ()]
            fit = all(isinstance(name, str) and _is_folder_name(name) for name in classes)
        except (TypeError, UnicodeDecodeError):
            fit = False
        if not fit or not classes:
            msg = f"{file} has no list of class names that can be names of folders"
            raise FormatError(msg)
        return classes


def _is_cifar_batch(rows: Any, labels: Any, classes: int) -> bool:
    return (
        isinstance(rows, np.ndarray)
        and rows.dtype == np.uint8
        and rows.ndim == 2
        and rows.shape[1] == 3072
        and isinstance(labels, list)
        and len(labels) == len(rows)
        and all(type(label) is int and 0 <= label < classes for label in labels)
    )


class _CifarUnpickler(pickle.Unpickler):
    """Loads lists, bytes and uint8 arrays; anything else that a pickle could call is refused."""

    _ALLOWED = frozenset(
        {
            ("numpy.core.multiarray", "_reconstruct"),
            ("numpy._core.multiarray", "_reconstruct"),
            ("numpy", "ndarray"),
            ("numpy", "dtype"),
            ("_codecs", "encode"),
        }
    )

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._ALLOWED:
            msg = f"refused to load {module}.{name} from a pickle"
            raise FormatError(msg)
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


def _unpickle(path: Path) -> dict[bytes, Any]:
    with path.open("rb") as file:
        try:
            content = _CifarUnpickler(file, encoding="bytes").load()
        except FormatError:
            raise
        except Exception as error:  # a damaged pickle can fail in any way
            msg = f"{path} is not a CIFAR-10 batch, or is damaged: {error}"
            raise FormatError(msg) from error
    if not isinstance(content, dict):
        msg = f"{path} is not a CIFAR-10 batch"
        raise FormatError(msg)
    return {key.encode() if isinstance(key, str) else key: value for key, value in content.items()}


def _is_image(name: str) -> bool:
    path = PurePosixPath(name)
    return path.suffix.lower() in READABLE_SUFFIXES and not path.name.startswith(".")


def _is_folder_name(name: str) -> bool:
    return name not in ("", ".", "..") and not set(name) & set("/\\\0")


def _safe_name(name: str, archive: Path) -> str:
    """Return a member's name without a leading ``./``; refuse one that leaves the folder."""
    path = PurePosixPath(name)
    if path.is_absolute() or not all(_is_folder_name(part) for part in path.parts):
        msg = f"{archive} has a member outside its folder: {name!r}; do not trust this archive"
        raise InputError(msg)
    return path.as_posix()


def _distinct(names: list[str], archive: Path) -> list[str]:
    """Return the names sorted; refuse an archive that has one of them twice."""
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        msg = f"{archive} has more than one member named {twice[0]}; unpack it and pack it anew"
        raise InputError(msg)
    return sorted(names)


def _refuse_folder(error: OSError) -> None:
    msg = f"the folder {error.filename} cannot be read: {error.strerror}"
    raise InputError(msg) from error


def _check_size(size: int) -> None:
    if size >= _MOST_BYTES:
        msg = f"its file has {size} bytes, more than the {_MOST_BYTES} that are read into memory"
        raise InputError(msg)


def _decoded(read: Callable[[], bytes]) -> tuple[Image, bytes] | DsguardError:
    try:
        return decode_protected(read())
    except DsguardError as error:
        return error
    except Exception as error:  # encrypted, damaged, of unknown compression: per image, any reason
        return InputError(f"cannot be read: {error}")
