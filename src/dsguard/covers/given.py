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

    Examples
    --------
    >>> import dsguard, numpy as np
    >>> key = dsguard.DatasetKey(bytes(32))
    >>> clean = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), np.uint8)
    >>> from dsguard.covers import Given
    >>> out = dsguard.protect_batch(clean, key, cover=Given(np.full_like(clean, 200)))
    >>> bool(abs(out.images.astype(int) - 200).max() < 64)
    True
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
