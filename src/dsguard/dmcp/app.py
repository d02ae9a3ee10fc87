"""The service: FastAPI routes over `dsguard.dmcp.access`, and what every request goes through."""

from __future__ import annotations

import multiprocessing
import secrets
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from typing import Annotated, Any, BinaryIO, cast

import structlog
from fastapi import Depends, FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse, StreamingResponse
from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from sqlalchemy import Engine, select, text
from sqlalchemy.exc import OperationalError
from starlette.concurrency import run_in_threadpool

from dsguard.dmcp import frames, schemas, web
from dsguard.dmcp.access import Refused, Service
from dsguard.dmcp.audit import Origin
from dsguard.dmcp.bodies import TAR, images_of, spooled, streamed, too_large
from dsguard.dmcp.jobs import Jobs
from dsguard.dmcp.model import Dataset, Entry, Grant, Job, User, connect, migrate, transaction
from dsguard.dmcp.model import Request as AccessRequest
from dsguard.dmcp.restoring import Chunk, Restored, restored_chunks
from dsguard.dmcp.settings import Settings
from dsguard.dmcp.vault import Vault
from dsguard.envelope import DatasetKey

_PROBLEMS = (401, 403, 404, 409, 413, 415, 422, 429, 503)
log = structlog.get_logger("dsguard.dmcp")


class Platform:
    """What the whole service shares.

    Attributes
    ----------
    settings : Settings
    engine : Engine
    vault : Vault
    pool : ProcessPoolExecutor
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        settings.folder.mkdir(parents=True, exist_ok=True)
        self.vault = Vault.of(settings)
        migrate(settings.url())
        self.engine: Engine = connect(settings.url())
        with transaction(self.engine) as session:
            self.vault.open(session)
        self.pool: ProcessPoolExecutor
        self.jobs = Jobs(self, allowed)
        self._limiter = MovingWindowRateLimiter(MemoryStorage())
        self._limit = RateLimitItemPerMinute(settings.requests_per_minute)
        self._active = 0
        self._lock = threading.Lock()
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "dsguard_requests", "Requests", ["route", "status"], registry=self.registry
        )
        self.images = Counter("dsguard_images", "Images restored", registry=self.registry)
        self.seconds = Histogram(
            "dsguard_request_seconds", "Time to the first byte", ["route"], registry=self.registry
        )

    @contextmanager
    def service(self, origin: Origin) -> Iterator[Service]:
        """Yield a transaction; what is refused in it is audited in one of its own."""
        try:
            with transaction(self.engine) as session:
                yield Service(session, self.vault, origin)
        except Refused as refusal:
            self.audit_refusal(origin, refusal)
            raise

    def audit_refusal(self, origin: Origin, refusal: Refused, dataset: str = "") -> None:
        """Note that something was refused."""
        with transaction(self.engine) as session:
            Service(session, self.vault, origin).audit("refused", refusal.code, dataset=dataset)

    def check_rate(self, who: str) -> None:
        """Refuse whoever asks too often; that is not audited, or anybody could fill the trail."""
        if not self._limiter.hit(self._limit, who):
            raise Refused(
                429, "rate", f"{self.settings.requests_per_minute} requests a minute are allowed",
                "come again in a minute; put more images into each request",
            )  # fmt: skip

    @contextmanager
    def place(self) -> Iterator[None]:
        """Hold one of the places for restorations, or send the request away."""
        with self._lock:
            if self._active >= self.settings.waiting:
                raise Refused(503, "busy", "too many restorations at once", "come again shortly")
            self._active += 1
        try:
            yield
        finally:
            with self._lock:
                self._active -= 1


def create_app(settings: Settings | None = None) -> FastAPI:
    """Return the service; settings are those of the environment by default."""
    platform = Platform(settings or Settings())

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["dsguard.dmcp.restoring"])
        with ProcessPoolExecutor(platform.settings.workers, context) as platform.pool:
            platform.jobs.start()
            yield
            await run_in_threadpool(platform.jobs.stop)
        platform.engine.dispose()

    app = FastAPI(
        title="dsguard DMCP",
        description="Keeps the keys of protected image datasets and restores for who may.",
        lifespan=lifespan,
        responses={status: {"model": schemas.Problem} for status in _PROBLEMS},
    )
    app.state.platform = platform
    app.middleware("http")(_request)
    app.exception_handler(Refused)(_refused)
    app.exception_handler(RequestValidationError)(_invalid)
    _add_health(app)
    _add_accounts(app)
    _add_datasets(app)
    _add_grants(app)
    _add_restoring(app)
    _add_jobs(app)
    app.include_router(
        web.router(platform, _asking_in_browser, rights_of, requests_for, _restored_for_page)
    )
    return app


# What every request goes through


async def _request(request: Request, call_next: Callable[..., Any]) -> Response:
    """Give the request an id, limit its size, measure and log it; nothing secret is logged."""
    request.state.id = secrets.token_hex(8)
    platform: Platform = request.app.state.platform
    start = time.perf_counter()
    size = request.headers.get("content-length", "0")
    most = platform.settings.body_bytes
    if request.url.path.endswith("/jobs"):
        most = platform.settings.job_bytes
    if size.isdigit() and int(size) > most:
        response: Response = await _refused(request, too_large(most))
        await run_in_threadpool(platform.audit_refusal, _origin(request), too_large(most))
    else:
        response = await call_next(request)
    route = getattr(request.scope.get("route"), "path", "unknown")
    seconds = time.perf_counter() - start
    platform.requests.labels(route, response.status_code).inc()
    platform.seconds.labels(route).observe(seconds)
    response.headers["x-request-id"] = request.state.id
    log.info(
        "request",
        id=request.state.id,
        method=request.method,
        route=route,
        status=response.status_code,
        user=getattr(request.state, "user", ""),
        milliseconds=round(1000 * seconds, 1),
    )
    return response


async def _refused(request: Request, refusal: Exception) -> Response:
    assert isinstance(refusal, Refused)
    if web.wants_page(request):
        return web.refusal_page(refusal)
    headers = {"retry-after": "60" if refusal.status == 429 else "1"}
    content = {
        "code": refusal.code,
        "message": refusal.message,
        "remedy": refusal.remedy,
        "request": request.state.id,
    }
    return JSONResponse(content, refusal.status, headers if refusal.status in (429, 503) else None)


async def _invalid(request: Request, error: Exception) -> Response:
    """Say what of a request is not as it has to be; the value itself may be a secret."""
    assert isinstance(error, RequestValidationError)
    told = "; ".join(
        f"{'.'.join(str(part) for part in fault['loc'][1:])}: {fault['msg']}"
        for fault in error.errors()
    )
    refusal = Refused(422, "invalid", told, "see /docs for what the request has to be")
    platform: Platform = request.app.state.platform
    await run_in_threadpool(platform.audit_refusal, _origin(request), refusal)
    return await _refused(request, refusal)


def _origin(request: Request, actor: str = "") -> Origin:
    address = request.client.host if request.client else ""
    return Origin(actor, address, request.state.id)


def _token(request: Request) -> str | None:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    given = token if scheme.lower() == "bearer" else request.cookies.get(web.COOKIE)
    return getattr(request.state, "token", given)  # that of a login form


def platform_of(request: Request) -> Platform:
    """Return the platform."""
    return cast("Platform", request.app.state.platform)


def user_of(request: Request) -> User:
    """Return who asks, within their rate; anybody without a valid token is refused."""
    platform = platform_of(request)
    origin = _origin(request)
    try:
        with platform.service(origin) as service:
            user = service.user_of(_token(request))
    except Refused:
        platform.check_rate(f"address {origin.address}")
        raise
    platform.check_rate(f"user {user.id}")
    request.state.user = user.name
    return user


def service_of(
    request: Request, user: Annotated[User, Depends(user_of)]
) -> Iterator[tuple[Service, User]]:
    """Yield the transaction of a request of a known user."""
    with platform_of(request).service(_origin(request, user.name)) as service:
        yield service, user


def _asking_in_browser(request: Request) -> AbstractContextManager[tuple[Service, User]]:
    """Return the transaction of a request for a page."""
    return contextmanager(service_of)(request, user_of(request))


def _restored_for_page(
    request: Request, user: User, name: str, images: list[tuple[str, bytes]]
) -> Iterator[list[Restored]]:
    """Yield a few restored images for a page."""
    origin = _origin(request, user.name)
    yield from allowed(platform_of(request), origin, user, name, iter(images))


Asking = Annotated[tuple[Service, User], Depends(service_of, scope="function")]
Here = Annotated[Platform, Depends(platform_of)]


# Routes


def _add_health(app: FastAPI) -> None:
    @app.get("/healthz", tags=["operation"])
    def healthz() -> dict[str, str]:
        """Tell that the process answers."""
        return {"status": "ok"}

    @app.get("/readyz", tags=["operation"])
    def readyz(platform: Here) -> dict[str, str]:
        """Tell that the database answers as well."""
        try:
            with platform.engine.connect() as connection:
                connection.execute(text("SELECT 1"))
        except OperationalError as error:
            raise Refused(503, "database", "the database does not answer", "see the log") from error
        return {"status": "ok"}

    @app.get("/metrics", tags=["operation"], response_class=PlainTextResponse)
    def metrics(platform: Here) -> bytes:
        """Return the metrics of Prometheus."""
        return generate_latest(platform.registry)


def _add_accounts(app: FastAPI) -> None:
    @app.post("/v1/users", status_code=201, tags=["accounts"])
    def register(
        asked: schemas.Registration, request: Request, platform: Here
    ) -> schemas.TokenGiven:
        """Make an account. Its token is shown this once."""
        origin = _origin(request)
        platform.check_rate(f"address {origin.address}")
        with platform.service(origin) as service:
            if not platform.settings.open_registration:
                raise Refused(
                    403, "closed", "accounts are made by the operator", "ask for one"
                )  # fmt: skip
            user, token = service.register(asked.name)
        return schemas.TokenGiven(name=user.name, token=token)

    @app.get("/v1/me", tags=["accounts"])
    def me(asking: Asking) -> dict[str, Any]:
        """Tell whose token this is."""
        return {"name": asking[1].name, "publisher": asking[1].publisher}

    @app.post("/v1/tokens", status_code=201, tags=["accounts"])
    def new_token(asking: Asking) -> schemas.TokenGiven:
        """Give a new token; the old one ends."""
        service, user = asking
        return schemas.TokenGiven(name=user.name, token=service.new_token(user))


def _add_datasets(app: FastAPI) -> None:
    @app.post("/v1/datasets", status_code=201, tags=["datasets"])
    def deposit(asked: schemas.Deposit, asking: Asking) -> schemas.KeyShown:
        """Deposit a dataset, or a new version of its key."""
        service, user = asking
        key = None if asked.secret is None else DatasetKey(bytes.fromhex(asked.secret))
        row = service.deposit(user, asked.name, asked.title, key)
        return schemas.KeyShown(dataset=asked.name, version=row.version, key_id=row.key_id)

    @app.get("/v1/datasets", tags=["datasets"])
    def datasets(asking: Asking) -> list[schemas.DatasetShown]:
        """List all datasets."""
        service, user = asking
        rows = service.session.scalars(select(Dataset).order_by(Dataset.name)).all()
        return [
            schemas.DatasetShown(
                name=row.name, title=row.title, rights=rights_of(service, user, row)
            )
            for row in rows
        ]

    @app.get("/v1/datasets/{name}/keys", tags=["datasets"])
    def keys(name: str, asking: Asking) -> list[schemas.KeyShown]:
        """List the versions of the key, without the key."""
        service, user = asking
        dataset = service.dataset_named(name)
        service.granted(user, dataset, "manage")
        return [
            schemas.KeyShown(dataset=name, version=version, key_id=key_id)
            for key_id, (version, _) in service.ring(dataset).items()
        ]

    @app.post("/v1/datasets/{name}/keys/{version}/export", tags=["datasets"])
    def export(name: str, version: int, asking: Asking) -> schemas.KeyExported:
        """Hand out a key; needs the right export-key, and cannot be undone."""
        service, user = asking
        dataset = service.dataset_named(name)
        service.granted(user, dataset, "export-key")
        for key_id, (number, key) in service.ring(dataset).items():
            if number == version:
                service.audit("export-key", f"key {key_id}", dataset=name, key_version=version)
                return schemas.KeyExported(
                    dataset=name, version=version, key_id=key_id, secret=key.secret.hex()
                )
        raise Refused(404, "no-key", f"{name} has no version {version}", "list the versions first")

    @app.get("/v1/datasets/{name}/audit", tags=["datasets"])
    def audit(
        name: str,
        asking: Asking,
        after: Annotated[int, Query(ge=0)] = 0,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> list[schemas.EntryShown]:
        """List the audit trail of a dataset."""
        service, user = asking
        service.granted(user, service.dataset_named(name), "manage")
        rows = service.session.scalars(
            select(Entry)
            .where(Entry.dataset == name, Entry.number > after)
            .order_by(Entry.number)
            .limit(limit)
        )
        return [schemas.EntryShown.model_validate(row, from_attributes=True) for row in rows]


def rights_of(service: Service, user: User, dataset: Dataset) -> list[str]:
    """Return what a user may do with a dataset now."""
    found = []
    for right in ("restore", "manage", "export-key"):
        try:
            service.granted(user, dataset, right)
        except Refused:
            continue
        found.append(right)
    return found


def _add_grants(app: FastAPI) -> None:
    @app.post("/v1/datasets/{name}/grants", status_code=201, tags=["grants"])
    def grant(name: str, asked: schemas.GrantAsked, asking: Asking) -> schemas.GrantShown:
        """Give a user a right; replaces an earlier grant of it."""
        service, user = asking
        row = service.grant(
            user,
            service.dataset_named(name),
            service.user_named(asked.user),
            asked.right,
            asked.not_before,
            asked.expires,
            asked.quota,
        )
        service.session.flush()
        return _shown(row, asked.user)

    @app.post("/v1/datasets/{name}/revoke", tags=["grants"])
    def revoke(name: str, asked: schemas.RevokeAsked, asking: Asking) -> dict[str, int]:
        """Take a right back, at once: a stream that runs stops at its next chunk."""
        service, user = asking
        dataset, whose = service.dataset_named(name), service.user_named(asked.user)
        return {"ended": service.revoke(user, dataset, whose, asked.right)}

    @app.get("/v1/datasets/{name}/grants", tags=["grants"])
    def grants(name: str, asking: Asking) -> list[schemas.GrantShown]:
        """List all grants of a dataset, past ones too."""
        service, user = asking
        dataset = service.dataset_named(name)
        service.granted(user, dataset, "manage")
        rows = service.session.scalars(
            select(Grant).where(Grant.dataset_id == dataset.id).order_by(Grant.id)
        )
        return [_shown(row, row.user.name) for row in rows]

    @app.post("/v1/datasets/{name}/requests", status_code=201, tags=["requests"])
    def ask(name: str, asked: schemas.AccessAsked, asking: Asking) -> schemas.RequestShown:
        """Ask for the right to restore."""
        service, user = asking
        return _told(service.ask(user, service.dataset_named(name), asked.message))

    @app.get("/v1/requests", tags=["requests"])
    def requests(asking: Asking) -> list[schemas.RequestShown]:
        """List one's own requests, and those that one can answer."""
        return [_told(row) for row in requests_for(*asking)]

    @app.post("/v1/requests/{number}", tags=["requests"])
    def answer(number: int, asked: schemas.Answer, asking: Asking) -> schemas.RequestShown:
        """Accept or refuse a request."""
        service, user = asking
        return _told(service.answer(user, number, asked.reason, accept=asked.accept))


def requests_for(service: Service, user: User) -> list[AccessRequest]:
    """Return the requests of a user, and those that the user can answer."""
    rows = service.session.scalars(select(AccessRequest).order_by(AccessRequest.id)).all()
    return [
        row
        for row in rows
        if row.user_id == user.id or "manage" in rights_of(service, user, row.dataset)
    ]


def _shown(row: Grant, user: str) -> schemas.GrantShown:
    return schemas.GrantShown(
        user=user,
        right=row.right,
        not_before=row.not_before,
        expires=row.expires,
        quota=row.quota,
        used=row.used,
        revoked=row.revoked,
    )


def _told(row: AccessRequest) -> schemas.RequestShown:
    return schemas.RequestShown(
        number=row.id,
        dataset=row.dataset.name,
        user=row.user.name,
        message=row.message,
        state=row.state,
        reason=row.reason,
    )


def _add_restoring(app: FastAPI) -> None:
    @app.post("/v1/datasets/{name}/restore", tags=["restoring"], response_class=StreamingResponse)
    async def restore(name: str, request: Request) -> StreamingResponse:
        """Restore images.

        The body is frames (`application/x-dsguard-frames`), a tar (`application/x-tar`) or a form
        with files (`multipart/form-data`); the answer is of the same kind, a tar for a form. What
        fails is told for each image: by the status of its frame, or in a member `NAME.error.txt`.
        """
        platform, origin, user = await run_in_threadpool(_admitted, request, name)
        body = tempfile.SpooledTemporaryFile(max_size=4 << 20)  # noqa: SIM115 - closed at the end
        try:
            kind = await spooled(request, cast("BinaryIO", body), platform.settings.body_bytes)
            return await run_in_threadpool(
                _answer, platform, origin, user, name, kind, cast("BinaryIO", body)
            )
        except BaseException as error:
            body.close()
            if isinstance(error, Refused):
                await run_in_threadpool(platform.audit_refusal, origin, error, name)
            raise


def _add_jobs(app: FastAPI) -> None:
    @app.post("/v1/datasets/{name}/jobs", status_code=202, tags=["jobs"])
    async def begin(name: str, request: Request) -> schemas.JobShown:
        """Have a large set restored in the background; the body is as for `restore`."""
        platform, origin, user = await run_in_threadpool(_admitted, request, name)
        with tempfile.TemporaryFile(dir=platform.settings.folder) as body:
            try:
                kind = await spooled(request, body, platform.settings.job_bytes)
            except Refused as refusal:
                await run_in_threadpool(platform.audit_refusal, origin, refusal, name)
                raise
            return await run_in_threadpool(_begin_job, platform, origin, user, name, kind, body)

    @app.get("/v1/jobs/{number}", tags=["jobs"])
    def job(number: str, asking: Asking) -> schemas.JobShown:
        """Tell how far a job is."""
        return _job_shown(*_own_job(*asking, number))

    @app.get("/v1/jobs/{number}/result", tags=["jobs"], response_class=FileResponse)
    def result(number: str, request: Request, asking: Asking) -> FileResponse:
        """Fetch the result of a finished job, from any byte on (`Range`)."""
        service, user = asking
        found, dataset = _own_job(service, user, number)
        service.granted(user, dataset, "restore")
        if found.state != "done":
            raise Refused(
                409, "not-done", f"the job is {found.state}", "ask for its state and come again"
            )
        service.audit("fetch", f"job {number}", dataset=dataset.name)
        media_type = found.kind if found.kind == frames.CONTENT_TYPE else TAR
        return FileResponse(platform_of(request).jobs.path(number, "out"), media_type=media_type)


def _begin_job(
    platform: Platform, origin: Origin, user: User, name: str, kind: str, body: BinaryIO
) -> schemas.JobShown:
    with platform.service(origin) as service:
        dataset = service.dataset_named(name)
        service.granted(user, dataset, "restore")
        job = platform.jobs.new(service.session, user, dataset, kind)
        service.audit("job", job.id, dataset=name)
    platform.jobs.put(job.id, body)
    return _job_shown(job, dataset)


def _own_job(service: Service, user: User, number: str) -> tuple[Job, Dataset]:
    job = service.session.get(Job, number)
    if job is None or job.user_id != user.id:
        raise Refused(404, "no-job", "you have no such job", "begin one")
    return job, service.session.get_one(Dataset, job.dataset_id)


def _job_shown(job: Job, dataset: Dataset) -> schemas.JobShown:
    return schemas.JobShown(
        number=job.id,
        dataset=dataset.name,
        state=job.state,
        message=job.message,
        done=job.done,
        failed=job.failed,
    )


def _admitted(request: Request, name: str) -> tuple[Platform, Origin, User]:
    """Return who asks, if they may restore: before any image is taken."""
    platform, user = platform_of(request), user_of(request)
    origin = _origin(request, user.name)
    with platform.service(origin) as service:
        service.granted(user, service.dataset_named(name), "restore")
    return platform, origin, user


def _answer(
    platform: Platform, origin: Origin, user: User, name: str, kind: str, body: BinaryIO
) -> StreamingResponse:
    """Return the restored images; the first chunk is restored before anything is answered."""
    chunks = allowed(platform, origin, user, name, images_of(kind, body, platform.settings))
    first: list[Restored] = next(chunks, [])

    def everything() -> Iterator[list[Restored]]:
        try:
            yield first
            yield from chunks
        except Refused as refusal:  # in the middle: the answer has begun
            platform.audit_refusal(origin, refusal, name)
            yield [Restored("", f"Refused: {refusal.message}; {refusal.remedy}", b"")]
        finally:
            chunks.close()
            body.close()

    content, media_type = streamed(kind, everything())
    return StreamingResponse(content, media_type=media_type)


def allowed(
    platform: Platform,
    origin: Origin,
    user: User,
    name: str,
    images: Iterator[tuple[str, bytes]],
) -> Any:
    """Yield restored chunks; the grant is looked at, and the trail written, before each of them."""
    with transaction(platform.engine) as session:
        service = Service(session, platform.vault, origin)
        ring = service.ring(service.dataset_named(name))

    def allow(chunk: Chunk) -> None:
        with transaction(platform.engine) as session:
            service = Service(session, platform.vault, origin)
            grant = service.granted(user, service.dataset_named(name), "restore")
            service.take(grant, user, chunk.good, platform.settings.images_per_day)
            service.audit(
                "restore",
                f"{chunk.good} of {len(chunk.images)} images",
                dataset=name,
                key_version=max(chunk.versions, default=None),
                images=chunk.good,
                digest=chunk.digest,
            )
        platform.images.inc(chunk.good)

    with platform.place():
        yield from restored_chunks(images, ring, platform.pool, allow)
