"""A small page, rendered here: an owner's datasets, a user's datasets, a few images restored."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

from fastapi import APIRouter, Form, Request, UploadFile
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from jinja2 import Environment, FileSystemLoader, select_autoescape
from sqlalchemy import select

from dsguard.dmcp.access import Refused, Service
from dsguard.dmcp.frames import OK
from dsguard.dmcp.model import Dataset, Entry, Grant, User

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dsguard.dmcp.app import Platform
    from dsguard.dmcp.restoring import Restored

COOKIE = "dsguard_token"
_MOST_FILES = 12
_SHOWN_ENTRIES = 200
_pages = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=select_autoescape(),
    trim_blocks=True,
)
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'self'"


def page(name: str, user: User | None = None, status: int = 200, **content: Any) -> HTMLResponse:
    """Return a rendered page that loads nothing from elsewhere and cannot be framed."""
    text = _pages.get_template(name).render(user=user and user.name, **content)
    headers = {
        "content-security-policy": f"{_POLICY}; frame-ancestors 'none'",
        "referrer-policy": "same-origin",
        "cache-control": "no-store",
    }
    return HTMLResponse(text, status, headers)


def wants_page(request: Request) -> bool:
    """Tell whether a browser asks, and not a program."""
    return not request.url.path.startswith("/v1/") and "text/html" in request.headers.get(
        "accept", ""
    )


def refusal_page(refusal: Refused) -> HTMLResponse:
    """Return what a browser shows of a refusal; who is not logged in can do so there."""
    name = "login.html" if refusal.status == 401 else "page.html"
    note = f"{refusal.message}. {refusal.remedy[:1].upper()}{refusal.remedy[1:]}."
    return page(name, status=refusal.status, note=note if refusal.code != "no-token" else "")


def check_same_site(request: Request) -> None:
    """Refuse a form that another site sent."""
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
        raise Refused(403, "other-site", "this form came from another site", "use the page itself")


def router(
    platform: Platform,
    asking: Callable[[Request], Any],
    rights_of: Callable[[Service, User, Dataset], list[str]],
    requests_for: Callable[[Service, User], Any],
    restore: Callable[[Request, User, str, list[tuple[str, bytes]]], Iterator[list[Restored]]],
) -> APIRouter:
    """Return the routes of the page; what they do is what the API does."""
    routes = APIRouter(include_in_schema=False)

    @routes.get("/")
    def home(request: Request, note: str = "") -> Response:
        with asking(request) as (service, user):
            rows = service.session.scalars(select(Dataset).order_by(Dataset.name)).all()
            datasets = [(row, rights_of(service, user, row)) for row in rows]
            return page(
                "home.html",
                user,
                note=note,
                datasets=datasets,
                managed={row.name for row, rights in datasets if "manage" in rights},
                requests=requests_for(service, user),
            )

    @routes.post("/login")
    def login(request: Request, token: str = Form(max_length=100)) -> Response:
        check_same_site(request)
        request.state.token = token.strip()
        with asking(request):
            answer = RedirectResponse("/", 303)
        answer.set_cookie(
            COOKIE,
            token.strip(),
            httponly=True,
            samesite="strict",
            secure=platform.settings.secure_cookies,
        )
        return answer

    @routes.post("/logout")
    def logout(request: Request) -> Response:
        check_same_site(request)
        answer = RedirectResponse("/", 303)
        answer.delete_cookie(COOKIE)
        return answer

    @routes.post("/requests/{number}")
    def answer(
        request: Request,
        number: int,
        accept: str = Form(),
        reason: str = Form("", max_length=2000),
    ) -> Response:
        check_same_site(request)
        with asking(request) as (service, user):
            row = service.answer(user, number, reason, accept=accept == "yes")
            return _home(f"The request of {row.user.name} was {row.state}.")

    @routes.post("/datasets/{name}/ask")
    def ask(request: Request, name: str, message: str = Form("", max_length=2000)) -> Response:
        check_same_site(request)
        with asking(request) as (service, user):
            service.ask(user, service.dataset_named(name), message)
            return _home("Your request is with the owners.")

    @routes.get("/datasets/{name}")
    def manage(request: Request, name: str) -> Response:
        with asking(request) as (service, user):
            dataset = service.dataset_named(name)
            service.granted(user, dataset, "manage")
            session = service.session
            return page(
                "dataset.html",
                user,
                dataset=dataset,
                keys=[(v, key_id) for key_id, (v, _) in service.ring(dataset).items()],
                grants=session.scalars(
                    select(Grant).where(Grant.dataset_id == dataset.id).order_by(Grant.id.desc())
                ).all(),
                entries=session.scalars(
                    select(Entry)
                    .where(Entry.dataset == name)
                    .order_by(Entry.number.desc())
                    .limit(_SHOWN_ENTRIES)
                ).all(),
            )

    @routes.post("/datasets/{name}/revoke")
    def revoke(request: Request, name: str, user: str = Form(), right: str = Form()) -> Response:
        check_same_site(request)
        with asking(request) as (service, manager):
            whose = service.user_named(user)
            service.revoke(manager, service.dataset_named(name), whose, right)
            return RedirectResponse(f"/datasets/{name}", 303)

    @routes.get("/datasets/{name}/restore")
    def choose(request: Request, name: str) -> Response:
        with asking(request) as (service, user):
            service.granted(user, service.dataset_named(name), "restore")
            return page("restore.html", user, dataset=name, most=_MOST_FILES)

    @routes.post("/datasets/{name}/restore")
    def show(request: Request, name: str, files: list[UploadFile]) -> Response:
        check_same_site(request)
        with asking(request) as (service, user):
            service.granted(user, service.dataset_named(name), "restore")
        given = [(f.filename or "image.png", f.file.read()) for f in files[:_MOST_FILES]]
        pairs: list[dict[str, str]] = []
        for chunk in restore(request, user, name, given):
            for (_, before), image in zip(given[len(pairs) :], chunk, strict=False):
                good = image.status == OK
                pairs.append(
                    {
                        "name": image.name,
                        "before": _as_url(before),
                        "after": _as_url(image.data) if good else "",
                        "error": "" if good else image.status,
                    }
                )
        return page("restore.html", user, dataset=name, most=_MOST_FILES, pairs=pairs)

    return routes


def _home(note: str) -> RedirectResponse:
    return RedirectResponse("/?" + urlencode({"note": note}), 303)


def _as_url(file: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(file).decode()
