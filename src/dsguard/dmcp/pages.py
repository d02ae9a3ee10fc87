"""The pages, rendered here without a script: logging in, datasets and requests, the API."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlencode, urlsplit

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from jinja2 import Environment, FileSystemLoader, select_autoescape
from sqlalchemy import select
from starlette.concurrency import run_in_threadpool

from dsguard.dmcp import schemas
from dsguard.dmcp.access import Refused
from dsguard.dmcp.budgets import Limits
from dsguard.dmcp.dependencies import (
    COOKIE,
    Asking,
    Here,
    identify,
    known,
    origin_of,
    user_of,
)
from dsguard.dmcp.model import Dataset, User
from dsguard.dmcp.state import Platform

NOTES = {
    "asked": "Your request is with the owners.",
    "accepted": "The request was accepted.",
    "refused": "The request was refused.",
    "granted": "The right was given.",
    "revoked": "The right was taken back.",
    "samples": "Everybody with an account sees these samples now.",
    "none": "The dataset is shown by no samples now.",
}
"""By the word of it in an address: no other text gets from there into a page."""

_pages = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=select_autoescape(),
    trim_blocks=True,
)
_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'self'; "
    "base-uri 'none'"
)


def page(name: str, user: User | None = None, status: int = 200, **content: Any) -> HTMLResponse:
    """Return a rendered page that loads nothing from elsewhere and cannot be framed."""
    text = _pages.get_template(name).render(user=user and user.name, **content)
    headers = {
        "content-security-policy": f"{_POLICY}; frame-ancestors 'none'",
        "referrer-policy": "same-origin",
    }
    return HTMLResponse(text, status, headers)


def wants_page(request: Request) -> bool:
    """Tell whether a browser asks, and not a program."""
    return not request.scope["path"].startswith("/v1/") and "text/html" in request.headers.get(
        "accept", ""
    )


def refusal_page(request: Request, refusal: Refused) -> HTMLResponse:
    """Return what a browser shows of a refusal; who is not logged in can do so there."""
    name = "login.html" if refusal.status == 401 else "page.html"
    note = f"{refusal.message}. {refusal.remedy[:1].upper()}{refusal.remedy[1:]}."
    note = note if refusal.code != "no-token" else ""
    return page(name, known(request), refusal.status, note=note)


async def check_same_site(request: Request) -> None:
    """Refuse a form that another site sent."""
    origin, site = request.headers.get("origin"), request.headers.get("sec-fetch-site")
    is_other = origin is not None and _host_of(origin) != request.headers.get("host")
    if is_other or site not in (None, "same-origin", "none"):
        raise Refused(403, "other-site", "this form came from another site", "use the page itself")


def _host_of(origin: str) -> str:
    try:
        return urlsplit(origin).netloc
    except ValueError:  # it is none
        return ""


router = APIRouter(include_in_schema=False)
_form = APIRouter(include_in_schema=False, dependencies=[Depends(check_same_site)])
Message = Annotated[schemas.Text, Form()]


@router.get("/docs")
def reference(request: Request) -> Response:
    """Show what the API takes."""
    document = request.app.openapi()
    routes = [
        (f"{method.upper()} {path}", facts["description"], _fields(document, facts))
        for path, methods in document["paths"].items()
        for method, facts in methods.items()
    ]
    return page("docs.html", routes=routes)


def _fields(document: dict[str, Any], facts: dict[str, Any]) -> list[str]:
    """Return what a route takes beside its path: parameters, and fields of its JSON."""
    taken = [given["name"] for given in facts.get("parameters", []) if given["in"] == "query"]
    body = facts.get("requestBody", {}).get("content", {}).get("application/json")
    if body:
        schema = body["schema"]
        if "$ref" in schema:
            schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        taken += schema["properties"]
    return taken


@router.get("/")
def home(asking: Asking, note: str = "") -> Response:
    """Show datasets and requests."""
    with asking as (service, user):
        rights = service.rights(user)
        rows = service.session.scalars(select(Dataset).order_by(Dataset.name)).all()
        datasets = [(row, rights.get(row.id, [])) for row in rows]
        requests = service.requests(user)
        return page(
            "home.html",
            user,
            note=NOTES.get(note, ""),
            datasets=datasets,
            managed={row.name for row, rights in datasets if "manage" in rights},
            requests=requests,
            asked={
                row.dataset.name
                for row in requests
                if row.user_id == user.id and row.state == "pending"
            },
        )


@_form.post("/login")
async def login(
    request: Request, platform: Here, token: Annotated[str, Form(max_length=100)]
) -> Response:
    """Begin a session, whose secret is in a cookie; the token itself stays with its owner."""
    await run_in_threadpool(identify, platform, request, token.strip())
    await user_of(request)
    session = await run_in_threadpool(_begin, platform, request)
    answer = RedirectResponse("/", 303)
    answer.set_cookie(
        COOKIE,
        session,
        max_age=round(3600 * platform.settings.session_hours),
        httponly=True,
        samesite="strict",
        secure=platform.settings.secure_cookies,
    )
    return answer


def _begin(platform: Platform, request: Request) -> str:
    with platform.service(origin_of(request)) as service:
        return service.begin_session(request.state.credential, platform.settings.session_hours)


@_form.post("/logout")
def logout(request: Request, platform: Here) -> Response:
    """End the session."""
    with platform.service(origin_of(request)) as service:
        service.end_session(request.state.credential)
    answer = RedirectResponse("/", 303)
    answer.delete_cookie(COOKIE)
    return answer


@_form.post("/requests/{number}")
def answer_request(
    asking: Asking,
    number: schemas.Number,
    accept: Annotated[str, Form()],
    reason: Message = "",
    images: Annotated[int | None, Form(ge=1, le=10**12)] = None,
    distinct: Annotated[bool, Form()] = False,
    back: Annotated[str, Form(max_length=64)] = "",
) -> Response:
    """Accept a request, for a number of images if one is given, or refuse it."""
    with asking as (service, user):
        limits = Limits(quota=images, distinct=distinct)
        row = service.answer(user, number, reason, limits, accept=accept == "yes")
        return answered(f"/datasets/{row.dataset.name}" if back else "/", row.state)


@_form.post("/datasets/{name}/ask")
def ask(asking: Asking, name: str, message: Message = "") -> Response:
    """Ask for the right to restore."""
    with asking as (service, user):
        service.ask(user, service.dataset_named(name), message)
        return answered("/", "asked")


def answered(where: str, note: str) -> RedirectResponse:
    """Return the way to a page that says how a form went."""
    return RedirectResponse(f"{where}?" + urlencode({"note": note}), 303)


router.include_router(_form)
