"""The carrier: a protected image with its payload bits put to neutral."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dsguard.mrit.geometry import Geometry


def neutral_payload(geometry: Geometry, size: int) -> npt.NDArray[np.uint8]:
    """Return the payload of `size` bytes that puts every lost value in the middle of its range.

    Embedded in a protected image it gives the carrier, which is what the tag covers and what is
    inverted. A sample that lost one bit gets 1, a sample that lost two gets 2, so the restored
    value is off by at most 1 or 2 grey levels.

    Parameters
    ----------
    geometry : Geometry
    size : int
        Bytes of payload, at most ``geometry.capacity_bits // 8``.

    Returns
    -------
    ndarray of uint8, shape (size,)
    """
    payload = np.full(size, 0xFF, np.uint8)
    in_second_plane = size - geometry.plane_bits // 8
    if in_second_plane > 0:
        payload[:in_second_plane] = 0
    return payload
