"""Image files in two parts, samples and layout, which give the file back to the last byte.

Samples are coded without loss like those of images; a layout is all else that a file holds.
Nothing depends on how well a file was understood: each is joined again and compared.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dsguard.formats import png_parted, uncompressed

if TYPE_CHECKING:
    from dsguard.kernels.contract import Images

_KINDS = {0: uncompressed, 1: png_parted}


@dataclass(frozen=True)
class Parted:
    """An image file in two parts.

    Attributes
    ----------
    samples : ndarray of uint8, shape (H, W, C)
        Bytes of the pixels as the file has them; C is 1, 3 or 4.
    layout : bytes
    """

    samples: Images
    layout: bytes


def parted(data: bytes, most: int = 1 << 30) -> Parted | None:
    """Return a file in two parts, None where that is not possible.

    Parameters
    ----------
    data : bytes
        Of a PNG file of 8 bits per sample, not interlaced, or of a BMP, TIFF, PPM or PGM file
        without compression; of any other there are no parts.
    most : int
        Samples, in bytes; a file that claims more has no parts.

    Examples
    --------
    >>> from dsguard.formats.parted import joined, parted
    >>> data = b"P6 2 1 255 RGBrgb, and more"
    >>> parts = parted(data)
    >>> parts.samples.shape, parts.layout[9:]
    ((1, 2, 3), b'P6 2 1 255 , and more')
    >>> joined(parts.samples, parts.layout, len(data)) == data
    True
    """
    for kind, module in _KINDS.items():
        found = module.split(data, most)
        if found is not None:
            samples, layout = found
            whole = Parted(samples, bytes([kind]) + layout)
            return whole if joined(samples, whole.layout, len(data)) == data else None
    return None


def joined(samples: Images, layout: bytes, size: int) -> bytes | None:
    """Return the file of `size` bytes that has these parts, None where there is none.

    Parameters
    ----------
    samples : ndarray of uint8, shape (H, W, C)
    layout : bytes
        Zeros at its end are passed over.
    size : int
    """
    module = _KINDS.get(layout[0]) if layout else None
    return None if module is None else module.join(samples, layout[1:], size)
