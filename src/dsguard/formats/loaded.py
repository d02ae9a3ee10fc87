"""Files and members that readers of datasets load as pickles, which are programs."""

from __future__ import annotations

import io
import pickletools
import re
import zipfile
import zlib
from functools import lru_cache
from typing import BinaryIO

from dsguard.formats.arrays.npy import read_header

_KINDS = frozenset(
    {"cache", "ckpt", "dill", "joblib", "p", "pck", "pgz", "pickle", "pickle5", "pk", "pkl", "pklz"}
    | {"pt", "pth", "pyd", "sav"}
)
"""Suffixes of what readers of WebDataset, torch or trainers load so: Ultralytics its
``labels.cache`` before all others."""

_PACKED = (".bz2", ".gz", ".lz4", ".lzma", ".tar", ".xz", ".z", ".zip", ".zst")
"""Suffixes behind these: torch's checkpoints are often called ``.pth.tar``, and are no archives."""

_STARTS_IN = 1 << 14
"""Bytes of a file that tell whether it is one."""

_ARRAY = b"\x93NUMPY"
_STEPS = "".join(step.code for step in pickletools.opcodes).encode("latin-1")
_PROTOCOL = re.compile(rb"\x80[\x02-\x05](?:[" + re.escape(_STEPS) + rb"]|\Z)")
_IMPORTS = frozenset({"GLOBAL", "STACK_GLOBAL", "INST"})
_ARGUMENTS = frozenset({"MARK", "EMPTY_TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"})
_CALLS = frozenset({"REDUCE", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX"})

A_PICKLE = (
    "is a pickle, which readers of datasets run, and was not sealed: anybody can have put it "
    "there. It does not come back; take it from the published data yourself if you trust its author"
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

    Of the content, the first bytes are read, and of zip files the directory and the first bytes of
    arrays.

    Parameters
    ----------
    name : str
    content : bytes or binary file
        All of it; a file is at its start.

    >>> is_pickle("train.cache", b""), is_pickle("meta", b"\x80\x04"), is_pickle("a.txt", b"cat")
    (True, True, False)
    """
    if is_loaded(name):
        return True
    file = io.BytesIO(content) if isinstance(content, bytes) else content
    start = _unpacked(file.read(_STARTS_IN))
    if start.startswith(b"PK\3\4"):
        return _is_zip_of_pickles(file, is_npz=_ending(name) == "npz")
    if _ending(name) in ("npy", "npz") and _could_be_steps(start):
        return True
    return bool(_PROTOCOL.match(start)) or _has_objects(start) or _calls(start)


def _ending(name: str) -> str:
    name = name.lower()
    while name.endswith(_PACKED):
        name = name.rpartition(".")[0]
    return name.rpartition(".")[2]


def _unpacked(start: bytes) -> bytes:
    """Return what a gzip file begins with, and the start of any other file as it is."""
    if not start.startswith(b"\x1f\x8b"):
        return start
    try:
        return zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(start, _STARTS_IN)
    except zlib.error:
        return start


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


def _calls(start: bytes) -> bool:
    """Tell whether a file begins as a pickle without a protocol does, which calls something.

    Protocols 0 and 1 have no mark. Texts and numbers soon have a byte that is no step of a pickle;
    words that could be names of functions are not called.
    """
    met, has_names = set[str](), False
    try:
        for step, given, _ in pickletools.genops(start):
            met.add(step.name)
            has_names = has_names or isinstance(given, str)
            if step.name in _CALLS and has_names and met & _IMPORTS and met & _ARGUMENTS:
                return True
    except Exception:  # no step, or not what belongs to it
        return False
    return False


def _is_zip_of_pickles(file: BinaryIO, *, is_npz: bool) -> bool:
    """Tell whether a zip file is one of torch, or has arrays of Python objects.

    NumPy takes entries of ``.npz`` files for arrays by their content alone.
    """
    try:
        archive = zipfile.ZipFile(file)
    except Exception:  # NumPy cannot read it either
        return False
    with archive:
        return any(
            entry.filename.lower().endswith("data.pkl")
            or ((is_npz or entry.filename.endswith(".npy")) and _is_of_objects(archive, entry))
            for entry in archive.infolist()
        )


def _is_of_objects(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bool:
    """Tell whether an entry is an array of Python objects, or one that cannot be read.

    NumPy loads objects before the checksum is compared: one that is wrong is no excuse.
    """
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return True  # nothing that saves arrays packs them so, and a little may unpack to much
    try:
        with archive.open(entry) as opened:
            return _has_objects(opened.read(_STARTS_IN))
    except Exception:
        return True
