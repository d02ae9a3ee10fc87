"""The names that files of a dataset may have.

Names come from strangers: listings of a store, members of archives, paths in tables, manifests.
`checked` decides; all that writes, moves or removes files goes through it. Reading is more lenient:
`safe_name` refuses only a name that leads out of its folder.
"""

from __future__ import annotations

import itertools
import os
import posixpath
import re
from collections.abc import Collection, Iterator, Sequence
from urllib.parse import unquote

from dsguard._published import JOURNAL, SETTINGS
from dsguard.errors import InputError

SCRATCH = ".dsguard-tmp"
"""Folder of a destination for what is not whole yet; a run begins and ends by removing it."""

JOURNAL_FILES = (SETTINGS, "lock", "surrogate.pt")
"""One of these makes a journal of a folder with that ending: classes may be called so as well."""

CLASS_NAME = "classname.txt"
"""Field of a WebDataset sample for the name of its class, where ``cls`` has its number."""

_PLAIN = re.compile(r"\w[\w.-]*(?:/\w[\w.-]*)*", re.ASCII)
"""Most names; nothing can be wrong with a short one but that a journal could be called so."""

_CONTROL = re.compile("[\0-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
"""Characters that steer a terminal, or turn around what is shown of a name."""

_DRIVE = re.compile("[A-Za-z]:")
_ADDRESS = re.compile(
    r"(?i)(?:abfss?|ais|az|data|file|ftps?|gcs|git|github|gs|hdfs|hf|htgs|https?|memory|oss|pipe|s3a?"
    r"|scp|sftp|ssh|webhdfs|\w+cache|\w+::\w+):"
)
"""Names that loaders take for addresses: WebDataset gives ``pipe:`` and others to a shell."""
_OPTION = re.compile(r"-[-A-Za-z].*[^\w.()-]", re.DOTALL)
"""Names that commands take for an option with a value, as ``tar`` does of ``*`` in a folder."""
_RESERVED = re.compile(r'(?i:con|prn|aux|nul|com\d|lpt\d)(?:\.|$)|.*([<>:"|?*\\]|[. ]$)')
_ON_WINDOWS = os.name == "nt"
_MOST_PARTS = 128
_MOST_DECODED = 8
_ENDS_OF_PARTS = re.compile(r"[/\\?#]")
_DROPPED = str.maketrans("", "", "\t\r\n")
LONGEST_PART = 255
"""Bytes of a part of a name, as on nearly all file systems."""

_SHOWN = 200
_SOME = 10


def checked(name: str) -> str:
    """Return a relative name with ``/`` as it is, if a file may be written or removed under it.

    Raises
    ------
    InputError
        If it may not; the message is meant for whoever has a file of that name.
    """
    fault = fault_of(name)
    if fault:
        msg = f"cannot be written: {fault}: {shown(name)}; give it another name"
        raise InputError(msg)
    return name


def fault_of(name: str) -> str:
    """Return the reason why no file may have a relative name; empty if one may.

    Names that only Windows cannot hold are refused on Windows alone: ``aux`` is a fine class
    elsewhere. Names may be of any language, in any normal form, or no UTF-8.
    """
    short = len(name) <= LONGEST_PART
    if short and _PLAIN.fullmatch(name) and JOURNAL not in name and not _ON_WINDOWS:
        return ""
    return next((reason for is_so, reason in _faults(name) if is_so), "")


def _faults(name: str) -> Iterator[tuple[bool, str]]:
    """Yield all that can be wrong with a name, and whether it is."""
    parts = name.split("/")
    yield leads_out(name), "its name leads out of its folder"
    yield bool(_CONTROL.search(name)), "its name has control characters"
    yield not {"", "."}.isdisjoint(parts), "its name has an empty part"
    yield len(parts) > _MOST_PARTS, f"it lies in more than {_MOST_PARTS} folders"
    yield any(part.startswith(".") for part in parts), "it is hidden, and would not be read again"
    yield bool(_ADDRESS.match(name)), "its name would be taken for an address"
    yield any(map(_OPTION.match, parts)), "its name would be taken for an option of a command"
    yield _is_of_journal(name), f"its folder would be taken for the journal of a run, *{JOURNAL}"
    yield not _can_be_stored(name), "its name has characters that no file here can have; see LC_ALL"
    longest = max(len(part.encode("utf-8", "surrogateescape")) for part in parts)
    yield longest > LONGEST_PART, f"File name too long, {LONGEST_PART} bytes are the most"
    yield _ON_WINDOWS and any(map(_RESERVED.match, parts)), "Windows has no files of that name"


def _can_be_stored(name: str) -> bool:
    try:
        os.fsencode(name)
        name.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False
    return True


def leads_out(name: str) -> bool:
    """Tell whether a name is none, or does not stay in the folder that it is relative to."""
    parts = name.replace("\\", "/").split("/") if _ON_WINDOWS else name.split("/")
    return not parts[0] or ".." in parts or "\0" in name or bool(_DRIVE.match(name))


def leads_out_of_url(name: str) -> bool:
    """Tell whether a name does not stay below the URL that it is relative to, however it is read.

    A client or server may decode it once or several times, take a backslash for a slash, end it at
    ``?`` or ``#``, and pass over blanks, and over ``;`` and what follows, in each part.
    """
    if leads_out(name):
        return True
    if _PLAIN.fullmatch(name):
        return False
    for _ in range(_MOST_DECODED):
        decoded = unquote(name, errors="surrogateescape")
        if _climbs(name):
            return True
        if decoded == name:
            return False
        name = decoded
    return True  # nobody encodes a name so often but to hide what it is


def _climbs(name: str) -> bool:
    """Tell whether a part of a name could be taken for the folder above."""
    parts = _ENDS_OF_PARTS.split(name.translate(_DROPPED))
    return "\0" in name or any(part.partition(";")[0].strip() == ".." for part in parts)


def safe_name(name: str, where: object) -> str:
    """Return the name of a member without what says nothing: ``./a//b`` is ``a/b``.

    Raises
    ------
    InputError
        If it leads out of its folder; `where` is called to account for that.
    """
    if _PLAIN.fullmatch(name):
        return name
    shortened = posixpath.normpath(name) if name else name
    if leads_out(name.removeprefix("./")) or leads_out(shortened):
        msg = f"{where} has a member outside its folder: {shown(name)}; do not trust this archive"
        raise InputError(msg)
    return shortened


def plain_name(name: str, where: object) -> str:
    """Return a name as `safe_name` does, if it is safe on any system that it may be sent to.

    Raises
    ------
    InputError
        If it has control characters as well, or leads out of a folder of Windows.
    """
    if _CONTROL.search(name):
        msg = f"{where} has a member with control characters in its name: {shown(name)}; rename it"
        raise InputError(msg)
    safe_name(name.replace("\\", "/"), where)
    return safe_name(name, where)


def fits_anywhere(name: str) -> bool:
    """Tell whether a file may have a relative name here, and on any system it may be sent to."""
    return not fault_of(name) and not any(map(_RESERVED.match, name.split("/")))


def is_folder_name(name: str) -> bool:
    """Tell whether a folder can have this name."""
    return "/" not in name and not fault_of(name)


def is_hidden(name: str) -> bool:
    """Tell whether a file, or a folder that it lies in, is hidden."""
    if "/." not in f"/{name}":
        return False
    return any(part.startswith(".") and part not in (".", "..") for part in name.split("/"))


def is_temporary(file: str) -> bool:
    """Tell whether a file or folder is one that a run makes for a while, by its last part."""
    return file == SCRATCH or (file.startswith(".dsguard-") and file.endswith(".tmp"))


def journals_among(names: Collection[str]) -> set[str]:
    """Return the folders that are journals, of all that files lie in."""
    return {name.rpartition("/")[0] for name in names if JOURNAL in name and _is_of_journal(name)}


def top(folder: str, most: int = _MOST_PARTS) -> str:
    """Return a folder, of one that has more than `most` parts that above it which has as many.

    Names of a megabyte are possible: a walk up their folders would take the square of that.
    """
    return folder if folder.count("/") < most else "/".join(folder.split("/", most)[:most])


def lies_in(name: str, folders: set[str]) -> bool:
    """Tell whether a file lies in one of these folders, at any depth that files can have."""
    name = top(name, _MOST_PARTS + 1)
    while name:
        name = name.rpartition("/")[0]
        if name in folders:
            return True
    return False


def _is_of_journal(name: str) -> bool:
    folder, _, file = name.rpartition("/")
    return file in JOURNAL_FILES and may_be_journal(folder.rpartition("/")[2])


def may_be_journal(folder: str) -> bool:
    """Tell whether a journal could be called like a folder."""
    return folder.endswith(JOURNAL) and folder != JOURNAL


def shown(name: str) -> str:
    """Return a name for a message: quoted, and of a very long one the beginning."""
    return repr(name) if len(name) <= _SHOWN else f"{name[:_SHOWN]!r}…"


def some_of(names: Sequence[str]) -> str:
    """Return the first of some names for a message, of very long ones the beginning."""
    told = [name if len(name) <= _SHOWN else f"{name[:_SHOWN]}…" for name in names[:_SOME]]
    return ", ".join(told) + (f" and {len(names) - _SOME} more" if len(names) > _SOME else "")


def shard_name(file: str) -> str:
    """Return the name of a shard without the suffixes of an archive."""
    for suffix in (".gz", ".xz", ".bz2", ".tgz", ".tar"):
        file = file.removesuffix(suffix)
    return file


class Taken:
    """Names that are taken: whoever comes next with one of them gets another."""

    def __init__(self) -> None:
        self._names: set[str] = set()
        self._numbers: dict[str, int] = {}

    def free(self, name: str, more: str) -> str:
        """Take a name, or the first free one that is it and `more`, formatted with 2, 3, ..."""
        free = name
        while free in self._names:
            self._numbers[name] = self._numbers.get(name, 1) + 1
            free = name + more.format(self._numbers[name])
        self._names.add(free)
        return free


def distinct(
    names: list[str], source: str, fault: str = "member named {}; unpack it and pack it anew"
) -> list[str]:
    """Return the names sorted; refuse a source that has one of them twice."""
    ordered = sorted(names)
    for name, following in itertools.pairwise(ordered):
        if name == following:
            msg = f"{source} has more than one {fault.format(name)}"
            raise InputError(msg)
    return ordered
