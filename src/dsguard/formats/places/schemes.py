"""URLs at which datasets may lie: their schemes, and how they are shown.

fsspec knows many more. Some of them do what a file on a server says: read other files, fill in
templates, run commands. Those are not for data that strangers hand out.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from dsguard.errors import InputError

STORES = frozenset(
    {"memory", "http", "https", "s3", "s3a", "gs", "gcs", "abfs", "abfss", "az"}
    | {"adl", "oss", "oci", "hf", "ftp", "sftp", "ssh", "hdfs", "webhdfs", "smb"}
)
"""Places that hold files, and do nothing else.

Folders of this machine are none of them: they are opened as paths, links and all, before.
"""

_OF_SERVERS = frozenset({"http", "https", "ftp", "sftp", "ssh", "hdfs", "webhdfs", "smb"})
"""Those with the address of a server behind them; names of buckets may be ``arn:aws:s3:...``."""

_LOCAL = frozenset({"file", "local"})

CACHES = frozenset({"simplecache", "filecache", "blockcache"})
"""Before one of them, with ``::``: copies of its files on this machine."""


def check_schemes(url: str) -> None:
    """Refuse a URL of any other scheme, in each part of a chain.

    Raises
    ------
    InputError
        As it does one that is no address, as of a port beyond 65535.
    """
    *before, last = url.split("::")
    for part in before:
        if part.lower() not in CACHES:
            raise _refusal(url, part.partition("://")[0], CACHES)
    scheme = last.partition("://")[0]
    if before and scheme.lower() in _LOCAL:
        msg = f"{_shown(url)}: what is on this machine needs no copy of itself; give its path alone"
        raise InputError(msg)
    if scheme.lower() not in STORES:
        raise _refusal(url, scheme, STORES)
    try:
        _ = urlsplit(last).port if scheme.lower() in _OF_SERVERS else None
    except ValueError as error:  # of a port, or of brackets
        msg = f"{_shown(url)} is no address: {error}; look at how it is spelled"
        raise InputError(msg) from None


def _shown(url: str) -> str:
    return without_password(url)[:200]


def _refusal(url: str, scheme: str, known: frozenset[str]) -> InputError:
    names = ", ".join(sorted(known))
    return InputError(
        f"{_shown(url)}: dsguard does not go to {scheme[:40]!r}; copy the dataset to this machine, "
        f"or to one of: {names}"
    )


_PASSWORD = re.compile(r"(://[^/@:\s]*):[^/@\s]*@")


def without_password(location: object) -> str:
    """Return a URL as it is shown and noted: without the password in it."""
    return _PASSWORD.sub(r"\1:***@", str(location))
