"""Cover blank: a smooth picture drawn by the key. It shows nothing of the image.

Images of one label have the broad lines of their pictures in common: a network learns those at
once, and nothing else.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from dsguard.covers.base import Batch, Cover
from dsguard.covers.smooth import enlarged

if TYPE_CHECKING:
    from dsguard.kernels.contract import Images
    from dsguard.keys import DatasetKey

GRAY = 128

_LIGHT, _COLOUR = (4, 4), (2, 2, 3)
"""Points that light and colours are drawn for; splines lead from one to the next."""

_DRAWN_BYTES = 28
"""One for each point of light, and for each of the colours."""

Drawn = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Blank(Cover):
    """Each image shows a picture of its own; alpha stays.

    Attributes
    ----------
    key : DatasetKey or None
        Draws the pictures, the same for equal images; None for one gray.
    labelled : bool
        Whether there are labels, each with a picture that its images have in common.
    """

    key: DatasetKey | None = None
    labelled: bool = False
    is_like = False
    any_labels = True

    @property
    def needs_labels(self) -> bool:  # type: ignore[override]
        return self.labelled

    def settings(self) -> dict[str, str]:
        if self.key is None:
            return {"cover": "blank, gray"}
        return {"cover": f"blank, {'by label' if self.labelled else 'without labels'}"}

    def images(self, batch: Batch, grid: int) -> Images:
        out = batch.images.copy()
        colours = out[..., :3]
        colours[...] = GRAY if self.key is None else self._drawn(self.key, batch)
        return out

    def _drawn(self, key: DatasetKey, batch: Batch) -> Images:
        _, height, width, channels = batch.images.shape
        shape = repr(batch.images.shape[1:]).encode()
        points = _drawn(_seed(key, b"image" + shape), [image.data for image in batch.images])
        if self.labelled:
            labels, which = np.unique(batch.numbers(), return_inverse=True)
            names = [b"%d" % label for label in labels.tolist()]
            points = (5 * _drawn(_seed(key, b"label"), names)[which] + 3 * points) >> 3
        pictures = _coloured(points)
        if channels == 1:
            pictures = pictures.mean(axis=3, keepdims=True).astype(np.uint8)
        return enlarged(pictures, height, width)


@lru_cache(maxsize=8)
def _seed(key: DatasetKey, occasion: bytes) -> bytes:
    return key.randomness(32, b"blank/" + occasion)


def _drawn(seed: bytes, names: list[bytes] | list[memoryview]) -> Drawn:
    """Return 28 numbers of -128 to 127 for each name, as good as random without the key."""
    drawn = b"".join(hmac.digest(seed, name, "sha256")[:_DRAWN_BYTES] for name in names)
    numbers = np.frombuffer(drawn, np.uint8).astype(np.int32) - 128
    return numbers.reshape(-1, _DRAWN_BYTES)


def _coloured(points: Drawn) -> npt.NDArray[np.uint8]:
    """Return pictures of 4×4 colours: light of its own at each, and hues that change slowly."""
    light = points[:, :16].reshape(-1, *_LIGHT, 1)
    hues = points[:, 16:].reshape(-1, *_COLOUR)
    hues = hues - hues.sum(axis=3, keepdims=True) // 3  # no light of their own
    spread = np.einsum("ai,bj,nijc->nabc", _THIRDS, _THIRDS, hues)
    values: npt.NDArray[np.uint8] = (
        (128 + light * 5 // 8 + spread // 12).clip(24, 231).astype(np.uint8)
    )
    return values


_THIRDS = np.array([[3, 0], [2, 1], [1, 2], [0, 3]])
"""From one corner to the other."""
