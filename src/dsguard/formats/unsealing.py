"""What was sealed beside a shard, ready to be put back, by kind of source."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from dsguard.formats.arrays.cifar import CifarSource
from dsguard.formats.arrays.npy import SealedArrays
from dsguard.formats.arrays.reader import NumpySource
from dsguard.formats.arrays.sealed_pickle import SealedPickle
from dsguard.formats.parquet.reader import ParquetSource
from dsguard.formats.parquet.sealed import SealedColumns
from dsguard.formats.sealing import Unsealed
from dsguard.formats.webdataset.reader import WebDatasetSource
from dsguard.formats.webdataset.sealed import SealedMembers

if TYPE_CHECKING:
    from dsguard.formats.base import Part, Source
    from dsguard.formats.sealing import Entries


def unsealed(source: Source, part: Part, entries: Entries) -> Unsealed:
    """Return what was sealed beside the file of a part.

    Raises
    ------
    InputError
        If it is not of this kind of file, or claims very much more memory than it has bytes.
    """
    if isinstance(source, WebDatasetSource):
        return SealedMembers(source, part, entries)
    if isinstance(source, ParquetSource):
        return SealedColumns(source, part, entries)
    is_whole = part.names is None
    if isinstance(source, NumpySource):
        return SealedArrays(entries, partial(source.own_arrays, part.file), is_whole=is_whole)
    if isinstance(source, CifarSource):
        return SealedPickle(entries, source.pixels(part.file), is_whole=is_whole)
    return Unsealed()
