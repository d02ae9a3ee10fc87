"""Rows decoded before their turn comes, so that a source of keys is asked for many of them at once.

A request costs a platform as much as some thousand keys do.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import TYPE_CHECKING, TypeAlias

from dsguard.errors import DsguardError

if TYPE_CHECKING:
    from dsguard.bulk.tasks import Task
    from dsguard.formats.base import Rows
    from dsguard.formats.images import Group

Run: TypeAlias = "tuple[list[Group], dict[int, DsguardError]]"
"""Some images of rows, and by row why one cannot be read, as `decode_rows` yields them."""

KeyedRun: TypeAlias = "tuple[Task, list[Group], dict[int, DsguardError]]"
"""The same, after the task that has the keys of these images."""

_Waiting: TypeAlias = "deque[tuple[Rows, list[Run], Iterator[Run]]]"
"""Rows that wait for their keys, with the runs that are decoded, and those that are not."""

_MOST_CHUNKS = 8
_MOST_BYTES = 1 << 25
"""Of decoded images that wait for others: half as many as a chunk may have."""


def with_keys(task: Task, chunks: Iterable[Rows]) -> Iterator[tuple[Rows, Iterator[KeyedRun]]]:
    """Yield rows with their images and what opens these.

    Where the key is at hand nothing is decoded before its turn.
    """
    if task.own_key is not None:
        for rows in chunks:
            yield rows, _asked(task, task.decoded(rows))
        return
    waiting: _Waiting = deque()
    size = 0
    for rows in chunks:
        runs = task.decoded(rows)
        first = list(islice(runs, 1))  # all there is but of very large images, which do not wait
        waiting.append((rows, first, runs))
        size += sum(group.images.nbytes for groups, _ in first for group in groups)
        if size >= _MOST_BYTES or len(waiting) == _MOST_CHUNKS:
            yield from _together(task, waiting)
            size = 0
    yield from _together(task, waiting)


def _together(task: Task, waiting: _Waiting) -> Iterator[tuple[Rows, Iterator[KeyedRun]]]:
    """Yield rows that wait, whose keys are asked for together; none is held after its turn."""
    able = task.with_keys_of([g for _, first, _ in waiting for groups, _ in first for g in groups])
    while waiting:
        rows, first, rest = waiting.popleft()
        yield rows, chain(((able, *run) for run in first), _asked(task, rest))


def _asked(task: Task, runs: Iterable[Run]) -> Iterator[KeyedRun]:
    """Yield runs, of each of which the keys are asked for when its turn comes."""
    for groups, errors in runs:
        yield task.with_keys_of(groups), groups, errors
