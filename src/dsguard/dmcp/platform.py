"""What the whole service shares: database, vault, workers, jobs, limits, metrics."""

from __future__ import annotations

import threading
from collections import Counter as Tally
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import structlog
from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter
from prometheus_client import CollectorRegistry, Counter, Histogram
from sqlalchemy import Engine

from dsguard.dmcp.access import Refused, Service
from dsguard.dmcp.audit import Origin
from dsguard.dmcp.jobs import Jobs
from dsguard.dmcp.model import User, connect, migrate, transaction
from dsguard.dmcp.restoring import Chunk, Restored, Upload, restored_chunks
from dsguard.dmcp.settings import Settings
from dsguard.dmcp.vault import Vault
from dsguard.errors import WorkerError
from dsguard.workers import Workers

log = structlog.get_logger("dsguard.dmcp")


class Platform:
    """The service behind its routes.

    Attributes
    ----------
    settings : Settings
    engine : Engine
    vault : Vault
    workers : Workers
    jobs : Jobs
    registry : CollectorRegistry
    requests, images, seconds
        Metrics.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        settings.make_folder()
        migrate(settings.url())
        self.engine: Engine = connect(settings.url())
        with transaction(self.engine) as session:
            self.vault = Vault.of(settings, new=not Vault.is_needed(session))
            self.vault.open(session)
        self.workers = Workers(settings.workers, "dsguard.dmcp.restoring", _tell_of_death)
        self.jobs = Jobs(self)
        self._limiter = MovingWindowRateLimiter(MemoryStorage())
        self._limit = RateLimitItemPerMinute(settings.requests_per_minute)
        self._places: Tally[int] = Tally()
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
        """Yield a transaction."""
        with transaction(self.engine) as session:
            yield Service(session, self.vault, origin)

    def audit_refusal(self, origin: Origin, refusal: Refused, dataset: str = "") -> None:
        """Note that something was refused, in a transaction of its own."""
        with self.service(origin) as service:
            service.audit("refused", refusal.code, dataset=dataset)

    def check_rate(self, who: str) -> None:
        """Refuse whoever asks too often; that is not audited, or anybody could fill the trail."""
        if not self._limiter.hit(self._limit, who):
            raise Refused(
                429, "rate", f"{self.settings.requests_per_minute} requests a minute are allowed",
                "come again in a minute; put more images into each request",
            )  # fmt: skip

    @contextmanager
    def place(self, user: User) -> Iterator[None]:
        """Hold one of the places for restorations, or send the request away.

        A user has some of them at most: who stops reading stands in nobody's way but their own.
        """
        settings = self.settings
        with self._lock:
            if self._places[user.id] >= settings.waiting_per_user:
                raise Refused(
                    429, "busy", f"you have {settings.waiting_per_user} restorations running",
                    "come again when one of them is done",
                )  # fmt: skip
            if self._places.total() >= settings.waiting:
                raise Refused(503, "busy", "too many restorations at once", "come again shortly")
            self._places[user.id] += 1
        try:
            yield
        finally:
            with self._lock:
                self._places[user.id] -= 1
                self._places += Tally()  # forgets who has none

    def admit(self, origin: Origin, user: User, name: str) -> None:
        """Refuse who may not restore a dataset, before any image is taken."""
        with self.service(origin) as service:
            service.granted(user, service.dataset_named(name), "restore")

    def restored(
        self,
        origin: Origin,
        user: User,
        name: str,
        images: Iterable[Upload],
        token: str | None = None,
    ) -> Iterator[list[Restored]]:
        """Yield restored chunks; token and grant are looked at, the trail written, before each."""
        with self.service(origin) as service:
            ring = service.ring(service.dataset_named(name))

        def allow(chunk: Chunk) -> None:
            with self.service(origin) as service:
                if token is not None:
                    service.user_of(token)
                grant = service.granted(user, service.dataset_named(name), "restore")
                service.take(grant, user, chunk.good, self.settings.images_per_day)
                service.audit(
                    "restore",
                    f"{chunk.good} of {len(chunk.images)} images",
                    dataset=name,
                    key_version=max(chunk.versions, default=None),
                    images=chunk.good,
                    digest=chunk.digest,
                )
            self.images.inc(chunk.good)

        try:
            yield from restored_chunks(
                images, ring, self.workers, allow, most_pixels=self.settings.image_pixels
            )
        except WorkerError as error:
            raise Refused(
                503, "workers-died", "the processes that restore died, perhaps for want of memory",
                "send fewer or smaller images in a request",
            ) from error  # fmt: skip


def _tell_of_death() -> None:
    log.error("a worker died; another takes its place")
