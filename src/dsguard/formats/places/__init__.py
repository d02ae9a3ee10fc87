"""Places of datasets: a local folder, or a URL of fsspec (``s3://``, ``hf://``, ...)."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.request import url2pathname

from dsguard.formats.places.base import Listing, Place
from dsguard.formats.places.local import LocalPlace, real_path
from dsguard.formats.places.remote import RemotePlace
from dsguard.formats.places.schemes import without_password

__all__ = [
    "Listing",
    "LocalPlace",
    "Place",
    "RemotePlace",
    "is_url",
    "local_path",
    "place_of",
    "real_path",
    "without_password",
]


def place_of(location: str | os.PathLike[str]) -> Place:
    """Return the place at a local path or URL."""
    text = local_path(location)
    return RemotePlace(text) if is_url(text) else LocalPlace(Path(text))


def local_path(location: str | os.PathLike[str]) -> str:
    """Return a ``file://`` URL as the path that it is, anything else unchanged."""
    text = os.fspath(location)
    found = _LOCAL.match(text)
    return url2pathname(text[found.end() :]) if found else text


def on_disk(location: str | os.PathLike[str]) -> Path | None:
    """Return where a folder or file of this machine lies, however it is spelled; None for a URL.

    What is behind caches and the like counts as that itself.
    """
    text = os.fspath(location)
    path = local_path(text.rpartition("::")[2] if is_url(text) else text)
    return None if is_url(path) else real_path(path)


_LOCAL = re.compile(r"(?:file|local)://(?:localhost(?=/))?|file:(?=/[^/])", re.IGNORECASE)
"""Before a path, as RFC 8089 and fsspec spell it."""


def is_url(location: str | os.PathLike[str]) -> bool:
    """Tell whether this is a URL, for fsspec."""
    return "://" in os.fspath(location)
