"""Files that are called as images are, and that a download has left in place of these."""

from __future__ import annotations

import io
import re

from dsguard.formats.images import suffix_by_content
from dsguard.formats.limits import load_json
from dsguard.formats.programs.unpacked import start_of

A_POINTER = (
    "is a pointer of Git LFS or git-annex, and not the file; fetch it (git lfs pull, git annex get)"
)
_GZIP = b"\x1f\x8b\x08"
_POINTERS = (b"version https://git-lfs.github.com/", b"/annex/objects/")
_PAGE = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*+(?:<\?xml[^>]*>\s*+|<!--(?:(?!-->).)*+-->\s*+)*+"
    rb"<(?:!doctype\s+html|html|head|body|error)\b",
    re.IGNORECASE | re.DOTALL,
)
"""Also what S3 and the like answer, where they refuse a file."""
_STARTS_IN = 1 << 10
_MOST_OF_POINTER = 1 << 15  # as git-annex has it


def told_of(data: bytes) -> str:
    """Return what stands in place of an image; empty where that is not known.

    Damaged images are carried as they are. Of these the owner has no image.

    >>> told_of(b"<!DOCTYPE html><title>Log in</title>")
    'is the answer of a web server, and no image; download it again'
    """
    start = data[:_STARTS_IN]
    if start.startswith(_GZIP) and suffix_by_content(start_of(io.BytesIO(data)) or b""):
        return (
            "is an image that gzip packed, as stores keep files with a content encoding; unpack it"
        )
    if is_pointer(start):
        return A_POINTER
    if is_page(data):
        return "is the answer of a web server, and no image; download it again"
    return ""


def is_pointer(data: bytes) -> bool:
    """Tell whether a file stands for one that Git LFS or git-annex has not fetched."""
    return data.startswith(_POINTERS) and len(data) < _MOST_OF_POINTER


def is_page(data: bytes) -> bool:
    """Tell whether a file is the answer of a web server, by its beginning."""
    return bool(_PAGE.match(data[:_STARTS_IN])) or _is_json(data)


def _is_json(data: bytes) -> bool:
    if data.lstrip()[:1] != b"{" or len(data) > _STARTS_IN:
        return False
    try:
        return isinstance(load_json(data), dict)
    except (ValueError, RecursionError):
        return False
