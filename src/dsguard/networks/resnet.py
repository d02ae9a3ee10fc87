"""ResNet-18 (He et al., CVPR 2016), with the features of each stage within reach."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from dsguard.choices import LAYERS
from dsguard.errors import InputError

NARROWEST = 8
"""Channels of a network's first stage at least: oneDNN as torch 2.13 has it writes past the end of
narrower layers where a CPU has AVX2 and no more."""


class ResNet18(nn.Module):
    """ResNet-18 over pixels in 0..1.

    Parameters
    ----------
    classes : int
    channels : int
        1 or 3.
    width : int
        Channels of the first stage: 64 in the paper; less is faster, 8 the least.
    small_images : bool
        True takes the 3×3 stem that is usual for CIFAR (sides up to 64), False the 7×7 stem with
        pooling.
    """

    def __init__(
        self, classes: int, channels: int = 3, width: int = 64, *, small_images: bool = True
    ) -> None:
        super().__init__()
        if width < NARROWEST:
            msg = f"a network has a width of {NARROWEST} or more, not {width}"
            raise InputError(msg)
        self.stem: nn.Module
        if small_images:
            self.stem = _conv_norm(channels, width, 3)
        else:
            self.stem = nn.Sequential(
                _conv_norm(channels, width, 7, stride=2), nn.ReLU(), nn.MaxPool2d(3, 2, 1)
            )
        self.layer1 = _stage(width, width, 1)
        self.layer2 = _stage(width, 2 * width, 2)
        self.layer3 = _stage(2 * width, 4 * width, 2)
        self.layer4 = _stage(4 * width, 8 * width, 2)
        self.head = nn.Linear(8 * width, classes)

    def features(self, pixels: Tensor, layer: str = "layer4") -> Tensor:
        """Return the features after one of `LAYERS`, averaged over positions: (N, C)."""
        x = functional.relu(self.stem((pixels - 0.5) / 0.25))
        for name in LAYERS[: LAYERS.index(layer) + 1]:
            x = getattr(self, name)(x)
        return x.mean(dim=(2, 3))

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the logits, (N, classes)."""
        logits = self.head(self.features(pixels))
        assert isinstance(logits, Tensor)
        return logits


class _Block(nn.Module):
    """Two 3×3 convolutions and a shortcut around them."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = _conv_norm(inputs, outputs, 3, stride)
        self.second = _conv_norm(outputs, outputs, 3)
        same = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if same else _conv_norm(inputs, outputs, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.second(functional.relu(self.first(x)))
        return functional.relu(inner + self.shortcut(x))


def _stage(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    return nn.Sequential(_Block(inputs, outputs, stride), _Block(outputs, outputs, 1))


def _conv_norm(inputs: int, outputs: int, size: int, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, bias=False)
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs))


def build(shape: tuple[int, ...], classes: int, width: int, seed: int) -> ResNet18:
    """Return a new network for images of `shape` (H, W, C), its weights drawn from `seed`."""
    height, image_width, channels = shape
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        small = max(height, image_width) <= 64
        return ResNet18(classes, min(channels, 3), width, small_images=small)
