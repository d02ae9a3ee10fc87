"""Refusals: their answers, and their lines in the audit trail."""

from __future__ import annotations

import re

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response

from dsguard.dmcp import pages
from dsguard.dmcp.access import Refused
from dsguard.dmcp.dependencies import origin_of, platform_of

log = structlog.get_logger("dsguard.dmcp")
STATUSES = (400, 401, 403, 404, 408, 409, 413, 415, 422, 429, 503)

_DATASET = re.compile(r"(?:/v1)?/datasets/([^/]+)(?:/|$)")
_NOT_AUDITED = ("rate", "not-ready", "no-route")
"""Who asks too often must not fill the trail; the others tell of nothing that is guarded."""


class CutOffError(Exception):
    """An answer that has begun may not go on."""


class RefusedInBody(HTTPException):
    """A refusal while a body is read: parsers of bodies let these pass as they are."""

    def __init__(self, refusal: Refused) -> None:
        super().__init__(refusal.status)
        self.refusal = refusal


def add_handlers(app: FastAPI) -> None:
    """Have all that goes wrong answered in one form."""

    @app.exception_handler(Refused)
    async def refused(request: Request, refusal: Refused) -> Response:
        return await answer_refusal(request, refusal)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        return await answer_refusal(request, _invalid(error))

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        return await answer_refusal(request, _of_http(error))

    @app.exception_handler(ClientDisconnect)
    async def left(request: Request, _: Exception) -> Response:
        refusal = Refused(
            400, "cut-off", "the request ended before all of it was there", "send it again"
        )
        return _answer(request, refusal)  # which nobody reads

    @app.exception_handler(OSError)
    @app.exception_handler(SQLAlchemyError)
    async def unable(request: Request, error: Exception) -> Response:
        log.error("unable", id=request.state.id, error=str(error))
        refusal = Refused(
            503, "not-ready", "the service cannot read or write what it has to",
            "come again later; the operator finds in the log why, a full disk perhaps",
        )  # fmt: skip
        return _answer(request, refusal)

    @app.exception_handler(Exception)
    async def unexpected(request: Request, _: Exception) -> Response:
        refusal = Refused(
            500, "internal", "an internal error, which the log has",
            "tell the operator the number of the request",
        )  # fmt: skip
        return _answer(request, refusal)


async def answer_refusal(request: Request, refusal: Refused) -> Response:
    """Note a refusal in the trail and return what is said of it."""
    if refusal.code not in _NOT_AUDITED:
        found = _DATASET.match(request.url.path)
        dataset = refusal.dataset or (found[1] if found else "")
        await run_in_threadpool(
            platform_of(request).audit_refusal, origin_of(request), refusal, dataset
        )
    return _answer(request, refusal)


def _answer(request: Request, refusal: Refused) -> Response:
    if pages.wants_page(request):
        return pages.refusal_page(request, refusal)
    waits = {429: "60", 503: "1"}
    headers = {"retry-after": waits[refusal.status]} if refusal.status in waits else None
    content = {
        "code": refusal.code,
        "message": refusal.message,
        "remedy": refusal.remedy,
        "request": request.state.id,
    }
    return JSONResponse(content, refusal.status, headers)


def _invalid(error: RequestValidationError) -> Refused:
    """Say what of a request is not as it has to be; the value itself may be a secret."""
    told = "; ".join(
        f"{'.'.join(str(part) for part in fault['loc'][1:])}: {fault['msg']}"
        for fault in error.errors()
    )
    return Refused(422, "invalid", told, "see /docs for what the request has to be")


def _of_http(error: HTTPException) -> Refused:
    """Return the refusal that came through a parser, or what the framework has to say."""
    if isinstance(error, RefusedInBody):
        return error.refusal
    code = "no-route" if error.status_code in (404, 405) else "invalid"
    return Refused(error.status_code, code, error.detail, "see /docs for what can be asked")
