"""Approved access requests of a gated dataset, as the hub of Hugging Face lists them.

All of them or none: who takes rights back must not take a part for the whole.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple, NoReturn
from urllib.parse import urlsplit

from dsguard.dmcp.connection import check_address
from dsguard.dmcp.pace import Pace
from dsguard.errors import DsguardError, InputError, MissingExtraError
from dsguard.formats.limits import load_json

DEFAULT = "https://huggingface.co"
MOST = 100_000
"""Approvals of a dataset."""

_PAGE_BYTES = 1 << 24
_SECONDS = 600.0
_LONGEST = 200
"""Characters of a field that is kept: all approvals together have to fit into memory."""

_NAME = r"[A-Za-z0-9_][A-Za-z0-9._-]{0,95}"
_REPO = re.compile(f"{_NAME}/{_NAME}")
_USER = re.compile(_NAME)


class HubError(DsguardError):
    """The hub did not tell who is approved."""


class Approval(NamedTuple):
    """Somebody whom a hub lets into a dataset.

    Attributes
    ----------
    user : str
        The name on the hub.
    account : str
        What was written into a field of the form of the request; anything at all, if it is short.
    reviewed : datetime or None
        When it was approved.
    """

    user: str
    account: str
    reviewed: datetime | None


def source_of(hub: str, repo: str, user: str) -> str:
    """Return what grants say of an approval that they come from."""
    return f"{urlsplit(hub).netloc}/datasets/{repo.lower()} {user}"


def approvals(
    repo: str, token: str, hub: str = DEFAULT, field: str | None = None
) -> list[Approval]:
    """Return all who are approved for a gated dataset.

    Parameters
    ----------
    repo : str
        As ``owner/name``.
    token : str
        Of the hub, with the right to write to the dataset.
    hub : str
    field : str, optional
        Label of the field that is read.

    Raises
    ------
    HubError
        If the hub does not answer, or not all of it, or with anything else.
    InputError
        If an argument is none.
    """
    if not _REPO.fullmatch(repo):
        msg = f"{repo!r} is no dataset of a hub; write it as owner/name"
        raise InputError(msg)
    if not (token.isascii() and token.isprintable() and token):
        msg = "there is no token of the hub; set HF_TOKEN to one that may write to the dataset"
        raise InputError(msg)
    found: dict[str, Approval] = {}
    for page in _pages(
        f"{hub.rstrip('/')}/api/datasets/{repo}/user-access-request/accepted", token
    ):
        for entry in page:
            approval = _approval(entry, field)
            found.setdefault(approval.user, approval)
        if len(found) > MOST:
            msg = f"the hub lists more than {MOST} approvals, and nothing was changed"
            raise HubError(msg)
    return list(found.values())


def _pages(url: str, token: str) -> Iterator[list[Any]]:
    """Yield the pages of a list, each of which names the next."""
    try:
        import httpx
    except ImportError:
        raise MissingExtraError.of(package="httpx", extra="dmcp") from None
    is_local = check_address(url, allow_http=False)
    end, seen, pace = time.monotonic() + _SECONDS, set[str](), Pace()
    headers = {"authorization": f"Bearer {token}", "accept-encoding": "identity"}
    try:
        with httpx.Client(headers=headers, timeout=60, trust_env=not is_local) as client:
            while url not in seen:
                seen.add(url)
                with client.stream("GET", url, extensions=pace.begin()) as answer:
                    if answer.status_code != 200:
                        raise _refused(answer.status_code)
                    page = load_json(_read(answer, end))
                    following = answer.links.get("next", {}).get("url", "")
                if not isinstance(page, list):
                    _odd("something else than a list")
                yield page
                if not following:
                    return
                url = _next(url, following)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        told = type(error).__name__  # its text may have the token
        msg = f"the hub does not answer ({told}), and nothing was changed; try again later"
        raise HubError(msg) from None
    except (ValueError, RecursionError):
        _odd("no JSON")
    _odd("pages in a circle")


def _read(answer: Any, end: float) -> bytes:
    """Read a page, no longer than one may be, in no more time than there is."""
    if answer.headers.get("content-encoding", "identity") != "identity":
        _odd("compressed content, which was not asked for")
    content = bytearray()
    for piece in answer.iter_bytes():
        content += piece
        if len(content) > _PAGE_BYTES or time.monotonic() > end:
            _odd("more than there is room or time for")
    return bytes(content)


def _next(url: str, following: str) -> str:
    """Return the address of the next page, which is the same but for its query."""
    old, new = urlsplit(url), urlsplit(following)
    if (new.scheme, new.netloc, new.path) != (old.scheme, old.netloc, old.path):
        _odd("a next page at another address")  # the token would go there
    return following


def _approval(entry: object, field: str | None) -> Approval:
    """Return an entry of a list; one that is not as it should be spoils the whole."""
    user = entry.get("user") if isinstance(entry, dict) else None
    name = user.get("user") if isinstance(user, dict) else None
    if not isinstance(entry, dict) or entry.get("status") != "accepted":
        _odd("an entry that is not said to be accepted")
    if not isinstance(name, str) or not _USER.fullmatch(name):
        _odd("a name that no user of it can have")
    fields = entry.get("fields") or {}
    if not isinstance(fields, dict):
        _odd("fields that are none")
    account = fields.get(field)
    if not isinstance(account, str) or len(account) > _LONGEST:
        account = ""
    return Approval(name, account.strip(), _time(entry.get("reviewedAt")))


def _time(text: object) -> datetime | None:
    if not isinstance(text, str):
        return None
    try:
        time = datetime.fromisoformat(text)
        return time.astimezone(UTC).replace(tzinfo=None) if time.tzinfo else time
    except (ValueError, OverflowError):
        return None


def _refused(status: int) -> HubError:
    remedy = {
        400: "is the dataset gated?",
        401: "is HF_TOKEN one of the hub?",
        403: "may HF_TOKEN write to the dataset?",
        404: "check the name of the dataset",
    }.get(status, "try again later")
    return HubError(f"the hub answered with status {status}, and nothing was changed; {remedy}")


def _odd(told: str) -> NoReturn:
    msg = f"the hub answered with {told}, and nothing was changed; is it Hugging Face?"
    raise HubError(msg) from None
