"""Cover itself: the clean image. Alone it hides nothing; marks are put on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dsguard.covers.base import Batch, Cover

if TYPE_CHECKING:
    from dsguard.kernels.contract import Images


@dataclass(frozen=True)
class Itself(Cover):
    """Each image shows itself.

    Examples
    --------
    >>> import dsguard, numpy as np
    >>> key = dsguard.DatasetKey(bytes(32))
    >>> clean = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), np.uint8)
    >>> from dsguard.covers import DrawnPatterns, Itself, Marked
    >>> cover = Marked(Itself(), DrawnPatterns(key, 16))
    >>> out = dsguard.protect_batch(clean, key, cover=cover, labels=[0, 1, 0, 1], codec="exact")
    """

    def settings(self) -> dict[str, str]:
        return {"cover": "itself"}

    def images(self, batch: Batch, grid: int) -> Images:
        return batch.images
