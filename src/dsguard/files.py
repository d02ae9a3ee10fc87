"""Files that are written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


@contextlib.contextmanager
def write_whole(path: Path) -> Iterator[BinaryIO]:
    """Open a file for writing that appears under its name only once it is complete.

    The bytes go to a temporary name in the same folder, which is renamed on success and removed on
    any error. Folders are made as needed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary(path)
    try:
        with temporary.open("xb") as file:
            yield file
        os.replace(temporary, path)  # noqa: PTH105 - the atomic rename, whatever lies there
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)  # a full disk does not say of which file
        raise


def write_new(path: Path, data: bytes) -> None:
    """Write a file that only its owner can read, whole or not at all; it must not exist.

    Raises
    ------
    FileExistsError
        If there is something at `path`.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _temporary(path: Path) -> Path:
    """Return a new name beside `path`, short: the name itself may be as long as names can be."""
    return path.with_name(f".dsguard-{secrets.token_hex(8)}.tmp")
