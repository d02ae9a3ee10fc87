"""Numbers that a key draws: the same for the same image or name, and random without the key."""

from __future__ import annotations

import hashlib
import hmac
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from dsguard.keys.derived import randomness

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dsguard.kernels.contract import Bytes, Images
    from dsguard.keys import DatasetKey


def drawn_for_images(key: DatasetKey, occasion: bytes, images: Images) -> Bytes:
    """Return 32 bytes for each image, (N, 32); images of other shapes have others."""
    shape = repr(images.shape[1:]).encode()
    return drawn_for(key, occasion + shape, (image.tobytes() for image in images))


def digests_of(images: Images) -> Bytes:
    """Return 16 bytes for each image, (N, 16); images of other shapes have others."""
    shape = repr(images.shape[1:]).encode()
    told = b"".join(hashlib.sha256(shape + image.tobytes()).digest()[:16] for image in images)
    return np.frombuffer(told, np.uint8).reshape(-1, 16)


def drawn_for(key: DatasetKey, occasion: bytes, names: Iterable[bytes]) -> Bytes:
    """Return 32 bytes for each name, (N, 32)."""
    seed = _seed(key, occasion)
    drawn = b"".join(hmac.digest(seed, name, "sha256") for name in names)
    return np.frombuffer(drawn, np.uint8).reshape(-1, 32)


@lru_cache(maxsize=64)
def _seed(key: DatasetKey, occasion: bytes) -> bytes:
    return randomness(key, 32, occasion)
