"""What a store tells of a file that changes when the file does."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_OF_CONTENT = frozenset(
    {"etag", "checksum", "contentmd5", "digest", "md5", "md5hash", "crc32c", "sha", "hash"}
    | {"generation", "versionid", "blobid", "lfs", "xethash"}
)
_OF_DATES = frozenset(
    {"created", "lastmodified", "modificationtime", "modified", "modify", "mtime"}
    | {"timemodified", "updated"}
)
"""Never `time` and `accesstime`: sftp, smb and webhdfs tell by them when a file was read."""


def stamp_in(info: Mapping[str, Any]) -> str:
    """Return a text that changes when a file does, by what fsspec tells of it.

    `ukey` of fsspec is not that: of a file at a web server it is a hash of the address, and of one
    at sftp or smb it changes as the file is read.

    Returns
    -------
    str
        Empty where neither its content nor its date is told: two files can have one length.
    """
    found = {"".join(filter(str.isalnum, key)).lower(): info[key] for key in info}
    told = sorted((key, found[key]) for key in _OF_CONTENT | _OF_DATES if found.get(key))
    if not told:
        return ""
    return hashlib.sha256(repr((info.get("size"), told)).encode()).hexdigest()
