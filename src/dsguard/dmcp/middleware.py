"""The way of every request to its route: an id, a rate, limits of size and of patience."""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from typing import TYPE_CHECKING, TypeVar

import structlog
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.requests import Request

from dsguard.dmcp.access import Refused
from dsguard.dmcp.bodies import too_large
from dsguard.dmcp.dependencies import identify, known
from dsguard.dmcp.errors import CutOffError, RefusedInBody, answer_refusal
from dsguard.dmcp.pace import Patience

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from dsguard.dmcp.state import Platform

_OPERATION = ("/healthz", "/readyz", "/metrics")
_FORM_BYTES = 64 << 10
"""The most that a request without images has, or one of somebody without a token."""

_ID_BYTES = 36
"""Of the id of an image in JSON: 32 digits, two quotes, a comma and a blank."""

_LARGE = re.compile("(?:/v1)?/datasets/[^/]+/(restore|samples|jobs|image-keys)")
"""Paths of requests that may be larger: whole ones, or a sender could choose the end of others."""

_ODD_CHARSET = re.compile(r";\s*charset(?!\s*=\s*[\"']?(utf-?8|us-ascii)[\"']?\s*(;|$))")
"""Some that Python knows, such as punycode, take the square of the time that UTF-8 does."""

_T = TypeVar("_T")

log = structlog.get_logger("dsguard.dmcp")


class Gate:
    """ASGI middleware around the whole application.

    Parameters
    ----------
    app : ASGIApp
    platform : Platform
    """

    def __init__(self, app: ASGIApp, platform: Platform) -> None:
        self._app, self._platform = app, platform

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        request.state.id = secrets.token_hex(8)
        answer = _Answer(send, request, self._platform)
        try:
            if scope["path"] not in _OPERATION:
                await run_in_threadpool(identify, self._platform, request)
            body = _Body(receive, *self._most(request), self._platform.settings.patience)
            body.check(request)
        except Refused as refusal:
            response = await answer_refusal(request, refusal)
            await response(scope, receive, answer.send)
        else:
            try:
                await self._app(scope, body.receive, answer.send)
            except CutOffError as error:
                log.warning("cut off", id=request.state.id, error=str(error))
        finally:
            answer.log()

    def _most(self, request: Request) -> tuple[int, Refused]:
        """Return how large a body may be, and what is said to a larger one."""
        settings, found = self._platform.settings, _LARGE.fullmatch(request.scope["path"])
        larger = {
            "restore": settings.body_bytes,
            "samples": settings.body_bytes,
            "jobs": settings.job_bytes,
            "image-keys": _FORM_BYTES + _ID_BYTES * settings.request_images,
        }.get(found[1] if found else "")
        who = getattr(request.state, "who", None)
        if larger is not None and isinstance(who, Refused):
            return _FORM_BYTES, who
        most = larger or _FORM_BYTES
        return most, too_large(most)


async def _waited_for(step: Awaitable[_T], patience: Patience, most: float) -> _T:
    """Return the outcome of a step.

    Raises
    ------
    TimeoutError
        If it takes longer than so many seconds, or all steps together take too long.
    """
    with patience.spent():
        async with asyncio.timeout(max(0.0, min(patience.left, most))):
            return await step


class _Body:
    """The body of a request, as far as it may go."""

    def __init__(self, receive: Receive, most: int, refusal: Refused, patience: float) -> None:
        self._receive, self._most, self._refusal = receive, most, refusal
        self._sender, self._patience = Patience(patience), patience
        self._whole = False

    def check(self, request: Request) -> None:
        """Refuse a body before any of it is taken: what is said of it is enough."""
        if _ODD_CHARSET.search(request.headers.get("content-type", "").lower()):
            raise _not_utf8()
        told = request.headers.get("content-length", "")
        if told.isascii() and told.isdigit() and int(told[:20]) > self._most:
            raise self._refusal

    async def receive(self) -> Message:
        """Return the next part; once there is no more, wait for the end of the connection."""
        if self._whole:
            return await self._receive()
        try:
            message = await _waited_for(self._receive(), self._sender, self._patience)
        except TimeoutError:
            raise RefusedInBody(_too_slow()) from None
        self._sender.moved += len(message.get("body", b""))
        self._whole = not message.get("more_body", False)
        if self._sender.moved > self._most:
            raise RefusedInBody(self._refusal)
        return message


class _Answer:
    """The answer to a request: its header gets the id; it is measured and logged."""

    def __init__(self, send: Send, request: Request, platform: Platform) -> None:
        self._send, self._request, self._platform = send, request, platform
        self._reader = Patience(platform.settings.patience)
        self._start = time.perf_counter()
        self._status, self._seconds = 500, 0.0

    async def send(self, message: Message) -> None:
        """Send a part of the answer, if the reader takes it in time."""
        if message["type"] == "http.response.start":
            self._status, self._seconds = message["status"], time.perf_counter() - self._start
            headers = MutableHeaders(scope=message)
            headers["x-request-id"] = self._request.state.id
            headers["x-content-type-options"] = "nosniff"
            headers.setdefault("cache-control", "no-store")
        try:
            patience = self._platform.settings.patience
            await _waited_for(self._send(message), self._reader, patience)
        except TimeoutError:  # an OSError, which would be taken for one of the service's own
            msg = "the reader stopped, or is too slow"
            raise CutOffError(msg) from None
        self._reader.moved += len(message.get("body", b""))

    def log(self) -> None:
        """Count the request and write its line; nothing secret is in it."""
        request, platform = self._request, self._platform
        route = getattr(request.scope.get("route"), "path", "unknown")
        who = known(request)
        platform.requests.labels(route, self._status).inc()
        platform.seconds.labels(route).observe(self._seconds)
        log.info(
            "request",
            id=request.state.id,
            method=request.method,
            route=route,
            status=self._status,
            user=who.name if who else "",
            milliseconds=round(1000 * self._seconds, 1),
        )


def _not_utf8() -> Refused:
    return Refused(
        415, "content-type", "the text in it is in another encoding than UTF-8", "send it in UTF-8"
    )


def _too_slow() -> Refused:
    told = "it came too slowly, or did not come to its end"
    return Refused(408, "too-slow", told, "send the request again, in smaller parts")
