"""Trees of image files in one archive, zip or tar."""

from __future__ import annotations

import atexit
import os
import re
import stat
import struct
import sys
import zipfile
from abc import abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import lru_cache, partial
from pathlib import Path
from typing import BinaryIO

from dsguard.errors import DsguardError, InputError, raise_if_of_machine
from dsguard.formats.archive_dates import date_in_tar, date_in_zip
from dsguard.formats.base import Part
from dsguard.formats.folder.reader import TreeSource, read_or_error
from dsguard.formats.images import checked_member, has_image_suffix
from dsguard.formats.limits import (
    MOST_BYTES,
    check_size,
    check_unpacked,
    most_unpacked,
    too_much,
)
from dsguard.formats.names import distinct, is_hidden, journals_among, leads_out, lies_in, safe_name
from dsguard.formats.places import Place
from dsguard.formats.tar import Content, Member, Tars, content_of, linked


class ArchiveSource(TreeSource):
    """A folder of images, packed into one file."""

    kind = "archive"

    def __init__(self, place: Place, file: str) -> None:
        super().__init__(place)
        self.file = file

    def __str__(self) -> str:
        return str(Path(str(self.place), self.file))

    @abstractmethod
    def _named(self) -> list[str]:
        """Return the names of all files as the archive has them."""

    def _shown(self) -> list[str]:
        """Return the safe names of the files that are not hidden."""
        names = (name for name in self._named() if not is_hidden(name.removeprefix("./")))
        return [safe_name(name, self) for name in names]

    def _members(self) -> list[str]:
        """Return the names of the files that belong to the dataset."""
        names = self._shown()
        journals = journals_among(names)
        return [name for name in names if not lies_in(name, journals)] if journals else names

    def names(self) -> list[str]:
        return distinct([name for name in self._members() if self.is_image(name)], str(self))

    def companions(self) -> list[str]:
        return [name for name in self._others() if self._goes_along(name)]

    def leftovers(self) -> list[str]:
        return sorted(journals_among(self._shown()))

    def left_out(self) -> list[str]:
        left = [name for name in self._others() if not self._goes_along(name)]
        return [*left, *self._hidden_images()]

    def _hidden_images(self) -> list[str]:
        names = (name.removeprefix("./") for name in self._named())
        hidden = {name for name in names if is_hidden(name) and not leads_out(name)}
        hidden = {name for name in hidden if not _OF_FINDER.match(name)}
        return sorted(filter(has_image_suffix, hidden))

    def _others(self) -> list[str]:
        return sorted({name for name in self._members() if not self.is_image(name)})

    @abstractmethod
    def _read(self, name: str) -> bytes:
        """Return the content of a member, of several of one name the last, as unpackers do."""

    def read_companion(self, name: str) -> bytes:
        found = read_or_error(partial(self._read, name))
        if isinstance(found, DsguardError):
            msg = f"{name} of {self} {found.message}"
            raise InputError(msg)
        return found

    def stamp(self, part: Part) -> str:
        try:
            return self.place.stamp(self.file)
        except OSError as error:
            msg = f"{self} cannot be read: {error.strerror or error}"
            raise InputError(msg) from error


_OF_FINDER = re.compile(r"__MACOSX/(.*/)?\._")
"""Files that macOS packs beside each file, with what its disk has noted of that."""


class ZipSource(ArchiveSource):
    """A folder of images in a zip archive."""

    def _named(self) -> list[str]:
        archive, _ = self._opened()
        return [name for name, _ in _named(archive, str(self))]

    def dates(self, names: Iterable[str]) -> Iterator[tuple[str, int]]:
        _, known = self._opened()
        for name in names:
            date = date_in_zip(known[name]) if name in known else None
            if date is not None:
                yield name, date

    def _opened(self) -> tuple[zipfile.ZipFile, dict[str, zipfile.ZipInfo]]:
        return _zip(self.place, self.file, self.stamp(Part()))

    def _read(self, name: str) -> bytes:
        archive, members = self._opened()
        return _unzip(archive, members[name])

    def _files(self, names: Collection[str]) -> Iterator[tuple[str, Callable[[], bytes]]]:
        archive, members = self._opened()
        for name in names:
            yield name, partial(_unzip_image, archive, members[name])


class _ClosingZip(zipfile.ZipFile):
    """A zip archive that closes the file that it was given."""

    def __init__(self, file: BinaryIO) -> None:
        self._given = file
        try:
            super().__init__(file)
            self._check_count()
        except BaseException:
            file.close()
            raise

    def _check_count(self) -> None:
        """Refuse a directory that has other members than it says at its end."""
        said = 0xFFFF  # or more
        self._given.seek(-_END.size - len(self.comment), 2)
        record = self._given.read(_END.size)
        if len(record) == _END.size and record.startswith(b"PK\5\6"):
            said = _END.unpack(record)[4]
        first = min((member.header_offset for member in self.filelist), default=0)
        self._given.seek(max(0, first - _END.size - 0xFFFF))
        if b"PK\5\6" in self._given.read(min(first, _END.size + 0xFFFF)):
            msg = "another archive lies before it in the file; unpack each by itself"
            raise zipfile.BadZipFile(msg)
        if said not in (0xFFFF, len(self.filelist)):
            msg = f"its end tells of {said} members, and there are {len(self.filelist)}"
            raise zipfile.BadZipFile(msg)

    def close(self) -> None:
        super().close()
        self._given.close()


_END = struct.Struct("<4s4H2LH")
"""What a zip archive ends with, but for a comment."""


@lru_cache(maxsize=1)
def _zip(place: Place, file: str, stamp: str) -> tuple[zipfile.ZipFile, dict[str, zipfile.ZipInfo]]:
    """Return an archive and its members: to read its directory for each shard would take long."""
    del stamp  # a file that was replaced is another archive
    # Closed before the library that opens it: sftp waits for an answer, and later none comes.
    atexit.unregister(_zip.cache_clear)
    atexit.register(_zip.cache_clear)
    path = f"{place}/{file}"
    try:
        opened = place.open(file)
        size = opened.seek(0, os.SEEK_END)
        archive = _ClosingZip(opened)
    except DsguardError:
        raise
    except Exception as error:  # zipfile fails in many ways on a damaged directory
        raise_if_of_machine(error, path)
        msg = f"{path} is damaged or truncated: {error}"
        raise InputError(msg) from error
    unpacked = sum(member.file_size for member in archive.infolist())
    if unpacked > (most := most_unpacked(size, sys.maxsize)):
        archive.close()
        msg = f"{path} {too_much(most)}"
        raise InputError(msg)
    return archive, {safe_name(name, path): member for name, member in _named(archive, path)}


def _named(archive: zipfile.ZipFile, path: str) -> list[tuple[str, zipfile.ZipInfo]]:
    """Return the files of an archive and their names, in which Windows may have put backslashes.

    Those who do so say that they are on Windows, or are known by never writing ``/``.
    """
    members = archive.infolist()
    never = not any("/" in member.filename for member in members)
    found = []
    for member in members:
        name = _as_utf8(member)
        if never or member.create_system in _WINDOWS:
            name = name.replace("\\", "/")
        if not name:
            msg = f"{path} has a member without a name; unpack it and pack it anew"
            raise InputError(msg)
        if not name.endswith("/"):
            found.append((name, member))
    return found


def _as_utf8(member: zipfile.ZipInfo) -> str:
    """Return the name of a member, which packers on Unix write as it is, mostly in UTF-8.

    They do not say so, and then it is read as cp437, of DOS.
    """
    if member.create_system != _UNIX or member.flag_bits & _SAYS_UTF8:
        return member.filename
    try:
        return member.filename.encode("cp437").decode()
    except UnicodeError:
        return member.filename


_UNIX, _SAYS_UTF8 = 3, 0x800
_WINDOWS = (0, 10, 14)  # FAT, NTFS and VFAT, by the ZIP specification


def _unzip(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    check_size(member.file_size)
    if stat.S_ISLNK(member.external_attr >> 16):  # its content is the path that it leads to
        msg = "is a link, and links in zip archives are not followed; pack it anew without -y"
        raise InputError(msg)
    if member.compress_type == zipfile.ZIP_BZIP2:  # of which 4 KB may be gigabytes, all at once
        msg = "is packed by bzip2, which dsguard reads in tar archives alone; pack it anew"
        raise InputError(msg)
    with archive.open(member) as file:
        return file.read(MOST_BYTES)  # whatever the directory says of its size


def _unzip_image(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    room = archive.start_dir - member.header_offset  # whatever the directory says
    packed = min(member.compress_size, room)
    check_unpacked(member.file_size, packed)
    return checked_member(_unzip(archive, member), packed)


class TarSource(ArchiveSource):
    """A folder of images in a tar archive, compressed or not."""

    may_be_shard = True

    def __init__(self, place: Place, file: str) -> None:
        super().__init__(place, file)
        self.tars = Tars(place, small=False)

    def _named(self) -> list[str]:
        members, _ = self._all()
        return [member.name for member in members]

    def dates(self, names: Iterable[str]) -> Iterator[tuple[str, int]]:
        _, known = self._all()
        with self.tars.content(self.file) as archive:
            for name in names:
                date = date_in_tar(archive, linked(known[name], known)) if name in known else None
                if date is not None:
                    yield name, date

    def _all(self) -> tuple[list[Member], dict[str, Member]]:
        return _tar(self.tars, self.file, self.stamp(Part()))

    def _read(self, name: str) -> bytes:
        _, known = self._all()
        with self.tars.content(self.file) as archive:
            return _cut_out(archive, known[name], known)

    def _files(self, names: Collection[str]) -> Iterator[tuple[str, Callable[[], bytes]]]:
        _, known = self._all()
        with self.tars.content(self.file) as archive:
            for name in names:
                yield name, partial(self._image, archive, known[name], known)

    def _image(self, archive: Content, member: Member, known: dict[str, Member]) -> bytes:
        data = _cut_out(archive, member, known)
        return checked_member(data, self.tars.packed_size(self.file, len(data)))


@lru_cache(maxsize=1)
def _tar(tars: Tars, file: str, stamp: str) -> tuple[list[Member], dict[str, Member]]:
    """Return the members of an archive: to read all headers for each shard would take long."""
    del stamp
    return tars.all_members(file)


def _cut_out(archive: Content, member: Member, known: dict[str, Member]) -> bytes:
    return content_of(archive, linked(member, known))
