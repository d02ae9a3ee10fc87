"""Cover blank: one gray. It shows nothing of the image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dsguard.covers.base import Batch, Cover

if TYPE_CHECKING:
    from dsguard.kernels.contract import Images

GRAY = 128


@dataclass(frozen=True)
class Blank(Cover):
    """Each image shows the same gray; alpha stays."""

    is_like = False

    def settings(self) -> dict[str, str]:
        return {"cover": "blank"}

    def images(self, batch: Batch, grid: int) -> Images:
        out = batch.images.copy()
        out[..., :3] = np.uint8(GRAY)
        return out
