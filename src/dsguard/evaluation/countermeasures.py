"""Counter-measures of a trainer without the key: the field's matrix, by name."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageFilter
from torch import Tensor, nn
from torch.nn import functional

from dsguard.covers.patterns import GRID, TILE, cell_of
from dsguard.errors import InputError
from dsguard.evaluation.attacks import block_means_removed, likeliest_undone
from dsguard.kernels.contract import Images
from dsguard.kernels.geometry import BLOCK
from dsguard.networks.training import Alter, crop_and_flip, frozen

Labels = npt.NDArray[np.int64]
Prepare = Callable[[Images, Labels, Images], tuple[Images, Images]]


@dataclass(frozen=True)
class CounterMeasure:
    """One thing to do to the images, before training or in each batch of it.

    Attributes
    ----------
    name : str
        What users say: ``--against jpeg``.
    title : str
        What tables say.
    prepare : callable, optional
        (training images, labels, test images) to (training images, test images), once.
    alter : callable, optional
        (network, pixels, class probabilities, generator) to (pixels, class probabilities), in each
        batch.
    """

    name: str
    title: str
    prepare: Prepare | None = None
    alter: Alter | None = None

    @staticmethod
    def named(name: str) -> CounterMeasure:
        """Return the counter-measure called `name`.

        Raises
        ------
        InputError
            If there is none.
        """
        if name not in COUNTERMEASURES:
            msg = f"there is no counter-measure {name!r}; there are: {', '.join(COUNTERMEASURES)}"
            raise InputError(msg)
        return COUNTERMEASURES[name]


def _each(change: Callable[[Image.Image], Image.Image]) -> Prepare:
    """Return a preparation that changes every image, for training and for the test, alike."""

    def of(images: Images) -> Images:
        out = np.empty_like(images)
        for index, image in enumerate(images):
            mode = "L" if image.shape[2] == 1 else "RGB"
            changed = change(Image.fromarray(image[..., : len(mode)].squeeze()))
            out[index, ..., : len(mode)] = np.atleast_3d(np.asarray(changed.convert(mode)))
            out[index, ..., len(mode) :] = image[..., len(mode) :]
        return out

    return lambda images, _, test: (of(images), of(test))


def _blur(image: Image.Image) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(1))


def _gray(image: Image.Image) -> Image.Image:
    return image.convert("L")


def _jpeg(image: Image.Image) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "jpeg", quality=10)
    return Image.open(file)


def _minus_class_mean(images: Images, labels: Labels, test: Images) -> tuple[Images, Images]:
    """Take the mean of its class from each training image, and put the mean of all there.

    Test images are of unknown class: nothing is taken from them.
    """
    means = np.stack([images[labels == label].mean(axis=0) for label in range(labels.max() + 1)])
    moved = images - means[labels] + images.mean(axis=0)
    return moved.round().clip(0, 255).astype(np.uint8), test


def _project(images: Images, labels: Labels, test: Images) -> tuple[Images, Images]:
    """Project out what a linear classifier sees (Sandoval-Segura et al., arXiv 2305.19254).

    A softmax regression is fitted to the pixels of the training images; the span of its weights is
    taken out of every image.
    """
    pixels = _flat(images)
    center = pixels.mean(dim=0)
    weights = _softmax_regression(pixels - center, torch.from_numpy(labels))
    basis, _ = torch.linalg.qr(weights.T)

    def of(batch: Images) -> Images:
        flat = _flat(batch) - center
        projected = flat - (flat @ basis) @ basis.T + center
        levels: Images = (projected * 255).round().clamp(0, 255).byte().numpy()
        return levels.reshape(batch.shape)

    return of(images), of(test)


def _evened(images: Images, _: Labels, test: Images) -> tuple[Images, Images]:
    """Even out the cells within each tile, which `dsguard.covers.patterns` makes textures of.

    What a trainer does who knows how dsguard makes patterns. Cells are those of profiles with
    blocks of 4 (`exact`, `veil`) in images whose sides are multiples of 32: elsewhere they lie
    otherwise, and this does less. Means of tiles stay, and what lies within cells.
    """
    rows, columns = (cell_of(side, 1) for side in images.shape[1:3])
    down, across = (np.eye(GRID, dtype=np.float32)[:, at] for at in (rows, columns))
    down, across = (one / one.sum(axis=1, keepdims=True).clip(1) for one in (down, across))

    def of(batch: Images) -> Images:
        cells = np.einsum("gh,nhwc,kw->ngkc", down, batch, across, optimize=True)
        halves = cells.reshape(len(batch), GRID // TILE, TILE, GRID // TILE, TILE, -1)
        tiles = halves.mean(axis=(2, 4)).repeat(TILE, 1).repeat(TILE, 2)
        moved = batch + (tiles - cells).take(rows, axis=1).take(columns, axis=2)
        levels: Images = moved.round().clip(0, 255).astype(np.uint8)
        return levels

    return of(images), of(test)


def _informed(images: Images, labels: Labels, test: Images) -> tuple[Images, Images]:
    """Even out the cells, then project out what a linear classifier sees: the signs of tiles."""
    evened, evened_test = _evened(images, labels, test)
    return _project(evened, labels, evened_test)


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


def _crop_and_flip(
    _: nn.Module, pixels: Tensor, answers: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    return crop_and_flip(pixels, generator), answers


def _cutout(
    _: nn.Module, pixels: Tensor, answers: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Erase a square of half the side (DeVries and Taylor, arXiv 1708.04552)."""
    return pixels * ~_boxes(pixels, 0.5, generator), answers


def _mixup(
    _: nn.Module, pixels: Tensor, answers: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Mix pairs of images and their answers (Zhang et al., ICLR 2018), uniformly: α is 1."""
    share = torch.rand(1, generator=generator).item()
    other = torch.randperm(len(pixels), generator=generator).to(pixels.device)
    return (
        share * pixels + (1 - share) * pixels[other],
        share * answers + (1 - share) * answers[other],
    )


def _cutmix(
    _: nn.Module, pixels: Tensor, answers: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Paste a box of another image, answers in proportion (Yun et al., ICCV 2019): α is 1."""
    side = torch.rand(1, generator=generator).sqrt().item()
    other = torch.randperm(len(pixels), generator=generator).to(pixels.device)
    box = _boxes(pixels, side, generator)
    share = box.float().mean(dim=(1, 2, 3))[:, None]
    return (
        torch.where(box, pixels[other], pixels),
        (1 - share) * answers + share * answers[other],
    )


def _boxes(pixels: Tensor, side: float, generator: torch.Generator) -> Tensor:
    """Return masks (N, 1, H, W) of boxes of a share of the side, cut off at the border."""
    inside = []
    for axis, length in enumerate(pixels.shape[2:]):
        center = torch.rand(len(pixels), 1, generator=generator).to(pixels.device) * length
        at = torch.arange(length, device=pixels.device)[None] + 0.5
        near = (at - center).abs() < side * length / 2
        inside.append(near[:, None, :, None] if axis == 0 else near[:, None, None, :])
    return inside[0] & inside[1]


def _resized_crop(
    _: nn.Module, pixels: Tensor, answers: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Enlarge a part of a quarter of the area or more to the size of the image."""
    count = len(pixels)
    scale = (0.25 + 0.75 * torch.rand(count, 1, generator=generator)).sqrt()
    shift = (1 - scale) * (2 * torch.rand(count, 2, generator=generator) - 1)
    affine = torch.zeros(count, 2, 3)
    affine[:, 0, 0] = affine[:, 1, 1] = scale[:, 0]
    affine[:, :, 2] = shift
    grid = functional.affine_grid(affine.to(pixels.device), list(pixels.shape), align_corners=False)
    return functional.grid_sample(
        pixels, grid, padding_mode="reflection", align_corners=False
    ), answers


def _attacked(
    model: nn.Module, pixels: Tensor, answers: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Attack the network itself (Madry et al., ICLR 2018): PGD, 7 steps of 1/255, ε 4/255."""
    radius = 4 / 255
    start = torch.rand(pixels.shape, generator=generator).to(pixels.device)
    delta = radius * (2 * start - 1)
    with frozen(model):
        for _ in range(7):
            delta.requires_grad_()
            loss = functional.cross_entropy(model((pixels + delta).clamp(0, 1)), answers)
            (gradient,) = torch.autograd.grad(loss, delta)
            delta = (delta.detach() + gradient.sign() / 255).clamp(-radius, radius)
    return (pixels + delta).clamp(0, 1), answers


def _undone(images: Images, _: Labels, test: Images) -> tuple[Images, Images]:
    return likeliest_undone(images), test


def _without_block_means(images: Images, _: Labels, test: Images) -> tuple[Images, Images]:
    if any(side % BLOCK for side in images.shape[1:3]):
        return images, test
    return block_means_removed(images, BLOCK), block_means_removed(test, BLOCK)


COUNTERMEASURES = {
    measure.name: measure
    for measure in (
        CounterMeasure("none", "plain training"),
        CounterMeasure("crop-and-flip", "crop and flip", alter=_crop_and_flip),
        CounterMeasure("cutout", "Cutout", alter=_cutout),
        CounterMeasure("cutmix", "CutMix", alter=_cutmix),
        CounterMeasure("mixup", "MixUp", alter=_mixup),
        CounterMeasure("resized-crop", "random resized crop", alter=_resized_crop),
        CounterMeasure("blur", "Gaussian blur", prepare=_each(_blur)),
        CounterMeasure("gray", "grayscale", prepare=_each(_gray)),
        CounterMeasure("jpeg", "JPEG 10", prepare=_each(_jpeg)),
        CounterMeasure("class-mean", "class means subtracted", prepare=_minus_class_mean),
        CounterMeasure("projection", "orthogonal projection", prepare=_project),
        CounterMeasure("evened", "cells evened out", prepare=_evened),
        CounterMeasure("informed", "cells evened out, projection", prepare=_informed),
        CounterMeasure("undone", "patterns undone, by those who know the method", prepare=_undone),
        CounterMeasure("block-means", "block means removed", prepare=_without_block_means),
        CounterMeasure("adversarial", "adversarial training", alter=_attacked),
    )
}
"""All counter-measures, by name, from cheap to dear."""
