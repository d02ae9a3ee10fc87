"""A platform as commands reach it: address and token, which a login keeps."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dsguard._atomic import temporary_folder
from dsguard._published import check_unpublished
from dsguard.cli.console import warn
from dsguard.dmcp.login import allows_http, login_for, path_of_login
from dsguard.dmcp.secret_text import check_token, text_of
from dsguard.errors import InputError, NoKeysError

if TYPE_CHECKING:
    from dsguard.dmcp import GrantedKeys
    from dsguard.dmcp.client import Client


DEFAULT_URL = "http://127.0.0.1:8642"

_ROOM = 4096


class _Kept:
    """A place for a login, made and filled with blanks before there is one."""

    def __init__(self, path: Path) -> None:
        self._path = path
        check_unpublished(path, "login")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor, name = tempfile.mkstemp(prefix=".dmcp-", dir=path.parent)
            self._temporary, self._file = Path(name), os.fdopen(descriptor, "r+b", buffering=0)
            self._put(b" " * _ROOM)
        except OSError as error:
            self.discard()
            msg = (
                f"a login cannot be kept in {path}: {error.strerror}; nothing was asked of the "
                "service; make room there, or set XDG_CONFIG_HOME to a folder where it can be"
            )
            raise InputError(msg) from None

    def save(self, url: str, token: str) -> None:
        """Put a login there; if that fails after all, say where the token is."""
        content = json.dumps({"url": url, "token": token}).encode()
        try:
            self._put(content)
        except OSError as error:
            raise self._lost(content, error) from None
        try:
            self._temporary.replace(self._path)
        except OSError as error:
            left, self._temporary = self._temporary, Path()
            msg = f"{self._path} cannot be written: {error.strerror}; move {left} there"
            raise InputError(msg) from None

    def discard(self) -> None:
        """Remove what is not needed."""
        if hasattr(self, "_file"):
            self._file.close()
            if self._temporary != Path():
                self._temporary.unlink(missing_ok=True)

    def _put(self, content: bytes) -> None:
        self._file.seek(0)
        self._file.write(content)
        self._file.truncate()
        os.fsync(self._file.fileno())

    def _lost(self, content: bytes, error: OSError) -> InputError:
        with contextlib.suppress(OSError, InputError):  # there may be no such folder
            descriptor, name = tempfile.mkstemp(".json", "dmcp-", temporary_folder())
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
            msg = f"{self._path} cannot be written: {error.strerror}; move {name} there"
            return InputError(msg)
        msg = (
            f"{self._path} cannot be written: {error.strerror}, and the token is lost; ask the "
            "operator of the service for another: dsguard dmcp token NAME"
        )
        return InputError(msg)


@contextlib.contextmanager
def keeping() -> Iterator[_Kept]:
    """Yield a place for a login that can be written, before anything is asked of a service."""
    kept = _Kept(path_of_login())
    try:
        yield kept
    finally:
        kept.discard()


def given_token() -> str:
    """Return a token from the terminal, or the first line of stdin that is not empty."""
    if sys.stdin.isatty():
        return check_token(str(click.prompt("Token", hide_input=True, err=True)))
    binary = getattr(sys.stdin, "buffer", None)
    data = binary.read(_ROOM) if binary else sys.stdin.read(_ROOM).encode()
    token = text_of(data, "stdin").partition("\n")[0]
    if not token:
        msg = "there is no token on stdin"
        raise InputError(msg)
    return check_token(token)


def connected(url: str, token: str | None = None) -> Client:
    """Return a client; what it warns of is said on stderr."""
    from dsguard.dmcp.client import Client

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        client = Client(url, token, allow_http=allows_http())
    for warning in told:
        warn(str(warning.message))
    return client


def logged_in() -> Client:
    """Return a client of the service of the environment, or that of the last login."""
    return connected(*login_for())


def granted_keys(dataset: str, url: str | None) -> GrantedKeys:
    """Return the keys of a dataset on a platform, whose address and token are tried first."""
    from dsguard.dmcp import GrantedKeys
    from dsguard.dmcp.connection import RefusedError

    keys = GrantedKeys(dataset, *(login := login_for(url)), allow_http=allows_http())
    try:
        with connected(*login) as client:
            client.me()
    except RefusedError as refusal:
        raise NoKeysError(refusal.message) from refusal
    return keys
