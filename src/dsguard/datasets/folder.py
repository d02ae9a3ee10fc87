"""Trees of image files: in a folder, or in a zip archive."""

from __future__ import annotations

import hashlib
import itertools
import zipfile
from collections.abc import Callable, Collection, Iterator
from functools import cached_property, lru_cache, partial
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from dsguard.datasets.images import is_image_name
from dsguard.datasets.place import Place, is_hidden
from dsguard.datasets.source import (
    CHUNK_BYTES,
    CHUNK_IMAGES,
    MOST_BYTES,
    Extras,
    Part,
    Rows,
    Source,
    check_size,
    class_of,
    cut,
    safe_name,
)
from dsguard.errors import DsguardError, InputError

COMPANIONS = frozenset(
    {".cls", ".csv", ".json", ".jsonl", ".md", ".tsv", ".txt", ".xml", ".yaml", ".yml", ".toml"}
)
"""Suffixes of the files that go along: text, which holds no clean image."""


class TreeSource(Source):
    """Image files with names; the folder right above one is its class, whatever lies above that."""

    def parts(self, size: int, wanted: Collection[str] | None = None) -> list[Part]:
        names = self.names() if wanted is None else sorted(wanted)
        beside = texts_beside(names, self.companions())
        return [
            Part(
                names=tuple(run),
                beside=tuple(beside.get(name, ()) for name in run) if beside else None,
            )
            for run in cut(names, size)
        ]

    def rows(self, part: Part) -> Iterator[Rows]:
        rows, held = Rows([], []), 0
        known = dict(zip(part.names or (), part.classes or (), strict=False))
        beside = dict(zip(part.names or (), part.beside or (), strict=False))
        for name, read in self._files(part.names or ()):
            file = _read(read)
            rows.names.append(name)
            rows.files.append(file)
            rows.classes.append(known[name] if known else self.class_of(name))
            held += len(file) if isinstance(file, bytes) else 0
            if len(rows.names) == CHUNK_IMAGES or held >= CHUNK_BYTES:
                yield self._with_texts(rows, beside)
                rows, held = Rows([], []), 0
        if rows.names:
            yield self._with_texts(rows, beside)

    def _with_texts(self, rows: Rows, beside: dict[str, tuple[str, ...]]) -> Rows:
        """Return rows to which the text files beside their images belong."""

        def extras(row: int) -> Extras:
            stem = _stem(rows.names[row])
            texts = beside.get(rows.names[row], ())
            return {text[len(stem) + 1 :]: self.read_companion(text) for text in texts}

        if beside:
            rows.extras = extras
        return rows

    def as_file(self, name: str, class_name: str) -> str:
        return name

    def class_of(self, name: str) -> str:
        """Return the class of an image."""
        return class_of(name)

    def _files(self, names: Collection[str]) -> Iterator[tuple[str, Callable[[], bytes]]]:
        """Yield the name and the reader of each image file."""
        raise NotImplementedError


def texts_beside(names: list[str], texts: list[str]) -> dict[str, tuple[str, ...]]:
    """Return by image the text files that have its name but for the suffix: ``x.txt`` of ``x.png``.

    A suffix may have dots, as fields of WebDataset samples do: ``x.classname.txt``.
    """
    if not texts:
        return {}
    images: dict[str, list[str]] = {}
    for name in names:
        images.setdefault(_stem(name), []).append(name)
    found: dict[str, tuple[str, ...]] = {}
    for text in texts:
        stem = _stem(text)
        while stem not in images and "." in stem.rpartition("/")[2]:
            stem = _stem(stem)
        for name in images.get(stem, ()):
            found[name] = (*found.get(name, ()), text)
    return found


def _stem(name: str) -> str:
    """Return a name without its suffix."""
    folder, slash, file = name.rpartition("/")
    return folder + slash + file.rpartition(".")[0]


class FolderSource(TreeSource):
    """A folder of image files, at any depth."""

    kind = "folder"

    def names(self) -> list[str]:
        return [name for name in self._all if is_image_name(name)]

    def companions(self) -> list[str]:
        return [name for name in self._others() if PurePosixPath(name).suffix in COMPANIONS]

    def left_out(self) -> list[str]:
        return [name for name in self._others() if PurePosixPath(name).suffix not in COMPANIONS]

    def stamp(self, part: Part) -> str:
        """Return a digest of sizes and times of all files of the part."""
        digest = hashlib.sha256()
        for name in part.names or ():
            digest.update(f"{name} {self.place.stamp(name)}\n".encode("utf-8", "surrogateescape"))
        return digest.hexdigest()

    def _others(self) -> list[str]:
        others = (name for name in self._all if not is_image_name(name))
        return [name for name in others if not PurePosixPath(name).name.startswith(".")]

    @cached_property
    def _all(self) -> list[str]:
        return self.place.files()

    def _files(self, names: Collection[str]) -> Iterator[tuple[str, Callable[[], bytes]]]:
        for name in names:
            yield name, partial(self.place.read, name)


class ZipSource(TreeSource):
    """A zip archive of such a folder."""

    kind = "archive"

    def __init__(self, place: Place, file: str) -> None:
        super().__init__(place)
        self.file = file

    def __str__(self) -> str:
        return str(Path(str(self.place), self.file))

    def names(self) -> list[str]:
        with _opened(self.place, self.file) as archive:
            return distinct([name for name, _ in _images(archive, str(self))], str(self))

    def companions(self) -> list[str]:
        with _opened(self.place, self.file) as archive:
            names = [
                safe_name(member.filename, str(self))
                for member in archive.infolist()
                if PurePosixPath(member.filename).suffix in COMPANIONS
            ]
        return [name for name in names if not is_hidden(name)]

    def read_companion(self, name: str) -> bytes:
        archive, _ = _kept_open(self.place, self.file, self.stamp(Part()))
        return _unzip(archive, archive.getinfo(name))

    def stamp(self, part: Part) -> str:
        try:
            return self.place.stamp(self.file)
        except OSError as error:
            msg = f"{self} cannot be read: {error.strerror or error}"
            raise InputError(msg) from error

    def _files(self, names: Collection[str]) -> Iterator[tuple[str, Callable[[], bytes]]]:
        wanted = set(names)
        archive, images = _kept_open(self.place, self.file, self.stamp(Part()))
        for name, member in images.items():
            if name in wanted:
                yield name, partial(_unzip, archive, member)


class _ClosingZip(zipfile.ZipFile):
    """A zip archive that closes the file that it was given."""

    def __init__(self, file: BinaryIO) -> None:
        self._given = file
        try:
            super().__init__(file)
        except BaseException:
            file.close()
            raise

    def close(self) -> None:
        super().close()
        self._given.close()


def _opened(place: Place, file: str) -> zipfile.ZipFile:
    try:
        return _ClosingZip(place.open(file))
    except (zipfile.BadZipFile, NotImplementedError, ValueError, EOFError, OSError) as error:
        msg = f"{place}/{file} is damaged or truncated: {error}"
        raise InputError(msg) from error


@lru_cache(maxsize=1)
def _kept_open(
    place: Place, file: str, stamp: str
) -> tuple[zipfile.ZipFile, dict[str, zipfile.ZipInfo]]:
    """Return an archive and its images: to read its directory for each shard would take long."""
    del stamp  # a file that was replaced is another archive
    archive = _opened(place, file)
    return archive, dict(_images(archive, f"{place}/{file}"))


def _images(archive: zipfile.ZipFile, path: str) -> Iterator[tuple[str, zipfile.ZipInfo]]:
    for member in archive.infolist():
        hidden = is_hidden(member.filename.removeprefix("./"))
        if is_image_name(member.filename) and not member.is_dir() and not hidden:
            yield safe_name(member.filename, path), member


def _unzip(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    check_size(member.file_size)
    with archive.open(member) as file:
        return file.read(MOST_BYTES)  # whatever the directory says of its size


def _read(read: Callable[[], bytes]) -> bytes | DsguardError:
    try:
        return read()
    except DsguardError as error:
        return error
    except Exception as error:  # encrypted, damaged, of unknown compression: per image, any reason
        return InputError(f"cannot be read: {getattr(error, 'strerror', None) or error}")


def distinct(names: list[str], archive: str) -> list[str]:
    """Return the names sorted; refuse an archive that has one of them twice."""
    ordered = sorted(names)
    for name, following in itertools.pairwise(ordered):
        if name == following:
            msg = f"{archive} has more than one member named {name}; unpack it and pack it anew"
            raise InputError(msg)
    return ordered
