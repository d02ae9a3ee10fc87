"""Cover given: images of the caller's choice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dsguard.covers.base import Batch, Cover
from dsguard.errors import InputError

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
        given: object = self.covers
        if isinstance(given, np.ndarray) and given.dtype == np.uint8 and given.ndim == 4:
            shown = np.ascontiguousarray(given[batch.places])
            if shown.shape == batch.images.shape:
                return shown
        found = f"{given.dtype} of {given.shape}" if isinstance(given, np.ndarray) else type(given)
        msg = f"covers: expected one for each image, uint8 of {batch.images.shape[1:]}, got {found}"
        raise InputError(msg)
