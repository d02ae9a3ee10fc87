"""Archives with pickles in them: zip files of torch and NumPy, tar archives of old versions."""

from __future__ import annotations

import itertools
import os
import tarfile
import zipfile
from typing import BinaryIO

from dsguard.formats.programs.starts import begins_pickle, has_objects
from dsguard.formats.programs.unpacked import MOST_SEEN, SEEN

_OF_TORCH = ("sys_info", "storages", "tensors", "pickle")
_MOST_MEMBERS = 10_000
_MOST_HEADER = 512  # bytes of an array by which its type is seen
_MOST_END = (1 << 16) + 64  # of a zip file: its last record, a comment, and what is before it


def is_zip_of_pickles(file: BinaryIO, *, is_npz: bool = False) -> bool:
    """Tell whether a zip file is one of torch, has arrays of Python objects, or one pickle alone.

    NumPy takes entries of ``.npz`` files for arrays by their content alone; pandas unpacks zip
    files that have one entry.
    """
    try:
        archive = zipfile.ZipFile(file)
    except Exception:  # NumPy cannot read it either
        return False
    with archive:
        entries = archive.infolist()
        is_odd = archive.start_dir != _told_start(file)  # readers take one directory or the other
        if is_odd or _overlap(entries) or len(entries) > _MOST_MEMBERS:
            return True
        if len(entries) == 1 and _entry_is_one(archive, entries[0]):
            return True
        return any(
            entry.filename.lower().endswith("data.pkl")
            or (
                _is_of_objects(archive, entry)
                if is_npz or entry.filename.endswith(".npy")
                else has_objects(_start_of(archive, entry, _MOST_HEADER) or b"")
            )
            for entry in entries
        )


def is_tar_of_torch(file: BinaryIO) -> bool:
    """Tell whether a file is a tar archive as torch wrote them before version 0.4."""
    file.seek(0)
    header = file.read(tarfile.BLOCKSIZE)
    if not header[148:154].strip(b" \0").isdigit():  # no checksum: most files are told by this
        return False
    try:
        tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape")
        file.seek(0)
        with tarfile.open(fileobj=file, mode="r:") as archive:
            members = itertools.islice(archive, _MOST_MEMBERS)
            return any(member.name.rpartition("/")[2] in _OF_TORCH for member in members)
    except (tarfile.TarError, OSError, ValueError):
        return False


def _overlap(entries: list[zipfile.ZipInfo]) -> bool:
    """Tell whether entries of a zip file lie in each other: a short one could have any number."""
    places = sorted((each.header_offset, each.compress_size) for each in entries)
    return any(start + size > other for (start, size), (other, _) in itertools.pairwise(places))


def _told_start(file: BinaryIO) -> int:
    """Return where the record at the end of a zip file says that its directory is; -1 nowhere."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _MOST_END))
    end = file.read()
    place = end.rfind(b"PK\5\6")
    if end[place - 20 : place - 16] == b"PK\6\7" and place >= 20:  # of more than 4 GiB
        file.seek(min(size, int.from_bytes(end[place - 12 : place - 4], "little")) + 48)
        return int.from_bytes(file.read(8), "little")
    return int.from_bytes(end[place + 16 : place + 20], "little") if place >= 0 else -1


def _entry_is_one(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bool:
    """Tell whether the one entry of a zip file is a pickle, or may be one behind what is seen."""
    for most in (SEEN, MOST_SEEN):
        start = _start_of(archive, entry, most) or b""
        is_one = begins_pickle(start, entry.file_size, most)
        if is_one is not None:
            return is_one
    return True


def _is_of_objects(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bool:
    """Tell whether an entry is an array of Python objects, or one that cannot be read."""
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return True  # nothing that saves arrays packs them so, and a little may unpack to much
    start = _start_of(archive, entry)
    return start is None or has_objects(start)


def _start_of(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, most: int = SEEN) -> bytes | None:
    """Return what an entry begins with; None if it cannot be read.

    Readers load objects before the checksum is compared: one that is wrong is no excuse.
    """
    found = b""
    try:
        with archive.open(entry) as opened:
            while len(found) < most and (piece := opened.read(512)):
                found += piece
    except Exception:
        return found or None
    return found
