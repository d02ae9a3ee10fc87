"""Worker processes that may be killed at any moment: what they had to do is done by others.

`concurrent.futures.ProcessPoolExecutor` gives all its workers one pipe for results: where one is
killed while it writes there, everybody waits for the rest for ever. Here each has a pipe of its
own, and a thread that waits at the other end of it.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from typing import Any, ParamSpec, TypeVar

from dsguard.errors import WorkerError

ATTEMPTS = 3
_PAUSE = 0.1  # seconds, which what was killed may take to be gone
_BEGUN = b"begun"

P = ParamSpec("P")
T = TypeVar("T")


def end_if_imported() -> None:
    """End a worker that imports the script that it works for, and is told there to do all anew.

    Whoever waits for it says that the script lacks its guard.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        sys.exit(1)


class Workers:
    """A number of processes that do what they are given.

    Parameters
    ----------
    count : int
    *preload : str
        The module that has what they will do, and others; imported once for all of them.
    on_death : callable, optional
        Called when one has died.
    """

    def __init__(
        self, count: int, *preload: str, on_death: Callable[[], None] = lambda: None
    ) -> None:
        end_if_imported()
        self._context = multiprocessing.get_context("forkserver" if os.name == "posix" else "spawn")
        if os.name == "posix":
            self._context.set_forkserver_preload(list(preload))
        self._on_death = on_death
        self._threads = ThreadPoolExecutor(count, "dsguard-worker", _leave_interrupts_to_others)
        self._own = _Own()
        self._all: set[_Worker] = set()
        self._lock = threading.Lock()
        self._ended = False

    def submit(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Have something done; arguments and result have to survive `pickle`.

        The future raises `WorkerError` where each worker that it was given to died.
        """
        return self._threads.submit(self._done, pickle.dumps((call, args, kwargs)))

    def stop(self, *, at_once: bool = False) -> None:
        """End the processes when they have done what they began, or at once; cancel all else."""
        if at_once:
            with self._lock:
                self._ended = True
                for worker in self._all:
                    worker.terminate()
        self._threads.shutdown(cancel_futures=True)
        for worker in self._all:
            worker.end()

    def _done(self, work: bytes) -> Any:
        reason: Exception | None = None
        for attempt in range(ATTEMPTS):
            try:
                worker = self._worker()
            except (EOFError, OSError) as error:
                reason = error
                time.sleep(_PAUSE * attempt)
                continue
            try:
                outcome = worker.done(work)
            except (EOFError, OSError):
                if self._ended:
                    raise CancelledError from None
                if worker.did_not_begin():
                    raise WorkerError(_NO_GUARD) from None
                reason = None
                self._on_death()
                self._forget()
                time.sleep(_PAUSE * attempt)
                continue
            good, value = pickle.loads(outcome)
            if good:
                return value
            raise value
        if reason is not None:
            msg = f"worker processes cannot be started: {reason}"
            raise WorkerError(msg) from reason
        msg = (
            f"worker processes were killed {ATTEMPTS} times, perhaps for want of memory; try fewer "
            "workers or smaller shards; the same command goes on where this run stopped"
        )
        raise WorkerError(msg)

    def _worker(self) -> _Worker:
        """Return the process of this thread."""
        worker = self._own.worker
        if worker is None:
            with self._lock:
                if self._ended:
                    raise CancelledError
                worker = self._own.worker = _Worker(self._context)
                self._all.add(worker)
        return worker

    def _forget(self) -> None:
        worker = self._own.worker
        if worker is not None:
            self._own.worker = None
            worker.end()
            with self._lock:
                self._all.discard(worker)


_NO_GUARD = (
    "worker processes ended while they imported the script that started them, as they do it first; "
    'put what it does below: if __name__ == "__main__":'
)


class _Worker:
    """One process, and our end of the pipe to it."""

    def __init__(self, context: Any) -> None:
        self._begun = False
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(theirs,), daemon=True)
        try:
            with _without_current_folder():
                self._process.start()
        except BaseException:
            self._pipe.close()
            raise
        finally:
            theirs.close()  # so that nobody has it but the process, and its end is the pipe's

    def done(self, work: bytes) -> bytes:
        if not self._begun:
            self._begun = self._pipe.recv_bytes() == _BEGUN
        self._pipe.send_bytes(work)
        outcome: bytes = self._pipe.recv_bytes()
        return outcome

    def did_not_begin(self) -> bool:
        """Tell whether a process that ended did so by itself, before it was ours."""
        self._process.join()
        return not self._begun and self._process.exitcode == 1

    def terminate(self) -> None:
        self._process.terminate()

    def end(self) -> None:
        self._pipe.close()
        self._process.join()


_starting = threading.Lock()


@contextlib.contextmanager
def _without_current_folder() -> Iterator[None]:
    """Start processes that do not import what lies in the current folder, as ``python -c`` does.

    It may be a dataset: a file ``selectors.py`` in it would be run.
    """
    with _starting:
        before = os.environ.get(_SAFE_PATH)
        os.environ[_SAFE_PATH] = "1"
        try:
            yield
        finally:
            if before is None:
                del os.environ[_SAFE_PATH]
            else:
                os.environ[_SAFE_PATH] = before


_SAFE_PATH = "PYTHONSAFEPATH"


class _Own(threading.local):
    """The worker of each thread."""

    worker: _Worker | None = None


def _leave_interrupts_to_others() -> None:
    """Start processes that a terminal does not interrupt, not even before they begin."""
    if sys.platform != "win32":
        with _without_current_folder():
            resource_tracker.ensure_running()  # whose own start would undo what follows
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})


def _work(pipe: Connection) -> None:
    """Do what comes through the pipe until it is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal: whoever waits for us decides
    threading.Thread(target=_end_with_parent, daemon=True).start()
    pipe.send_bytes(_BEGUN)
    while True:
        try:
            work = pipe.recv_bytes()
        except EOFError:
            return
        pipe.send_bytes(_outcome(work))


def _outcome(work: bytes) -> bytes:
    """Do it; return whether it went well and the result, or what was raised."""
    try:
        call, args, kwargs = pickle.loads(work)
        return pickle.dumps((True, call(*args, **kwargs)))
    except Exception as error:
        error.add_note("in a worker process:\n" + traceback.format_exc())
        try:
            return pickle.dumps((False, error))
        except Exception:  # some errors of libraries hold what cannot be sent
            return pickle.dumps((False, RuntimeError(f"{type(error).__name__}: {error}")))


def _end_with_parent() -> None:
    """End at once when the process that we work for does, in whatever way."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)
