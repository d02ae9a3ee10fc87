"""Packed files, as far as they are looked into for the key of a dataset."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator

from dsguard.formats.programs.unpacked import is_packed, start_of

_MARK = 8
_MOST_BYTES = 1 << 24
_MOST_ENTRIES = 1_000


def unpacked_starts(data: bytes | memoryview) -> Iterator[bytes]:
    """Yield the beginning of what a packed file unpacks to: 16 MiB in all; nothing of others.

    >>> import gzip
    >>> list(unpacked_starts(gzip.compress(b"cat"))), list(unpacked_starts(b"cat"))
    ([b'cat'], [])
    """
    mark = bytes(data[:_MARK])
    if mark.startswith(b"PK"):
        yield from _of_zip(data)
    elif is_packed(io.BytesIO(mark), "") and (found := start_of(io.BytesIO(data), _MOST_BYTES)):
        yield found


def _of_zip(data: bytes | memoryview) -> Iterator[bytes]:
    """Yield the beginning of the entries of a zip file; of those that cannot be read nothing."""
    left = _MOST_BYTES
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for entry in archive.infolist()[:_MOST_ENTRIES]:
                found = _start(archive, entry, left)
                left -= len(found)
                yield found
    except Exception:  # damaged, or none at all: nobody unpacks it
        return


def _start(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, most: int) -> bytes:
    try:
        with archive.open(entry) as file:
            return file.read(most)
    except Exception:  # encrypted, or of an unknown compression
        return b""
