"""Attacks that change each batch of a training: augmentation, and adversarial training."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from dsguard.networks import training
from dsguard.networks.training import Alter, frozen

_WORST_OF = 5  # augmentations of each image, of which UEraser takes the one with the highest loss


def crop_and_flip(
    _: nn.Module, pixels: Tensor, answers: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Crop each image at random after padding, and flip half of them."""
    return training.crop_and_flip(pixels, generator), answers


def cutout(
    _: nn.Module, pixels: Tensor, answers: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Erase a square of half the side (DeVries and Taylor, arXiv 1708.04552)."""
    return pixels * ~_boxes(pixels, 0.5, generator), answers


def mixup(
    _: nn.Module, pixels: Tensor, answers: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Mix pairs of images and their answers (Zhang et al., ICLR 2018), uniformly: α is 1."""
    share = torch.rand(1, generator=generator).item()
    other = torch.randperm(len(pixels), generator=generator).to(pixels.device)
    return (
        share * pixels + (1 - share) * pixels[other],
        share * answers + (1 - share) * answers[other],
    )


def cutmix(
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


def resized_crop(
    _: nn.Module, pixels: Tensor, answers: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Enlarge a part of a quarter of the area or more to the size of the image."""
    count = len(pixels)
    scale = (0.25 + 0.75 * torch.rand(count, 1, generator=generator)).sqrt()
    shift = (1 - scale) * (2 * torch.rand(count, 2, generator=generator) - 1)
    affine = torch.zeros(count, 2, 3)
    affine[:, 0, 0] = affine[:, 1, 1] = scale[:, 0]
    affine[:, :, 2] = shift
    grid = functional.affine_grid(affine, list(pixels.shape), align_corners=False)
    return _sampled(pixels, grid), answers


def _sampled(pixels: Tensor, grid: Tensor) -> Tensor:
    """Return pixels read at places, -1 to 1 from border to border, and interpolated."""
    return functional.grid_sample(
        pixels, grid.to(pixels.device), padding_mode="reflection", align_corners=False
    )


def jitter(reach: float = 2.0) -> Alter:
    """Return COIN: each pixel is read from a place drawn around it (arXiv 2311.18403).

    Places are up to `reach` pixels away in either direction, and interpolated.
    """

    def jittered(
        _: nn.Module, pixels: Tensor, answers: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        count, _channels, height, width = pixels.shape
        drawn = 2 * torch.rand(count, height, width, 2, generator=generator) - 1
        scale = 2 * reach / torch.tensor([width, height])
        same = torch.eye(2, 3).expand(count, 2, 3)
        grid = functional.affine_grid(same, list(pixels.shape), align_corners=False)
        return _sampled(pixels, grid + drawn * scale), answers

    return jittered


def ueraser_max(
    model: nn.Module, pixels: Tensor, answers: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Take the worst of some strong augmentations of each image (Qin et al., arXiv 2303.15127).

    Plasma brightness, plasma contrast and shuffled channels, each in half of the cases.
    """
    candidates = torch.stack([_distorted(pixels, generator) for _ in range(_WORST_OF)])
    with frozen(model), torch.no_grad():
        losses = torch.stack([
            functional.cross_entropy(model(each).float(), answers, reduction="none")
            for each in candidates
        ])  # fmt: skip
    worst = losses.argmax(dim=0)
    return candidates[worst, torch.arange(len(pixels), device=pixels.device)], answers


def _distorted(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Return pixels under one draw of the augmentations of UEraser."""
    count, channels = pixels.shape[:2]
    chosen = torch.rand(3, count, 1, 1, 1, generator=generator).to(pixels.device) < 0.5
    plasma = _plasma(pixels, generator)
    strength = torch.rand(count, 1, 1, 1, generator=generator).to(pixels.device)
    brighter = (pixels + (plasma - 0.5) * strength).clamp(0, 1)
    pixels = torch.where(chosen[0], brighter, pixels)
    contrast = 4 * _plasma(pixels, generator)
    pixels = torch.where(chosen[1], ((pixels - 0.5) * contrast + 0.5).clamp(0, 1), pixels)
    order = torch.rand(count, channels, generator=generator).argsort(dim=1).to(pixels.device)
    shuffled = pixels.gather(1, order[:, :, None, None].expand_as(pixels))
    return torch.where(chosen[2], shuffled, pixels)


def _plasma(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Return clouds (N, 1, H, W) from 0 to 1: octaves of noise, each weaker by a drawn share."""
    count, _, height, width = pixels.shape
    weaker = 0.1 + 0.6 * torch.rand(count, 1, 1, 1, generator=generator)
    clouds, share, side = torch.zeros(count, 1, height, width), torch.ones(count, 1, 1, 1), 2
    while side <= max(height, width):
        drawn = torch.rand(count, 1, side, side, generator=generator)
        clouds = clouds + share * functional.interpolate(
            drawn, (height, width), mode="bilinear", align_corners=False
        )
        share, side = share * weaker, 2 * side
    least, most = clouds.amin((2, 3), keepdim=True), clouds.amax((2, 3), keepdim=True)
    return ((clouds - least) / (most - least + 1e-6)).to(pixels.device)


def turned_blocks(size: int) -> Alter:
    """Return quarter turns of every block by itself, as mRIT makes them."""

    def turned(
        _: nn.Module, pixels: Tensor, answers: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        count, channels, height, width = pixels.shape
        rows, columns = height // size, width // size
        inside = pixels[:, :, : rows * size, : columns * size]
        blocks = inside.reshape(count, channels, rows, size, columns, size)
        blocks = blocks.permute(0, 2, 4, 1, 3, 5)
        quarters = torch.randint(0, 4, (count, rows, columns), generator=generator)
        blocks = _turned(blocks, quarters.to(pixels.device))
        out = pixels.clone()
        out[:, :, : rows * size, : columns * size] = blocks.permute(0, 3, 1, 4, 2, 5).reshape(
            inside.shape
        )
        return out, answers

    return turned


def quarter_turns(
    _: nn.Module, pixels: Tensor, answers: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Turn each image, of those that are not square the middle, and answer how far.

    The first four answers are 0 to 3 quarters (Gidaris et al., ICLR 2018).
    """
    height, width = pixels.shape[2:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = pixels[:, :, top : top + side, left : left + side]
    quarters = torch.randint(0, 4, (len(pixels),), generator=generator).to(pixels.device)
    told = functional.one_hot(quarters, answers.shape[1]).to(answers.dtype)
    return _turned(square, quarters), told


def _turned(pictures: Tensor, quarters: Tensor) -> Tensor:
    """Return square pictures (…, C, S, S), each turned by its number of quarters, (…)."""
    here = quarters[..., None, None, None]
    for number in range(1, 4):
        pictures = torch.where(here == number, pictures.rot90(number, (-2, -1)), pictures)
    return pictures


def adversarial(epsilon: int) -> Alter:
    """Return attacks on the network itself (Madry et al., ICLR 2018): PGD in a ball of ε/255.

    Seven steps, of a quarter of ε each, from a random start.
    """
    radius = epsilon / 255

    def attacked(
        model: nn.Module, pixels: Tensor, answers: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        start = torch.rand(pixels.shape, generator=generator).to(pixels.device)
        delta = radius * (2 * start - 1)
        with frozen(model):
            for _ in range(7):
                delta.requires_grad_()
                loss = functional.cross_entropy(model((pixels + delta).clamp(0, 1)), answers)
                (gradient,) = torch.autograd.grad(loss, delta)
                delta = (delta.detach() + gradient.sign() * radius / 4).clamp(-radius, radius)
        return (pixels + delta).clamp(0, 1), answers

    return attacked
