"""Images that Pillow decodes, within limits of memory and time."""

from __future__ import annotations

import contextlib
import io
import math
import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import (
    Image,
    ImageFile,
    PngImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
)

from dsguard.errors import InputError
from dsguard.formats.limits import most_blocks
from dsguard.formats.metadata_limits import check_metadata
from dsguard.formats.more_pictures import has_more_pictures
from dsguard.formats.png import has_all_rows, is_likely, size_of
from dsguard.formats.quiet import quiet, whole
from dsguard.formats.sizes import is_dicom, told_size
from dsguard.kernels.geometry import LARGEST_SIDE

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

SIDECAR_CHUNK = b"dsGD"
"""PNG chunk that holds a sidecar: ancillary, private, not to be copied with changed pixels."""

SIDECAR_TAG = 65111
"""TIFF tag that holds a sidecar: of the private range, type byte."""

_FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "PPM", "GIF")
_TILE_WIDTH, _TILE_LENGTH = 322, 323
_SAMPLES, _EXTRA_SAMPLES, _MULTIPLIED = 277, 338, 1
_BITS, _SAMPLE_FORMAT, _UNSIGNED = 258, 339, (1, 4)  # 4: not told
_PLANES, _APART = 284, 2
_ORIENTATION, _EXIF, _GPS = 0x0112, 0x8769, 0x8825
_XMP = ("xmp", "XML:com.adobe.xmp")
_METADATA = ("icc_profile", "exif", "Raw profile type exif", *_XMP)
_IN_XMP = re.compile(rb'tiff:Orientation(?:="|>)([1-8])')
_USUAL_GAMMA = 1 / 2.2
_SCANS = 100  # of a progressive JPEG; encoders write some ten
_MOST_SCANNED = 1 << 31  # pixels of all scans together, beyond which their number counts
_MARKER = re.compile(rb"\xff[\x02-\xcf\xd9-\xfe]")
_START_OF_SCAN, _END_OF_IMAGE = b"\xff\xda", b"\xff\xd9"
_LEVELS = {"1": 2, "L;1": 2, "L;2": 4, "L;4": 16}
"""How many values a gray sample can have, by the layout in which Pillow finds it."""

_SEVERAL = "is animated or has several pages; split it into single images"


class UnreadableImageError(InputError):
    """A file is no image, is truncated, or of a kind that dsguard does not take."""


class DamagedImageError(UnreadableImageError):
    """A file of a kind that is decoded has lost a part, or is no image at all."""


@dataclass(frozen=True)
class Decoded:
    """An image file.

    Attributes
    ----------
    pixels : ndarray of uint8, shape (H, W, C)
    sidecar : bytes
        Empty where there is none.
    has_more : bool
        Whether the file has a colour profile, EXIF, XMP or further pictures.
    """

    pixels: npt.NDArray[np.uint8]
    sidecar: bytes
    has_more: bool


def pixels_of(data: bytes) -> int:
    """Return how many pixels are decoded of a file, without doing it; 0 if it is no image.

    Of a TIFF file in tiles they are those of whole tiles, of a DICOM file as many as it has bytes.
    """
    if is_dicom(data):  # seen without decoding, as views are
        return len(data)
    size = size_of(data)
    if size is not None and data.count(b"IHDR") == 1:  # some decoders take the last one
        return size[0] * size[1]
    try:
        with _opened(data) as image:
            return _claimed(image)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        return sys.maxsize
    except Exception:
        return 0


STATED = (128, 128)
"""Height and width that stand for those of a file that does not tell its own, unless it is tiny."""

_LEAST_STATED = 16
"""Height and width at least: a very short archive may have any number of empty files."""

_MOST_STATED = 1 << 24
"""Pixels of a cover for a file that is not decoded; of one that says it has more it is smaller."""

_MOST_FOR_BYTE = 64
"""Pixels that such a file may claim for each of its bytes: nobody looks at what shows of it."""


def stated_size_of(data: bytes) -> tuple[int, int]:
    """Return height and width of an image file that is not decoded, as far as it can be believed.

    Of files whose size is not known, and of those that claim many pixels for their bytes, it is a
    square: as large as the bytes can be believed for, from 16 to 128 each. Of more than 16 million
    pixels it is scaled down.
    """
    most = _MOST_FOR_BYTE * len(data)
    side = max(_LEAST_STATED, min(STATED[0], math.isqrt(most)))
    try:
        with _opened(data) as image:
            width, height = image.size
    except Exception:
        height, width = told_size(data) or (side, side)
    fits = min(width, height) > 0 and max(width, height) <= LARGEST_SIDE
    if not (fits and width * height <= most):
        return side, side
    scale = min(1.0, math.sqrt(_MOST_STATED / (width * height)))
    return max(1, int(height * scale)), max(1, int(width * scale))


def decode(data: bytes) -> Decoded:
    """Decode an image file of any format that is taken.

    Raises
    ------
    UnreadableImageError
        If it is none, is damaged, is animated, would lose values, or claims more than it can hold.
    """
    try:
        with _opened(data) as image:
            _check_claims(image, data)
            if has_more_pictures(image, data):
                raise UnreadableImageError(_SEVERAL)
            decoded = _decoded(image)
            if image.format == "PNG" and not has_all_rows(data):
                msg = "ends before its last row; replace it by an undamaged copy"
                raise DamagedImageError(msg)
            return decoded
    except UnreadableImageError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        msg = f"claims to be very large: {error}; cut it, or raise PIL.Image.MAX_IMAGE_PIXELS"
        raise UnreadableImageError(msg) from error
    except UnidentifiedImageError as error:
        msg = "is not an image file, or its beginning is damaged"
        raise DamagedImageError(msg) from error
    except Exception as error:  # a damaged file can fail in any way inside a decoder
        msg = f"cannot be read: {error}; replace it by an undamaged copy"
        raise DamagedImageError(msg) from error


def first_picture(data: bytes, deep: tuple[str, ...]) -> npt.NDArray[Any]:
    """Return the first picture of a file of any kind of pixel, within the limits of `decode`.

    Parameters
    ----------
    data : bytes
    deep : tuple of str
        Modes of Pillow whose values are returned as they are.

    Returns
    -------
    ndarray, shape (H, W) of such values, else (H, W, 3) of uint8, or 4 with alpha

    Raises
    ------
    Exception
        Whatever a decoder raises.
    """
    with _opened(data) as image:
        _check_claims(image, data)
        if _APART in _tiff_numbers(image, _PLANES) and _is_deep(image):
            msg = "has separate planes of more than 8 bits, which Pillow decodes to other values"
            raise UnreadableImageError(msg)
        image.load()
        if image.mode in deep:
            return np.array(image)
        return np.array(image.convert("RGBA" if image.has_transparency_data else "RGB"))


@contextlib.contextmanager
def _opened(data: bytes) -> Iterator[ImageFile.ImageFile]:
    """Open an image file, not one of which Pillow warns that it may fill the memory."""
    try:
        check_metadata(data)
    except InputError as error:
        raise UnreadableImageError(error.message) from error
    # Warnings are of odd metadata; damage of pixels is an error.
    with whole(), quiet(), Image.open(io.BytesIO(data), formats=_FORMATS) as image:
        yield image


def _claimed(image: ImageFile.ImageFile) -> int:
    """Return how many pixels the decoder of an opened file will make room for."""
    width, height = image.size
    if isinstance(image, TiffImagePlugin.TiffImageFile):  # strips are cut to the image, tiles not
        tile = (image.tag_v2.get(_TILE_WIDTH), image.tag_v2.get(_TILE_LENGTH))
        across, down = (side if type(side) is int and side > 0 else 1 for side in tile)
        width, height = -(-width // across) * across, -(-height // down) * down
    return width * height


def _check_claims(image: ImageFile.ImageFile, data: bytes) -> None:
    """Refuse a file that claims to hold more than so few bytes do."""
    size, pixels = size_of(data), _claimed(image)
    if size is not None and size != image.size:
        msg = "has two headers that tell two sizes; replace it by an undamaged copy"
        raise UnreadableImageError(msg)
    if not is_likely(pixels, len(data)):
        msg = (
            f"claims {pixels} pixels in {len(data)} bytes, which could be meant to fill the "
            "memory; cut it into smaller images, or store it with less compression"
        )
        raise UnreadableImageError(msg)
    is_jpeg = image.format in ("JPEG", "MPO")  # libtiff has a limit itself
    many = data.count(_START_OF_SCAN) > _SCANS or data.count(b"\xff") > most_blocks(len(data))
    scans = _scans(data) if is_jpeg and many else 1
    if scans > _SCANS and scans * pixels > _MOST_SCANNED:
        msg = f"has {scans} scans, which could be meant to take very long; save it as a plain JPEG"
        raise UnreadableImageError(msg)


def _scans(data: bytes) -> int:
    """Return how often a JPEG file goes through its pixels."""
    count, segments, found = 0, 0, _MARKER.search(data)
    while found and found[0] != _END_OF_IMAGE:
        segments += 1
        if segments > most_blocks(len(data)):
            msg = "has too many segments among its pixels; save it as a plain JPEG"
            raise UnreadableImageError(msg)
        count += found[0] == _START_OF_SCAN
        length = int.from_bytes(data[found.end() : found.end() + 2], "big")
        found = _MARKER.search(data, found.end() + length)
    return count


def _decoded(image: ImageFile.ImageFile) -> Decoded:
    if image.format != "MPO" and _is_sequence(image):  # pictures of a camera begin with the picture
        raise UnreadableImageError(_SEVERAL)
    if _is_signed(image):
        msg = "has negative samples or fractions; convert it to 8-bit gray, RGB or RGBA"
        raise UnreadableImageError(msg)
    if _is_deep(image):
        msg = "has more than 8 bits per sample; convert it to 8-bit gray, RGB or RGBA"
        raise UnreadableImageError(msg)
    if _has_more_bands(image):
        msg = "has bands or alpha that would be lost; save it as 8-bit gray, RGB or RGBA"
        raise UnreadableImageError(msg)
    levels = _levels(image)
    xmp = _taken(image)  # Pillow reads orientation there, which fails for odd text
    image.load()
    xmp |= _taken(image)
    pixels = _pixels(image, levels)
    turned = _turned(pixels, _orientation(image, b"".join(xmp.values())))
    image.info.update(xmp)
    return Decoded(turned, _sidecar(image), _has_more(image))


def _is_sequence(image: Image.Image) -> bool:
    """Tell whether a file holds a second image; to count them all can take minutes."""
    try:
        image.seek(1)
    except EOFError:
        return False
    return True


def _is_deep(image: ImageFile.ImageFile) -> bool:
    """Tell whether an opened file has samples of more than 8 bits, whatever mode it decodes to."""
    if any(bits > 8 for bits in _tiff_numbers(image, _BITS)):
        return True  # Pillow decodes those of separate planes as if they had 8
    for codec, given in _tiles(image):  # arguments name the stored layout or the largest value
        if any(isinstance(part, str) and ";16" in part for part in given):
            return True
        if codec.startswith("ppm") and max(p for p in given if type(p) is int) > 255:
            return True
    return False


def _is_signed(image: ImageFile.ImageFile) -> bool:
    """Tell whether an opened TIFF file has samples below zero, or fractions."""
    return any(kind not in _UNSIGNED for kind in _tiff_numbers(image, _SAMPLE_FORMAT))


def _tiff_numbers(image: ImageFile.ImageFile, tag: int) -> list[int]:
    """Return the whole numbers of a tag of a TIFF file, none of another file."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return []
    found = image.tag_v2.get(tag)
    return [n for n in (found if isinstance(found, tuple) else (found,)) if isinstance(n, int)]


def _has_more_bands(image: ImageFile.ImageFile) -> bool:
    """Tell whether a TIFF file has samples that Pillow drops, or colours multiplied by alpha."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return False
    samples, others = (image.tag_v2.get(tag) for tag in (_SAMPLES, _EXTRA_SAMPLES))
    is_multiplied = isinstance(others, tuple) and _MULTIPLIED in others
    return is_multiplied or (isinstance(samples, int) and samples > len(image.getbands()))


def _levels(image: ImageFile.ImageFile) -> int:
    """Return how many values the gray samples of an opened PNG file can have; 256 of others."""
    if image.format != "PNG":
        return 256
    return next((_LEVELS[p] for _, given in _tiles(image) for p in given if p in _LEVELS), 256)


def _tiles(image: ImageFile.ImageFile) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Yield name and arguments of the decoders of an opened file."""
    for codec, _, _, given in image.tile:
        yield codec, given if isinstance(given, tuple) else (given,)


def _pixels(image: Image.Image, levels: int) -> npt.NDArray[np.uint8]:
    """Return the samples of a loaded image."""
    key = image.info.get("transparency")
    if image.mode == "1":
        image = image.convert("L")
    if image.mode in ("LA", "PA") or (image.mode == "P" and key is not None):
        image = image.convert("RGBA")
    elif image.mode == "P":
        image = image.convert("RGB")
    if image.mode not in ("L", "RGB", "RGBA"):
        msg = f"has pixels of mode {image.mode}; convert it to 8-bit gray, RGB or RGBA"
        raise UnreadableImageError(msg)
    pixels = np.asarray(image).reshape(image.height, image.width, -1)
    return pixels if key is None or image.mode == "RGBA" else _with_alpha(pixels, key, levels)


def _with_alpha(pixels: npt.NDArray[np.uint8], key: Any, levels: int) -> npt.NDArray[np.uint8]:
    """Return gray or RGB samples as RGBA: those of one colour, as it was stored, are clear.

    Pillow compares that colour with samples of less than 8 bits after it has scaled them.
    """
    stored = np.atleast_1d(np.asarray(key, np.int64))
    if stored.shape != pixels.shape[2:]:
        msg = "has a transparent colour of another kind than its pixels; store it with alpha"
        raise UnreadableImageError(msg)
    colour = (stored & levels - 1) * (255 // (levels - 1))
    shape = (*pixels.shape[:2], 4)
    out = np.empty(shape, np.uint8)
    out[..., :3] = pixels
    out[..., 3] = np.where((pixels == colour).all(axis=2), 0, 255)
    return out


def _taken(image: Image.Image) -> dict[str, bytes]:
    """Take the XMP out of what is known of an image."""
    found = {name: image.info.pop(name) for name in _XMP if name in image.info}
    return {
        name: text.encode("utf-8", "replace") if isinstance(text, str) else bytes(text)
        for name, text in found.items()
        if isinstance(text, (str, bytes))
    }


def _orientation(image: Image.Image, xmp: bytes) -> int:
    """Return how a loaded image is turned, by EXIF or else by XMP; 1 where neither can be read."""
    if isinstance(image, TiffImagePlugin.TiffImageFile):  # Pillow has turned it
        return 1
    with contextlib.suppress(Exception):  # other tags may be damaged, and the pixels are good
        exif = image.getexif()
        if _ORIENTATION in exif:
            told = exif[_ORIENTATION]
            return told if told in range(2, 9) else 1
    found = _IN_XMP.search(xmp)
    return int(found[1]) if found else 1


def _turned(pixels: npt.NDArray[np.uint8], orientation: int) -> npt.NDArray[np.uint8]:
    if orientation in (5, 6, 7, 8):
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def _sidecar(image: ImageFile.ImageFile) -> bytes:
    """Return the sidecar in a loaded file, nothing where there is none."""
    if isinstance(image, PngImagePlugin.PngImageFile):
        chunks = {chunk[0]: chunk[1] for chunk in image.private_chunks}
        return chunks.get(SIDECAR_CHUNK, b"")
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        found = image.tag_v2.get(SIDECAR_TAG)
        return found if isinstance(found, bytes) else b""  # a number is not one, whatever it says
    return b""


def _has_more(image: ImageFile.ImageFile) -> bool:
    """Tell whether a loaded file has something that an array of pixels has not."""
    if image.format == "MPO" or any(image.info.get(name) for name in _METADATA):
        return True
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        return _EXIF in image.tag_v2 or _GPS in image.tag_v2
    gamma = image.info.get("gamma", _USUAL_GAMMA)
    return bool(abs(gamma - _USUAL_GAMMA) > 1e-3)
