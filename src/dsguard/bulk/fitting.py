"""Fitting of a codec to a dataset: one rate for the whole run, from a sample of its images."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from dsguard.bulk.tasks import Protect, Task
from dsguard.errors import DsguardError
from dsguard.formats.base import CHUNK_IMAGES, decode_rows
from dsguard.kernels.geometry import LARGEST_SIDE

if TYPE_CHECKING:
    from dsguard.codecs.base import Codec
    from dsguard.formats.base import Source
    from dsguard.kernels.contract import Images

_FIRST = 16
"""Images that tell how large the others are."""

_MOST_IMAGES, _MOST_SAMPLES = 2000, 1 << 28


def fitted(
    task: Task, source: Source, names: list[str] | None, earlier: dict[str, str] | None
) -> Task:
    """Return the task with a codec that was fitted to the images of a source, where it can be.

    Parameters
    ----------
    task : Task
    source : Source
    names : list of str or None
        The images that are wanted; None for all.
    earlier : dict of str to str or None
        The settings of the run that this one goes on with: it has the codec of that one.
    """
    if not isinstance(task, Protect) or task.codec.is_fitted:
        return task
    if earlier is not None:
        return replace(task, codec=task.codec.as_earlier(earlier))
    return replace(task, codec=_fitted(task.codec, source, names))


def _fitted(codec: Codec, source: Source, names: list[str] | None) -> Codec:
    wanted = names
    with contextlib.suppress(DsguardError, OSError):  # a damaged file does not tell its names
        wanted = source.names() if names is None else names
    count = samples = 0
    for batch in _batches(source, _spread(wanted, _FIRST)):
        count, samples = count + len(batch), samples + batch.size
    most = min(_MOST_IMAGES, _MOST_SAMPLES * count // max(1, samples))
    return codec.fitted(_batches(source, _spread(wanted, max(_FIRST, most))))


def _spread(names: list[str] | None, count: int) -> list[str] | None:
    """Return some of the names, evenly from all."""
    if names is None or len(names) <= count:
        return names
    return [names[i * len(names) // count] for i in range(count)]


def _batches(source: Source, names: list[str] | None) -> Iterator[Images]:
    """Yield images that can be read, in batches of one shape, and not much more than is bearable.

    What cannot be read is reported when its shard is worked on.
    """
    left, count = 2 * _MOST_SAMPLES, 0
    with contextlib.suppress(DsguardError, OSError):
        for part in source.parts(CHUNK_IMAGES, names):
            with contextlib.suppress(DsguardError, OSError):
                for rows in source.rows(part):
                    for groups, _ in decode_rows(rows):
                        for images in (group.images for group in groups):
                            left, count = left - images.size, count + len(images)
                            if left < 0 or count > 2 * _MOST_IMAGES:
                                return
                            if images.size and max(images.shape[1:3]) <= LARGEST_SIDE:
                                yield images
