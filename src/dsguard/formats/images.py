"""Image files to arrays and back, without losing a bit."""

from __future__ import annotations

import io
import math
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from PIL import Image, TiffImagePlugin, TiffTags

from dsguard.errors import DsguardError, InputError
from dsguard.formats.limits import check_unpacked
from dsguard.formats.pillow import (
    SIDECAR_CHUNK,
    SIDECAR_TAG,
    DamagedImageError,
    UnreadableImageError,
    decode,
    pixels_of,
    stated_size_of,
)
from dsguard.formats.png import (
    NotPlainError,
    at_once,
    encode_pngs,
    is_likely,
    read_plain,
    size_of,
    unpacked,
)
from dsguard.formats.sizes import is_dicom

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy.typing as npt

READABLE_SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm"}
    | {".gif"}
)

CARRIED_SUFFIXES = frozenset(
    {".apng", ".avif", ".dcm", ".dicom", ".exr", ".heic", ".heif", ".hif", ".ico", ".ima", ".j2k",
     ".jp2", ".jpx", ".jxl", ".mha", ".mpo", ".nii", ".nrrd", ".pbm", ".pcx", ".pfm", ".pnm",
     ".psd", ".sgi", ".tga", ".arw", ".cr2", ".cr3", ".dng", ".nef", ".orf", ".pef", ".raf", ".rw2",
     ".srw"}
)  # fmt: skip
"""Of further images, which can be carried as files, with those of cameras at the end."""

_PACKED_SUFFIXES = (".nii.gz",)
"""The same, of two parts."""

__all__ = [
    "CARRIED_SUFFIXES",
    "LOSSLESS_FORMATS",
    "READABLE_SUFFIXES",
    "SIDECAR_CHUNK",
    "SIDECAR_TAG",
    "DamagedImageError",
    "Group",
    "UnreadableImageError",
    "check_output_format",
    "decode_files",
    "decode_image",
    "decode_protected",
    "encode_image",
    "encode_images",
    "has_image_suffix",
    "is_image_name",
    "original_name",
    "pixels_of",
    "runs_of",
    "suffix_by_content",
    "suffix_of",
    "with_suffix",
]

LOSSLESS_FORMATS = {"png": ".png", "tiff": ".tiff"}
"""Formats that protected and restored images are written in, and their suffixes."""


def is_image_name(name: str, *, of_any_kind: bool = False) -> bool:
    """Tell whether a file of this name is taken for an image.

    Parameters
    ----------
    name : str
    of_any_kind : bool
        Whether images count that are not decoded, but can be carried as files.
    """
    file = name.rpartition("/")[2]
    stem, dot, suffix = file.rpartition(".")
    if not stem or stem[0] == ".":
        return False
    last = (dot + suffix).lower()
    return last in READABLE_SUFFIXES or (of_any_kind and _is_carried(file, last))


def _is_carried(file: str, suffix: str) -> bool:
    return suffix in CARRIED_SUFFIXES or file.lower().endswith(_PACKED_SUFFIXES)


def has_image_suffix(name: str) -> bool:
    """Tell whether a file of this name may hold an image of any kind, hidden ones as well."""
    suffix = PurePosixPath(name).suffix.lower()
    return suffix in READABLE_SUFFIXES or _is_carried(name, suffix)


def with_suffix(name: str, suffix: str) -> str:
    """Return the name of an image file with another suffix; one that has none gets it."""
    stem, _, last = name.rpartition(".")
    if not stem or stem.endswith("/") or "/" in last:
        return name + suffix
    return stem + suffix


def suffix_of(name: str) -> str:
    """Return the suffix of a file, with its dot; empty where it has none, or a last dot alone."""
    return PurePosixPath(name).suffix.rstrip(".")  # since Python 3.14 a last dot is one for pathlib


def original_name(name: str, original: str) -> str:
    """Return the name of a file that was carried, which is published under another.

    It is the one that it had, unless the published file was given another name since: then two
    could have one, and it keeps the new name, with the suffix that it had.
    """
    folder = name[: len(name) - len(name.rpartition("/")[2])]
    last = name[len(folder) :]
    stem = with_suffix(last, "")
    if stem == with_suffix(original, "") or last.startswith(f"{original}."):
        return folder + original
    if len(last) > _CUT and original.startswith((stem, with_suffix(stem, ""))):
        return folder + original  # which was too long with the suffix of the published file
    return folder + stem + suffix_of(original)


_CUT = 60  # characters of 4 bytes, nearly as many as a name may have
_TIFF, _DICOM = ".tiff", ".dcm"
_BEGINNINGS = {
    b"\xff\xd8\xff": ".jpg", b"\x89PNG": ".png", b"GIF8": ".gif", b"RIFF": ".webp", b"BM": ".bmp",
    b"II*\0": _TIFF, b"MM\0*": _TIFF, b"P5": ".pgm", b"P6": ".ppm",
}  # fmt: skip

KNOWN_SUFFIXES = frozenset({*_BEGINNINGS.values(), _DICOM})
"""Suffixes that `suffix_by_content` gives."""


def suffix_by_content(data: bytes) -> str:
    """Return the suffix of an image file that has no name; empty where its kind is not known."""
    found = next((suffix for start, suffix in _BEGINNINGS.items() if data.startswith(start)), "")
    # Of others that begin as DICOM nothing is known: those 128 bytes can be of anything.
    return _DICOM if found == _TIFF and is_dicom(data) else found


@dataclass
class Group:
    """Decoded images of one shape.

    Attributes
    ----------
    rows : list of int
        Where they stand among the files, or rows, that they come from.
    images : ndarray of uint8, shape (N, H, W, C)
    sidecars : dict of int to bytes
        By index in `images`.
    with_more : int
        How many of the files have a colour profile, EXIF, XMP or further pictures.
    is_seen : bool
        Whether these are the pictures of the files; others stand for files that are not decoded.
    is_damaged : bool
        Whether the files are no images of a kind that is decoded, or have lost a part.
    digests : ndarray of uint8, shape (N, 16), optional
        Of the pictures, as `covers.draws.digests_of` tells them, where these are in another size.
    found : list of (frozenset of str, or DsguardError)
        The pictures of the owner's that each image is, where these were looked for.
    """

    rows: list[int]
    images: npt.NDArray[np.uint8]
    sidecars: dict[int, bytes]
    with_more: int = 0
    is_seen: bool = True
    is_damaged: bool = False
    digests: npt.NDArray[np.uint8] | None = None
    found: list[frozenset[str] | DsguardError] = field(default_factory=list)


def check_output_format(name: str) -> str:
    """Return the format called `name` if protected images survive in it.

    Raises
    ------
    InputError
        If it is lossy or unknown.

    Examples
    --------
    >>> from dsguard.formats import check_output_format
    >>> check_output_format(".PNG")
    'png'
    >>> check_output_format("jpeg")
    Traceback (most recent call last):
        ...
    dsguard.errors.InputError: images cannot be written as jpeg: ...
    """
    chosen = name.lower().lstrip(".")
    if chosen not in LOSSLESS_FORMATS:
        msg = (
            f"images cannot be written as {name}: lossy or untested formats do not keep every bit; "
            f"choose one of: {', '.join(LOSSLESS_FORMATS)}"
        )
        raise InputError(msg)
    return chosen


def decode_image(data: bytes) -> npt.NDArray[np.uint8]:
    """Decode an image file.

    Palette and bilevel images are expanded, a transparent colour becomes alpha, and orientation, of
    EXIF or XMP, is applied; 16-bit, float and CMYK images are refused, because they would lose
    values. Of the pictures that a camera puts in one JPEG file (MPO) it is the first.

    Returns
    -------
    ndarray of uint8, shape (H, W, C)
        C is 1, 3, or 4 with alpha.

    Raises
    ------
    UnreadableImageError
        If the file is no image, is truncated, animated, or of another kind of pixel.

    Examples
    --------
    >>> import numpy as np
    >>> from dsguard.formats import decode_image, decode_protected, encode_images
    >>> images = np.full((2, 8, 8, 3), 7, np.uint8)
    >>> files = encode_images(images)
    >>> bool((decode_image(files[0]) == images[0]).all())
    True
    """
    return decode_protected(data)[0]


def decode_protected(data: bytes) -> tuple[npt.NDArray[np.uint8], bytes]:
    """Decode an image file as `decode_image` does, and its sidecar, which is empty as a rule.

    Examples
    --------
    >>> import numpy as np
    >>> from dsguard.formats import decode_protected, encode_images
    >>> files = encode_images(np.full((2, 8, 8, 3), 7, np.uint8), sidecars={1: b"payload"})
    >>> [decode_protected(file)[1] for file in files]
    [b'', b'payload']
    """
    groups, errors = decode_files([data])
    if errors:
        raise errors[0]
    return groups[0].images[0], groups[0].sidecars.get(0, b"")


def checked_member(data: bytes, packed: int) -> bytes:
    """Return an image file of an archive, if so many packed bytes can be believed to hold it.

    Raises
    ------
    InputError
        If it is very much longer, or claims more pixels than a file of that size may.
    """
    check_unpacked(len(data), packed)
    is_short = 2 * packed < len(data)  # images are packed as they are, and pack no further
    if is_short and not is_likely(pixels := pixels_of(data), packed):
        msg = (
            f"claims {pixels} pixels in {packed} packed bytes, which could be meant to fill the "
            "memory; unpack the archive and protect the folder, or cut it into smaller images"
        )
        raise InputError(msg)
    return data


_PIXELS_AT_ONCE = 1 << 24


def runs_of(
    files: Sequence[bytes | DsguardError], *, as_files: bool = False
) -> Iterator[tuple[int, int]]:
    """Yield the bounds of runs of files that say they have 16 million pixels at most, or of one.

    A short file can hold a very large image, and a thousand of them more than any memory. As files,
    those that are not decoded count as well.
    """
    start = pixels = 0
    for number, file in enumerate(files):
        if isinstance(file, DsguardError):
            continue
        size = size_of(file)
        own = pixels_of(file) if size is None else size[0] * size[1]
        if as_files and not own:
            own = math.prod(stated_size_of(file))
        if pixels and pixels + own > _PIXELS_AT_ONCE:
            yield start, number
            start, pixels = number, 0
        pixels += own
    if start < len(files):
        yield start, len(files)


def decode_files(
    files: Sequence[bytes | DsguardError],
) -> tuple[list[Group], dict[int, DsguardError]]:
    """Decode many image files, those of one shape together.

    Parameters
    ----------
    files : sequence of bytes or DsguardError
        An error stands for a file that could not be had, and is passed on.

    Returns
    -------
    list of Group
    dict of int to DsguardError
        By number, why a file cannot be read.
    """
    plain: dict[tuple[int, int, int], list[tuple[int, bytes, bytes]]] = defaultdict(list)
    errors: dict[int, DsguardError] = {}
    others: list[int] = []
    for number, file in enumerate(files):
        if isinstance(file, DsguardError):
            errors[number] = file
            continue
        try:
            shape, stream, sidecar = read_plain(file, SIDECAR_CHUNK)
        except NotPlainError:
            others.append(number)
        else:
            plain[shape].append((number, stream, sidecar))
    decoded: dict[tuple[int, ...], list[_Piece]] = defaultdict(list)
    more: Counter[tuple[int, ...]] = Counter()
    for shape, members in plain.items():
        for piece, left in _unpacked(members, shape):
            others += left
            if piece[0]:
                decoded[shape].append(piece)
    for number in sorted(others):
        file = files[number]
        assert isinstance(file, bytes)
        try:
            found = decode(file)
        except DsguardError as error:
            errors[number] = error.to_keep()
        else:
            shape = found.pixels.shape
            decoded[shape].append(([number], found.pixels[None], [found.sidecar]))
            more[shape] += found.has_more
    return [_joined(same, more[shape]) for shape, same in decoded.items()], errors


_Piece: TypeAlias = "tuple[list[int], npt.NDArray[np.uint8], list[bytes]]"


def _unpacked(
    members: list[tuple[int, bytes, bytes]], shape: tuple[int, int, int]
) -> Iterator[tuple[_Piece, list[int]]]:
    """Yield the images of some files, and the numbers of those that are left to Pillow."""
    step = at_once(shape)
    for start in range(0, len(members), step):
        numbers, streams, sidecars = map(list, zip(*members[start : start + step], strict=True))
        images, malformed = unpacked(streams, shape)
        left = [numbers[n] for n in malformed.nonzero()[0]]
        if left:
            good = (~malformed).nonzero()[0]
            numbers, sidecars = [numbers[n] for n in good], [sidecars[n] for n in good]
            images = images[good]
        yield (numbers, images, sidecars), left


def _joined(pieces: list[_Piece], more: int) -> Group:
    numbers = [number for piece in pieces for number in piece[0]]
    sidecars = [sidecar for piece in pieces for sidecar in piece[2]]
    images = pieces[0][1] if len(pieces) == 1 else np.concatenate([piece[1] for piece in pieces])
    return Group(numbers, images, {n: data for n, data in enumerate(sidecars) if data}, more)


def encode_images(
    images: npt.NDArray[np.uint8],
    name: str = "png",
    sidecars: Mapping[int, bytes] | None = None,
    level: int = 1,
) -> list[bytes]:
    """Encode a batch of images as `encode_image` does each of them.

    Parameters
    ----------
    images : ndarray of uint8, shape (N, H, W, C)
    name : {"png", "tiff"}
    sidecars : mapping of int to bytes, optional
        By index.
    level : {0, 1}
        Effort of PNG compression; 0 stores the pixels as they are.

    Examples
    --------
    >>> import numpy as np
    >>> from dsguard.formats import decode_image, decode_protected, encode_images
    >>> images = np.full((2, 8, 8, 3), 7, np.uint8)
    >>> files = encode_images(images)
    >>> [file[1:4] for file in files]
    [b'PNG', b'PNG']
    """
    sidecars = sidecars or {}
    if name == "png":
        return encode_pngs(images, SIDECAR_CHUNK, sidecars, level)
    return [encode_image(image, name, sidecars.get(n, b"")) for n, image in enumerate(images)]


def encode_image(image: npt.NDArray[np.uint8], name: str = "png", sidecar: bytes = b"") -> bytes:
    """Encode an array of shape (H, W, C) losslessly, in a format of `LOSSLESS_FORMATS`.

    Parameters
    ----------
    image : ndarray of uint8, shape (H, W, C)
    name : {"png", "tiff"}
    sidecar : bytes, optional
        Of a protected image that could not hold its payload; goes into the file.

    Examples
    --------
    >>> import numpy as np
    >>> from dsguard.formats import decode_image, encode_image
    >>> file = encode_image(np.full((8, 8, 3), 7, np.uint8))
    >>> file[1:4], int(decode_image(file).max())
    (b'PNG', 7)
    """
    if name == "png":
        return encode_pngs(image[None], SIDECAR_CHUNK, {0: sidecar} if sidecar else None)[0]
    pixels = image[..., 0] if image.shape[2] == 1 else image
    options: dict[str, Any] = {"compression": "tiff_deflate"}
    if sidecar:
        tags = TiffImagePlugin.ImageFileDirectory_v2()
        tags.tagtype[SIDECAR_TAG] = TiffTags.BYTE
        tags[SIDECAR_TAG] = sidecar
        options["tiffinfo"] = tags
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "tiff", **options)
    return file.getvalue()
