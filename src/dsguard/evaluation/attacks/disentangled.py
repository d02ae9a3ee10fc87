"""An attack by a variational autoencoder that tells what belongs to the class from the image.

After D-VAE (Yu et al., ICML 2024, arXiv 2405.01460): the code of an image is narrow, so what an
embedding of its class can tell goes there. That part is taken off. Needs no clean image.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from dsguard.evaluation.attacks.base import Setting
from dsguard.kernels.contract import Images
from dsguard.networks.training import as_pixels, choose_device, place

_EPOCHS, _BATCH, _WIDTH, _CODE = 20, 128, 32, 16
_NARROW = 0.02
"""Nats that each channel of a code may tell of its place; the rest costs."""


def disentangled(given: Setting) -> Setting:
    """Take off the published images what an embedding of their class explains of them."""
    device = choose_device()
    channels, classes = min(given.images.shape[3], 3), int(given.labels.max()) + 1
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(given.seed)
        network = _Disentangling(channels, classes)
        place(network, device).train()
        optimizer = torch.optim.Adam(network.parameters(), 2e-3)
        order = torch.Generator().manual_seed(given.seed)
        pool, labels = torch.from_numpy(given.images), torch.from_numpy(given.labels)
        for _ in range(_EPOCHS):
            for picked in torch.split(torch.randperm(len(pool), generator=order), _BATCH):
                pixels = as_pixels(pool[picked].to(device))
                loss = network.loss(pixels, labels[picked].to(device))
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
    network.eval()
    return replace(given, images=_purified(network, given, device))


@torch.no_grad()
def _purified(network: _Disentangling, given: Setting, device: torch.device) -> Images:
    out = given.images.copy()
    for start in range(0, len(out), _BATCH):
        at = slice(start, start + _BATCH)
        pixels = as_pixels(torch.from_numpy(given.images[at]).to(device))
        part = network.of_class(pixels, torch.from_numpy(given.labels[at]).to(device))
        made = (pixels - part).clamp(0, 1).mul(255).round().byte().permute(0, 2, 3, 1)
        out[at, ..., : made.shape[3]] = made.cpu().numpy()
    return out


class _Disentangling(nn.Module):
    """An encoder, a decoder of images, and one of the part that belongs to the class."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            _layer(channels, _WIDTH, 2), _layer(_WIDTH, 2 * _WIDTH, 2),
            nn.Conv2d(2 * _WIDTH, 2 * _CODE, 3, padding=1),
        )  # fmt: skip
        self.classes = nn.Embedding(classes, _CODE * 64)
        self.image, self.part = _decoder(channels), _decoder(channels)

    def of_class(self, pixels: Tensor, labels: Tensor) -> Tensor:
        """Return the part that belongs to the class."""
        mean, _ = self.encoder(pixels).chunk(2, dim=1)
        return self._part(mean, labels, pixels)

    def _part(self, code: Tensor, labels: Tensor, pixels: Tensor) -> Tensor:
        embedded = self.classes(labels).reshape(-1, _CODE, 8, 8)
        embedded = functional.interpolate(embedded, code.shape[2:], mode="nearest")
        return _sized(self.part(code + embedded), pixels) * 0.25

    def loss(self, pixels: Tensor, labels: Tensor) -> Tensor:
        mean, spread = self.encoder(pixels).chunk(2, dim=1)
        spread = spread.clamp(-8, 4)
        code = mean + torch.exp(spread / 2) * torch.randn_like(mean)
        told = 0.5 * (mean**2 + spread.exp() - 1 - spread).mean()
        image = _sized(self.image(code), pixels)
        part = self._part(code.detach(), labels, pixels)
        blurred = functional.mse_loss(image, pixels)
        left = functional.mse_loss(part, pixels - image.detach())
        total: Tensor = 100 * (blurred + left) + 10 * (told - _NARROW).clamp(min=0)
        return total


def _decoder(channels: int) -> nn.Module:
    return nn.Sequential(
        _layer(_CODE, 2 * _WIDTH, 1), nn.Upsample(scale_factor=2),
        _layer(2 * _WIDTH, _WIDTH, 1), nn.Upsample(scale_factor=2),
        _layer(_WIDTH, _WIDTH, 1), nn.Conv2d(_WIDTH, channels, 3, padding=1), nn.Tanh(),
    )  # fmt: skip


def _layer(inputs: int, outputs: int, stride: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, padding=1), nn.BatchNorm2d(outputs), nn.ReLU()
    )


def _sized(made: Tensor, pixels: Tensor) -> Tensor:
    """Return a decoded image of the size of pixels, whatever their sides."""
    if made.shape[2:] == pixels.shape[2:]:
        return made
    return functional.interpolate(made, pixels.shape[2:], mode="bilinear", align_corners=False)
