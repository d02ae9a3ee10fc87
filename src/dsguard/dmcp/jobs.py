"""Background jobs: large sets, restored while nobody waits, and fetched in pieces.

The files of a job are ``NUMBER.part`` while its images come in, ``NUMBER.in`` until they are
restored, and ``NUMBER.out``; all of them sealed.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections import Counter as Tally
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

import structlog
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from dsguard.dmcp.access import Refused
from dsguard.dmcp.audit import Origin
from dsguard.dmcp.bodies import end_of_answer, images_of, packed_chunk
from dsguard.dmcp.frames import OK
from dsguard.dmcp.model import Dataset, Job, User, now, transaction
from dsguard.dmcp.private_files import JOB_FILE
from dsguard.dmcp.restoring import end_of
from dsguard.dmcp.sealed_files import SealedWriter, open_sealed
from dsguard.errors import TamperedError

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from dsguard.dmcp.metering import Meter
    from dsguard.dmcp.restoring import Restored, Upload
    from dsguard.dmcp.state import Platform

_UNDONE = ("queued", "running")
_CLEANED_EVERY = 3600.0  # seconds
_PUT_OFF = 5.0
_TURN = 2.0
_OPEN = 4
"""Jobs whose images are kept open between two turns; others are read anew up to where they were."""

log = structlog.get_logger("dsguard.dmcp")


class Turns:
    """Whose job is next: users take turns, each with their oldest job."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._users: OrderedDict[int, deque[str]] = OrderedDict()

    def add(self, user: int, number: str) -> None:
        """Let a job wait for its turn."""
        with self._changed:
            self._users.setdefault(user, deque()).append(number)
            self._changed.notify()

    def next(self, timeout: float) -> tuple[int, str] | None:
        """Return the user whose turn it is and their job; None if there is none for a while."""
        with self._changed:
            if not self._users:
                self._changed.wait(timeout)
            for user, numbers in self._users.items():
                return user, numbers[0]
            return None

    def end(self, user: int, *, done: bool) -> None:
        """End the turn of a user, whose job is done or waits for their next."""
        with self._changed:
            if done:
                self._users[user].popleft()
            self._users.move_to_end(user)
            if not self._users[user]:
                del self._users[user]

    def others_wait(self) -> bool:
        """Tell whether more than one user has jobs."""
        return len(self._users) > 1

    def wake(self) -> None:
        """Have `next` return."""
        with self._changed:
            self._changed.notify()


class _Work(NamedTuple):
    """A job between two turns."""

    user: User
    dataset: str
    kind: str
    body: BinaryIO
    images: Iterator[Upload]
    meter: Meter

    def close(self) -> None:
        """Let go of it; the line of what failed is written."""
        self.body.close()
        self.meter.close()


class Jobs:
    """The jobs, and the thread that works on them, a turn of one user after that of another.

    Parameters
    ----------
    platform : Platform
    """

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._folder = platform.settings.folder / "jobs"
        self._folder.mkdir(exist_ok=True, mode=0o700)
        self._turns = Turns()
        self._open: OrderedDict[str, _Work] = OrderedDict()
        self._coming: Tally[int] = Tally()  # jobs whose images come in, by user
        self._lock = threading.Lock()
        self._cleaned = 0.0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="dsguard-jobs")

    def start(self) -> None:
        """Begin with the jobs that an earlier process left."""
        with transaction(self._platform.engine) as session:
            left = session.execute(
                select(Job.id, Job.user_id).where(Job.state.in_(_UNDONE)).order_by(Job.created)
            ).all()
        alone = not self._platform.settings.database  # else it may be another process that has it
        here = {path.stem for path in self._folder.iterdir()}
        for number, user in left:
            if alone or number in here:
                self.enqueue(number, user)
        for part in self._folder.glob("*.part"):
            part.unlink()
        self._clean()
        self._thread.start()

    def stop(self) -> None:
        """Leave the job in work where it is; the next process goes on with it."""
        self._stopping.set()
        self._turns.wake()
        self._thread.join()

    @contextmanager
    def taking(self, user: User) -> Iterator[tuple[str, SealedWriter]]:
        """Yield the number of a new job of a user and the file that its images go to.

        Raises
        ------
        Refused
            If the user has as many jobs as are kept, with those whose images come in now.
        """
        number = secrets.token_hex(16)
        part = self.path(number, "part")
        with self._room(user):
            try:
                with self.writer(number, "part") as body:
                    yield number, body
            finally:
                part.unlink(missing_ok=True)

    @contextmanager
    def _room(self, user: User) -> Iterator[None]:
        with self._lock, transaction(self._platform.engine) as session:
            self._check_room(len(self.of(session, user)) + self._coming[user.id])
            self._coming[user.id] += 1
        try:
            yield
        finally:
            with self._lock:
                self._coming[user.id] -= 1
                self._coming += Tally()  # forgets who has none

    def _check_room(self, count: int) -> None:
        most = self._platform.settings.jobs_per_user
        if count >= most:
            raise Refused(
                429, "jobs", f"you have {most} jobs, which is as many as are kept",
                "remove one whose result you have: DELETE /v1/jobs/NUMBER",
            )  # fmt: skip

    def new(self, session: Session, number: str, user: User, dataset: Dataset, kind: str) -> Job:
        """Make a job whose images have come in."""
        self._check_room(len(self.of(session, user)))
        job = Job(id=number, user_id=user.id, dataset_id=dataset.id, kind=kind)
        session.add(job)
        session.flush()
        return job

    def enqueue(self, number: str, user: int) -> None:
        """Let a job begin whose images are all there."""
        with suppress(FileNotFoundError):  # it was done before the service was killed
            self.path(number, "part").rename(self.path(number, "in"))
        self._turns.add(user, number)

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

    def writer(self, number: str, part: str, size: int = 0) -> SealedWriter:
        """Open a file of a job to write, behind the bytes that it keeps."""
        return SealedWriter(self.path(number, part), self._key(number, part), size)

    def reader(self, number: str, part: str) -> BinaryIO:
        """Open a file of a job to read."""
        return open_sealed(self.path(number, part), self._key(number, part))

    def _key(self, number: str, part: str) -> bytes:
        return self._platform.vault.job_key(number, "out" if part == "out" else "in")

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
            own = JOB_FILE.fullmatch(path.name) is not None
            if own and path.stem not in known and path.suffix != ".part":
                path.unlink()

    def _run(self) -> None:
        while not self._stopping.is_set():
            with suppress(OSError, SQLAlchemyError):
                self._clean_now_and_then()
            turn = self._turns.next(_CLEANED_EVERY)
            if turn is None or self._stopping.is_set():
                continue
            user, number = turn
            done = False
            try:
                done = self._try(number)
            except (OSError, SQLAlchemyError) as error:  # a full disk, or a database that is away
                log.error("job put off", job=number, error=str(error))
                self._forget(number)
                self._stopping.wait(_PUT_OFF)
            self._turns.end(user, done=done)
        for number in list(self._open):
            self._forget(number)

    def _clean_now_and_then(self) -> None:
        if time.monotonic() - self._cleaned >= _CLEANED_EVERY:
            self._cleaned = time.monotonic()
            self._clean()

    def _try(self, number: str) -> bool:
        """Work on a job for a turn; return whether it is done, in whatever way."""
        try:
            if not self._work(number):
                return False
        except Refused as refusal:
            self._end(number, "refused", f"{refusal.message}; {refusal.remedy}", refusal)
        except TamperedError as error:
            self._end(number, "failed", f"{error.message}; send the images again")
        except (OSError, SQLAlchemyError):
            raise
        except Exception:
            log.exception("job", job=number)
            self._end(number, "failed", "an internal error, which the log has")
        self._forget(number)
        return True

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

    def _work(self, number: str) -> bool:
        """Restore images of a job for a turn, from where it was left; return whether it is done."""
        if not self.path(number, "in").exists():
            self._end(number, "failed", "its images are not there any more; send them again")
            return True
        with transaction(self._platform.engine) as session:
            job = session.get(Job, number)
            if job is None:
                return True
            job.state = "running"
        with self.writer(number, "out", job.size) as file:
            work = self._opened(job)
            read = _Turn(self._is_over, work.images)
            self._restore(number, work, read, file)
            if read.goes_on or self._stopping.is_set():
                return False
            file.write(end_of_answer(work.kind))
            self._note(number, [], file)
        self._end(number, "done")
        return True

    def _opened(self, job: Job) -> _Work:
        """Return a job as the last turn left it; if it is not open, what is done is skipped."""
        work = self._open.pop(job.id, None)
        if work is None:
            with transaction(self._platform.engine) as session:
                user = session.get_one(User, job.user_id)
                dataset = session.get_one(Dataset, job.dataset_id).name
            body = self.reader(job.id, "in")
            images = images_of(job.kind, body, self._platform.settings.image_bytes)
            for _ in islice(images, job.done):  # these are in the file already
                pass
            origin = _origin(user, job.id)
            meter = self._platform.meter(origin, user, dataset, None, job.done)
            work = _Work(user, dataset, job.kind, body, images, meter)
        self._open[job.id] = work
        while len(self._open) > _OPEN:
            self._forget(next(iter(self._open)))
        return work

    def _forget(self, number: str) -> None:
        work = self._open.pop(number, None)
        if work is not None:
            with suppress(OSError, SQLAlchemyError):
                work.close()

    def _is_over(self, start: float) -> bool:
        """Tell whether a turn is over: of who waits alone it lasts until somebody comes."""
        return time.monotonic() - start >= _TURN and self._turns.others_wait()

    def _restore(
        self, number: str, work: _Work, images: Iterable[Upload], file: SealedWriter
    ) -> None:
        """Write restored chunks; note how far the file is whenever one has been written."""
        chunks = self._platform.metered(work.meter, work.dataset, images)
        refused: Refused | None = None
        while refused is None:
            try:
                chunk = next(chunks)
            except StopIteration:
                return
            except Refused as refusal:
                refused, chunk = refusal, [end_of(refusal)]
            file.write(packed_chunk(work.kind, chunk))
            if refused is not None:
                file.write(end_of_answer(work.kind))
                chunk = []
            if not self._note(number, chunk, file) or self._stopping.is_set():
                chunks.close()  # type: ignore[attr-defined]
                return
        raise refused  # what came before can be fetched

    def _note(self, number: str, chunk: list[Restored], file: SealedWriter) -> bool:
        """Note how far a job is; return whether it is still wanted."""
        file.flush()
        with transaction(self._platform.engine) as session:
            job = session.get(Job, number)
            if job is not None:
                job.done += len(chunk)
                job.failed += sum(image.status != OK for image in chunk)
                job.size = file.tell()
        return job is not None


class _Turn:
    """Images until a turn is over; `goes_on` tells whether there may be more."""

    def __init__(self, is_over: Callable[[float], bool], images: Iterator[Upload]) -> None:
        self._is_over, self._images = is_over, images
        self.goes_on = False

    def __iter__(self) -> Iterator[Upload]:
        start = time.monotonic()
        for image in self._images:
            yield image
            if self._is_over(start):
                self.goes_on = True
                return


def _origin(user: User, number: str) -> Origin:
    return Origin(user.name, "job", number[:16])
