"""Fields of a shard that are not published: sealed beside it, piece by piece, and had again.

A piece is an image that carries a tar archive, as `sealed_files` makes them. A value that is too
long for what is left of one goes on in the next, under the same name. The name of the archive tells
whether another follows, and has a digest of all pieces before it: none can be left out or exchanged
unnoticed. The last piece ends with digests of the images that were published beside them, so that
all pieces of another shard or run are noticed as well; a shard may be renamed with its pieces.
"""

from __future__ import annotations

import hashlib
import itertools
import re
import tempfile
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from dsguard._atomic import temporary_folder
from dsguard.bulk.sealed_files import (
    ARCHIVE,
    MOST_BYTES,
    SEALED_FILES,
    is_sealed,
    opened_archive,
    sealed_archive,
    start_of,
)
from dsguard.errors import DsguardError, InputError, TamperedError
from dsguard.formats.folder.reader import read_or_error
from dsguard.formats.limits import MOST_BYTES as MOST_OF_VALUE
from dsguard.formats.names import fault_of, shard_name
from dsguard.formats.sealing import (
    DIGEST_BYTES,
    SEALED_FIELDS,
    Entries,
    Sealer,
    digest_of,
    has_sealed,
    unmarked,
)

if TYPE_CHECKING:
    from dsguard.formats.base import Source
    from dsguard.formats.places import Place
    from dsguard.keys import DatasetKey, KeySource

PIECE_BYTES = 8 << 20
"""Of what is sealed in one piece: making it takes some ten times as much memory."""
_MORE = "more.tar"  # of a piece that others follow
_LAST = "fields.tar"
_IMAGES = "images"  # the member with digests of images: names of entries have a "/"
_IN_MEMORY = 1 << 24  # beyond that, a temporary file


def pieces_of(file: str, number: int) -> tuple[str, str]:
    """Return what the pieces of a shard are called before and after their number.

    Parameters
    ----------
    file : str
        The file of the shard; its fields are in the pieces. Empty where each image has its own:
        then whole files are.
    number : int
        Of the shard.
    """
    return (shard_name(file), SEALED_FIELDS) if file else (f"{number:05d}", SEALED_FILES)


def is_of_fields(name: str) -> bool:
    """Tell whether this is the name of a piece with fields."""
    return name.endswith(f".{SEALED_FIELDS}")


def is_own(name: str) -> bool:
    """Tell whether this is the name of a file that holds something sealed."""
    return is_sealed(name) or is_of_fields(name)


class _Chain:
    """Pieces in their order: each is called after all that is in those before it."""

    def __init__(self) -> None:
        self._before = ""

    def name(self, end: str) -> str:
        """Return what the archive of the next piece is called."""
        return f"{self._before}.{end}" if self._before else end

    def add(self, files: Iterable[tuple[str, bytes]]) -> None:
        """Add what the next piece holds."""
        digest = hashlib.sha256(self._before.encode())
        for name, data in files:
            for each in (name.encode("utf-8", "surrogateescape"), data):
                digest.update(len(each).to_bytes(8, "little"))
                digest.update(each)
        self._before = digest.hexdigest()


class PieceSealer(Sealer):
    """Takes what a shard does not publish, and writes pieces.

    Parameters
    ----------
    place : Place
    names : tuple of str
        What pieces are called before and after their number.
    key : DatasetKey
    intend : callable
        Told each name before it is written.
    """

    def __init__(
        self,
        place: Place,
        names: tuple[str, str],
        key: DatasetKey,
        intend: Callable[[set[str]], None],
    ) -> None:
        self._place, self._key, self._intend = place, key, intend
        self._start, self._end = names
        self._cuts = self._end == SEALED_FIELDS
        self._held: list[tuple[str, bytes]] = []
        self._size = 0
        self._names = set[str]()
        self._chain = _Chain()
        self._images: list[bytes] = []
        self.written: list[str] = []

    def add(self, name: str, data: bytes, count: int = 1) -> str:
        most = MOST_OF_VALUE if self._cuts else MOST_BYTES
        if len(data) > most:
            return f"is too much to be sealed: {most >> 20} MiB are the most"
        own = unmarked(name) if self._cuts else name
        if own in self._names:
            return "has the name of another that is sealed; rename it"
        self._names.add(own)
        self.count += count
        while self._held and self._size + len(data) > PIECE_BYTES:
            if self._cuts and self._size < PIECE_BYTES:
                data = self._hold(name, data)
            self._write(_MORE)
        while self._cuts and len(data) > PIECE_BYTES:
            data = self._hold(name, data)
            self._write(_MORE)
        self._held.append((name, data))
        self._size += len(data)
        return ""

    def bind(self, images: Iterable[bytes]) -> None:
        if self._cuts:
            self._images += map(digest_of, images)

    def _hold(self, name: str, data: bytes) -> bytes:
        """Hold as much as has room; return the rest."""
        room = PIECE_BYTES - self._size
        self._held.append((name, data[:room]))
        return data[room:]

    def _write(self, end: str) -> None:
        name = f"{self._start}.{len(self.written)}.{self._end}"
        self._intend({name})
        archive = self._chain.name(end) if self._cuts else ARCHIVE  # whole files need no others
        self._place.write(name, sealed_archive(self._held, self._key, archive))
        self._chain.add(self._held)
        self.written.append(name)
        self._held, self._size = [], 0

    def close(self) -> None:
        """Write the last piece."""
        if self._held and self._cuts:
            self.add(_IMAGES, b"".join(self._images), 0)
        if self._held:
            self._write(_LAST)


class PieceEntries(Entries):
    """What was sealed beside a shard, in memory or, if it is much, in a temporary file."""

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(_IN_MEMORY, dir=str(temporary_folder()))  # noqa: SIM115
        weakref.finalize(self, self._file.close)
        self._places: dict[str, list[tuple[int, int]]] = {}
        self._size = 0
        self._last = ""

    def add(self, files: dict[str, bytes]) -> None:
        """Add what a piece holds; its first goes on with the last before it, if they are alike."""
        goes_on, self._last = self._last, next(reversed(files), "")
        for number, (name, data) in enumerate(files.items()):
            if name in self._places and (number or name != goes_on):
                msg = f"has {name[:200]!r} in two places, which dsguard never seals"
                raise InputError(msg)
            self._file.seek(self._size)
            self._file.write(data)
            self._places.setdefault(name, []).append((self._size, len(data)))
            self._size += len(data)
            if sum(size for _, size in self._places[name]) > MOST_OF_VALUE:
                msg = f"has {name[:200]!r} with more than {MOST_OF_VALUE} bytes: none is as long"
                raise InputError(msg)

    def __iter__(self) -> Iterator[str]:
        return (name for name in self._places if name != _IMAGES)

    def images(self) -> list[bytes]:
        data = self[_IMAGES] if _IMAGES in self._places else b""
        starts = range(0, len(data), DIGEST_BYTES)
        return [data[start : start + DIGEST_BYTES] for start in starts]

    def size(self) -> int:
        return self._size

    def __getitem__(self, name: str) -> bytes:
        return b"".join(self._part(*place) for place in self._places[name])

    def _part(self, start: int, size: int) -> bytes:
        self._file.seek(start)
        return bytes(self._file.read(size))


def opened_fields(
    source: Source, file: str, key: DatasetKey | KeySource, names: Sequence[str] | None = None
) -> PieceEntries | None:
    """Return what was sealed beside a file of a source; None where nothing was.

    Parameters
    ----------
    source : Source
    file : str
    key : DatasetKey or KeySource
    names : sequence of str, optional
        The pieces, as `pieces_in` has them; looked for where they are not given.

    Raises
    ------
    DsguardError
        If a piece cannot be read, was changed, is missing, at another place, or of another key.
    """
    start, end = pieces_of(file, 0)
    found, number, chain = PieceEntries(), 0, _Chain()
    names = pieces_in(source).get(start, ()) if names is None else names
    if not names:
        return None
    for name in names:
        if name != f"{start}.{number}.{end}":
            break
        data: Any = read_or_error(partial(start_of, source, name))
        if isinstance(data, DsguardError):
            raise data
        archive, files = opened_archive(data, key)
        if archive not in (chain.name(_MORE), chain.name(_LAST)):
            msg = f"{name} belongs at another place, or to another run; get a whole copy"
            raise TamperedError(msg)
        found.add(files)
        if archive == chain.name(_LAST):
            return found
        chain.add(files.items())
        number += 1
    msg = f"{start}.{number}.{end} is not there, with the rest of the fields; get a whole copy"
    raise InputError(msg)


def pieces_in(source: Source) -> dict[str, tuple[str, ...]]:
    """Return the pieces in a source by the beginning of their names, in the order of their numbers.

    They are those that are listed: one that cannot be read is missed then, and not overlooked.
    """
    names: Iterable[str] = filter(is_of_fields, source.left_out())
    if source.is_file:  # what lies beside it is not listed
        found = (_asked_for(source, file) for file in source.shards())
        names = itertools.islice(itertools.chain.from_iterable(found), _MOST_PIECES)
    pieces: dict[str, list[tuple[int, str]]] = {}
    for name in names:
        start, _, number = name.removesuffix(f".{SEALED_FIELDS}").rpartition(".")
        if _NUMBER.fullmatch(number):
            pieces.setdefault(start, []).append((int(number), name))
    return {start: tuple(name for _, name in sorted(own)) for start, own in pieces.items()}


_NUMBER = re.compile("0|[1-9][0-9]{0,8}")
_MOST_PIECES = 10_000
"""Asked for by name, 80 GB together: a server may say of any name that there is such a file."""


def _asked_for(source: Source, file: str) -> Iterator[str]:
    """Yield the pieces beside a file of a source, up to the first that is missing."""
    start, end = pieces_of(file, 0)
    names = (f"{start}.{number}.{end}" for number in itertools.count())
    return itertools.takewhile(
        lambda name: not fault_of(name) and has_sealed(source.place, name), names
    )


def strays_in(source: Source) -> Iterator[str]:
    """Yield the pieces in a source that belong to none of its shards."""
    listed = set(filter(is_of_fields, source.left_out()))
    if not listed:  # as of one file: pieces are not asked for again
        return
    starts = {pieces_of(file, 0)[0] for file in source.shards()}
    own = {name for start, names in pieces_in(source).items() if start in starts for name in names}
    yield from sorted(listed - own)
