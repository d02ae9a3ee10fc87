"""Who asks: where a request comes from, whose token it has, and its transaction."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, cast

from fastapi import Depends, Request

from dsguard.dmcp.access import Refused, Service
from dsguard.dmcp.audit import Origin
from dsguard.dmcp.model import User
from dsguard.dmcp.platform import Platform

COOKIE = "dsguard_token"


def platform_of(request: Request) -> Platform:
    """Return the platform."""
    return cast("Platform", request.app.state.platform)


def origin_of(request: Request) -> Origin:
    """Return where a request comes from."""
    who = getattr(request.state, "who", None)
    address = request.client.host if request.client else ""
    return Origin(who.name if isinstance(who, User) else "", address, request.state.id)


def identify(platform: Platform, request: Request, token: str | None = None) -> None:
    """Note whose token a request has, within their rate; a form may have brought it.

    Without a valid one the address is what has a rate. Whether that matters is for the route to
    say, which asks `user_of`.
    """
    with platform.service(origin_of(request)) as service:
        try:
            who: User | Refused = service.user_of(token or _token(request))
        except Refused as refusal:
            who = refusal
    address = request.client.host if request.client else ""
    platform.check_rate(f"user {who.id}" if isinstance(who, User) else f"address {address}")
    request.state.who = who


def _token(request: Request) -> str | None:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token if scheme.lower() == "bearer" else request.cookies.get(COOKIE)


async def user_of(request: Request) -> User:
    """Return who asks; anybody without a valid token is refused."""
    who: User | Refused = request.state.who
    if isinstance(who, Refused):
        raise who
    return who


def service_of(
    request: Request, user: Annotated[User, Depends(user_of)]
) -> Iterator[tuple[Service, User]]:
    """Yield the transaction of a request of a known user."""
    with platform_of(request).service(origin_of(request)) as service:
        yield service, user


Asking = Annotated[tuple[Service, User], Depends(service_of, scope="function")]
Here = Annotated[Platform, Depends(platform_of)]
Known = Annotated[User, Depends(user_of)]
