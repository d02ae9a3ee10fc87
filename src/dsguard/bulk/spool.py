"""A spool: the pixels of a whole dataset in temporary files, to be had in any order.

They are clean, so they are encrypted: AES-256 in counter mode, under a key that is in memory alone.
Whatever ends a run, and whoever copies its folder meanwhile, the files are noise.
"""

from __future__ import annotations

import contextlib
import secrets
from array import array
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from Crypto.Cipher import AES

from dsguard._atomic import lock, open_new
from dsguard.covers.base import ImageSet, Places
from dsguard.covers.draws import digests_of
from dsguard.kernels.contract import Shape

Image = npt.NDArray[np.uint8]


class Spool:
    """Images of any shapes, outside of memory.

    Parameters
    ----------
    folder : Path
        Where the files lie. They are locked, which tells them from those of a killed run.
    """

    def __init__(self, folder: Path) -> None:
        name = f"spool-{secrets.token_hex(8)}"
        self._pixels, self._index = folder / name, folder / f"{name}-index"
        self._starts: dict[Shape, array[int]] = {}
        self._labels: dict[Shape, array[int]] = {}
        self._digests: dict[Shape, bytearray] = {}
        self._key = secrets.token_bytes(32)
        self._end = 0
        self._files: list[BinaryIO] = []
        for path in (self._pixels, self._index):
            self._files.append(open_new(path, 0o600))
            lock(self._files[-1])

    def append(
        self, images: Image, labels: Iterable[int] = (), digests: Image | None = None
    ) -> range:
        """Add images of one shape, (N, H, W, C); return their places among those of that shape.

        `labels` are their classes, as numbers, where these are known; `digests` tell the
        pictures that are in another size here.
        """
        height, width, channels = images.shape[1:]
        starts = self._starts.setdefault((height, width, channels), array("q"))
        first, size = len(starts), _whole_blocks(height * width * channels)
        plain = np.zeros((len(images), size), np.uint8)
        plain[:, : height * width * channels] = images.reshape(len(images), -1)
        flat = plain.reshape(-1).data
        _cipher(self._key, self._end).encrypt(flat, flat)
        self._files[0].write(flat)
        self._labels.setdefault((height, width, channels), array("q")).extend(labels)
        digests = digests_of(images) if digests is None else digests
        self._digests.setdefault((height, width, channels), bytearray()).extend(digests.tobytes())
        starts.extend(range(self._end, self._end + size * len(images), size))
        self._end += size * len(images)
        return range(first, len(starts))

    def finish(self) -> SpooledSet:
        """Finish writing; return what reads it, here or in other processes."""
        sections, at = {}, 0
        for shape, starts in self._starts.items():
            starts.tofile(self._files[1])
            sections[shape] = (at, len(starts))
            at += len(starts)
        for file in self._files:
            file.flush()
        labels = {shape: np.array(each, np.int64) for shape, each in self._labels.items()}
        digests = {
            shape: np.frombuffer(bytes(each), np.uint8).reshape(-1, 16)
            for shape, each in self._digests.items()
        }
        return SpooledSet(self._pixels, self._index, self._key, sections, labels, digests)

    def remove(self) -> None:
        """Remove the files, whole or not."""
        for file, path in zip(self._files, (self._pixels, self._index), strict=False):
            try:
                with contextlib.suppress(OSError):  # a full disk is full still
                    file.close()
            finally:
                path.unlink(missing_ok=True)


@dataclass(frozen=True)
class SpooledSet(ImageSet):
    """The images of a spool.

    Attributes
    ----------
    pixels, index : Path
        One image after the other; and where each begins, by shape.
    key : bytes
        Of the pixels.
    sections : mapping of shape to (int, int)
        Where in the index a shape begins, and how many images it has.
    labels : mapping of shape to ndarray of int64
        The classes of its images, as numbers.
    known : mapping of shape to ndarray of uint8, shape (N, 16)
        The digests of their pictures.
    """

    pixels: Path
    index: Path
    key: bytes = field(repr=False)
    sections: Mapping[Shape, tuple[int, int]]
    labels: Mapping[Shape, npt.NDArray[np.int64]] = field(default_factory=dict, repr=False)
    known: Mapping[Shape, Image] = field(default_factory=dict, repr=False)

    def digests(self) -> Iterator[Image]:
        return iter(self.known.values())

    @property
    def counts(self) -> Mapping[Shape, int]:  # type: ignore[override]
        return {shape: count for shape, (_, count) in self.sections.items()}

    def read(self, shape: Shape, places: Places) -> Image:
        first, count = self.sections[shape]
        wanted = np.arange(count)[places]
        starts = np.memmap(self.index, np.int64, "r", 8 * first, (count,))[wanted].tolist()
        out = np.empty((len(wanted), *shape), np.uint8)
        with self.pixels.open("rb") as file:
            for image, start in zip(out, starts, strict=True):
                file.seek(start)
                if file.readinto(image.data) != image.nbytes:
                    msg = "the spool of images is shorter than it was"
                    raise OSError(msg)
                flat = image.reshape(-1).data
                _cipher(self.key, start).decrypt(flat, flat)
        return out


def _cipher(key: bytes, start: int) -> Any:
    """Return the cipher of what begins there, at a whole block."""
    return AES.new(key, AES.MODE_CTR, nonce=b"", initial_value=start // AES.block_size)


def _whole_blocks(size: int) -> int:
    return -(-size // AES.block_size) * AES.block_size
