"""Files that are written whole or not at all."""

from __future__ import annotations

import codecs
import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from dsguard.errors import FormatError

MOST_TEXT = 1 << 20
"""Bytes of a small text file, such as one with a key."""

_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",  # before the next, which it begins with
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def read_text(path: Path) -> str:
    """Read a small text file as any editor stores it: UTF-8, or what its first bytes say.

    Raises
    ------
    FormatError
        If it is no text, or large.
    """
    with path.open("rb") as file:
        data = file.read(MOST_TEXT + 1)
    if len(data) > MOST_TEXT:
        msg = f"{path} is larger than any text file that is read here"
        raise FormatError(msg)
    coding = next((name for mark, name in _MARKS.items() if data.startswith(mark)), "utf-8")
    try:
        text = data.decode(coding)
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:  # as in UTF-16 without its mark
        msg = f"{path} is no text in UTF-8; save it as UTF-8, or give another file"
        raise FormatError(msg)
    return text


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
