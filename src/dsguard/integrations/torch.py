"""torch: a dataset that restores on the way, so that nobody needs a clean copy on disk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dsguard.api import keys_for, restore_batch
from dsguard.errors import DsguardError, InputError
from dsguard.integrations.images import restored_images

if TYPE_CHECKING:
    from dsguard.keys import DatasetKey, KeySource


class RestoredDataset:
    """A map-style dataset over protected images, which gives clean ones.

    ``DataLoader`` fetches whole batches from it, which are restored together. It needs no torch by
    itself: any sequence will do as `base`, and any trainer that takes one.

    Parameters
    ----------
    base : sequence
        Of pairs: a protected image, as bytes of its file, or as array of uint8 of shape (H, W, C)
        that came undecoded from a lossless file; and anything, a label as a rule.
    key : DatasetKey or KeySource
        A source of keys is asked once for all images of a batch.
    transform : callable, optional
        Of the restored image, an array of uint8 of shape (H, W, C).

    Raises
    ------
    DsguardError
        When an image is fetched that cannot be restored; the message names its number in `base`.
    """

    def __init__(
        self,
        base: Sequence[tuple[Any, Any]],
        key: DatasetKey | KeySource,
        transform: Callable[[np.ndarray[Any, Any]], Any] | None = None,
    ) -> None:
        self.base, self.key, self.transform = base, key, transform

    def __len__(self) -> int:
        return len(self.base)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[tuple[Any, Any]]:
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

    def _restored(self, images: list[Any]) -> list[np.ndarray[Any, Any]]:
        if all(isinstance(image, bytes) for image in images):
            return list(restored_images(images, self.key))
        if all(isinstance(image, np.ndarray) for image in images):
            if len({image.shape for image in images}) == 1:
                return list(restore_batch(np.stack(images), self.key, threads=1))
            key = keys_for(self.key, ((image[None], {}) for image in images))
            return [restore_batch(image[None], key, threads=1)[0] for image in images]
        kinds = ", ".join(sorted({type(image).__name__ for image in images}))
        msg = (
            f"expected images as bytes or as arrays of uint8, got {kinds}; give the dataset below "
            "no transform, and put it here"
        )
        raise InputError(msg)
