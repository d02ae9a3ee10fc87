"""Height and width of images that are not decoded, as the beginnings of their files tell them.

Nothing depends on it but the size of a drawn picture: files of strangers may tell any size.
"""

from __future__ import annotations

import struct

_BEGINNING = 1 << 16
"""Bytes that are looked at."""


def is_dicom(data: bytes) -> bool:
    """Tell whether a file begins as DICOM; the 128 bytes before that may be those of a TIFF."""
    return data[128:132] == b"DICM"


def told_size(data: bytes) -> tuple[int, int] | None:
    """Return height and width of a DICOM, HEIF, AVIF, JPEG 2000 or NIfTI file, None of others."""
    start = data[:_BEGINNING]
    if is_dicom(start):
        return _of_dicom(start)
    if start[4:8] == b"ftyp":
        return _after(start, b"ispe", 4, ">II", turned=True)
    if start[4:8] == b"jP  ":
        return _after(start, b"ihdr", 0, ">II")
    if start[:4] == b"\xff\x4f\xff\x51":
        return _of_codestream(start)
    if start[344:348] in (b"n+1\0", b"ni1\0"):
        return _of_nifti(start)
    return None


def _after(
    start: bytes, mark: bytes, gap: int, form: str, *, turned: bool = False
) -> tuple[int, int] | None:
    """Return two numbers that follow a mark; `turned` where width comes first."""
    place = start.find(mark) + len(mark) + gap
    if mark not in start or place + struct.calcsize(form) > len(start):
        return None
    first, second = struct.unpack_from(form, start, place)
    return (second, first) if turned else (first, second)


def _of_dicom(start: bytes) -> tuple[int, int] | None:
    """Return rows and columns: elements of 16 bits, little-endian, with or without their type."""
    found = []
    for element in (b"\x28\0\x10\0", b"\x28\0\x11\0"):
        for head in (element + b"US\2\0", element + b"\2\0\0\0"):
            place = start.find(head) + len(head)
            if head in start and place + 2 <= len(start):
                found.append(int.from_bytes(start[place : place + 2], "little"))
                break
    return (found[0], found[1]) if len(found) == 2 else None


def _of_codestream(start: bytes) -> tuple[int, int] | None:
    if len(start) < 24:
        return None
    right, lower, left, upper = struct.unpack_from(">IIII", start, 8)
    return (lower - upper, right - left) if lower >= upper and right >= left else None


def _of_nifti(start: bytes) -> tuple[int, int] | None:
    """Return the sides of a slice."""
    order = "<" if start[:4] == struct.pack("<i", 348) else ">"
    width, height = struct.unpack_from(f"{order}hh", start, 42)
    return (height, width) if min(height, width) > 0 else None
