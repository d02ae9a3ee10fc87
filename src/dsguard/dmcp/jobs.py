"""Background jobs: large sets, restored while nobody waits, and fetched in pieces.

The files of a job are ``NUMBER.part`` while its images come in, ``NUMBER.in`` until they are
restored, and ``NUMBER.out``.
"""

from __future__ import annotations

import queue
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import structlog
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from dsguard.dmcp.access import Refused
from dsguard.dmcp.audit import Origin
from dsguard.dmcp.bodies import images_of, streamed
from dsguard.dmcp.frames import OK
from dsguard.dmcp.model import Dataset, Job, User, now, transaction
from dsguard.dmcp.restoring import end_of

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from dsguard.dmcp.platform import Platform
    from dsguard.dmcp.restoring import Restored

_UNDONE = ("queued", "running")
_CLEANED_EVERY = 3600.0  # seconds
_PUT_OFF = 5.0

log = structlog.get_logger("dsguard.dmcp")


class Jobs:
    """The queue of jobs, and the thread that works on them one by one.

    Parameters
    ----------
    platform : Platform
    """

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._folder = platform.settings.folder / "jobs"
        self._folder.mkdir(exist_ok=True, mode=0o700)
        self._queue: queue.Queue[str | None] = queue.Queue()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="dsguard-jobs")

    def start(self) -> None:
        """Begin with the jobs that an earlier process left."""
        with transaction(self._platform.engine) as session:
            left = session.scalars(
                select(Job.id).where(Job.state.in_(_UNDONE)).order_by(Job.created)
            ).all()
        alone = not self._platform.settings.database  # else it may be another process that has it
        here = {path.stem for path in self._folder.iterdir()}
        for number in left:
            if alone or number in here:
                self.enqueue(number)
        for part in self._folder.glob("*.part"):
            part.unlink()
        self._clean()
        self._thread.start()

    def stop(self) -> None:
        """Leave the job in work where it is; the next process goes on with it."""
        self._stopping.set()
        self._queue.put(None)
        self._thread.join()

    @contextmanager
    def taking(self) -> Iterator[tuple[str, BinaryIO]]:
        """Yield the number of a new job and the file that its images go to."""
        number = secrets.token_hex(16)
        part = self.path(number, "part")
        try:
            with part.open("w+b") as body:
                yield number, body
        finally:
            part.unlink(missing_ok=True)

    def new(self, session: Session, number: str, user: User, dataset: Dataset, kind: str) -> Job:
        """Make a job whose images have come in."""
        most = self._platform.settings.jobs_per_user
        if len(self.of(session, user)) >= most:
            raise Refused(
                429, "jobs", f"you have {most} jobs, which is as many as are kept",
                "remove one whose result you have: DELETE /v1/jobs/NUMBER",
            )  # fmt: skip
        job = Job(id=number, user_id=user.id, dataset_id=dataset.id, kind=kind)
        session.add(job)
        session.flush()
        return job

    def enqueue(self, number: str) -> None:
        """Let a job begin whose images are all there."""
        with suppress(FileNotFoundError):  # it was done before the service was killed
            self.path(number, "part").rename(self.path(number, "in"))
        self._queue.put(number)

    def of(self, session: Session, user: User) -> list[Job]:
        """Return the jobs of a user, the oldest first."""
        query = select(Job).where(Job.user_id == user.id).order_by(Job.created, Job.id)
        return list(session.scalars(query))

    def remove(self, session: Session, job: Job) -> None:
        """Remove a job and its files; the thread ends it when it comes to the next chunk."""
        session.delete(job)
        session.flush()
        for part in ("in", "out"):
            self.path(job.id, part).unlink(missing_ok=True)

    def path(self, number: str, part: str) -> Path:
        """Return where what came in, or what goes out, lies."""
        return self._folder / f"{number}.{part}"

    def _clean(self) -> None:
        """Remove jobs whose time is over, and files of no job."""
        oldest = now() - timedelta(days=self._platform.settings.job_days)
        here = {path.stem for path in self._folder.iterdir()}
        with transaction(self._platform.engine) as session:
            for job in session.scalars(select(Job).where(Job.created < oldest)):
                if job.state not in _UNDONE or job.id not in here:
                    session.delete(job)
            session.flush()
            known = set(session.scalars(select(Job.id)))
        for path in self._folder.iterdir():
            if path.stem not in known and path.suffix != ".part":
                path.unlink()

    def _run(self) -> None:
        while not self._stopping.is_set():
            number = None
            try:
                number = self._queue.get(timeout=_CLEANED_EVERY)
                if number is not None and not self._stopping.is_set():
                    self._try(number)
            except queue.Empty:
                with suppress(OSError, SQLAlchemyError):
                    self._clean()
            except (OSError, SQLAlchemyError) as error:  # a full disk, or a database that is away
                log.error("job put off", job=number, error=str(error))
                self._stopping.wait(_PUT_OFF)
                self._queue.put(number)

    def _try(self, number: str) -> None:
        try:
            self._work(number)
        except Refused as refusal:
            self._end(number, "refused", f"{refusal.message}; {refusal.remedy}", refusal)
        except (OSError, SQLAlchemyError):
            raise
        except Exception:
            log.exception("job", job=number)
            self._end(number, "failed", "an internal error, which the log has")

    def _end(
        self, number: str, state: str, message: str = "", refusal: Refused | None = None
    ) -> None:
        with transaction(self._platform.engine) as session:
            job = session.get(Job, number)
            if job is not None:
                job.state, job.message = state, message[:1000]
                user = session.get_one(User, job.user_id)
                dataset = session.get_one(Dataset, job.dataset_id)
        if job is not None and refusal is not None:
            self._platform.audit_refusal(_origin(user, number), refusal, dataset.name)
        self.path(number, "in").unlink(missing_ok=True)
        if job is None:
            self.path(number, "out").unlink(missing_ok=True)

    def _work(self, number: str) -> None:
        """Restore the images of a job, from where it was left."""
        if not self.path(number, "in").exists():
            self._end(number, "failed", "its images are not there any more; send them again")
            return
        with transaction(self._platform.engine) as session:
            job = session.get(Job, number)
            if job is None:
                return
            job.state = "running"
            done, size, kind = job.done, job.size, job.kind
            user = session.get_one(User, job.user_id)
            dataset = session.get_one(Dataset, job.dataset_id)
        out = self.path(number, "out")
        with self.path(number, "in").open("rb") as body, out.open("ab") as file:
            file.truncate(size)
            images = images_of(kind, body, self._platform.settings.image_bytes)
            for _ in islice(images, done):  # these are in the file already
                pass
            chunks = self._platform.restored(_origin(user, number), user, dataset.name, images)
            refusals: list[Refused] = []
            content, _ = streamed(kind, self._counted(number, chunks, file, refusals))
            for piece in content:
                file.write(piece)
                file.flush()
        for refusal in refusals:  # what came before can be fetched
            raise refusal
        if not self._stopping.is_set():
            self._end(number, "done")

    def _counted(
        self,
        number: str,
        chunks: Iterator[list[Restored]],
        file: BinaryIO,
        refusals: list[Refused],
    ) -> Iterator[list[Restored]]:
        """Yield chunks; note how far the file is whenever one has been written.

        What ends them goes to `refusals`, and is told at their end.
        """
        while True:
            try:
                chunk = next(chunks)
            except StopIteration:
                return
            except Refused as refusal:
                refusals.append(refusal)
                yield [end_of(refusal)]
                return
            yield chunk
            with transaction(self._platform.engine) as session:
                job = session.get(Job, number)
                if job is not None:
                    job.done += len(chunk)
                    job.failed += sum(image.status != OK for image in chunk)
                    job.size = file.tell()
            if job is None or self._stopping.is_set():
                chunks.close()  # type: ignore[attr-defined]
                return


def _origin(user: User, number: str) -> Origin:
    return Origin(user.name, "job", number[:16])
