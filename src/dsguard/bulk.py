"""Whole datasets, from a source to a folder, image by image written whole or not at all."""

from __future__ import annotations

import errno
import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from dsguard.datasets.images import LOSSLESS_FORMATS, check_output_format, encode_images
from dsguard.datasets.sources import Source, class_of
from dsguard.datasets.spool import Spool
from dsguard.errors import DsguardError, InputError
from dsguard.files import write_whole
from dsguard.mrit.geometry import LARGEST_SIDE, SMALLEST_SIDE
from dsguard.profile import DEFAULT, VEIL, Profile
from dsguard.protection import protect_batch, restore_batch
from dsguard.veil import EPSILON, marked, others

if TYPE_CHECKING:
    from dsguard.envelope import DatasetKey
    from dsguard.fsp import Attack, Surrogate

Image = npt.NDArray[np.uint8]
Progress = Callable[[int], None]

_CHUNK_BYTES = 32 << 20
_CHUNK_IMAGES = 1024
_OWN_FAULTS = (errno.ENAMETOOLONG, errno.EEXIST, errno.ENOTDIR, errno.EISDIR)
"""What can be wrong with the name of one image, and with no other."""


@dataclass
class Report:
    """What became of a dataset.

    Attributes
    ----------
    done : int
        Images written.
    failures : dict of str to DsguardError
        By name, why an image was not written.
    sidecars : int
        Images that could not hold their payload; it is beside the pixels, in the same file.
    """

    done: int = 0
    sidecars: int = 0
    failures: dict[str, DsguardError] = field(default_factory=dict)


@dataclass
class Chunk:
    """Images of one shape on their way, with the sidecars that they came with, or with targets."""

    names: list[str]
    images: Image
    sidecars: dict[int, bytes] = field(default_factory=dict)
    target: Image | None = None


@dataclass
class Processed:
    """What became of a chunk, by index in it."""

    images: Image
    errors: dict[int, DsguardError] = field(default_factory=dict)
    sidecars: dict[int, bytes] = field(default_factory=dict)


def select(names: list[str], limit: int | None) -> list[str]:
    """Return at most `limit` names, drawn evenly from every folder."""
    if limit is None or limit >= len(names):
        return names
    by_folder: dict[str, list[str]] = defaultdict(list)
    for name in names:
        by_folder[str(PurePosixPath(name).parent)].append(name)
    turns = [
        (turn, folder, name)
        for folder, members in by_folder.items()
        for turn, name in enumerate(members)
    ]
    return sorted(name for _, _, name in sorted(turns)[:limit])


def protect_dataset(
    source: Source,
    names: Collection[str],
    destination: Path,
    key: DatasetKey,
    surrogate: Surrogate | None = None,
    *,
    attack: Attack | None = None,
    epsilon: int = EPSILON,
    profile: str | Profile = DEFAULT,
    output_format: str = "png",
    progress: Progress | None = None,
) -> Report:
    """Perturb and protect the named images of a source into a folder.

    Each image keeps its name but for the suffix. One that fails is reported and does not stop the
    others. Profile ``"veil"`` takes no surrogate and no attack, but the ε of its patterns; while it
    works it needs room for all pixels on the file system of the destination.
    """
    chosen = Profile.named(profile)
    veiled = chosen.target == "other"

    def process(part: Chunk) -> Processed:
        target = part.target if veiled else _perturbed(part, surrogate, attack)
        batch = protect_batch(part.images, key, target=target, profile=profile)
        return Processed(batch.images, sidecars=batch.sidecars)

    def veiled_chunks(report: Report) -> Iterator[Chunk]:
        with Spool.opened(destination) as spool:
            for chunk in _chunks(source, set(names), report):
                spool.append(chunk.names, chunk.images)
            yield from _veiled(spool, key, epsilon, report)

    chunks = veiled_chunks if veiled else None
    return _convert(source, names, destination, process, output_format, progress, chunks)


def _perturbed(part: Chunk, surrogate: Surrogate | None, attack: Attack | None) -> Image:
    from dsguard.fsp import perturb

    if surrogate is None:
        msg = "this profile needs a surrogate"
        raise InputError(msg)
    labels = [surrogate.class_names.index(class_of(name)) for name in part.names]
    return perturb(part.images, labels, surrogate, attack)


def _veiled(spool: Spool, key: DatasetKey, epsilon: int, report: Report) -> Iterator[Chunk]:
    """Yield the images in chunks, each image with the other one that it is hidden in."""
    for shape, names in spool.names.items():
        places = np.arange(len(names))
        try:
            order = others(len(names), spool.images(shape, places[:1])[0], key)
        except InputError as error:
            report.failures[names[0]] = error
            continue
        size = max(1, min(_CHUNK_IMAGES, _CHUNK_BYTES // int(np.prod(shape))))
        for part in np.array_split(places, -(-len(places) // size)):
            members = [names[place] for place in part]
            images, shown = (spool.images(shape, some) for some in (part, order[part]))
            labels = np.array([_number_of(class_of(name)) for name in members])
            target = marked(images, shown, labels, key, VEIL.block, epsilon)
            yield Chunk(members, images, target=target)


def _number_of(class_name: str) -> int:
    """Return a number for a class that does not depend on which others there are."""
    return int.from_bytes(hashlib.sha256(class_name.encode()).digest()[:7], "little")


def restore_dataset(
    source: Source,
    names: Collection[str],
    destination: Path,
    key: DatasetKey,
    *,
    output_format: str = "png",
    progress: Progress | None = None,
) -> Report:
    """Restore the named images of a source into a folder; arguments as in `protect_dataset`."""

    def process(part: Chunk) -> Processed:
        batch = restore_batch(part.images, key, sidecars=part.sidecars, on_error="report")
        return Processed(batch.images, batch.errors)

    return _convert(source, names, destination, process, output_format, progress)


def load_training_set(source: Source, names: Collection[str]) -> tuple[Image, list[str]]:
    """Read images for a surrogate: colour, of one size, with the class of each.

    Images of different sizes are all resized to 64×64 for this purpose; unreadable ones are left
    out, they are reported when they are processed.
    """
    images: list[Image] = []
    classes: list[str] = []
    alike = True
    for name, image in source.read(names):
        if isinstance(image, DsguardError) or min(image.shape[:2]) < SMALLEST_SIDE:
            continue
        if images and alike and image.shape[:2] != images[0].shape[:2]:
            alike, images = False, [_resized(earlier) for earlier in images]
        images.append(image[..., :3] if alike else _resized(image[..., :3]))
        classes.append(class_of(name))
    if not images:
        msg = f"{source.path} has no readable image"
        raise InputError(msg)
    if len({image.shape[2] for image in images}) > 1:
        images = [np.broadcast_to(image, (*image.shape[:2], 3)) for image in images]
    return np.stack(images), classes


def _resized(image: Image) -> Image:
    from PIL import Image as Pillow

    pixels = image[..., 0] if image.shape[2] == 1 else image
    small = Pillow.fromarray(np.ascontiguousarray(pixels)).resize((64, 64))
    return np.asarray(small).reshape(64, 64, image.shape[2])


def output_names(names: Collection[str], output_format: str) -> dict[str, str]:
    """Return the name that each image is written under: its own with the format's suffix.

    Where that would give two images one name (``a.jpg`` and ``a.bmp``), both keep their old suffix
    before the new one; where that is taken as well, a number comes between. No two are alike.
    """
    suffix = LOSSLESS_FORMATS[output_format]
    plain = {name: str(PurePosixPath(name).with_suffix(suffix)) for name in names}
    wanted = Counter(plain.values())
    outputs = {name: out for name, out in plain.items() if wanted[out] == 1}
    taken = set(outputs.values())
    for name in sorted(set(names) - set(outputs)):
        out, number = name + suffix, 2
        while out in taken:
            out, number = f"{name}.{number}{suffix}", number + 1
        outputs[name] = out
        taken.add(out)
    return outputs


def _convert(
    source: Source,
    names: Collection[str],
    destination: Path,
    process: Callable[[Chunk], Processed],
    output_format: str,
    progress: Progress | None,
    chunks: Callable[[Report], Iterator[Chunk]] | None = None,
) -> Report:
    """Run `process` over images of equal shape, and write what comes out.

    `chunks` yields them; by default in the order of the source.
    """
    output_format = check_output_format(output_format)
    outputs = output_names(names, output_format)
    report = Report()
    for part in chunks(report) if chunks else _chunks(source, set(names), report):
        try:
            results = process(part)
        except DsguardError as error:  # one that concerns every image of this shape
            results = Processed(part.images, dict.fromkeys(range(len(part.names)), error))
        files = encode_images(results.images, output_format, results.sidecars)
        for number, name in enumerate(part.names):
            if number in results.errors:
                report.failures[name] = results.errors[number]
                continue
            try:
                with write_whole(destination / outputs[name]) as file:
                    file.write(files[number])
            except OSError as error:
                if error.errno not in _OWN_FAULTS:
                    raise  # a full disk will be full for the next image as well
                report.failures[name] = InputError(f"cannot be written: {error.strerror}")
                continue
            report.done += 1
            report.sidecars += number in results.sidecars
        if progress is not None:
            progress(report.done + len(report.failures))
    return report


def _chunks(source: Source, names: set[str], report: Report) -> Iterator[Chunk]:
    """Yield batches of images of one shape; what cannot take part goes to the report."""
    waiting: dict[tuple[int, ...], list[tuple[str, Image, bytes]]] = defaultdict(list)
    held = 0
    for name, found in source.read_protected(names):
        if isinstance(found, DsguardError):
            report.failures[name] = found
            continue
        image, sidecar = found
        height, width = image.shape[:2]
        if min(height, width) < SMALLEST_SIDE or max(height, width) > LARGEST_SIDE:
            msg = f"has {width}x{height} pixels; sides are {SMALLEST_SIDE} to {LARGEST_SIDE}"
            report.failures[name] = InputError(msg)
            continue
        group = waiting[image.shape]
        group.append((name, image, sidecar))
        held += image.nbytes
        if len(group) >= _CHUNK_IMAGES or held >= _CHUNK_BYTES:
            fullest = max(waiting, key=lambda shape: sum(i.nbytes for _, i, _ in waiting[shape]))
            chunk = waiting.pop(image.shape if len(group) >= _CHUNK_IMAGES else fullest)
            held -= sum(i.nbytes for _, i, _ in chunk)
            yield _stacked(chunk)
    for group in waiting.values():
        yield _stacked(group)


def _stacked(group: list[tuple[str, Image, bytes]]) -> Chunk:
    return Chunk(
        [name for name, _, _ in group],
        np.stack([image for _, image, _ in group]),
        {n: sidecar for n, (_, _, sidecar) in enumerate(group) if sidecar},
    )
