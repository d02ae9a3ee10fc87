"""Cover folder: pictures of a folder of the owner's."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dsguard.covers.base import Batch, Cover
from dsguard.covers.draws import drawn_for_images
from dsguard.errors import InputError

if TYPE_CHECKING:
    from dsguard.kernels.contract import Images, Shape
    from dsguard.keys import DatasetKey

_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff"}

_SMALL = 1 << 18
"""Samples of pictures that are kept in memory."""

_MODES = {1: "L", 3: "RGB", 4: "RGBA"}


@dataclass(frozen=True)
class FolderOfCovers(Cover):
    """Each image shows a picture of a folder: that of its own name, else one drawn by the key.

    Pictures are brought to the size of the image.

    Attributes
    ----------
    key : DatasetKey
    folder : Path
    files : tuple of str
        The pictures in it, sorted, by their paths in the folder; found by `of`.
    """

    key: DatasetKey
    folder: Path
    files: tuple[str, ...] = field(default=(), repr=False)
    is_like = False

    @classmethod
    def of(cls, key: DatasetKey, folder: Path) -> FolderOfCovers:
        """Return the cover of a folder.

        Raises
        ------
        InputError
            If there are no pictures in it.
        """
        found = _pictures(folder.rglob("*"), folder) if folder.is_dir() else []
        if not found:
            msg = f"{folder} holds no pictures ({', '.join(sorted(_SUFFIXES))})"
            raise InputError(msg)
        return cls(key, folder, tuple(sorted(found)))

    def settings(self) -> dict[str, str]:
        sizes = [(name, (self.folder / name).stat().st_size) for name in self.files]
        return {"cover": "given", "pictures": hashlib.sha256(repr(sizes).encode()).hexdigest()}

    def images(self, batch: Batch, grid: int) -> Images:
        named = {str(Path(name).with_suffix("")): name for name in self.files}
        own = [named.get(str(Path(name).with_suffix(""))) for name in batch.names]
        own += [None] * (len(batch.images) - len(own))
        drawn = drawn_for_images(self.key, b"covers", batch.images)[:, :8].copy().view("<u8")[:, 0]
        out = np.empty_like(batch.images)
        for image, number, name in zip(out, drawn.tolist(), own, strict=True):
            chosen = name or self.files[number % len(self.files)]
            read = _kept if image.size <= _SMALL else _picture
            image[...] = read(self.folder / chosen, image.shape)
        return out


def _pictures(paths: Iterable[Path], folder: Path) -> list[str]:
    wanted = (path for path in paths if path.suffix.lower() in _SUFFIXES and path.is_file())
    return [path.relative_to(folder).as_posix() for path in wanted]


def _picture(path: Path, shape: Shape) -> Images:
    """Return a picture of a shape, (H, W, C).

    Raises
    ------
    InputError
        If it cannot be read.
    """
    from PIL import Image

    height, width, channels = shape
    try:
        with Image.open(path) as file:
            picture = file.convert(_MODES[channels]).resize((width, height))
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        msg = f"the cover {path} cannot be read: {error}"
        raise InputError(msg) from error
    return np.asarray(picture).reshape(shape)


_kept = lru_cache(maxsize=256)(_picture)
