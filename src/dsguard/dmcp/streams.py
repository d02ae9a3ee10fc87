"""The API for images: restoring while one waits, and in the background."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, BinaryIO, cast

from fastapi import APIRouter, Request
from fastapi.responses import Response, StreamingResponse
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers

from dsguard.dmcp import frames, samples, schemas
from dsguard.dmcp.access import Refused, Service
from dsguard.dmcp.audit import Origin
from dsguard.dmcp.bodies import FORM, TAR, answer_type, images_of, spooled, streamed
from dsguard.dmcp.dependencies import Asking, Here, Known, origin_of
from dsguard.dmcp.errors import CutOffError
from dsguard.dmcp.held import HeldResponse
from dsguard.dmcp.jobs import Jobs
from dsguard.dmcp.model import Dataset, Job, User
from dsguard.dmcp.restoring import Restored, end_of
from dsguard.dmcp.state import Platform
from dsguard.errors import TamperedError

_IN_MEMORY = 6 << 20  # more than the client sends at once
_CHECKED_EVERY = 1 << 20  # bytes of a result
_JOB = re.compile("[0-9a-f]{32}")
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)

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
        kind = await spooled(request, body)
        body.seek(0)
        images = images_of(kind, cast("BinaryIO", body), platform.settings.image_bytes)
        chunks = platform.restored(origin, user, name, images, request.state.credential)
        held.callback(chunks.close)  # type: ignore[attr-defined]
        first: list[Restored] = await run_in_threadpool(next, chunks, [])
        kept = held.pop_all()
    told = _told(platform, origin, name, first, chunks)
    return HeldResponse(*streamed(kind, told), kept)


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


# Samples


@router.put("/v1/datasets/{name}/samples", tags=["datasets"], openapi_extra=_IMAGES)
async def replace_samples(
    name: str, request: Request, platform: Here, user: Known
) -> schemas.SamplesShown:
    """Show a dataset by these images, in place of those that it had; the body is as for `restore`.

    They are public, and kept as PNG files of pixels alone: protected images of the dataset, at most
    12, or none.
    """
    origin = origin_of(request)
    await run_in_threadpool(samples.admit, platform, origin, user, name)
    with (
        platform.place(user),
        tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY) as body,
    ):
        kind = await spooled(request, body)
        body.seek(0)
        images = images_of(kind, cast("BinaryIO", body), platform.settings.image_bytes)
        credential = request.state.credential
        count = await run_in_threadpool(
            samples.replace, platform, origin, user, name, images, credential
        )
    return schemas.SamplesShown(dataset=name, samples=count)


# Jobs


@router.post("/v1/datasets/{name}/jobs", status_code=202, tags=["jobs"], openapi_extra=_IMAGES)
async def begin(name: str, request: Request, platform: Here, user: Known) -> schemas.JobShown:
    """Have a large set restored in the background; the body is as for `restore`."""
    origin = origin_of(request)
    await run_in_threadpool(platform.admit, origin, user, name)
    with platform.place(user), ExitStack() as held:
        taking = platform.jobs.taking(user)
        number, body = await run_in_threadpool(held.enter_context, taking)
        kind = await spooled(request, body)
        await run_in_threadpool(body.close)
        return await run_in_threadpool(_begin, platform, origin, user, name, number, kind)


def _begin(
    platform: Platform, origin: Origin, user: User, name: str, number: str, kind: str
) -> schemas.JobShown:
    with platform.service(origin) as service:
        dataset = service.dataset_named(name)
        service.granted(user, dataset, "restore")
        job = platform.jobs.new(service.session, number, user, dataset, kind)
        service.audit("job", number, dataset=name)
    platform.jobs.enqueue(number, user.id)
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


@router.get(
    "/v1/jobs/{number}/result",
    tags=["jobs"],
    response_class=StreamingResponse,
    responses={200: {"content": dict.fromkeys((frames.CONTENT_TYPE, TAR), _BYTES)}},
)
def result(number: str, request: Request, asking: Asking, platform: Here) -> Response:
    """Fetch the result of a finished job, from any byte on (`Range`)."""
    with asking as (service, user):
        found, dataset = _own(service, user, number)
        service.granted(user, dataset, "restore")
        if found.state in ("queued", "running") or not found.done:
            raise Refused(
                409, "not-done", f"the job is {found.state}", "ask for its state and come again"
            )
        if not platform.jobs.path(number, "out").exists():
            raise Refused(
                409, "elsewhere", "the result lies with another process of this service",
                "ask the one that took the job",
            )  # fmt: skip
        service.audit("fetch", f"job {number}", dataset=dataset.name)
    origin, shown = origin_of(request), request.state.credential

    def still() -> None:
        with platform.service(origin) as service:
            service.user_of(shown)
            service.granted(user, dataset, "restore")

    start, stop = _range(request.headers, found)
    if start >= stop:
        return Response(status_code=416, headers={"content-range": f"bytes */{found.size}"})
    whole = (start, stop) == (0, found.size)
    headers = {
        "accept-ranges": "bytes",
        "content-length": str(stop - start),
        "etag": _etag(found),
        **({} if whole else {"content-range": f"bytes {start}-{stop - 1}/{found.size}"}),
    }
    content = _pieces(platform.jobs, found, start, stop, still)
    return StreamingResponse(content, 200 if whole else 206, headers, answer_type(found.kind))


def _etag(job: Job) -> str:
    return f'"{job.id}-{job.size}"'


def _range(headers: Headers, job: Job) -> tuple[int, int]:
    """Return which bytes of a result are wanted: all of them, unless it is one plain range."""
    found = _RANGE.fullmatch(headers.get("range", ""))
    if found is None or headers.get("if-range", _etag(job)) != _etag(job):
        return 0, job.size
    first, last = found.groups()
    if not first:
        return (max(0, job.size - int(last)), job.size) if last else (0, job.size)
    return int(first), min(int(last) + 1, job.size) if last else job.size


def _pieces(
    jobs: Jobs, job: Job, start: int, stop: int, still: Callable[[], None]
) -> Iterator[bytes]:
    """Yield the bytes of a result; they end where it may not be fetched any more, or is damaged."""
    try:
        with jobs.reader(job.id, "out") as file:
            file.seek(start)
            for position in range(start, stop, _CHECKED_EVERY):
                if position > start:
                    still()
                part = file.read(min(_CHECKED_EVERY, stop - position))
                if len(part) < min(_CHECKED_EVERY, stop - position):
                    msg = "the result is cut off"
                    raise CutOffError(msg)
                yield part
    except Refused as refusal:
        raise CutOffError(refusal.message) from refusal
    except TamperedError as error:
        raise CutOffError(error.message) from error


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
