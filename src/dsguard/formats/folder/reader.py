"""Folders of image files, and of files that hold images."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from functools import cached_property, partial
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from dsguard.errors import DsguardError, InputError
from dsguard.formats.base import (
    CHUNK_BYTES,
    CHUNK_IMAGES,
    Extras,
    Part,
    Rows,
    Source,
    as_label,
    class_of,
    cut,
)
from dsguard.formats.images import READABLE_SUFFIXES, is_image_name
from dsguard.formats.listings.base import ImageIndex, Listing
from dsguard.formats.names import is_hidden
from dsguard.formats.place import Place

if TYPE_CHECKING:
    from dsguard.formats.disclosure import Review

COMPANIONS = frozenset(
    {".cls", ".csv", ".json", ".jsonl", ".md", ".tsv", ".txt", ".xml", ".yaml", ".yml", ".toml"}
)
"""Suffixes of text files."""


class TreeSource(Source):
    """Image files with names; the folder right above one is its class, whatever lies above that.

    Attributes
    ----------
    listing : type of Listing or None
        What reads the files that list the images, and tells their classes instead.
    """

    listing: type[Listing] | None = None

    def parts(self, size: int, wanted: Collection[str] | None = None) -> list[Part]:
        names = self.names() if wanted is None else sorted(wanted)
        beside = texts_beside(names, self.companions())
        return [
            Part(
                names=tuple(run),
                classes=tuple(map(self.class_of, run)) if self.listing else None,
                beside=tuple(beside.get(name, ()) for name in run) if beside else None,
            )
            for run in cut(names, size)
        ]

    def rows(self, part: Part) -> Iterator[Rows]:
        rows, held = Rows([], []), 0
        known = dict(zip(part.names or (), part.classes or (), strict=False))
        beside = dict(zip(part.names or (), part.beside or (), strict=False))
        fields = dict(zip(part.names or (), part.fields or (), strict=False))
        for name, read in self._files(part.names or ()):
            file = read_or_error(read)
            rows.names.append(name)
            rows.files.append(file)
            rows.classes.append(known[name] if known else self.class_of(name))
            held += len(file) if isinstance(file, bytes) else 0
            if len(rows.names) == CHUNK_IMAGES or held >= CHUNK_BYTES:
                yield self._with_texts(rows, beside, fields)
                rows, held = Rows([], []), 0
        if rows.names:
            yield self._with_texts(rows, beside, fields)

    def _with_texts(
        self, rows: Rows, beside: dict[str, tuple[str, ...]], fields: dict[str, bytes]
    ) -> Rows:
        """Return rows to which the text files beside their images and their fields belong."""

        def extras(row: int) -> Extras:
            stem = _stem(rows.names[row])
            texts = beside.get(rows.names[row], ())
            found = {text[len(stem) + 1 :]: self.read_companion(text) for text in texts}
            if own := fields.get(rows.names[row]):
                found["metadata.json" if "json" in found else "json"] = own
            return found

        if beside or fields:
            rows.extras = extras
        return rows

    def reviewed_companion(self, name: str, data: bytes, review: Review) -> bytes | None:
        if not name.endswith(".parquet"):
            return review.file(name, data)
        from dsguard.formats.listings.imagefolder import reviewed_table

        return reviewed_table(name, data, review)

    def renamed(self, companion: str, data: bytes, names: dict[str, str]) -> bytes:
        from dsguard.formats.listings.renaming import renamed

        return renamed(companion, data, names, self.index)

    def listings(self) -> list[str]:
        return self._listed.files() if self._listed else []

    def with_fields(self, parts: list[Part]) -> list[Part]:
        if self._listed is None:
            return parts
        fields = self._listed.fields()
        return [
            replace(part, fields=tuple(fields.get(name, b"") for name in part.names or ()))
            for part in parts
        ]

    def remarks(self) -> list[str]:
        return self._listed.remarks() if self._listed else []

    @cached_property
    def index(self) -> ImageIndex:
        """The images, to be found by the names that text files have for them."""
        return ImageIndex(self.names())

    @cached_property
    def _listed(self) -> Listing | None:
        return self.listing(self) if self.listing else None

    def _goes_along(self, name: str) -> bool:
        """Tell whether a file that is no image belongs to the dataset as a whole."""
        listed = self.listing.more_files if self.listing else ()
        return is_text(name) or name.rpartition("/")[2] in listed

    def as_file(self, name: str, class_name: str) -> str:
        return name

    def class_of(self, name: str) -> str:
        """Return the class of an image."""
        return as_label(self._listed.class_of(name) if self._listed else class_of(name))

    def _files(self, names: Collection[str]) -> Iterator[tuple[str, Callable[[], bytes]]]:
        """Yield the name and the reader of each image file."""
        raise NotImplementedError


def is_text(name: str) -> bool:
    """Tell whether a file is text, by its name."""
    path = PurePosixPath(name)
    return path.suffix.lower() in COMPANIONS or path.name in ("LICENSE", "NOTICE", "README")


def texts_among(names: list[str]) -> list[str]:
    """Return the text files among those of a folder."""
    return [name for name in names if is_text(name) and not is_hidden(name)]


def others_among(names: list[str]) -> list[str]:
    """Return the files of a folder that are neither images nor text."""
    return [
        name
        for name in names
        if not (is_image_name(name) or is_text(name))
        and (not is_hidden(name) or PurePosixPath(name).suffix.lower() in READABLE_SUFFIXES)
    ]


def strays_among(names: list[str], own: Collection[str]) -> list[str]:
    """Return the files of a folder that are neither text nor its own, images among them."""
    return [name for name in names if not (name in own or is_text(name) or is_hidden(name))]


def texts_beside(names: list[str], texts: list[str]) -> dict[str, tuple[str, ...]]:
    """Return by image the text files that have its name but for the suffix: ``x.txt`` of ``x.png``.

    A suffix may have dots, as fields of WebDataset samples do: ``x.classname.txt``.
    """
    if not texts:
        return {}
    images: dict[str, list[str]] = {}
    for name in names:
        images.setdefault(_stem(name), []).append(name)
    found: dict[str, list[str]] = {}
    for text in texts:
        stem = _stem(text)
        for _ in range(_MOST_DOTS):
            if stem in images or "." not in stem.rpartition("/")[2]:
                break
            stem = _stem(stem)
        for name in images.get(stem, ()):
            found.setdefault(name, []).append(text)
    return {name: tuple(own) for name, own in found.items()}


_MOST_DOTS = 16  # of a suffix: names of strangers may have any number


def _stem(name: str) -> str:
    """Return a name without its suffix."""
    folder, slash, file = name.rpartition("/")
    return folder + slash + file.rpartition(".")[0]


class ShardedSource(Source):
    """A folder of files that hold images, or one such file.

    Parameters
    ----------
    place : Place
    files : list of str
        The files, by name.
    """

    def __init__(self, place: Place, files: list[str]) -> None:
        super().__init__(place)
        self.files = files

    def companions(self) -> list[str]:
        return texts_among(self._listing.files)

    def left_out(self) -> list[str]:
        return strays_among(self._listing.files, set(self.files))


class FolderSource(TreeSource):
    """A folder of image files, at any depth."""

    kind = "folder"

    def names(self) -> list[str]:
        return [name for name in self._all if is_image_name(name)]

    def companions(self) -> list[str]:
        more = [name for name in self._others if self._goes_along(name)]
        return sorted([*self._texts, *more])

    def left_out(self) -> list[str]:
        return [name for name in self._others if not self._goes_along(name)]

    @cached_property
    def _texts(self) -> list[str]:
        return texts_among(self._all)

    @cached_property
    def _others(self) -> list[str]:
        return others_among(self._all)

    def stamp_of_texts(self, part: Part) -> str:
        digest = hashlib.sha256(repr(part.fields).encode())
        for texts in part.beside or ():
            for name in texts:
                told = f"{name} {self.place.stamp(name)}\n"
                digest.update(told.encode("utf-8", "surrogateescape"))
        return f" {digest.hexdigest()}" if part.beside or part.fields else ""

    def stamp(self, part: Part) -> str:
        """Return a digest of sizes and times of all files of the part."""
        digest = hashlib.sha256()
        for name in part.names or ():
            digest.update(f"{name} {self.place.stamp(name)}\n".encode("utf-8", "surrogateescape"))
        return digest.hexdigest()

    @property
    def _all(self) -> list[str]:
        return self._listing.files

    def _files(self, names: Collection[str]) -> Iterator[tuple[str, Callable[[], bytes]]]:
        for name in names:
            yield name, partial(self.place.read, name)


def read_or_error(read: Callable[[], bytes]) -> bytes | DsguardError:
    """Read a file, or return why it cannot be read."""
    try:
        return read()
    except DsguardError as error:
        return error.to_keep()
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
