"""The surrogate: a network trained on the owner's clean images, and what FSP makes of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dsguard._checks import as_batch
from dsguard.choices import LAYERS
from dsguard.covers.base import check_labels
from dsguard.covers.pattern_fitting import fit_patterns
from dsguard.covers.patterns import GRID, Patterns
from dsguard.errors import FormatError, InputError, raise_if_of_machine
from dsguard.kernels.contract import Images
from dsguard.networks.resnet import ResNet18, build
from dsguard.networks.training import (
    Recipe,
    choose_device,
    default_width,
    frozen,
    load_whole,
    place,
    precision,
    save_whole,
    to_pixels,
    train,
)

_KIND = "dsguard-surrogate"
_VERSION = 3


@dataclass(frozen=True, repr=False, eq=False)
class Surrogate:
    """A trained network, class centroids of its features and class-wise perturbations.

    Keep it as private as the key.

    Attributes
    ----------
    model : ResNet18
    classes : ndarray of int64, shape (K,)
        The labels that it knows, ascending.
    centroids : dict of str to Tensor
        By layer, the mean feature of each class, (K, C).
    patterns : Patterns
        The class-wise perturbations.
    image_shape : tuple of int
        (H, W, C) of the images it was trained on.
    width : int
        Of the network.
    class_names : tuple of str
        Names of the classes, where the dataset has them; class number k is ``class_names[k]``.
    """

    model: ResNet18
    classes: npt.NDArray[np.int64]
    centroids: dict[str, Tensor]
    patterns: Patterns
    image_shape: tuple[int, int, int]
    width: int
    class_names: tuple[str, ...] = ()

    @property
    def device(self) -> torch.device:
        """Where the network lies."""
        return next(self.model.parameters()).device

    def to(self, device: str | torch.device) -> Surrogate:
        """Return this surrogate on `device`; the network itself moves."""
        place(self.model, torch.device(device))
        moved = {layer: centroid.to(device) for layer, centroid in self.centroids.items()}
        return replace(self, centroids=moved)

    def __repr__(self) -> str:
        """Describe it in a line, without its weights."""
        shape = "x".join(map(str, self.image_shape))
        return f"Surrogate(classes={len(self.classes)}, image_shape={shape}, width={self.width})"

    def check_channels(self, channels: int) -> None:
        """Raise InputError where images have colours and those of the surrogate had none."""
        if channels >= 3 and self.image_shape[2] == 1:
            msg = "the surrogate was trained on gray images, these have colours"
            raise InputError(msg)

    def class_numbers(self, labels: npt.ArrayLike, count: int) -> npt.NDArray[np.int64]:
        """Return the labels of `count` images as positions in `classes`.

        Raises
        ------
        InputError
            If there is not one label for each image, or one is not in `classes`; the message names
            its index.
        """
        given = check_labels(labels, count)
        numbers = np.searchsorted(self.classes, given).clip(max=len(self.classes) - 1)
        unknown = np.flatnonzero(self.classes[numbers] != given)
        if len(unknown):
            index = int(unknown[0])
            msg = f"its label {given[index]} is not one that the surrogate was trained on"
            raise InputError(msg, index)
        return numbers.astype(np.int64)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the surrogate to a file, whole or not at all."""
        content = {
            "kind": _KIND,
            "version": _VERSION,
            "image_shape": list(self.image_shape),
            "width": self.width,
            "class_names": list(self.class_names),
            "classes": torch.from_numpy(self.classes),
            "centroids": {layer: centroid.cpu() for layer, centroid in self.centroids.items()},
            "patterns": torch.from_numpy(self.patterns.signs),
            "weights": {name: value.cpu() for name, value in self.model.state_dict().items()},
        }
        save_whole(content, Path(path))

    @classmethod
    def load(cls, path: str | os.PathLike[str], device: str | None = None) -> Surrogate:
        """Read a surrogate that `save` wrote; nothing in the file is executed.

        Raises
        ------
        FormatError
            If the file is no surrogate, or of a version that this dsguard does not know.
        """
        at = choose_device(device)
        content = _read(Path(path))
        try:
            return cls._of(content).to(at)
        except (
            ArithmeticError,
            AttributeError,
            LookupError,
            TypeError,
            ValueError,
            RuntimeError,
        ) as error:
            msg = f"{path} is a damaged surrogate: {error}"
            raise FormatError(msg) from error

    @classmethod
    def _of(cls, content: dict[str, Any]) -> Surrogate:
        height, image_width, channels = (int(side) for side in content["image_shape"])
        shape = (height, image_width, channels)
        _check(content)
        with torch.device("meta"):  # which takes no memory: a file can claim any width
            model = build(shape, len(content["classes"]), int(content["width"]), seed=0)
        model.load_state_dict(content["weights"], assign=True)
        return cls(
            model.eval(),
            content["classes"].numpy(),
            {layer: content["centroids"][layer] for layer in LAYERS},
            Patterns(content["patterns"].numpy()),
            shape,
            int(content["width"]),
            tuple(content["class_names"]),
        )


def fit_surrogate(
    images: npt.NDArray[np.uint8],
    labels: npt.ArrayLike,
    *,
    recipe: Recipe | None = None,
    width: int | None = None,
    device: str | None = None,
    class_names: Sequence[str] = (),
    on_epoch: Callable[[int], float | None] | None = None,
    on_round: Callable[[int], None] = lambda done: None,
    checkpoint: Path | None = None,
) -> Surrogate:
    """Train a surrogate network on clean images, and fit the class-wise perturbations with it.

    Parameters
    ----------
    images : ndarray of uint8, shape (N, H, W, C) or (N, H, W)
    labels : array-like of int, shape (N,)
        At least two different ones.
    recipe : Recipe, optional
    width : int, optional
        Channels of the first stage of the ResNet-18: by default 64 on CUDA and 16 on the CPU.
    device : str, optional
        By default CUDA where there is one, else the CPU.
    class_names : sequence of str, optional
        Names of the labels 0, 1, ...; kept with the surrogate.
    on_epoch : callable, optional
        Called with the number of epochs done after each of them.
    on_round : callable, optional
        Called with the number of rounds done in fitting the perturbations, of
        `dsguard.covers.pattern_fitting.ROUNDS`.
    checkpoint : Path, optional
        Where the training of the network is kept after every epoch, to go on from there another
        time.

    Returns
    -------
    Surrogate

    Raises
    ------
    InputError
        If images and labels do not fit together, or there are fewer than two classes.
    """
    recipe = recipe or Recipe()
    at = choose_device(device)
    batch = as_batch(images, "images")
    classes, numbers = np.unique(np.asarray(labels), return_inverse=True)
    if numbers.shape != (len(batch),) or not np.issubdtype(classes.dtype, np.integer):
        msg = f"expected {len(batch)} integer labels, got {classes.dtype} of {np.shape(labels)}"
        raise InputError(msg)
    if len(classes) < 2:
        msg = "a surrogate needs images of at least two classes"
        raise InputError(msg)
    width = width or default_width(at)
    shape = (batch.shape[1], batch.shape[2], batch.shape[3])
    model = build(shape, len(classes), width, recipe.seed)
    train(model, batch, numbers.astype(np.int64), recipe, at, on_epoch, checkpoint)
    centroids = _centroids(model, batch, numbers, len(classes), at)
    goals = centroids[LAYERS[-1]].roll(-1, dims=0)  # of the class that follows
    patterns = fit_patterns(model, goals, batch, numbers, at, recipe.seed, on_round=on_round)
    names = tuple(class_names)
    return Surrogate(model, classes.astype(np.int64), centroids, patterns, shape, width, names)


def _centroids(
    model: ResNet18,
    batch: Images,
    numbers: npt.NDArray[np.intp],
    classes: int,
    device: torch.device,
) -> dict[str, Tensor]:
    """Return the mean feature of each class at each layer."""
    centroids = {}
    with frozen(model), torch.no_grad(), precision(device):
        for layer in LAYERS:
            parts = [
                model.features(to_pixels(batch[start : start + 512], device), layer).float()
                for start in range(0, len(batch), 512)
            ]
            features = torch.cat(parts)
            of_class = torch.from_numpy(numbers).to(device)
            sums = torch.zeros(classes, features.shape[1], device=device)
            sums.index_add_(0, of_class, features)
            counts = torch.bincount(of_class, minlength=classes)
            centroids[layer] = sums / counts[:, None]
    return centroids


_MOST_ONE_SIDED = 0.75
"""Mean of the signs of a class; those of a fitted pattern are about as often +1 as -1."""


def _check(content: dict[str, Any]) -> None:
    """Refuse tensors that are larger than what the file has of them, and classes without one."""
    weights, classes, signs = content["weights"], content["classes"], content["patterns"]
    tensors = [*weights.values(), *content["centroids"].values(), classes, signs]
    if any(t.untyped_storage().nbytes() < t.numel() * t.element_size() for t in tensors):
        msg = "it has less than it claims"
        raise ValueError(msg)
    floats = [t for t in tensors if t.is_floating_point()]
    if not all(bool(torch.isfinite(t).all()) for t in floats):
        msg = "it has weights that are no numbers"
        raise ValueError(msg)
    kinds = {t.dtype for name, t in weights.items() if not name.endswith("num_batches_tracked")}
    fits = kinds == {torch.float32} and classes.dtype == torch.int64 and classes.ndim == 1
    fits &= signs.dtype == torch.int8
    fits &= tuple(signs.shape) in {(len(classes), channels, GRID, GRID) for channels in (1, 3)}
    fits &= bool((signs.abs() == 1).all())
    fits &= all(isinstance(name, str) for name in content["class_names"])
    if not fits or bool((classes[1:] <= classes[:-1]).any()):
        msg = "its parts do not belong together"
        raise ValueError(msg)
    if bool((signs.float().mean(dim=(1, 2, 3)).abs() > _MOST_ONE_SIDED).any()):
        msg = "its patterns are nearly flat: they would change little more than brightness"
        raise ValueError(msg)


def _read(path: Path) -> dict[str, Any]:
    try:
        content = load_whole(path)
    except FileNotFoundError:
        raise
    except Exception as error:
        raise_if_of_machine(error, str(path))
        msg = f"{path} is not a dsguard surrogate, or is damaged"
        raise FormatError(msg) from error
    if not isinstance(content, dict) or content.get("kind") != _KIND:
        msg = f"{path} is not a dsguard surrogate"
        raise FormatError(msg)
    if content.get("version") != _VERSION:
        found = content.get("version")
        msg = f"{path} has surrogate version {found}, expected {_VERSION}; fit a surrogate again"
        raise FormatError(msg)
    return content
