"""Preparation of protection: covers that need all images get them, and labels get numbers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from dsguard.bulk.protecting import Protect, known_by, number_of
from dsguard.bulk.spool import Spool
from dsguard.covers.draws import digests_of
from dsguard.errors import DsguardError
from dsguard.formats.folder.reader import TreeSource

if TYPE_CHECKING:
    from dsguard.bulk.shard import ShardSpec


@contextlib.contextmanager
def prepared(left: list[ShardSpec], everything: list[ShardSpec]) -> Iterator[list[ShardSpec]]:
    """Yield the shards that are left to do with all that their task needs to know of the others."""
    task = everything[0].task
    if not isinstance(task, Protect):
        yield left
    elif task.cover.needs_whole_set:
        with _with_whole_set(task, left, everything) as ready:
            yield ready
    else:
        if task.needs_other_shards:
            task = replace(task, class_names=_class_names(everything))
        yield [replace(spec, task=task) for spec in left]


@contextlib.contextmanager
def _with_whole_set(
    task: Protect, left: list[ShardSpec], everything: list[ShardSpec]
) -> Iterator[list[ShardSpec]]:
    """Spool all images; yield the shards with the places of their images."""
    journal = everything[0].journal
    assert journal is not None
    spool = Spool(journal.place.scratch())
    try:
        classes: set[str] = set()
        wanted = {spec.number for spec in left}
        places = {}
        hidden: set[str] = set()
        for spec in everything:
            own = _spooled(spec, spool, classes, hidden)
            if spec.number in wanted:
                places[spec.number] = own
        names = task.class_names or tuple(sorted(classes))
        told, is_all = journal.drawn()
        cover_alone = task.cover.without(frozenset(hidden))
        before = cover_alone.drawn_before(told, is_all=is_all)
        with before.prepared(spool.finish()) as cover:
            journal.keep_drawn(cover.drawn())
            task = replace(task, cover=cover, class_names=names)
            yield [replace(spec, task=replace(task, places=places[spec.number])) for spec in left]
    finally:
        spool.remove()


def _spooled(
    spec: ShardSpec, spool: Spool, classes: set[str], hidden: set[str]
) -> dict[bytes, int]:
    """Append the images of a shard to the spool, and their classes; return their places.

    Add to `hidden` the pictures of the owner's that are among them.
    """
    places: dict[bytes, int] = {}
    with contextlib.suppress(DsguardError):  # reported when the shard is worked on
        for rows in spec.source.rows(spec.part):
            for groups, _ in spec.task.decoded(rows):
                for group in groups:
                    names = (rows.names[row] for row in group.rows)
                    own = [rows.classes[row] for row in group.rows]
                    images = group.images  # what stands for a file has its digest, not to be shown
                    digests = digests_of(images) if group.digests is None else group.digests
                    if not group.is_seen:
                        images = np.full_like(images, 128)
                    hidden.update(*(each for each in group.found if isinstance(each, frozenset)))
                    appended = spool.append(images, map(number_of, own), digests)
                    known = map(known_by, names, group.images)
                    places |= zip(known, appended, strict=True)
                    classes.update(own)
    return places


def _class_names(everything: list[ShardSpec]) -> tuple[str, ...]:
    """Return all classes of the dataset, sorted."""
    found: set[str] = set()
    for spec in everything:
        if isinstance(spec.source, TreeSource) and spec.part.names is not None:
            found.update(map(spec.source.class_of, spec.part.names))
            continue
        with contextlib.suppress(DsguardError):
            for rows in spec.source.rows(spec.part):
                found.update(rows.classes)
    return tuple(sorted(found))
