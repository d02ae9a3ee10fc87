"""Fitting class-wise perturbations with a surrogate."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dsguard.covers.patterns import FLAT, GRID, TILE, Patterns, cell_of
from dsguard.kernels.contract import Images
from dsguard.keys import DatasetKey
from dsguard.networks.resnet import ResNet18
from dsguard.networks.training import frozen, precision, to_pixels

ROUNDS = 80

_RADIUS = 16 / 255
_STEP = 1.6 / 255
_DECAY = 0.9
_BATCH = 512


def fit_patterns(
    model: ResNet18,
    goals: Tensor,
    images: Images,
    numbers: npt.NDArray[np.int64],
    device: torch.device,
    seed: int = 0,
    on_round: Callable[[int], None] = lambda done: None,
) -> Patterns:
    """Find the patterns that drive the images of each class to its goal in feature space.

    Textures are those that `Patterns.drawn` gives; flat tiles are fitted. Momentum iterative sign
    steps, as for single images (`dsguard.covers.perturbation`). The gradients of all images of a
    class in a batch are added up.

    Parameters
    ----------
    model : ResNet18
    goals : Tensor, shape (K, F)
        By class, the pooled features of the last layer to go to. Which texture goes to which class
        is drawn by them.
    images : ndarray of uint8, shape (N, H, W, C)
    numbers : ndarray of int64, shape (N,)
        Class numbers of the images.
    device : torch.device
    seed : int
        Of the first signs and of the order of the images.
    on_round : callable, optional
        Called with the number of rounds done, of `ROUNDS`, after each of them.

    Returns
    -------
    Patterns
    """
    rng = np.random.default_rng(seed)
    secret = hashlib.sha256(goals.cpu().numpy().tobytes()).digest()
    drawn = Patterns.drawn(range(len(goals)), DatasetKey(secret), min(images.shape[3], 3))
    shape = (*drawn.signs.shape[:2], GRID // TILE, GRID // TILE)
    signs = torch.from_numpy(rng.choice([-1.0, 1.0], shape)).float().to(device) * _RADIUS / 4
    momentum = torch.zeros_like(signs)
    rows, columns = (cell_of(side, 1) for side in images.shape[1:3])
    flat = torch.from_numpy(FLAT[rows[:, None], columns]).to(device)
    down, across = (torch.from_numpy(cells // TILE).to(device) for cells in (rows, columns))
    with frozen(model):
        for done in range(1, ROUNDS + 1):
            picked = rng.permutation(len(images))[:_BATCH]
            of_class = torch.from_numpy(numbers[picked]).to(device)
            textures = torch.from_numpy(drawn.of(images[picked], numbers[picked], 1)).to(device)
            own = signs[of_class].requires_grad_()
            delta = torch.where(
                flat, own[..., down[:, None], across], _RADIUS * textures.permute(0, 3, 1, 2)
            )
            pixels = (to_pixels(images[picked], device) + delta).clamp(0, 1)
            with precision(device):
                features = model.features(pixels).float()
            distance = (features - goals[of_class]).square().sum()
            (gradient,) = torch.autograd.grad(distance, own)
            summed = torch.zeros_like(signs).index_add_(0, of_class, _scaled(gradient))
            momentum = _DECAY * momentum + _scaled(summed)
            signs = (signs - _STEP * momentum.sign()).clamp(-_RADIUS, _RADIUS)
            on_round(done)
    return drawn.with_flat(np.where(signs.cpu().numpy() < 0, -1, 1).astype(np.int8))


def _scaled(gradient: Tensor) -> Tensor:
    return gradient / (gradient.abs().mean(dim=(1, 2, 3), keepdim=True) + 1e-12)
