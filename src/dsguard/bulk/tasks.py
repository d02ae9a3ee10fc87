"""What is done to the images of a dataset: protect, restore, verify."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt

from dsguard import covers
from dsguard.covers import EPSILON, DrawnPatterns, Patterns
from dsguard.datasets.spool import read_image
from dsguard.errors import DsguardError, InputError
from dsguard.kernels.geometry import LARGEST_SIDE, SMALLEST_SIDE
from dsguard.profiles import Profile
from dsguard.protection import are_protected, protect_batch, restore_batch

if TYPE_CHECKING:
    from dsguard.fsp import Attack, Surrogate
    from dsguard.keys import DatasetKey

Image = npt.NDArray[np.uint8]


@dataclass
class Batch:
    """Images of one shape, (N, H, W, C), and what is known of them."""

    names: list[str]
    classes: list[str]
    images: Image
    sidecars: dict[int, bytes] = field(default_factory=dict)

    def taken(self, rows: list[int]) -> Batch:
        """Return some of the images, without their sidecars."""
        names, classes = [self.names[n] for n in rows], [self.classes[n] for n in rows]
        return Batch(names, classes, self.images[rows])


@dataclass
class Processed:
    """What became of a batch, by index in it."""

    images: Image
    errors: dict[int, DsguardError] = field(default_factory=dict)
    sidecars: dict[int, bytes] = field(default_factory=dict)
    profiles: list[str] = field(default_factory=list)


class Task(ABC):
    """Something done to each image by itself; it can be sent to other processes.

    Attributes
    ----------
    verb : str
        What its results are called.
    key : DatasetKey
    writes : bool
        Whether it has images to write.
    publishes : bool
        Whether its results are for strangers, so that what lies beside images is reviewed.
    """

    verb: ClassVar[str]
    writes: ClassVar[bool] = True
    publishes: ClassVar[bool] = True
    key: DatasetKey

    @abstractmethod
    def process(self, batch: Batch, threads: int | None) -> Processed:
        """Return what becomes of a batch."""

    @property
    def needs_network(self) -> bool:
        """Whether a network is run for each image, which a GPU does best."""
        return False

    def settings(self) -> dict[str, str]:
        """Return all that decides the bytes that come out."""
        return {"task": self.verb, "key": self.key.key_id}

    def checked(self, batch: Batch, threads: int | None) -> Processed:
        """Return what becomes of a batch, images of a wrong size included."""
        height, width = batch.images.shape[1:3]
        try:
            if min(height, width) < SMALLEST_SIDE or max(height, width) > LARGEST_SIDE:
                msg = f"has {width}x{height} pixels; sides are {SMALLEST_SIDE} to {LARGEST_SIDE}"
                raise InputError(msg)
            return self.process(batch, threads)
        except DsguardError as error:  # one that concerns every image of this shape
            everyone = range(len(batch.names))
            return Processed(batch.images, dict.fromkeys(everyone, error.to_keep()))


@dataclass(frozen=True)
class Restore(Task):
    """Restore protected images."""

    verb = "restored"
    publishes = False
    key: DatasetKey

    def process(self, batch: Batch, threads: int | None) -> Processed:
        done = restore_batch(
            batch.images, self.key, sidecars=batch.sidecars, on_error="report", threads=threads
        )
        return Processed(done.images, done.errors, profiles=done.profiles)


@dataclass(frozen=True)
class Verify(Restore):
    """See which protected images can still be restored; nothing is written."""

    verb = "intact"
    writes = False


class Perturbation(ABC):
    """What gives the targets of protection."""

    needs_network: ClassVar[bool] = False

    @abstractmethod
    def refused(self, batch: Batch) -> dict[int, DsguardError]:
        """Return the images that have no target, by index, and why."""

    @abstractmethod
    def targets(self, batch: Batch) -> Image:
        """Return the target of each image; none of them is one that was refused."""

    @abstractmethod
    def settings(self) -> dict[str, str]:
        """Return what decides them."""


@dataclass(frozen=True)
class Protect(Task):
    """Perturb images and protect them."""

    verb = "protected"
    key: DatasetKey
    profile: str
    perturbation: Perturbation

    @property
    def needs_network(self) -> bool:
        return self.perturbation.needs_network

    def process(self, batch: Batch, threads: int | None) -> Processed:
        errors = self.perturbation.refused(batch)
        twice = "is protected already; give the clean images"
        errors |= {int(n): InputError(twice) for n in are_protected(batch.images).nonzero()[0]}
        good = [n for n in range(len(batch.names)) if n not in errors]
        images, sidecars = batch.images, {}
        if good:
            part = batch if not errors else batch.taken(good)
            target = self.perturbation.targets(part)
            codec = Profile.named(self.profile).codec
            done = protect_batch(part.images, self.key, target=target, codec=codec, threads=threads)
            images = done.images if not errors else _spread(done.images, good, batch.images)
            sidecars = {good[n]: data for n, data in done.sidecars.items()}
        return Processed(images, errors, sidecars, [self.profile] * len(batch.names))

    def settings(self) -> dict[str, str]:
        own = {"profile": self.profile, **self.perturbation.settings()}
        return {**super().settings(), **own}


@dataclass(frozen=True, eq=False)
class ClassWise(Perturbation):
    """A pattern for each class; no network is run."""

    patterns: Patterns
    class_names: tuple[str, ...]
    epsilon: int
    block: int

    def refused(self, batch: Batch) -> dict[int, DsguardError]:
        return _unknown(batch, self.class_names)

    def targets(self, batch: Batch) -> Image:
        numbers = _numbers(batch, self.class_names)
        out = batch.images.copy()
        out[..., :3] = self.patterns.added(
            batch.images, batch.images, numbers, self.epsilon, self.block
        )
        return out

    def settings(self) -> dict[str, str]:
        made_of = self.patterns.signs.tobytes()
        return {
            "perturbation": f"class-wise, ε {self.epsilon}, block {self.block}",
            "patterns": hashlib.sha256(made_of + repr(self.class_names).encode()).hexdigest(),
        }


@dataclass(frozen=True)
class SampleWise(Perturbation):
    """The activation attack on each image; every process loads the surrogate for itself."""

    needs_network = True
    surrogate: Path
    attack: Attack
    device: str | None = None

    def refused(self, batch: Batch) -> dict[int, DsguardError]:
        return _unknown(batch, _loaded(self.surrogate, self.device).class_names)

    def targets(self, batch: Batch) -> Image:
        from dsguard.fsp import perturb

        surrogate = _loaded(self.surrogate, self.device)
        numbers = _numbers(batch, surrogate.class_names)
        return perturb(batch.images, surrogate.classes[numbers], surrogate, self.attack)

    def settings(self) -> dict[str, str]:
        return {
            "perturbation": repr(self.attack),
            "surrogate": hashlib.sha256(self.surrogate.read_bytes()).hexdigest(),
        }


@lru_cache(maxsize=1)
def _loaded(path: Path, device: str | None) -> Surrogate:
    from dsguard.fsp import Surrogate

    return Surrogate.load(path, device)


def _numbers(batch: Batch, class_names: tuple[str, ...]) -> npt.NDArray[np.int64]:
    known = {name: number for number, name in enumerate(class_names)}
    return np.array([known[name] for name in batch.classes], np.int64)


def _unknown(batch: Batch, class_names: tuple[str, ...]) -> dict[int, DsguardError]:
    known = set(class_names)
    return {
        n: InputError(f"the surrogate was not trained on its class, {name!r}")
        for n, name in enumerate(batch.classes)
        if name not in known
    }


def _spread(images: Image, rows: list[int], like: Image) -> Image:
    """Return images in the places that they have among others."""
    out = np.zeros_like(like)
    out[rows] = images
    return out


@dataclass(frozen=True)
class Veil(Perturbation):
    """Other images of the set, from a spool, with a pattern for each label.

    Attributes
    ----------
    spool : Path
        All images, decoded.
    class_names : tuple of str
        Of all images.
    starts : dict of str to int
        Where in the spool the image lies that each is hidden in.
    """

    key: DatasetKey
    epsilon: int = EPSILON
    spool: Path = Path()
    class_names: tuple[str, ...] = ()
    starts: dict[str, int] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if type(self.epsilon) is not int or not 0 <= self.epsilon <= 255:
            msg = f"epsilon is a whole number of 0 to 255, not {self.epsilon!r}"
            raise InputError(msg)

    def refused(self, batch: Batch) -> dict[int, DsguardError]:
        msg = (
            "profile veil hides each image in another of the same size, and there is no other; add "
            "images of its size, or take another profile"
        )
        alone = (n for n, name in enumerate(batch.names) if name not in self.starts)
        return {n: InputError(msg) for n in alone}

    def targets(self, batch: Batch) -> Image:
        with self.spool.open("rb") as file:
            shape = batch.images.shape[1:]
            shown = np.stack([read_image(file, self.starts[n], shape) for n in batch.names])
        labels = _numbers(batch, self.class_names)
        mark, grid = DrawnPatterns(self.key, self.epsilon), Profile.named("veil").codec.grid
        return mark.put(covers.Batch(batch.images, labels), shown, grid)

    def settings(self) -> dict[str, str]:
        made_of = Patterns.drawn([0], self.key).signs.tobytes()
        return {
            "perturbation": f"veil, ε {self.epsilon}",
            "patterns": hashlib.sha256(made_of).hexdigest(),
        }
