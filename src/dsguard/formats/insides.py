"""What reads tables and files of arrays, to write them anew without what their owner drops."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dsguard.formats.arrays.npy import without_arrays
from dsguard.formats.listings.imagefolder import undropped_table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dsguard.formats.drops import Drops, Reader


def undropped_arrays(file: str, data: bytes, drops: Drops, sealing: bool) -> bytes:
    """Return an ``.npz`` file without the arrays that its owner drops."""
    return without_arrays(
        data,
        file,
        lambda array: drops.account.says_of(file, array) is False,
        lambda entry, each: drops.without_dropped(f"{file}/{entry}", each, sealing=sealing),
    )


READERS: Mapping[str, Reader] = {".npz": undropped_arrays, ".parquet": undropped_table}
"""By the suffix of a file."""
