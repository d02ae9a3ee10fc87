"""Files and members that readers of datasets load as pickles, which are programs."""

from __future__ import annotations

import io
import os
import re
from typing import BinaryIO

from dsguard.formats.programs.archives import is_tar_of_torch, is_zip_of_pickles
from dsguard.formats.programs.pickle_steps import LONGEST
from dsguard.formats.programs.starts import begins_pickle, could_be_steps
from dsguard.formats.programs.suffixes import ending, is_loaded
from dsguard.formats.programs.tables import names_types
from dsguard.formats.programs.unpacked import MOST_SEEN, SEEN, first_member, is_packed, start_of

_UNSEEN = re.compile(rb"\x28\xb5\x2f\xfd|\x04\x22\x4d\x18|[\x50-\x5f]\x2a\x4d\x18|ZF0x")
"""How files of Zstandard (with a frame to skip too), LZ4 and old ones of joblib begin: a name tells
what is in them."""
_TEXTS = frozenset(
    {"csv", "geojson", "htm", "html", "json", "jsonl", "log", "md", "ndjson", "parquet", "sql"}
    | {"svg", "tsv", "txt", "xml", "yaml", "yml"}
)
"""Suffixes of names that do: readers take no pickle for such."""


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
    if _UNSEEN.match(mark) and ending(name) not in _TEXTS:
        return True
    if names_types(name, mark, file):
        return True
    file.seek(0)
    if mark == b"PK\3\4":
        return is_zip_of_pickles(file, is_npz=ending(name) == "npz")
    is_zip = name.lower().endswith(".zip") and is_zip_of_pickles(file)  # with bytes before it
    if is_zip or is_tar_of_torch(file):
        return True
    start = _start_of_content(name, file)
    if start is None or (ending(name) in ("npy", "npz") and could_be_steps(start)):
        return True
    longest = LONGEST if is_packed(file, name) else file.seek(0, os.SEEK_END)
    is_one = begins_pickle(start, longest)
    if is_one is None:  # what was seen does not tell
        more = _start_of_content(name, file, MOST_SEEN)
        is_one = more is None or begins_pickle(more, longest, MOST_SEEN) is not False
    return is_one


def _start_of_content(name: str, file: BinaryIO, most: int = SEEN) -> bytes | None:
    start = start_of(file, most, name)
    return first_member(start) if start and ".tar" in name.lower() else start
