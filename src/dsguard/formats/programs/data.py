"""Files that hold data alone: nothing that reads them runs what is in them.

Whatever is published can be changed or added by anybody on its way. So only files that are known to
be data come back of what was not sealed; of all others nobody can tell what some reader does.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Mapping
from typing import BinaryIO, TypeAlias

from dsguard.formats.beside import COMPANIONS, FIELDS, TEXTS
from dsguard.formats.images import has_image_suffix, with_suffix
from dsguard.formats.programs.pickled import holds_pickle
from dsguard.formats.programs.postscript import IPTC, is_postscript
from dsguard.formats.programs.starts import is_array
from dsguard.formats.programs.tables import ARROW_FILES, PARQUET_FILES, STARTS
from dsguard.formats.programs.texts import holds_program, is_run_by_name
from dsguard.formats.programs.unpacked import SEEN, is_packed, start_of

A_PROGRAM = (
    "could be a program, and was not sealed: anybody can have put it there. It does not come back; "
    "take it from the published data yourself if you trust its author"
)

OF_ANY_KEY = (
    "could be a program, and keys of images do not tell whether the owner sealed it. It does not "
    "come back; restore with the key of the dataset, or ask its owner for it"
)

A_TYPE = (
    "says that it is of a type of some package, which readers run, and that was not sealed: "
    "anybody can have put it there. It comes back without the type; take it from the published "
    "data yourself if you trust its author"
)

Check: TypeAlias = Callable[[str, bytes, BinaryIO], bool]
"""Tells by the suffix, the start and the whole of a file whether it is of a kind."""

_TEXTS = (
    {suffix[1:] for suffix in COMPANIONS if suffix != ".toml"}  # which programs are set up by
    | {*FIELDS, "", "bib", "geojson", "list", "log", "lst", "names", "rst", "srt", "vtt"}
    | {"sha1", "sha256", "sha512"}
)
_TEXTS_BY_NAME = {*TEXTS, "AUTHORS", "CHANGELOG", "CITATION", "COPYING", "MD5SUMS", "SHA256SUMS"}
_SOUND = ("aac", "flac", "m4a", "mp3", "oga", "ogg", "opus", "wav")
_FILM = ("avi", "m4v", "mkv", "mov", "mp4", "mpeg", "mpg", "webm")
_PACKED_IMAGE = ".nii.gz"
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
_IMAGES = re.compile(
    rb"\xff\xd8\xff|\x89PNG|GIF8|RIFF....WEBP|BM|II[*+]\x00|MM\x00[*+]|P[1-7]\s|P[Ff]\s|....ftyp"
    rb"|\x00\x00\x00\x0cjP  |\xff\x4f\xff\x51|\xff\x0a|\x00\x00\x00\x0cJXL |\x76\x2f\x31\x01"
    rb"|\x00\x00[\x01\x02]\x00|8BPS|\x01\xda|\x0a[\x00-\x05]\x01|FUJIFILM|II(?:RO|RS|U\x00)|MMOR"
    rb"|NRRD000|(?:ObjectType|NDims) *=|\x5c\x01\x00\x00|\x00\x00\x01\x5c|\x1c\x02\x00\x00"
    rb"|\x00\x00\x02\x1c|.{128}DICM",
    re.DOTALL,
)
"""How images of the kinds begin that are read or can be carried."""
_FILMS = re.compile(
    rb"RIFF....(?:WAVE|AVI )|....(?:ftyp|moov|mdat|free|wide|skip)|\x1aE\xdf\xa3|OggS|fLaC|ID3"
    rb"|\xff[\xe0-\xff]|\x00\x00\x01[\xb3\xba]",
    re.DOTALL,
)
"""How sound and films begin; a list for players is a text, and leads elsewhere."""
_POINTS = {"flo": b"PIEH", "pcd": b"# .PCD", "ply": b"ply"}
"""How optical flow and clouds of points begin."""


def is_data(name: str, content: bytes | BinaryIO) -> bool:
    r"""Tell whether a file, a member or a field is of a kind that is known to be data alone.

    These are texts, images, sound and films, arrays of numbers, tables of Parquet and Arrow without
    types of packages, and points; the name has to tell which, and the content to be so.

    Parameters
    ----------
    name : str
        Of a field, that of the file that it would be.
    content : bytes or binary file
        All of it; a file is at its start.

    >>> is_data("a.txt", b"cat"), is_data("cls", b"3"), is_data("run.sh", b"ls")
    (True, True, False)
    >>> is_data("a.txt", b"\x80\x04K\x01."), is_data("a.jpg", b"%!PS-Adobe")
    (False, False)
    """
    file_name = name.rpartition("/")[2]
    if file_name.endswith((".", " ")):  # some systems drop these, and it has another suffix
        return False
    suffix = file_name.rpartition(".")[2].lower()
    check = _check_of(file_name, suffix)
    if check is None or is_run_by_name(name):
        return False
    file = io.BytesIO(content) if isinstance(content, bytes) else content
    if holds_pickle(name, file):
        return False
    file.seek(0)
    start = file.read(SEEN)
    whole = start + file.read() if start[:1] == IPTC else start  # any number of fields come first
    return not start or (not is_postscript(whole) and check(suffix, start, file))


def programs_among(fields: Mapping[str, bytes], image: str) -> dict[str, str]:
    """Return the fields of an image that could be programs, and the names of their files."""
    return programs_of_stem(fields, with_suffix(image, ""))


def programs_of_stem(fields: Mapping[str, bytes], stem: str) -> dict[str, str]:
    """Return the same of fields whose files are called after a stem."""
    files = {name: f"{stem}.{name}" if name else stem for name in fields}
    return {name: file for name, file in files.items() if not is_data(file, fields[name])}


def _check_of(name: str, suffix: str) -> Check | None:
    """Return the check for a kind of file, None where the kind is not known to be data."""
    if name.lower().endswith(_PACKED_IMAGE):
        return _is_packed_image
    if has_image_suffix(name) or has_image_suffix(f".{suffix}"):
        return _is_image
    if suffix in _TEXTS or name in _TEXTS_BY_NAME:
        return _is_text
    return _CHECKS.get(suffix)


def _is_text(suffix: str, start: bytes, file: BinaryIO) -> bool:
    is_wide = json.detect_encoding(start) not in ("utf-8", "utf-8-sig")  # then it has zero bytes
    if is_packed(file, "") or (not is_wide and _CONTROL.search(start)):
        return False
    return not holds_program(suffix, file)


def _is_image(_suffix: str, start: bytes, _file: BinaryIO) -> bool:
    return _IMAGES.match(start) is not None


def _is_packed_image(_suffix: str, _start: bytes, file: BinaryIO) -> bool:
    unpacked = start_of(file)
    return unpacked is not None and _IMAGES.match(unpacked) is not None


def _is_film(_suffix: str, start: bytes, _file: BinaryIO) -> bool:
    return _FILMS.match(start) is not None


def _is_array(_suffix: str, start: bytes, _file: BinaryIO) -> bool:
    return is_array(start)


def _is_archive_of_arrays(_suffix: str, start: bytes, _file: BinaryIO) -> bool:
    return start.startswith(b"PK\3\4")  # its entries were looked at as pickles


def _is_of_points(suffix: str, start: bytes, _file: BinaryIO) -> bool:
    return start.startswith(_POINTS[suffix])


def _is_of_tensors(_suffix: str, start: bytes, _file: BinaryIO) -> bool:
    return start[4:9] == b"\0\0\0\0{"  # the length of the JSON that follows


def _is_table(_suffix: str, start: bytes, file: BinaryIO) -> bool:
    return start[:4] in STARTS and not is_packed(file, "")


_CHECKS: dict[str, Check] = {
    "dsguard": _is_image,  # sealed files, of which some have a spare copy
    "npy": _is_array,
    "npz": _is_archive_of_arrays,
    "safetensors": _is_of_tensors,
    **dict.fromkeys(_POINTS, _is_of_points),
    **dict.fromkeys((*PARQUET_FILES, *ARROW_FILES), _is_table),
    **dict.fromkeys((*_SOUND, *_FILM), _is_film),
}
