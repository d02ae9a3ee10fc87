"""Comparison of a protected dataset with the one that it was made of: whether all comes back.

Images are known by digests of their class, their name and all that comes back, so neither format
nor order matter, and nothing has to be written. In folders and archives the name is the whole path,
but for folders that all images lie in.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from dsguard.bulk.carried import file_of
from dsguard.bulk.sealed_files import opened_in, sealed_in
from dsguard.bulk.selection import output_names
from dsguard.errors import DsguardError, InputError
from dsguard.formats.base import CHUNK_IMAGES, decode_rows
from dsguard.formats.folder.reader import TreeSource, read_or_error
from dsguard.formats.images import with_suffix
from dsguard.formats.names import shown

if TYPE_CHECKING:
    from dsguard.bulk.report import Report
    from dsguard.formats.base import Rows, Source
    from dsguard.kernels.contract import Bytes
    from dsguard.keys import DatasetKey, KeySource

_DIGEST = 16


def digest_of_file(class_name: str, name: str, data: bytes) -> bytes:
    """Return what tells a file, in its class, from all others."""
    return _digest(b"file", class_name, name, data)


def digest_of_pixels(class_name: str, name: str, pixels: Bytes) -> bytes:
    """Return what tells an image, in its class, from all others."""
    return _digest(b"pixels", class_name, f"{name} {pixels.shape}", pixels.tobytes())


def names_matter(source: Source, published: Source) -> bool:
    """Tell whether images of both have the paths of files."""
    return isinstance(source, TreeSource) and isinstance(published, TreeSource)


def common_folder(source: Source) -> str:
    """Return the folder that all images of a source lie in, with its slash; empty for no such."""
    folders = [name.rpartition("/")[0].split("/") for name in source.names()]
    pairs = zip(min(folders, default=[]), max(folders, default=[]), strict=False)
    common = (one for one, _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))
    return "".join(f"{folder}/" for folder in common if folder)


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
    names = _Names.of(source, published)
    for part in source.parts(CHUNK_IMAGES):
        for rows in source.rows(part):
            for name in _missing(rows, found, names):
                report.add_different(name, "does not come back as it is")
    if left := sum(found.values()):
        more = "1 image more" if left == 1 else f"{left} images more"
        report.add_different(str(source), f"has not all that comes back: {more}")
    report.compared = "images" if names is None else "all"
    if names is not None:
        _compare_files(source, published, key, report)


@dataclass(frozen=True)
class _Names:
    """Paths of images in a folder or archive, as they are compared."""

    start: int
    published: dict[str, str]

    @classmethod
    def of(cls, source: Source, published: Source) -> _Names | None:
        """Return them; None where images of one of both have no paths of files."""
        if not names_matter(source, published):
            return None
        return cls(len(common_folder(source)), output_names(source.names(), "png"))

    def of_pixels(self, name: str) -> str:
        """Return what an image is called whose pixels come back: its suffix may be another."""
        return with_suffix(self.published[name], "")[self.start :]


def _missing(rows: Rows, found: Counter[bytes], names: _Names | None) -> Iterator[str]:
    """Yield the images of some rows that do not come back, neither as files nor as pixels."""
    numbers = range(len(rows.names))
    left = [n for n in numbers if not (rows.files and _takes(found, _of_file(rows, n, names)))]
    if not left:
        return
    some, come_back = rows.taken(left), set[int]()
    for groups, _ in decode_rows(some):
        for group in groups:
            for row, pixels in zip(group.rows, group.images, strict=True):
                name = "" if names is None else names.of_pixels(some.names[row])
                if _takes(found, digest_of_pixels(some.classes[row], name, pixels)):
                    come_back.add(row)
    yield from (name for row, name in enumerate(some.names) if row not in come_back)


def _of_file(rows: Rows, row: int, names: _Names | None) -> bytes:
    try:
        file = file_of(rows, row)
    except (AssertionError, InputError):  # it could not be read
        return b""
    name = file.name if names is None else rows.names[row][names.start :]
    return digest_of_file(rows.classes[row], name, file.data)


def _takes(found: Counter[bytes], digest: bytes) -> bool:
    if not found[digest]:
        return False
    found[digest] -= 1
    return True


def _compare_files(
    source: Source, published: Source, key: DatasetKey | KeySource, report: Report
) -> None:
    """Report the files beside the images that do not come back as they are."""
    sealed: dict[str, bytes] = {}
    for name in sealed_in(published):
        with contextlib.suppress(DsguardError):  # told before
            sealed |= opened_in(published, name, key)
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
