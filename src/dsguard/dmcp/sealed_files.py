"""Files of jobs at rest: sealed in pieces, so that they can grow and be read from anywhere.

Each piece of 64 KiB is ``tag (16 bytes) | sealed bytes``, by AES-SIV under the key of the file,
bound to its number; the last one is shorter. Sealing a piece twice is harmless, so a file goes on
where it was left.
"""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from Crypto.Cipher import AES

from dsguard.dmcp.private_files import new_file
from dsguard.errors import TamperedError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

PIECE = 1 << 16
_TAG = 16
_STORED = _TAG + PIECE


class SealedWriter:
    """A file that is sealed as it is written.

    Parameters
    ----------
    path : Path
    key : bytes
        64 bytes, of this file alone.
    size : int
        Bytes to keep of what is there, before sealing.

    Raises
    ------
    TamperedError
        If what is there is not as it was written.
    """

    def __init__(self, path: Path, key: bytes, size: int = 0) -> None:
        self._key = key
        self._number, kept = divmod(size, PIECE)
        self._piece = bytearray()
        self._file: BinaryIO = path.open("r+b") if path.exists() else new_file(path)
        try:
            self._keep(kept)
        except BaseException:
            self._file.close()
            raise

    def _keep(self, kept: int) -> None:
        """Keep all pieces before the current one, and the first bytes of that."""
        start = self._number * _STORED
        if self._file.seek(0, io.SEEK_END) < start:
            raise _damaged()
        self._file.seek(start)
        if kept:
            self._piece += _opened(self._key, self._number, self._file.read(_STORED))[:kept]
            if len(self._piece) < kept:
                raise _damaged()
        self._file.truncate(start)

    def __enter__(self) -> SealedWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def write(self, data: bytes) -> None:
        """Append."""
        rest = memoryview(data)
        while rest:
            room = PIECE - len(self._piece)
            self._piece += rest[:room]
            rest = rest[room:]
            if len(self._piece) == PIECE:
                self._put()
                self._number, self._piece = self._number + 1, bytearray()

    def tell(self) -> int:
        """Return how many bytes there are."""
        return self._number * PIECE + len(self._piece)

    def flush(self) -> None:
        """Bring everything to the disk."""
        if self._piece:
            self._put()
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Bring everything to the disk and close the file."""
        if self._file.closed:
            return
        try:
            self.flush()
        finally:
            self._file.close()

    def _put(self) -> None:
        sealed, tag = _cipher(self._key, self._number).encrypt_and_digest(bytes(self._piece))
        self._file.seek(self._number * _STORED)
        self._file.write(tag + sealed)


class _Raw(io.RawIOBase):
    """The bytes of a sealed file, piece by piece."""

    def __init__(self, path: Path, key: bytes) -> None:
        self._file, self._key = path.open("rb"), key
        stored = self._file.seek(0, io.SEEK_END)
        self.size = max(0, stored - _TAG * -(-stored // _STORED))
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}[whence]
        self._position = max(0, start + offset)
        return self._position

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        target = memoryview(buffer).cast("B")
        number, skipped = divmod(self._position, PIECE)
        if self._position >= self.size:
            return 0
        self._file.seek(number * _STORED)
        piece = _opened(self._key, number, self._file.read(_STORED))[skipped:]
        part = piece[: len(target)]
        target[: len(part)] = part
        self._position += len(part)
        return len(part)

    def close(self) -> None:
        self._file.close()
        super().close()


def open_sealed(path: Path, key: bytes) -> BinaryIO:
    """Open a sealed file for reading; where it was changed, reading raises `TamperedError`."""
    return io.BufferedReader(_Raw(path, key), PIECE)


def _cipher(key: bytes, number: int) -> Any:
    cipher = AES.new(key, AES.MODE_SIV)
    cipher.update(number.to_bytes(8, "big"))
    return cipher


def _opened(key: bytes, number: int, stored: bytes) -> bytes:
    try:
        return bytes(_cipher(key, number).decrypt_and_verify(stored[_TAG:], stored[:_TAG]))
    except ValueError:
        raise _damaged() from None


def _damaged() -> TamperedError:
    return TamperedError("the file of a job was changed or cut off")
