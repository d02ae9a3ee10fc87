"""Batches in slices over a pool of threads.

The kernels drop the GIL, so slices run side by side. What a slice needs besides input and output
is freed when it is done: the memory of a call depends on slices and threads, not on the batch.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np

from dsguard.errors import InputError

Result = TypeVar("Result")

_SLICE_BYTES = 4 << 20
"""Images of one slice: some slices fit the cache that cores share."""

_ROUND_IMAGES = 256
"""Slices are whole multiples of this where they are larger: FSP then perturbs the same batches, and
gives the same bits, however many threads there are."""

_LEAST_BYTES = 1 << 18
"""Images of one slice below which another thread costs more than it brings."""


def thread_count(threads: object) -> int:
    """Return the number of threads to use; None means one per CPU that this process may use.

    Raises
    ------
    InputError
        If it is not a whole number of at least 1.
    """
    if threads is None:
        affinity = getattr(os, "sched_getaffinity", None)  # not on every platform
        return len(affinity(0)) if affinity else multiprocessing.cpu_count()
    if isinstance(threads, np.integer):
        threads = int(threads)
    if isinstance(threads, bool) or not isinstance(threads, int) or threads < 1:
        msg = f"threads is a whole number of at least 1, or None for one per CPU, not {threads!r}"
        raise InputError(msg)
    return threads


def cut(count: int, image_bytes: int, threads: int) -> list[slice]:
    """Return slices that cover `count` images, as equal as can be, for so many threads."""
    most = max(1, _SLICE_BYTES // image_bytes)
    least = -(-_LEAST_BYTES // image_bytes)
    step = min(most, max(least, -(-count // threads)))
    if step > _ROUND_IMAGES:
        step -= step % _ROUND_IMAGES
    return [slice(start, min(start + step, count)) for start in range(0, count, step)]


def run(
    work: Callable[[slice], Result], slices: list[slice], threads: int
) -> Generator[Result, None, None]:
    """Yield ``work(part)`` of each slice in order, over a pool where it pays.

    An exception ends the iteration; slices not yet begun are dropped.
    """
    if threads == 1 or len(slices) < 2:
        yield from map(work, slices)
        return
    pool = ThreadPoolExecutor(min(threads, len(slices)), "dsguard")
    try:
        yield from pool.map(work, slices)
    finally:
        pool.shutdown(cancel_futures=True)
