"""Files that are called as images are, and that a download has left in place of these."""

from __future__ import annotations

import re

_POINTER = b"version https://git-lfs.github.com/"
_PAGE = re.compile(rb"(?:\xef\xbb\xbf)?\s*<(?:!doctype\s+html|html|head|body)\b", re.IGNORECASE)
_STARTS_IN = 1 << 10


def told_of(data: bytes) -> str:
    """Return what stands in place of an image; empty where that is not known.

    Damaged images are carried as they are. Of these the owner has no image.

    >>> told_of(b"<!DOCTYPE html><title>Log in</title>")
    'is a web page, and no image; download it again'
    """
    start = data[:_STARTS_IN]
    if start.startswith(_POINTER):
        return "is a pointer of Git LFS, and no image; fetch the images with git lfs pull"
    if _PAGE.match(start):
        return "is a web page, and no image; download it again"
    return ""
