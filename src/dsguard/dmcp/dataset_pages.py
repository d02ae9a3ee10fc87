"""The pages of a dataset: its samples, usage, requests, grants and trail; images restored."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import Response
from sqlalchemy import select
from sqlalchemy.orm import joinedload
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile

from dsguard.dmcp import samples, schemas
from dsguard.dmcp.access import Refused, Service
from dsguard.dmcp.budgets import Limits
from dsguard.dmcp.dependencies import Asking, Here, Known, origin_of
from dsguard.dmcp.frames import OK, too_large
from dsguard.dmcp.model import Dataset, Entry, Grant, User, Webhook
from dsguard.dmcp.pages import NOTES, answered, check_same_site, page
from dsguard.dmcp.restoring import PNG, Upload
from dsguard.formats import png

if TYPE_CHECKING:
    from dsguard.dmcp.restoring import Restored
    from dsguard.dmcp.state import Platform

_MOST_FILES = 12
_SHOWN_ENTRIES = 50
_SMALL = 96
"""Pixels a side of images whose pixels are shown as squares."""

_SHOWN = {PNG: "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".gif": "image/gif"}

router = APIRouter(include_in_schema=False)
_form = APIRouter(include_in_schema=False, dependencies=[Depends(check_same_site)])


@dataclass(frozen=True)
class _Picture:
    """An image as published and, where it was restored, as it is; both as URLs, or empty.

    `error` says why it was not restored, if it was to be.
    """

    name: str
    before: str
    after: str = ""
    error: str = ""
    small: bool = False


@router.get("/datasets/{name}")
def show(
    request: Request, platform: Here, asking: Asking, user: Known, name: str, note: str = ""
) -> Response:
    """Show a dataset: its samples to everybody, all that belongs to it to who manages it."""
    with asking as (service, _):
        dataset = service.dataset_named(name)
        rights = service.rights(user).get(dataset.id, [])
        manages = "manage" in rights
        files = samples.published(service, dataset)
        content: dict[str, Any] = {
            "dataset": dataset,
            "rights": rights,
            "manages": manages,
            "note": NOTES.get(note, ""),
            "days": platform.usage.by_day(service.session, name, None if manages else user.name)
            if rights
            else [],
            "requests": [each for each in service.requests(user) if each.dataset_id == dataset.id],
            **(_managed(service, dataset) if manages else {}),
        }
    seen, refused = _restored(platform, request, user, name, files if "restore" in rights else [])
    shown = [
        _picture(f"sample {n}", file, seen[n - 1] if seen else None)
        for n, file in enumerate(files, 1)
    ]
    return page("dataset.html", user, samples=shown, refused=refused, most=_MOST_FILES, **content)


def _managed(service: Service, dataset: Dataset) -> dict[str, Any]:
    """Return what only managers see."""
    grants = (
        select(Grant)
        .where(Grant.dataset_id == dataset.id)
        .options(joinedload(Grant.user))
        .order_by(Grant.revoked.is_not(None), Grant.id.desc())
    )
    entries = select(Entry).where(Entry.dataset == dataset.name).order_by(Entry.number.desc())
    done, refused = (
        service.session.scalars(entries.where(which).limit(_SHOWN_ENTRIES)).all()
        for which in (Entry.action != "refused", Entry.action == "refused")
    )
    return {
        "keys": [(version, key_id) for key_id, (version, _) in service.ring(dataset).items()],
        "webhook": service.session.get(Webhook, dataset.id, options=[joinedload(Webhook.user)]),
        "grants": service.session.scalars(grants).all(),
        "trails": [("Audit trail", done), ("What was refused", refused)],
    }


def _restored(
    platform: Platform, request: Request, user: User, name: str, files: list[bytes]
) -> tuple[list[Restored], str]:
    """Return samples, restored; or why they are not, as the page is of use without them."""
    if not files:
        return [], ""
    origin = origin_of(request)
    try:
        return samples.restored(platform, origin, user, name, files, request.state.credential), ""
    except Refused as refusal:
        platform.audit_refusal(origin, refusal, name)
        return [], f"{refusal.message}; {refusal.remedy}"


@_form.post("/datasets/{name}/samples")
async def choose_samples(request: Request, platform: Here, user: Known, name: str) -> Response:
    """Show the dataset by these images, or by none."""
    origin = origin_of(request)
    await run_in_threadpool(samples.admit, platform, origin, user, name)
    with platform.place(user):
        async with request.form(max_files=100) as form:
            files = [] if form.get("remove") else _files(form.getlist("files"), samples.MOST)
            given = [_upload(file, platform.settings.image_bytes) for file in files]
        credential = request.state.credential
        count = await run_in_threadpool(
            samples.replace, platform, origin, user, name, given, credential
        )
    return answered(f"/datasets/{name}", "samples" if count else "none")


@_form.post("/datasets/{name}/grants")
def grant(
    asking: Asking,
    name: str,
    user: Annotated[schemas.Name, Form()],
    until: Annotated[str, Form(max_length=10)] = "",
    images: Annotated[str, Form(max_length=12)] = "",
    distinct: Annotated[bool, Form()] = False,
) -> Response:
    """Give the right to restore; fields that are left empty set no limit.

    Other rights lead to the API, and to the key, which a session does not.
    """
    with asking as (service, manager):
        limits = Limits(expires=_date(until), quota=_number(images), distinct=distinct)
        dataset = service.dataset_named(name)
        service.grant(manager, dataset, user, "restore", limits)
        return answered(f"/datasets/{name}", "granted")


def _date(text: str) -> datetime | None:
    try:
        return datetime.strptime(text, "%Y-%m-%d") if text else None
    except ValueError:
        raise Refused(
            422, "invalid", "this is no date", "write it as 2027-01-31, or leave it empty"
        ) from None


def _number(text: str) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and int(text)):
        raise Refused(
            422, "invalid", "this is no number of images", "give a number, or leave it empty"
        )
    return int(text)


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
        return answered(f"/datasets/{name}", "revoked")


@router.get("/datasets/{name}/restore")
def choose(asking: Asking, name: str) -> Response:
    """Show where images are dropped."""
    with asking as (service, user):
        dataset = service.dataset_named(name)
        service.granted(user, dataset, "restore")
        return page("restore.html", user, dataset=dataset, most=_MOST_FILES)


@_form.post("/datasets/{name}/restore")
async def restore(request: Request, platform: Here, user: Known, name: str) -> Response:
    """Show a few images, protected and restored; nothing is read for who may not restore."""
    await run_in_threadpool(platform.admit, origin_of(request), user, name)
    with platform.place(user):
        async with request.form(max_files=100) as form:
            files = _files(form.getlist("files"), _MOST_FILES)
            given = [_upload(file, platform.settings.image_bytes) for file in files]
        return await run_in_threadpool(_shown, platform, request, user, name, given)


def _shown(
    platform: Platform, request: Request, user: User, name: str, given: list[Upload]
) -> Response:
    with platform.service(origin_of(request)) as service:
        dataset = service.dataset_named(name)
    chunks = platform.restored(origin_of(request), user, name, given, request.state.credential)
    restored = [image for chunk in chunks for image in chunk]
    pairs = [
        _picture(image.answered, before.data, image)
        for before, image in zip(given, restored, strict=True)
    ]
    return page("restore.html", user, dataset=dataset, most=_MOST_FILES, pairs=pairs)


def _files(fields: list[UploadFile | str], most: int) -> list[UploadFile]:
    files = [field for field in fields if not isinstance(field, str)]
    if not 0 < len(files) <= most:
        raise Refused(
            422, "too-many", f"these are {len(files)} files; send 1 to {most}",
            "use the command line for more: `dsguard restore`, `dsguard dmcp restore`",
        )  # fmt: skip
    return files


def _upload(file: UploadFile, most: int) -> Upload:
    name, size = (file.filename or "image").encode(errors="replace").decode(), file.size or 0
    return (
        Upload(name, b"", too_large(size, most)) if size > most else Upload(name, file.file.read())
    )


def _picture(name: str, before: bytes, image: Restored | None) -> _Picture:
    is_shown = before.startswith(png.SIGNATURE)
    shown = _as_url(before) if is_shown else ""
    small = is_shown and max(png.size_of(before) or (_SMALL,)) < _SMALL
    if image is None:
        return _Picture(name, shown, small=small)
    error = "" if image.status == OK else image.status
    return _Picture(name, shown, _as_url(image.data, image.suffix), error, small)


def _as_url(file: bytes, suffix: str = PNG) -> str:
    """Return a file as a URL: of an image that browsers show, else one that they only save."""
    kind = _SHOWN.get(suffix.lower(), "application/octet-stream")
    return f"data:{kind};base64,{base64.b64encode(file).decode()}" if file else ""


router.include_router(_form)
