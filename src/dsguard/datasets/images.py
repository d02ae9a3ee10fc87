"""Image files to arrays and back, without losing a bit."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, UnidentifiedImageError

from dsguard.errors import InputError

if TYPE_CHECKING:
    import numpy.typing as npt

READABLE_SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".gif"}
)

LOSSLESS_FORMATS = {"png": ".png", "tiff": ".tiff"}
"""Formats that protected and restored images are written in, and their suffixes."""

_WRITE_OPTIONS: dict[str, dict[str, object]] = {
    "png": {"compress_level": 1},  # protected pixels are noise in their low bits: more buys nothing
    "tiff": {"compression": "tiff_deflate"},
}


class UnreadableImageError(InputError):
    """A file is no image, is truncated, or of a kind that dsguard does not take."""


def check_output_format(name: str) -> str:
    """Return the format called `name` if protected images survive in it.

    Raises
    ------
    InputError
        If it is lossy or unknown.
    """
    chosen = name.lower().lstrip(".")
    if chosen not in LOSSLESS_FORMATS:
        msg = (
            f"protected images cannot be stored as {name}: lossy or untested formats destroy the "
            f"payload in their low bits; choose one of: {', '.join(LOSSLESS_FORMATS)}"
        )
        raise InputError(msg)
    return chosen


def decode_image(data: bytes) -> npt.NDArray[np.uint8]:
    """Decode an image file.

    Palette and bilevel images are expanded; 16-bit, float and CMYK ones are refused, because they
    would lose values.

    Returns
    -------
    ndarray of uint8, shape (H, W, C)
        C is 1, 3, or 4 with alpha.

    Raises
    ------
    UnreadableImageError
        If the file is no image, is truncated, animated, or of another kind of pixel.
    """
    try:
        with Image.open(io.BytesIO(data)) as image:
            if getattr(image, "n_frames", 1) > 1:
                msg = "is animated or has several pages; split it into single images"
                raise UnreadableImageError(msg)
            image.load()
            return _pixels(image)
    except UnreadableImageError:
        raise
    except UnidentifiedImageError as error:
        msg = "is not an image file, or its beginning is damaged"
        raise UnreadableImageError(msg) from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        msg = f"cannot be read: {error}; replace it by an undamaged copy"
        raise UnreadableImageError(msg) from error


def _pixels(image: Image.Image) -> npt.NDArray[np.uint8]:
    """Return the samples of an opened image."""
    if image.mode == "1":
        image = image.convert("L")
    elif image.mode == "P":
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    elif image.mode == "LA":
        image = image.convert("RGBA")
    if image.mode not in ("L", "RGB", "RGBA"):
        msg = f"has pixels of mode {image.mode}; convert it to 8-bit gray, RGB or RGBA"
        raise UnreadableImageError(msg)
    return np.asarray(image).reshape(image.height, image.width, -1)


def encode_image(image: npt.NDArray[np.uint8], name: str = "png") -> bytes:
    """Encode an array of shape (H, W, C) losslessly, in a format of `LOSSLESS_FORMATS`."""
    pixels = image[..., 0] if image.shape[2] == 1 else image
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, name, **_WRITE_OPTIONS[name])
    return file.getvalue()
