"""torch: a dataset that restores on the way, so that nobody needs a clean copy on disk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np

from dsguard.errors import DsguardError, InputError
from dsguard.integrations.images import restored_files, restored_images

Label = TypeVar("Label")
Label_co = TypeVar("Label_co", covariant=True)

if TYPE_CHECKING:
    from torch.utils.data import Dataset as _Dataset

    from dsguard.keys import DatasetKey, KeySource
else:

    class _Dataset:
        """In place of that of torch, which `DataLoader` asks for by its type alone."""

        def __class_getitem__(cls, _: object) -> type:
            return cls


class _Pairs(Protocol[Label_co]):
    """Any sequence of images and labels, also one that reads an image when it is asked."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> tuple[Any, Label_co]: ...


class RestoredDataset(_Dataset[tuple[Any, Label]]):
    """A map-style dataset over protected images, which gives clean ones.

    ``DataLoader`` fetches whole batches from it, which are restored together. It needs no torch by
    itself: any sequence will do as `base`, and any trainer that takes one.

    Parameters
    ----------
    base : sequence
        Of pairs: a protected image, as bytes of its file, or as array of uint8 of shape (H, W, C)
        that came undecoded from a lossless file; and anything, a label as a rule. It is given as
        it is: a mask that is protected as well needs a dataset of its own.
    key : DatasetKey or KeySource
        A source of keys is asked once for all images of a batch.
    transform : callable, optional
        Of the restored image, an array of uint8 of shape (H, W, C), or of its file.
    decode : bool
        Whether to give pictures: where a file is carried, what it decodes to.
        Otherwise files are given, as bytes: that which is carried as it was, else a PNG file.

    Raises
    ------
    DsguardError
        When an image is fetched that cannot be restored; the message names its number in `base`.

    Examples
    --------
    >>> import dsguard, numpy as np
    >>> key = dsguard.DatasetKey(bytes(32))
    >>> protected = dsguard.protect_batch(np.full((2, 32, 32, 3), 90, np.uint8), key).images
    >>> image, label = RestoredDataset([(protected[0], 7), (protected[1], 8)], key)[1]
    >>> image.shape, int(image.max()), label
    ((32, 32, 3), 90, 8)
    """

    def __init__(
        self,
        base: _Pairs[Label],
        key: DatasetKey | KeySource,
        transform: Callable[[Any], Any] | None = None,
        *,
        decode: bool = True,
    ) -> None:
        self.base, self.key, self.transform, self.decode = base, key, transform, decode

    def __len__(self) -> int:
        return len(self.base)

    def __getitem__(self, index: int) -> tuple[Any, Label]:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[tuple[Any, Label]]:
        """Return the items of these numbers."""
        pairs = [self.base[index] for index in indices]
        try:
            images = self._restored([image for image, _ in pairs])
        except DsguardError as error:
            if error.index is None:
                raise
            raise type(error)(error.message, index=indices[error.index]) from error
        change = self.transform or (lambda image: image)
        return [(change(image), label) for image, (_, label) in zip(images, pairs, strict=True)]

    def _restored(self, images: list[Any]) -> list[Any]:
        kinds = {type(image).__name__ for image in images if not _is_image(image)}
        if kinds:
            msg = (
                f"expected images as bytes or as arrays of uint8, got {', '.join(sorted(kinds))}; "
                "give the dataset below no transform, and put it here"
            )
            raise InputError(msg)
        restored = restored_images if self.decode else restored_files
        return list(restored(images, self.key))


def _is_image(image: object) -> bool:
    return isinstance(image, bytes | np.ndarray)
