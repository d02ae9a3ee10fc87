"""The contract of attacks: what trainers without the key do to make use of protected images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt
from torch import nn

from dsguard.kernels.contract import Images
from dsguard.networks.training import Alter

Labels = npt.NDArray[np.int64]


class Learn(Protocol):
    """Training of a new network, as the trial trains its own; crops and flips are added."""

    def __call__(self, images: Images, labels: Labels, alter: Alter | None = None, /) -> nn.Module:
        """Return the network; `alter` changes each batch, as that of a `CounterMeasure` does."""


@dataclass(frozen=True)
class Known:
    """The images that an attacker has besides those published.

    Attributes
    ----------
    images : ndarray of uint8, shape (N, H, W, C)
        Clean images of the attacker's own.
    labels : ndarray of int64, shape (N,)
        Their classes.
    same_classes : bool
        Whether these are numbered as those of the published images.
    protected : ndarray of uint8, shape (N, H, W, C)
        The same images as dsguard protects them, with a key and a surrogate of the attacker's own.
    """

    images: Images
    labels: Labels
    protected: Images
    same_classes: bool = True


@dataclass(frozen=True)
class Setting:
    """The things that an attack starts from, and those that it makes of them.

    Attributes
    ----------
    images : ndarray of uint8, shape (N, H, W, C)
        As published.
    labels : ndarray of int64, shape (N,)
        Class numbers from 0.
    test_images : ndarray of uint8, shape (M, H, W, C)
        Clean images, of unknown class.
    learn : callable
        Trains a new network on (images, labels).
    known : Known, optional
    seed : int
        Of whatever the attack draws.
    begin : Module, optional
        A trained network, with whose weights that of the trial begins.
    """

    images: Images
    labels: Labels
    test_images: Images
    learn: Learn
    known: Known | None = None
    seed: int = 0
    begin: nn.Module | None = None


Prepare = Callable[[Setting], Setting]


@dataclass(frozen=True)
class CounterMeasure:
    """One thing to do to the images, before training or in each batch of it.

    Attributes
    ----------
    name : str
        What users say: ``--against jpeg``.
    title : str
        What tables say.
    source : str
        Who described it, or that it is our own.
    prepare : callable, optional
        `Setting` to `Setting`, once.
    alter : callable, optional
        (network, pixels, class probabilities, generator) to (pixels, class probabilities), in each
        batch.
    network : str, optional
        One of `NETWORKS`, where the attack has a network of its own.
    needs : str
        ``"pairs"`` where it needs images of the attacker's own, clean and protected; ``"labels"``
        where these have to be of the same classes; else empty.
    part_of : str
        The attack that this is a step of, and undoes nothing without: it is none by itself.
    """

    name: str
    title: str
    source: str = "usual"
    prepare: Prepare | None = None
    alter: Alter | None = None
    network: str | None = None
    needs: str = ""
    part_of: str = ""


def on_all(change: Callable[[Images], Images]) -> Prepare:
    """Return a preparation that changes training and test images alike."""

    def prepare(given: Setting) -> Setting:
        return replace(given, images=change(given.images), test_images=change(given.test_images))

    return prepare


def known_of(given: Setting) -> Known:
    """Return the images of the attacker's own, which have to be there."""
    assert given.known is not None, "trials without them are refused before"
    return given.known
