"""Cover itself: the clean image. Alone it hides nothing; marks are put on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dsguard.covers.base import Batch, Cover

if TYPE_CHECKING:
    from dsguard.kernels.contract import Images


@dataclass(frozen=True)
class Itself(Cover):
    """Each image shows itself."""

    def settings(self) -> dict[str, str]:
        return {"cover": "itself"}

    def images(self, batch: Batch, grid: int) -> Images:
        return batch.images
