"""Class-wise perturbations: what FSP makes for a whole class at once, on a coarse grid.

A network finds a perturbation sooner the more images share it, and what it finds before it has
learned anything else keeps it from learning. One pattern for each class is found at once, and
taken out as easily: by a linear classifier, or as the mean of the class. So a pattern has two
halves. The *fixed* cells are the same in all images of the class; the *alternating* ones change
their sign from image to image, have no mean, and no linear classifier sees them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dsguard.fsp.resnet import ResNet18
from dsguard.fsp.training import frozen, precision, to_pixels
from dsguard.kernels.contract import Images

GRID = 8
"""Cells of a pattern from top to bottom and from side to side, whatever the size of the image: 4
pixels of a CIFAR image, whole blocks of any image."""

_RADIUS = 16 / 255
_STEP = 1.6 / 255
_DECAY = 0.9
_ROUNDS = 80
_BATCH = 512

Cells = npt.NDArray[np.int8]


@dataclass(frozen=True)
class Patterns:
    """One pattern for each class.

    Attributes
    ----------
    signs : ndarray of int8, shape (K, C, 8, 8)
        1 or -1: whether a cell grows brighter or darker, by ε.
    fixed : ndarray of bool, shape (K, C, 8, 8)
        False where the sign alternates.
    """

    signs: Cells
    fixed: npt.NDArray[np.bool_]

    def of(self, images: Images, numbers: npt.NDArray[np.int64], block: int) -> Cells:
        """Return the pattern of each image, (N, H, W, C) of 1 and -1, constant on its blocks.

        The alternating cells of an image have the sign of the parity of its sum: as good as drawn,
        and the same again for the same image.
        """
        height, width, channels = images.shape[1:]
        odd = images[..., :3].sum(axis=(1, 2, 3), dtype=np.int64) & 1
        alternated = np.where(self.fixed[numbers], 1, 1 - 2 * odd[:, None, None, None])
        cells = (self.signs[numbers] * alternated).transpose(0, 2, 3, 1)
        if channels == 1 and cells.shape[3] == 3:
            cells = np.where(cells.sum(axis=3, keepdims=True) > 0, 1, -1)
        rows, columns = _cell_of(height, block), _cell_of(width, block)
        return cells[:, rows[:, None], columns].astype(np.int8)


def fit_patterns(
    model: ResNet18,
    goals: Tensor,
    images: Images,
    numbers: npt.NDArray[np.int64],
    device: torch.device,
    seed: int = 0,
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

    Returns
    -------
    Patterns
    """
    rng = np.random.default_rng(seed)
    shape = (len(goals), min(images.shape[3], 3), GRID, GRID)
    fixed = rng.random(shape) < 0.5
    pattern = torch.from_numpy(rng.choice([-1.0, 1.0], shape)).float().to(device) * _RADIUS / 4
    momentum = torch.zeros_like(pattern)
    rows, columns = (torch.from_numpy(_cell_of(side, 1)).to(device) for side in images.shape[1:3])
    with frozen(model):
        for _ in range(_ROUNDS):
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
    signs = np.where(pattern.cpu().numpy() < 0, -1, 1).astype(np.int8)
    return Patterns(signs, fixed)


def _scaled(gradient: Tensor) -> Tensor:
    return gradient / (gradient.abs().mean(dim=(1, 2, 3), keepdim=True) + 1e-12)


def _cell_of(side: int, block: int) -> npt.NDArray[np.int64]:
    """Return the cell that each row (or column) of an image lies in: whole blocks, GRID cells."""
    blocks = max(1, side // block)
    return np.minimum(np.arange(side) // block, blocks - 1) * GRID // max(blocks, GRID)
