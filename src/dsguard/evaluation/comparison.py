"""One network on one version of a training set, tested on clean images: a row of a table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from dsguard.evaluation.attacks import Known, Setting, attack_named
from dsguard.evaluation.attacks.base import Labels
from dsguard.evaluation.data import Data
from dsguard.kernels.contract import Images
from dsguard.networks.small import LEARNING_RATES, build_network
from dsguard.networks.training import (
    Alter,
    Recipe,
    accuracy,
    choose_device,
    default_width,
    train,
)

OnTrained = Callable[[nn.Module, Images], None]


@dataclass(frozen=True)
class Row:
    """The accuracies of a network on one version of the training set.

    Attributes
    ----------
    name : str
        Of the version: ``"clean"``, ``"protected"``, ``"restored"``.
    train_accuracy : float
        On the images that it was trained on, 0 to 1.
    test_accuracy : float
        On clean test images, after the last epoch.
    peak_accuracy : float
        The best test accuracy after any epoch: what early stopping could have had.
    by_epoch : tuple of float
        Test accuracy after each epoch.
    """

    name: str
    train_accuracy: float
    test_accuracy: float
    peak_accuracy: float
    by_epoch: tuple[float, ...] = ()


def learn(
    name: str,
    images: Images,
    labels: npt.NDArray[np.int64],
    test_images: Images,
    test_labels: npt.NDArray[np.int64],
    *,
    recipe: Recipe,
    against: str = "none",
    network: str = "resnet18",
    width: int | None = None,
    device: str | None = None,
    on_epoch: Callable[[], None] | None = None,
    checkpoint: Path | None = None,
    known: Known | None = None,
    on_trained: OnTrained | None = None,
) -> Row:
    """Train one new network and test it after every epoch.

    Parameters
    ----------
    name : str
        Of the row.
    images : ndarray of uint8, shape (N, H, W, C)
    labels : ndarray of int64, shape (N,)
        Class numbers from 0.
    test_images, test_labels : ndarray
        Clean images that are not trained on.
    recipe : Recipe
    against : str
        A counter-measure of `COUNTERMEASURES`.
    network : str
        One of `NETWORKS`.
    width : int, optional
        Of the network; by default 64 on CUDA and 16 on the CPU.
    device : str, optional
    on_epoch : callable, optional
        Called after every epoch.
    checkpoint : Path, optional
        Where the training is kept after every epoch, to go on from there another time.
    known : Known, optional
        Images of the attacker's own, for those counter-measures that need them.
    on_trained : callable, optional
        Called with the trained network and the test images as it sees them.

    Returns
    -------
    Row
    """
    measure = attack_named(against)
    place = choose_device(device)
    classes = int(max(labels.max(), test_labels.max())) + 1
    width = width or default_width(place)
    network = measure.network or network
    rate = recipe.learning_rate * LEARNING_RATES.get(network, 1.0)
    recipe = replace(recipe, learning_rate=rate)

    def trained(own: Images, of: Labels, alter: Alter | None = None) -> nn.Module:
        new = build_network(
            network, own.shape[1:], max(classes, int(of.max()) + 1), width, recipe.seed
        )
        train(new, own, of, replace(recipe, augment=True), place, alter=alter)
        return new

    begin = None
    if measure.prepare is not None:
        given = Setting(images, labels, test_images, trained, known, recipe.seed)
        made = measure.prepare(given)
        images, labels, test_images, begin = made.images, made.labels, made.test_images, made.begin
    model = build_network(network, images.shape[1:], classes, width, recipe.seed)
    if begin is not None:
        model.load_state_dict(_fitting(begin, model), strict=False)

    def after_epoch(_: int, model: nn.Module = model) -> float:
        if on_epoch is not None:
            on_epoch()
        return accuracy(model, test_images, test_labels, place)

    history = train(model, images, labels, recipe, place, after_epoch, checkpoint, measure.alter)
    tests = [float(test) for test in history if test is not None]
    on_own = accuracy(model, images, labels, place)
    if on_trained is not None:
        on_trained(model, test_images)
    return Row(name, on_own, tests[-1], max(tests), tuple(tests))


def _fitting(begin: nn.Module, model: nn.Module) -> dict[str, Tensor]:
    """Return the weights of a network that another can begin with: the heads may differ."""
    own = model.state_dict()
    weights: dict[str, Tensor] = begin.state_dict()
    return {name: each for name, each in weights.items() if each.shape == own[name].shape}


def psnr(image: Images, other: Images) -> float:
    """Return the peak signal-to-noise ratio of two uint8 arrays in dB; infinite if equal."""
    error = float(((image.astype(np.float64) - other) ** 2).mean())
    return float("inf") if error == 0 else float(10 * np.log10(255**2 / error))


def cautions(data: Data, clean: Row) -> dict[str, str]:
    """Say how far a table can be trusted.

    Parameters
    ----------
    data : Data
        What was trained and tested on.
    clean : Row
        What the clean images taught.

    Returns
    -------
    dict of str to str
    """
    chance = np.bincount(data.test_labels).max() / len(data.test_labels)
    spread = np.sqrt(0.25 / len(data.test_labels))
    facts = {
        "Chance level": f"{chance:.1%}; test accuracies are known to about ±{2 * spread:.1%}",
    }
    if clean.peak_accuracy < chance + 4 * spread:
        facts["Caution"] = (
            "even the clean images taught the network little more than chance: this is too little "
            "data or training to conclude anything"
        )
    if data.left_out:
        facts["Left out"] = f"{data.left_out} images that cannot be read or are too small"
    return facts
