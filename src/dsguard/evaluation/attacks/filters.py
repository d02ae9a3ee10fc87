"""Attacks that change each image by itself: compression, blur, bands of frequencies, contrast."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from dsguard.covers.patterns import GRID, TILE, cell_of
from dsguard.evaluation.attacks.base import Prepare, on_all
from dsguard.kernels.contract import Images
from dsguard.kernels.geometry import BLOCK

Floats = npt.NDArray[np.floating[Any]]


def _pictures(change: Callable[[Image.Image], Image.Image]) -> Prepare:
    """Return a preparation by Pillow; alpha stays."""

    def of(images: Images) -> Images:
        out = np.empty_like(images)
        for index, image in enumerate(images):
            mode = "L" if image.shape[2] == 1 else "RGB"
            changed = change(Image.fromarray(image[..., : len(mode)].squeeze()))
            out[index, ..., : len(mode)] = np.atleast_3d(np.asarray(changed.convert(mode)))
            out[index, ..., len(mode) :] = image[..., len(mode) :]
        return out

    return on_all(of)


blur = _pictures(lambda image: image.filter(ImageFilter.GaussianBlur(1)))
gray = _pictures(lambda image: image.convert("L"))


def jpeg(quality: int) -> Prepare:
    """Return compression by JPEG of a quality from 1 to 95."""

    def compressed(image: Image.Image) -> Image.Image:
        file = io.BytesIO()
        image.save(file, "jpeg", quality=quality)
        return Image.open(file)

    return _pictures(compressed)


def bit_depth(bits: int) -> Prepare:
    """Return the reduction to so many bits a sample, stretched to 0…255 again."""
    levels = (1 << bits) - 1

    def reduced(images: Images) -> Images:
        steps = np.round(images.astype(np.float32) * levels / 255)
        made: Images = np.round(steps * 255 / levels).astype(np.uint8)
        return made

    return on_all(reduced)


def band(low: float, high: float) -> Prepare:
    """Return the frequencies between two shares of the highest; 128 where the mean is missing."""

    def of(images: Images) -> Images:
        height, width = images.shape[1:3]
        down, across = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None]
        share = 2 * np.hypot(down, across)
        kept = ((share >= low) & (share <= high)).astype(np.float32)[None, ..., None]
        spectrum = np.fft.rfft2(images.astype(np.float32), axes=(1, 2))
        made = np.fft.irfft2(spectrum * kept, s=(height, width), axes=(1, 2))
        return _levels(made + (128 if low > 0 else 0))

    return on_all(of)


def cells(side: int) -> Prepare:
    """Return the means of cells, so many from side to side: all that a preview of as many has."""

    def of(images: Images) -> Images:
        averaged = images.astype(np.float32)
        for axis in (1, 2):
            length = averaged.shape[axis]
            cell = np.arange(length) * min(side, length) // length
            members = np.eye(cell[-1] + 1, dtype=np.float32)[cell]
            means = members @ (members / members.sum(axis=0)).T
            averaged = np.moveaxis(np.tensordot(averaged, means, axes=(axis, 1)), -1, axis)
        return _levels(averaged)

    return on_all(of)


def local_contrast(sigma: float) -> Prepare:
    """Return how far samples are from their surroundings, over the usual distance there.

    Surroundings are weighed by a Gaussian of `sigma` pixels.
    """

    def of(images: Images) -> Images:
        values = images.astype(np.float32)
        distance = values - _smooth(values, sigma)
        usual = np.sqrt(_smooth(distance**2, sigma).mean(axis=-1, keepdims=True))
        return _levels(128 + 48 * distance / (usual + 4))

    return on_all(of)


def _smooth(values: Floats, sigma: float) -> Floats:
    """Return images under a Gaussian, whose ends are the border samples again and again."""
    reach = int(3 * sigma + 0.5)
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2).astype(np.float32)
    weights /= weights.sum()
    for axis in (1, 2):
        length = values.shape[axis]
        at = np.arange(length)[:, None] + np.arange(-reach, reach + 1)
        matrix = np.zeros((length, length), np.float32)
        np.add.at(
            matrix,
            (np.arange(length)[:, None], at.clip(0, length - 1)),
            np.broadcast_to(weights, at.shape),
        )
        values = np.moveaxis(np.tensordot(values, matrix, axes=(axis, 1)), -1, axis)
    return values


def _block_means_removed(images: Images) -> Images:
    if any(side % BLOCK for side in images.shape[1:3]):
        return images
    return block_means_removed(images, BLOCK)


def block_means_removed(images: Images, block: int = BLOCK) -> Images:
    """Leave of each block of an image its texture: what hidden images show through a veil."""
    count, height, width, channels = images.shape
    cells = images.reshape(count, height // block, block, width // block, block, channels)
    means = cells.mean(axis=(2, 4), keepdims=True, dtype=np.float32)
    textures_alone: Images = (cells - means + 128).clip(0, 255).astype(np.uint8)
    return textures_alone.reshape(images.shape)


block_means = on_all(_block_means_removed)


def cells_evened(images: Images) -> Images:
    """Even out the cells within each tile, which `dsguard.covers.patterns` makes textures of.

    What a trainer does who knows how dsguard makes patterns. Cells are those of profiles with
    blocks of 4 (`exact`, `veil`) in images whose sides are multiples of 32: elsewhere they lie
    otherwise, and this does less. Means of tiles stay, and what lies within cells.
    """
    rows, columns = (cell_of(side, 1) for side in images.shape[1:3])
    down, across = (np.eye(GRID, dtype=np.float32)[:, at] for at in (rows, columns))
    down, across = (one / one.sum(axis=1, keepdims=True).clip(1) for one in (down, across))
    cells = np.einsum("gh,nhwc,kw->ngkc", down, images, across, optimize=True)
    halves = cells.reshape(len(images), GRID // TILE, TILE, GRID // TILE, TILE, -1)
    tiles = halves.mean(axis=(2, 4)).repeat(TILE, 1).repeat(TILE, 2)
    return _levels(images + (tiles - cells).take(rows, axis=1).take(columns, axis=2))


evened = on_all(cells_evened)


def _levels(values: Floats) -> Images:
    """Return values as samples of an image."""
    levels: Images = values.round().clip(0, 255).astype(np.uint8)
    return levels
