"""Dates of the members of archives, as far as their headers tell a moment and no wall clock."""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING

from dsguard.formats.tar import BLOCK, PAX, number_in, pax_records

if TYPE_CHECKING:
    import zipfile

    from dsguard.formats.tar import Content, Member


def date_in_tar(archive: Content, member: Member) -> int | None:
    """Return when a member was modified, in nanoseconds; None where no header of it tells that."""
    position, told = member.start, None
    while position < member.data:
        header = archive[position : position + BLOCK]
        length, data = number_in(header[124:136]), position + BLOCK
        if header[156] == PAX:
            told = dict(pax_records(archive[data : data + length])).get("mtime", told)
        elif data == member.data:
            digits = header[136:148].strip(b" \0").decode("latin-1")
            octal = int(digits, 8) * 10**9 if _OCTAL.fullmatch(digits) else None
            return octal if told is None else _nanoseconds(told)
        position = data + length + -length % BLOCK
    return None


def _nanoseconds(told: str) -> int | None:
    """Return seconds of a pax header as nanoseconds; None where they are none."""
    found = _SECONDS.fullmatch(told)
    if not found:
        return None
    count = int(found[2]) * 10**9 + int((found[3] or "")[:9].ljust(9, "0"))
    return -count if found[1] else count


_OCTAL = re.compile("[0-7]+")
_SECONDS = re.compile(r"(-?)([0-9]{1,10})(?:\.([0-9]*))?")


def date_in_zip(member: zipfile.ZipInfo) -> int | None:
    """Return when a file was modified, in nanoseconds; None where only a wall clock tells it.

    What every member has is the local time of a place that nobody knows, and of two seconds.
    """
    left, found = member.extra, None
    while len(left) >= 4:
        kind, size = struct.unpack("<2H", left[:4])
        data, left = left[4 : 4 + size], left[4 + size :]
        if kind == _UNIX_TIMES and len(data) >= 5 and data[0] & 1:
            found = found or int.from_bytes(data[1:5], "little", signed=True) * 10**9
        elif kind == _NTFS_TIMES and len(data) >= 16 and data[4:8] == b"\1\0\x18\0":
            return (int.from_bytes(data[8:16], "little") - _FROM_1601) * 100
    return found


_UNIX_TIMES, _NTFS_TIMES = 0x5455, 0x000A
_FROM_1601 = 116_444_736 * 10**9  # to 1970, in steps of NTFS
