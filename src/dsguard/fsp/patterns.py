"""Which texture each class gets: feature-space perturbation of a whole class at once."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dsguard.envelope import DatasetKey
from dsguard.fsp.resnet import ResNet18
from dsguard.fsp.training import frozen, precision, to_pixels
from dsguard.kernels.contract import Images
from dsguard.patterns import Patterns, count_of_kinds, kinds_of
from dsguard.profile import STRENGTHS

_EPSILON = STRENGTHS["standard"]
_BATCH = 512
_PER_CLASS = 50


def fit_patterns(
    model: ResNet18,
    goals: Tensor,
    images: Images,
    numbers: npt.NDArray[np.int64],
    device: torch.device,
    seed: int = 0,
) -> Patterns:
    """Choose the patterns that drive the images of each class nearest to its goal in feature space.

    Every kind of texture is tried on a sample of every class, at ε 16. Then the pair of class and
    pattern that is best goes first, compared with the other patterns of the class; no pattern goes
    to two classes.

    Parameters
    ----------
    model : ResNet18
    goals : Tensor, shape (K, F)
        By class, the pooled features of the last layer to go to. They are also the secret that
        kinds are counted by.
    images : ndarray of uint8, shape (N, H, W, C)
    numbers : ndarray of int64, shape (N,)
        Class numbers of the images.
    device : torch.device
    seed : int
        Of the sample.

    Returns
    -------
    Patterns
    """
    channels = min(images.shape[3], 3)
    key = DatasetKey(hashlib.sha256(goals.cpu().numpy().tobytes()).digest())
    sample = _sample(numbers, seed)
    kinds = count_of_kinds(channels)
    one_kind = Patterns.drawn(range(kinds), key, channels)
    by_kind = np.stack(
        [
            _distances(model, goals, images[sample], numbers[sample], one_kind, kind, device)
            for kind in range(kinds)
        ]
    )
    candidates = range(max(len(goals), kinds))
    cost = np.stack([by_kind[kinds_of(n, channels)].mean(axis=0) for n in candidates], axis=1)
    return Patterns.drawn(_assigned(cost - cost.mean(axis=1, keepdims=True)), key, channels)


def _sample(numbers: npt.NDArray[np.int64], seed: int) -> npt.NDArray[np.int64]:
    """Return the indices of some images of each class."""
    order = np.random.default_rng(seed).permutation(len(numbers))
    return np.concatenate(
        [order[numbers[order] == number][:_PER_CLASS] for number in np.unique(numbers)]
    )


def _distances(
    model: ResNet18,
    goals: Tensor,
    images: Images,
    numbers: npt.NDArray[np.int64],
    patterns: Patterns,
    kind: int,
    device: torch.device,
) -> npt.NDArray[np.float64]:
    """Return by class the mean distance from its goal of images with a pattern, (K,)."""
    total = np.zeros(len(goals))
    with frozen(model), torch.no_grad(), precision(device):
        for start in range(0, len(images), _BATCH):
            part, own = images[start : start + _BATCH], numbers[start : start + _BATCH]
            moved = patterns.added(part, part, np.full(len(part), kind), _EPSILON, 1)
            features = model.features(to_pixels(moved, device)).float()
            distance = (features - goals[torch.from_numpy(own).to(device)]).norm(dim=1)
            np.add.at(total, own, distance.cpu().numpy())
    return total / np.bincount(numbers, minlength=len(goals))


def _assigned(cost: npt.NDArray[np.float64]) -> list[int]:
    """Return for each row a column of its own: the cheapest pair first, and so on."""
    chosen, free = np.full(len(cost), -1), np.ones(cost.shape[1], bool)
    for pair in np.argsort(cost, axis=None, kind="stable"):
        row, column = divmod(int(pair), cost.shape[1])
        if chosen[row] < 0 and free[column]:
            chosen[row], free[column] = column, False
    return [int(column) for column in chosen]
