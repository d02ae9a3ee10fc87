"""Cover preview: the image itself, at a few cells a side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dsguard._opaque import over_white
from dsguard.covers.base import Batch, Cover
from dsguard.covers.blank import Blank
from dsguard.covers.smooth import enlarged
from dsguard.errors import InputError

if TYPE_CHECKING:
    import numpy.typing as npt

    from dsguard.kernels.contract import Images


MOST_CELLS = 256


@dataclass(frozen=True)
class Preview(Cover):
    """Each image shows the means of its cells, smooth where the codec allows it.

    Attributes
    ----------
    cells : int
        From top to bottom, and from side to side, 1 to 256; fewer where they would have less than
        two pixels a side, or two squares of the codec: what is constant on a square leaves what is
        in it in sight. An image of one pixel shows gray.

    Examples
    --------
    >>> import numpy as np, dsguard
    >>> from dsguard.covers import Preview
    >>> clean = np.full((1, 32, 32, 3), 90, np.uint8)
    >>> done = dsguard.protect_batch(clean, dsguard.DatasetKey(bytes(32)), cover=Preview(cells=4))
    >>> bool(abs(done.images.mean() - 90) < 4)
    True
    """

    cells: int = 8
    is_like = False
    takes_views = True

    def __post_init__(self) -> None:
        if type(self.cells) is not int or not 1 <= self.cells <= MOST_CELLS:
            msg = f"cells is a whole number of 1 to {MOST_CELLS}, not {self.cells!r}"
            raise InputError(msg)

    def settings(self) -> dict[str, str]:
        return {"cover": f"preview, {self.cells} cells"}

    def images(self, batch: Batch, grid: int) -> Images:
        colours = over_white(batch.images)[..., :3]
        if colours.shape[1:3] == (1, 1):
            return Blank().images(batch, grid)
        if max(colours.shape[1:3]) < 2 * grid > 2:
            height, width = colours.shape[1:3]
            msg = (
                f"a preview of {height}×{width} would show all of it: the codec moves squares "
                f"of {grid}; take cover blank"
            )
            raise InputError(msg)
        down, across = (_starts(side, self.cells, grid) for side in colours.shape[1:3])
        rows, columns = (
            np.diff(starts, append=side)
            for starts, side in zip((down, across), colours.shape[1:3], strict=True)
        )
        bands = [colours[:, top : top + n] for top, n in zip(down, rows, strict=True)]
        sums = np.stack([band.sum(axis=1, dtype=np.uint32) for band in bands], axis=1)
        sums = np.add.reduceat(sums, across, axis=2)
        size = (rows[:, None] * columns)[..., None]
        means = ((sums + size // 2) // size).astype(np.uint8)
        out = np.full_like(batch.images, 255)
        if grid == 1:
            out[..., :3] = enlarged(means, *colours.shape[1:3])
        else:  # constant on squares, as the codec shows them
            out[..., :3] = means.repeat(rows, axis=1).repeat(columns, axis=2)
        return out


def _starts(side: int, cells: int, grid: int) -> npt.NDArray[np.intp]:
    """Return where cells begin: at whole squares of the codec, as equal as that allows."""
    squares = max(1, side // grid)
    count = min(cells, max(1, squares // 2))
    return np.arange(count) * squares // count * grid
