"""Tar archives: their headers, read here and, but for long names, written here.

For small images `tarfile` takes longer for a member than restoring it does.
"""

from __future__ import annotations

import bz2
import contextlib
import gzip
import lzma
import mmap
import os
import posixpath
import secrets
import sys
import tarfile
import weakref
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeAlias, cast

from dsguard._atomic import (
    TemporaryFilesError,
    lock,
    open_new,
    remove_left,
    temporary_folder,
    temporary_writing,
)
from dsguard.errors import DsguardError, InputError, raise_if_of_machine
from dsguard.formats.limits import check_rows, check_size, most_unpacked, too_much
from dsguard.formats.places import LocalPlace, Place

BLOCK = 512

_FILE, _LINKS, _EXTENDED = b"0\0007", b"12", b"LKxg"
_SYMBOLIC = _LINKS[1]
_LONG_NAME, _LONG_LINK, PAX, _PAX_GLOBAL = _EXTENDED

MOST_IN_MEMORY = 1 << 30
"""A compressed shard unpacks to no more, since that is held in memory."""
MOST_ON_DISK = 1 << 36
"""Any other compressed archive unpacks to no more, to a temporary file."""
MOST_HEADER = 1 << 20
"""The headers that a member may have before its own, all together, are shorter."""
_MOST_RECORDS = 1000  # of a pax header, which as a rule has less than ten

Content: TypeAlias = "mmap.mmap | bytes"
"""An archive without its compression."""
_Unpack: TypeAlias = Callable[[BinaryIO], BinaryIO]
_MAGIC = 10  # bytes that tell how a file is compressed
DAMAGE = (EOFError, MemoryError, OSError, ValueError, lzma.LZMAError, zlib.error)
"""What is raised where an archive is damaged; memory is for what its compression asks for."""


@dataclass
class Member:
    """One file of an archive.

    Attributes
    ----------
    name : str
    start : int
        Where its headers begin.
    data : int
        Where its content begins.
    size : int
    link : str
        The member that it is another name of, as tar stores a file met twice, or a symbolic link;
        empty as a rule.
    """

    name: str
    start: int
    data: int
    size: int
    link: str = ""


def members(archive: Content, start: int = 0, stop: int = 0) -> Iterator[Member]:
    """Yield the files of an uncompressed archive whose headers begin at `start` and before `stop`.

    Raises
    ------
    InputError
        If it stops within a member or at a damaged header: what lies behind would be lost.
    """
    end = len(archive)
    position = begin = start
    name, link, size = "", "", -1  # what headers of their own say of the member that follows
    extended = 0  # bytes of those
    while not stop or begin < stop:
        header = archive[position : position + BLOCK]
        if len(header) < BLOCK:
            msg = "it stops where a member or the end of the archive should be"
            raise InputError(msg)
        if header[0] == 0 and not header.strip(b"\0"):
            _check_rest(archive, position)
            return
        _check(header)
        kind, length = header[156], number_in(header[124:136])
        data = position + BLOCK
        if kind in _FILE:
            length = length if size < 0 else size
            _check_end(data + length, end)
            yield Member(name or _name(header), begin, data, length)
        elif kind in _LINKS:
            name, link = name or _name(header), link or _text(header[157:257])
            if kind == _SYMBOLIC:  # from where it lies, not from the root of the archive
                link = posixpath.join(posixpath.dirname(name), link)
            yield Member(name, begin, data, 0, link)
            length = 0
        elif kind in _EXTENDED:
            extended += BLOCK + length
            _check_extended(extended)
            content = archive[data : data + length]
            if kind == PAX:
                given = dict(pax_records(content))
                _check_whole(given)
                name, link = given.get("path", name), given.get("linkpath", link)
                size = _decimal(given["size"]) if "size" in given else size
            elif kind == _LONG_NAME:
                name = _text(content)
            elif kind == _LONG_LINK:
                link = _text(content)
        elif kind not in b"5346":  # folder, devices, pipe
            msg = f"a member is of kind {chr(kind)!r}, which dsguard does not read; pack it anew"
            raise InputError(msg)
        _check_end(data + length, end)
        position = data + length + -length % BLOCK
        if kind not in _EXTENDED:
            name, link, size, extended = "", "", -1, 0
            begin = position


def _check_rest(archive: Content, position: int) -> None:
    """Refuse an archive that goes on behind its end: a header was overwritten with zeros."""
    for start in range(position, len(archive), _AT_ONCE):
        if archive[start : start + _AT_ONCE].strip(b"\0"):
            msg = "it goes on behind a block of zeros, which ends an archive"
            raise InputError(msg)


_AT_ONCE = 1 << 20


def _check(header: bytes) -> None:
    checked = header[148:156]
    if (number_in(checked) - (_sum(header) - _sum(checked) + 8 * 32)) % _ADLER_MODULUS:
        raise _bad_header()


def _sum(data: bytes) -> int:
    """Return the sum of bytes, modulo `_ADLER_MODULUS`, ten times as soon as `sum` does."""
    return (zlib.adler32(data) & 0xFFFF) - 1


_ADLER_MODULUS = 65521


def _check_extended(size: int) -> None:
    if size > MOST_HEADER:
        msg = f"the headers of a member have more than {MOST_HEADER} bytes; pack it anew"
        raise InputError(msg)


def _check_end(position: int, end: int) -> None:
    if position > end:
        msg = "it stops within a member"
        raise InputError(msg)


def number_in(text: bytes) -> int:
    """Return a number of a header."""
    if text[0] == 0x80:  # GNU, for what does not fit
        return int.from_bytes(text[1:], "big")
    digits = text.strip(b" \0") or b"0"
    if digits.strip(b"01234567"):  # `int` would take signs and underscores
        raise _bad_header()
    return int(digits, 8)


def _decimal(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise _bad_header()
    return int(text)


def _bad_header() -> InputError:
    return InputError("it has a damaged header")


def _name(header: bytes) -> str:
    name = _text(header[:100])
    prefix = _text(header[345:500]) if header[345] and header[257:263] == b"ustar\0" else ""
    return f"{prefix}/{name}" if prefix else name


def _text(field: bytes) -> str:
    return field.split(b"\0", 1)[0].decode("utf-8", "surrogateescape")


def _check_whole(given: Mapping[str, str]) -> None:
    """Refuse a file without its zeros, before which a map of them lies."""
    if any(key.startswith(_SPARSE) for key in given):
        msg = "a member is sparse, which dsguard does not read; pack it anew without -S"
        raise InputError(msg)


_SPARSE = ("GNU.sparse.", "SCHILY.realsize", "SCHILY.sparse")
"""Records of GNU tar, which bsdtar of macOS writes as well, and of star."""


def pax_records(content: bytes) -> Iterator[tuple[str, str]]:
    """Yield what a pax header tells."""
    start = 0
    for _ in range(_MOST_RECORDS):
        if start == len(content):
            return
        space = content.find(b" ", start, start + 20)
        length = _decimal(content[start : max(space, start)].decode("latin-1"))
        stop = start + length
        if not space < stop <= len(content):
            raise _bad_header()
        key, _, value = content[space + 1 : stop].rstrip(b"\n").partition(b"=")
        yield key.decode("utf-8", "replace"), value.decode("utf-8", "surrogateescape")
        start = stop
    msg = f"a header has more than {_MOST_RECORDS} records; pack it anew"
    raise InputError(msg)


_TEMPLATE = tarfile.TarInfo("").tobuf(tarfile.USTAR_FORMAT)
_MODE, _TIME, _KIND = _TEMPLATE[100:124], _TEMPLATE[136:148], _TEMPLATE[156:]
_REST_SUM = sum(_MODE + _TIME + _KIND) + 8 * 32


def packed(name: str, data: bytes) -> list[bytes]:
    """Return the pieces of one member of an archive: always the same for the same file."""
    raw = name.encode("utf-8", "surrogateescape")
    size = len(data)
    padding = bytes(-size % BLOCK)
    if len(raw) > 100 or size >= 1 << 33 or not raw.isascii():
        info = tarfile.TarInfo(name)
        info.size = size
        return [info.tobuf(tarfile.PAX_FORMAT), data, padding]
    length = b"%011o\0" % size
    check = b"%06o\0 " % (_REST_SUM + _sum(raw + length))
    return [raw.ljust(100, b"\0"), _MODE, length, _TIME, check, _KIND, data, padding]


END = bytes(2 * BLOCK)
"""What an archive ends with."""


class Tars:
    """The archives of a place, without their compression.

    Parameters
    ----------
    place : Place
    small : bool
        Whether compressed ones are unpacked in memory, by whoever works on them; if not, they are
        to a temporary file, once for all.
    """

    def __init__(self, place: Place, *, small: bool) -> None:
        self._place, self._small = place, small
        self._unpacked: dict[str, Path] = {}
        self._packed: dict[str, int] = {}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tars) and self._facts() == other._facts()

    def __hash__(self) -> int:
        return hash(self._facts())

    def _facts(self) -> tuple[Place, bool]:
        return self._place, self._small

    def path(self, file: str) -> str:
        """Return what an archive is called in messages."""
        return str(Path(str(self._place), file))

    def members(self, file: str) -> Iterator[Member]:
        """Yield the files of an archive; safe names are up to the caller.

        Raises
        ------
        InputError
            At damage.
        """
        try:
            with self.content(file) as archive:
                yield from self.walked(file, archive)
        except DAMAGE as error:
            raise damaged(self.path(file), error) from error

    def walked(self, file: str, archive: Content) -> Iterator[Member]:
        """Yield the files of an opened archive, not more than a compressed one has bytes for.

        Raises
        ------
        InputError
            At damage, or where there are more.
        """
        size = self._packed.get(file, sys.maxsize)
        for count, member in enumerate(members(archive), 1):
            check_rows(count, size, "it", "members")
            yield member

    def all_members(self, file: str) -> tuple[list[Member], dict[str, Member]]:
        """Return all files of an archive, and these by their normalised names.

        Raises
        ------
        InputError
            At damage, or where links give the same content too often for the size of the archive.
        """
        try:
            with self.content(file) as archive:
                found, size = list(self.walked(file, archive)), len(archive)
        except DAMAGE as error:
            raise damaged(self.path(file), error) from error
        known = {posixpath.normpath(member.name): member for member in found}
        _check_links(found, known, self.path(file), size)
        return found, known

    @contextlib.contextmanager
    def content(self, file: str) -> Iterator[Content]:
        """Open an archive."""
        with self._local(file) as opened:
            unpack = _unpacker(opened.read(_MAGIC))
            opened.seek(0)
            if unpack is not None:
                most = self._may_unpack(file, opened, MOST_IN_MEMORY)
                content = unpack(opened).read(most + 1)
                if len(content) > most:
                    raise self._too_much(file, most)
                yield content
            elif not opened.read(1):
                yield b""
            else:
                with mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
                    yield mapped

    @contextlib.contextmanager
    def _local(self, file: str) -> Iterator[BinaryIO]:
        """Open an archive as a file of this machine; a large compressed one is unpacked first."""
        if file not in self._unpacked or not self._unpacked[file].exists():
            with self._place.open(file) as opened:
                unpack = None if self._small else _unpacker(opened.read(_MAGIC))
                opened.seek(0)
                if unpack is None and isinstance(self._place, LocalPlace):
                    yield opened
                    return
                self._unpacked[file] = self._copied(file, opened, unpack)
        with self._unpacked[file].open("rb") as opened:
            yield opened

    def _copied(self, file: str, opened: BinaryIO, unpack: _Unpack | None) -> Path:
        """Write a temporary file that nobody else can read, and that goes when this does."""
        most = self._may_unpack(file, opened, MOST_ON_DISK) if unpack else sys.maxsize
        content = unpack(opened) if unpack else opened
        folder = temporary_folder()
        remove_left(folder, "unpacked-*")
        path = folder / f"unpacked-{secrets.token_hex(8)}"
        with contextlib.ExitStack() as stack:
            with temporary_writing(folder):
                plain = open_new(path, 0o600)
            stack.callback(path.unlink, missing_ok=True)
            stack.enter_context(plain)
            lock(plain)  # which tells it from one of a killed run
            while piece := content.read(_AT_ONCE):
                if plain.tell() + len(piece) > most:
                    raise self._too_much(file, most)
                with temporary_writing(folder):
                    plain.write(piece)
            with temporary_writing(folder):
                plain.flush()
            weakref.finalize(self, stack.pop_all().close)
        return path

    def packed_size(self, file: str, size: int) -> int:
        """Return how many bytes a member of `size` was packed in at most: in its whole archive."""
        return min(size, self._packed.get(file, size))

    def _too_much(self, file: str, most: int) -> InputError:
        return InputError(f"{self.path(file)} {too_much(most)}")

    def _may_unpack(self, file: str, opened: BinaryIO, most: int) -> int:
        """Return the bytes that a file may unpack to, and no more than `most`; keep its size."""
        self._packed[file] = size = opened.seek(0, os.SEEK_END)
        opened.seek(0)
        return most_unpacked(size, most)


def linked(member: Member, known: dict[str, Member]) -> Member:
    """Return the member that a link leads to, among those known by their normalised names.

    Raises
    ------
    InputError
        If it leads nowhere.
    """
    for _ in range(16):
        if not member.link:
            return member
        target = known.get(posixpath.normpath(member.link))
        if target is None:
            break
        member = target
    msg = f"is a link to {member.link!r}, which is not in the archive"
    raise InputError(msg)


def _check_links(found: list[Member], known: dict[str, Member], path: str, size: int) -> None:
    """Refuse an archive whose links come to more than it may unpack to."""
    total = sum(_size_of_target(member, known) for member in found if member.link)
    if total > (most := most_unpacked(size, sys.maxsize)):
        msg = f"{path} {too_much(most)}"
        raise InputError(msg)


def _size_of_target(link: Member, known: dict[str, Member]) -> int:
    try:
        return linked(link, known).size
    except InputError:  # it leads nowhere, as whoever reads it says
        return 0


def content_of(archive: Content, member: Member) -> bytes:
    """Return the content of a member, not one that would fill the memory."""
    check_size(member.size)
    return archive[member.data : member.data + member.size]


def is_tar(place: Place, file: str) -> bool:
    """Tell whether a file begins as an archive does, compressed or not."""
    try:
        with place.open(file) as opened:
            unpack = _unpacker(opened.read(_MAGIC))
            opened.seek(0)
            header = (unpack(opened) if unpack else opened).read(BLOCK)
        _check(header.ljust(BLOCK, b"\0"))
    except (DsguardError, *DAMAGE):
        return False
    return len(header) == BLOCK


def _unpacker(start: bytes) -> _Unpack | None:
    """Return what reads the compression that a file of this beginning has."""
    if start[:2] == b"\x1f\x8b":
        return lambda file: cast("BinaryIO", gzip.GzipFile(fileobj=file))
    if start[:3] == b"BZh" and start[4:] == b"1AY&SY":
        return lambda file: cast("BinaryIO", bz2.BZ2File(file))
    if start[:6] == b"\xfd7zXZ\0":
        return lambda file: cast("BinaryIO", lzma.LZMAFile(file))
    return None


def damaged(path: str, error: Exception) -> InputError:
    """Return what is said of a damaged archive.

    Raises
    ------
    InputError
        If the error is that of the machine, or of the folder for temporary files.
    """
    if isinstance(error, InputError) and path in error.message:
        return error
    if isinstance(error, TemporaryFilesError):
        raise error
    raise_if_of_machine(error, path)
    reason = error.message if isinstance(error, DsguardError) else str(error)
    return InputError(f"{path} is damaged or truncated: {reason or type(error).__name__}")
