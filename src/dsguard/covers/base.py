"""The contract of covers: a cover decides what a protected image shows.

How the clean image is carried in it is no business of a cover: that is the codec's.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar, Self, TypeAlias

import numpy as np
import numpy.typing as npt

from dsguard.choices import STRENGTHS
from dsguard.covers.draws import digests_of
from dsguard.errors import DsguardError, InputError

if TYPE_CHECKING:
    from dsguard.kernels.contract import Bytes, Images, Shape

Labels: TypeAlias = npt.NDArray[np.int64]
Places: TypeAlias = "slice | npt.NDArray[np.intp]"
Found: TypeAlias = "frozenset[str] | DsguardError"
"""Pictures of the owner's that are an image, or why this is not known."""

EPSILON = STRENGTHS["standard"]


def check_epsilon(epsilon: object) -> int:
    """Return a radius ε in grey levels.

    Raises
    ------
    InputError
        If it is not a whole number of 0 to 255.
    """
    if isinstance(epsilon, np.integer):
        epsilon = int(epsilon)
    if type(epsilon) is not int or not 0 <= epsilon <= 255:
        msg = f"epsilon is a whole number of 0 to 255, not {epsilon!r}"
        raise InputError(msg)
    return epsilon


def check_labels(labels: npt.ArrayLike, count: int) -> Labels:
    """Return the labels of so many images.

    Raises
    ------
    InputError
        If there is not one whole number for each image.

    Examples
    --------
    >>> from dsguard.covers import check_labels
    >>> check_labels([0, 1], 2)
    array([0, 1])
    """
    given = np.asarray(labels)
    if given.shape != (count,) or not np.issubdtype(given.dtype, np.integer):
        msg = f"expected {count} integer labels, got {given.dtype} of shape {given.shape}"
        raise InputError(msg)
    return given.astype(np.int64)


def check_cover(cover: object) -> None:
    """Raise InputError where a cover was given that is none; None stands for that of a profile.

    Examples
    --------
    >>> from dsguard.covers import Preview, check_cover
    >>> check_cover(Preview(4))
    >>> check_cover("preview")
    Traceback (most recent call last):
        ...
    dsguard.errors.InputError: cover: expected a Cover of dsguard.covers, got str
    """
    if cover is not None and not isinstance(cover, Cover):
        msg = f"cover: expected a Cover of dsguard.covers, got {type(cover).__name__}"
        raise InputError(msg)


@dataclass(frozen=True)
class Batch:
    """Clean images of one shape, and what is known of them.

    Attributes
    ----------
    images : ndarray of uint8, shape (N, H, W, C)
    labels : ndarray of int64, shape (N,), or None
        The class of each, as a number.
    places : slice or ndarray of int, shape (N,)
        Where each stands among all images of its shape.
    names : list of str
        Where they have any: in a dataset.
    found : list of (frozenset of str, or DsguardError)
        What `Cover.of_image` says of each, where it was asked before: of images in other sizes.

    Examples
    --------
    >>> import numpy as np
    >>> from dsguard.covers import Batch, Preview
    >>> batch = Batch(np.full((1, 32, 32, 3), 90, np.uint8))
    >>> int(Preview(2).images(batch, 1).max())
    90
    """

    images: Images
    labels: Labels | None = None
    places: Places = field(default_factory=lambda: slice(None))
    names: list[str] = field(default_factory=list)
    found: list[Found] = field(default_factory=list)

    def numbers(self) -> Labels:
        """Return the labels, for covers that need them."""
        assert self.labels is not None
        return self.labels

    def positions(self) -> npt.NDArray[np.intp]:
        """Return the places, as numbers."""
        if isinstance(self.places, slice):
            return np.arange(len(self.images)) + (self.places.start or 0)
        return self.places


class ImageSet(ABC):
    """All clean images that are protected together, to be had in any order.

    Examples
    --------
    >>> import numpy as np
    >>> from dsguard.covers import ArraySet, ImageSet
    >>> isinstance(ArraySet(np.zeros((5, 32, 32, 3), np.uint8)), ImageSet)
    True
    """

    counts: Mapping[Shape, int]
    """How many there are of each shape."""

    labels: Mapping[Shape, Labels]
    """The classes of those of each shape, as numbers; empty where there are none."""

    @abstractmethod
    def read(self, shape: Shape, places: Places) -> Images:
        """Return the images of a shape that stand in these places."""

    def digests(self) -> Iterator[Bytes]:
        """Yield 16 bytes for each image, (N, 16), shape by shape.

        They tell its picture, whatever size it has here.
        """
        return map(digests_of, self.pieces())

    def pieces(self) -> Iterator[Images]:
        """Yield all images, shape by shape, as many at a time as memory should hold."""
        for shape, count in self.counts.items():
            some = max(1, _AT_ONCE // math.prod(shape))
            for start in range(0, count, some):
                yield self.read(shape, slice(start, min(start + some, count)))


_AT_ONCE = 1 << 24
"""Samples of images that are read at a time, when all of a dataset are looked at."""


@dataclass(frozen=True)
class ArraySet(ImageSet):
    """Images that are in one array, (N, H, W, C).

    Examples
    --------
    >>> import numpy as np
    >>> from dsguard.covers import ArraySet
    >>> dict(ArraySet(np.zeros((5, 32, 32, 3), np.uint8)).counts)
    {(32, 32, 3): 5}
    """

    images: Images
    known: Labels | None = None

    @property
    def labels(self) -> Mapping[Shape, Labels]:  # type: ignore[override]
        return {} if self.known is None else {self.images.shape[1:]: self.known}

    @property
    def counts(self) -> Mapping[Shape, int]:  # type: ignore[override]
        return {self.images.shape[1:]: len(self.images)}

    def read(self, shape: Shape, places: Places) -> Images:
        return np.ascontiguousarray(self.images[places])


class Cover(ABC):
    """Decides what protected images show. It is small, and can be sent to other processes.

    Attributes
    ----------
    needs_labels : bool
    any_labels : bool
        Whether any numbers do as labels, and need not be counted from 0.
    needs_network : bool
        Whether a network is run for each image, which a GPU does best.
    needs_whole_set : bool
        Whether it has to be prepared with all images.
    is_like : bool
        Whether it resembles the clean image, and is not meant to hide it.
    takes_views : bool
        Whether it shows something of images that are not decoded as well, by views of these.
    has_pictures : bool
        Whether it shows pictures of the owner's, among which may be images.

    Examples
    --------
    A cover of your own is a class with these methods. This one is white:

    >>> import dsguard, numpy as np
    >>> from dsguard.covers import Cover
    >>> class White(Cover):
    ...     def settings(self):
    ...         return {"cover": "white"}
    ...
    ...     def images(self, batch, grid):
    ...         return np.full_like(batch.images, 255)
    >>> clean = np.zeros((1, 32, 32, 3), np.uint8)
    >>> out = dsguard.protect_batch(clean, dsguard.DatasetKey(bytes(32)), cover=White())
    >>> int(out.images.min()) > 191
    True
    """

    needs_labels: bool = False
    any_labels: bool = False
    needs_network: bool = False
    needs_whole_set: bool = False
    is_like: bool = True
    takes_views: bool = False
    has_pictures: bool = False

    @abstractmethod
    def settings(self) -> dict[str, str]:
        """Return all that decides what it shows, but for the images."""

    def remarks(self) -> list[str]:
        """Return what the owner should know before anything is protected, one sentence each."""
        return []

    def without_labels(self) -> Cover | None:
        """Return a cover like this one that tells nothing of the class; None if there is none."""
        return None if self.needs_labels else self

    @contextmanager
    def prepared(self, whole: ImageSet) -> Iterator[Cover]:
        """Yield the cover that knows all images, where it needs to."""
        del whole
        yield self

    def of_image(self, image: Images, name: str = "") -> Found:
        """Return the pictures of the owner's that are an image of the dataset, or copies of it.

        The image is as it came, shape (H, W, C), in no other size.
        """
        del image, name
        return frozenset()

    def named(self, name: str) -> str | None:
        """Return the picture of the owner's that has the name of an image."""
        del name
        return None

    def without(self, pictures: frozenset[str]) -> Cover:
        """Return the cover that shows some pictures for no image: all that are of the dataset."""
        del pictures
        return self

    def drawn(self) -> str:
        """Return what was drawn from the whole set, if a run that goes on has to draw the same."""
        return ""

    def drawn_before(self, told: str, *, is_all: bool) -> Cover:
        """Return the cover that knows what `drawn` told of an earlier run.

        `is_all` tells whether that run goes on, and nothing else may be drawn.
        """
        del told, is_all
        return self

    def refused(self, batch: Batch) -> dict[int, DsguardError]:
        """Return by index the images that have no cover, and why."""
        del batch
        return {}

    def samples_in(self, batch: Batch) -> int:
        """Return how many images of a batch show themselves, where others do not."""
        del batch
        return 0

    @abstractmethod
    def images(self, batch: Batch, grid: int) -> Images:
        """Return what each image of a batch shows.

        Parameters
        ----------
        batch : Batch
            Without those that were refused.
        grid : int
            The codec shows whole what is constant on squares of this side.

        Returns
        -------
        ndarray of uint8, shape (N, H, W, C)
        """


def shown(cover: Cover, images: Images, labels: Labels | None, grid: int) -> Images:
    """Return what all images of one array show, (N, H, W, C), in one piece.

    Examples
    --------
    >>> import numpy as np
    >>> from dsguard.covers import Preview, shown
    >>> shown(Preview(2), np.full((1, 8, 8, 3), 7, np.uint8), None, grid=1).shape
    (1, 8, 8, 3)
    """
    with cover.prepared(ArraySet(images, labels)) as ready:
        return ready.images(Batch(images, labels), grid)


class Mark(ABC):
    """Something put on a cover, to mislead networks.

    Examples
    --------
    >>> import numpy as np
    >>> from dsguard.covers import Batch, Itself, Mark, Marked
    >>> class Frame(Mark):
    ...     def settings(self):
    ...         return {"mark": "frame"}
    ...
    ...     def put(self, batch, on, grid):
    ...         out = on.copy()
    ...         out[:, :grid] = out[:, -grid:] = out[:, :, :grid] = out[:, :, -grid:] = 255
    ...         return out
    >>> framed = Marked(Itself(), Frame()).images(Batch(np.zeros((1, 32, 32, 3), np.uint8)), 4)
    >>> int(framed[0, 0, 0, 0]), int(framed[0, 16, 16, 0])
    (255, 0)
    """

    needs_labels: ClassVar[bool] = True
    needs_network: ClassVar[bool] = False

    @abstractmethod
    def settings(self) -> dict[str, str]:
        """Return all that decides it, but for the images."""

    @abstractmethod
    def put(self, batch: Batch, on: Images, grid: int) -> Images:
        """Return `on`, of one image for each of the batch, with the mark; alpha stays."""


@dataclass(frozen=True)
class Marked(Cover):
    """A cover with a mark on it.

    Attributes
    ----------
    base : Cover
    mark : Mark

    Examples
    --------
    >>> import numpy as np, dsguard
    >>> from dsguard.covers import Blank, DrawnPatterns, Marked
    >>> clean, key = np.full((2, 32, 32, 3), 90, np.uint8), dsguard.DatasetKey(bytes(32))
    >>> cover = Marked(Blank(key), DrawnPatterns(key, epsilon=16))
    >>> done = dsguard.protect_batch(clean, key, cover=cover, labels=[0, 1])
    >>> bool((dsguard.restore_batch(done.images, key) == clean).all())
    True
    """

    base: Cover
    mark: Mark

    @property
    def needs_labels(self) -> bool:  # type: ignore[override]
        return self.base.needs_labels or self.mark.needs_labels

    @property
    def needs_network(self) -> bool:  # type: ignore[override]
        return self.base.needs_network or self.mark.needs_network

    @property
    def needs_whole_set(self) -> bool:  # type: ignore[override]
        return self.base.needs_whole_set

    @property
    def is_like(self) -> bool:  # type: ignore[override]
        return self.base.is_like

    @property
    def takes_views(self) -> bool:  # type: ignore[override]
        return self.base.takes_views

    @property
    def has_pictures(self) -> bool:  # type: ignore[override]
        return self.base.has_pictures

    def settings(self) -> dict[str, str]:
        return {**self.base.settings(), **self.mark.settings()}

    def remarks(self) -> list[str]:
        return self.base.remarks()

    def without_labels(self) -> Cover | None:
        base = self.base.without_labels()
        if base is None or not self.mark.needs_labels:
            return None if base is None else replace(self, base=base)
        return None if base.is_like else base  # which the mark is to mislead about

    @contextmanager
    def prepared(self, whole: ImageSet) -> Iterator[Self]:
        with self.base.prepared(whole) as base:
            yield replace(self, base=base)

    def of_image(self, image: Images, name: str = "") -> Found:
        return self.base.of_image(image, name)

    def named(self, name: str) -> str | None:
        return self.base.named(name)

    def without(self, pictures: frozenset[str]) -> Self:
        return replace(self, base=self.base.without(pictures))

    def drawn(self) -> str:
        return self.base.drawn()

    def drawn_before(self, told: str, *, is_all: bool) -> Self:
        return replace(self, base=self.base.drawn_before(told, is_all=is_all))

    def refused(self, batch: Batch) -> dict[int, DsguardError]:
        return self.base.refused(batch)

    def images(self, batch: Batch, grid: int) -> Images:
        return self.mark.put(batch, self.base.images(batch, grid), grid)
