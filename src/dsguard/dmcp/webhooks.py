"""Webhooks: a hub tells of approvals in signed messages, which become grants and revocations.

A message is signed with HMAC-SHA256 over ``TIMESTAMP.DATASET.`` and its body. Each has to be newer
than the one before, so that none works twice.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Header, Request
from pydantic import ValidationError
from sqlalchemy import select
from starlette.concurrency import run_in_threadpool

from dsguard.dmcp import schemas
from dsguard.dmcp.access import Refused, Service, is_active
from dsguard.dmcp.budgets import Limits
from dsguard.dmcp.dependencies import Asking, Here, origin_of
from dsguard.dmcp.model import Dataset, Grant, Webhook
from dsguard.dmcp.vault import webhook_of
from dsguard.keys import DatasetKey

if TYPE_CHECKING:
    from dsguard.dmcp.audit import Origin
    from dsguard.dmcp.model import User
    from dsguard.dmcp.state import Platform

SOURCE = "webhook"
PATIENCE = 300
"""Seconds that a message may be on its way, or clocks may differ."""

_TIMESTAMP = re.compile(r"(\d{1,11})(?:\.(\d{1,6}))?", re.ASCII)

_MESSAGE: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": schemas.Approval.model_json_schema()}},
    }
}
"""What OpenAPI says of a body that is signed as it is sent."""

router = APIRouter()


@router.post("/v1/datasets/{name}/webhook", status_code=201, tags=["grants"])
def new(name: str, asking: Asking) -> schemas.WebhookGiven:
    """Make the secret of the webhook, in place of an earlier one. It is shown this once."""
    with asking as (service, user):
        dataset = service.dataset_named(name)
        service.granted(user, dataset, "manage")
        service.check_vault()
        key = DatasetKey.generate()
        hook = service.session.get(Webhook, dataset.id) or Webhook(dataset_id=dataset.id, last=0)
        hook.user_id, hook.wrapped = user.id, service.vault.wrap(key, webhook_of(name), 0)
        service.session.add(hook)
        service.audit("webhook", "new secret", dataset=name)
        return schemas.WebhookGiven(dataset=name, secret=key.secret.hex())


@router.delete("/v1/datasets/{name}/webhook", tags=["grants"])
def remove(name: str, asking: Asking) -> dict[str, str]:
    """Take no more messages. The grants that came by them stay."""
    with asking as (service, user):
        dataset = service.dataset_named(name)
        service.granted(user, dataset, "manage")
        hook = service.session.get(Webhook, dataset.id)
        if hook is None:
            raise Refused(404, "no-webhook", f"{name} has no webhook", "make one", name)
        service.session.delete(hook)
        service.audit("webhook", "removed", dataset=name)
        return {"removed": name}


@router.post("/v1/datasets/{name}/approvals", tags=["grants"], openapi_extra=_MESSAGE)
async def approve(
    name: str,
    request: Request,
    platform: Here,
    x_dsguard_timestamp: Annotated[str, Header(max_length=20)] = "",
    x_dsguard_signature: Annotated[str, Header(max_length=80)] = "",
) -> schemas.ApprovalTaken:
    """Take a signed message: somebody was approved, or is not any more. It needs no token.

    `x-dsguard-timestamp` has seconds since 1970; `x-dsguard-signature` is `sha256=` and the HMAC of
    `TIMESTAMP.DATASET.` and the body, in hexadecimal, with the secret of the webhook.
    """
    body = await request.body()
    return await run_in_threadpool(
        _take, platform, origin_of(request), name, x_dsguard_timestamp, x_dsguard_signature, body
    )


def _take(
    platform: Platform, origin: Origin, name: str, timestamp: str, signature: str, body: bytes
) -> schemas.ApprovalTaken:
    with platform.service(origin) as service:
        hook = _signing(service, name, timestamp, signature, body)
        stamp = _microseconds(timestamp)
        if abs(stamp / 1e6 - time.time()) > PATIENCE or stamp <= hook.last:
            raise Refused(
                409, "stale", "this message is too old, or came after a newer one",
                "sign it anew, with the time of now, and send messages one after the other",
            )  # fmt: skip
        told = _parsed(body)
        hook.last = stamp
        service.session.flush()
        acting = replace(service, origin=replace(origin, actor=hook.user.name))
        state = _applied(acting, hook.user, service.dataset_named(name), told)
        acting.audit("webhook", f"{state}: {told.user}", dataset=name)
        return schemas.ApprovalTaken(user=told.user, state=state)


def _parsed(body: bytes) -> schemas.Approval:
    try:
        return schemas.Approval.model_validate_json(body)
    except ValidationError as error:
        fault = error.errors(include_input=False)[0]
        where = ".".join(str(part) for part in fault["loc"])[:64]
        raise Refused(
            422, "invalid", f"{where}: {fault['msg']}", "see /docs for the fields of a message"
        ) from None


def _applied(
    service: Service, manager: User, dataset: Dataset, told: schemas.Approval
) -> schemas.Outcome:
    """Grant or revoke; leave what a manager or another hub gave, and what a manager took back."""
    service.granted(manager, dataset, "manage")
    user = service.user_named(told.user)
    given = select(Grant).where(Grant.dataset_id == dataset.id, Grant.right == "restore")
    given = given.order_by(Grant.id)
    own = service.session.scalars(given.where(Grant.user_id == user.id)).all() if user else ()
    active = [grant for grant in own if is_active(grant)]
    last = own[-1] if own else None
    if told.approved:
        if active or (last is not None and last.revoked is not None and not last.withdrawn):
            return "kept"
        limits = Limits(told.not_before, told.expires, told.quota)
        service.grant(manager, dataset, told.user, "restore", limits, SOURCE)
        return "granted"
    is_own = any(grant.source == SOURCE for grant in active)
    if is_own:
        service.revoke(manager, dataset, told.user, "restore")
    if last is not None and (is_own or not active):
        last.withdrawn = True  # the next approval is a new one
    return "revoked" if is_own else "kept"


def _signing(service: Service, name: str, timestamp: str, signature: str, body: bytes) -> Webhook:
    """Return the webhook that a message was signed for; all else is refused alike."""
    secret, hook = secrets.token_hex(32), None
    if service.has_dataset(name):
        hook = service.session.get(Webhook, service.dataset_named(name).id)
    if hook is not None:
        service.check_vault()
        secret = service.vault.unwrap(hook.wrapped, webhook_of(name), 0).secret.hex()
    expected = signature_of(secret, timestamp, name, body)
    is_right = hmac.compare_digest(expected.encode(), signature.encode())
    if hook is None or not is_right or not _TIMESTAMP.fullmatch(timestamp):
        raise Refused(
            401, "bad-signature", "this message is not signed for a webhook of such a dataset",
            "sign it with the secret that `dsguard dmcp webhook` made last",
        )  # fmt: skip
    return hook


def signature_of(secret: str, timestamp: str, dataset: str, body: bytes) -> str:
    """Return the signature of a message, as its header has it."""
    signed = f"{timestamp}.{dataset}.".encode() + body
    return "sha256=" + hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


def _microseconds(timestamp: str) -> int:
    found = _TIMESTAMP.fullmatch(timestamp)
    assert found is not None
    return int(found[1]) * 1_000_000 + int((found[2] or "").ljust(6, "0"))
