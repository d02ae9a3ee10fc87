"""Views: pictures of 8 bits of files that are not decoded, for covers that show something of them.

Gray values of more bits are seen through a *window*: its range is brought to 0 to 255, and values
outside are cut. It is the one that a DICOM file names, else that from the 1st to the 99th
percentile of the image. Of several pictures the first is seen, of colours of 16 bits the upper
eight. Nothing that comes back depends on a view.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from dsguard._opaque import over_white
from dsguard.errors import InputError
from dsguard.formats.pillow import first_picture
from dsguard.formats.quiet import quiet
from dsguard.formats.sizes import is_dicom

if TYPE_CHECKING:
    import numpy.typing as npt

    from dsguard.kernels.contract import Bytes

PERCENTILES = (1, 99)

_MOST_COUNTED = 1 << 20
"""Values that percentiles are taken of, evenly from all."""

_AT_ONCE = 1 << 18
_DEEP = ("I;16", "I;16L", "I;16B", "I;16N", "I", "F")

_START = 132  # of a DICOM file, behind ``DICM``
_LONG = (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV")
"""Kinds of values whose length has four bytes (PS3.5, 7.1.2)."""

_SYNTAX = b"\2\0\x10\0"
_FORMS = {
    "1.2.840.10008.1.2": (True, "<"),
    "1.2.840.10008.1.2.1": (False, "<"),
    "1.2.840.10008.1.2.2": (False, ">"),
}
"""By transfer syntax whether kinds of values are left out, and the order of bytes: of DICOM files
without compression. Others are not read."""

_WANTED = [
    "Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration",
    "BitsAllocated", "BitsStored", "PixelRepresentation", "WindowCenter", "WindowWidth",
    "RescaleSlope", "RescaleIntercept", "PixelData",
]  # fmt: skip


def view_of(data: bytes) -> Bytes | None:
    """Return a picture of an image file as viewers show it, shape (H, W, 3), or None.

    Where alpha takes something out, it is white. DICOM files need pydicom (extra ``dicom``), and no
    compression.
    """
    with contextlib.suppress(Exception):  # a file of strangers can fail in any way: it is not seen
        values, window = _values_of(data)
        if window is not None:
            return _gray(windowed(values, *window))
        view: Bytes = over_white(values[None])[0, ..., :3]
        return view
    return None


def all_views_of(data: bytes) -> Iterator[Bytes]:
    """Yield pictures of an image file as programs export it to eight bits; as they are, alpha too.

    Gray values of more bits are seen through the window of `view_of`, from the least to the largest
    value, and by the upper eight of 16 bits, of 12, and of as many as there are.
    """
    with contextlib.suppress(Exception):
        values, window = _values_of(data)
        if window is None:
            yield values
            return
        finite = values if values.dtype.kind in "iu" else values[np.isfinite(values)]
        least, largest = float(finite.min()), float(finite.max())
        bits = {12, 16, int(max(0, largest)).bit_length()}
        windows = {window, (least, largest), *((0.0, float((1 << each) - 1)) for each in bits)}
        for ends in sorted(windows):
            yield windowed(values, *ends)[..., None]


def _values_of(data: bytes) -> tuple[npt.NDArray[Any], tuple[float, float] | None]:
    """Return the first picture of a file, and the window of gray values of more than 8 bits."""
    if is_dicom(data):
        return _of_dicom(data)
    picture = first_picture(data, _DEEP)
    return picture, window_of(picture) if picture.ndim == 2 else None


def sees_dicom() -> bool:
    """Tell whether DICOM files have views here."""
    return importlib.util.find_spec("pydicom") is not None


def _gray(picture: Bytes) -> Bytes:
    """Return gray as colours: they have room for three times as much."""
    return np.repeat(picture[..., None], 3, axis=2)


def window_of(values: npt.NDArray[Any]) -> tuple[float, float]:
    """Return the percentiles of the finite values of an image, of a part of very many."""
    flat = values.reshape(-1)
    some = flat[:: -(-flat.size // _MOST_COUNTED)].astype(np.float64)
    low, high = np.percentile(some[np.isfinite(some)], PERCENTILES)
    return float(low), float(high)


def windowed(values: npt.NDArray[Any], low: float, high: float) -> Bytes:
    """Return values through a window: `low` and less are 0, `high` and more 255.

    Parameters
    ----------
    values : ndarray, shape (H, W)
        What is not a number is 0.
    low, high : float
        Where they are the same, all is 128.

    Examples
    --------
    >>> import numpy as np
    >>> from dsguard.formats.views import windowed
    >>> windowed(np.array([[-5, 0, 500, 1000, 4095]]), 0, 1000).tolist()
    [[0, 0, 128, 255, 255]]
    """
    out = np.full(values.shape, 128, np.uint8)
    if not high > low:
        return out
    step = max(1, _AT_ONCE // max(1, values.shape[1]))
    for start in range(0, len(values), step):
        part = values[start : start + step].astype(np.float64)
        shown = (np.clip(part, low, high) - low) * (255 / (high - low))
        out[start : start + step] = np.rint(np.nan_to_num(shown))
    return out


def _of_dicom(data: bytes) -> tuple[npt.NDArray[Any], tuple[float, float] | None]:
    """Return the first frame, and the window that the file names, or one that fits."""
    syntax, start = _meta(data)
    is_implicit, order = _FORMS[syntax]
    from pydicom.filereader import read_dataset
    from pydicom.tag import Tag

    # Not `dcmread`, which reads the syntax itself and unpacks a whole file for some.
    with quiet():
        file = io.BytesIO(data[start:])
        wanted: list[Any] = [Tag(name) for name in _WANTED]
        found: Any = read_dataset(file, is_implicit, order == "<", specific_tags=wanted)
    kind, size = str(found.PhotometricInterpretation), int(found.BitsAllocated) // 8
    channels = {"MONOCHROME1": 1, "MONOCHROME2": 1, "RGB": 3}[kind]
    shape = int(found.Rows), int(found.Columns), channels
    if channels != int(found.SamplesPerPixel) or (channels == 3 and size != 1):
        msg = "of a kind that has no view"
        raise InputError(msg)
    signed = "i" if int(found.PixelRepresentation) else "u"
    pixels = np.frombuffer(found.PixelData, f"{order}{signed}{size}", np.prod(shape))
    if channels == 3:
        planes = int(found.get("PlanarConfiguration", 0) or 0)
        rgb = pixels.view(np.uint8)
        colours = rgb.reshape(3, *shape[:2]).transpose(1, 2, 0) if planes else rgb.reshape(shape)
        return colours, None
    unused = 8 * size - int(found.BitsStored)
    values = (pixels.astype(f"={signed}{size}").reshape(shape[:2]) << unused) >> unused
    low, high = _window_in(found) or window_of(values)
    if kind == "MONOCHROME2":
        return values, (low, high)
    top = -1 if signed == "i" else int(np.iinfo(values.dtype).max)  # the least values are white
    return ~values, (top - high, top - low)


def _meta(data: bytes) -> tuple[str, int]:
    """Return the transfer syntax, and the place behind the group of elements that tells it.

    Empty where it is told twice: readers may take either.
    """
    place, found = _START, list[str]()
    while data[place : place + 2] == b"\2\0":
        kind = data[place + 4 : place + 6]
        long = kind in _LONG
        form, gap = ("<I", 8) if long else ("<H", 6)
        (length,) = struct.unpack_from(form, data, place + gap)
        start = place + gap + struct.calcsize(form)
        if data[place : place + 4] == _SYNTAX:
            found.append(data[start : start + length].rstrip(b"\0 ").decode("ascii"))
        place = start + length
    return found[0] if len(found) == 1 else "", place


def _window_in(found: Any) -> tuple[float, float] | None:
    """Return the window that a file names, in stored values (PS3.3, C.11.2.1.2)."""
    centre, width = (_first(found.get(name)) for name in ("WindowCenter", "WindowWidth"))
    slope, intercept = (_first(found.get(name)) for name in ("RescaleSlope", "RescaleIntercept"))
    slope, intercept = 1.0 if slope is None else slope, intercept or 0.0
    if centre is None or width is None or not width > 1 or not slope > 0:
        return None
    ends = (centre - 0.5 - (width - 1) / 2, centre - 0.5 + (width - 1) / 2)
    low, high = ((end - intercept) / slope for end in ends)
    return (low, high) if np.isfinite([low, high]).all() else None


def _first(value: Any) -> float | None:
    """Return a number, the first of several."""
    if value is None or value == "":
        return None
    return float(value) if isinstance(value, str | int | float) else float(value[0])
