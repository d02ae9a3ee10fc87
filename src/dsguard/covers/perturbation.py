"""Feature-space perturbation, with targets that are consistent per class.

Class-wise, an image gets the pattern of its class, which was fitted with the surrogate
(`dsguard.covers.patterns`). Sample-wise, each image is attacked by itself, by the activation attack
(Inkawhich et al., CVPR 2019): momentum iterative sign steps on the Euclidean distance between an
image's features at one layer and those of its target class, inside an L∞ ball of radius ε. Either
way all images of a class are driven to the same place, the centroid of the class that follows
theirs: a network learns the shift only if it means the same everywhere.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from dsguard._checks import as_batch, like_input
from dsguard.choices import PERTURBING_PROFILE
from dsguard.covers.attack_settings import Attack
from dsguard.covers.surrogate import Surrogate
from dsguard.errors import InputError
from dsguard.kernels.contract import Images
from dsguard.networks.training import frozen, precision, to_pixels


def perturb(
    images: npt.NDArray[np.uint8],
    labels: npt.ArrayLike,
    surrogate: Surrogate,
    attack: Attack | None = None,
    on_batch: Callable[[int], None] | None = None,
) -> npt.NDArray[np.uint8]:
    """Perturb images in the feature space of a surrogate.

    Parameters
    ----------
    images : ndarray of uint8, shape (N, H, W, C) or (N, H, W)
        Alpha, where there is one, stays as it is.
    labels : array-like of int, shape (N,)
        Of the classes that the surrogate knows.
    surrogate : Surrogate
        It works on the device that it lies on.
    attack : Attack, optional
    on_batch : callable, optional
        Called with the number of images done after each batch.

    Returns
    -------
    ndarray of uint8, shape of `images`
        No sample differs from its original by more than ε.

    Raises
    ------
    InputError
        If an argument does not fit the surrogate.
    """
    attack = attack or Attack.carried_by(PERTURBING_PROFILE)
    batch = as_batch(images, "images")
    numbers = surrogate.class_numbers(labels, len(batch))
    surrogate.check_channels(batch.shape[3])
    out = batch.copy()
    perturbed = _class_wise if attack.kind == "class-wise" else _sample_wise
    with frozen(surrogate.model):
        for start in range(0, len(batch), attack.batch_size):
            part = slice(start, start + attack.batch_size)
            out[part, ..., :3] = perturbed(batch[part], numbers[part], surrogate, attack)
            if on_batch is not None:
                on_batch(min(start + attack.batch_size, len(batch)))
    return like_input(out, images)


def _class_wise(
    images: Images, numbers: npt.NDArray[np.int64], surrogate: Surrogate, attack: Attack
) -> Images:
    return surrogate.patterns.added(images, images, numbers, attack.epsilon, attack.block)


def _sample_wise(
    images: Images, numbers: npt.NDArray[np.int64], surrogate: Surrogate, attack: Attack
) -> Images:
    towards = (numbers + attack.class_step) % len(surrogate.classes)
    device = surrogate.device
    clean = to_pixels(images, device)
    goal = surrogate.centroids[attack.layer][torch.from_numpy(towards).to(device)]
    radius = attack.epsilon / 255
    step = (max(attack.epsilon / 8, 0.5) if attack.step_size is None else attack.step_size) / 255
    squares = _squares(clean, attack.block)
    delta, momentum = torch.zeros_like(squares), torch.zeros_like(squares)
    for _ in range(attack.steps):
        delta.requires_grad_()
        with precision(device):
            pixels = (clean + _spread(delta, attack.block, clean)).clamp(0, 1)
            seen = _as_seen(pixels, surrogate.image_shape)
            features = surrogate.model.features(seen, attack.layer).float()
        distance = (features - goal).square().sum()
        (gradient,) = torch.autograd.grad(distance, delta)
        scale = gradient.abs().mean(dim=(1, 2, 3), keepdim=True)
        momentum = attack.decay * momentum + gradient / (scale + 1e-12)
        delta = (delta.detach() - step * momentum.sign()).clamp(-radius, radius)
    _check_told(momentum)
    # Rounding δ itself keeps it within ε and constant on its squares.
    levels = _spread((delta * 255).round(), attack.block, clean)
    perturbed = (clean * 255 + levels).round().clamp(0, 255)
    return perturbed.to(torch.uint8).permute(0, 2, 3, 1).contiguous().cpu().numpy()


def _check_told(momentum: Tensor) -> None:
    """Refuse a surrogate that tells nothing of any image: all would be published as they are."""
    if not bool((momentum.abs() > 0).any()):  # nor of what is no number
        msg = (
            "the surrogate tells nothing of these images, which would stay as they are; fit another"
        )
        raise InputError(msg)


def _as_seen(pixels: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """Return images as the surrogate knows them: its channels, its size."""
    height, width, channels = shape
    if channels >= 3:
        pixels = pixels.expand(-1, 3, -1, -1)
    if pixels.shape[2:] == (height, width):
        return pixels
    return functional.interpolate(pixels, (height, width), mode="bilinear", antialias=True)


def _squares(clean: Tensor, block: int) -> Tensor:
    """Return an empty perturbation, one value per square and channel."""
    count, channels, height, width = clean.shape
    return clean.new_zeros(count, channels, -(-height // block), -(-width // block))


def _spread(delta: Tensor, block: int, clean: Tensor) -> Tensor:
    """Return the perturbation at the resolution of the image."""
    if block == 1:
        return delta
    spread = functional.interpolate(delta, scale_factor=block, mode="nearest")
    return spread[..., : clean.shape[2], : clean.shape[3]]
