"""The contract of codecs: a codec decides how a clean image is carried in a protected one.

What a protected image shows, its *cover*, is no business of a codec: it is given one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, TypeAlias

import numpy as np

from dsguard.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dsguard.codecs.content import File
    from dsguard.codecs.header import Header
    from dsguard.errors import DsguardError
    from dsguard.kernels.contract import Bytes, Images, Shape
    from dsguard.keys import DatasetKey, ImageKeys

Keys: TypeAlias = "DatasetKey | ImageKeys"
"""What restores: the key of a dataset, or those of some of its images."""

CHANGED = "was changed after it was protected; restore from an undamaged copy"


class Codec(ABC):
    """One way to carry clean images in protected ones.

    Attributes
    ----------
    name : str
        As users and headers call it.
    code : int
        The number in headers, 1 to 63. It belongs to the format and is never used again.
    grid : int
        A cover that is constant on squares of this side comes through whole.
    restores_every_bit : bool
    wants_likeness : bool
        Whether protected images come out better where covers resemble the clean images.
    variants : int
        How many values the two free bits of a header may have.
    smallest_side : int
        Of images, in pixels.
    has_image_keys : bool
        Whether each image has a key of its own.
    shows_cover_alone : bool
        Whether nothing of the clean image is published as it is: not its alpha, nor its margin.

    Examples
    --------
    >>> from dsguard.codecs import CODECS
    >>> [codec.name for codec in CODECS if codec.has_image_keys]
    ['sealed']
    """

    name: str
    code: int
    grid: int
    restores_every_bit: ClassVar[bool] = True
    wants_likeness: bool = True
    variants: ClassVar[int] = 2
    smallest_side: ClassVar[int] = 8
    has_image_keys: ClassVar[bool] = False
    shows_cover_alone: ClassVar[bool] = False

    def check_size(self, height: int, width: int, channels: int) -> None:
        """Raise an error where no image of this size can be protected.

        Raises
        ------
        InputError
            If a side is too short.
        CapacityError
            If no image of this size can carry its payload.
        """
        del channels
        if min(height, width) < self.smallest_side:
            msg = (
                f"has {width}x{height} pixels, and codec {self.name} takes sides of "
                f"{self.smallest_side} and more; take codec sealed"
            )
            raise InputError(msg)

    def settings(self) -> dict[str, str]:
        """Return all that decides how it carries images."""
        return {"codec": self.name}

    @property
    def is_fitted(self) -> bool:
        """Whether it need not be fitted to the images of a dataset."""
        return True

    def fitted(self, sample: Iterable[Images]) -> Codec:
        """Return this codec as fits a sample of a dataset: batches of one shape each."""
        del sample
        return self

    def as_earlier(self, settings: Mapping[str, str]) -> Codec:
        """Return this codec as it was in an earlier run of these settings."""
        del settings
        return self

    carries_files: ClassVar[bool] = False
    """Whether it takes files in place of samples."""

    @abstractmethod
    def protect(
        self, clean: Images, cover: Images, out: Images, key: DatasetKey
    ) -> dict[int, bytes]:
        """Protect a slice of a batch into `out`; return the sidecars of images that need one."""

    def protect_files(
        self,
        clean: Images,
        cover: Images,
        out: Images,
        key: DatasetKey,
        files: Mapping[int, File],
    ) -> dict[int, bytes]:
        """Protect as `protect` does, with files in place of some images, by index.

        Raises
        ------
        InputError
            If this codec carries samples alone.
        """
        del clean, cover, out, key, files
        raise InputError(self._no_files)

    def smallest_cover(self, size: int, like: Shape) -> Shape:
        """Return the shape of the smallest cover that holds a file whole.

        Parameters
        ----------
        size : int
            Of the content that carries it, in bytes.
        like : tuple of int
            Height, width, channels of its picture; the cover has about these proportions.

        Raises
        ------
        InputError
            If this codec carries samples alone.
        """
        del size, like
        raise InputError(self._no_files)

    @property
    def _no_files(self) -> str:
        return f"codec {self.name} carries samples, not files; take codec sealed"

    @abstractmethod
    def restore(
        self,
        protected: Images,
        out: Images,
        header: Header,
        raw: Bytes,
        key: Keys,
        sidecars: dict[int, bytes],
    ) -> dict[int, DsguardError]:
        """Restore images into `out`; return by index why one could not be.

        Parameters
        ----------
        protected, out : Images
        header : Header
            One for all; only the lengths of what is sealed differ.
        raw : Bytes, shape (N, HEADER_BYTES)
            The header of each image as it lies there.
        key : DatasetKey, or ImageKeys where images have keys of their own
        sidecars : dict of int to bytes
        """

    @abstractmethod
    def payload_bytes(self, header: Header, shape: Shape) -> int:
        """Return how many bytes an image of this header and shape carries in all."""

    def planes(self, header: Header) -> int:
        """Return how many of the lowest bits of a sample the payload replaced."""
        del header
        return 0

    def in_sidecar(self, header: Header) -> bool:
        """Tell whether the payload did not fit into the image."""
        del header
        return False

    def image_ids(self, protected: Images, sidecars: dict[int, bytes]) -> list[bytes | None]:
        """Return the id of each image; None where it has none, or its sidecar is missing."""
        del sidecars
        return [None] * len(protected)

    def restore_some(
        self,
        members: np.ndarray[tuple[int], np.dtype[np.intp]],
        protected: Images,
        out: Images,
        header: Header,
        raw: Bytes,
        key: Keys,
        sidecars: dict[int, bytes],
    ) -> dict[int, DsguardError]:
        """Restore some images of a batch into their places in `out`; arguments as in `restore`."""
        if len(members) == len(protected):
            return self.restore(protected, out, header, raw, key, sidecars)
        own = of_members(sidecars, members)
        part = np.empty_like(protected[members])
        failed = self.restore(protected[members], part, header, raw[members], key, own)
        out[members] = part
        return {int(members[n]): error for n, error in failed.items()}


def of_members(
    sidecars: dict[int, bytes], members: np.ndarray[tuple[int], np.dtype[np.intp]]
) -> dict[int, bytes]:
    """Return the sidecars of some images of a batch, by their places among these."""
    return {n: sidecars[i] for n, i in enumerate(members.tolist()) if i in sidecars}
