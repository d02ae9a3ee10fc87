"""The contract of sealing: what a shard does not publish is given away, and had again."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from dsguard.errors import DsguardError
from dsguard.formats.no_images import is_page
from dsguard.formats.places import LocalPlace

if TYPE_CHECKING:
    from dsguard.formats.base import Rows
    from dsguard.formats.places import Place


SEALED_FIELDS = "sealed-fields.dsguard"
"""Ending of the files with fields; those with whole files end as that of the set is called."""


def has_sealed(place: Place, name: str) -> bool:
    """Tell whether there is a file in which something is sealed; some servers have any file.

    One that is damaged, or cannot be read, is told when it is opened; so is a link to one that was
    not fetched.
    """
    if isinstance(place, LocalPlace):
        return place.has_file(name) or (place.path / name).is_symlink()
    if not place.has_file(name):
        return False
    try:
        with place.open(name) as file:
            return not is_page(file.read(_BEGINNING))
    except (DsguardError, OSError):
        return True


_BEGINNING = 1 << 10


class Sealer(ABC):
    """Takes what a shard does not publish.

    Attributes
    ----------
    count : int
        How many values it took.
    """

    count = 0

    @abstractmethod
    def add(self, name: str, data: bytes, count: int = 1) -> str:
        """Take what counts as some values; return why that cannot be, empty where it can."""

    @abstractmethod
    def bind(self, images: Iterable[bytes]) -> None:
        """Take published images, to which what is sealed belongs."""


class Entries(ABC):
    """What was sealed beside a shard, by name."""

    @abstractmethod
    def __iter__(self) -> Iterator[str]:
        """Go through the names, in the order in which they were given away."""

    @abstractmethod
    def images(self) -> Sequence[bytes]:
        """Return what tells the images to which all of it belongs, in their order."""

    @abstractmethod
    def size(self) -> int:
        """Return how many bytes there are."""

    @abstractmethod
    def __getitem__(self, name: str) -> bytes:
        """Return what was given away under a name."""


DIGEST_BYTES = 16


def digest_of(image: object) -> bytes:
    """Return what tells a published image, its file or its pixels, from others."""
    data = image if isinstance(image, bytes) else b""
    return hashlib.sha256(data).digest()[:DIGEST_BYTES]


def digest_of_file(name: str, data: bytes) -> bytes:
    """Return what tells a published file from others; its name in other forms is the same."""
    own = unicodedata.normalize("NFC", name).encode("utf-8", "surrogateescape")
    digest = hashlib.sha256(len(own).to_bytes(8, "little") + own)
    digest.update(data)
    return digest.digest()[:DIGEST_BYTES]


class Unsealed:
    """What was sealed beside a shard, ready to be put back; this one where there is nothing.

    Attributes
    ----------
    used : int
        How many values came back.
    images : collection of bytes
        What tells the images that it belongs to.
    """

    used = 0
    images: Collection[bytes] = ()
    _met = _strange = 0

    def bind(self, images: Sequence[bytes]) -> None:
        """Take what tells the images that were published beside it, where nothing else does."""
        self.images = self.images or frozenset(images)

    def known(self, rows: Rows) -> set[int]:
        """Return the rows whose images it belongs to, and count them."""
        if not self.images:
            return set()
        came: Iterable[object] = rows.files
        if rows.images is not None:
            came = (image.tobytes() for image in rows.images)
        digests = list(map(digest_of, came))
        found = {row for row, digest in enumerate(digests) if digest in self.images}
        self._met += len(found)
        self._strange += len(rows.names) - len(found)
        self._follow(digests[row] for row in sorted(found))
        return found

    def _follow(self, digests: Iterable[bytes]) -> None:
        """Note which images were met, in their order."""

    @property
    def is_strange(self) -> bool:
        """Whether it belongs to none of the images that were met."""
        return self._strange > 0 and not self._met

    def put_into(self, rows: Rows, known: set[int]) -> Iterator[Rows]:
        """Yield rows with what was sealed of those that are known."""
        del known
        yield rows

    def rest(self) -> Iterator[Rows]:
        """Yield what belongs to no image."""
        yield from ()

    def trouble(self) -> str:
        """Return why some of it could not be put back, after the last rows; empty for no such."""
        return STRANGE if self.is_strange else ""

    def look_through(self) -> None:
        """Count what would come back where something was written, and now is not."""

    def left(self) -> Iterator[tuple[str, str]]:
        """Yield the names of what has found no place, and why."""
        yield from ()


class UnsealedInTurn(Unsealed):
    """The same, where nothing but the order of the images tells whose a value is.

    Parameters
    ----------
    is_whole : bool
        Whether all images of the shard are read.
    """

    def __init__(self, *, is_whole: bool) -> None:
        self._is_whole = is_whole
        self._order: Sequence[bytes] = ()
        self._at, self._is_mixed = 0, False

    def bind(self, images: Sequence[bytes]) -> None:
        super().bind(images)
        self._order = images

    def _follow(self, digests: Iterable[bytes]) -> None:
        for digest in digests:
            while self._at < len(self._order) and self._order[self._at] != digest:
                self._at += 1
            self._is_mixed |= self._at >= len(self._order)
            self._at += 1

    @property
    def is_moved(self) -> bool:
        """Whether images were moved, or taken out, since they were published."""
        count = self._met + self._strange
        return self._is_mixed or (self._is_whole and count < len(self._order))

    @property
    def is_strange(self) -> bool:
        return super().is_strange or self.is_moved

    def trouble(self) -> str:
        return super().trouble() if super().is_strange or not self.is_moved else MOVED


MOVED = (
    "stays sealed: the images were moved or taken out since they were published, and nothing else "
    "tells which values are whose; restore from a copy in the published order"
)

STRANGE = (
    "was sealed beside another shard, or by another run: it belongs to none of the images here, "
    "and stays sealed; get a whole copy"
)


LOOSE = "-"
"""In place of a number, before the name of what belongs to no image."""


def numbered(number: int | str, name: str) -> str:
    """Return the name of an entry: its place among its like, then what it is called."""
    return f"{number}/{name}"


def marked(number: int | str, name: str, published: bytes | None) -> str:
    """Return the name of an entry that tells, by a digest, what is published in its place."""
    return numbered(f"{number}.{_mark(published)}", name)


def unmarked(entry: str) -> str:
    """Return the name of an entry without what it tells of the published data."""
    found = _MARKED.match(entry)
    return entry[: found.start(1)] + entry[found.end(1) :] if found else entry


def is_marked_otherwise(entry: str, published: bytes) -> bool:
    """Tell whether other bytes than these were published in the place of an entry, or none.

    Entries that an older dsguard made do not tell.
    """
    found = _MARKED.match(entry)
    return found is not None and found[1] != f".{_mark(published)}"


def _mark(published: bytes | None) -> str:
    return "" if published is None else digest_of(published)[:8].hex()


_MARKED = re.compile(r"(?:[0-9]+|-)(\.[0-9a-f]*)/")


def numbered_name(entry: str) -> tuple[int, str]:
    """Return the place and the name that an entry has; -1 for what belongs to no image."""
    number, _, name = unmarked(entry).partition("/")
    if number == LOOSE:
        return -1, name
    return (int(number) if number.isascii() and number.isdigit() and len(number) < 10 else 0), name
