"""Dates of files: when each was modified last, sealed with what lies beside the images."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

from dsguard.bulk.sealed_lists import packed, unpacked
from dsguard.errors import InputError
from dsguard.formats.names import fault_of

if TYPE_CHECKING:
    from dsguard.formats.folder.reader import TreeSource
    from dsguard.formats.places import Place

_LINE = re.compile(rb"^(-?[0-9]{1,20}) ([^\n]+)$", re.MULTILINE)


def packed_dates(source: TreeSource, names: Iterable[str]) -> bytes:
    """Return the dates of files, in nanoseconds, a line each; empty where a source tells none.

    A name that no file may have, as one with a line end, is not among them.
    """
    files = (name for name in sorted(set(names)) if not fault_of(name))
    return packed(f"{date} {name}" for name, date in source.dates(files))


def set_dates(place: Place, above: str, data: bytes, own: Collection[str]) -> None:
    """Give files the dates that were packed.

    Parameters
    ----------
    place : Place
    above : str
        The folder that the names are relative to, with its slash.
    data : bytes
        As they were packed.
    own : collection of str
        Files whose dates may change; others keep theirs.

    Raises
    ------
    InputError
        If they are damaged, or unpack to too much.
    """
    dates = unpacked(data, _LINE)
    if dates is None:
        msg = "has dates that are damaged; all files are there, as of today"
        raise InputError(msg)
    for date, name in dates:
        if above + name in own:
            place.set_modified(above + name, int(date))
