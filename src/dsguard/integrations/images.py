"""Batches of image files through protect and restore, for all integrations."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

from dsguard.api import keys_for, restore_batch
from dsguard.errors import DsguardError, InputError
from dsguard.formats.images import decode_files, decode_image, encode_image
from dsguard.keys import DatasetKey, KeySource, passphrase_of_environment

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


_LOSSY = (b"\xff\xd8\xff", b"RIFF", b"GIF8")
"""How files of JPEG, WebP and GIF begin."""


def restored_images(
    files: Sequence[bytes], key: DatasetKey | KeySource, threads: int | None = 1
) -> list[npt.NDArray[np.uint8]]:
    """Decode and restore protected image files; files that were carried are decoded.

    Parameters
    ----------
    files : sequence of bytes
    key : DatasetKey or KeySource
    threads : int or None

    Returns
    -------
    list of ndarray of uint8, shape (H, W, C)

    Raises
    ------
    DsguardError
        If one cannot be restored, with its place in the batch; or a `KeySource` gives no keys.
    """
    out = []
    for row, each in enumerate(_restored(files, key, threads)):
        try:
            out.append(decode_image(each) if isinstance(each, bytes) else each)
        except DsguardError as error:
            msg = f"the file that it carries {error.message}"
            raise type(error)(msg, index=row) from error
    return out


def restored_files(
    files: Sequence[bytes], key: DatasetKey | KeySource, threads: int | None = 1
) -> list[bytes]:
    """Restore protected image files; arguments and errors as `restored_images`.

    Files that were carried are as they were; all others are PNG files.
    """
    return [
        each if isinstance(each, bytes) else encode_image(each)
        for each in _restored(files, key, threads)
    ]


def _restored(
    files: Sequence[bytes], key: DatasetKey | KeySource, threads: int | None
) -> list[npt.NDArray[np.uint8] | bytes]:
    groups, errors = decode_files(files)
    opens = keys_for(key, ((group.images, group.sidecars) for group in groups))
    out: list[npt.NDArray[np.uint8] | bytes | None] = [None] * len(files)
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
            out[row] = carried[n].data if n in carried else done.images[n]
    if errors:
        row, error = min(errors.items(), key=lambda item: item[0])
        raise _explained(files[row], error, row)
    return [image for image in out if image is not None]


def _explained(file: bytes, error: DsguardError, row: int) -> DsguardError:
    """Return the error with the place of its image, and what may have happened to the file."""
    message = error.message
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
    kind = "a path" if isinstance(value, dict) else type(value).__name__
    msg = (
        f"expected the bytes of an image file, got {kind}; decoded images lose or change their "
        'low bits on their way back: use dataset.cast_column("image", Image(decode=False)) and '
        "map(..., batched=True); embed files that are stored as paths "
        '(dataset.with_format("arrow").map(datasets.table.embed_table_storage, batched=True))'
    )
    raise InputError(msg, row)
