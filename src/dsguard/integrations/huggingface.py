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

    Give ``load_dataset`` the columns that you need and their types. Those in a file may be a
    stranger's: ``datasets`` decodes every column that says it is an image, and calls functions of
    pyarrow that are called as a type is.

    >>> from datasets import Features, Image, Value, load_dataset  # doctest: +SKIP
    >>> features = Features(
    ...     {"image": Image(decode=False), "label": Value("int64")}
    ... )  # doctest: +SKIP
    >>> protected = load_dataset(
    ...     "parquet", data_files="*.parquet", columns=list(features), features=features
    ... )  # doctest: +SKIP
    >>> clean = protected.map(Restore("dataset.key"), batched=True)  # doctest: +SKIP
    >>> clean = clean.cast(Features({**features, "image": Image()}))  # doctest: +SKIP

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
