"""The state of the whole service: database, vault, workers, jobs, limits, metrics."""

from __future__ import annotations

import threading
from collections import Counter as Tally
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial

import structlog
from limits import RateLimitItemPerHour, RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter
from prometheus_client import CollectorRegistry, Counter, Histogram
from sqlalchemy import Engine
from sqlalchemy.exc import TimeoutError as DatabaseTimeout

from dsguard._parallel.processes import Workers
from dsguard.dmcp.access import Credential, Refused, Service
from dsguard.dmcp.audit import Origin
from dsguard.dmcp.jobs import Jobs
from dsguard.dmcp.metering import Meter
from dsguard.dmcp.model import LONGEST_WAIT, User, connect, migrate, transaction
from dsguard.dmcp.restoring import Restored, Upload, restored_chunks
from dsguard.dmcp.settings import Settings
from dsguard.dmcp.usage import Usage
from dsguard.dmcp.vault import Vault
from dsguard.errors import WorkerError

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
    usage : Usage
    registry : CollectorRegistry
    requests, images, keys, seconds, refusals
        Metrics.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        settings.make_folder()
        migrate(settings.url())
        self.engine: Engine = connect(settings.url())
        self._turn = threading.Lock()
        with transaction(self.engine) as session:
            self.vault = Vault.of(settings, new=not Vault.is_needed(session))
            self.vault.open(session)
        self.workers = Workers(settings.workers, "dsguard.dmcp.restoring", on_death=_tell_of_death)
        self.jobs = Jobs(self)
        self._limiter = MovingWindowRateLimiter(MemoryStorage())
        self._limit = RateLimitItemPerMinute(settings.requests_per_minute)
        self._registrations = RateLimitItemPerHour(settings.registrations_per_hour)
        self._noted = RateLimitItemPerMinute(1)
        self._hourly = RateLimitItemPerHour(1)
        self._places: Tally[int] = Tally()
        self._lock = threading.Lock()
        self.usage = Usage()
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "dsguard_requests", "Requests", ["route", "status"], registry=self.registry
        )
        self.images = Counter("dsguard_images", "Images restored", registry=self.registry)
        self.keys = Counter("dsguard_image_keys", "Keys of images released", registry=self.registry)
        self.refusals = Counter(
            "dsguard_refusals", "Requests refused", ["code"], registry=self.registry
        )
        self.seconds = Histogram(
            "dsguard_request_seconds", "Time to the first byte", ["route"], registry=self.registry
        )

    @contextmanager
    def service(self, origin: Origin) -> Iterator[Service]:
        """Yield a transaction.

        Threads wait for each other here: at the database they would sleep and try again, which some
        of them do for seconds.
        """
        if not self._turn.acquire(timeout=LONGEST_WAIT):
            msg = "others have had the database for too long"
            raise DatabaseTimeout(msg)
        try:
            with transaction(self.engine) as session:
                yield Service(session, self.vault, origin)
        finally:
            self._turn.release()

    def audit_refusal(self, origin: Origin, refusal: Refused, dataset: str = "") -> None:
        """Note that something was refused, in a transaction of its own.

        The same to the same user, or address, is noted once a minute: nobody fills the trail.
        Who has no token is not in the trail of a dataset, and nobody is in that of one which is not
        there: names are free to make up. The metrics count all.
        """
        self.refusals.labels(refusal.code).inc()
        who = f"user {origin.actor}" if origin.actor else f"address {origin.network}"
        if not (origin.actor and self._has_dataset(origin, dataset)):
            dataset = ""
        if not self._limiter.hit(self._noted, "refusal", who, dataset, refusal.code):
            return
        with self.service(origin) as service:
            service.audit("refused", refusal.code, dataset=dataset)

    @contextmanager
    def noting(self, *what: str) -> Iterator[bool]:
        """Yield whether something is to be noted in the trail: once an hour, if that succeeds."""
        yield self._limiter.test(self._hourly, *what)
        self._limiter.hit(self._hourly, *what)

    def _has_dataset(self, origin: Origin, name: str) -> bool:
        with self.service(origin) as service:
            return service.has_dataset(name)

    def check_rate(self, who: str) -> None:
        """Refuse whoever asks too often; that is not audited, or anybody could fill the trail."""
        if not self._limiter.hit(self._limit, who):
            raise Refused(
                429, "rate", f"{self.settings.requests_per_minute} requests a minute are allowed",
                "come again in a minute; put more images into each request",
            )  # fmt: skip

    def check_registrations(self, address: str) -> None:
        """Refuse an address that asks for accounts too often; each tells whether a name is free."""
        if not self._limiter.hit(self._registrations, "registration", address):
            most = self.settings.registrations_per_hour
            raise Refused(
                429, "rate", f"{most} registrations an hour are allowed from one address",
                "come again in an hour, or ask the operator for an account",
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

    def admit(self, origin: Origin, user: User, name: str, *, asks_keys: bool = False) -> None:
        """Refuse who may restore nothing of a dataset now, before any image or id is taken.

        Ids may be none that count: a full quota of distinct images still gives the keys of these.
        """
        with self.service(origin) as service:
            grant = service.granted(user, service.dataset_named(name), "restore")
            least = 0 if asks_keys and grant.distinct else 1
            service.check_room(grant, user, least, self.settings.images_per_day)

    def restored(
        self,
        origin: Origin,
        user: User,
        name: str,
        images: Iterable[Upload],
        credential: Credential,
    ) -> Iterator[list[Restored]]:
        """Yield restored chunks; who asks and the grant are looked at, and counted, before each."""
        meter = self.meter(origin, user, name, credential)
        try:
            yield from self.metered(meter, name, images)
        finally:
            meter.close()

    def meter(
        self, origin: Origin, user: User, name: str, credential: Credential | None, done: int = 0
    ) -> Meter:
        """Return what counts a request; or a job, which shows nothing and has images `done`."""
        settings = self.settings
        most = settings.job_images if credential is None else settings.request_images
        begin = partial(self.service, origin)
        return Meter(begin, user, name, credential, most, settings.images_per_day, done)

    def metered(
        self, meter: Meter, name: str, images: Iterable[Upload]
    ) -> Iterator[list[Restored]]:
        """Yield restored chunks that a meter counts."""
        with self.service(Origin()) as service:
            ring = service.ring(service.dataset_named(name))
        sent, most = meter.sent(images), self.settings.image_pixels
        with refusing_where_workers_die():
            for chunk in restored_chunks(sent, ring, self.workers, meter, most):
                self.images.inc(chunk.good)
                yield meter.shortened(chunk.images)


@contextmanager
def refusing_where_workers_die() -> Iterator[None]:
    """Turn the death of all workers that tried something into a refusal."""
    try:
        yield
    except WorkerError as error:
        raise Refused(
            503, "workers-died", "the processes that restore died, perhaps for want of memory",
            "send fewer or smaller images in a request",
        ) from error  # fmt: skip


def _tell_of_death() -> None:
    log.error("a worker died; another takes its place")
