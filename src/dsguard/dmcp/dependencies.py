"""Who asks: where a request comes from, whose token it has, and its transaction."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Annotated, cast

from fastapi import Depends, Request

from dsguard.dmcp.access import Credential, Refused, Service
from dsguard.dmcp.audit import Origin
from dsguard.dmcp.model import User
from dsguard.dmcp.state import Platform

COOKIE = "dsguard_session"


def platform_of(request: Request) -> Platform:
    """Return the platform."""
    return cast("Platform", request.app.state.platform)


def origin_of(request: Request) -> Origin:
    """Return where a request comes from."""
    who, address = known(request), request.client.host if request.client else ""
    return Origin(who.name if who else "", address, request.state.id)


def known(request: Request) -> User | None:
    """Return who asks, as far as that is known."""
    who = getattr(request.state, "who", None)
    return who if isinstance(who, User) else None


def where_from(request: Request) -> str:
    """Return what one computer has: an address, or the network of one of IPv6."""
    return origin_of(request).network


def identify(platform: Platform, request: Request, token: str | None = None) -> None:
    """Note who asks by their token or session, within their rate; a form may have brought it.

    Without a valid one the address is what has a rate. Whether that matters is for the route to
    say, which asks `user_of`.
    """
    shown = Credential(token) if token else _shown(request)
    with platform.service(origin_of(request)) as service:
        try:
            who: User | Refused = service.user_of(shown)
        except Refused as refusal:
            who = refusal
    address = f"address {where_from(request)}"
    platform.check_rate(f"user {who.id}" if isinstance(who, User) else address)
    request.state.who, request.state.credential = who, shown


def _shown(request: Request) -> Credential:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return Credential(token)
    # Other sites can have a browser send its cookie: the API, which has no forms, takes none.
    if request.scope["path"].startswith("/v1/"):
        return Credential(None)
    session = request.cookies.get(COOKIE)
    return Credential(session, is_session=session is not None)


async def user_of(request: Request) -> User:
    """Return who asks; anybody without a valid token is refused."""
    who: User | Refused = request.state.who
    if isinstance(who, Refused):
        raise who
    return who


async def asking_of(
    request: Request, user: Annotated[User, Depends(user_of)]
) -> AbstractContextManager[tuple[Service, User]]:
    """Return the transaction of a request of a known user, for the route to enter.

    It begins and ends in the thread of the route: one that waited for a thread while it holds the
    database would stop all others.
    """
    return _transaction(request, user)


@contextmanager
def _transaction(request: Request, user: User) -> Iterator[tuple[Service, User]]:
    with platform_of(request).service(origin_of(request)) as service:
        yield service, user


Asking = Annotated[AbstractContextManager[tuple[Service, User]], Depends(asking_of)]
Here = Annotated[Platform, Depends(platform_of)]
Known = Annotated[User, Depends(user_of)]
