"""Folders of image files, and of files that hold images."""

from __future__ import annotations

import contextlib
import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, TypeVar

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
from dsguard.formats.beside import is_text, others_among, stem_of, texts_among, texts_beside
from dsguard.formats.images import suffix_of
from dsguard.formats.listings.base import ImageIndex, Listing
from dsguard.formats.sizes import is_dicom

if TYPE_CHECKING:
    from dsguard.formats.disclosure import ClassPlace
    from dsguard.formats.review import Review

Read = TypeVar("Read")


class TreeSource(Source):
    """Image files with names; the folder right above one is its class, whatever lies above that.

    Attributes
    ----------
    listing : type of Listing or None
        What reads the files that list the images, and tells their classes instead.
    asked_for : str
        The format that it was to be read as; ``"auto"`` where that was to be found out.
    """

    listing: type[Listing] | None = None
    asked_for = "auto"

    def parts(self, size: int, wanted: Collection[str] | None = None) -> list[Part]:
        names = self.names() if wanted is None else sorted(wanted)
        beside = self.texts_beside(names, self.fields())
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
        known_as = dict(zip(part.names or (), part.known_as or (), strict=False))
        texts = _Texts(self.read_companion, known_as)
        for name, read in self._files(part.names or ()):
            file = read_or_error(read)
            rows.names.append(name)
            rows.files.append(file)
            rows.classes.append(known[name] if known else self.class_of(name))
            held += len(file) if isinstance(file, bytes) else 0
            if len(rows.names) == CHUNK_IMAGES or held >= CHUNK_BYTES:
                yield _with_texts(rows, beside, fields, texts)
                rows, held = Rows([], []), 0
        if rows.names:
            yield _with_texts(rows, beside, fields, texts)

    def reviewed_companion(self, name: str, data: bytes, review: Review) -> bytes | None:
        if not name.endswith(".parquet"):
            return review.file(name, data)
        from dsguard.formats.listings.imagefolder import reviewed_table

        return reviewed_table(name, data, review)

    def renamed(self, companion: str, data: bytes, names: dict[str, str]) -> bytes:
        from dsguard.formats.listings.renaming import renamed

        return renamed(companion, data, names, self.index_of(companion))

    def unlisted(self, companion: str, data: bytes) -> tuple[str, bool]:
        from dsguard.formats.listings.renaming import unlisted

        return unlisted(companion, data, self.index_of(companion))

    def listings(self) -> list[str]:
        return self._listed.whole() if self._listed else []

    def with_fields(self, parts: list[Part], review: Review | None = None) -> list[Part]:
        if self._listed is None:
            return parts
        fields = self._listed.fields({name for part in parts for name in part.names or ()}, review)
        return [
            replace(part, fields=tuple(fields.get(name, b"") for name in part.names or ()))
            for part in parts
        ]

    def class_places(self) -> list[ClassPlace]:
        return self._listed.class_places() if self._listed else []

    def classes_in(self, companion: str, data: bytes) -> object:
        """Return all that a file tells of classes, to be compared; None if it lists no images."""
        return self._listed.classes_in(companion, data) if self._listed else None

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

    def texts_beside(self, images: list[str], texts: list[str]) -> dict[str, tuple[str, ...]]:
        """Return by image those of some files that lie beside it, by their names."""
        return texts_beside(images, texts)

    def may_list(self) -> set[str]:
        """Return the files beside the images that may tell their classes."""
        return {*self.companions(), *self.left_out()}

    def fields(self) -> list[str]:
        """Return the files that are fields of an image where they lie beside one."""
        return self.companions()

    def dates(self, names: Iterable[str]) -> Iterator[tuple[str, int]]:
        """Yield files and when they were modified last, in nanoseconds, where that is told."""
        for name in names:
            date = self.place.modified(name)
            if date is not None:
                yield name, date

    def index_of(self, companion: str) -> ImageIndex:
        """Return the images, to be found by the names that a text file has for them."""
        del companion
        return self.index

    def _files(self, names: Collection[str]) -> Iterator[tuple[str, Callable[[], bytes]]]:
        """Yield the name and the reader of each image file."""
        raise NotImplementedError


class FolderSource(TreeSource):
    """A folder of image files, at any depth."""

    kind = "folder"

    def names(self) -> list[str]:
        return [name for name in self._all if self.is_image(name)]

    def companions(self) -> list[str]:
        more = [name for name in self._others if self._goes_along(name)]
        return sorted([*self._texts, *more])

    def left_out(self) -> list[str]:
        return [name for name in self._others if not self._goes_along(name)]

    def remarks(self) -> list[str]:
        names = [name for name in self._others if not suffix_of(name)]
        if not any(map(self._begins_as_dicom, names[:_LOOKED_AT])):
            return super().remarks()
        more = f" and {len(names) - 1:,} more" if len(names) > 1 else ""
        told = f"{names[0]}{more}: DICOM without a suffix is no image here; give it .dcm"
        return [*super().remarks(), told]

    def _begins_as_dicom(self, name: str) -> bool:
        with contextlib.suppress(DsguardError, OSError), self.place.open(name) as file:
            return is_dicom(file.read(_BEGINNING))
        return False

    @cached_property
    def _texts(self) -> list[str]:
        return texts_among(self._all)

    @cached_property
    def _others(self) -> list[str]:
        return others_among(self._all, self.is_image)

    def stamp_of_texts(self, part: Part) -> str:
        digest = hashlib.sha256(repr(part.fields).encode())
        digest.update(self._told_of([name for texts in part.beside or () for name in texts]))
        return f" {digest.hexdigest()}" if part.beside or part.fields else ""

    def stamp(self, part: Part) -> str:
        """Return a digest of what is told of all files of the part."""
        return hashlib.sha256(self._told_of(part.names or ())).hexdigest()

    def _told_of(self, names: Collection[str]) -> bytes:
        """Return a line for each file; of all at once, as a server is far away."""
        stamps = zip(names, self.place.stamps(names), strict=True)
        lines = (f"{name} {stamp}\n" for name, stamp in stamps)
        return "".join(lines).encode("utf-8", "surrogateescape")

    @property
    def _all(self) -> list[str]:
        return self._listing.files

    def _files(self, names: Collection[str]) -> Iterator[tuple[str, Callable[[], bytes]]]:
        for name in names:
            yield name, partial(self.place.read, name)


_LOOKED_AT, _BEGINNING = 8, 132


class _Texts:
    """The text files beside the images of a part: those of one name share theirs."""

    def __init__(self, read: Callable[[str], bytes], known_as: dict[str, str]) -> None:
        self._read, self._images = read, Counter[tuple[str, ...]]()
        self._known_as = known_as
        self._last: tuple[str, ...] = ()
        self._found: Extras = {}

    def of(self, image: str, files: tuple[str, ...]) -> Extras:
        """Return the content of files by what their names add to that of an image."""
        self._images[files] += 1
        if files and self._images[files] > _MOST_OF_A_NAME:
            msg = (
                f"has the text of {_MOST_OF_A_NAME} other images beside it, which are called as it "
                "is but for the suffix; rename it"
            )
            raise InputError(msg)
        if files != self._last:
            start = len(stem_of(self._known_as.get(image, image))) + 1
            self._found = {file[start:]: self._read(file) for file in files}
            self._last = files
        return self._found


_MOST_OF_A_NAME = 16
"""Images that share the text beside them, each with a copy: a JPEG file, its mask and the like."""


def _with_texts(
    rows: Rows, beside: dict[str, tuple[str, ...]], fields: dict[str, bytes], texts: _Texts
) -> Rows:
    """Return rows to which the text files beside their images and their fields belong."""

    def extras(row: int) -> Extras:
        image = rows.names[row]
        found = texts.of(image, beside.get(image, ()))
        if own := fields.get(image):
            name = "json"
            while name in found:  # text of the owner's, which is not to be lost
                name = f"metadata.{name}"
            return {**found, name: own}
        return found

    if beside or fields:
        rows.extras = extras
    return rows


def read_or_error(read: Callable[[], Read]) -> Read | DsguardError:
    """Read a file, or return why it cannot be read."""
    try:
        return read()
    except DsguardError as error:
        return error.to_keep()
    except Exception as error:  # encrypted, damaged, of unknown compression: per image, any reason
        return InputError(f"cannot be read: {getattr(error, 'strerror', None) or error}")
