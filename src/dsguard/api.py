"""Protect and restore batches of images: the public functions.

A cover (`dsguard.covers`) decides what protected images show. A codec (`dsguard.codecs`) decides
how the clean ones are carried in them.
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Literal, overload

import numpy as np

from dsguard._arguments import check_key, checked_files, checked_sidecars, choice_of, keys_of
from dsguard._checks import as_batch, as_output, as_single, like_input
from dsguard._parallel import threads as pool
from dsguard.codecs import Header, codec_of, restoring
from dsguard.covers import ArraySet, Batch
from dsguard.errors import DsguardError, InputError
from dsguard.profiles import Profile
from dsguard.results import STATUS_OF, ImageInfo, ProtectedBatch, RestoredBatch, Status

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from dsguard.codecs import Codec, File
    from dsguard.covers import Cover
    from dsguard.fsp import Surrogate
    from dsguard.keys import DatasetKey, ImageKeys, KeySource


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
    check_key(key)
    batch = as_batch(images, "images")
    choice = choice_of(batch, key, cover, codec, target, labels, surrogate, chosen, epsilon)
    carrier, numbers = choice.codec, choice.labels
    carried = checked_files(files, len(batch))
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
    given = checked_sidecars(sidecars, len(batch))
    keys = keys_of(key, image_keys, batch, given)

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
    status = [STATUS_OF[type(errors[i])] if i in errors else Status.OK for i in range(len(batch))]
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
    return restoring.image_ids(batch, checked_sidecars(sidecars, len(batch)))


def _refuse(batch: Batch, cover: Cover) -> None:
    """Raise for the first image that is protected already, or that has no cover."""
    twice = np.flatnonzero(restoring.have_headers(batch.images))
    if len(twice):
        msg = "is protected already; give the clean images"
        raise InputError(msg, int(twice[0]))
    refused = cover.refused(batch)
    if refused:
        raise _at(*min(refused.items(), key=lambda item: item[0]))


def _at(index: int, error: DsguardError) -> DsguardError:
    """Return the error with the index of its image in the message."""
    moved = type(error)(error.message, index=index)
    moved.__dict__ |= error.__dict__ | {"index": index}
    return moved
