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
_LARGEST_SIDE = 256
_MOST_PIXELS = 50_000 * _SIDE * _SIDE
"""Of images that are larger than 64×64, all together: 614 MB of colours."""


def load_training_set(
    source: Source, names: Collection[str] | None = None
) -> tuple[Image, list[str]]:
    """Read images: colour, of one size, with the class of each.

    Images of different sizes, larger than 256×256, or too many for the memory are all resized to
    64×64 for this purpose; unreadable ones are left out, they are reported when they are processed.

    Examples
    --------
    >>> import numpy as np, pathlib
    >>> from dsguard.bulk import load_training_set
    >>> from dsguard.formats import encode_image, open_source
    >>> pathlib.Path("photos/cat").mkdir(parents=True)
    >>> image = encode_image(np.zeros((32, 32, 3), np.uint8))
    >>> _ = pathlib.Path("photos/cat/1.png").write_bytes(image)
    >>> images, classes = load_training_set(open_source("photos"))
    >>> images.shape, classes
    ((1, 32, 32, 3), ['cat'])
    """
    count = len(source.names() if names is None else names)
    images, classes = np.empty((count, 0, 0, 0), np.uint8), list[str]()
    reason = ""
    for _, class_name, image in source.read(names):
        if isinstance(image, DsguardError):
            reason = reason or f"; the first {image.message}"
            continue
        if min(image.shape[:2]) < SMALLEST_SIDE:
            continue
        size = _size(image, count)
        if classes and size != images.shape[1:3]:
            size = (_SIDE, _SIDE)
        shape = (*size, max(images.shape[3], min(image.shape[2], 3)))
        if shape != images.shape[1:]:
            images = _reshaped(images, shape, len(classes))
        images[len(classes)] = _resized(image[..., :3], size)
        classes.append(class_name)
    if not classes:
        msg = f"{source} has no readable image{reason}"
        raise InputError(msg)
    return images[: len(classes)], classes


def _size(image: Image, count: int) -> tuple[int, int]:
    """Return the size in which so many images may be held, if they are all like this one."""
    height, width = image.shape[:2]
    most = max(_MOST_PIXELS, count * _SIDE * _SIDE)
    if max(height, width) > _LARGEST_SIDE or count * height * width > most:
        return _SIDE, _SIDE
    return height, width


def _reshaped(images: Image, shape: tuple[int, int, int], used: int) -> Image:
    """Return images of another shape, the first `used` of which are those given."""
    out = np.empty((len(images), *shape), np.uint8)
    for new, old in zip(out[:used], images, strict=False):
        new[...] = _resized(old, shape[:2])
    return out


def _resized(image: Image, size: tuple[int, int]) -> Image:
    from PIL import Image as Pillow

    if image.shape[:2] == size:
        return image
    pixels = image[..., 0] if image.shape[2] == 1 else image
    small = Pillow.fromarray(np.ascontiguousarray(pixels)).resize(size[::-1])
    return np.asarray(small).reshape(*size, image.shape[2])
