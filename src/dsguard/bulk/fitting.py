"""Fitting of a codec to a dataset: one rate for the whole run, from a sample of its images."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from dsguard.bulk.protecting import Protect
from dsguard.bulk.tasks import Task
from dsguard.codecs import Sealed
from dsguard.codecs.sealed import RATE_OF_FITTED, rate_for, rates_of
from dsguard.errors import DsguardError, InputError
from dsguard.formats.base import Part, decode_rows
from dsguard.kernels.geometry import LARGEST_SIDE

if TYPE_CHECKING:
    from dsguard.formats.base import Rows, Source
    from dsguard.formats.images import Group

Item = TypeVar("Item")

_MOST_IMAGES, _MOST_SAMPLES = 2000, 1 << 28

_MOST_PARTS = 32
"""A part that lies in a file is read from its start on: few of them, or all would be read twice."""

_OF_CHUNK = 16
"""Images of a chunk of such a part: neighbours resemble each other."""


def fitted(task: Task, source: Source, parts: list[Part], earlier: dict[str, str] | None) -> Task:
    """Return the task with a codec that was fitted to the images of a source, where it can be.

    Parameters
    ----------
    task : Task
    source : Source
    parts : list of Part
        Those that are worked on.
    earlier : dict of str to str or None
        The settings of the run that this one goes on with: it has the codec of that one.
    """
    if not isinstance(task, Protect) or task.codec.is_fitted:
        return task
    if earlier is not None:
        return replace(task, codec=task.codec.as_earlier(earlier))
    if task.keeps_files and isinstance(task.codec, Sealed):
        fits = task.cover_size == "fit"  # then the covers are fitted, to a rate that is known
        needed = [RATE_OF_FITTED] if fits else _rates_of_files(task, source, parts)
        return replace(task, codec=task.codec.fitted_to(needed))
    sample = (group.images for _, group in _sample(source, parts))
    return replace(task, codec=task.codec.fitted(sample))


def _rates_of_files(task: Protect, source: Source, parts: list[Part]) -> Iterator[int]:
    """Yield the rate that each of some images needs to carry its file, or its samples."""
    for rows, group in _sample(source, parts, as_files=True, views=task.cover.takes_views):
        if not rows.files:
            yield from rates_of(group.images)
            continue
        for row in group.rows:
            with contextlib.suppress(InputError):  # told when its shard is worked on
                yield rate_for(group.images.shape[1:], len(task.file_of(rows, row).content))


def _sample(
    source: Source, parts: list[Part], *, as_files: bool = False, views: bool = False
) -> Iterator[tuple[Rows, Group]]:
    """Yield some images of a dataset in groups of one shape, evenly from all of it.

    What cannot be read is reported when its shard is worked on.
    """
    chosen = _spread(parts, _MOST_PARTS)
    each = -(-_MOST_IMAGES // len(chosen))
    for part in chosen:
        count, samples = each, _MOST_SAMPLES // len(chosen)
        with contextlib.suppress(DsguardError, OSError):
            for rows, group in _groups(source, part, each, as_files=as_files, views=views):
                least = max(1, samples // max(1, group.images[:1].size))
                group.rows, group.images = group.rows[:least], group.images[:least]
                count, samples = count - len(group.images), samples - group.images.size
                if group.images.size and max(group.images.shape[1:3]) <= LARGEST_SIDE:
                    yield rows, group
                if count <= 0 or samples <= 0:
                    break


def _groups(
    source: Source, part: Part, count: int, *, as_files: bool, views: bool
) -> Iterator[tuple[Rows, Group]]:
    """Yield images of a part: some of those that it names, or some of each chunk."""
    if part.names is not None:
        part = Part(part.file, part.start, part.stop, names=tuple(_spread(part.names, count)))
    for rows in source.rows(part):
        if part.names is None:
            rows = rows.taken(_spread(range(len(rows.names)), _OF_CHUNK))  # noqa: PLW2901
        for groups, _ in decode_rows(rows, as_files=as_files, views=views):
            yield from ((rows, group) for group in groups)


def _spread(items: Sequence[Item], count: int) -> Sequence[Item]:
    """Return some of the items, evenly from all."""
    if len(items) <= count:
        return items
    return [items[i * len(items) // count] for i in range(count)]
