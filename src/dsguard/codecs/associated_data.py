"""Associated data: the public facts that a tag covers beside what is sealed."""

from __future__ import annotations

import hashlib
import struct
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from dsguard.kernels.contract import Bytes, Images

_SHAPE = struct.Struct("<III")


def associated(facts: list[Bytes], images: Images) -> Bytes:
    """Return facts, shape (height, width, channels) and SHA-256 of each image, side by side.

    Parameters
    ----------
    facts : list of ndarray of uint8, each of shape (N, bytes) or (bytes,)
    images : ndarray of uint8, shape (N, H, W, C)
    """
    digests = b"".join(hashlib.sha256(image).digest() for image in images)
    shape = np.frombuffer(_SHAPE.pack(*images.shape[1:]), np.uint8)
    public = [*facts, shape, np.frombuffer(digests, np.uint8).reshape(-1, 32)]
    data = np.empty((len(images), sum(each.shape[-1] for each in public)), np.uint8)
    start = 0
    for each in public:
        end = start + each.shape[-1]
        data[:, start:end] = each
        start = end
    return data
