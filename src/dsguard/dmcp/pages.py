"""A small page, rendered here: an owner's datasets, a user's datasets, a few images restored."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlencode, urlsplit

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from jinja2 import Environment, FileSystemLoader, select_autoescape
from sqlalchemy import select
from sqlalchemy.orm import joinedload
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile

from dsguard.dmcp import schemas
from dsguard.dmcp.access import Refused
from dsguard.dmcp.budgets import Limits
from dsguard.dmcp.dependencies import (
    COOKIE,
    Asking,
    Here,
    Known,
    identify,
    known,
    origin_of,
    user_of,
)
from dsguard.dmcp.frames import OK, too_large
from dsguard.dmcp.model import Dataset, Entry, Grant, User
from dsguard.dmcp.restoring import PNG, Upload
from dsguard.dmcp.state import Platform

_MOST_FILES = 12
_SHOWN_ENTRIES = 200
_NOTES = {
    "asked": "Your request is with the owners.",
    "accepted": "The request was accepted.",
    "refused": "The request was refused.",
}
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
    return not request.url.path.startswith("/v1/") and "text/html" in request.headers.get(
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
        return page(
            "home.html",
            user,
            note=_NOTES.get(note, ""),
            datasets=datasets,
            managed={row.name for row, rights in datasets if "manage" in rights},
            requests=service.requests(user),
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
) -> Response:
    """Accept a request, for a number of images if one is given, or refuse it."""
    with asking as (service, user):
        limits = Limits(quota=images, distinct=distinct)
        row = service.answer(user, number, reason, limits, accept=accept == "yes")
        return _home(row.state)


@_form.post("/datasets/{name}/ask")
def ask(asking: Asking, name: str, message: Message = "") -> Response:
    """Ask for the right to restore."""
    with asking as (service, user):
        service.ask(user, service.dataset_named(name), message)
        return _home("asked")


@router.get("/datasets/{name}")
def manage(asking: Asking, name: str) -> Response:
    """Show keys, grants and trail of a dataset."""
    with asking as (service, user):
        dataset = service.dataset_named(name)
        service.granted(user, dataset, "manage")
        grants = (
            select(Grant)
            .where(Grant.dataset_id == dataset.id)
            .options(joinedload(Grant.user))
            .order_by(Grant.id.desc())
        )
        entries = select(Entry).where(Entry.dataset == name).order_by(Entry.number.desc())
        done, refused = (
            service.session.scalars(entries.where(which).limit(_SHOWN_ENTRIES)).all()
            for which in (Entry.action != "refused", Entry.action == "refused")
        )
        return page(
            "dataset.html",
            user,
            dataset=dataset,
            keys=[(version, key_id) for key_id, (version, _) in service.ring(dataset).items()],
            grants=service.session.scalars(grants).all(),
            trails=[("Audit trail", done), ("What was refused", refused)],
        )


@_form.post("/datasets/{name}/revoke")
def revoke(
    asking: Asking,
    name: str,
    user: Annotated[schemas.Name, Form()],
    right: Annotated[schemas.Right, Form()],
) -> Response:
    """Take a right back."""
    with asking as (service, manager):
        service.revoke(manager, service.dataset_named(name), user, right)
        return RedirectResponse(f"/datasets/{name}", 303)


@router.get("/datasets/{name}/restore")
def choose(asking: Asking, name: str) -> Response:
    """Show where images are dropped."""
    with asking as (service, user):
        service.granted(user, service.dataset_named(name), "restore")
        return page("restore.html", user, dataset=name, most=_MOST_FILES)


@_form.post("/datasets/{name}/restore")
async def show(request: Request, platform: Here, user: Known, name: str) -> Response:
    """Show a few images, protected and restored; nothing is read for who may not restore."""
    await run_in_threadpool(platform.admit, origin_of(request), user, name)
    with platform.place(user):
        async with request.form(max_files=100) as form:
            files = [file for file in form.getlist("files") if not isinstance(file, str)]
            if not 0 < len(files) <= _MOST_FILES:
                raise Refused(
                    422, "too-many", f"these are {len(files)} files; send 1 to {_MOST_FILES}",
                    "use the command line for more: `dsguard dmcp restore`",
                )  # fmt: skip
            given = [_upload(file, platform.settings.image_bytes) for file in files]
        return await run_in_threadpool(_shown, platform, request, user, name, given)


def _shown(
    platform: Platform, request: Request, user: User, name: str, given: list[Upload]
) -> Response:
    chunks = platform.restored(origin_of(request), user, name, given, request.state.credential)
    restored = [image for chunk in chunks for image in chunk]
    pairs = [
        {
            "name": image.answered,
            "before": _as_url(before.data),
            "after": _as_url(image.data, image.suffix),
            "error": "" if image.status == OK else image.status,
        }
        for before, image in zip(given, restored, strict=True)
    ]
    return page("restore.html", user, dataset=name, most=_MOST_FILES, pairs=pairs)


def _upload(file: UploadFile, most: int) -> Upload:
    name, size = (file.filename or "image").encode(errors="replace").decode(), file.size or 0
    return (
        Upload(name, b"", too_large(size, most)) if size > most else Upload(name, file.file.read())
    )


def _home(note: str) -> RedirectResponse:
    return RedirectResponse("/?" + urlencode({"note": note}), 303)


def _as_url(file: bytes, suffix: str = PNG) -> str:
    """Return a file as a URL: of an image that browsers show, else one that they only save."""
    kind = _SHOWN.get(suffix.lower(), "application/octet-stream")
    return f"data:{kind};base64,{base64.b64encode(file).decode()}" if file else ""


_SHOWN = {PNG: "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg"}


router.include_router(_form)
