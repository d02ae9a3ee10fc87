"""Work in processes of their own, with bounded memory; what ends one does not end the others."""

from __future__ import annotations

import faulthandler
import multiprocessing
import resource
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

_ADDRESS_SPACE = 4 << 30
"""What a process may have beyond what it begins with, so that no bomb ends the machine."""


class Died(str):
    """What comes in the place of a result where the process died."""

    __slots__ = ()


def in_child(
    work: Callable[[Any], Any], items: Sequence[Any], seconds: float
) -> Iterator[tuple[Any, Any]]:
    """Yield each item, and what `work` makes of it in another process, which may die of it.

    Parameters
    ----------
    work : callable
        Something that can be pickled.
    items : sequence
    seconds : float
        After which the process ends, saying where it was: C code that hangs ends in no other way.
    """
    context = multiprocessing.get_context("spawn")
    done = 0
    while done < len(items):
        receive, send = context.Pipe(duplex=False)
        process = context.Process(target=_serve, args=(send, work, items[done:], seconds))
        process.start()
        send.close()
        try:
            with suppress(EOFError):
                while done < len(items):
                    result = receive.recv()
                    yield items[done], result
                    done += 1
        finally:
            receive.close()
            process.join()
        if done < len(items):
            yield items[done], Died(f"died with code {process.exitcode}")
            done += 1


def _serve(results: Connection, work: Callable[[Any], Any], items: Any, seconds: float) -> None:
    _limit_memory()
    for item in items:
        faulthandler.dump_traceback_later(seconds, exit=True)
        try:
            results.send(work(item))
        except BrokenPipeError:  # nobody wants more
            break
    faulthandler.cancel_dump_traceback_later()


def _limit_memory() -> None:
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + _ADDRESS_SPACE,) * 2)
