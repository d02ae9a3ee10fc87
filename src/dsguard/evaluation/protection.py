"""How a study protects: a profile, what it shows, and how far."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from dsguard.api import protect_batch, restore_batch
from dsguard.codecs import Codec
from dsguard.covers import Cover, Given
from dsguard.covers.named import NEED_SURROGATE, Ingredients, cover_named
from dsguard.evaluation.attacks.base import Labels
from dsguard.fsp import Attack, Surrogate, perturb
from dsguard.kernels.contract import Images
from dsguard.keys import DatasetKey
from dsguard.profiles import Profile

OnBatch = Callable[[int], None]


class Protects(Protocol):
    """Anything that makes protected images for a study."""

    @property
    def needs_surrogate(self) -> bool:
        """Whether it wants a surrogate network."""
        ...

    def settings(self) -> dict[str, Any]:
        """Return all that decides what it makes."""
        ...

    def protect(
        self,
        images: Images,
        labels: Labels,
        key: DatasetKey,
        surrogate: Surrogate | None,
        on_batch: OnBatch | None = None,
    ) -> tuple[Images, Images]:
        """Return protected images, and the same restored."""
        ...


@dataclass(frozen=True)
class Protection:
    """A profile of dsguard, with the cover that it has or another one.

    Attributes
    ----------
    profile : str
    attack : Attack
        Only its ε matters to covers that are made without a network.
    shows : str, optional
        The name of a cover, where not as the profile has it.
    cells, samples : int
        Of covers preview and samples.
    labelled : bool
        Whether covers may tell the class.
    """

    profile: str
    attack: Attack
    shows: str | None = None
    cells: int = 8
    samples: int = 1
    labelled: bool = True

    @property
    def needs_surrogate(self) -> bool:
        """Whether covers are made with a surrogate network."""
        return self._shows in NEED_SURROGATE

    @property
    def _shows(self) -> str:
        return self.shows or Profile.named(self.profile).shows

    @property
    def _codec(self) -> Codec:
        profile = Profile.named(self.profile)
        return profile.codec if self._shows == profile.shows else profile.plain_codec

    def settings(self) -> dict[str, Any]:
        """Return all that decides what it makes."""
        chosen: dict[str, Any] = {"attack": asdict(self.attack), "profile": self.profile}
        if self.shows is not None:
            chosen |= {"cover": self.shows, "cells": self.cells, "samples": self.samples}
        return chosen if self.labelled else chosen | {"labels": False}

    def protect(
        self,
        images: Images,
        labels: Labels,
        key: DatasetKey,
        surrogate: Surrogate | None,
        on_batch: OnBatch | None = None,
    ) -> tuple[Images, Images]:
        """Return protected images, and the same restored."""
        cover: Cover
        if self.needs_surrogate:
            assert surrogate is not None
            target = perturb(images, labels, surrogate, self.attack, on_batch=on_batch)
            cover = Given(target)
        else:
            of = Ingredients(
                key,
                epsilon=self.attack.epsilon,
                labelled=self.labelled,
                cells=self.cells,
                samples=self.samples,
            )
            cover = cover_named(self._shows, of)
        codec = self._codec
        batch = protect_batch(images, key, cover=cover, labels=labels, codec=codec)
        return batch.images, restore_batch(batch.images, key, sidecars=batch.sidecars)
