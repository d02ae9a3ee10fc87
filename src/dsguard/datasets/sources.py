"""Sources: where images come from. Each lists its images by name, then reads the wanted ones."""

from __future__ import annotations

import pickle
import tarfile
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from dsguard.datasets.images import READABLE_SUFFIXES, decode_image
from dsguard.errors import DsguardError, FormatError, InputError

Image: TypeAlias = npt.NDArray[np.uint8]


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
    def read(self, wanted: Collection[str]) -> Iterator[tuple[str, Image | DsguardError]]:
        """Yield the wanted images in the order of the source; an unreadable one as its error."""


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
        found = (file for file in self.path.rglob("*") if _is_image(file.name) and file.is_file())
        return sorted(file.relative_to(self.path).as_posix() for file in found)

    def read(self, wanted: Collection[str]) -> Iterator[tuple[str, Image | DsguardError]]:
        for name in sorted(wanted):
            yield name, _decoded((self.path / name).read_bytes)


class TarSource(Source):
    """A tar archive of such a folder."""

    def names(self) -> list[str]:
        with self._open() as tar:
            return sorted(member.name for member in self._images(tar))

    def read(self, wanted: Collection[str]) -> Iterator[tuple[str, Image | DsguardError]]:
        with self._open() as tar:
            for member in self._images(tar):
                if member.name in wanted:
                    file = tar.extractfile(member)
                    assert file is not None, "only regular files are listed"
                    yield member.name, _decoded(file.read)

    def _open(self) -> tarfile.TarFile:
        return tarfile.open(self.path, "r:*")

    def _images(self, tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
        try:
            for member in tar:
                if member.isfile() and _is_image(member.name):
                    member.name = _safe_name(member.name, self.path)
                    yield member
        except (EOFError, OSError, tarfile.TarError) as error:
            if isinstance(error, DsguardError):
                raise
            msg = f"{self.path} is damaged or truncated: {error}"
            raise InputError(msg) from error


class ZipSource(Source):
    """A zip archive of such a folder."""

    def names(self) -> list[str]:
        with zipfile.ZipFile(self.path) as archive:
            return sorted(
                _safe_name(name, self.path) for name in archive.namelist() if _is_image(name)
            )

    def read(self, wanted: Collection[str]) -> Iterator[tuple[str, Image | DsguardError]]:
        with zipfile.ZipFile(self.path) as archive:
            for stored in archive.namelist():
                name = _safe_name(stored, self.path) if _is_image(stored) else ""
                if name in wanted:
                    yield name, _decoded(partial(archive.read, stored))


class CifarSource(Source):
    """CIFAR-10 as its authors publish it: pickled batches of 10,000 rows."""

    @staticmethod
    def recognises(path: Path) -> bool:
        """Tell whether a folder holds the pickled batches."""
        return (path / "batches.meta").exists() and (path / "data_batch_1").exists()

    def names(self) -> list[str]:
        return sorted(name for name, _ in self._rows())

    def read(self, wanted: Collection[str]) -> Iterator[tuple[str, Image | DsguardError]]:
        for name, row in self._rows():
            if name in wanted:
                yield name, np.ascontiguousarray(row.reshape(3, 32, 32).transpose(1, 2, 0))

    def _rows(self) -> Iterator[tuple[str, Image]]:
        """Yield (name, 3072 samples), the name made of split, class and original file name."""
        classes = [_text(name) for name in _unpickle(self.path / "batches.meta")[b"label_names"]]
        batches = [*sorted(self.path.glob("data_batch_*")), self.path / "test_batch"]
        for file in batches:
            if not file.exists():
                continue
            split = "test" if file.name == "test_batch" else "train"
            batch = _unpickle(file)
            rows = np.asarray(batch[b"data"], np.uint8)
            if rows.ndim != 2 or rows.shape[1] != 3072 or len(rows) != len(batch[b"labels"]):
                msg = f"{file} does not have the layout of a CIFAR-10 batch"
                raise FormatError(msg)
            for number, (row, label) in enumerate(zip(rows, batch[b"labels"], strict=True)):
                yield f"{split}/{classes[label]}/{file.name}-{number:05d}.png", row


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


def _text(name: bytes | str) -> str:
    return name.decode() if isinstance(name, bytes) else name


def _is_image(name: str) -> bool:
    path = PurePosixPath(name)
    return path.suffix.lower() in READABLE_SUFFIXES and not path.name.startswith(".")


def _safe_name(name: str, archive: Path) -> str:
    """Return a member's name without a leading ``./``; refuse one that leaves the folder."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name:
        msg = f"{archive} has a member outside its folder: {name!r}; do not trust this archive"
        raise InputError(msg)
    return path.as_posix()


def _decoded(read: Callable[[], bytes]) -> Image | DsguardError:
    try:
        return decode_image(read())
    except DsguardError as error:
        return error
    except (OSError, EOFError, zipfile.BadZipFile) as error:
        return InputError(f"cannot be read: {error}")
