"""Cover other: another image of the set, drawn by the key.

There is another image under the label of the hidden one, so there is little to learn. The order is
secret: it would tell which label belongs to which picture.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from dsguard.covers.base import Batch, Cover, ImageSet
from dsguard.covers.blank import Blank
from dsguard.errors import DsguardError, InputError
from dsguard.keys.derived import randomness

if TYPE_CHECKING:
    import numpy.typing as npt

    from dsguard.kernels.contract import Images
    from dsguard.keys import DatasetKey

_ALONE = (
    "cover other, and profile veil, show each image as another of the same size and number of "
    "channels, and there is no other; add images like it, or take another cover"
)


_DRAWS = 16
"""So often is another image looked for in the place of a duplicate of the hidden one."""


@dataclass(frozen=True)
class Other(Cover):
    """Each image shows another one of its size.

    An image is not shown by its duplicate but by the next one of the order; by gray where those are
    duplicates as well. One of a single value, as stands for a file that is not decoded, has nothing
    to be hidden by another: it needs none of its size.

    Attributes
    ----------
    key : DatasetKey
    whole : ImageSet or None
        Set by `prepared`.

    Examples
    --------
    >>> import dsguard, numpy as np
    >>> key = dsguard.DatasetKey(bytes(32))
    >>> clean = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), np.uint8)
    >>> from dsguard.covers import Other
    >>> out = dsguard.protect_batch(clean, key, cover=Other(key))
    """

    key: DatasetKey
    whole: ImageSet | None = field(default=None, repr=False)
    needs_whole_set = True
    is_like = False

    def settings(self) -> dict[str, str]:
        return {"cover": "other"}

    @contextmanager
    def prepared(self, whole: ImageSet) -> Iterator[Other]:
        yield replace(self, whole=whole)

    def refused(self, batch: Batch) -> dict[int, DsguardError]:
        assert self.whole is not None
        shape = batch.images.shape[1:]
        if self.whole.counts.get(shape, 0) > 1:
            return {}
        drawn = batch.images.max(axis=(1, 2, 3)) > batch.images.min(axis=(1, 2, 3))
        return {int(n): InputError(_ALONE) for n in np.flatnonzero(drawn)}

    def images(self, batch: Batch, grid: int) -> Images:
        assert self.whole is not None
        shape = batch.images.shape[1:]
        order = drawn_order(self.whole.counts[shape], self.whole.read(shape, slice(0, 1)), self.key)
        places = order[batch.places].copy()
        out = self.whole.read(shape, places)
        for _ in range(_DRAWS):
            same = _equal(out, batch.images)
            if not same.any():
                return out
            places[same] = order[places[same]]
            out[same] = self.whole.read(shape, places[same])
        same = _equal(out, batch.images)
        out[same] = Blank().images(Batch(batch.images[same]), grid)
        return out


def _equal(first: Images, second: Images) -> npt.NDArray[np.bool_]:
    """Tell which images have equal pixels, whatever their alpha."""
    equal: npt.NDArray[np.bool_] = (first[..., :3] == second[..., :3]).all(axis=(1, 2, 3))
    return equal


def drawn_order(count: int, first: Images, key: DatasetKey) -> npt.NDArray[np.intp]:
    """Draw for each of `count` images the other one that it shows.

    All orders of one cycle through the images are equally likely. So no image meets itself, and
    the one that shows says nothing of the one that is hidden.

    Parameters
    ----------
    count : int
    first : ndarray of uint8
        The first of the images: other sets are ordered otherwise.
    key : DatasetKey

    Returns
    -------
    ndarray of int, shape (N,)
        A permutation without fixed points.
    """
    return _order(hashlib.sha256(b"%d" % count + first.tobytes()).digest(), count, key)


@lru_cache(maxsize=8)
def _order(occasion: bytes, count: int, key: DatasetKey) -> npt.NDArray[np.intp]:
    draws = np.frombuffer(randomness(key, 8 * count, b"order" + occasion), "<u8")
    cycle = np.argsort(draws, kind="stable")  # equal draws are too rare to matter
    order = np.empty(count, np.intp)
    order[cycle] = np.roll(cycle, 1)
    return order
