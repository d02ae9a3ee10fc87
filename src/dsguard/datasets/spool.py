"""A spool: the pixels of a whole dataset in one temporary file, to be had in any order."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]


class Spool:
    """Images of any shapes, outside of memory.

    Attributes
    ----------
    names : dict of tuple to list of str
        By shape (H, W, C), the names of the images that have it.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.names: dict[tuple[int, ...], list[str]] = {}
        self._starts: dict[tuple[int, ...], list[int]] = {}
        self._file = file

    @classmethod
    @contextlib.contextmanager
    def opened(cls, folder: Path) -> Iterator[Spool]:
        """Open a spool whose file lies in `folder`, without a name, and vanishes in any event."""
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            yield cls(file)

    def append(self, names: Sequence[str], images: Image) -> None:
        """Add images of one shape, (N, H, W, C)."""
        shape = images.shape[1:]
        start = self._file.seek(0, 2)
        self._file.write(np.ascontiguousarray(images).data)
        self.names.setdefault(shape, []).extend(names)
        size = int(np.prod(shape))
        self._starts.setdefault(shape, []).extend(start + size * n for n in range(len(images)))

    def images(self, shape: tuple[int, ...], picked: npt.NDArray[np.intp]) -> Image:
        """Return the images at these places among those of `shape`, (N, H, W, C)."""
        out = np.empty((len(picked), *shape), np.uint8)
        for image, place in zip(out, picked, strict=True):
            self._file.seek(self._starts[shape][place])
            self._file.readinto(image.data)  # type: ignore[attr-defined]
        return out
