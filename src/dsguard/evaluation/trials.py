"""Trials: a version of the training set each, and a way to train on it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from dsguard.evaluation.attacks import attack_named
from dsguard.kernels.contract import Images
from dsguard.networks.training import Recipe

VERSIONS = ("clean", "protected", "restored")


@dataclass(frozen=True)
class Trial:
    """One training.

    Attributes
    ----------
    version : str
        Of the training set: ``"clean"``, ``"protected"``, ``"restored"``, or ``"unprotected"``, the
        images alone that a partial protection leaves clean.
    against : str
        The counter-measure taken, one of `COUNTERMEASURES`.
    network : str
        One of `NETWORKS`.
    percent : int
        Of the images that are protected, drawn at random.
    """

    version: str
    against: str = "none"
    network: str = "resnet18"
    percent: int = 100

    @property
    def title(self) -> str:
        """The rows of tables, by image."""
        return ", ".join([self.images, *self._ways])

    @property
    def images(self) -> str:
        """The images that are trained on."""
        if self.version == "unprotected":
            return f"the other {100 - self.percent} % alone"
        return self.version if self.percent == 100 else f"{self.percent} % {self.version}"

    @property
    def way(self) -> str:
        """The way to train on them, whichever they are."""
        return ", ".join(self._ways) or "as they are"

    @property
    def _ways(self) -> list[str]:
        attack = [attack_named(self.against).title] if self.against != "none" else []
        return attack + ([self.network] if self.network != "resnet18" else [])

    @property
    def slug(self) -> str:
        """The names of files."""
        parts = (self.version, self.against, self.network, f"{self.percent}")
        return "-".join(part for part in parts if part not in ("none", "resnet18", "100"))

    @property
    def twin(self) -> Trial:
        """The same trial on clean images, if it is one on restored images."""
        return replace(self, version="clean") if self.version == "restored" else self

    def epochs(self, recipe: Recipe, images: int) -> int:
        """Return the epochs that make as many steps as those of a recipe on so many images.

        A trainer with fewer images has time for more epochs; what protected images add is what
        they add to that.
        """
        if self.version != "unprotected":
            return recipe.epochs
        own = images - images * self.percent // 100
        steps, own_steps = (-(-count // recipe.batch_size) for count in (images, own))
        return round(recipe.epochs * steps / own_steps)

    def training_set(
        self, versions: Mapping[str, Images], labels: npt.NDArray[np.int64]
    ) -> tuple[Images, npt.NDArray[np.int64]]:
        """Return images and labels to train on."""
        if self.percent == 100:
            return versions[self.version], labels
        order = np.random.default_rng(0).permutation(len(labels))
        clean = order[len(labels) * self.percent // 100 :]
        if self.version == "unprotected":
            clean = np.sort(clean)
            return versions["clean"][clean], labels[clean]
        mixed = versions[self.version].copy()
        mixed[clean] = versions["clean"][clean]
        return mixed, labels


def worst(learned: Mapping[str, float]) -> str:
    """Return the attack that makes most of protected images alone.

    Those by somebody who has labelled clean images as well learn from these: they are told apart.

    Parameters
    ----------
    learned : mapping of str to float
        Test accuracy by attack; ``"none"`` is one of them.
    """
    alone = [name for name in learned if attack_named(name).needs != "labels"]
    return max(alone, key=lambda name: learned[name])


TABLE_1 = tuple(Trial(version) for version in VERSIONS)
"""The paper's: a network on clean, on protected and on restored images."""


def matrix(
    against: Iterable[str] = (), networks: Iterable[str] = (), percents: Iterable[int] = ()
) -> list[Trial]:
    """Return the trials of `TABLE_1` and those asked for, each beside what it is compared with.

    Parameters
    ----------
    against : iterable of str
        Counter-measures, on clean and on protected images.
    networks : iterable of str
        Networks, on clean and on protected images.
    percents : iterable of int
        Shares of protected images, beside the unprotected ones alone; plainly, and with crops and
        flips, without which a few images teach little.
    """
    trials = list(TABLE_1)
    for version in ("clean", "protected"):
        trials += [Trial(version, measure) for measure in against]
        trials += [Trial(version, network=network) for network in networks]
    for percent in percents:
        for measure in ("none", "crop-and-flip"):
            trials += [Trial(v, measure, percent=percent) for v in ("protected", "unprotected")]
    return list(dict.fromkeys(trials))
