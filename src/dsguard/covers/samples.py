"""Cover samples: a few images of each class show themselves, all others are blank."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from dsguard.covers.base import Batch, Cover, ImageSet
from dsguard.covers.blank import Blank
from dsguard.errors import InputError
from dsguard.keys.derived import randomness

if TYPE_CHECKING:
    import numpy.typing as npt

    from dsguard.kernels.contract import Images, Shape
    from dsguard.keys import DatasetKey


@dataclass(frozen=True)
class Samples(Cover):
    """Some images show themselves, as a catalogue would show them.

    Attributes
    ----------
    key : DatasetKey
        Draws the images, and the pictures of all others.
    count : int
        How many images of each class, drawn by the key; fewer where a class has fewer. No more than
        a quarter of all images are shown so: with measured numbers as labels, or a class for each
        person, all could be.
    names : tuple of str
        The images, where the owner names them; none is drawn then.
    labelled : bool
        Whether there are labels; without, all images are one class.
    chosen : mapping of shape to ndarray of int
        Places of the images that were drawn; set by `prepared`.

    Examples
    --------
    >>> import dsguard, numpy as np
    >>> key = dsguard.DatasetKey(bytes(32))
    >>> clean = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), np.uint8)
    >>> from dsguard.covers import Samples
    >>> cover = Samples(key, count=1)
    >>> out = dsguard.protect_batch(clean, key, cover=cover, labels=[0, 1] * 4)
    """

    key: DatasetKey
    count: int = 1
    names: tuple[str, ...] = ()
    labelled: bool = True
    chosen: Mapping[Shape, npt.NDArray[np.intp]] = field(default_factory=dict, repr=False)
    is_like = False
    any_labels = True

    def __post_init__(self) -> None:
        if type(self.count) is not int or self.count < 1:
            msg = f"count is a whole number of 1 or more, not {self.count!r}"
            raise InputError(msg)

    @property
    def needs_labels(self) -> bool:  # type: ignore[override]
        return self.labelled

    @property
    def needs_whole_set(self) -> bool:  # type: ignore[override]
        return not self.names

    def settings(self) -> dict[str, str]:
        told = ", ".join(sorted(self.names)) or f"{self.count} of each class"
        return {"cover": f"samples, {told}", "others": self._blank.settings()["cover"]}

    @property
    def _blank(self) -> Blank:
        return Blank(self.key, self.labelled)

    def without_labels(self) -> Samples:
        return replace(self, labelled=False)

    @contextmanager
    def prepared(self, whole: ImageSet) -> Iterator[Samples]:
        yield self if self.names else replace(self, chosen=self._draw(whole))

    def drawn(self) -> str:
        """Return the places: other ones, beside those that are shown already, would be too many."""
        places = {str(shape): each.tolist() for shape, each in self.chosen.items()}
        return json.dumps(places) if places else ""

    def _draw(self, whole: ImageSet) -> dict[Shape, npt.NDArray[np.intp]]:
        """Draw so many images of each class, of whatever shape."""
        shapes, counts = list(whole.counts), list(whole.counts.values())
        if self.labelled:
            labels = np.concatenate([whole.labels[shape] for shape in shapes])
        else:
            labels = np.zeros(sum(counts), np.int64)
        draws = np.frombuffer(randomness(self.key, 8 * len(labels), b"samples"), "<u8")
        order = np.lexsort((draws, labels))  # by class, and as drawn within a class
        ranks = np.arange(len(order))
        starts = np.flatnonzero(np.diff(labels[order], prepend=labels[order][:1] - 1))
        ranks -= np.repeat(starts, np.diff(starts, append=len(order)))
        shows = np.zeros(len(order), bool)
        shows[order] = ranks < self.count
        if shows.sum() > max(self.count, len(shows) * _MOST_SHOWN):
            raise InputError(_TOO_MANY.format(int(shows.sum()), len(shows), len(starts)))
        parts = np.split(shows, np.cumsum(counts)[:-1])
        return {shape: np.flatnonzero(part) for shape, part in zip(shapes, parts, strict=True)}

    def images(self, batch: Batch, grid: int) -> Images:
        out = self._blank.images(batch, grid)
        shows = self._shows(batch)
        out[shows] = batch.images[shows]
        return out

    def samples_in(self, batch: Batch) -> int:
        return int(self._shows(batch).sum())

    def _shows(self, batch: Batch) -> npt.NDArray[np.bool_]:
        """Return which images of a batch show themselves."""
        if not self.names:
            chosen = self.chosen.get(batch.images.shape[1:], np.empty(0, np.intp))
            return np.isin(batch.positions(), chosen)
        if len(batch.names) != len(batch.images):
            msg = "images in arrays have no names: give samples a count, or take cover given"
            raise InputError(msg)
        named = set(self.names)
        return np.array([name in named for name in batch.names], bool)


_MOST_SHOWN = 0.25
"""Part of all images that samples are at most, where the owner does not name them."""

_TOO_MANY = (
    "{} of {} images would show themselves, as they have {} classes; name those that are to be "
    "shown (--sample NAME), draw them from all images (--no-labels), or take cover blank"
)
