"""Batches of image files through protect and restore, for all integrations."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from dsguard._arguments import keys_for
from dsguard.api import are_protected, restore_batch
from dsguard.errors import DsguardError, InputError
from dsguard.formats.images import Group, decode_files, decode_image, encode_image, runs_of
from dsguard.formats.path_images import told_of_path
from dsguard.keys import DatasetKey, KeySource, passphrase_of_environment

if TYPE_CHECKING:
    import numpy.typing as npt

    from dsguard.codecs import File

    Images = Sequence[bytes | npt.NDArray[np.uint8]]

_LOSSY = (b"\xff\xd8\xff", b"RIFF", b"GIF8")
"""How files of JPEG, WebP and GIF begin."""


def restored_images(
    images: Images, key: DatasetKey | KeySource, threads: int | None = 1
) -> list[npt.NDArray[np.uint8]]:
    """Restore protected images; files that were carried are decoded.

    Parameters
    ----------
    images : sequence of bytes, or of ndarray of uint8, shape (H, W, C)
        Image files, or what was decoded of them.
    key : DatasetKey or KeySource
    threads : int or None

    Returns
    -------
    list of ndarray of uint8, shape (H, W, C)

    Raises
    ------
    DsguardError
        If one cannot be restored, or the file that it carries not be decoded; the message names its
        place in the batch. Or a `KeySource` gives no keys.
    """
    out = []
    for row, image, file in _restored(images, key, threads):
        try:
            out.append(image if file is None else _picture(file, image))
        except DsguardError as error:
            msg = f"the file that it carries {error.message}{_AS_FILES}"
            raise type(error)(msg, index=row) from error
    return out


def restored_files(
    images: Images, key: DatasetKey | KeySource, threads: int | None = 1
) -> list[bytes]:
    """Restore protected images as files; arguments and errors as `restored_images`.

    Files that were carried are as they were, whatever they hold; all others are PNG files.
    """
    return [
        encode_image(np.atleast_3d(image)) if file is None else file.data
        for _, image, file in _restored(images, key, threads)
    ]


def which_protected(files: Sequence[bytes]) -> list[bool]:
    """Return which image files are protected, by what they show."""
    found = [False] * len(files)
    for start, stop in runs_of(files):
        groups, _ = decode_files(files[start:stop])
        for group in groups:
            flags = are_protected(group.images)
            for n, row in enumerate(group.rows):
                found[start + row] = bool(flags[n]) or n in group.sidecars
    return found


def _picture(file: File, place: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Decode a file that was carried to the place of its image, which has its shape as a rule.

    New memory for each picture of a batch costs more than to copy it into some that is there.
    """
    found = decode_image(file.data)
    if found.shape != place.shape:
        return found.copy()
    place[...] = found
    return place


def _restored(
    images: Images, key: DatasetKey | KeySource, threads: int | None
) -> Iterator[tuple[int, npt.NDArray[np.uint8], File | None]]:
    """Yield the place of each image, itself, and the file that it carries in place of its pixels.

    A batch comes in runs: a thousand short files can hold more pixels than any memory.
    """
    for start, stop in runs_of([image if isinstance(image, bytes) else b"" for image in images]):
        done, errors = _restored_run(images[start:stop], key, threads)
        if errors:
            row, error = min(errors.items(), key=lambda item: item[0])
            raise _explained(images[start + row], error, start + row)
        for row in range(stop - start):
            yield start + row, *done.pop(row)


def _restored_run(
    images: Images, key: DatasetKey | KeySource, threads: int | None
) -> tuple[dict[int, tuple[npt.NDArray[np.uint8], File | None]], dict[int, DsguardError]]:
    """Return images with the files that they carry, and by number why one cannot be restored."""
    groups, errors = _grouped(images)
    opens = keys_for(key, ((group.images, group.sidecars) for group in groups))
    out: dict[int, tuple[npt.NDArray[np.uint8], File | None]] = {}
    for group in groups:
        try:
            done = restore_batch(
                group.images, opens, sidecars=group.sidecars, on_error="report", threads=threads
            )
        except InputError as refusal:  # of images that are too small or too large
            errors |= dict.fromkeys(group.rows, refusal)
            continue
        carried = done.files
        errors |= {group.rows[n]: error for n, error in done.errors.items() if n not in carried}
        for n, row in enumerate(group.rows):
            out[row] = done.images[n], carried.get(n)
    return out, errors


def _grouped(
    images: Sequence[bytes | npt.NDArray[np.uint8]],
) -> tuple[list[Group], dict[int, DsguardError]]:
    """Return images of one shape together, and by number why one cannot be read."""
    files = {row: image for row, image in enumerate(images) if isinstance(image, bytes)}
    groups, failed = decode_files(list(files.values()))
    rows = list(files)
    groups = [replace(group, rows=[rows[n] for n in group.rows]) for group in groups]
    alike: dict[tuple[object, ...], list[int]] = defaultdict(list)
    for row, image in enumerate(images):
        if not isinstance(image, bytes):
            alike[image.shape, image.dtype].append(row)
    groups += [Group(same, np.stack([images[n] for n in same]), {}) for same in alike.values()]
    return groups, {rows[n]: error for n, error in failed.items()}


_AS_FILES = "; take files as they are (decode=False of RestoredDataset), and decode them yourself"


def _explained(image: bytes | npt.NDArray[np.uint8], error: DsguardError, row: int) -> DsguardError:
    """Return the error with the place of its image, and what may have happened to the file."""
    message, file = error.message, image if isinstance(image, bytes) else b""
    if file[:4].startswith(_LOSSY) and file[12:16] != b"VP8L":
        message += (
            "; the file is lossy: something saved it anew as JPEG, WebP or GIF, which destroys "
            "what protection hid. Keep the bytes of protected images as they are"
        )
    return type(error)(message, index=row)


def key_at(place: str | os.PathLike[str] | KeySource) -> DatasetKey | KeySource:
    """Return the key in a file, with the passphrase of the environment; a source as it is."""
    return place if isinstance(place, KeySource) else _loaded(os.fspath(place))


@cache
def _loaded(path: str) -> DatasetKey:
    return DatasetKey.load(path, passphrase_of_environment())


def as_bytes(value: object, row: int) -> bytes:
    """Return the bytes of an image as Hugging Face stores it undecoded.

    Raises
    ------
    InputError
        If it was decoded, or is but a path.
    """
    found = value.get("bytes") if isinstance(value, dict) else value
    if isinstance(found, bytes):
        return found
    if isinstance(value, dict):
        raise InputError(told_of_path(value.get("path")), row)
    msg = (
        f"expected the bytes of an image file, got {type(value).__name__}; decoded images lose or "
        'change their low bits on their way back: use dataset.cast_column("image", '
        "Image(decode=False)) and map(..., batched=True)"
    )
    raise InputError(msg, row)
