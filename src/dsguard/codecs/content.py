"""What is sealed in an image: its kind, its length, and the bytes themselves.

::

    kind (1) | length (4, little-endian) | bytes | zeros

Zeros fill what is left of the room, so the length shows only to whoever can open it.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Self

import numpy as np

from dsguard.codecs.parts import MOST_FILE_BYTES, from_parts, in_parts
from dsguard.errors import DsguardError, FormatError, InputError, TamperedError
from dsguard.kernels import kernels

if TYPE_CHECKING:
    from dsguard.kernels.contract import Images, Shape

_HEAD = struct.Struct("<BI")
_NAME = struct.Struct("<H")

_A_PROGRAM = (
    "is PostScript, a program, or IPTC/NAA, which may hold one: image libraries such as Pillow "
    "start Ghostscript on it, whatever its name is; convert it to PNG, or call it .eps"
)
_A_PICKLE = "is a pickle, which readers of datasets run, and no image; call it .pkl, as what it is"

HEAD_BYTES = _HEAD.size
MOST_CONTENT_BYTES = HEAD_BYTES + _NAME.size + 255 + MOST_FILE_BYTES


class Kind(IntEnum):
    """The kinds of contents."""

    CODED = 0
    """Samples, coded without loss."""

    RAW = 1
    """Samples as they are: those of noise do not become shorter."""

    FILE = 2
    """A file: the length of its name (2 bytes), its name in UTF-8, its bytes."""

    PARTS = 3
    """A file in parts, of which the samples are coded: as a file, with its parts for its bytes."""

    BESIDE = 4
    """An archive of the files beside the images of a dataset, in the form of a file: with a kind of
    its own no image file can pass for it."""


@dataclass(frozen=True)
class File:
    """A file to be carried as it is, in place of the samples of an image.

    Attributes
    ----------
    name : str
        Without folders; 1 to 255 bytes, in UTF-8 as a rule.
    data : bytes
        1 GiB at most; no PostScript, and no pickle.
    coded : bool
        Whether it is carried in parts where that is shorter, its samples coded as those of an image
        are: PNG files, and BMP, TIFF, PPM and PGM without compression. The same bytes come back.
    is_beside : bool
        Whether it is an archive of the files beside images, not the file of an image.

    Raises
    ------
    InputError
        If the name is none, or the file too large, or a program that readers of images would run.

    Examples
    --------
    >>> import dsguard, numpy as np
    >>> key, photo = dsguard.DatasetKey(bytes(32)), dsguard.File("a.jpg", b"bytes of a JPEG file")
    >>> room = np.zeros((1, 32, 32, 3), np.uint8)  # tells how large the published image is
    >>> out = dsguard.protect_batch(room, key, files={0: photo})
    >>> back = dsguard.restore_batch(out.images, key, on_error="report")
    >>> back.files[0].name, back.files[0].data
    ('a.jpg', b'bytes of a JPEG file')
    """

    name: str
    data: bytes
    coded: bool = field(default=False, compare=False)
    is_beside: bool = False

    def __post_init__(self) -> None:
        if not is_file_name(self.name):
            msg = f"{str(self.name)[:80]!r} is no name of a file: 1 to 255 bytes, no / and no NUL"
            raise InputError(msg)
        data: object = self.data
        if not isinstance(data, bytes) or len(data) > MOST_FILE_BYTES:
            msg = f"{self.name!r}: expected bytes, {MOST_FILE_BYTES} at most"
            raise InputError(msg)
        if not self.is_beside and (fault := fault_of(self.name, self.data)):
            msg = f"{self.name!r} {fault}"
            raise InputError(msg)

    def __repr__(self) -> str:
        """Describe it without its bytes."""
        return f"File({self.name!r}, {len(self.data)} bytes)"

    @property
    def content(self) -> bytes:
        """What is sealed of it, without the zeros; made anew each time, since it may be long."""
        parts = in_parts(self.data) if self.coded else None
        plain = Kind.BESIDE if self.is_beside else Kind.FILE
        kind, data = (plain, self.data) if parts is None else (Kind.PARTS, parts)
        name = _as_bytes(self.name)
        head = _HEAD.pack(kind, _NAME.size + len(name) + len(data))
        return head + _NAME.pack(len(name)) + name + data


def fault_of(name: str, data: bytes) -> str:
    """Return why a file may not stand in place of an image; empty where it may."""
    # Whoever carries no files needs none of this.
    from dsguard.formats.images import has_image_suffix, suffix_by_content
    from dsguard.formats.programs.pickled import holds_pickle, is_pickle
    from dsguard.formats.programs.postscript import is_postscript

    if is_postscript(data):
        return _A_PROGRAM
    loaded = name if "." in name else ""  # fields have names of that kind, files do not
    if suffix_by_content(data):  # tables call images by any name, and a pickle can begin as one
        is_safe = has_image_suffix(name) or not holds_pickle(loaded, data)
        return "" if is_safe else _A_PICKLE
    return _A_PICKLE if is_pickle(loaded, data) else ""


def is_file_name(name: object) -> bool:
    """Tell whether a name is that of a file, and not of a folder, or of a place elsewhere.

    What may be written where is for whoever writes it; here a name may be any that a file has had.
    """
    if not isinstance(name, str):
        return False
    try:
        size = len(_as_bytes(name))
    except UnicodeEncodeError:
        return False
    return 0 < size <= 255 and name not in (".", "..") and not {"/", "\0"} & {*name}


def _as_bytes(name: str) -> bytes:
    """Return a name as bytes; one that was no UTF-8 as the bytes that it was."""
    return name.encode("utf-8", "surrogateescape")


class CarriesFileError(FormatError):
    """The image carries a file, not samples.

    Attributes
    ----------
    file : File or None

    Examples
    --------
    >>> import dsguard, numpy as np
    >>> key = dsguard.DatasetKey(bytes(32))
    >>> room = np.zeros((1, 32, 32, 3), np.uint8)
    >>> out = dsguard.protect_batch(room, key, files={0: dsguard.File("a.jpg", b"a JPEG file")})
    >>> try:
    ...     dsguard.restore_batch(out.images, key)
    ... except dsguard.CarriesFileError as error:
    ...     print(error.file.name)
    a.jpg
    """

    file: File | None = None

    @classmethod
    def of(cls, file: File) -> CarriesFileError:
        """Return the error that has the file."""
        error = cls(
            f"carries the file {file.name!r} rather than samples; restore_batch(..., "
            "on_error='report') has it, and dsguard restore writes it"
        )
        error.file = file
        return error


class CarriesArchiveError(FormatError):
    """The image carries the files beside the images of a dataset, and is no image itself.

    No reader of images may be given these, whatever they begin with: so it is no
    `CarriesFileError`.

    Attributes
    ----------
    archive : File or None

    Examples
    --------
    >>> import dsguard, numpy as np
    >>> from dsguard.codecs import CarriesArchiveError
    >>> key, room = dsguard.DatasetKey(bytes(32)), np.zeros((1, 32, 32, 3), np.uint8)
    >>> files = dsguard.File("files.tar", b"an archive", is_beside=True)
    >>> out = dsguard.protect_batch(room, key, files={0: files})
    >>> try:
    ...     dsguard.restore_batch(out.images, key)
    ... except CarriesArchiveError as error:
    ...     print(error.archive.name)
    files.tar
    """

    archive: File | None = None

    @classmethod
    def of(cls, archive: File) -> CarriesArchiveError:
        """Return the error that has the archive."""
        error = cls(
            "carries files that lie beside images, and is no image; dsguard restore writes them "
            "where it is called sealed-files.dsguard"
        )
        error.archive = archive
        return error

    def to_keep(self) -> Self:
        self.archive = None
        return super().to_keep()


def contents_of(images: Images, files: Mapping[int, File] | None = None) -> list[bytes]:
    """Return what is sealed in each image, without the zeros: a file, where one is given."""
    files = files or {}
    own = [n for n in range(len(images)) if n not in files]
    contents = {n: file.content for n, file in files.items()}
    if own:
        alone = images if len(own) == len(images) else images[own]
        data, lengths = kernels().compress(alone)
        for n, stream, length in zip(own, data, lengths.tolist(), strict=True):
            if length < images[n].size:
                contents[n] = _HEAD.pack(Kind.CODED, length) + stream[:length].tobytes()
            else:
                contents[n] = _HEAD.pack(Kind.RAW, images[n].size) + images[n].tobytes()
    return [contents[n] for n in range(len(images))]


def _unpacked(data: bytes) -> tuple[str, bytes] | None:
    """Return the name of a file and what carries it, None where these bytes are none."""
    if len(data) < _NAME.size:
        return None
    (length,) = _NAME.unpack(data[: _NAME.size])
    name, rest = data[_NAME.size : _NAME.size + length], data[_NAME.size + length :]
    text = name.decode("utf-8", "surrogateescape")
    return (text, rest) if len(name) == length and is_file_name(text) else None


def _carried(contents: Mapping[int, tuple[int, bytes]]) -> dict[int, DsguardError]:
    """Return the file in each content, kind and data, as the error that has it."""
    named = {n: _unpacked(data) for n, (_, data) in contents.items()}
    parts = {n: each[1] for n, each in named.items() if each and contents[n][0] == Kind.PARTS}
    joined = from_parts(parts)
    errors: dict[int, DsguardError] = {}
    for n, each in named.items():
        data = None if each is None else joined.get(n, each[1])
        if each is None or data is None or len(data) > MOST_FILE_BYTES:
            errors[n] = TamperedError(MALFORMED)
        elif contents[n][0] == Kind.BESIDE:
            errors[n] = CarriesArchiveError.of(File(each[0], data, is_beside=True))
        else:
            errors[n] = _file_in(each[0], data)
    return errors


def _file_in(name: str, data: bytes) -> DsguardError:
    """Return the error that has a file, or that of one which may not stand in place of an image."""
    try:
        return CarriesFileError.of(File(name, data))
    except InputError:
        fault = fault_of(name, data)
    return FormatError(f"carries the file {name!r} in place of an image, which {fault}")


def lengths_in(images: Images) -> list[int]:
    """Return how many bytes the content of each image takes."""
    _, lengths = kernels().compress(images)
    return [HEAD_BYTES + min(length, images[0].size) for length in lengths.tolist()]


def content_size(content: bytes) -> int:
    """Return how many bytes a content says that it has, its zeros left out; 0 if it has no head."""
    if len(content) < HEAD_BYTES:
        return 0
    return HEAD_BYTES + int(_HEAD.unpack(content[:HEAD_BYTES])[1])


def stated_size(head: bytes, samples: int) -> int:
    """Return how many bytes a content has that begins so, its zeros left out; 0 where none does."""
    kind, length = _HEAD.unpack(head)
    most = samples if kind < Kind.FILE else MOST_CONTENT_BYTES - HEAD_BYTES
    return HEAD_BYTES + int(length) if kind <= Kind.BESIDE and length <= most else 0


def restore_contents(
    contents: dict[int, bytes], out: Images, shape: Shape
) -> dict[int, DsguardError]:
    """Write images into their places; return by index why one could not be.

    Parameters
    ----------
    contents : dict of int to bytes
        By the index of their image, zeros included; they are taken out of it.
    out : Images
    shape : tuple of int
    """
    failures: dict[int, DsguardError] = {}
    streams: dict[int, bytes] = {}
    carried: dict[int, tuple[int, bytes]] = {}
    for index in list(contents):
        content = contents.pop(index)
        if len(content) < HEAD_BYTES:
            failures[index] = TamperedError(MALFORMED)
            continue
        kind, length = _HEAD.unpack(content[:HEAD_BYTES])
        data = content[HEAD_BYTES : HEAD_BYTES + length]
        if kind > Kind.BESIDE:
            what = f"an unknown kind of content ({kind})"
            failures[index] = FormatError(f"carries {what}; update dsguard to restore it")
        elif kind >= Kind.FILE and len(data) == length:
            carried[index] = kind, data
        elif kind == Kind.CODED and len(data) == length < out[index].size:
            streams[index] = data
        elif kind == Kind.RAW and len(data) == length == out[index].size:
            out[index] = np.frombuffer(data, np.uint8).reshape(shape)
        else:
            failures[index] = TamperedError(MALFORMED)
    failures |= _carried(carried)
    if streams:
        failures |= _expand(streams, out, shape)
    return failures


MALFORMED = "holds a content that no dsguard has written; whoever made it had its key"


def _expand(streams: dict[int, bytes], out: Images, shape: Shape) -> dict[int, DsguardError]:
    lengths = np.array([len(stream) for stream in streams.values()], np.uint32)
    longest = int(lengths.max())
    joined = b"".join(stream.ljust(longest, b"\0") for stream in streams.values())
    data = np.frombuffer(joined, np.uint8).reshape(len(streams), longest)
    images, malformed = kernels().expand(data, lengths, shape)
    places = np.array(list(streams))
    out[places] = images
    return {int(i): TamperedError(MALFORMED) for i in places[malformed]}
