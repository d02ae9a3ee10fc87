"""Restoring for others: chunks of images, each allowed and audited before it leaves."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from dsguard.datasets.images import decode_files, encode_images
from dsguard.dmcp.frames import OK
from dsguard.envelope import DatasetKey
from dsguard.errors import DsguardError, WrongKeyError
from dsguard.protection import restore_batch

if TYPE_CHECKING:
    from collections.abc import Callable

CHUNK_IMAGES = 500
CHUNK_BYTES = 8 << 20


class Restored(NamedTuple):
    """What became of one image; `data` is empty unless `status` is ``ok``."""

    name: str
    status: str
    data: bytes


class Chunk(NamedTuple):
    """What became of some images, and what the audit trail has to know."""

    images: list[Restored]
    digest: str
    versions: tuple[int, ...]

    @property
    def good(self) -> int:
        """How many were restored."""
        return sum(image.status == OK for image in self.images)


Ring = dict[str, tuple[int, DatasetKey]]


def restore_chunk(names: list[str], files: list[bytes], ring: Ring) -> Chunk:
    """Restore image files with whichever key of a ring protected them; runs in a worker process."""
    groups, errors = decode_files(files)
    status = [""] * len(files)
    data = [b""] * len(files)
    used: set[int] = set()
    for group in groups:
        rows = group.rows
        left = list(range(len(rows)))
        for version, key in ring.values():
            own = {k: group.sidecars[n] for k, n in enumerate(left) if n in group.sidecars}
            done = restore_batch(
                group.images[left], key, sidecars=own, on_error="report", threads=1
            )
            good = [k for k in range(len(left)) if k not in done.errors]
            if good:
                used.add(version)
                for k, file in zip(good, encode_images(done.images[good]), strict=True):
                    status[rows[left[k]]], data[rows[left[k]]] = OK, file
            errors |= {rows[left[k]]: error for k, error in done.errors.items()}
            left = [left[k] for k, e in done.errors.items() if isinstance(e, WrongKeyError)]
            if not left:
                break
    for row, error in errors.items():
        if status[row] != OK:
            status[row] = _told(error)
    digest = hashlib.sha256(b"".join(hashlib.sha256(file).digest() for file in files))
    restored = list(map(Restored, names, status, data))
    return Chunk(restored, digest.hexdigest(), tuple(sorted(used)))


def _told(error: DsguardError) -> str:
    if isinstance(error, WrongKeyError):
        return "WrongKeyError: was protected under a key that is none of this dataset's"
    return f"{type(error).__name__}: {error.message}"


def restored_chunks(
    images: Iterable[tuple[str, bytes]],
    ring: Ring,
    pool: ProcessPoolExecutor,
    allow: Callable[[Chunk], None],
) -> Iterator[list[Restored]]:
    """Yield restored images in order, chunk by chunk.

    Parameters
    ----------
    images : iterable of tuple of str and bytes
        Names and files.
    ring : dict
        Version and key by key id.
    pool : ProcessPoolExecutor
    allow : callable
        Called with each chunk before it is yielded: counts, audits, and raises to end it all.
    """
    waiting: deque[Future[Chunk]] = deque()
    source = _chunks(images)
    try:
        for names, files in islice(source, 2):
            waiting.append(pool.submit(restore_chunk, names, files, ring))
        while waiting:
            chunk = waiting.popleft().result()
            for names, files in islice(source, 1):
                waiting.append(pool.submit(restore_chunk, names, files, ring))
            allow(chunk)
            yield chunk.images
    finally:
        for future in waiting:
            future.cancel()


def _chunks(images: Iterable[tuple[str, bytes]]) -> Iterator[tuple[list[str], list[bytes]]]:
    names: list[str] = []
    files: list[bytes] = []
    held = 0
    for name, file in images:
        names.append(name)
        files.append(file)
        held += len(file)
        if len(names) == CHUNK_IMAGES or held >= CHUNK_BYTES:
            yield names, files
            names, files, held = [], [], 0
    if names:
        yield names, files
