"""Images of a dataset as one array, for a surrogate or a study."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from dsguard.errors import DsguardError, InputError
from dsguard.kernels.geometry import SMALLEST_SIDE

if TYPE_CHECKING:
    from dsguard.formats.base import Source

Image = npt.NDArray[np.uint8]

_SIDE = 64


def load_training_set(
    source: Source, names: Collection[str] | None = None
) -> tuple[Image, list[str]]:
    """Read images: colour, of one size, with the class of each.

    Images of different sizes are all resized to 64×64 for this purpose; unreadable ones are left
    out, they are reported when they are processed.
    """
    images: list[Image] = []
    classes: list[str] = []
    alike = True
    reason = ""
    for _, class_name, image in source.read(names):
        if isinstance(image, DsguardError):
            reason = reason or f"; the first {image.message}"
            continue
        if min(image.shape[:2]) < SMALLEST_SIDE:
            continue
        if images and alike and image.shape[:2] != images[0].shape[:2]:
            alike, images = False, [_resized(earlier) for earlier in images]
        images.append(image[..., :3] if alike else _resized(image[..., :3]))
        classes.append(class_name)
    if not images:
        msg = f"{source} has no readable image{reason}"
        raise InputError(msg)
    if len({image.shape[2] for image in images}) > 1:
        images = [np.broadcast_to(image, (*image.shape[:2], 3)) for image in images]
    return np.stack(images), classes


def _resized(image: Image) -> Image:
    from PIL import Image as Pillow

    pixels = image[..., 0] if image.shape[2] == 1 else image
    small = Pillow.fromarray(np.ascontiguousarray(pixels)).resize((_SIDE, _SIDE))
    return np.asarray(small).reshape(_SIDE, _SIDE, image.shape[2])
