"""Other networks of trainers, by name, small enough for images of 32 to 64 pixels.

ResNet-18 is what surrogates are made of; the others share neither its blocks nor its shortcuts.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from dsguard.errors import InputError
from dsguard.kernels.geometry import BLOCK
from dsguard.networks.resnet import NARROWEST, build


def build_network(
    name: str, shape: tuple[int, ...], classes: int, width: int, seed: int
) -> nn.Module:
    """Return a new network that takes pixels in 0..1 and returns logits.

    Parameters
    ----------
    name : str
        One of `NETWORKS`.
    shape : tuple of int
        (H, W, C) of the images.
    classes : int
    width : int
        Channels of the first stage; the others grow from it as in the published networks.
    seed : int
        Of the weights.

    Raises
    ------
    InputError
        If there is no such network.
    """
    if name not in NETWORKS:
        msg = f"there is no network {name!r}; there are: {', '.join(NETWORKS)}"
        raise InputError(msg)
    if name == "resnet18":
        return build(shape, classes, width, seed)
    channels, size = min(shape[2], 3), shape[:2]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        features = _BUILDERS[name](channels, size, width)
        network = nn.Sequential(_Centered(), features, nn.LazyLinear(classes)).eval()
        network(torch.zeros(1, channels, *size))  # which tells the last layer its size
    return network


class _Centered(nn.Module):
    def forward(self, pixels: Tensor) -> Tensor:
        return (pixels - 0.5) / 0.25


def _vgg11(channels: int, _: tuple[int, ...], width: int) -> nn.Module:
    """VGG-11 with batch normalisation (Simonyan and Zisserman, ICLR 2015), without dense layers."""
    layers: list[nn.Module] = []
    for stage in ((1,), (2,), (4, 4), (8, 8), (8, 8)):
        for multiple in stage:
            layers += _convolution(channels, multiple * width, 3)
            channels = multiple * width
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers[:-1], nn.AdaptiveAvgPool2d(1), nn.Flatten())


def _mobilenet(channels: int, _: tuple[int, ...], width: int) -> nn.Module:
    """MobileNet (Howard et al., arXiv 1704.04861): depthwise, then pointwise convolutions."""
    layers = _convolution(channels, width, 3)
    channels = width
    for multiple, stride in ((2, 1), (4, 2), (4, 1), (8, 2), (8, 1), (16, 2), (16, 1)):
        layers += _convolution(channels, channels, 3, stride, groups=channels)
        layers += _convolution(channels, multiple * width, 1)
        channels = multiple * width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def _densenet(channels: int, _: tuple[int, ...], width: int) -> nn.Module:
    """DenseNet-BC (Huang et al., CVPR 2017): three stages of six layers, growth `width` / 2."""
    growth = max(NARROWEST, width // 2)
    stages: list[nn.Module] = [nn.Conv2d(channels, width, 3, padding=1, bias=False)]
    channels = width
    for stage in range(3):
        for _layer in range(6):
            stages.append(_Dense(channels, growth))
            channels += growth
        stages += [nn.BatchNorm2d(channels), nn.ReLU()]
        if stage < 2:
            stages += [nn.Conv2d(channels, channels // 2, 1, bias=False), nn.AvgPool2d(2)]
            channels //= 2
    return nn.Sequential(*stages, nn.AdaptiveAvgPool2d(1), nn.Flatten())


class _Dense(nn.Module):
    """A layer of DenseNet: what it makes is added to the channels that it got."""

    def __init__(self, channels: int, growth: int) -> None:
        super().__init__()
        self.new = nn.Sequential(
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, 4 * growth, 1, bias=False),
            nn.BatchNorm2d(4 * growth),
            nn.ReLU(),
            nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.new(x)], dim=1)


class _Vit(nn.Module):
    """A small vision transformer (Dosovitskiy et al., ICLR 2021), 8×8 patches, mean of tokens."""

    def __init__(self, channels: int, size: tuple[int, ...], width: int) -> None:
        super().__init__()
        side = max(1, min(size) // 8)  # 64 patches of a square image, whatever its size
        self.patches = nn.Conv2d(channels, 8 * width, side, stride=side)
        tokens = (size[0] // side) * (size[1] // side)
        self.position = nn.Parameter(0.02 * torch.randn(1, tokens, 8 * width))
        layer = nn.TransformerEncoderLayer(
            8 * width, 4, 16 * width, dropout=0, batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, 4, enable_nested_tensor=False)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        encoded = self.encoder(tokens + self.position).mean(dim=1)
        assert isinstance(encoded, Tensor)
        return encoded


def _blocks(channels: int, _: tuple[int, ...], width: int) -> nn.Module:
    """Bag of blocks of 4×4 pixels: what each shows, wherever it is (BagNet, ICLR 2019)."""
    layers: list[nn.Module] = [
        nn.Conv2d(channels, 8 * width, BLOCK, BLOCK, bias=False),
        nn.BatchNorm2d(8 * width),
    ]
    for _layer in range(2):
        layers += [nn.ReLU(), *_convolution(8 * width, 8 * width, 1)[:-1]]
    return nn.Sequential(*layers, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def _convolution(
    inputs: int, outputs: int, size: int, stride: int = 1, groups: int = 1
) -> list[nn.Module]:
    convolution = nn.Conv2d(
        inputs, outputs, size, stride, padding=size // 2, groups=groups, bias=False
    )
    return [convolution, nn.BatchNorm2d(outputs), nn.ReLU()]


_BUILDERS: dict[str, Callable[[int, tuple[int, ...], int], nn.Module]] = {
    "vgg11": _vgg11,
    "mobilenet": _mobilenet,
    "densenet": _densenet,
    "vit": _Vit,
    "blocks": _blocks,
}

NETWORKS = ("resnet18", *_BUILDERS)

LEARNING_RATES = {"vit": 0.1}
"""The share of a recipe's learning rate at which a network trains, where that is not 1."""
