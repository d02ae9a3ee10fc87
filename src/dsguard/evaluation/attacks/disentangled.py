"""An attack by variational autoencoders that tell what belongs to the class from the image.

After D-VAE (Yu et al., ICML 2024, arXiv 2405.01460). The code of an image is narrow, so that an
embedding of its class has to tell what the class has of its own: that part is taken off. A second
autoencoder, with a wider code, does the same again, and draws the images anew: what is too fine for
its code is lost. Needs no clean image.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from dsguard.evaluation.attacks.base import Labels, Setting
from dsguard.kernels.contract import Images
from dsguard.networks.training import as_pixels, choose_device, place

_EPOCHS, _BATCH, _RATE = 10, 128, 5e-3
_WIDTH, _CODE, _SIDE = 48, 32, 16


@dataclass(frozen=True)
class _Stage:
    """Nats that each place of a code may tell, of four pixels; and the cost of each more."""

    nats: float
    cost: float


_STAGES = (_Stage(1.0, 0.01), _Stage(3.0, 0.5))  # those of the paper's own code


def disentangled(given: Setting) -> Setting:
    """Take off the published images what their class explains of them, and draw them anew."""
    device = choose_device()
    images = given.images
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(given.seed)
        for stage in _STAGES:
            network = _fitted(images, given.labels, stage, given.seed, device)
            images = _made(network, images, given.labels, device, whole=False)
    images = _made(network, images, given.labels, device, whole=True)
    return replace(given, images=images)


def _fitted(
    images: Images, labels: Labels, stage: _Stage, seed: int, device: torch.device
) -> _Disentangling:
    """Return an autoencoder that is trained on all images."""
    network = _Disentangling(min(images.shape[3], 3), int(labels.max()) + 1)
    place(network, device).train()
    optimizer = torch.optim.Adam(network.parameters(), _RATE)
    steps = _EPOCHS * -(-len(images) // _BATCH)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    order = torch.Generator().manual_seed(seed)
    for _ in range(_EPOCHS):
        for pixels, wanted in _batches(images, labels, device, order):
            loss = network.loss(pixels, wanted, stage)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(network.parameters(), 5)
            optimizer.step()
            schedule.step()
    return network.eval()


@torch.no_grad()
def _made(
    network: _Disentangling, images: Images, labels: Labels, device: torch.device, *, whole: bool
) -> Images:
    """Return images as an autoencoder draws them, or else without the part of their class."""
    out, start = images.copy(), 0
    for pixels, wanted in _batches(images, labels, device):
        drawn, part, _ = network(pixels, wanted)
        made = (drawn if whole else pixels - part).clamp(0, 1).mul(255).round().byte()
        out[start : start + len(made), ..., : made.shape[1]] = made.permute(0, 2, 3, 1).cpu()
        start += len(made)
    return out


def _batches(
    images: Images, labels: Labels, device: torch.device, order: torch.Generator | None = None
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield all images as pixels, and their labels; in a random order where one is given.

    That is of training, in which an image alone has no spread that it can be normalised by.
    """
    pool, answers, count = torch.from_numpy(images), torch.from_numpy(labels), len(images)
    rows = torch.arange(count) if order is None else torch.randperm(count, generator=order)
    for picked in torch.split(rows, _BATCH):
        if order is not None and len(picked) == 1:
            continue
        yield as_pixels(pool[picked].to(device)), answers[picked].to(device)


class _Disentangling(nn.Module):
    """An encoder, a decoder of images, and one of the part that belongs to the class.

    All work on squares of 2×2 pixels, as a code has a place for each.
    """

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.PixelUnshuffle(2), *_layer(4 * channels), *_layer(_WIDTH),
            nn.Conv2d(_WIDTH, 2 * _CODE, 1),
        )  # fmt: skip
        self.classes = nn.Embedding(classes, _CODE * _SIDE * _SIDE)
        nn.init.normal_(self.classes.weight, std=0.1)
        self.image, self.part = _decoder(channels), _decoder(channels)

    def forward(self, pixels: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return images, the parts of their classes, and how many nats a place of a code tells."""
        height, width = pixels.shape[2:]
        even = functional.pad(pixels, (0, width % 2, 0, height % 2), mode="replicate")
        mean, spread = self.encoder(even).chunk(2, dim=1)
        spread = spread.clamp(-8, 4)
        nats = 0.5 * (mean**2 + spread.exp() - 1 - spread).sum(dim=1).mean()
        noise = torch.exp(spread / 2) * torch.randn_like(mean) if self.training else 0
        code = mean + noise
        embedded = self.classes(labels).reshape(-1, _CODE, _SIDE, _SIDE)
        embedded = functional.interpolate(embedded, code.shape[2:], mode="nearest")
        image, part = torch.sigmoid(self.image(code)), self.part(code + embedded)
        return image[..., :height, :width], part[..., :height, :width], nats

    def loss(self, pixels: Tensor, labels: Tensor, stage: _Stage) -> Tensor:
        image, part, nats = self(pixels, labels)
        alone = functional.mse_loss(image, pixels)
        both = functional.mse_loss((image + part).clamp(0, 1), pixels)
        total: Tensor = alone + both + stage.cost * nats.clamp(min=stage.nats)
        return total


def _layer(inputs: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(inputs, _WIDTH, 3, padding=1), nn.BatchNorm2d(_WIDTH), nn.ReLU()


def _decoder(channels: int) -> nn.Module:
    return nn.Sequential(
        *_layer(_CODE), nn.Conv2d(_WIDTH, 4 * channels, 3, padding=1), nn.PixelShuffle(2)
    )
