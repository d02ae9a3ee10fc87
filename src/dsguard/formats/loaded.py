"""Files and members that readers of datasets load as pickles, which are programs."""

from __future__ import annotations

import io
import itertools
import os
import pickletools
import re
import tarfile
import zipfile
from functools import lru_cache
from typing import BinaryIO

from dsguard.formats.arrays.npy import read_header
from dsguard.formats.parquet.pages import TYPE, footer_of, schemas_in
from dsguard.formats.pickle_steps import LONGEST, calls
from dsguard.formats.unpacked import MOST_SEEN, SEEN, first_member, is_packed, start_of

_KINDS = frozenset(
    {"cache", "ckpt", "dill", "jbl", "jl", "joblib", "p", "pbz2", "pck", "pckl", "pgz", "pickle"}
    | {"pickle5", "pk", "pkl", "pklz", "plzma", "pt", "pth", "pxz", "pyd", "sav"}
)
"""Suffixes of what readers of WebDataset, torch or trainers load so: Ultralytics its
``labels.cache`` before all others."""

_PACKED = (".bz2", ".gz", ".lz4", ".lzma", ".tar", ".xz", ".z", ".zip", ".zst")
"""Suffixes behind these: torch's checkpoints are often called ``.pth.tar``, and are no archives."""

_UNSEEN = re.compile(rb"\x28\xb5\x2f\xfd|\x04\x22\x4d\x18|[\x50-\x5f]\x2a\x4d\x18|ZF0x")
"""How files of Zstandard (with a frame to skip too), LZ4 and old ones of joblib begin: a name tells
what is in them."""
_TEXTS = frozenset(
    {"csv", "geojson", "htm", "html", "json", "jsonl", "log", "md", "ndjson", "parquet", "sql"}
    | {"svg", "tsv", "txt", "xml", "yaml", "yml"}
)
"""Suffixes of names that do: readers take no pickle for such."""

_PARQUET, _ARROW = b"PAR1", (b"ARRO", b"\xff\xff\xff\xff")
_PARQUET_FILES, _ARROW_FILES = ("parquet", "parq", "pq"), ("arrow", "arrows", "feather", "ipc")
_OF_TORCH = ("sys_info", "storages", "tensors", "pickle")
_MOST_MEMBERS = 10_000
_MOST_HEADER = 512  # bytes of an array by which its type is seen
_MOST_END = (1 << 16) + 64  # of a zip file: its last record, a comment, and what is before it
_ARRAY = b"\x93NUMPY"
_STEPS = "".join(step.code for step in pickletools.opcodes).encode("latin-1")
_PROTOCOL = re.compile(rb"\x80[\x02-\x05](?:[" + re.escape(_STEPS) + rb"]|\Z)")
A_PICKLE = (
    "is a pickle, which readers of datasets run, or a table with a type of a package, whose code "
    "they run, and was not sealed: anybody can have put it there. It does not come back; take it "
    "from the published data yourself if you trust its author"
)


A_TYPE = (
    "says that it is of a type of some package, which readers run, and that was not sealed: "
    "anybody can have put it there. It comes back without the type; take it from the published "
    "data yourself if you trust its author"
)


OF_ANY_KEY = (
    "is a pickle, which readers of datasets run, and keys of images do not tell whether the owner "
    "sealed it. It does not come back; restore with the key of the dataset, or ask its owner for it"
)


def is_loaded(name: str) -> bool:
    """Tell whether readers load a file, a member or a field of this name as a pickle.

    They look at the end of a name in any case, and at what lies in packed files. Where there is
    content, ask `is_pickle`.

    >>> is_loaded("0.PKL"), is_loaded("pth.gz"), is_loaded("model.pth.tar"), is_loaded("0.npy")
    (True, True, True, False)
    """
    return _ending(name) in _KINDS


def is_pickle(name: str, content: bytes | BinaryIO) -> bool:
    r"""Tell whether a file, a member or a field is a pickle, by its name or by its content.

    Of the content, the first bytes are read, also of what is packed, and of zip files the directory
    and the first bytes of what readers load of them.

    Parameters
    ----------
    name : str
    content : bytes or binary file
        All of it; a file is at its start.

    >>> is_pickle("train.cache", b""), is_pickle("meta", b"\x80\x04"), is_pickle("a.txt", b"cat")
    (True, True, False)
    """
    return is_loaded(name) or holds_pickle(name, content)


def holds_pickle(name: str, content: bytes | BinaryIO) -> bool:
    """Tell whether a file is a pickle by its content, as readers of such names take it.

    Arguments as of `is_pickle`.
    """
    file = io.BytesIO(content) if isinstance(content, bytes) else content
    mark = file.read(4)
    if _UNSEEN.match(mark) and _ending(name) not in _TEXTS:
        return True
    if _names_types(name, mark, file):
        return True
    file.seek(0)
    if mark == b"PK\3\4":
        return _is_zip_of_pickles(file, is_npz=_ending(name) == "npz")
    is_zip = name.lower().endswith(".zip") and _is_zip_of_pickles(file)  # with bytes before it
    if is_zip or _is_tar_of_torch(file):
        return True
    start = _start_of_content(name, file)
    if start is None or (_ending(name) in ("npy", "npz") and _could_be_steps(start)):
        return True
    longest = LONGEST if is_packed(file, name) else file.seek(0, os.SEEK_END)
    is_one = _begins_one(start, longest)
    if is_one is None:  # what was seen does not tell
        more = _start_of_content(name, file, MOST_SEEN)
        is_one = more is None or _begins_one(more, longest, MOST_SEEN) is not False
    return is_one


def _start_of_content(name: str, file: BinaryIO, most: int = SEEN) -> bytes | None:
    start = start_of(file, most, name)
    return first_member(start) if start and ".tar" in name.lower() else start


def _begins_one(start: bytes, longest: int, most: int = SEEN) -> bool | None:
    """Tell whether a pickle begins so; None where that is not seen in so many bytes."""
    if _PROTOCOL.match(start) or _has_objects(start):
        return True
    return calls(start, is_cut=len(start) >= most, longest=longest)


def _ending(name: str) -> str:
    return _without_packing(name).rpartition(".")[2]


def _without_packing(name: str) -> str:
    name = name.lower()
    while name.endswith(_PACKED):
        name = name.rpartition(".")[0]
    return name


def _has_objects(start: bytes) -> bool:
    """Tell whether a file is an array of Python objects, or one that cannot be read."""
    return start.startswith(_ARRAY) and _tells_of_objects(start[: start.find(b"\n", 12) + 1])


@lru_cache(maxsize=256)  # arrays of a shard have few headers, and to parse one takes long
def _tells_of_objects(header: bytes) -> bool:
    """Tell whether a header, which a line ends with, is of objects, or cannot be read."""
    try:
        read_header(io.BytesIO(header))
    except Exception:  # NumPy and Python's parser raise nearly anything
        return True
    return False


def _could_be_steps(start: bytes) -> bool:
    """Tell whether NumPy, which unpickles what is no array, may do so with a file."""
    return start != b"" and start[0] in _STEPS and not start.startswith(_ARRAY)


def _names_types(name: str, mark: bytes, file: BinaryIO) -> bool:
    """Tell whether a table of Arrow names types that packages have, whose code reads its values."""
    if mark in _ARROW or _ending(name) in _ARROW_FILES:
        return is_packed(file, name) or _has(file, TYPE)
    if mark != _PARQUET and _ending(name) not in _PARQUET_FILES:
        return False
    try:
        file.seek(-len(_PARQUET), os.SEEK_END)
        if file.read() != _PARQUET:  # nobody reads it
            return False
        return any(TYPE in schema for _, schema in schemas_in(footer_of(file)))
    except (LookupError, OSError, ValueError):  # others may read it all the same
        return True


def _has(file: BinaryIO, text: bytes) -> bool:
    """Tell whether a file has a text in it, anywhere."""
    file.seek(0)
    before = b""
    while piece := file.read(MOST_SEEN):
        if text in before + piece:
            return True
        before = piece[-len(text) :]
    return False


def _is_zip_of_pickles(file: BinaryIO, *, is_npz: bool = False) -> bool:
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
                else _has_objects(_start_of(archive, entry, _MOST_HEADER) or b"")
            )
            for entry in entries
        )


def _is_tar_of_torch(file: BinaryIO) -> bool:
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
        is_one = _begins_one(start, entry.file_size, most)
        if is_one is not None:
            return is_one
    return True


def _is_of_objects(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bool:
    """Tell whether an entry is an array of Python objects, or one that cannot be read."""
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return True  # nothing that saves arrays packs them so, and a little may unpack to much
    start = _start_of(archive, entry)
    return start is None or _has_objects(start)


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
