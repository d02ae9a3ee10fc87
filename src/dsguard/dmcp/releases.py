"""The API for keys of images: ids come in, keys leave, and images stay with who has them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import ExitStack
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ValidationError
from starlette.concurrency import run_in_threadpool

from dsguard.dmcp import schemas
from dsguard.dmcp.access import Refused
from dsguard.dmcp.dependencies import Here, Known, origin_of
from dsguard.dmcp.held import HeldResponse
from dsguard.dmcp.metering import Released
from dsguard.keys.image_keys import IMAGE_ID_BYTES, IMAGE_KEY_BYTES

BINARY, JSON = "application/octet-stream", "application/json"

_BYTES = {"schema": {"type": "string", "format": "binary"}}


def _schema_of(model: type[BaseModel]) -> dict[str, Any]:
    return {"schema": model.model_json_schema()}


_IDS: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {BINARY: _BYTES, JSON: _schema_of(schemas.IdsAsked)},
    }
}
"""What OpenAPI says of a body with ids."""

router = APIRouter()


@router.post(
    "/v1/datasets/{name}/image-keys",
    tags=["restoring"],
    response_class=StreamingResponse,
    responses={200: {"content": {BINARY: _BYTES, JSON: _schema_of(schemas.ImageKeysGiven)}}},
    openapi_extra=_IDS,
)
async def image_keys(
    name: str,
    request: Request,
    platform: Here,
    user: Known,
    key_id: Annotated[schemas.KeyId | None, Query(description="By default the newest.")] = None,
) -> HeldResponse:
    """Release the keys of images, which open these images and no others.

    The body has the ids that protected images carry: 16 bytes each (`application/octet-stream`),
    or hexadecimal in JSON. The answer is of the same kind: 32 bytes each, in the same order. Ids
    count as images that are sent to be restored do; a grant of distinct images counts each once.
    A key of an id that no image has opens nothing.
    """
    origin = origin_of(request)
    await run_in_threadpool(platform.admit, origin, user, name, asks_keys=True)
    with ExitStack() as held:
        held.enter_context(platform.place(user))  # until the reader has all of it
        kind = _kind_of(request)
        body = await request.body()
        meter = platform.meter(origin, user, name, request.state.credential)

        def release() -> Released:
            return meter.release(_ids_in(body, kind), key_id)

        released = await run_in_threadpool(release)
        platform.keys.inc(len(released.keys) // IMAGE_KEY_BYTES)
        content = _packed(released, kind)
        headers = {"content-length": str(len(content)), "x-dsguard-key-id": released.key_id}
        return HeldResponse(_whole(content), kind, held.pop_all(), headers)


async def _whole(content: bytes) -> AsyncIterator[bytes]:
    """Yield an answer that is there: no thread has to wait for it."""
    yield content


def _kind_of(request: Request) -> str:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in (BINARY, JSON):
        raise Refused(
            415, "content-type", f"ids cannot be sent as {kind or 'nothing'}",
            f"send {BINARY} or {JSON}",
        )  # fmt: skip
    return kind


def _ids_in(body: bytes, kind: str) -> bytes:
    """Return the ids of a request, one after the other."""
    if kind == JSON:
        try:
            return b"".join(schemas.IdsAsked.model_validate_json(body).ids)
        except ValidationError as error:
            fault = error.errors(include_input=False)[0]
            where = ".".join(str(part) for part in fault["loc"])[:64]
            told = f"{where}: {fault['msg']}"
            raise _no_ids(told) from None
    if not body or len(body) % IMAGE_ID_BYTES:
        told = f"the request has {len(body)} bytes"
        raise _no_ids(told)
    return body


def _no_ids(told: str) -> Refused:
    return Refused(
        422, "invalid", f"{told}, and ids are {IMAGE_ID_BYTES} bytes each",
        "send the ids of images as `dsguard.image_ids` tells them, one after the other",
    )  # fmt: skip


def _packed(released: Released, kind: str) -> bytes:
    """Return an answer of some kind."""
    if kind == BINARY:
        return released.keys
    digits, size = released.keys.hex(), 2 * IMAGE_KEY_BYTES
    keys = [digits[start : start + size] for start in range(0, len(digits), size)]
    told = {"key_id": released.key_id, "version": released.version, "keys": keys}
    return json.dumps(told).encode()
