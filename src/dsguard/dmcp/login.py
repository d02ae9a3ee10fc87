"""Which account is used where none is given: that of the environment, or of the last login."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from pathlib import Path
from typing import NamedTuple

from dsguard._atomic import write_new
from dsguard.dmcp.secret_text import check_token, text_of
from dsguard.errors import DsguardError, InputError


class Login(NamedTuple):
    """The address of a service, and a token for it; the token is in no message."""

    url: str
    token: str

    def __repr__(self) -> str:
        """Name the address, never the token."""
        return f"Login(url={self.url!r})"


def login_for(url: str | None = None) -> Login:
    """Return the login of the environment or the one that is kept; for one address, if given.

    Raises
    ------
    DsguardError
        If there is none, or it is for another address.
    """
    named = os.environ.get("DSGUARD_DMCP_URL", "").strip()
    token = check_token(os.environ.get("DSGUARD_DMCP_TOKEN", ""))
    wanted = url or named
    if token and not wanted:
        msg = "DSGUARD_DMCP_TOKEN is set without DSGUARD_DMCP_URL, which it is for"
        raise DsguardError(msg)
    if token and (not named or _alike(named, wanted)):
        return Login(wanted, token)
    kept = _kept()
    if wanted and not _alike(kept.url, wanted):
        msg = (
            f"the token that is kept is for {kept.url}, not for {wanted}; set DSGUARD_DMCP_TOKEN "
            "as well, or log in: dsguard dmcp login URL"
        )
        raise DsguardError(msg)
    return kept


def allows_http() -> bool:
    """Tell whether tokens and keys may travel in clear, as the environment says."""
    return os.environ.get("DSGUARD_DMCP_ALLOW_HTTP", "").lower() in ("1", "true", "yes")


def path_of_login() -> Path:
    """Return where a login is kept.

    Raises
    ------
    InputError
        If there is no home folder.
    """
    base = os.environ.get("XDG_CONFIG_HOME")
    if not base:
        try:
            base = str(Path.home() / ".config")
        except RuntimeError:
            msg = (
                "there is no home folder to keep a login in: set HOME or XDG_CONFIG_HOME, or "
                "DSGUARD_DMCP_URL and DSGUARD_DMCP_TOKEN"
            )
            raise InputError(msg) from None
    return Path(base, "dsguard", "dmcp.json")


def secret_of_user() -> bytes:
    """Return 32 bytes that only this user has, kept beside the login; made where there are none.

    Raises
    ------
    InputError
        If there is no home folder, or what is kept is no such secret.
    """
    path = path_of_login().with_name("secret")
    with contextlib.suppress(FileExistsError):
        if not path.exists():
            path.parent.mkdir(0o700, parents=True, exist_ok=True)
            write_new(path, secrets.token_bytes(32))
    found = path.read_bytes()
    if len(found) != 32:
        msg = f"{path} is damaged; remove it, and begin runs anew that are to go on"
        raise InputError(msg)
    return found


def _kept() -> Login:
    path = path_of_login()
    try:
        kept = json.loads(text_of(path.read_bytes(), str(path)))
        return Login(str(kept["url"]), str(kept["token"]))
    except FileNotFoundError:
        msg = "you are not logged in; run: dsguard dmcp login URL"
        raise DsguardError(msg) from None
    except (json.JSONDecodeError, KeyError, TypeError):
        msg = f"{path} holds no login; log in again: dsguard dmcp login URL"
        raise DsguardError(msg) from None


def _alike(one: str, other: str) -> bool:
    return one.rstrip("/") == other.rstrip("/")
