"""Restoring for others: chunks of images, each allowed and audited before it leaves."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple, Protocol

from dsguard.api import restore_batch
from dsguard.bulk.carried import name_in
from dsguard.dmcp import tiff
from dsguard.dmcp.frames import OK, REFUSED
from dsguard.errors import DsguardError, InputError, WrongKeyError
from dsguard.formats import png
from dsguard.formats.beside import is_text
from dsguard.formats.images import (
    decode_files,
    encode_images,
    pixels_of,
    suffix_of,
    with_suffix,
)
from dsguard.formats.names import fits_anywhere
from dsguard.keys import DatasetKey

if TYPE_CHECKING:
    from concurrent.futures import Future

    from dsguard._parallel.processes import Workers
    from dsguard.dmcp.access import Refused

PNG = ".png"
CHUNK_IMAGES = 500
CHUNK_BYTES = 8 << 20


class Upload(NamedTuple):
    """An image file that was sent; `fault` tells why it cannot be taken."""

    name: str
    data: bytes
    fault: str = ""


class Restored(NamedTuple):
    """The outcome of one image; `data` is empty unless `status` is ``ok``.

    `suffix` is that of the file: of a PNG file, or of one that was carried as it is.
    """

    name: str
    status: str
    data: bytes
    suffix: str = PNG

    @property
    def answered(self) -> str:
        """The name of the file that is answered, which is no other image's and no message's."""
        return answered(self.name, self.suffix)


def answered(name: str, suffix: str = PNG) -> str:
    """Return the name under which an image comes back.

    The suffix of a carried file was chosen by whoever has the key: where it makes a text of the
    name, as messages are, or a name that a file cannot have everywhere, that of PNG stays.
    """
    stem = name if is_text(name) else with_suffix(name, "")
    good = suffix == PNG or (not is_text(stem + suffix) and fits_anywhere(stem + suffix))
    return stem + (suffix if good else PNG)


def end_of(refusal: Refused) -> Restored:
    """Return what stands for the images that were not allowed any more."""
    return Restored("", f"{REFUSED}{refusal.message}; {refusal.remedy}", b"")


class Chunk(NamedTuple):
    """The outcome of some images, and the facts that the audit trail has of them."""

    images: list[Restored]
    digest: str
    versions: tuple[int, ...]

    @property
    def good(self) -> int:
        """How many were restored."""
        return sum(image.status == OK for image in self.images)


class Allows(Protocol):
    """Whatever decides whether a chunk may leave, and notes that it does."""

    def allow(self, chunk: Chunk) -> None:
        """Raise `Refused` if it may not."""


Ring = dict[str, tuple[int, DatasetKey]]


def plain_file(image: Upload) -> Upload:
    """Return a protected image as a PNG file of its pixels and sidecar alone; runs in a worker.

    Texts, thumbnails and all else that a file can hold are left out.
    """
    groups, errors = decode_files([InputError(image.fault) if image.fault else image.data])
    for group in groups:
        return Upload(image.name, encode_images(group.images, sidecars=group.sidecars)[0])
    return Upload(image.name, b"", _told(errors[0]))


def restore_chunk(images: list[Upload], ring: Ring) -> Chunk:
    """Restore image files with whichever key of a ring protected them; runs in a worker process."""
    groups, errors = decode_files(
        [InputError(image.fault) if image.fault else image.data for image in images]
    )
    status = [""] * len(images)
    data = [b""] * len(images)
    suffixes = [PNG] * len(images)
    used: set[int] = set()
    for group in groups:
        rows = group.rows
        left = list(range(len(rows)))
        for version, key in ring.values():
            own = {k: group.sidecars[n] for k, n in enumerate(left) if n in group.sidecars}
            try:
                done = restore_batch(
                    group.images[left], key, sidecars=own, on_error="report", threads=1
                )
            except InputError as refusal:  # of images that are too small or too large
                errors |= dict.fromkeys((rows[k] for k in left), refusal)
                break
            for k, carried in done.files.items():
                used.add(version)
                row = rows[left[k]]
                status[row], data[row] = OK, carried.data
                suffixes[row] = suffix_of(name_in("folder", carried))
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
    digest = hashlib.sha256(b"".join(hashlib.sha256(image.data).digest() for image in images))
    restored = list(map(Restored, (image.name for image in images), status, data, suffixes))
    return Chunk(restored, digest.hexdigest(), tuple(sorted(used)))


def _told(error: DsguardError) -> str:
    """Return the sentence on an image that users read: names of classes are no part of it."""
    if isinstance(error, WrongKeyError):
        return "was protected under a key that is none of this dataset's"
    return error.message


def restored_chunks(
    images: Iterable[Upload],
    ring: Ring,
    workers: Workers,
    meter: Allows,
    most_pixels: int,
) -> Iterator[Chunk]:
    """Yield restored images in order, chunk by chunk.

    Parameters
    ----------
    images : iterable of Upload
    ring : dict
        Version and key by key id.
    workers : Workers
    meter : Allows
        Allows each chunk before it is yielded: counts, audits, and raises to end it all.
    most_pixels : int
        Of an image, and of a chunk: a small file can hold a very large image.
    """
    waiting: deque[Future[Chunk]] = deque()
    source = _chunks(images, most_pixels)
    try:
        for some in islice(source, 2):
            waiting.append(workers.submit(restore_chunk, some, ring))
        while waiting:
            chunk = waiting.popleft().result()
            for some in islice(source, 1):
                waiting.append(workers.submit(restore_chunk, some, ring))
            meter.allow(chunk)
            yield chunk
    finally:
        for future in waiting:
            future.cancel()


def measured(image: Upload, most_pixels: int) -> tuple[Upload, int]:
    """Return an image with its pixels; without its data and with a fault where it has too many."""
    pixels, fault = (0, image.fault) if image.fault else _measured(image.data)
    if pixels > most_pixels:
        fault = f"it has {pixels} pixels; {most_pixels} are allowed"
    return (image._replace(data=b"", fault=fault), 0) if fault else (image, pixels)


def _measured(data: bytes) -> tuple[int, str]:
    """Return the pixels of an image file, or why it is not decoded at all.

    Protected images are PNG or TIFF; decoders of other formats have no business here.
    """
    if data.startswith(png.SIGNATURE):
        return pixels_of(data), ""
    if data.startswith(tiff.SIGNATURES):
        try:
            return tiff.pixels_of(data), ""
        except tiff.OddTiffError as error:
            return 0, str(error)
    return 0, "it is not an image file that can hold a protected image; those are PNG or TIFF"


def _chunks(images: Iterable[Upload], most_pixels: int) -> Iterator[list[Upload]]:
    chunk: list[Upload] = []
    size = area = 0
    for sent in images:
        image, pixels = measured(sent, most_pixels)
        if chunk and area + pixels > most_pixels:
            yield chunk
            chunk, size, area = [], 0, 0
        chunk.append(image)
        size, area = size + len(image.data), area + pixels
        if len(chunk) == CHUNK_IMAGES or size >= CHUNK_BYTES:
            yield chunk
            chunk, size, area = [], 0, 0
    if chunk:
        yield chunk
