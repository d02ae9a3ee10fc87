"""Whoever gives keys of images when they are needed, in place of the key of a dataset."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence


class KeySource(ABC):
    """Gives the keys of images of a dataset, some at a time; may be sent to other processes.

    It stands in place of a `DatasetKey` wherever images of codec ``sealed`` are restored.

    Attributes
    ----------
    name : str
        What manifests tell in place of the id of a key.

    Examples
    --------
    Keys of some images, from a store of one's own:

    >>> import dsguard, numpy as np
    >>> from dsguard.keys import KeySource, image_key
    >>> class Shelf(KeySource):
    ...     name = "shelf"
    ...
    ...     def __init__(self, keys):
    ...         self.keys = keys
    ...
    ...     def image_keys(self, key_id, image_ids):
    ...         return {each: self.keys[each] for each in image_ids if each in self.keys}
    >>> key, clean = dsguard.DatasetKey(bytes(32)), np.zeros((1, 32, 32, 3), np.uint8)
    >>> images = dsguard.protect_batch(clean, key).images
    >>> shelf = Shelf({each: image_key(key, each) for each in dsguard.image_ids(images)})
    >>> bool((dsguard.restore_batch(images, shelf) == clean).all())
    True
    """

    name: str

    @abstractmethod
    def image_keys(self, key_id: str, image_ids: Sequence[bytes]) -> Mapping[bytes, bytes]:
        """Return the keys of images, by image id.

        Parameters
        ----------
        key_id : str
            Of the dataset key that the headers of these images name.
        image_ids : sequence of bytes
            16 bytes each, none of them twice.

        Raises
        ------
        WrongKeyError
            If that key is not one of this dataset: its images fail, others do not.
        NoKeysError
            If no keys are to be had, for these images or others.
        """

    def proof_of(self, told: bytes) -> str:
        """Return a code of some bytes that others cannot make; empty where there is no secret.

        Journals have it: one without it may have come with the dataset of a stranger.
        """
        del told
        return ""
