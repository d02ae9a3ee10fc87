"""Published poisons, drawn here to see that attacks do what their sources say.

Each stands in a study where protected images stand. None is part of dsguard.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dsguard.keys import DatasetKey

Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Poison:
    """A poison of `POISONS`, as studies take it in place of a protection.

    Attributes
    ----------
    name : str
    """

    name: str
    needs_surrogate: bool = False

    def settings(self) -> dict[str, Any]:
        """Return all that decides what it makes."""
        return {"poison": self.name}

    def protect(
        self, images: Images, labels: Labels, key: DatasetKey, *_: object
    ) -> tuple[Images, Images]:
        """Return poisoned images, and the clean ones."""
        rng = np.random.default_rng(list(key.key_id.encode()))
        return POISONS[self.name](images, labels, rng), images


def linear_separable(images: Images, labels: Labels, rng: np.random.Generator) -> Images:
    """LSP: class-wise colours on 8×8 patches, 1.3 by the L2 norm (Yu et al., KDD 2022)."""
    count, height, width, channels = images.shape
    centers = rng.choice([-1.0, 1.0], (labels.max() + 1, height // 8, width // 8, channels))
    drawn = centers[labels] + rng.normal(0, 0.1, (count, *centers.shape[1:]))
    noise = drawn.repeat(8, axis=1).repeat(8, axis=2)
    noise *= 1.3 * 255 / np.sqrt((noise**2).sum(axis=(1, 2, 3), keepdims=True))
    return _levels(images + noise)


def one_pixel(images: Images, labels: Labels, _: np.random.Generator) -> Images:
    """OPS: one pixel for each class, of the colour that it is usually farthest from (ICLR 2023)."""
    out = images.copy()
    colours = np.stack(np.meshgrid(*[[0, 255]] * images.shape[3], indexing="ij"), -1)
    for label in np.unique(labels):
        own = images[labels == label].astype(np.float32)
        scores = [
            np.abs(own - colour).sum(-1).mean(0) / (np.abs(own - colour).sum(-1).var(0) + 1)
            for colour in colours.reshape(-1, images.shape[3])
        ]
        best, row, column = np.unravel_index(np.argmax(scores), np.shape(scores))
        out[labels == label, row, column] = colours.reshape(-1, images.shape[3])[best]
    return out


def class_wise_blur(images: Images, labels: Labels, rng: np.random.Generator) -> Images:
    """CUDA: a random filter of 3×3 pixels for each class (Sadasivan et al., CVPR 2023)."""
    kernels = rng.uniform(0, 0.3, (labels.max() + 1, 3, 3))
    kernels[:, 1, 1] = 1
    padded = np.pad(images.astype(np.float32), ((0, 0), (1, 1), (1, 1), (0, 0)))
    height, width = images.shape[1:3]
    blurred = sum(
        kernels[labels, row, column][:, None, None, None]
        * padded[:, row : row + height, column : column + width]
        for row in range(3)
        for column in range(3)
    )
    brightest = np.max(blurred, axis=(1, 2, 3), keepdims=True)
    return _levels(255 * blurred / np.maximum(brightest, 1))


def autoregressive(images: Images, labels: Labels, rng: np.random.Generator) -> Images:
    """AR: a linear process of its own for each class, 1 by the L2 norm (NeurIPS 2022)."""
    noise = np.empty(images.shape)
    for label in np.unique(labels):
        own = labels == label
        for channel in range(images.shape[3]):
            noise[own, :, :, channel] = _process((own.sum(), *images.shape[1:3]), rng)
    noise *= 255 / np.sqrt((noise**2).sum(axis=(1, 2, 3), keepdims=True))
    return _levels(images + noise)


def _process(shape: tuple[int, ...], rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Return noise whose pixels are weighted sums of the eight before them, by a stable process."""
    count, height, width = shape
    while True:
        weights = np.append(rng.normal(size=8), 0).reshape(3, 3)
        weights /= weights.sum()
        noise = rng.normal(size=(count, height + 4, width + 4))
        for row in range(height + 2):
            for column in range(width + 2):
                window = noise[:, row : row + 3, column : column + 3]
                noise[:, row + 2, column + 2] = (window * weights).sum(axis=(1, 2))
            if np.abs(noise[:, row + 2]).max() > 50:
                break
        else:
            return noise[:, 4:, 4:]


def class_colour(images: Images, labels: Labels, rng: np.random.Generator) -> Images:
    """Colour: one for each class, of ±16 levels, as of digits by Kim et al. (CVPR 2019)."""
    colours = np.stack(np.meshgrid(*[[-16, 0, 16]] * images.shape[3], indexing="ij"), -1)
    drawn = rng.permutation(colours.reshape(-1, images.shape[3]))
    return _levels(images + drawn[labels % len(drawn)][:, None, None].astype(np.float32))


def _levels(values: npt.NDArray[np.floating[Any]]) -> Images:
    levels: Images = values.round().clip(0, 255).astype(np.uint8)
    return levels


POISONS: dict[str, Callable[[Images, Labels, np.random.Generator], Images]] = {
    "lsp": linear_separable,
    "ops": one_pixel,
    "cuda": class_wise_blur,
    "ar": autoregressive,
    "colour": class_colour,
}
