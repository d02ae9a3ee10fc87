"""Cover given: images of the caller's choice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dsguard.covers.base import Batch, Cover

if TYPE_CHECKING:
    from dsguard.kernels.contract import Images


@dataclass(frozen=True, eq=False)
class Given(Cover):
    """Each image shows the one in its place.

    Attributes
    ----------
    covers : ndarray of uint8, shape (N, H, W, C)
    """

    covers: Images

    def settings(self) -> dict[str, str]:
        return {"cover": "given"}

    def images(self, batch: Batch, grid: int) -> Images:
        return np.ascontiguousarray(self.covers[batch.places])
