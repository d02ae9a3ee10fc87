"""Hugging Face ``datasets``: rows of protected files, and a function for ``Dataset.map``."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dsguard._regular import open_file
from dsguard.errors import InputError
from dsguard.formats.parquet.batches import batches_of
from dsguard.formats.parquet.columns import damage
from dsguard.formats.parquet.foreign import parquet_file
from dsguard.integrations.images import as_bytes, key_at, restored_files
from dsguard.keys import KeySource


@dataclass(frozen=True)
class Restore:
    """Restores a column of images; give it to ``Dataset.map(..., batched=True)``.

    ``datasets`` keeps what the function is made of in the fingerprint of its cache, so this has the
    path of the key and not the key.

    Take Parquet files by `rows_in`, and give their types yourself.

    >>> from datasets import Dataset, Features, Image, Value  # doctest: +SKIP
    >>> features = Features(
    ...     {"image": Image(decode=False), "label": Value("int64")}
    ... )  # doctest: +SKIP
    >>> protected = Dataset.from_generator(
    ...     rows_in, features=features, gen_kwargs={"files": ["0.parquet"]}
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


def rows_in(
    files: Iterable[str | os.PathLike[str]], columns: Iterable[str] = ("image", "label")
) -> Iterator[dict[str, Any]]:
    """Yield rows of Parquet files, for ``from_generator`` of ``Dataset`` and ``IterableDataset``.

    What a file says of its columns may be a stranger's, and ``load_dataset`` does as it says, with
    ``columns=`` and ``features=`` as well: it calls functions of pyarrow that are called as a type
    is, and opens every column that says it is an image. Here no type that a file names is made.

    Parameters
    ----------
    files : list of path-like
    columns : tuple of str
        A list would be taken for one of shards.

    Yields
    ------
    dict of str to object
        Values by column, as Python has them.

    Raises
    ------
    InputError
        If a file is damaged, has no such column, or unpacks to very much more than it has.

    Examples
    --------
    >>> import pyarrow as pa, pyarrow.parquet as pq
    >>> pq.write_table(pa.table({"image": [b"PNG"], "label": [3], "note": ["x"]}), "0.parquet")
    >>> list(rows_in(["0.parquet"]))
    [{'image': b'PNG', 'label': 3}]
    """
    wanted = list(columns)
    for file in map(Path, files):
        with os.fdopen(open_file(str(file)), "rb") as opened:
            try:
                reader = parquet_file(opened)
                missing = set(wanted).difference(reader.schema_arrow.names)
                read = batches_of(opened, reader, wanted=wanted, most=_ROWS)
                for batch in () if missing else read:
                    for start in range(batch.num_rows):  # one value may stand for all rows
                        yield from batch.slice(start, 1).to_pylist()
            except InputError as error:
                msg = f"{file}: {error}; it could be meant to fill the memory"
                raise InputError(msg) from error
            except damage() as error:
                msg = f"{file} is damaged: {error}; get a whole copy"
                raise InputError(msg) from error
        if missing:
            msg = f"{file} has no column {min(missing)!r}; give columns= those that it has"
            raise InputError(msg)


_ROWS = 64
