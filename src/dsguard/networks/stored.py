"""Files of torch from strangers: what torch gets to see of them.

torch refuses most functions that a pickle names, but not all that can fill the memory: one encodes
text again and again, others copy what is there already. Only steps that our own files consist of
are let through, each of which takes memory once.
"""

from __future__ import annotations

import io
import os
import pickletools
import re
import zipfile
from typing import Any, BinaryIO

MOST_PICKLE_BYTES = 1 << 22
MOST_STEPS = 1 << 17
"""Tensors and names of our files take some thousand; a step takes a kilobyte of memory at most."""

_WANTED = re.compile(r"data\.pkl|version|byteorder|data/\d+", re.ASCII)
"""Members of a file. Tensors are numbered: other names could mean the same one several times."""

_FUNCTIONS = {
    "torch._utils _rebuild_tensor_v2",
    "torch FloatStorage",
    "torch LongStorage",
    "torch CharStorage",
    "torch ByteStorage",
    "collections OrderedDict",
}
_COPIES = "collections Counter"
"""What some schedules have one of: called again and again, it could copy a long text each time."""

_STEPS = re.compile(
    "PROTO|STOP|MARK|GLOBAL|REDUCE|BUILD|BINPERSID|(LONG_)?BIN(PUT|GET)|NONE|NEW(TRUE|FALSE)|"
    "BININT[12]?|LONG1|BINFLOAT|BINUNICODE|EMPTY_(LIST|DICT|TUPLE)|APPENDS?|SETITEMS?|TUPLE[123]?"
)


def looked_through(file: BinaryIO) -> BinaryIO:
    """Return a file of torch anew, of those members that were looked at and no others.

    Raises
    ------
    ValueError
        If it is none that was written here, or could fill the memory.
    zipfile.BadZipFile
    """
    with zipfile.ZipFile(file) as archive:
        members = {each: each.filename.partition("/")[2] for each in archive.infolist()}
        unpacked = sum(member.file_size for member in members)
        if unpacked > file.seek(0, os.SEEK_END):
            msg = f"it unpacks to {unpacked} bytes; torch does not pack what it stores"
            raise ValueError(msg)
        wanted = [(each, name) for each, name in members.items() if _WANTED.fullmatch(name)]
        if len({name for _, name in wanted}) < len(wanted):
            msg = "it has a member twice"
            raise ValueError(msg)
        anew = io.BytesIO()
        with zipfile.ZipFile(anew, "w") as copy:
            for each, name in wanted:
                data = archive.read(each)
                if name == "data.pkl":
                    check_pickle(data)
                copy.writestr(f"archive/{name}", data)
    anew.seek(0)
    return anew


def check_pickle(data: bytes) -> None:
    """Refuse a pickle of which torch could make more than it holds.

    What is met again may be a name or a text: other things could be copied each time, or lie in
    each other so often that to compare them takes for ever.

    Raises
    ------
    ValueError
    """
    if len(data) > MOST_PICKLE_BYTES:
        msg = f"its pickle has {len(data)} bytes, more than {MOST_PICKLE_BYTES}"
        raise ValueError(msg)
    functions: list[str] = []
    kept: dict[Any, str] = {}
    before = ""
    for steps, (step, argument, _) in enumerate(pickletools.genops(data)):
        if not _STEPS.fullmatch(step.name) or steps == MOST_STEPS:
            msg = f"its pickle has a step {step.name}, or too many: it was not written here"
            raise ValueError(msg)
        if step.name == "GLOBAL":
            functions.append(str(argument))
        elif step.name.endswith("BINPUT"):
            kept[argument] = before
        elif step.name.endswith("BINGET") and kept.get(argument) not in ("GLOBAL", "BINUNICODE"):
            msg = "its pickle has a part that lies in it twice"
            raise ValueError(msg)
        before = "" if argument == _COPIES else step.name
    unknown = set(functions) - _FUNCTIONS - {_COPIES}
    if unknown or functions.count(_COPIES) > 1:
        msg = f"its pickle calls {', '.join(sorted(unknown)) or _COPIES}, which ours do not"
        raise ValueError(msg)
