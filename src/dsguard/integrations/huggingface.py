"""Hugging Face ``datasets``: a function for ``Dataset.map``."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from dsguard.integrations.images import as_bytes, key_at, restored_files
from dsguard.keys import KeySource


@dataclass(frozen=True)
class Restore:
    """Restores a column of images; give it to ``Dataset.map(..., batched=True)``.

    ``datasets`` keeps what the function is made of in the fingerprint of its cache, so this has the
    path of the key and not the key.

    Select the columns that you need, and look at their types: ``datasets`` decodes every column
    that says it is an image, and somebody may have added it.

    >>> from datasets import ClassLabel, Image, Value  # doctest: +SKIP
    >>> protected = protected.select_columns(["image", "label"])  # doctest: +SKIP
    >>> assert isinstance(protected.features["label"], (ClassLabel, Value))  # doctest: +SKIP
    >>> undecoded = protected.cast_column("image", Image(decode=False))  # doctest: +SKIP
    >>> clean = undecoded.map(Restore("dataset.key"), batched=True)  # doctest: +SKIP
    >>> clean = clean.cast(protected.features)  # doctest: +SKIP

    A streamed dataset does not know its columns after ``map``: ``cast`` tells them again. The cache
    of ``datasets`` has the clean images; that of a dataset from ``load_from_disk`` lies in the
    folder of the dataset: give both ``keep_in_memory=True`` where that is published.

    Attributes
    ----------
    key_path : path-like, or KeySource
        Key file; a passphrase is read from ``DSGUARD_PASSPHRASE``. Or what stands in its place.
    column : str
    """

    key_path: str | os.PathLike[str] | KeySource
    column: str = "image"

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        """Return the column with the restored images: files that were carried, else PNG files.

        Raises
        ------
        DsguardError
            If an image cannot be restored; the message names its place in the batch.
        """
        files = [as_bytes(value, row) for row, value in enumerate(batch[self.column])]
        restored = restored_files(files, key_at(self.key_path))
        return {self.column: [{"bytes": file, "path": None} for file in restored]}
