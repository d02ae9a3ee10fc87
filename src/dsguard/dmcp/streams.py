"""The API for images: restoring while one waits, and in the background."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO, cast

import anyio
from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, StreamingResponse
from starlette.concurrency import run_in_threadpool
from starlette.types import Message, Receive, Scope, Send

from dsguard.dmcp import frames, schemas
from dsguard.dmcp.access import Refused, Service
from dsguard.dmcp.asking import Asking, Here, Known, origin_of
from dsguard.dmcp.audit import Origin
from dsguard.dmcp.bodies import FORM, TAR, images_of, spooled, streamed
from dsguard.dmcp.model import Dataset, Job, User
from dsguard.dmcp.platform import Platform
from dsguard.dmcp.problems import CutOffError
from dsguard.dmcp.restoring import Restored, end_of

_IN_MEMORY = 6 << 20  # more than the client sends at once
_CHECKED_EVERY = 4 << 20  # bytes of a result
_JOB = re.compile("[0-9a-f]{32}")

_BYTES = {"schema": {"type": "string", "format": "binary"}}
_FILES = {
    "schema": {
        "type": "object",
        "properties": {"files": {"type": "array", "items": _BYTES["schema"]}},
    }
}
_IMAGES: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {frames.CONTENT_TYPE: _BYTES, TAR: _BYTES, FORM: _FILES},
    }
}
"""What OpenAPI says of a body with images."""

router = APIRouter()


@router.post(
    "/v1/datasets/{name}/restore",
    tags=["restoring"],
    response_class=StreamingResponse,
    responses={200: {"content": dict.fromkeys((frames.CONTENT_TYPE, TAR), _BYTES)}},
    openapi_extra=_IMAGES,
)
async def restore(name: str, request: Request, platform: Here, user: Known) -> StreamingResponse:
    """Restore images.

    The body is frames (`application/x-dsguard-frames`), a tar (`application/x-tar`) or a form
    with files (`multipart/form-data`); the answer is of the same kind, a tar for a form. What
    fails is told for each image: by the status of its frame, or in a member `NAME.error.txt`.
    """
    origin = origin_of(request)
    await run_in_threadpool(platform.admit, origin, user, name)
    with ExitStack() as held:
        held.enter_context(platform.place(user))
        body = held.enter_context(tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY))
        kind = await spooled(request, cast("BinaryIO", body))
        images = images_of(kind, cast("BinaryIO", body), platform.settings.image_bytes)
        chunks = platform.restored(origin, user, name, images, request.state.token)
        held.callback(chunks.close)  # type: ignore[attr-defined]
        first: list[Restored] = await run_in_threadpool(next, chunks, [])
        kept = held.pop_all()
    return _Stream(*streamed(kind, _told(platform, origin, name, first, chunks)), kept)


def _told(
    platform: Platform,
    origin: Origin,
    name: str,
    first: list[Restored],
    chunks: Iterator[list[Restored]],
) -> Iterator[list[Restored]]:
    """Yield chunks; what is refused in the middle, when the answer has begun, ends them."""
    try:
        yield first
        yield from chunks
    except Refused as refusal:
        platform.audit_refusal(origin, refusal, name)
        yield [end_of(refusal)]


class _Stream(StreamingResponse):
    """An answer that lets go of what it holds, however it ends."""

    def __init__(self, content: Iterator[bytes], media_type: str, held: ExitStack) -> None:
        super().__init__(content, media_type=media_type)
        self._held = held

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            with anyio.CancelScope(shield=True):
                await run_in_threadpool(self._held.close)


# Jobs


@router.post("/v1/datasets/{name}/jobs", status_code=202, tags=["jobs"], openapi_extra=_IMAGES)
async def begin(name: str, request: Request, platform: Here, user: Known) -> schemas.JobShown:
    """Have a large set restored in the background; the body is as for `restore`."""
    origin = origin_of(request)
    await run_in_threadpool(platform.admit, origin, user, name)
    with platform.place(user), platform.jobs.taking() as (number, body):
        kind = await spooled(request, body)
        return await run_in_threadpool(_begin, platform, origin, user, name, number, kind)


def _begin(
    platform: Platform, origin: Origin, user: User, name: str, number: str, kind: str
) -> schemas.JobShown:
    with platform.service(origin) as service:
        dataset = service.dataset_named(name)
        service.granted(user, dataset, "restore")
        job = platform.jobs.new(service.session, number, user, dataset, kind)
        service.audit("job", number, dataset=name)
    platform.jobs.enqueue(number)
    return _shown(job, dataset)


@router.get("/v1/jobs", tags=["jobs"])
def jobs(asking: Asking, platform: Here) -> list[schemas.JobShown]:
    """List one's jobs, the oldest first."""
    with asking as (service, user):
        return [
            _shown(job, service.session.get_one(Dataset, job.dataset_id))
            for job in platform.jobs.of(service.session, user)
        ]


@router.get("/v1/jobs/{number}", tags=["jobs"])
def job(number: str, asking: Asking) -> schemas.JobShown:
    """Tell how far a job is."""
    with asking as (service, user):
        return _shown(*_own(service, user, number))


@router.delete("/v1/jobs/{number}", tags=["jobs"])
def remove(number: str, asking: Asking, platform: Here) -> dict[str, str]:
    """Remove a job with its result; one that runs ends."""
    with asking as (service, user):
        found, dataset = _own(service, user, number)
        service.audit("remove-job", number, dataset=dataset.name)
        platform.jobs.remove(service.session, found)
        return {"removed": number}


@router.get("/v1/jobs/{number}/result", tags=["jobs"], response_class=FileResponse)
def result(number: str, request: Request, asking: Asking, platform: Here) -> FileResponse:
    """Fetch the result of a finished job, from any byte on (`Range`)."""
    with asking as (service, user):
        found, dataset = _own(service, user, number)
        service.granted(user, dataset, "restore")
        path = platform.jobs.path(number, "out")
        if found.state in ("queued", "running") or not found.done:
            raise Refused(
                409, "not-done", f"the job is {found.state}", "ask for its state and come again"
            )
        if not path.exists():
            raise Refused(
                409, "elsewhere", "the result lies with another process of this service",
                "ask the one that took the job",
            )  # fmt: skip
        service.audit("fetch", f"job {number}", dataset=dataset.name)
    origin, token = origin_of(request), request.state.token

    def still() -> None:
        with platform.service(origin) as service:
            service.user_of(token)
            service.granted(user, dataset, "restore")

    media_type = found.kind if found.kind == frames.CONTENT_TYPE else TAR
    return _Result(path, media_type, still)


class _Result(FileResponse):
    """A file that is cut off when it may not be fetched any more."""

    def __init__(self, path: Path, media_type: str, still: Callable[[], None]) -> None:
        super().__init__(path, media_type=media_type)
        self._still = still

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        unchecked = 0

        async def checked(message: Message) -> None:
            nonlocal unchecked
            unchecked += len(message.get("body", b""))
            if unchecked > _CHECKED_EVERY:
                unchecked = 0
                try:
                    await run_in_threadpool(self._still)
                except Refused as refusal:
                    raise CutOffError(refusal.message) from refusal
            await send(message)

        await super().__call__(scope, receive, checked)


def _own(service: Service, user: User, number: str) -> tuple[Job, Dataset]:
    job = service.session.get(Job, number) if _JOB.fullmatch(number) else None
    if job is None or job.user_id != user.id:
        raise Refused(404, "no-job", "you have no such job", "begin one")
    return job, service.session.get_one(Dataset, job.dataset_id)


def _shown(job: Job, dataset: Dataset) -> schemas.JobShown:
    facts: dict[str, Any] = {
        name: getattr(job, name) for name in ("state", "message", "done", "failed")
    }
    return schemas.JobShown(number=job.id, dataset=dataset.name, **facts)
