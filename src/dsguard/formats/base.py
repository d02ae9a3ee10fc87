"""The contract of readers: names, parts, and rows in chunks."""

from __future__ import annotations

import hashlib
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from dsguard.errors import DsguardError, InputError
from dsguard.formats import no_images
from dsguard.formats.images import (
    DamagedImageError,
    Group,
    UnreadableImageError,
    decode_files,
    is_image_name,
    runs_of,
)
from dsguard.formats.pillow import STATED, stated_size_of
from dsguard.formats.places import Listing, Place
from dsguard.formats.texts import decoded
from dsguard.formats.views import view_of
from dsguard.kernels.geometry import LARGEST_SIDE

if TYPE_CHECKING:
    from dsguard.formats.disclosure import ClassPlace
    from dsguard.formats.review import Review

Image: TypeAlias = npt.NDArray[np.uint8]
Extras: TypeAlias = dict[str, bytes]
"""What belongs to an image besides its pixels, by suffix: ``{"json": b"..."}``."""

CHUNK_IMAGES = 1024
CHUNK_BYTES = 4 << 20
"""Of image files, which are some ten times as large once decoded."""


@dataclass(frozen=True)
class Part:
    """A piece of a dataset that is worked on as a whole; small enough to be sent to a worker.

    Attributes
    ----------
    file : str
        The file that it lies in; empty where each image has its own.
    start, stop : int
        Where in the file, in units of the format; stop 0 means its end.
    names : tuple of str or None
        The images that are wanted; None for all.
    classes : tuple of str or None
        Their classes, where it would take long to find them for each part anew.
    beside : tuple of tuple of str or None
        Names of the text files that belong to each image, where any has one.
    fields : tuple of bytes or None
        What a file that lists the images tells about each, as JSON; empty where it tells nothing.
    known_as : tuple of str or None
        Names by which the text files know the images, where these may be others.
    """

    file: str = ""
    start: int = 0
    stop: int = 0
    names: tuple[str, ...] | None = None
    classes: tuple[str, ...] | None = None
    beside: tuple[tuple[str, ...], ...] | None = None
    fields: tuple[bytes, ...] | None = None
    known_as: tuple[str, ...] | None = None


class Record:
    """The layout in which some rows came, kept by sources for sinks of the same format."""

    def reviewed(self, review: Review) -> Record:
        """Return it without what is not to be published; it is not changed."""
        del review
        return self

    def undropped(self, fields: Extras, review: Review) -> Extras:
        """Return what belongs to a row without what is dropped by its name in this layout."""
        del review
        return fields

    def without_bytes(self, fields: Extras, review: Review) -> Extras:
        """Return what belongs to a row without values of types that are not published here."""
        del review
        return fields

    def of_no_image(self) -> Iterator[tuple[str, bytes]]:
        """Yield the text files that belong to no image, for sinks of other formats."""
        yield from ()

    def kinds(self) -> set[str]:
        """Return the kinds of what lies beside the images in it: ``*.txt``, names of columns."""
        return set()

    def facts(self) -> Iterator[tuple[str, bytes]]:
        """Yield what the file says of itself and of its columns: a name of each, and the value."""
        yield from ()

    def only_here(self) -> Iterator[str]:
        """Yield the names of facts for which no other format has a place."""
        yield from ()

    def passed_over(self) -> Iterator[tuple[str, str]]:
        """Yield the names of files that belong to no image and cannot be taken, and why."""
        yield from ()


@dataclass
class Loose(Record):
    """Files of a shard that belong to no image, by name."""

    files: dict[str, bytes] = field(default_factory=dict)

    def of_no_image(self) -> Iterator[tuple[str, bytes]]:
        yield from self.files.items()


@dataclass
class Rows:
    """Some images in the order of the dataset, not yet decoded.

    Attributes
    ----------
    names : list of str
        Relative paths with ``/``; no two of a dataset are alike.
    classes : list of str
        The class of each, empty where it has none.
    files : list of bytes or DsguardError
        Image files, or why one could not be had.
    images : ndarray of uint8, shape (N, H, W, C), or None
        Instead of files, where the dataset holds arrays.
    sidecars : dict of int to bytes
        By row, beside arrays; those of files are inside.
    record : Record or None
        What a sink of the same format needs to write these rows again.
    originals : list of str
        The names that the files have had, without folders, where `names` has others; empty where
        one is not known.
    extras : callable
        Return what else belongs to a row, for sinks of other formats.
    published : callable or None
        Return what of that was published, or has parts that were; None where all of it was.
    """

    names: list[str]
    classes: list[str]
    files: list[bytes | DsguardError] = field(default_factory=list)
    images: Image | None = None
    sidecars: dict[int, bytes] = field(default_factory=dict)
    record: Record | None = None
    extras: Callable[[int], Extras] = lambda row: {}
    originals: list[str] = field(default_factory=list)
    published: Callable[[int], Extras] | None = None

    def __post_init__(self) -> None:
        known = {label: as_label(label) for label in set(self.classes)}
        self.classes = [known[label] for label in self.classes]

    def taken(self, keep: Sequence[int]) -> Rows:
        """Return some of the rows, without what else belongs to them."""
        return Rows(
            [self.names[n] for n in keep],
            [self.classes[n] for n in keep],
            [self.files[n] for n in keep] if self.files else [],
            None if self.images is None else self.images[list(keep)],
            {k: self.sidecars[n] for k, n in enumerate(keep) if n in self.sidecars},
            self.record,
            originals=[self.originals[n] for n in keep] if self.originals else [],
        )


def decode_rows(
    rows: Rows, *, as_files: bool = False, views: bool = False
) -> Iterator[tuple[list[Group], dict[int, DsguardError]]]:
    """Yield the images of some rows by shape, and by row why one cannot be read.

    As a rule that is all at once; where short files hold very large images, some rows at a time.

    Parameters
    ----------
    rows : Rows
    as_files : bool
        Whether files matter, and not their pixels: gray stands for those that are not decoded.
    views : bool
        Whether views stand for these, where there are any.
    """
    if rows.images is not None:
        everything = list(range(len(rows.names)))
        if everything:
            yield [Group(everything, rows.images, rows.sidecars)], {}
        return
    for start, stop in runs_of(rows.files, as_files=as_files):  # of which none is held here
        yield _decoded(rows.files[start:stop], start, as_files=as_files, views=views)


def _decoded(
    files: Sequence[bytes | DsguardError], start: int, *, as_files: bool, views: bool
) -> tuple[list[Group], dict[int, DsguardError]]:
    """Return the images of a run of files, and the errors, by rows that count from `start`."""
    groups, errors = decode_files(files)
    if as_files:
        for group in groups:
            if max(group.images.shape[1:3]) > LARGEST_SIDE:
                stand_ins = [_stand_in(STATED, files[row]) for row in group.rows]
                group.images = np.concatenate(stand_ins)
                group.is_seen = False
        groups += _undecoded(files, errors, views=views)
    for group in groups:
        group.rows = [start + row for row in group.rows]
    return groups, {start + row: error for row, error in errors.items()}


def _undecoded(
    files: Sequence[bytes | DsguardError], errors: dict[int, DsguardError], *, views: bool
) -> Iterator[Group]:
    """Yield views, or gray, for files that are not decoded; take these out of the errors."""
    for row, error in list(errors.items()):
        data = files[row]
        if isinstance(error, UnreadableImageError) and isinstance(data, bytes):
            if told := no_images.told_of(data):
                errors[row] = InputError(told)
                continue
            del errors[row]
            view = view_of(data) if views else None
            if view is not None and 0 < max(view.shape[:2]) <= LARGEST_SIDE:
                yield Group([row], np.ascontiguousarray(view)[None], {})
                continue
            stand_in = _stand_in(stated_size_of(data), data)
            is_damaged = isinstance(error, DamagedImageError)
            yield Group([row], stand_in, {}, is_seen=False, is_damaged=is_damaged)


def _stand_in(size: tuple[int, int], data: object) -> Image:
    """Return gray that differs for each file, in its first samples: covers are drawn by it."""
    image = np.full((1, *size, 3), 128, np.uint8)
    if isinstance(data, bytes):
        first = image.reshape(-1)[:32]
        first[:] = np.frombuffer(hashlib.sha256(data).digest()[: len(first)], np.uint8)
    return image


class Source(ABC):
    """A dataset to read; it can be sent to other processes.

    Attributes
    ----------
    kind : str
        Name of its format.
    place : Place
    has_images_of_any_kind : bool
        Whether files count as images that are not decoded, such as ``.heic``.

    Examples
    --------
    >>> import numpy as np
    >>> from dsguard.formats import open_source
    >>> np.save("images.npy", np.zeros((1, 32, 32, 3), np.uint8))
    >>> for name, class_name, image in open_source("images.npy").read():
    ...     print(image.shape)
    (32, 32, 3)
    """

    kind: str
    has_images_of_any_kind = False
    is_file = False
    """Whether it is one file of a folder that may hold others."""
    may_be_shard = False
    """Whether it may be a shard that is given alone, and texts beside its images their fields."""

    def __init__(self, place: Place) -> None:
        self.place = place

    def __str__(self) -> str:
        return str(self.place)

    def __getstate__(self) -> dict[str, object]:
        """Return what other processes need: not what was only kept to be found sooner."""
        kept = self.__dict__.items()
        return {
            name: value
            for name, value in kept
            if not isinstance(getattr(type(self), name, None), cached_property)
        }

    def is_image(self, name: str) -> bool:
        """Tell whether a file of this name is one of the images."""
        return is_image_name(name, of_any_kind=self.has_images_of_any_kind)

    @abstractmethod
    def names(self) -> list[str]:
        """Return the names of all images, sorted."""

    @abstractmethod
    def parts(self, size: int, wanted: Collection[str] | None = None) -> list[Part]:
        """Cut the dataset into parts of about `size` images, of the wanted ones only."""

    @abstractmethod
    def rows(self, part: Part) -> Iterator[Rows]:
        """Yield the images of a part in chunks.

        Raises
        ------
        DsguardError
            Where the file that they lie in is damaged; what came before is good.
        """

    def shards(self) -> list[str]:
        """Return the files that hold images, where not each image has its own."""
        return []

    def has_images(self) -> bool:
        """Tell whether its parts may have images; it looks no further than the first."""
        return True

    def companions(self) -> list[str]:
        """Return the files that belong to the dataset as a whole, to be copied as they are."""
        return []

    def read_companion(self, name: str) -> bytes:
        """Return the content of a companion, or of a file that is left out."""
        return self.place.read(name)

    def reviewed_companion(self, name: str, data: bytes, review: Review) -> bytes | None:
        """Return the content with which a companion is published, None where it is not."""
        return review.file(name, data)

    def renamed(self, companion: str, data: bytes, names: dict[str, str]) -> bytes:
        """Return the content of a companion, in which images have the names of their new files.

        Parameters
        ----------
        companion : str
        data : bytes
            What it holds now.
        names : dict of str to str
            New by old name, of all images that are written.
        """
        return data

    def listings(self) -> list[str]:
        """Return the companions that list images; shards have all of it, for each image its own."""
        return []

    def own_names(self, companion: str, names: Iterable[str]) -> dict[str, str]:
        """Return what a companion calls images that are called so here."""
        del companion
        return {name: name for name in names}

    def unlisted(self, companion: str, data: bytes) -> tuple[str, bool]:
        """Return the text of a companion; whether it lists images, and what tells of them is out.

        Raises
        ------
        CouldHoldPictureError
            If it is no text.
        """
        return decoded(data), False

    def with_fields(self, parts: list[Part], review: Review | None = None) -> list[Part]:
        """Return the parts with what `listings` tell about each image.

        Without what the owner drops in them, by their own names, where there is a `review`.
        """
        return parts

    def class_places(self) -> list[ClassPlace]:
        """Return where the classes of images lie, but for folders."""
        return []

    def remarks(self) -> list[str]:
        """Return what the owner of the dataset should know, one sentence each."""
        return []

    def left_out(self) -> list[str]:
        """Return the files that are neither images nor companions."""
        return []

    def beside_images(self, file: str, *, published: bool) -> list[str]:
        """Return what a file of images has beside these, and files of other formats have not.

        Parameters
        ----------
        file : str
        published : bool
            Whether its images are protected: then their sidecars are no arrays of their own.
        """
        del file, published
        return []

    def refused(self) -> dict[str, InputError]:
        """Return the files and folders that are not read, and why."""
        return self._listing.refused

    def leftovers(self) -> list[str]:
        """Return the names of what runs have left here, and what is no part of the dataset."""
        return self._listing.leftovers

    @cached_property
    def _listing(self) -> Listing:
        return Listing() if self.is_file else self.place.listing()

    def as_file(self, name: str, class_name: str) -> str:
        """Return the name of an image in a folder of images: its class is the folder above it."""
        if not class_name or class_of(name) == class_name:
            return name
        above, slash, file = name.rpartition("/")
        return f"{above}{slash}{as_folder(class_name)}/{file}"

    def file_names(self) -> list[str]:
        """Return the names that all images have as files of a folder, but for the suffix."""
        return self.names()

    def comes_back_whole(self) -> bool:
        """Tell whether all that this tells of its images comes back, names included."""
        return True

    def stamp(self, part: Part) -> str:
        """Return what changes when the file of a part does."""
        return self.place.stamp(part.file) if part.file else ""

    def read_with(self, part: Part) -> list[str]:
        """Return the files beside that of a part in which labels or sidecars of its images lie."""
        del part
        return []

    def stamp_of_texts(self, part: Part) -> str:
        """Return what changes when text beside the images of a part does, in files of its own."""
        del part
        return ""

    def read(
        self, wanted: Collection[str] | None = None
    ) -> Iterator[tuple[str, str, Image | DsguardError]]:
        """Yield name, class and pixels of the wanted images; an unreadable one as its error."""
        for part in self.parts(CHUNK_IMAGES, wanted):
            for rows in self.rows(part):
                for groups, errors in decode_rows(rows):
                    found: dict[int, Image | DsguardError] = dict(errors)
                    for group in groups:
                        found |= zip(group.rows, group.images, strict=True)
                    for row in sorted(found):
                        yield rows.names[row], rows.classes[row], found[row]


def class_of(name: str) -> str:
    """Return the class of an image in a tree: the name of the folder that it lies in."""
    folder = name.rpartition("/")[0].rpartition("/")[2]
    if "%" not in folder:
        return folder
    return _ESCAPES.sub(lambda found: chr(int(found[1], 16)), folder)


def cut(names: list[str], size: int) -> Iterator[list[str]]:
    """Yield the names in runs of `size`."""
    for start in range(0, len(names), size):
        yield names[start : start + size]


def as_folder(class_name: str) -> str:
    """Return what the folder of a class is called: as the class, but for what no folder can be.

    That is written as in URLs, ``a%2Fb`` for ``a/b``, and `class_of` reads it as the class again.
    """
    coded = _ESCAPES.sub(lambda found: "%25" + found[1], as_label(class_name))
    coded = _NOT_IN_FOLDERS.sub(lambda found: f"%{ord(found[0]):02X}", coded)
    return "%2E" + coded[1:] if coded.startswith(".") else coded  # hidden ones are passed over


_NOT_IN_FOLDERS = re.compile(r"[/\\\0-\x1f\x7f-\x9f]")
_ESCAPES = re.compile("%(2F|5C|2E|25|[0189][0-9A-F]|7F)")


def as_label(text: str) -> str:
    r"""Return a label as one that can be written: half of a surrogate pair as ``\ud800``.

    JSON and arrays may have it. Bytes of a file name that are no UTF-8 are left as Python has them.
    """
    return text if text.isascii() else _HALVES.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


_HALVES = re.compile("[\ud800-\udc7f\udd00-\udfff]")
