"""A spool: the pixels of a whole dataset in one temporary file, to be had in any order."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from dsguard.files import lock, open_new

Image = npt.NDArray[np.uint8]


class Spool:
    """Images of any shapes, outside of memory: they are clean, and for their owner alone.

    Parameters
    ----------
    folder : Path
        Where the file lies. It is locked, which tells it from what a killed run has left there.

    Attributes
    ----------
    path : Path
    names : dict of tuple to list of str
        By shape (H, W, C), the names of the images that have it.
    starts : dict of tuple to list of int
        Where in the file each of them begins.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / f"spool-{secrets.token_hex(8)}"
        self.names: dict[tuple[int, ...], list[str]] = {}
        self.starts: dict[tuple[int, ...], list[int]] = {}
        self._end = 0
        self._file = open_new(self.path, 0o600)
        lock(self._file)

    def append(self, names: Sequence[str], images: Image) -> None:
        """Add images of one shape, (N, H, W, C)."""
        shape = images.shape[1:]
        self._file.write(np.ascontiguousarray(images).data)
        self.names.setdefault(shape, []).extend(names)
        size = int(np.prod(shape))
        starts = range(self._end, self._end + size * len(images), size)
        self.starts.setdefault(shape, []).extend(starts)
        self._end += size * len(images)

    def finish(self) -> None:
        """Finish writing, so that others can read."""
        self._file.flush()

    def remove(self) -> None:
        """Remove the file, whole or not."""
        try:
            with contextlib.suppress(OSError):  # a full disk is full still
                self._file.close()
        finally:
            self.path.unlink(missing_ok=True)

    def first(self, shape: tuple[int, ...]) -> Image:
        """Return the first image of a shape."""
        with self.path.open("rb") as file:
            return read_image(file, self.starts[shape][0], shape)


def read_image(file: BinaryIO, start: int, shape: tuple[int, ...]) -> Image:
    """Return the image that begins at `start` of a spool file."""
    out = np.empty(shape, np.uint8)
    file.seek(start)
    if file.readinto(out.data) != out.nbytes:  # type: ignore[attr-defined]
        msg = "the spool of a veil is shorter than it was"
        raise OSError(msg)
    return out
