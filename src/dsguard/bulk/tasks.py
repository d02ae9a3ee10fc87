"""Tasks for the images of a dataset, and those that restore and verify them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt

from dsguard._arguments import keys_for
from dsguard.api import restore_batch
from dsguard.bulk.against import Comparison
from dsguard.errors import DsguardError, InputError
from dsguard.formats.base import decode_rows
from dsguard.formats.disclosure import LeftOut
from dsguard.kernels.geometry import LARGEST_SIDE
from dsguard.keys import KeySource

if TYPE_CHECKING:
    from dsguard.codecs import File
    from dsguard.covers.base import Found
    from dsguard.formats.base import Rows, Source
    from dsguard.formats.images import Group
    from dsguard.keys import DatasetKey, ImageKeys

Image = npt.NDArray[np.uint8]


@dataclass
class Batch:
    """Images of one shape, (N, H, W, C), and what is known of them."""

    names: list[str]
    classes: list[str]
    images: Image
    sidecars: dict[int, bytes] = field(default_factory=dict)
    files: list[bytes] = field(default_factory=list)
    """The files that the images come from, where they come from files."""
    originals: list[str] = field(default_factory=list)
    """Names of these files, where they are not those of the images."""
    is_seen: bool = True
    """Whether the images are those of the files, and do not stand for others."""
    is_damaged: bool = False
    """Whether the files are damaged, or of no kind that is decoded."""
    found: list[Found] = field(default_factory=list)
    """The pictures of the owner's that each image is, where these were looked for."""

    def taken(self, rows: list[int]) -> Batch:
        """Return some of the images, without their sidecars."""
        names, classes = [self.names[n] for n in rows], [self.classes[n] for n in rows]
        found = [self.found[n] for n in rows] if self.found else []
        return Batch(names, classes, self.images[rows], found=found)


@dataclass
class Processed:
    """The outcome of a batch, by index in it."""

    images: Image
    errors: dict[int, DsguardError] = field(default_factory=dict)
    sidecars: dict[int, bytes] = field(default_factory=dict)
    profiles: list[str] = field(default_factory=list)
    files: dict[int, File] = field(default_factory=dict)
    """Files that were carried in place of images."""
    as_they_are: int = 0
    """Images of which a good part is published as it is."""
    samples: int = 0
    """Images that show themselves, where others do not."""
    not_shown: dict[str, LeftOut] = field(default_factory=dict)
    """By kind, images of which no picture shows that the owner may expect."""
    digests: dict[int, bytes] = field(default_factory=dict)
    """Of all that comes back, where it is to be compared."""


class Task(ABC):
    """Something done to each image by itself; it can be sent to other processes.

    Attributes
    ----------
    verb : str
        What its results are called.
    key : DatasetKey, or KeySource if `takes_sources`
    writes : bool
        Whether it has images to write.
    publishes : bool
        Whether its results are for strangers, so that what lies beside images is reviewed.
    """

    verb: ClassVar[str]
    writes: ClassVar[bool] = True
    publishes: ClassVar[bool] = True
    takes_sources: ClassVar[bool] = False
    key: DatasetKey | KeySource

    @property
    def key_name(self) -> str:
        """What journals and manifests call the key."""
        return self.key.name if isinstance(self.key, KeySource) else self.key.key_id

    @property
    def own_key(self) -> DatasetKey | None:
        """The key of the dataset, where it is known here."""
        return None if isinstance(self.key, KeySource) else self.key

    def with_keys_of(self, groups: Sequence[Group]) -> Task:
        """Return this task, ready for some images, whose keys may have to be fetched."""
        del groups
        return self

    @abstractmethod
    def process(self, batch: Batch, threads: int | None) -> Processed:
        """Return what becomes of a batch."""

    @property
    def needs_network(self) -> bool:
        """Whether a network is run for each image, which a GPU does best."""
        return False

    @property
    def keeps_files(self) -> bool:
        """Whether image files are carried as they are, with all that is in them."""
        return False

    @property
    def compares_fields(self) -> bool:
        """Whether what belongs to images is to be told as well, by digests."""
        return False

    def remarks(self, source: Source) -> list[str]:
        """Return what the owner of a dataset should know before it is worked on."""
        del source
        return []

    @property
    def seals(self) -> bool:
        """Whether what lies beside images and is not published is sealed."""
        return self.keeps_files

    def decoded(self, rows: Rows) -> Iterator[tuple[list[Group], dict[int, DsguardError]]]:
        """Yield the images of some rows, as `decode_rows` does."""
        return decode_rows(rows)

    def settings(self) -> dict[str, str]:
        """Return all that decides the bytes that come out."""
        return {"task": self.verb, "key": self.key_name}

    def checked(self, batch: Batch, threads: int | None) -> Processed:
        """Return what becomes of a batch, images of a wrong size included."""
        height, width = batch.images.shape[1:3]
        try:
            if max(height, width) > LARGEST_SIDE:
                msg = f"has {width}x{height} pixels; sides are {LARGEST_SIDE} at most"
                raise InputError(msg)
            return self.process(batch, threads)
        except DsguardError as error:  # one that concerns every image of this shape
            everyone = range(len(batch.names))
            return Processed(batch.images, dict.fromkeys(everyone, error.to_keep()))


@dataclass(frozen=True)
class Restore(Task):
    """Restore protected images.

    Attributes
    ----------
    fetched : DatasetKey, ImageKeys or None
        What opens the images that are at hand: keys that came from `key`, or `key` itself.

    Examples
    --------
    >>> import dsguard
    >>> from dsguard.bulk import Restore
    >>> Restore(dsguard.DatasetKey(bytes(32))).settings()
    {'task': 'restored', 'key': 'bdea44b30333'}
    """

    verb = "restored"
    publishes = False
    takes_sources = True
    key: DatasetKey | KeySource
    fetched: DatasetKey | ImageKeys | None = None

    def with_keys_of(self, groups: Sequence[Group]) -> Task:
        keys = keys_for(self.key, ((group.images, group.sidecars) for group in groups))
        return replace(self, fetched=keys)

    def process(self, batch: Batch, threads: int | None) -> Processed:
        key = self.fetched or self.key
        done = restore_batch(
            batch.images, key, sidecars=batch.sidecars, on_error="report", threads=threads
        )
        files = done.files
        errors = {n: error.to_keep() for n, error in done.errors.items() if n not in files}
        return Processed(done.images, errors, profiles=done.profiles, files=files)


@dataclass(frozen=True)
class Verify(Restore):
    """See which protected images can still be restored; nothing is written.

    Attributes
    ----------
    comparison : Comparison or None
        How to tell what comes back, by digests; None where nothing is compared.

    Examples
    --------
    >>> import dsguard
    >>> from dsguard.bulk import Verify
    >>> Verify(dsguard.DatasetKey(bytes(32))).writes
    False
    """

    verb = "intact"
    writes = False
    comparison: Comparison | None = None

    def process(self, batch: Batch, threads: int | None) -> Processed:
        done = super().process(batch, threads)
        if self.comparison is not None:
            done.digests = {
                n: self.comparison.digest(name, batch.classes[n], done.files.get(n), done.images[n])
                for n, name in enumerate(batch.names)
                if n not in done.errors
            }
        return done

    @property
    def compares_fields(self) -> bool:
        return self.comparison is not None and self.comparison.fields
