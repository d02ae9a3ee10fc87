"""Stamps of shards: a shard whose stamp is another than before is done anew.

The stamp of a shard changes when anything does that it is made of: its own file or images, labels
and sidecars in files beside it, what was sealed beside it, the text of its images. Where the images
of a shard show others of the set, it changes with these as well.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from dsguard.bulk.protecting import Protect
from dsguard.formats.disclosure import Disclosure
from dsguard.formats.folder.reader import TreeSource

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dsguard.bulk.tasks import Task
    from dsguard.formats.base import Part, Source
    from dsguard.formats.sink import Output


def stamps_of(
    source: Source,
    task: Task,
    parts: Sequence[Part],
    output: Output,
    disclosure: Disclosure | None,
    pieces: Mapping[str, Sequence[str]],
) -> list[str]:
    """Return the stamp of each shard of a run; `pieces` were sealed beside its file."""
    # Where shards hold what lies beside images, they change with it, and with decisions on it.
    in_shards = not (output.kind == "folder" and isinstance(source, TreeSource))
    decided = f" {disclosure}" if in_shards and disclosure not in (None, Disclosure()) else ""
    found = []
    for part in parts:
        texts = source.stamp_of_texts(part) if in_shards else ""
        told: list[object] = [part.classes, part.known_as, output.class_names]
        told += [part.fields if in_shards else None]
        told += _stamps(source, source.read_with(part))
        told += _stamps(source, pieces.get(part.file, ()))
        found.append(
            f"{source.stamp(part)} {part.start}-{part.stop}{decided}{texts}{_digest_of(told)}"
        )
    if isinstance(task, Protect) and task.needs_other_shards:
        found = [f"{stamp}{_digest_of(found)}" for stamp in found]
    return found


def _stamps(source: Source, names: Sequence[str]) -> list[str]:
    return [*names, *source.place.stamps(names)] if names else []


def _digest_of(told: list[object] | list[str]) -> str:
    """Return a digest of what is there of some facts, nothing where none is."""
    if not any(told):
        return ""
    return f" {hashlib.sha256(repr(told).encode('utf-8', 'surrogateescape')).hexdigest()}"
