"""Background jobs: large sets, restored while nobody waits, and fetched in pieces."""

from __future__ import annotations

import queue
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import structlog
from sqlalchemy import select

from dsguard.dmcp.access import Refused
from dsguard.dmcp.audit import Origin
from dsguard.dmcp.bodies import images_of, streamed
from dsguard.dmcp.frames import OK
from dsguard.dmcp.model import Dataset, Job, User, now, transaction

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from dsguard.dmcp.app import Platform
    from dsguard.dmcp.restoring import Restored

log = structlog.get_logger("dsguard.dmcp")


class Jobs:
    """The queue of jobs, and the thread that works on them one by one.

    Parameters
    ----------
    platform : Platform
    allowed : callable
        As `dsguard.dmcp.app.allowed`.
    """

    def __init__(
        self, platform: Platform, allowed: Callable[..., Iterator[list[Restored]]]
    ) -> None:
        self._platform, self._allowed = platform, allowed
        self._folder = platform.settings.folder / "jobs"
        self._folder.mkdir(exist_ok=True)
        self._queue: queue.Queue[str | None] = queue.Queue()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="dsguard-jobs")

    def start(self) -> None:
        """Begin with the jobs that an earlier process left."""
        self.clean()
        with transaction(self._platform.engine) as session:
            left = session.scalars(
                select(Job.id).where(Job.state.in_(("queued", "running"))).order_by(Job.created)
            ).all()
        for number in left:
            self._queue.put(number)
        self._thread.start()

    def stop(self) -> None:
        """Leave the job in work where it is; the next process goes on with it."""
        self._stopping.set()
        self._queue.put(None)
        self._thread.join()

    def clean(self) -> None:
        """Remove what is older than the settings say, and files of no job."""
        oldest = now() - timedelta(days=self._platform.settings.job_days)
        with transaction(self._platform.engine) as session:
            for job in session.scalars(select(Job).where(Job.created < oldest)):
                session.delete(job)
            session.flush()
            known = set(session.scalars(select(Job.id)))
        for path in self._folder.iterdir():
            if path.stem not in known:
                path.unlink()

    def new(self, session: Session, user: User, dataset: Dataset, kind: str) -> Job:
        """Make a job whose images are still to come."""
        job = Job(id=secrets.token_hex(16), user_id=user.id, dataset_id=dataset.id, kind=kind)
        session.add(job)
        session.flush()
        return job

    def put(self, number: str, body: BinaryIO) -> None:
        """Take the images of a job and let it begin."""
        path = self.path(number, "in")
        with path.open("wb") as file:
            while piece := body.read(1 << 20):
                file.write(piece)
        self._queue.put(number)

    def path(self, number: str, part: str) -> Path:
        """Return where what came in, or what goes out, lies."""
        return self._folder / f"{number}.{part}"

    def _run(self) -> None:
        while (number := self._queue.get()) is not None and not self._stopping.is_set():
            try:
                self._work(number)
            except Refused as refusal:
                self._end(number, "refused", f"{refusal.message}; {refusal.remedy}")
            except Exception:
                log.exception("job", job=number)
                self._end(number, "failed", "an internal error, which the log has")

    def _end(self, number: str, state: str, message: str = "") -> None:
        with transaction(self._platform.engine) as session:
            job = session.get(Job, number)
            if job is not None:
                job.state, job.message = state, message
        self.path(number, "in").unlink(missing_ok=True)

    def _work(self, number: str) -> None:
        """Restore the images of a job, from where it was left."""
        with transaction(self._platform.engine) as session:
            job = session.get(Job, number)
            if job is None or not self.path(number, "in").exists():
                return
            job.state = "running"
            done, size, kind = job.done, job.size, job.kind
            user, dataset = (
                session.get_one(User, job.user_id),
                session.get_one(Dataset, job.dataset_id),
            )
        origin = Origin(user.name, "job", number[:16])
        out = self.path(number, "out")
        with self.path(number, "in").open("rb") as body, out.open("ab") as file:
            file.truncate(size)
            images = images_of(kind, body, self._platform.settings)
            for _ in range(done):  # these are in the file already
                next(images)
            chunks = self._allowed(self._platform, origin, user, dataset.name, images)
            content, _ = streamed(kind, self._counted(number, chunks, file))
            for piece in content:
                file.write(piece)
                file.flush()
        if not self._stopping.is_set():
            self._end(number, "done")

    def _counted(
        self, number: str, chunks: Iterator[list[Restored]], file: BinaryIO
    ) -> Iterator[list[Restored]]:
        """Yield chunks; note how far the file is whenever one has been written."""
        for chunk in chunks:
            yield chunk
            with transaction(self._platform.engine) as session:
                job = session.get_one(Job, number)
                job.done += len(chunk)
                job.failed += sum(image.status != OK for image in chunk)
                job.size = file.tell()
            if self._stopping.is_set():
                with suppress(AttributeError):
                    chunks.close()  # type: ignore[attr-defined]
                return
