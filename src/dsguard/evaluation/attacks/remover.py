"""An attack by a network that learns to take protection off, from pairs of the attacker's own."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from dsguard.evaluation.attacks.base import Setting, known_of
from dsguard.kernels.contract import Images
from dsguard.networks.training import as_pixels, choose_device, place, to_pixels

_EPOCHS, _BATCH, _WIDTH = 80, 32, 16
_AT_ONCE = 256


def cleaned(given: Setting) -> Setting:
    """Apply a remover to the published images; test images stay as they are.

    Everybody can protect images of their own with dsguard, and so has pairs, protected and clean.
    A network trained on these takes published images back as far as it goes (BridgePure, NeurIPS
    2025; LightShed, USENIX Security 2025).
    """
    known = known_of(given)
    remove = remover(known.protected, known.images, given.seed)
    return replace(given, images=remove(given.images))


def remover(protected: Images, clean: Images, seed: int = 0) -> Remover:
    """Train a small U-Net (Ronneberger et al., MICCAI 2015) that tells clean from protected.

    Parameters
    ----------
    protected, clean : ndarray of uint8, shape (N, H, W, C)
        Pairs.
    seed : int
        Of weights and order.

    Returns
    -------
    Remover
        A function from images to images.
    """
    device = choose_device()
    channels = min(clean.shape[3], 3)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = place(_UNet(channels, _WIDTH), device).train()
    order = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(network.parameters(), 2e-3)
    steps = _EPOCHS * -(-len(clean) // _BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
    sides = [torch.from_numpy(images).to(device) for images in (protected, clean)]
    for _ in range(steps):
        picked = torch.randint(0, len(clean), (min(_BATCH, len(clean)),), generator=order)
        seen, wanted = (as_pixels(images[picked.to(device)]) for images in sides)
        if torch.rand(1, generator=order) < 0.5:
            seen, wanted = seen.flip(3), wanted.flip(3)
        loss = functional.l1_loss(network(seen), wanted)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    return Remover(network.eval(), device)


class Remover:
    """A network that takes protection off, as a function of images."""

    def __init__(self, network: nn.Module, device: torch.device) -> None:
        self._network, self._device = network, device

    @torch.no_grad()
    def __call__(self, images: Images) -> Images:
        """Return images of the same shape; alpha stays."""
        out = images.copy()
        for start in range(0, len(images), _AT_ONCE):
            pixels = to_pixels(images[start : start + _AT_ONCE], self._device)
            made = self._network(pixels).clamp(0, 1).mul(255).round().byte().permute(0, 2, 3, 1)
            out[start : start + _AT_ONCE, ..., : made.shape[3]] = made.cpu().numpy()
        return out


class _UNet(nn.Module):
    """Three scales; it tells what to add to the image, where that is of use."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.first, self.second = _pair(channels, width), _pair(width, 2 * width)
        self.third, self.fourth = _pair(2 * width, 4 * width), _pair(6 * width, 2 * width)
        self.fifth = _pair(3 * width, width)
        self.last = nn.Conv2d(width, 2 * channels, 1)
        nn.init.zeros_(self.last.weight)  # so that it begins with the image as it is
        self.last.bias = nn.Parameter(torch.tensor([0.0] * channels + [4.0] * channels))

    def forward(self, pixels: Tensor) -> Tensor:
        first = self.first(pixels - 0.5)
        second = self.second(functional.avg_pool2d(first, 2))
        third = self.third(functional.avg_pool2d(second, 2))
        upper = self.fourth(torch.cat([_as_large(third, second), second], dim=1))
        upper = self.fifth(torch.cat([_as_large(upper, first), first], dim=1))
        made, share = self.last(upper).chunk(2, dim=1)
        kept = torch.sigmoid(share)
        clean: Tensor = kept * pixels + made + 0.5 * (1 - kept)
        return clean


def _as_large(small: Tensor, large: Tensor) -> Tensor:
    return functional.interpolate(small, large.shape[2:], mode="nearest")


def _pair(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
        nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )
