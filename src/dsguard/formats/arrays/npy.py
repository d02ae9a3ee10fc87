"""Arrays as NumPy keeps them: ``.npy`` files, and ``.npz`` archives of them.

The header of an array says what it is. It is read first, and the rest only where it is wanted.
"""

from __future__ import annotations

import contextlib
import io
import math
import os
import sys
import weakref
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import IO, TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from dsguard.errors import DsguardError, InputError, raise_if_of_machine
from dsguard.formats.limits import MOST_BYTES, most_unpacked
from dsguard.formats.places import LocalPlace, Place
from dsguard.formats.sealing import UnsealedInTurn, numbered_name

if TYPE_CHECKING:
    from dsguard.formats.sealing import Entries

Array: TypeAlias = npt.NDArray[Any]

MOST_NPZ_BYTES = 1 << 33
"""What is read of an ``.npz`` file unpacks to no more than this."""
_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_MOST_DIMENSIONS = 32  # of arrays with any version of NumPy
_HEADER_BYTES = 1 << 14
"""Headers are shorter; NumPy itself takes no more than 10,000 characters of one."""


class Header(NamedTuple):
    """The shape and type of an array."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def nbytes(self) -> int:
        """Bytes of its content; nothing, and an empty value, count as one."""
        return max(1, math.prod(self.shape)) * max(1, self.dtype.itemsize)

    def blank(self) -> Array:
        """Return an array like it without its content, which takes no memory."""
        return np.broadcast_to(np.zeros((), self.dtype), self.shape)


class Npz(Mapping[str, Array]):
    """The arrays of an ``.npz`` file by name, each of them read when it is asked for, and kept.

    Attributes
    ----------
    size : int
        Bytes of the file.

    Raises
    ------
    InputError
        Where the file, or an entry that is asked for, is damaged, holds Python objects, or
        unpacks to too much.
    """

    def __init__(self, place: Place, file: str) -> None:
        self._path = f"{place}/{file}"
        self._headers: dict[str, Header] = {}
        self._arrays: dict[str, Array] = {}
        self._unpacked = 0
        with _told(self._path):
            opened = place.open(file)
            weakref.finalize(self, opened.close)
            self.size = opened.seek(0, os.SEEK_END)
            self._archive = zipfile.ZipFile(opened)
        members = self._archive.infolist()
        self._members = {member.filename.removesuffix(".npy"): member for member in members}
        if len(self._members) < len(members):  # NumPy would show one of both
            counts = Counter(member.filename.removesuffix(".npy") for member in members)
            twice = next(name for name, count in counts.items() if count > 1)
            msg = f"{self._path} has two arrays {twice[:80]!r}; save it anew"
            raise InputError(msg)

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)

    def __contains__(self, name: object) -> bool:
        return name in self._members

    def __getitem__(self, name: str) -> Array:
        if name not in self._arrays:
            self._arrays[name] = self._read(name)
        return self._arrays[name]

    def header(self, name: str) -> Header:
        """Return what an array is, without reading it."""
        if name not in self._headers:
            with self._entry(name) as entry:
                self._headers[name] = read_header(entry)
        return self._headers[name]

    def reason_against(self, name: str) -> str:
        """Return why an array is not to be read: it is too large; empty where it may be."""
        said, most = self.header(name).nbytes, most_unpacked(self.size, MOST_NPZ_BYTES)
        if name in self._arrays or said <= most - self._unpacked:
            return ""
        return (
            f"unpacks to {said} bytes, which takes its file over the {most} that it may unpack to"
        )

    def raw(self, name: str) -> bytes:
        """Return an array as its entry has it, header and content; it is not kept."""
        size = math.prod(self.header(name).shape) * self.header(name).dtype.itemsize
        with self._entry(name) as entry:
            data = entry.read(_HEADER_BYTES + size)
            content = io.BytesIO(data)
            _to_content(content)
            if len(data) - content.tell() < size:
                msg = "it is shorter than its header says"
                raise ValueError(msg)
            return data

    def _read(self, name: str) -> Array:
        if reason := self.reason_against(name):
            msg = f"{self.shown(name)} {reason}; take it out, or save it as an .npy file"
            raise InputError(msg)
        self._unpacked += self.header(name).nbytes
        with self._entry(name) as entry:
            array: Array = np.lib.format.read_array(entry, allow_pickle=False)
            if entry.read(1):
                msg = "it is longer than its header says"
                raise ValueError(msg)
            _check_text(array)
        return array

    def shown(self, name: str) -> str:
        """Return what an entry is called in messages."""
        return f"entry {name[:80]!r} of {self._path}"

    @contextlib.contextmanager
    def _entry(self, name: str) -> Iterator[IO[bytes]]:
        member = self._members[name]
        with _told(self.shown(name)):
            if member.compress_type not in _COMPRESSIONS:
                msg = "it is compressed as NumPy does not; save it with numpy.savez"
                raise ValueError(msg)
            with self._archive.open(member) as entry:
                yield entry


class SealedArrays(UnsealedInTurn):
    """The arrays that were sealed beside an ``.npz`` file.

    Parameters
    ----------
    entries : Entries
    published : callable
        Return the names of the arrays that the file has.
    is_whole : bool
        Whether all images of the file are read.

    Raises
    ------
    InputError
        If one is no array, or holds Python objects.
    """

    def __init__(
        self,
        entries: Entries,
        published: Callable[[], Iterable[str]] = tuple,
        *,
        is_whole: bool = True,
    ) -> None:
        super().__init__(is_whole=is_whole)
        self._published = published
        self._found: list[tuple[int, str, Array]] = []
        for entry in entries:
            place, name = numbered_name(entry)
            with _told(f"the sealed array {name[:80]!r}"):
                data = io.BytesIO(entries[entry])
                header = read_header(data)
                if math.prod(header.shape) * header.dtype.itemsize > entries.size():
                    msg = "it is shorter than its header says"
                    raise ValueError(msg)
                data.seek(0)
                array: Array = np.lib.format.read_array(data, allow_pickle=False)
                _check_text(array)
                self._found.append((place, name, array))
        self._found.sort(key=lambda found: found[:2])
        self._left = [name for _, name, _ in self._found]

    def among(self, arrays: dict[str, Array]) -> dict[str, Array]:
        """Return arrays with those that were sealed, each where it was."""
        names, found = list(arrays), dict(arrays)
        for place, name, array in self._placed(arrays):
            found[name] = array
            names.insert(min(max(place, 0), len(names)), name)
        return {name: found[name] for name in names}

    def _placed(self, published: Iterable[str]) -> list[tuple[int, str, Array]]:
        """Return the arrays that have a place beside these; the others are left."""
        taken, placed = set(published), list[tuple[int, str, Array]]()
        self._left = []
        for place, name, array in self._found:
            if name in taken:
                self._left.append(name)
            else:
                placed.append((place, name, array))
            taken.add(name)
        self.used += len(placed)
        return placed

    def look_through(self) -> None:
        self._placed(self._published())

    def left(self) -> Iterator[tuple[str, str]]:
        for name in self._left:
            yield name, "only a file of arrays has room for it, and one of each name"


def without_arrays(
    data: bytes,
    file: str,
    is_dropped: Callable[[str], bool],
    left_of: Callable[[str, bytes], bytes | None],
) -> bytes:
    """Return an ``.npz`` file without some arrays; the very same where it has none of them.

    Parameters
    ----------
    data : bytes
    file : str
        What it is called in messages.
    is_dropped : callable
        Tells of the name of an array whether it is dropped.
    left_of : callable
        Returns what is left of an entry, of its name and bytes; None where nothing is.

    Raises
    ------
    InputError
        If it is damaged, unpacks to too much, or has something else in it.
    """
    kept, left, changed = io.BytesIO(), most_unpacked(len(data), MOST_BYTES), False
    with _told(file), zipfile.ZipFile(io.BytesIO(data)) as given, zipfile.ZipFile(kept, "w") as out:
        for member in given.infolist():
            name = member.filename.removesuffix(".npy")
            if name == member.filename or member.compress_type not in _COMPRESSIONS:
                msg = "it has what NumPy does not write"
                raise ValueError(msg)
            if is_dropped(name):
                changed = True
                continue
            with given.open(member) as entry:
                content = entry.read(left + 1)
            left -= len(content)
            if left < 0:
                msg = "unpacks to too much"
                raise ValueError(msg)
            new = left_of(member.filename, content)
            changed |= new is not content
            if new is not None:
                out.writestr(zipfile.ZipInfo(member.filename), new, member.compress_type)
    return kept.getvalue() if changed else data


def load_npy(place: Place, file: str) -> Array:
    """Return the array of an ``.npy`` file; that of a local one stays on disk.

    Raises
    ------
    InputError
        If it is damaged or holds Python objects.
    """
    with _told(f"{place}/{file}"), place.open(file) as opened:
        header = read_header(opened)
        opened.seek(0)
        is_text = header.dtype.kind == "U"
        if not isinstance(place, LocalPlace) or is_text or not math.prod(header.shape):
            array: Array = np.lib.format.read_array(opened, allow_pickle=False)
            _check_text(array)
            return array
        shape, is_fortran, dtype = _to_content(opened)
        order: Literal["C", "F"] = "F" if is_fortran else "C"
        # Of the file that was opened, not of what may lie under its name by now.
        return np.memmap(opened, dtype, "r", opened.tell(), shape, order)


def _to_content(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Go behind the header of a file, at its start; return shape, order and type."""
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(file)
    return np.lib.format.read_array_header_2_0(file)  # later ones differ in names of fields alone


def check_alone(place: Place, file: str) -> None:
    """Refuse an ``.npy`` file that has more behind its array, which readers of it do not see.

    `numpy.save` writes one array after the other into an open file.

    Raises
    ------
    InputError
    """
    with _told(f"{place}/{file}"), place.open(file) as opened:
        header = read_header(opened)
        opened.seek(0)
        _to_content(opened)
        opened.seek(opened.tell() + header.nbytes)
        if opened.read(1):
            msg = "it has more behind its array; save each in a file of its own, or all as .npz"
            raise ValueError(msg)


def _check_text(array: Array) -> None:
    """Refuse characters that there are not, which Python fails at whenever it looks at them."""
    if array.dtype.kind != "U" or not array.size:
        return
    codes = np.ascontiguousarray(array).view(f"{array.dtype.byteorder}u4")
    if codes.max() > sys.maxunicode:
        msg = "it has characters that there are not"
        raise ValueError(msg)


def read_header(file: IO[bytes]) -> Header:
    """Return the header that a file begins with.

    Raises
    ------
    ValueError, or what NumPy and Python's parser raise
        If it is damaged, or of Python objects.
    """
    start = io.BytesIO(file.read(_HEADER_BYTES))  # a header can claim to have gigabytes itself
    version = np.lib.format.read_magic(start)
    start.seek(0)
    shape, _, dtype = _to_content(start)
    good = version in {(1, 0), (2, 0), (3, 0)} and len(shape) <= _MOST_DIMENSIONS
    if not good or min(shape, default=0) < 0:
        msg = "its header is of an unknown layout"
        raise ValueError(msg)
    if dtype.hasobject:
        msg = "it holds Python objects, which could run commands; save it as numbers or strings"
        raise ValueError(msg)
    return Header(shape, dtype)


@contextlib.contextmanager
def _told(what: str) -> Iterator[None]:
    """Have whatever goes wrong told as one error that names the file."""
    try:
        yield
    except DsguardError:
        raise
    except Exception as error:  # zipfile, zlib, NumPy and Python's parser fail in many ways
        raise_if_of_machine(error, what)
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        msg = f"{what} is damaged, or holds what dsguard does not load: {reason}"
        raise InputError(msg) from error
