"""The API but for images: health, accounts, datasets, grants, requests."""

from __future__ import annotations

import shutil
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import PlainTextResponse
from prometheus_client import generate_latest
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import joinedload

from dsguard.dmcp import schemas
from dsguard.dmcp.access import Refused
from dsguard.dmcp.dependencies import Asking, Here, origin_of, where_from
from dsguard.dmcp.model import Dataset, Entry, Grant
from dsguard.dmcp.model import Request as AccessRequest
from dsguard.keys import DatasetKey

router = APIRouter()


@router.get("/healthz", tags=["operation"])
def healthz() -> dict[str, str]:
    """Tell that the process answers."""
    return {"status": "ok"}


@router.get("/readyz", tags=["operation"])
def readyz(request: Request, platform: Here) -> dict[str, str]:
    """Tell that the database answers as well, that the master key is its own, and has room."""
    try:
        with platform.service(origin_of(request)) as service:
            service.check_vault()
    except SQLAlchemyError as error:
        raise Refused(503, "not-ready", "the database does not answer", "see the log") from error
    if shutil.disk_usage(platform.settings.folder).free < platform.settings.body_bytes:
        raise Refused(503, "not-ready", "the disk is full", "make room in the folder")
    return {"status": "ok"}


@router.get("/metrics", tags=["operation"], response_class=PlainTextResponse)
def metrics(platform: Here) -> bytes:
    """Return the metrics of Prometheus."""
    return generate_latest(platform.registry)


# Accounts


@router.post("/v1/users", status_code=201, tags=["accounts"])
def register(asked: schemas.Registration, request: Request, platform: Here) -> schemas.TokenGiven:
    """Make an account. Its token is shown this once."""
    if not platform.settings.open_registration:
        raise Refused(403, "closed", "accounts are made by the operator", "ask for one")
    platform.check_registrations(where_from(request))
    with platform.service(origin_of(request)) as service:
        user, token = service.register(asked.name)
    return schemas.TokenGiven(name=user.name, token=token)


@router.get("/v1/me", tags=["accounts"])
def me(asking: Asking) -> dict[str, Any]:
    """Tell whose token this is."""
    with asking as (_, user):
        return {"name": user.name, "publisher": user.publisher}


@router.post("/v1/tokens", status_code=201, tags=["accounts"])
def new_token(asking: Asking) -> schemas.TokenGiven:
    """Give a new token; the old one ends."""
    with asking as (service, user):
        return schemas.TokenGiven(name=user.name, token=service.new_token(user))


# Datasets


@router.post("/v1/datasets", status_code=201, tags=["datasets"])
def deposit(asked: schemas.Deposit, asking: Asking) -> schemas.KeyShown:
    """Deposit a dataset, or a new version of its key."""
    with asking as (service, user):
        key = None if asked.secret is None else DatasetKey(bytes.fromhex(asked.secret))
        row = service.deposit(user, asked.name, asked.title, key)
        return schemas.KeyShown(dataset=asked.name, version=row.version, key_id=row.key_id)


@router.get("/v1/datasets", tags=["datasets"])
def datasets(asking: Asking) -> list[schemas.DatasetShown]:
    """List all datasets."""
    with asking as (service, user):
        rights = service.rights(user)
        rows = service.session.scalars(select(Dataset).order_by(Dataset.name))
        return [
            schemas.DatasetShown(name=row.name, title=row.title, rights=rights.get(row.id, []))
            for row in rows
        ]


@router.get("/v1/datasets/{name}/keys", tags=["datasets"])
def keys(name: str, asking: Asking) -> list[schemas.KeyShown]:
    """List the versions of the key, without the key."""
    with asking as (service, user):
        dataset = service.dataset_named(name)
        service.granted(user, dataset, "manage")
        return [
            schemas.KeyShown(dataset=name, version=version, key_id=key_id)
            for key_id, (version, _) in service.ring(dataset).items()
        ]


@router.post("/v1/datasets/{name}/keys/{version}/export", tags=["datasets"])
def export(name: str, version: schemas.Number, asking: Asking) -> schemas.KeyExported:
    """Hand out a key; needs the right export-key, and cannot be undone."""
    with asking as (service, user):
        dataset = service.dataset_named(name)
        service.granted(user, dataset, "export-key")
        for key_id, (number, key) in service.ring(dataset).items():
            if number == version:
                service.audit("export-key", f"key {key_id}", dataset=name, key_version=version)
                return schemas.KeyExported(
                    dataset=name, version=version, key_id=key_id, secret=key.secret.hex()
                )
        raise Refused(404, "no-key", f"{name} has no version {version}", "list the versions first")


@router.get("/v1/datasets/{name}/audit", tags=["datasets"])
def audit(
    name: str,
    asking: Asking,
    after: Annotated[int, Query(ge=0, le=2**31 - 1)] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> list[schemas.EntryShown]:
    """List the audit trail of a dataset."""
    with asking as (service, user):
        service.granted(user, service.dataset_named(name), "manage")
        rows = service.session.scalars(
            select(Entry)
            .where(Entry.dataset == name, Entry.number > after)
            .order_by(Entry.number)
            .limit(limit)
        )
        return [schemas.EntryShown.model_validate(row, from_attributes=True) for row in rows]


# Grants


@router.post("/v1/datasets/{name}/grants", status_code=201, tags=["grants"])
def grant(name: str, asked: schemas.GrantAsked, asking: Asking) -> schemas.GrantShown:
    """Give a user a right; replaces an earlier grant of it."""
    with asking as (service, user):
        row = service.grant(
            user,
            service.dataset_named(name),
            asked.user,
            asked.right,
            asked.limits(),
            asked.source,
        )
        service.session.flush()
        return _grant(row, asked.user)


@router.post("/v1/datasets/{name}/revoke", tags=["grants"])
def revoke(name: str, asked: schemas.RevokeAsked, asking: Asking) -> dict[str, int]:
    """Take a right back, at once: a stream that runs stops at its next chunk."""
    with asking as (service, user):
        dataset = service.dataset_named(name)
        return {"ended": service.revoke(user, dataset, asked.user, asked.right)}


@router.get("/v1/datasets/{name}/grants", tags=["grants"])
def grants(name: str, asking: Asking) -> list[schemas.GrantShown]:
    """List all grants of a dataset, past ones too."""
    with asking as (service, user):
        dataset = service.dataset_named(name)
        service.granted(user, dataset, "manage")
        rows = service.session.scalars(
            select(Grant)
            .where(Grant.dataset_id == dataset.id)
            .options(joinedload(Grant.user))
            .order_by(Grant.id)
        )
        return [_grant(row, row.user.name) for row in rows]


def _grant(row: Grant, user: str) -> schemas.GrantShown:
    return schemas.GrantShown(
        user=user,
        right=row.right,
        not_before=row.not_before,
        expires=row.expires,
        quota=row.quota,
        distinct=row.distinct,
        lease_hours=row.lease_hours,
        used=row.used,
        revoked=row.revoked,
        source=row.source,
    )


# Requests


@router.post("/v1/datasets/{name}/requests", status_code=201, tags=["requests"])
def ask(name: str, asked: schemas.AccessAsked, asking: Asking) -> schemas.RequestShown:
    """Ask for the right to restore."""
    with asking as (service, user):
        return _request(service.ask(user, service.dataset_named(name), asked.message))


@router.get("/v1/requests", tags=["requests"])
def requests(asking: Asking) -> list[schemas.RequestShown]:
    """List one's own requests, and those that one can answer."""
    with asking as (service, user):
        return [_request(row) for row in service.requests(user)]


@router.post("/v1/requests/{number}", tags=["requests"])
def answer(number: schemas.Number, asked: schemas.Answer, asking: Asking) -> schemas.RequestShown:
    """Accept or refuse a request."""
    with asking as (service, user):
        limits = asked.limits()
        return _request(service.answer(user, number, asked.reason, limits, accept=asked.accept))


def _request(row: AccessRequest) -> schemas.RequestShown:
    return schemas.RequestShown(
        number=row.id,
        dataset=row.dataset.name,
        user=row.user.name,
        message=row.message,
        state=row.state,
        reason=row.reason,
    )
