"""Attacks on whatever tells the class to a mean or to a linear classifier."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from dsguard.evaluation.attacks.base import Setting
from dsguard.evaluation.attacks.filters import evened
from dsguard.kernels.contract import Images


def minus_class_mean(given: Setting) -> Setting:
    """Take the mean of its class from each training image, and put the mean of all there.

    Test images are of unknown class: nothing is taken from them.
    """
    images, labels = given.images, given.labels
    means = np.stack([images[labels == label].mean(axis=0) for label in range(labels.max() + 1)])
    moved = images - means[labels] + images.mean(axis=0)
    return replace(given, images=moved.round().clip(0, 255).astype(np.uint8))


def project(given: Setting) -> Setting:
    """Project out what a linear classifier sees (Sandoval-Segura et al., arXiv 2305.19254).

    A softmax regression is fitted to the pixels of the training images; the span of its weights is
    taken out of every image.
    """
    pixels = _flat(given.images)
    center = pixels.mean(dim=0)
    weights = _softmax_regression(pixels - center, torch.from_numpy(given.labels))
    basis, _ = torch.linalg.qr(weights.T)

    def of(batch: Images) -> Images:
        flat = _flat(batch) - center
        projected = flat - (flat @ basis) @ basis.T + center
        levels: Images = (projected * 255).round().clamp(0, 255).byte().numpy()
        return levels.reshape(batch.shape)

    return replace(given, images=of(given.images), test_images=of(given.test_images))


def evened_and_projected(given: Setting) -> Setting:
    """Even out the cells, then project out what a linear classifier sees: the signs of tiles."""
    return project(evened(given))


def _flat(images: Images) -> Tensor:
    return torch.from_numpy(images.reshape(len(images), -1)).float() / 255


def _softmax_regression(pixels: Tensor, labels: Tensor, epochs: int = 60) -> Tensor:
    """Return the weights of a linear classifier, (classes, samples of an image)."""
    order = torch.Generator().manual_seed(0)
    weights = torch.zeros(int(labels.max()) + 1, pixels.shape[1], requires_grad=True)
    optimizer = torch.optim.Adam([weights], 1e-3)
    for _ in range(epochs):
        for picked in torch.split(torch.randperm(len(pixels), generator=order), 128):
            loss = functional.cross_entropy(pixels[picked] @ weights.T, labels[picked])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return weights.detach()
