"""Cover blank: a smooth picture drawn by the key. It shows nothing of the image.

Images of one label have the broad lines of their pictures in common: a network learns those at
once, and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from dsguard.covers.base import Batch, Cover
from dsguard.covers.draws import drawn_for, drawn_for_images
from dsguard.covers.smooth import enlarged

if TYPE_CHECKING:
    from dsguard.kernels.contract import Bytes, Images
    from dsguard.keys import DatasetKey

GRAY = 128

_LIGHT, _COLOUR = (4, 4), (2, 2, 3)
"""Points that light and colours are drawn for; splines lead from one to the next."""

_DRAWN = 28
"""Numbers: one for each point of light, and for each of the colours."""

Points = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Blank(Cover):
    """Each image shows a picture of its own, without a hole.

    Attributes
    ----------
    key : DatasetKey or None
        Draws the pictures, the same for equal images; None for one gray.
    labelled : bool
        Whether there are labels, each with a picture that its images have in common.

    Examples
    --------
    >>> import dsguard, numpy as np
    >>> key = dsguard.DatasetKey(bytes(32))
    >>> clean = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), np.uint8)
    >>> from dsguard.covers import Blank
    >>> out = dsguard.protect_batch(clean, key, cover=Blank(key), labels=[0, 1, 0, 1])
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

    def without_labels(self) -> Blank:
        return replace(self, labelled=False)

    def images(self, batch: Batch, grid: int) -> Images:
        out = batch.images.copy()
        colours = out[..., :3]
        colours[...] = GRAY if self.key is None else self._drawn(self.key, batch)
        out[..., 3:] = 255
        return out

    def _drawn(self, key: DatasetKey, batch: Batch) -> Images:
        _, height, width, channels = batch.images.shape
        points = _points(drawn_for_images(key, b"blank/image", batch.images))
        if self.labelled:
            labels, which = np.unique(batch.numbers(), return_inverse=True)
            names = [b"%d" % label for label in labels.tolist()]
            of_labels = _points(drawn_for(key, b"blank/label", names))
            points = (5 * of_labels[which] + 3 * points) >> 3
        pictures = _coloured(points)
        if channels == 1:
            pictures = pictures.mean(axis=3, keepdims=True).astype(np.uint8)
        return enlarged(pictures, height, width)


def _points(drawn: Bytes) -> Points:
    """Return 28 numbers of -128 to 127 for each picture: its light, and its colours."""
    return drawn[:, :_DRAWN].astype(np.int32) - 128


def _coloured(points: Points) -> npt.NDArray[np.uint8]:
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
