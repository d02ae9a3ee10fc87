"""The processes that restore; those that die are replaced."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing.connection import wait
from typing import Any, Generic, ParamSpec, TypeVar

import structlog

from dsguard.dmcp.access import Refused

_ATTEMPTS = 3

log = structlog.get_logger("dsguard.dmcp")
P = ParamSpec("P")
T = TypeVar("T")


class Workers:
    """A pool of processes that outlives them.

    Parameters
    ----------
    count : int
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._lock = threading.Lock()
        self._pool: ProcessPoolExecutor | None = None

    def submit(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Task[T]:
        """Have something done."""
        for _ in range(_ATTEMPTS):
            pool = self._current()
            try:
                return Task(self, pool, pool.submit(call, *args, **kwargs), (call, args, kwargs))
            except BrokenProcessPool:  # and nobody has noticed yet
                self.replace(pool)
        raise _died()

    def _current(self) -> ProcessPoolExecutor:
        with self._lock:
            if self._pool is None:
                context = multiprocessing.get_context("forkserver")
                context.set_forkserver_preload(["dsguard.dmcp.restoring"])
                self._pool = ProcessPoolExecutor(self._count, context, _end_with_parent)
            return self._pool

    def replace(self, broken: ProcessPoolExecutor) -> None:
        """Let the next task begin a new pool; whoever comes second finds it done."""
        with self._lock:
            if self._pool is broken:
                log.error("workers died; others take their place")
                self._pool = None
        broken.shutdown(wait=False)

    def stop(self) -> None:
        """End the processes."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(cancel_futures=True)


def _end_with_parent() -> None:
    """Have a worker end when the service does, in whatever way."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@dataclass
class Task(Generic[T]):
    """What a worker has been given to do."""

    workers: Workers
    pool: ProcessPoolExecutor
    future: Future[T]
    content: tuple[Callable[..., T], tuple[Any, ...], dict[str, Any]]

    def result(self) -> T:
        """Wait for the result; where workers died, others are given the task.

        Raises
        ------
        Refused
            If they died again and again.
        """
        task = self
        for _ in range(_ATTEMPTS):
            try:
                return task.future.result()
            except BrokenProcessPool:
                self.workers.replace(task.pool)
                call, args, kwargs = self.content
                task = self.workers.submit(call, *args, **kwargs)
        task.cancel()
        raise _died()

    def cancel(self) -> None:
        """Leave it undone if it has not begun."""
        self.future.cancel()


def _died() -> Refused:
    return Refused(
        503, "workers-died", "the processes that restore died, perhaps for want of memory",
        "send fewer or smaller images in a request",
    )  # fmt: skip
