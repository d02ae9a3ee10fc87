"""Cover folder: pictures of a folder of the owner's."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dsguard.covers.base import Batch, Cover
from dsguard.covers.draws import drawn_for_images
from dsguard.errors import DsguardError, InputError

if TYPE_CHECKING:
    from dsguard.kernels.contract import Images, Shape
    from dsguard.keys import DatasetKey

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

    Examples
    --------
    >>> import dsguard, numpy as np, pathlib
    >>> from dsguard.covers import FolderOfCovers
    >>> from dsguard.formats import encode_image
    >>> pathlib.Path("covers").mkdir()
    >>> white = encode_image(np.full((8, 8, 3), 255, np.uint8))
    >>> _ = pathlib.Path("covers/a.png").write_bytes(white)
    >>> cover = FolderOfCovers.of(dsguard.DatasetKey(bytes(32)), pathlib.Path("covers"))
    >>> cover.files
    ('a.png',)
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
            If there are no pictures in it, or a link leads out of it.
        """
        from dsguard.formats.images import READABLE_SUFFIXES, is_image_name
        from dsguard.formats.places import LocalPlace

        listing = LocalPlace(folder).listing() if folder.is_dir() else None
        found = [name for name in listing.files if is_image_name(name)] if listing else []
        for name, error in listing.refused.items() if listing else ():
            msg = f"the cover {folder}/{name} {error.message}"
            raise InputError(msg)
        if not found:
            msg = f"{folder} holds no pictures ({', '.join(sorted(READABLE_SUFFIXES))})"
            raise InputError(msg)
        return cls(key, folder, tuple(sorted(found)))

    def settings(self) -> dict[str, str]:
        sizes = [(name, (self.folder / name).stat().st_size) for name in self.files]
        return {"cover": "given", "pictures": hashlib.sha256(repr(sizes).encode()).hexdigest()}

    def refused(self, batch: Batch) -> dict[int, DsguardError]:
        shown = self.images(batch, 1)
        apart = np.abs(shown[..., :3].astype(np.int16) - batch.images[..., :3])
        return {
            int(n): InputError(_ITSELF) for n in np.flatnonzero(apart.mean(axis=(1, 2, 3)) < _ALIKE)
        }

    def images(self, batch: Batch, grid: int) -> Images:
        named = {str(Path(name).with_suffix("")): name for name in self.files}
        own = [named.get(str(Path(name).with_suffix(""))) for name in batch.names]
        own += [None] * (len(batch.images) - len(own))
        drawn = drawn_for_images(self.key, b"covers", batch.images)[:, :8].copy().view("<u8")[:, 0]
        out = np.empty_like(batch.images)
        for image, number, name in zip(out, drawn.tolist(), own, strict=True):
            chosen = name or self.files[number % len(self.files)]
            read = _kept if image.size <= _SMALL else _picture
            image[...] = read(self.folder, chosen, image.shape)
        return out


_ITSELF = (
    "would show itself: the picture of the covers is the image; give other pictures, or name the "
    "images that are to show themselves (cover samples)"
)

_ALIKE = 4
"""Grey levels, on average, that two pictures of the same are apart at most: JPEG copies are."""


def _picture(folder: Path, name: str, shape: Shape) -> Images:
    """Return a picture of a shape, (H, W, C).

    Raises
    ------
    InputError
        If it cannot be read.
    """
    from PIL import Image

    from dsguard.formats.images import decode_image
    from dsguard.formats.places import LocalPlace

    height, width, channels = shape
    try:
        pixels = decode_image(LocalPlace(folder).read(name))
    except (InputError, OSError) as error:
        msg = f"the cover {folder}/{name} {getattr(error, 'message', 0) or f'is not read: {error}'}"
        raise InputError(msg) from error
    whole = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    picture = whole.convert(_MODES[channels]).resize((width, height))
    return np.asarray(picture).reshape(shape)


_kept = lru_cache(maxsize=256)(_picture)
