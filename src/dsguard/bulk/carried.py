"""Files that are carried in place of samples, and covers as small as they allow."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from dsguard._opaque import over_white
from dsguard.api import are_protected
from dsguard.codecs import File
from dsguard.covers.draws import digests_of
from dsguard.errors import InputError
from dsguard.formats.images import (
    Group,
    has_image_suffix,
    suffix_by_content,
    suffix_of,
    with_suffix,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dsguard.bulk.tasks import Batch
    from dsguard.codecs import Codec
    from dsguard.covers.base import Found
    from dsguard.formats.base import Rows
    from dsguard.kernels.contract import Bytes, Shape

    _Fitted = defaultdict[tuple[Shape, bool, bool], list[tuple[int, Bytes, Bytes | None, Found]]]
    """By shape, and by whether files are seen and damaged: rows, pictures, their digests, and the
    pictures of the owner's that they are."""


def file_of(of: Batch | Rows, number: int, *, coded: bool = False) -> File:
    """Return a file of a dataset as it is carried: under its name, without folders.

    Rows of Parquet have names that say nothing of the file; its own is in `originals`, or its
    suffix in its first bytes. `coded` as in `File`.

    Raises
    ------
    InputError
        If it is too large, or its name no name.
    """
    name, data = of.names[number].rpartition("/")[2], of.files[number]
    assert isinstance(data, bytes)
    if of.originals:
        name = of.originals[number] or with_suffix(name, suffix_by_content(data))
    return File(name, data, coded)


def name_in(kind: str, file: File) -> str:
    """Return the name under which a carried file comes back in a format.

    A table may tell any name. Elsewhere one that is no image's has the suffix of its content, or
    none that means anything: somebody with the key of an image could have it come back as a script,
    or as a ``Makefile``.
    """
    if kind == "parquet" or has_image_suffix(file.name):
        return file.name
    suffix = suffix_by_content(file.data) or OTHER_FILE
    if not suffix_of(file.name):
        return file.name + suffix
    return with_suffix(file.name, "") + suffix


OTHER_FILE = ".file"
"""Suffix of what is carried and is no image of a kind that is known."""


def fitted_to_files(
    groups: Sequence[Group],
    codec: Codec,
    file_of_row: Callable[[int], File],
    *,
    told: bool = False,
) -> list[Group]:
    """Return images by the shapes of the smallest covers that hold the files they came in.

    Images that are not to be protected (protected ones, files with no name) stay as they are.

    Parameters
    ----------
    groups : sequence of Group
    codec : Codec
    file_of_row : callable
        Return the file of a row as it is carried.
    told : bool
        Whether groups are to have the digests of their pictures.
    """
    fitted: _Fitted = defaultdict(list)
    others: list[Group] = []
    for group in groups:
        protected = are_protected(group.images)
        digests = digests_of(group.images) if told else [None] * len(group.images)
        found: list[Found] = group.found or [frozenset()] * len(group.images)
        stay = []
        for n, row in enumerate(group.rows):
            shape = None
            if not protected[n]:
                shape = _shape(file_of_row, row, group.images.shape[1:], codec)
            if shape is None:
                stay.append(n)
            else:
                picture = _resized(group.images[n], shape)
                known = row, picture, digests[n], found[n]
                fitted[shape, group.is_seen, group.is_damaged].append(known)
        if stay:
            own = {k: group.sidecars[n] for k, n in enumerate(stay) if n in group.sidecars}
            rows_of = [group.rows[n] for n in stay]
            left = [found[n] for n in stay]
            kept = replace(group, rows=rows_of, images=group.images[stay], sidecars=own, found=left)
            others.append(kept)
    for (_, is_seen, is_damaged), members in sorted(fitted.items()):
        numbers, images, digested, pictures = (list(each) for each in zip(*members, strict=True))
        group = Group(numbers, np.stack(images), {}, is_seen=is_seen, is_damaged=is_damaged)
        group.digests, group.found = np.stack(digested) if told else None, pictures
        others.append(group)
    return others


def _shape(file_of_row: Callable[[int], File], row: int, like: Shape, codec: Codec) -> Shape | None:
    try:
        file = file_of_row(row)
    except InputError:  # told when the image is worked on
        return None
    return codec.smallest_cover(len(file.content), like)


def _resized(pixels: Bytes, shape: Shape) -> Bytes:
    """Return a picture in another size, white where alpha takes something out.

    What shows of it is for the cover.

    Covers count their cells in pixels, at least two a side. One that becomes larger has half of its
    pixels a side before, so that they are so many of its own; one pixel is gray.
    """
    height, width, channels = shape
    own = pixels.shape[1], pixels.shape[0]
    seen = over_white(pixels[None])[0]
    picture = Image.fromarray(seen[..., 0] if channels == 1 else seen[..., :3])
    if own == (1, 1):
        return np.full(shape, 128, np.uint8)
    if width > own[0] or height > own[1]:
        picture = picture.resize([max(1, side // 2) for side in own], Image.Resampling.BOX)
    resized = picture.resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(resized).reshape(shape)
