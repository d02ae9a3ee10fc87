"""Cover samples: a few images of each class show themselves, all others are blank."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from dsguard.covers.base import Batch, Cover, ImageSet, Labels
from dsguard.covers.blank import Blank
from dsguard.covers.draws import drawn_for
from dsguard.errors import InputError
from dsguard.keys.derived import randomness

if TYPE_CHECKING:
    import numpy.typing as npt

    from dsguard.kernels.contract import Images, Shape
    from dsguard.keys import DatasetKey

    Draws = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class Drawn:
    """What a run drew, as its journal has it.

    Attributes
    ----------
    pairs : frozenset of (int, int)
        Class and draw of each image.
    is_all : bool
        Whether it is all that this run may show, and not only what comes first.
    by_place : bool
        Whether it is of an earlier version, which drew by the places of images in the set.
    told : str
    """

    pairs: frozenset[tuple[int, int]] = frozenset()
    is_all: bool = False
    by_place: bool = False
    told: str = ""

    @classmethod
    def of(cls, told: str, *, is_all: bool) -> Drawn:
        """Return what was told of a draw; nothing where it is of no use."""
        try:
            content = json.loads(told or "{}")
            pairs = frozenset((int(label), int(draw)) for label, draw in content["drawn"])
        except KeyError:  # places, by shape
            return cls(by_place=bool(told) and is_all)
        except (TypeError, ValueError, RecursionError):
            return cls()
        return cls(pairs, is_all, told=told)

    def has(self, labels: Labels, draws: Draws) -> npt.NDArray[np.bool_]:
        """Tell which images were drawn."""
        pairs = zip(labels.tolist(), draws.tolist(), strict=True)
        return np.array([pair in self.pairs for pair in pairs], bool)


def told_of(labels: Labels, draws: Draws) -> str:
    """Return what is drawn as `Drawn.of` reads it; the same wherever images are in the set."""
    pairs = sorted(zip(labels.tolist(), draws.tolist(), strict=True))
    return json.dumps({"drawn": pairs}) if pairs else ""


@dataclass(frozen=True)
class Samples(Cover):
    """Some images show themselves, as a catalogue would show them.

    Attributes
    ----------
    key : DatasetKey
        Draws the images, and the pictures of all others.
    count : int
        How many images of each class, drawn by the key; fewer where a class has fewer. No more than
        a quarter of all images are shown so, or one: with measured numbers as labels, or a class
        for each person, all could be. A set that grew shows the same ones, but for new images that
        are drawn before these.
    names : tuple of str
        The images, where the owner names them; none is drawn then.
    labelled : bool
        Whether there are labels; without, all images are one class.
    earlier : Drawn
        What a run drew before this one: those come first, or are all.
    chosen : mapping of shape to ndarray of int
        Places of the images that were drawn; set by `prepared`.
    told : str
        What was drawn, for runs to come; set by `prepared`.

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
    earlier: Drawn = field(default_factory=Drawn, repr=False)
    chosen: Mapping[Shape, npt.NDArray[np.intp]] = field(default_factory=dict, repr=False)
    told: str = field(default="", repr=False)
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

    def drawn_before(self, told: str, *, is_all: bool) -> Samples:
        return replace(self, earlier=Drawn.of(told, is_all=is_all))

    @contextmanager
    def prepared(self, whole: ImageSet) -> Iterator[Samples]:
        yield self if self.names else self._drawing(whole)

    def drawn(self) -> str:
        """Return what was drawn: others, beside those that are shown already, would be too many."""
        return self.told

    def _drawing(self, whole: ImageSet) -> Samples:
        """Draw so many images of each class, of whatever shape."""
        shapes, counts = list(whole.counts), list(whole.counts.values())
        if self.labelled:
            labels = np.concatenate([whole.labels[shape] for shape in shapes])
        else:
            labels = np.zeros(sum(counts), np.int64)
        by_place = self.earlier.by_place
        draws = self._by_place(len(labels)) if by_place else self._by_content(whole)
        known = self.earlier.has(labels, draws)
        shows = _first_of_each(self.count, labels, draws, known)
        if self.earlier.is_all:
            shows &= known
        elif not by_place and shows.sum() > max(1, len(shows) * _MOST_SHOWN):
            raise InputError(_TOO_MANY.format(shows.sum(), len(shows), len(np.unique(labels))))
        parts = np.split(shows, np.cumsum(counts)[:-1])
        chosen = {shape: np.flatnonzero(part) for shape, part in zip(shapes, parts, strict=True)}
        if by_place:
            places = {str(shape): each.tolist() for shape, each in chosen.items()}
            return replace(self, chosen=chosen, told=json.dumps(places) if places else "")
        told = self.earlier.told if self.earlier.is_all else told_of(labels[shows], draws[shows])
        return replace(self, chosen=chosen, told=told)

    def _by_content(self, whole: ImageSet) -> Draws:
        """Draw a number for each image, the same in whatever set it is, and wherever in it."""
        found = [np.empty(0, np.uint64)]
        for digests in whole.digests():
            drawn = drawn_for(self.key, b"samples", map(bytes, digests))
            found.append(drawn[:, :8].copy().view("<u8")[:, 0])
        return np.concatenate(found)

    def _by_place(self, count: int) -> Draws:
        """Draw as earlier versions did, for runs that they began."""
        return np.frombuffer(randomness(self.key, 8 * count, b"samples"), "<u8")

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


def _first_of_each(
    count: int, labels: Labels, draws: Draws, known: npt.NDArray[np.bool_]
) -> npt.NDArray[np.bool_]:
    """Tell which images are the first of their class: those that are known, then as drawn."""
    order = np.lexsort((draws, ~known, labels))
    starts = np.flatnonzero(np.diff(labels[order], prepend=labels[order][:1] - 1))
    ranks = np.arange(len(order)) - np.repeat(starts, np.diff(starts, append=len(order)))
    shows = np.zeros(len(order), bool)
    shows[order] = ranks < count
    return shows


_MOST_SHOWN = 0.25
"""Part of all images that samples are at most, where the owner does not name them; or one."""

_TOO_MANY = (
    "{} of {} images would show themselves (classes: {}), and no more than a quarter may; draw "
    "fewer (--samples), name those that are to be shown (--sample NAME), draw them from all images "
    "(--no-labels), or take cover blank"
)
