"""Images on their way to a service: those of a folder, and requests of many of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

from dsguard.dmcp import frames
from dsguard.errors import DsguardError, InputError

_IMAGES = 2000
_BYTES = 4 << 20
"""The most of one request."""


def requests_of(images: Iterable[tuple[str, bytes]]) -> Iterator[tuple[list[str], bytes]]:
    """Yield names and frames of as many images as one request takes."""
    names: list[str] = []
    pieces: list[bytes] = []
    held = 0
    for name, data in images:
        try:
            pieces.append(frames.packed(name, "", data))
        except frames.BadFrameError as error:
            raise InputError(str(error)) from None
        names.append(name)
        held += len(data)
        if len(pieces) == _IMAGES or held >= _BYTES:
            yield names, b"".join(pieces)
            names, pieces, held = [], [], 0
    if pieces:
        yield names, b"".join(pieces)


def names_in(folder: Path) -> list[str]:
    """Return the names of the images under a folder."""
    from dsguard.formats.folder.reader import FolderSource
    from dsguard.formats.places import LocalPlace

    return FolderSource(LocalPlace(folder)).names()


def read_images(
    folder: Path, names: Iterable[str], failed: dict[str, DsguardError]
) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of protected images under a folder; others go to `failed`.

    Clean images, of a wrong folder, are sent to no service.
    """
    from dsguard.formats.folder.reader import read_or_error
    from dsguard.formats.places import LocalPlace

    place = LocalPlace(folder)
    for name in names:
        data = read_or_error(partial(place.read, name))
        error = data if isinstance(data, DsguardError) else _fault_of(data)
        if isinstance(data, bytes) and error is None:
            yield name, data
        elif error is not None:
            failed[name] = error


def _fault_of(data: bytes) -> DsguardError | None:
    """Return the reason why an image file is not sent; None for a protected one."""
    from dsguard.api import are_protected
    from dsguard.formats.images import decode_files

    groups, errors = decode_files([data])
    if errors:
        return errors[0]
    if any(group.sidecars or are_protected(group.images).any() for group in groups):
        return None
    return InputError("is not protected, and was not sent; give the folder of protected images")
