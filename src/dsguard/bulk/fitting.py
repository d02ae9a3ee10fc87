"""Fitting of a codec to a dataset: one rate for the whole run, from a sample of its images."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from dsguard.bulk.tasks import Protect, Task
from dsguard.errors import DsguardError

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
    wanted = source.names() if names is None else names
    first = list(_batches(source, _spread(wanted, _FIRST)))
    count, samples = sum(map(len, first)), sum(batch.size for batch in first)
    most = _MOST_SAMPLES * count // max(1, samples)
    if len(wanted) > _FIRST and most > _FIRST:
        return codec.fitted(_batches(source, _spread(wanted, min(most, _MOST_IMAGES))))
    return codec.fitted(first)


def _spread(names: list[str], count: int) -> list[str]:
    """Return some of the names, evenly from all."""
    if len(names) <= count:
        return names
    return [names[i * len(names) // count] for i in range(count)]


def _batches(source: Source, names: list[str]) -> Iterator[Images]:
    """Yield the images that can be read, in batches of one shape."""
    alike: dict[tuple[int, ...], list[Images]] = defaultdict(list)
    for _, _, image in source.read(names):
        if not isinstance(image, DsguardError):
            alike[image.shape].append(image)
    for images in alike.values():
        yield np.stack(images)
