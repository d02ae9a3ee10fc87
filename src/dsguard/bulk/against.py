"""Comparison of a protected dataset with the one that it was made of: whether all comes back.

Images are known by digests of their class, their name and all that comes back, so neither format
nor order matter, and nothing has to be written.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

from dsguard.bulk.carried import file_of
from dsguard.bulk.sealed_files import SEALED_FILES, has_sealed, opened_in
from dsguard.errors import DsguardError, InputError
from dsguard.formats.base import CHUNK_IMAGES, decode_rows
from dsguard.formats.folder.reader import read_or_error
from dsguard.formats.names import shown

if TYPE_CHECKING:
    from dsguard.bulk.report import Report
    from dsguard.codecs import File
    from dsguard.formats.base import Rows, Source
    from dsguard.kernels.contract import Bytes
    from dsguard.keys import DatasetKey, KeySource

_DIGEST = 16


def digest_of_file(class_name: str, file: File) -> bytes:
    """Return what tells a file, in its class, from all others."""
    return _digest(b"file", class_name, file.name, file.data)


def digest_of_pixels(class_name: str, pixels: Bytes) -> bytes:
    """Return what tells an image, in its class, from all others; its name changes with its file."""
    return _digest(b"pixels", class_name, repr(pixels.shape), pixels.tobytes())


def _digest(kind: bytes, class_name: str, name: str, data: bytes) -> bytes:
    digest = hashlib.sha256(kind)
    for text in (class_name, name):
        raw = text.encode("utf-8", "surrogateescape")
        digest.update(len(raw).to_bytes(8, "little") + raw)
    digest.update(data)
    return digest.digest()[:_DIGEST]


def compare(
    source: Source,
    published: Source,
    found: Counter[bytes],
    key: DatasetKey | KeySource,
    report: Report,
) -> None:
    """Report what of a source does not come back from what was published.

    Parameters
    ----------
    source, published : Source
    found : Counter of bytes
        Digests of all that comes back; those that the source has are taken out.
    key : DatasetKey
    report : Report
    """
    for part in source.parts(CHUNK_IMAGES):
        for rows in source.rows(part):
            for name in _missing(rows, found):
                report.add_different(name, "does not come back as it is")
    if left := sum(found.values()):
        report.add_different(str(source), f"has not all that comes back: {left} images more")
    _compare_files(source, published, key, report)


def _missing(rows: Rows, found: Counter[bytes]) -> Iterator[str]:
    """Yield the images of some rows that do not come back, neither as files nor as pixels."""
    numbers = range(len(rows.names))
    left = [row for row in numbers if not (rows.files and _takes(found, _of_file(rows, row)))]
    if not left:
        return
    some, come_back = rows.taken(left), set[int]()
    for groups, _ in decode_rows(some):
        for group in groups:
            for row, pixels in zip(group.rows, group.images, strict=True):
                if _takes(found, digest_of_pixels(some.classes[row], pixels)):
                    come_back.add(row)
    yield from (name for row, name in enumerate(some.names) if row not in come_back)


def _of_file(rows: Rows, row: int) -> bytes:
    try:
        return digest_of_file(rows.classes[row], file_of(rows, row))
    except (AssertionError, InputError):  # it could not be read
        return b""


def _takes(found: Counter[bytes], digest: bytes) -> bool:
    if not found[digest]:
        return False
    found[digest] -= 1
    return True


def _compare_files(
    source: Source, published: Source, key: DatasetKey | KeySource, report: Report
) -> None:
    """Report the files beside the images that do not come back as they are."""
    sealed = {}
    if has_sealed(published):
        try:
            sealed = opened_in(published, key)
        except DsguardError as error:
            report.add_broken(SEALED_FILES, error.to_keep())
    there = {*published.companions(), *published.left_out()}
    for name in (*source.companions(), *source.left_out()):
        was = read_or_error(partial(source.read_companion, name))
        back = sealed.get(name)
        if back is None and name in there:
            read = read_or_error(partial(published.read_companion, name))
            back = read if isinstance(read, bytes) else None
        if back is None or back != was:
            how = "does not come back" if back is None else "comes back changed"
            report.add_different(name, f"{shown(name)} lies beside the images, and {how}")
