"""Tar archives: of a tree of images, or WebDataset shards, members of one sample side by side.

For small images `tarfile` takes longer for a member than restoring it does: headers are read here,
and written here but for long names.
"""

from __future__ import annotations

import bz2
import contextlib
import gzip
import json
import lzma
import mmap
import posixpath
import shutil
import tarfile
import tempfile
import weakref
import zlib
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import BinaryIO, TypeAlias, cast

from dsguard.datasets.folder import distinct
from dsguard.datasets.images import is_image_name
from dsguard.datasets.place import LocalPlace, Place, is_hidden
from dsguard.datasets.source import (
    CHUNK_BYTES,
    CHUNK_IMAGES,
    Extras,
    Part,
    Rows,
    Source,
    check_size,
    class_of,
    safe_name,
)
from dsguard.errors import DsguardError, InputError

BLOCK = 512
CLASS_NAME = "classname.txt"
"""Field of a sample for the name of its class, where ``cls`` has its number."""

_FILE, _LINKS, _EXTENDED = b"0\0007", b"12", b"LKxg"
_SYMBOLIC = _LINKS[1]
_LONG_NAME, _LONG_LINK, _PAX, _PAX_GLOBAL = _EXTENDED

Content: TypeAlias = "mmap.mmap | bytes"
"""An archive without its compression."""
_DAMAGE = (EOFError, OSError, ValueError, lzma.LZMAError, zlib.error)


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


@dataclass
class Kept:
    """A member that goes along as it is, or the place of an image among others.

    Attributes
    ----------
    sample : str
        Key of its WebDataset sample: the name up to the first dot of its last part.
    name : str
    data : bytes or None
        None for an image.
    row : int
        Of an image.
    """

    sample: str
    name: str
    data: bytes | None = None
    row: int = -1


@dataclass
class Samples:
    """The members of some rows, in the order of the archive."""

    members: list[Kept] = field(default_factory=list)


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
    while not stop or begin < stop:
        header = archive[position : position + BLOCK]
        if len(header) < BLOCK:
            msg = "it stops where a member or the end of the archive should be"
            raise InputError(msg)
        if header[0] == 0 and not header.strip(b"\0"):
            return
        _check(header)
        kind, length = header[156], _number(header[124:136])
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
            check_size(length)
            content = archive[data : data + length]
            if kind == _PAX:
                given = dict(_pax(content))
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
            name, link, size = "", "", -1
            begin = position


def _check(header: bytes) -> None:
    checked = header[148:156]
    if (_number(checked) - (_sum(header) - _sum(checked) + 8 * 32)) % _ADLER_MODULUS:
        raise _bad_header()


def _sum(data: bytes) -> int:
    """Return the sum of bytes, modulo `_ADLER_MODULUS`, ten times as soon as `sum` does."""
    return (zlib.adler32(data) & 0xFFFF) - 1


_ADLER_MODULUS = 65521


def _check_end(position: int, end: int) -> None:
    if position > end:
        msg = "it stops within a member"
        raise InputError(msg)


def _number(text: bytes) -> int:
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


def _pax(content: bytes) -> Iterator[tuple[str, str]]:
    start = 0
    while start < len(content):
        space = content.find(b" ", start, start + 20)
        length = _decimal(content[start : max(space, start)].decode("latin-1"))
        stop = start + length
        if not space < stop <= len(content):
            raise _bad_header()
        key, _, value = content[space + 1 : stop].rstrip(b"\n").partition(b"=")
        yield key.decode("utf-8", "replace"), value.decode("utf-8", "surrogateescape")
        start = stop


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


class TarSource(Source):
    """One tar archive, or a folder of WebDataset shards.

    Parameters
    ----------
    place : Place
    files : list of str
        The archives.
    sharded : bool
        Whether they are shards, each of them a part; names then begin with that of their shard.
    """

    def __init__(self, place: Place, files: list[str], *, sharded: bool) -> None:
        super().__init__(place)
        self.archives = files
        self.sharded = sharded
        self.kind = "webdataset" if sharded else "archive"  # type: ignore[misc]
        self._unpacked: dict[str, Path] = {}
        self._damaged: set[str] = set()

    def __str__(self) -> str:
        return str(self.place) if self.sharded else str(Path(str(self.place), self.archives[0]))

    def names(self) -> list[str]:
        found = [
            self._named(file, member.name)
            for file, members in self._all.items()
            for member in members
            if _is_shown_image(member.name)
        ]
        return distinct(found, str(self))

    def parts(self, size: int, wanted: Collection[str] | None = None) -> list[Part]:
        if self.sharded and wanted is None:
            return [Part(file) for file in self.archives]
        chosen = None if wanted is None else set(wanted)
        return [
            part
            for file, members in self._all.items()
            for part in self._cut(file, members, size, chosen)
        ]

    def _cut(
        self, file: str, found: list[Member], size: int, wanted: set[str] | None
    ) -> Iterator[Part]:
        """Yield runs of members with `size` images each, that begin and end between samples.

        A damaged archive has a run that goes on to the damage, so that whoever reads it may say so.
        """
        size = len(found) + 1 if self.sharded else size
        start, names, sample = 0, list[str](), ""
        for member in found:
            if len(names) >= size and sample_of(member.name) != sample:
                yield Part(file, start, member.start, None if wanted is None else tuple(names))
                start, names = member.start, []
            name = self._named(file, member.name)
            if _is_shown_image(name) and (wanted is None or name in wanted):
                names.append(name)
                sample = sample_of(member.name)
        if names or file in self._damaged:
            yield Part(file, start, 0, None if wanted is None else tuple(names))

    @cached_property
    def _all(self) -> dict[str, list[Member]]:
        """The members of each archive, of a damaged shard those before the damage."""
        found: dict[str, list[Member]] = {}
        for file in self.archives:
            found[file] = []
            try:
                for member in self._members(Part(file)):
                    found[file].append(member)
            except InputError:
                if not self.sharded:
                    raise
                self._damaged.add(file)
        return found

    @cached_property
    def _by_name(self) -> dict[str, dict[str, Member]]:
        return {
            file: {posixpath.normpath(m.name): m for m in members}
            for file, members in self._all.items()
        }

    def _named(self, file: str, name: str) -> str:
        return self.shown(file, safe_name(name, self))

    def shown(self, file: str, name: str) -> str:
        """Return what the image in a member is called."""
        return f"{shard_name(file)}/{name}" if self.sharded else name

    def as_file(self, name: str, class_name: str) -> str:
        return super().as_file(name, class_name) if self.sharded else name

    def _members(self, part: Part) -> Iterator[Member]:
        try:
            with self._content(part.file) as archive:
                yield from members(archive, part.start, part.stop)
        except _DAMAGE as error:
            raise _damaged(self._path(part.file), error) from error

    def _path(self, file: str) -> str:
        return str(Path(str(self.place), file))

    @contextlib.contextmanager
    def _content(self, file: str) -> Iterator[Content]:
        """Yield an archive without its compression."""
        with self._local(file) as opened:
            unpack = _unpacker(opened.read(6))
            opened.seek(0)
            if unpack is not None:  # a shard: small, and unpacked by whoever works on it
                yield unpack(opened).read()
            elif not opened.read(1):
                yield b""
            else:
                with mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as content:
                    yield content

    @contextlib.contextmanager
    def _local(self, file: str) -> Iterator[BinaryIO]:
        """Open an archive as a file of this machine; a large compressed one is unpacked first."""
        if file not in self._unpacked or not self._unpacked[file].exists():
            with self.place.open(file) as opened:
                unpack = None if self.sharded else _unpacker(opened.read(6))
                opened.seek(0)
                if unpack is None and isinstance(self.place, LocalPlace):
                    yield opened
                    return
                with self._new_file() as plain:
                    shutil.copyfileobj(unpack(opened) if unpack else opened, plain, 1 << 20)
                    self._unpacked[file] = Path(plain.name)
        with self._unpacked[file].open("rb") as opened:
            yield opened

    def _new_file(self) -> BinaryIO:
        folder = tempfile.mkdtemp(prefix="dsguard-")
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        return Path(folder, "archive.tar").open("wb")

    def rows(self, part: Part) -> Iterator[Rows]:
        wanted = None if part.names is None else set(part.names)
        chunk = _Chunk(self, part.file)
        sample, seen = "", set[str]()
        with self._content(part.file) as archive:
            found = members(archive, part.start, part.stop)
            while True:
                try:
                    member = next(found, None)
                    if member is None:
                        break
                    member.name = safe_name(member.name, self)
                    key = sample_of(member.name)
                    if key != sample:
                        if self.sharded and key in seen:
                            raise _scattered(self._path(part.file), key)
                        seen.add(key)
                        if chunk.is_full():
                            yield chunk.rows()
                            chunk = _Chunk(self, part.file)
                    sample = key
                    chunk.add(member, key, archive, wanted)
                except _DAMAGE as error:
                    if chunk.names:
                        chunk.cut_off(sample)
                        yield chunk.rows()
                    raise _damaged(self._path(part.file), error) from error
        if chunk.names or chunk.samples.members:
            yield chunk.rows()

    def linked(self, file: str, member: Member) -> Member:
        """Return the member that a link leads to."""
        known = self._by_name[file]
        for _ in range(16):
            if not member.link:
                return member
            target = known.get(posixpath.normpath(member.link))
            if target is None:
                break
            member = target
        msg = f"is a link to {member.link!r}, which is not in the archive"
        raise InputError(msg)


class _Chunk:
    """Rows in the making."""

    def __init__(self, source: TarSource, file: str) -> None:
        self._source, self._file = source, file
        self.names: list[str] = []
        self.files: list[bytes | DsguardError] = []
        self.samples = Samples()
        self._held = 0

    def is_full(self) -> bool:
        return len(self.names) >= CHUNK_IMAGES or self._held >= CHUNK_BYTES

    def add(self, member: Member, sample: str, archive: Content, wanted: set[str] | None) -> None:
        if is_hidden(member.name):
            return
        if not is_image_name(member.name):
            if not member.link:
                check_size(member.size)
                data = _content(archive, member)
                self._held += len(data)
                self.samples.members.append(Kept(sample, member.name, data))
            return
        name = self._source.shown(self._file, member.name)
        if wanted is not None and name not in wanted:
            return
        try:
            target = self._source.linked(self._file, member) if member.link else member
            check_size(target.size)
            image: bytes | DsguardError = _content(archive, target)
        except InputError as error:
            image = error
        self.samples.members.append(Kept(sample, member.name, None, len(self.names)))
        self.names.append(name)
        self.files.append(image)
        self._held += len(image) if isinstance(image, bytes) else 0

    def cut_off(self, sample: str) -> None:
        """Take the sample right before damage for lost: a part of it may be."""
        for kept in self.samples.members:
            if self._source.sharded and kept.sample == sample and kept.data is None:
                self.files[kept.row] = InputError(
                    "lies right before the damage of its shard, which may have had more of it"
                )

    def rows(self) -> Rows:
        extras = self._extras()
        mine: list[Extras] = [{} for _ in self.names]
        for kept in self.samples.members:
            if kept.data is None:
                mine[kept.row] = extras.get(kept.sample, {})
        classes = [""] * len(mine)
        for kept in self.samples.members:
            if kept.data is None:
                classes[kept.row] = _class(kept.name, mine[kept.row])
        return Rows(self.names, classes, self.files, record=self.samples, extras=mine.__getitem__)

    def _extras(self) -> dict[str, Extras]:
        found: dict[str, Extras] = {}
        for kept in self.samples.members:
            if kept.data is not None:
                suffix = kept.name[len(kept.sample) :].lstrip(".")
                found.setdefault(kept.sample, {})[suffix] = kept.data
        return found


def _content(archive: Content, member: Member) -> bytes:
    return archive[member.data : member.data + member.size]


def _class(name: str, extras: Extras) -> str:
    """Return the class of a sample: its ``cls``, the label in its ``json``, or its folder.

    The folder is one of the archive: shards are no classes.
    """
    if CLASS_NAME in extras:
        return extras[CLASS_NAME].decode("utf-8", "replace").strip()
    if "cls" in extras:
        return extras["cls"].decode("utf-8", "replace").strip()
    with contextlib.suppress(ValueError, UnicodeDecodeError):
        given = json.loads(extras.get("json", b"null"))
        if isinstance(given, dict) and isinstance(given.get("label"), str | int):
            return str(given["label"])
    return class_of(name)


def _is_shown_image(name: str) -> bool:
    return is_image_name(name) and not is_hidden(name.removeprefix("./"))


def sample_of(name: str) -> str:
    """Return the key of the WebDataset sample that a member belongs to."""
    folder, slash, file = name.rpartition("/")
    return folder + slash + file.split(".", 1)[0]


def shard_name(file: str) -> str:
    """Return the name of a shard without the suffixes of an archive."""
    for suffix in (".gz", ".xz", ".bz2", ".tgz", ".tar"):
        file = file.removesuffix(suffix)
    return file


def is_tar(place: Place, file: str) -> bool:
    """Tell whether a file begins as an archive does, compressed or not."""
    try:
        with place.open(file) as opened:
            unpack = _unpacker(opened.read(6))
            opened.seek(0)
            header = (unpack(opened) if unpack else opened).read(BLOCK)
        _check(header.ljust(BLOCK, b"\0"))
    except (DsguardError, *_DAMAGE):
        return False
    return len(header) == BLOCK


def _unpacker(start: bytes) -> Callable[[BinaryIO], BinaryIO] | None:
    """Return what reads the compression that a file of this beginning has."""
    if start[:2] == b"\x1f\x8b":
        return lambda file: cast("BinaryIO", gzip.GzipFile(fileobj=file))
    if start[:3] == b"BZh":
        return lambda file: cast("BinaryIO", bz2.BZ2File(file))
    if start == b"\xfd7zXZ\0":
        return lambda file: cast("BinaryIO", lzma.LZMAFile(file))
    return None


def _scattered(path: str, sample: str) -> InputError:
    return InputError(
        f"{path} has members of sample {sample!r} in two places; pack it anew with the members of "
        "each sample side by side, as WebDataset wants them (tar --sort=name)"
    )


def _damaged(path: str, error: Exception) -> InputError:
    reason = error.message if isinstance(error, DsguardError) else error
    if isinstance(error, InputError) and path in error.message:
        return error
    return InputError(f"{path} is damaged or truncated: {reason}")
