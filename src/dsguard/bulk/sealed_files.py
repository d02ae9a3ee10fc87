"""Files beside the images that are not published as they are: sealed together, in one image.

They are members of a tar archive, and that is the file which the image carries. Its own file has a
name that readers of images pass over.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from dsguard.api import protect_batch, restore_batch
from dsguard.codecs import CarriesArchiveError, File, Sealed
from dsguard.codecs.sealed import MOST_FITTED
from dsguard.covers import Blank
from dsguard.errors import DsguardError, InputError, TamperedError
from dsguard.formats.folder.reader import read_or_error
from dsguard.formats.images import decode_protected, encode_image
from dsguard.formats.tar import END, content_of, members, packed

if TYPE_CHECKING:
    from dsguard.formats.base import Source
    from dsguard.keys import DatasetKey, KeySource

SEALED_FILES = "sealed-files.dsguard"
"""The file in a protected dataset."""

MOST_BYTES = 24 << 20
"""Of all of them together: they are held in memory."""

ARCHIVE = "files.tar"


def sealed(files: Mapping[str, bytes], key: DatasetKey) -> bytes:
    """Return a PNG file that carries files, the same for the same files.

    Parameters
    ----------
    files : mapping of str to bytes
        By relative path.
    key : DatasetKey
    """
    return sealed_archive(sorted(files.items()), key)


def sealed_archive(
    files: Iterable[tuple[str, bytes]], key: DatasetKey, name: str = ARCHIVE
) -> bytes:
    """Return a PNG file that carries an archive of this name, with files in this order."""
    pieces = [piece for file, data in files for piece in packed(file, data)]
    archive = File(name, b"".join([*pieces, END]), is_beside=True)
    codec = Sealed(MOST_FITTED)
    shape = codec.smallest_cover(len(archive.content), (1, 1, 3))
    blank = np.zeros((1, *shape), np.uint8)
    done = protect_batch(blank, key, cover=Blank(), codec=codec, files={0: archive})
    return encode_image(done.images[0])


def is_sealed(name: str) -> bool:
    """Tell whether this is the name of a file that holds others: of the set, or of a shard."""
    return is_of_set(name) or name.endswith(f".{SEALED_FILES}")


def is_of_set(name: str) -> bool:
    """Tell whether this is the name of a file that holds others, and not those of a shard."""
    return name.rpartition("/")[2] == SEALED_FILES


def is_called_sealed(name: str) -> bool:
    """Tell whether a file is called as one with something sealed, or after one.

    Browsers and systems add to names, ``sealed-files (1).dsguard``; check sums have more suffixes.
    """
    return _CALLED_SEALED.search(name.rpartition("/")[2]) is not None


_CALLED_SEALED = re.compile("sealed-fi(le|eld)s.*dsguard", re.IGNORECASE)


def sealed_in(source: Source) -> list[str]:
    """Return the files beside the images of a source that hold others, sealed."""
    return [name for name in source.left_out() if is_sealed(name)]


def start_of(source: Source, name: str) -> bytes:
    """Return a file beside the images, and of one that is too large as much as tells that."""
    if source.is_file:
        return source.read_companion(name)
    with source.place.open(name) as file:
        return file.read(2 * MOST_BYTES)


def opened_in(source: Source, name: str, key: DatasetKey | KeySource) -> dict[str, bytes]:
    """Return the files that lie sealed beside the images of a source, by relative path.

    Raises
    ------
    DsguardError
        If they cannot be read, were changed, or are of another key.
    """
    data = read_or_error(partial(start_of, source, name))
    if isinstance(data, DsguardError):
        raise data
    above = name[: len(name) - len(name.rpartition("/")[2])]
    return {above + inner: content for inner, content in opened(data, key).items()}


def opened(data: bytes, key: DatasetKey | KeySource) -> dict[str, bytes]:
    """Return the files that a PNG file carries, by relative path.

    Raises
    ------
    DsguardError
        If it was changed, is of another key, or carries something else.
    """
    name, files = opened_archive(data, key)
    if name != ARCHIVE:
        msg = "holds fields of a shard; somebody put it here under this name"
        raise TamperedError(msg)
    return files


def opened_archive(data: bytes, key: DatasetKey | KeySource) -> tuple[str, dict[str, bytes]]:
    """Return the name of the archive that a PNG file carries, and its files, as `opened` does."""
    image, _ = decode_protected(data)
    done = restore_batch(image[None], key, on_error="report")
    if 0 in done.files:
        msg = "carries the file of an image; somebody put that image here under this name"
        raise TamperedError(msg)
    error = done.errors.get(0) or TamperedError("carries an image, not files beside images")
    if not isinstance(error, CarriesArchiveError) or error.archive is None:
        raise error
    name, archive = error.archive.name, error.archive.data
    found: dict[str, bytes] = {}
    for member in members(archive):
        if member.link or member.name in found:
            msg = f"has a member that dsguard has not written, {member.name[:200]!r}"
            raise InputError(msg)
        found[member.name] = content_of(archive, member)
    return name, found
