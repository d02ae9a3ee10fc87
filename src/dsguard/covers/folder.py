"""Cover folder: pictures of a folder of the owner's."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dsguard._opaque import over_white
from dsguard.covers.alike import SQUARES, few_of, gray_of, grays_of, is_copy, means_of, nearest
from dsguard.covers.base import Batch, Cover, Found, ImageSet
from dsguard.covers.draws import drawn_for_images
from dsguard.errors import DsguardError, InputError

if TYPE_CHECKING:
    import numpy.typing as npt
    from PIL.Image import Image

    from dsguard.kernels.contract import Images, Shape
    from dsguard.keys import DatasetKey

    Array = npt.NDArray[np.uint8]

_SMALL = 1 << 18
"""Samples of pictures that are kept in memory."""

_TRIED = 4
"""Pictures that are read for an image, and are none of it, until no more are looked for."""

_MODES = {1: "L", 3: "RGB", 4: "RGBA"}


@dataclass(frozen=True)
class FolderOfCovers(Cover):
    """Each image shows a picture of a folder: that of its own name, else one drawn by the key.

    Pictures are brought to the size of the image. One that is an image of the dataset, or a copy of
    one, is shown by none: all images are looked at before the first is protected.

    Attributes
    ----------
    key : DatasetKey
    folder : Path
    files : tuple of str
        The pictures in it, sorted, by their paths in the folder; found by `of`.
    unread : tuple of str
        Why the others are not shown, one sentence each.
    few : ndarray of float32, shape (F, 16)
        A few means of each picture, by which an image is found that is among them.
    hidden : frozenset of str
        The pictures that are images of the dataset; set by `prepared`, or `without`.
    knows_all : bool
        Whether `hidden` is all of them.

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
    unread: tuple[str, ...] = field(default=(), repr=False)
    few: npt.NDArray[np.float32] = field(
        default_factory=lambda: np.empty((0, SQUARES**2), np.float32),
        repr=False,
        compare=False,
    )
    hidden: frozenset[str] = field(default=frozenset(), repr=False)
    knows_all: bool = field(default=False, repr=False)
    is_like = False
    needs_whole_set = True
    has_pictures = True

    @classmethod
    def of(cls, key: DatasetKey, folder: Path) -> FolderOfCovers:
        """Return the cover of a folder; what cannot be read of it is not drawn for any image.

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
        few: dict[str, npt.NDArray[np.float32]] = {}
        unread = []
        for name in sorted(found):
            try:
                few[name] = few_of(gray_of(_decoded(folder, name)))
            except InputError as error:
                unread.append(error.message)
        if not few:
            return cls(key, folder, tuple(sorted(found)))
        return cls(key, folder, tuple(few), tuple(unread), np.stack(list(few.values())))

    def remarks(self) -> list[str]:
        more = f", and {len(self.unread) - 1} more" if len(self.unread) > 1 else ""
        return [f"not shown: {self.unread[0]}{more}"] if self.unread else []

    def settings(self) -> dict[str, str]:
        told = [(name, _digest_of(self.folder / name)) for name in self.files]
        return {"cover": "given", "pictures": hashlib.sha256(repr(told).encode()).hexdigest()}

    @contextmanager
    def prepared(self, whole: ImageSet) -> Iterator[FolderOfCovers]:
        found = set(self.hidden)
        images = () if self.knows_all else itertools.chain.from_iterable(whole.pieces())
        for each in map(self.of_image, images):
            found.update(() if isinstance(each, DsguardError) else each)  # that would show it fails
        yield replace(self, hidden=frozenset(found), knows_all=True)

    def of_image(self, image: Images, name: str = "") -> Found:
        """Return the pictures that are an image, or copies of it.

        A few means of it are held against those of all pictures, and a few pictures are read: that
        of its own name, and those that could be copies.
        """
        grays, own = grays_of(image), self.named(name)
        try:
            found = {*itertools.chain.from_iterable(map(self._copies, grays))}
            if own is not None and any(self._is_alike(own, gray) for gray in grays):
                found.add(own)
        except InputError as error:
            return error.to_keep()
        return frozenset(found)

    def named(self, name: str) -> str | None:
        from dsguard.formats.images import suffix_of

        return self._by_stem.get(name.removesuffix(suffix_of(name)))

    def without(self, pictures: frozenset[str]) -> FolderOfCovers:
        return replace(self, hidden=self.hidden | pictures, knows_all=True)

    def drawn(self) -> str:
        """Return the pictures that are hidden: shards that are done may show what others are."""
        return json.dumps(sorted(self.hidden)) if self.hidden else ""

    @cached_property
    def _shown(self) -> tuple[str, ...]:
        return tuple(name for name in self.files if name not in self.hidden)

    def refused(self, batch: Batch) -> dict[int, DsguardError]:
        """Return the images that are among the covers, and why."""
        errors: dict[int, DsguardError] = {}
        names = batch.names or [""] * len(batch.images)
        found = batch.found or map(self.of_image, batch.images, names)
        for n, (pictures, own) in enumerate(zip(found, self._named(batch), strict=True)):
            if isinstance(pictures, DsguardError):
                errors[n] = pictures
            elif own in pictures:
                errors[n] = InputError(_ITSELF)
            elif pictures:
                errors[n] = InputError(_SHOWN.format(min(pictures)))
            elif not self._shown:
                errors[n] = InputError(_NONE_LEFT)
        return errors

    def _is_alike(self, name: str, gray: Image) -> bool:
        """Tell whether a picture is the image, or a smaller, gray or mirrored copy of it."""
        read = _kept_means if gray.width * gray.height <= _SMALL else _means
        return is_copy(gray, read(self.folder, name, gray.width, gray.height))

    def _copies(self, gray: Image) -> Iterator[str]:
        """Yield the pictures that are the image or copies of it, which are the nearest to it."""
        others = 0
        for n in nearest(gray, self.few, len(self.few)):
            if self._is_alike(self.files[n], gray):
                yield self.files[n]
                others = 0
            elif (others := others + 1) == _TRIED:
                return

    def images(self, batch: Batch, grid: int) -> Images:
        out = np.empty_like(batch.images)
        for image, name in zip(out, self._chosen(batch), strict=True):
            image[...] = self._read(name, image.shape)
        return out

    def _named(self, batch: Batch) -> list[str | None]:
        """Return the picture of the name of each image, None where there is none."""
        return [*map(self.named, batch.names)] or [None] * len(batch.images)

    @cached_property
    def _by_stem(self) -> dict[str, str]:
        from dsguard.formats.images import suffix_of

        return {name.removesuffix(suffix_of(name)): name for name in self.files}

    def _chosen(self, batch: Batch) -> list[str]:
        """Return the picture that each image shows."""
        own = [None if name in self.hidden else name for name in self._named(batch)]
        drawn = drawn_for_images(self.key, b"covers", batch.images)[:, :8].copy().view("<u8")[:, 0]
        shown, count = self._shown, len(self._shown)
        return [name or shown[n % count] for n, name in zip(drawn.tolist(), own, strict=True)]

    def _read(self, name: str, shape: Shape) -> Images:
        read = _kept if math.prod(shape) <= _SMALL else _picture
        return read(self.folder, name, shape)


_ITSELF = (
    "would show itself: the picture of the covers is the image, or a copy of it (smaller, gray or "
    "mirrored); give other pictures, or name the images that are to show themselves (cover samples)"
)

_SHOWN = (
    "is among the covers, as {} (it, or a copy: smaller, gray or mirrored), which no other image "
    "shows; give pictures that are none of the dataset, or name the images that are to show "
    "themselves (cover samples)"
)

_NONE_LEFT = "has no cover: all pictures are images of the dataset, or copies; give other pictures"


def _decoded(folder: Path, name: str) -> Images:
    """Return a picture as it is.

    Raises
    ------
    InputError
        If it cannot be read.
    """
    from dsguard.formats.images import decode_image
    from dsguard.formats.places import LocalPlace

    try:
        return decode_image(LocalPlace(folder).read(name))
    except (InputError, OSError) as error:
        msg = f"the cover {folder}/{name} {getattr(error, 'message', 0) or f'is not read: {error}'}"
        raise InputError(msg) from error


def _picture(folder: Path, name: str, shape: Shape) -> Images:
    """Return a picture in a shape, (H, W, C), white where alpha takes something out.

    Raises
    ------
    InputError
        If it cannot be read.
    """
    from PIL import Image

    height, width, channels = shape
    pixels = over_white(_decoded(folder, name)[None])[0]
    whole = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    picture = whole.convert(_MODES[channels]).resize((width, height))
    return np.asarray(picture).reshape(shape)


def _means(folder: Path, name: str, width: int, height: int) -> npt.NDArray[np.uint8]:
    """Return a picture in gray, of a size at most."""
    return means_of(gray_of(_decoded(folder, name)), width, height)


def _digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _until_changed(read: Callable[..., Array]) -> Callable[..., Array]:
    """Return a reader that keeps pictures, each until its file is another."""

    @lru_cache(maxsize=256)
    def kept(stamp: str, folder: Path, name: str, *form: Any) -> Array:
        del stamp
        return read(folder, name, *form)

    def read_now(folder: Path, name: str, *form: Any) -> Array:
        from dsguard.formats.places import LocalPlace

        stamp = ""
        with contextlib.suppress(OSError):  # which is told when it is read
            stamp = LocalPlace(folder).stamp(name)
        return kept(stamp, folder, name, *form)

    return read_now


_kept = _until_changed(_picture)
_kept_means = _until_changed(_means)
