"""Protect and restore batches of images: the public functions.

A cover (`dsguard.covers`) decides what protected images show. A codec (`dsguard.codecs`) decides
how the clean ones are carried in them.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Literal, overload

import numpy as np

from dsguard._checks import as_batch, as_output, as_single, like_input
from dsguard._parallel import threads as pool
from dsguard.codecs import (
    CarriesArchiveError,
    CarriesFileError,
    File,
    Header,
    codec_named,
    codec_of,
    restoring,
)
from dsguard.covers import EPSILON, ArraySet, Batch, Cover, Given, check_cover, check_labels
from dsguard.errors import (
    DsguardError,
    FormatError,
    InputError,
    MissingSidecarError,
    NotProtectedError,
    TamperedError,
    WrongKeyError,
)
from dsguard.keys import DatasetKey, ImageKeys, KeySource
from dsguard.keys.image_keys import checked_image_keys
from dsguard.profiles import Profile

if TYPE_CHECKING:
    import numpy.typing as npt

    from dsguard.codecs import Codec
    from dsguard.covers.base import Labels
    from dsguard.fsp import Surrogate
    from dsguard.kernels.contract import Images


class Status(StrEnum):
    """The status of one image.

    Examples
    --------
    >>> import dsguard
    >>> dsguard.Status.TAMPERED == "tampered"
    True
    """

    OK = "ok"
    SIDECAR = "sidecar"
    FILE = "file"
    NO_SIDECAR = "no_sidecar"
    NOT_PROTECTED = "not_protected"
    WRONG_KEY = "wrong_key"
    TAMPERED = "tampered"
    UNKNOWN_FORMAT = "unknown_format"


_STATUS_OF: dict[type[DsguardError], Status] = {
    NotProtectedError: Status.NOT_PROTECTED,
    MissingSidecarError: Status.NO_SIDECAR,
    WrongKeyError: Status.WRONG_KEY,
    TamperedError: Status.TAMPERED,
    FormatError: Status.UNKNOWN_FORMAT,
    CarriesFileError: Status.FILE,
    CarriesArchiveError: Status.UNKNOWN_FORMAT,
}


@dataclass(frozen=True)
class ProtectedBatch:
    """The result of `protect_batch`.

    Attributes
    ----------
    images : ndarray of uint8
        Protected images, shaped as the input. Store them losslessly.
    status : list of Status
        One per image: ok, or sidecar.
    sidecars : dict of int to bytes
        By index, the sealed payloads of images that could not hold them: keep each with its image,
        `restore_batch` wants it back. Empty as a rule, and always for profile ``paper``.

    Examples
    --------
    >>> import dsguard, numpy as np
    >>> key = dsguard.DatasetKey(bytes(range(32)))
    >>> out = dsguard.protect_batch(np.zeros((2, 32, 32, 3), np.uint8), key)
    >>> out.images.shape
    (2, 32, 32, 3)
    >>> [status.name for status in out.status], out.sidecars
    (['OK', 'OK'], {})
    """

    images: npt.NDArray[np.uint8]
    status: list[Status]
    sidecars: dict[int, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class RestoredBatch:
    """The result of ``restore_batch(..., on_error="report")``.

    Attributes
    ----------
    images : ndarray of uint8
        Restored images, shaped as the input; all zero where the status is not ok.
    status : list of Status
        One per image.
    errors : dict of int to DsguardError
        The error of each image that was not restored; `CarriesFileError` where it carries a file.
    profiles : list of str
        The profile that each image was protected with; empty where its header cannot be read.

    Examples
    --------
    >>> import dsguard, numpy as np
    >>> key = dsguard.DatasetKey(bytes(range(32)))
    >>> clean = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), np.uint8)
    >>> out = dsguard.protect_batch(clean, key)
    >>> out.images[2, 5, 5] ^= 1
    >>> back = dsguard.restore_batch(out.images, key, sidecars=out.sidecars, on_error="report")
    >>> [status.name for status in back.status]
    ['OK', 'OK', 'TAMPERED', 'OK']
    """

    images: npt.NDArray[np.uint8]
    status: list[Status]
    errors: dict[int, DsguardError] = field(default_factory=dict)
    profiles: list[str] = field(default_factory=list)

    @property
    def files(self) -> dict[int, File]:
        """The files that were carried in place of images, by index."""
        found = self.errors.items()
        return {
            index: error.file
            for index, error in found
            if isinstance(error, CarriesFileError) and error.file is not None
        }


@dataclass(frozen=True)
class ImageInfo:
    """The public facts of a protected image, read without any key.

    Attributes
    ----------
    version : int
        Format version.
    profile : str
    planes : int
        Low bit planes that payload replaced; 0 where it is hidden reversibly.
    key_id : str
        12 hexadecimal digits, as `DatasetKey.key_id`.
    payload_bits : int
        Header, tag and what is sealed together.
    sidecar : bool
        Whether the payload did not fit and is in a sidecar. An image of codec ``sealed`` does not
        tell: here it is whether one was given.
    image_id : bytes or None
        16 bytes, from which the key of the image is derived; None for codecs without such keys.

    Examples
    --------
    >>> import dsguard, numpy as np
    >>> key = dsguard.DatasetKey(bytes(32))
    >>> out = dsguard.protect_batch(np.zeros((1, 32, 32, 3), np.uint8), key)
    >>> info = dsguard.inspect(out.images[0])
    >>> info.profile, info.key_id, len(info.image_id)
    ('sealed', 'bdea44b30333', 16)
    """

    version: int
    profile: str
    planes: int
    key_id: str
    payload_bits: int
    sidecar: bool = False
    image_id: bytes | None = None


def protect_batch(
    images: npt.NDArray[np.uint8],
    key: DatasetKey,
    *,
    cover: Cover | None = None,
    codec: str | Codec | None = None,
    target: npt.NDArray[np.uint8] | None = None,
    labels: npt.ArrayLike | None = None,
    surrogate: Surrogate | None = None,
    profile: str | Profile | None = None,
    epsilon: int | None = None,
    files: Mapping[int, File] | None = None,
    out: npt.NDArray[np.uint8] | None = None,
    threads: int | None = None,
) -> ProtectedBatch:
    """Protect a batch of images.

    Images and key are enough: then each protected image shows a picture that the key draws, and
    carries the clean one encrypted in its low bits. With `labels`, images of one class show alike
    pictures, for a network to learn instead.

    Give a `cover` to show something else. Give a `target`, or `labels` and a `surrogate`, for
    perturbed images as in the paper; these go with the exact profiles.

    The result is deterministic: the same images, targets and key give the same bytes, however many
    threads there are. Memory beyond input and output does not grow with the batch, but for a status
    per image, so either may be a `numpy.memmap` of any size.

    Parameters
    ----------
    images : ndarray of uint8, shape (N, H, W, C) or (N, H, W)
        Clean images; C is 1 or 3, or 4 with alpha last. H and W are 1 or more with codec
        ``sealed``. With all others they are 8 or more, and alpha passes through untouched, as do
        samples outside the grid of whole blocks.
    key : DatasetKey
    cover : Cover, optional
        What protected images show, of `dsguard.covers`; `labels` are those that it takes.
    codec : str or Codec, optional
        How clean images are carried, of `dsguard.codecs`; by default that of the profile.
    target : ndarray of uint8, shape of `images`, optional
        The perturbed images, or others. `dsguard.fsp.perturb` makes them with an `Attack` of your
        choice (ε, steps, layer).
    labels : array-like of int, shape (N,), optional
        Class of each image.
    surrogate : Surrogate, optional
        From `dsguard.fsp.fit_surrogate`. The exact profiles put on its patterns. ``"paper"``
        attacks each image with the defaults of `dsguard.fsp.Attack`.
    profile : str or Profile, optional
        How to protect: ``"sealed"``, ``"exact"``, ``"exact-fine"``, ``"exact-coarse"``, ``"veil"``
        or ``"paper"``; by default ``"sealed"``, or ``"exact"`` where there is a target or a
        surrogate. All but ``"paper"`` restore every bit. The exact profiles perturb images, on
        blocks of 4, 2 and 8, in ways that can be undone without the key (docs/security.md); so can
        ``"veil"``, which hides each image in another of the batch, drawn by the key, with a pattern
        for each label: give batches of mixed classes, what shows in a batch of one class still is
        of that class. ``"paper"`` restores to within a grey level or two.
    epsilon : int, optional
        Radius of a perturbation that is made here, in grey levels of 0 to 255; by default 16.
    files : mapping of int to File, optional
        By index, with codec ``sealed``: files that are carried in place of the samples of their
        images, to come back byte for byte. A JPEG file is shorter than its samples without loss.
    out : ndarray of uint8, shape of `images`, optional
        Where to write the protected images; C-contiguous, apart from the inputs.
    threads : int, optional
        Threads for given targets; by default one per CPU that the process may use. FSP has its own.

    Returns
    -------
    ProtectedBatch

    Raises
    ------
    InputError
        If an argument has the wrong type, shape or value, or an image is protected already.
    CapacityError
        If images of this size cannot carry their payload (profile ``paper`` alone).

    Examples
    --------
    >>> import numpy as np, dsguard
    >>> clean = np.full((3, 32, 32, 3), 90, np.uint8)
    >>> done = dsguard.protect_batch(clean, dsguard.DatasetKey(bytes(32)), labels=[0, 1, 0])
    >>> done.images.shape, done.sidecars
    ((3, 32, 32, 3), {})
    >>> done.status[0]
    <Status.OK: 'ok'>
    """
    perturbs = target is not None or surrogate is not None
    chosen = Profile.named(profile, perturbs=perturbs)
    _check_key(key)
    batch = as_batch(images, "images")
    choice = _choice(batch, key, cover, codec, target, labels, surrogate, chosen, epsilon)
    carrier, numbers = choice.codec, choice.labels
    carried = _check_files(files, len(batch))
    workers = pool.thread_count(threads)
    if choice.cover.needs_network:
        workers = 1  # torch has threads of its own
    carrier.check_size(*batch.shape[1:])
    result = as_output(out, images, batch, *([] if target is None else [target]))

    def work(part: slice) -> dict[int, bytes]:
        clean = np.ascontiguousarray(batch[part])
        known = Batch(clean, None if numbers is None else numbers[part], part)
        try:
            _refuse(known, ready)
            cover = ready.images(known, carrier.grid)
            at = range(*part.indices(len(batch)))
            own = {i - part.start: carried[i] for i in at if i in carried} if carried else {}
            if own:
                made = carrier.protect_files(clean, cover, result[part], key, own)
            else:
                made = carrier.protect(clean, cover, result[part], key)
        except DsguardError as error:
            if error.index is None:
                raise
            raise _at(part.start + error.index, error) from error
        return {part.start + index: sidecar for index, sidecar in made.items()}

    sidecars: dict[int, bytes] = {}
    parts = pool.cut(len(batch), batch[:1].size or 1, workers)
    with (
        choice.cover.prepared(ArraySet(batch, numbers)) as ready,
        closing(pool.run(work, parts, workers)) as done,
    ):
        for made in done:
            sidecars |= made
    status = [Status.OK] * len(batch)
    for index in sidecars:
        status[index] = Status.SIDECAR
    return ProtectedBatch(like_input(result, images), status, sidecars)


@overload
def restore_batch(
    images: npt.NDArray[np.uint8],
    key: DatasetKey | KeySource | ImageKeys | None = None,
    *,
    image_keys: Sequence[bytes] | Mapping[bytes, bytes] | KeySource | None = None,
    sidecars: Mapping[int, bytes] | None = None,
    on_error: Literal["raise"] = "raise",
    out: npt.NDArray[np.uint8] | None = None,
    threads: int | None = None,
) -> npt.NDArray[np.uint8]: ...


@overload
def restore_batch(
    images: npt.NDArray[np.uint8],
    key: DatasetKey | KeySource | ImageKeys | None = None,
    *,
    image_keys: Sequence[bytes] | Mapping[bytes, bytes] | KeySource | None = None,
    sidecars: Mapping[int, bytes] | None = None,
    on_error: Literal["report"],
    out: npt.NDArray[np.uint8] | None = None,
    threads: int | None = None,
) -> RestoredBatch: ...


def restore_batch(
    images: npt.NDArray[np.uint8],
    key: DatasetKey | KeySource | ImageKeys | None = None,
    *,
    image_keys: Sequence[bytes] | Mapping[bytes, bytes] | KeySource | None = None,
    sidecars: Mapping[int, bytes] | None = None,
    on_error: Literal["raise", "report"] = "raise",
    out: npt.NDArray[np.uint8] | None = None,
    threads: int | None = None,
) -> npt.NDArray[np.uint8] | RestoredBatch:
    """Restore a batch of protected images.

    Parameters
    ----------
    images : ndarray of uint8, shape (N, H, W, C) or (N, H, W)
        As `protect_batch` returned them; a subset in any order will do.
    key : DatasetKey, KeySource or ImageKeys, optional
        The key that they were protected under, or what stands in its place for codec ``sealed``,
        such as `dsguard.dmcp.GrantedKeys`.
    image_keys : sequence of bytes, mapping of bytes to bytes, or KeySource, optional
        In its place, for codec ``sealed``: the key of each image, in their order, or keys by image
        id. `dsguard.image_key` derives them; a platform releases them.
    sidecars : mapping of int to bytes, optional
        As `protect_batch` returned them, by the index of their image in `images`.
    on_error : {"raise", "report"}
        Raise the first error, or report a status per image and restore the others.
    out : ndarray of uint8, shape of `images`, optional
        Where to write the restored images; C-contiguous, apart from the input. Unspecified after
        an error.
    threads : int, optional
        By default one per CPU that the process may use.

    Returns
    -------
    ndarray of uint8, or RestoredBatch if `on_error` is ``"report"``
        Shaped as the input. For the exact profiles, the clean image to the last bit, which the tag
        proves; for ``paper``, each sample is within 1 grey level of the clean one where the payload
        took one plane, within 2 where it took two.

    Raises
    ------
    NotProtectedError, WrongKeyError, TamperedError, FormatError, MissingSidecarError
        If an image cannot be restored; the message names its index.
    NoKeysError
        If a `KeySource` gives none.

    Examples
    --------
    >>> import numpy as np, dsguard
    >>> key = dsguard.DatasetKey(bytes(32))
    >>> images = dsguard.protect_batch(np.full((2, 32, 32, 3), 90, np.uint8), key).images
    >>> int(dsguard.restore_batch(images, key).max())
    90
    >>> images[1, 20, 20] = 0
    >>> [str(each) for each in dsguard.restore_batch(images, key, on_error="report").status]
    ['ok', 'tampered']
    """
    if on_error not in ("raise", "report"):
        msg = f"on_error is 'raise' or 'report', not {on_error!r}"
        raise InputError(msg)
    batch = as_batch(images, "images")
    result = as_output(out, images, batch)
    workers = pool.thread_count(threads)
    given = _check_sidecars(sidecars, len(batch))
    keys = _keys(key, image_keys, batch, given)

    profiles = [""] * len(batch)

    def work(part: slice) -> dict[int, DsguardError]:
        own = {i - part.start: data for i, data in given.items() if part.start <= i < part.stop}
        protected = np.ascontiguousarray(batch[part])
        failures, named = restoring.restore(protected, result[part], keys, own)
        profiles[part] = named
        return {part.start + index: error for index, error in failures.items()}

    errors: dict[int, DsguardError] = {}
    parts = pool.cut(len(batch), batch[:1].size or 1, workers)
    with closing(pool.run(work, parts, workers)) as done:
        for failures in done:
            errors |= failures
            if errors and on_error == "raise":
                raise _at(*min(errors.items(), key=lambda item: item[0]))
    restored = like_input(result, images)
    if on_error == "raise":
        return restored
    status = [_STATUS_OF[type(errors[i])] if i in errors else Status.OK for i in range(len(batch))]
    failed = {i: _at(i, errors[i]) for i in sorted(errors)}
    return RestoredBatch(restored, status, failed, profiles)


def inspect(image: npt.NDArray[np.uint8], sidecar: bytes | None = None) -> ImageInfo:
    """Tell what a protected image says of itself; no key is needed.

    Parameters
    ----------
    image : ndarray of uint8, shape (H, W, C) or (H, W)
    sidecar : bytes, optional
        Of the image, where it has one; an image too small for a header has it there.

    Returns
    -------
    ImageInfo

    Raises
    ------
    NotProtectedError, TamperedError, FormatError
        If the image has no header, a damaged one, or one of an unknown version.

    Examples
    --------
    >>> import numpy as np, dsguard
    >>> key = dsguard.DatasetKey(bytes(32))
    >>> image = dsguard.protect_batch(np.full((1, 32, 32, 3), 90, np.uint8), key).images[0]
    >>> info = dsguard.inspect(image)
    >>> info.profile, info.key_id == key.key_id
    ('sealed', True)
    """
    batch = as_single(image, "image")
    given = {0: sidecar} if sidecar else {}
    raw = restoring.headers(batch, given)
    header = Header.parse(raw[0].tobytes())
    codec = codec_of(header)
    return ImageInfo(
        version=header.version,
        profile=codec.name,
        planes=codec.planes(header),
        key_id=header.key_id.hex(),
        payload_bits=8 * codec.payload_bytes(header, batch.shape[1:]),
        sidecar=codec.in_sidecar(header) or bool(sidecar),
        image_id=codec.image_ids(batch, given)[0],
    )


def are_protected(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """Tell which images of a batch have a whole header in their pixels, under whatever key.

    Parameters
    ----------
    images : ndarray of uint8, shape (N, H, W, C) or (N, H, W)

    Returns
    -------
    ndarray of bool, shape (N,)
    """
    return restoring.have_headers(np.ascontiguousarray(as_batch(images, "images")))


def image_ids(
    images: npt.NDArray[np.uint8], *, sidecars: Mapping[int, bytes] | None = None
) -> list[bytes | None]:
    """Return the ids of protected images, from which their keys are derived; no key is needed.

    Parameters
    ----------
    images : ndarray of uint8, shape (N, H, W, C) or (N, H, W)
    sidecars : mapping of int to bytes, optional
        An image too small to carry its id has it there.

    Returns
    -------
    list of bytes or None
        16 bytes each; None where an image has no id: all that are not of codec ``sealed``.

    Examples
    --------
    >>> import numpy as np, dsguard
    >>> key = dsguard.DatasetKey(bytes(32))
    >>> done = dsguard.protect_batch(np.zeros((2, 32, 32, 3), np.uint8), key)
    >>> keys = [dsguard.image_key(key, each) for each in dsguard.image_ids(done.images)]
    >>> int(dsguard.restore_batch(done.images, image_keys=keys).max())
    0
    """
    batch = np.ascontiguousarray(as_batch(images, "images"))
    return restoring.image_ids(batch, _check_sidecars(sidecars, len(batch)))


def keys_for(
    key: DatasetKey | KeySource | ImageKeys,
    batches: Iterable[tuple[npt.NDArray[np.uint8], Mapping[int, bytes]]],
) -> DatasetKey | ImageKeys:
    """Have a source of keys give those of some batches together, for `restore_batch` to take.

    Parameters
    ----------
    key : DatasetKey, KeySource or ImageKeys
        What is no source is returned as it is.
    batches : iterable of tuple of ndarray and mapping
        Images and their sidecars, as `restore_batch` takes them.

    Raises
    ------
    NoKeysError
        If the source gives none.
    """
    if not isinstance(key, KeySource):
        return key
    wanted: dict[str, list[bytes]] = {}
    for images, sidecars in batches:
        with suppress(InputError):  # of images that no key restores
            batch = np.ascontiguousarray(as_batch(images, "images"))
            for key_id, ids in restoring.ids_by_key(batch, dict(sidecars)).items():
                wanted.setdefault(key_id, []).extend(ids)
    keys: dict[bytes, bytes] = {}
    missing: dict[bytes, str] = {}
    for key_id, ids in wanted.items():
        try:
            keys |= key.image_keys(key_id, list(dict.fromkeys(ids)))
        except WrongKeyError as error:
            missing |= dict.fromkeys(ids, error.message)
    return ImageKeys(keys, missing)


def _keys(
    key: DatasetKey | KeySource | ImageKeys | None,
    image_keys: Sequence[bytes] | Mapping[bytes, bytes] | KeySource | None,
    batch: Images,
    sidecars: dict[int, bytes],
) -> DatasetKey | ImageKeys:
    if key is not None and image_keys is not None:
        msg = "give the key of the dataset, or those of images, not both"
        raise InputError(msg)
    if isinstance(image_keys, KeySource):
        key, image_keys = image_keys, None
    if isinstance(key, KeySource | ImageKeys):
        return keys_for(key, [(batch, sidecars)])
    if image_keys is None:
        _check_key(key)
        assert isinstance(key, DatasetKey)
        return key
    if isinstance(image_keys, Mapping):
        return checked_image_keys(image_keys)
    given: object = image_keys
    if not isinstance(given, Sequence) or len(given) != len(batch):
        count = len(given) if isinstance(given, Sequence) else type(given).__name__
        msg = f"image_keys: expected one for each of {len(batch)} images, got {count}"
        raise InputError(msg)
    ids = restoring.image_ids(np.ascontiguousarray(batch), sidecars)
    known = zip(ids, image_keys, strict=True)
    return checked_image_keys({image_id: own for image_id, own in known if image_id is not None})


def _check_key(key: object) -> None:
    if not isinstance(key, DatasetKey):
        msg = f"key: expected a DatasetKey, got {type(key).__name__}; use DatasetKey.load(path)"
        raise InputError(msg)


@dataclass(frozen=True)
class _Choice:
    """A cover, a codec, and labels as the cover takes them."""

    cover: Cover
    codec: Codec
    labels: Labels | None = None


def _choice(
    batch: Images,
    key: DatasetKey,
    cover: Cover | None,
    codec: str | Codec | None,
    target: npt.NDArray[np.uint8] | None,
    labels: npt.ArrayLike | None,
    surrogate: Surrogate | None,
    profile: Profile,
    epsilon: int | None,
) -> _Choice:
    check_cover(cover)
    given = [each is not None for each in (cover, target, surrogate)]
    if sum(given) > 1 or (target is not None and labels is not None):
        msg = "give a cover, or a target, or labels and surrogate, not both"
        raise InputError(msg)
    if epsilon is not None and (cover is not None or target is not None):
        msg = "epsilon is the radius of what a profile makes; a cover or a target has its own"
        raise InputError(msg)
    other = profile.plain_codec if codec is None else codec_named(codec)
    if target is not None:
        return _Choice(Given(_same_shape(target, batch)), other)
    if cover is not None:
        if cover.needs_labels and labels is None:
            msg = "this cover needs labels"
            raise InputError(msg)
        if other.wants_likeness and not cover.is_like:
            warnings.warn(unwise(other), UserWarning, stacklevel=3)
        known = None if labels is None else check_labels(labels, len(batch))
        return _Choice(cover, other, known)
    own = profile.codec if codec is None else other
    if profile.needs_surrogate and (labels is None or surrogate is None):
        msg = "give target or cover, or both labels and surrogate"
        raise InputError(msg)
    made = profile.cover(
        key,
        surrogate,
        epsilon=EPSILON if epsilon is None else epsilon,
        labelled=labels is not None,
    )
    if labels is None:
        return _Choice(made, own)
    if surrogate is None:
        return _Choice(made, own, check_labels(labels, len(batch)))
    surrogate.check_channels(batch.shape[3])
    return _Choice(made, own, surrogate.class_numbers(labels, len(batch)))


def unwise(codec: Codec) -> str:
    """Return the warning for a cover that is to hide images, where the codec wants likeness."""
    return (
        f"codec {codec.name} leaves the inside of the blocks of clean images in sight, whatever "
        "the cover shows; it changes more, and needs more sidecars, than with one that is like them"
    )


def _same_shape(target: npt.NDArray[np.uint8], batch: Images) -> Images:
    wanted = as_batch(target, "target")
    if wanted.shape != batch.shape:
        msg = f"target has the shape {wanted.shape}, images have {batch.shape}"
        raise InputError(msg)
    return wanted


def _refuse(batch: Batch, cover: Cover) -> None:
    """Raise for the first image that is protected already, or that has no cover."""
    twice = np.flatnonzero(restoring.have_headers(batch.images))
    if len(twice):
        msg = "is protected already; give the clean images"
        raise InputError(msg, int(twice[0]))
    refused = cover.refused(batch)
    if refused:
        raise _at(*min(refused.items(), key=lambda item: item[0]))


def _check_files(files: Mapping[int, File] | None, count: int) -> dict[int, File]:
    """Return files by the index of their image, if they are files and there are such images."""
    asked: object = files
    if asked is not None and not isinstance(asked, Mapping):
        msg = f"files: expected a mapping of indices to File, got {type(asked).__name__}"
        raise InputError(msg)
    given = {} if files is None else dict(files)
    each: Iterable[tuple[object, object]] = given.items()
    for index, file in each:
        if type(index) is not int or not 0 <= index < count:
            msg = f"files: there is no image {index!r}; give each by the index of its image"
            raise InputError(msg)
        if not isinstance(file, File):
            msg = f"files: expected a File, got {type(file).__name__}"
            raise InputError(msg, index)
    return given


def _check_sidecars(sidecars: Mapping[int, bytes] | None, count: int) -> dict[int, bytes]:
    if sidecars is None:
        return {}
    if not hasattr(sidecars, "items"):
        msg = f"sidecars: expected a mapping of index to bytes, got {type(sidecars).__name__}"
        raise InputError(msg)
    return dict(_checked_sidecar(index, data, count) for index, data in sidecars.items())


def _checked_sidecar(index: object, data: object, count: int) -> tuple[int, bytes]:
    if isinstance(index, bool) or not isinstance(index, int | np.integer):
        msg = f"sidecars: expected whole numbers as indices, got {index!r}"
        raise InputError(msg)
    if not 0 <= index < count:
        msg = f"sidecars: there is no image {index} in a batch of {count}"
        raise InputError(msg)
    if not isinstance(data, bytes | bytearray | memoryview):
        msg = f"sidecars: expected bytes, got {type(data).__name__}"
        raise InputError(msg, int(index))
    return int(index), bytes(data)


def _at(index: int, error: DsguardError) -> DsguardError:
    """Return the error with the index of its image in the message."""
    moved = type(error)(error.message, index=index)
    moved.__dict__ |= error.__dict__ | {"index": index}
    return moved
