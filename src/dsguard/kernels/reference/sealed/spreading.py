"""A payload in the low bits of a cover: each sample moves to the nearest value that says it."""

from __future__ import annotations

import numpy as np

from dsguard.kernels.contract import Bytes, Images


def spread(images: Images, payloads: Bytes, masks: Bytes) -> None:
    """See `dsguard.kernels.contract.Kernels.spread`."""
    places = np.unpackbits(masks.reshape(-1, 1), axis=1, bitorder="little").astype(bool)
    spans = np.where(masks > 0, (masks | 1).astype(np.int16) + 1, 1)
    for image, payload in zip(images, payloads, strict=True):
        bits = np.zeros(places.shape, np.uint8)
        flat = np.zeros(places.sum(), np.uint8)
        flat[: 8 * len(payload)] = np.unpackbits(payload, bitorder="little")
        bits[places] = flat
        wanted = np.packbits(bits, axis=1, bitorder="little").reshape(image.shape)
        up = (wanted.astype(np.int16) - image) % spans
        moved = image + np.where(2 * up > spans, up - spans, up)
        moved = np.where(moved < 0, moved + spans, moved)
        image[...] = np.where(moved > 255, moved - spans, moved)


def gather(images: Images, size: int, masks: Bytes) -> Bytes:
    """See `dsguard.kernels.contract.Kernels.gather`."""
    places = np.unpackbits(masks.reshape(-1, 1), axis=1, bitorder="little").astype(bool)
    bits = np.unpackbits(images.reshape(len(images), masks.size, 1), axis=2, bitorder="little")
    gathered = np.packbits(bits[:, places][:, : 8 * size], axis=1, bitorder="little")
    return np.ascontiguousarray(gathered)  # each row is taken as bytes
