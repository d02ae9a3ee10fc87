"""Fitting class-wise perturbations with a surrogate."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dsguard.fsp.resnet import ResNet18
from dsguard.fsp.training import frozen, precision, to_pixels
from dsguard.kernels.contract import Images
from dsguard.patterns import GRID, Patterns, cell_of

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
    fixed_share: float = 0.5,
    on_round: Callable[[int], None] = lambda done: None,
) -> Patterns:
    """Find the patterns that drive the images of each class to its goal in feature space.

    Momentum iterative sign steps, as for single images (`dsguard.fsp.attack`), with the gradients
    of all images of a class in a batch added up.

    Parameters
    ----------
    model : ResNet18
    goals : Tensor, shape (K, F)
        By class, the pooled features of the last layer to go to.
    images : ndarray of uint8, shape (N, H, W, C)
    numbers : ndarray of int64, shape (N,)
        Class numbers of the images.
    device : torch.device
    seed : int
        Of the first signs, of which cells are fixed, and of the order of the images.
    fixed_share : float
        Of the cells, those that are the same in all images of the class.
    on_round : callable, optional
        Called with the number of rounds done, of `ROUNDS`, after each of them.

    Returns
    -------
    Patterns
    """
    rng = np.random.default_rng(seed)
    shape = (len(goals), min(images.shape[3], 3), GRID, GRID)
    fixed = rng.random(shape) < fixed_share
    pattern = torch.from_numpy(rng.choice([-1.0, 1.0], shape)).float().to(device) * _RADIUS / 4
    momentum = torch.zeros_like(pattern)
    rows, columns = (torch.from_numpy(cell_of(side, 1)).to(device) for side in images.shape[1:3])
    with frozen(model):
        for done in range(1, ROUNDS + 1):
            picked = rng.permutation(len(images))[:_BATCH]
            of_class = torch.from_numpy(numbers[picked]).to(device)
            alternate = torch.from_numpy(rng.choice([-1.0, 1.0], len(picked))).float().to(device)
            turned = torch.where(
                torch.from_numpy(fixed).to(device)[of_class], 1.0, alternate[:, None, None, None]
            )
            cells = (pattern[of_class] * turned).requires_grad_()
            delta = cells[:, :, rows[:, None], columns]
            pixels = (to_pixels(images[picked], device) + delta).clamp(0, 1)
            with precision(device):
                features = model.features(pixels).float()
            distance = (features - goals[of_class]).square().sum()
            (gradient,) = torch.autograd.grad(distance, cells)
            summed = torch.zeros_like(pattern).index_add_(0, of_class, _scaled(gradient) * turned)
            momentum = _DECAY * momentum + _scaled(summed)
            pattern = (pattern - _STEP * momentum.sign()).clamp(-_RADIUS, _RADIUS)
            on_round(done)
    signs = np.where(pattern.cpu().numpy() < 0, -1, 1).astype(np.int8)
    return Patterns(signs, fixed)


def _scaled(gradient: Tensor) -> Tensor:
    return gradient / (gradient.abs().mean(dim=(1, 2, 3), keepdim=True) + 1e-12)
