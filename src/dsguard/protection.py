"""Protect and restore batches of images: the whole method on one page.

::

    protect:  perturb (FSP) -> transform (mRIT) -> seal (AES-SIV) -> embed (LSB)
    restore:  extract -> open -> invert
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Literal, overload

import numpy as np

from dsguard import envelope, slices
from dsguard.batch import as_batch, as_output, as_single, like_input
from dsguard.envelope import HEADER_BYTES, OVERHEAD_BYTES, DatasetKey, Header
from dsguard.errors import (
    DsguardError,
    FormatError,
    InputError,
    NotProtectedError,
    TamperedError,
    WrongKeyError,
)
from dsguard.kernels import kernels
from dsguard.mrit import Geometry, neutral_payload, plan
from dsguard.profile import Profile

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy.typing as npt

    from dsguard.fsp import Surrogate
    from dsguard.kernels.contract import Bytes, Images


class Status(StrEnum):
    """What became of one image."""

    OK = "ok"
    NOT_PROTECTED = "not_protected"
    WRONG_KEY = "wrong_key"
    TAMPERED = "tampered"
    UNKNOWN_FORMAT = "unknown_format"


_STATUS_OF: dict[type[DsguardError], Status] = {
    NotProtectedError: Status.NOT_PROTECTED,
    WrongKeyError: Status.WRONG_KEY,
    TamperedError: Status.TAMPERED,
    FormatError: Status.UNKNOWN_FORMAT,
}


@dataclass(frozen=True)
class ProtectedBatch:
    """What `protect_batch` returns.

    Attributes
    ----------
    images : ndarray of uint8
        Protected images, shaped as the input. Store them losslessly.
    status : list of Status
        One per image.
    sidecars : dict of int to bytes
        By index, what an image could not carry itself; profile ``paper`` leaves it empty.
    """

    images: npt.NDArray[np.uint8]
    status: list[Status]
    sidecars: dict[int, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class RestoredBatch:
    """What ``restore_batch(..., on_error="report")`` returns.

    Attributes
    ----------
    images : ndarray of uint8
        Restored images, shaped as the input; all zero where the status is not ok.
    status : list of Status
        One per image.
    errors : dict of int to DsguardError
        The error of each image that was not restored.
    """

    images: npt.NDArray[np.uint8]
    status: list[Status]
    errors: dict[int, DsguardError] = field(default_factory=dict)


@dataclass(frozen=True)
class ImageInfo:
    """What `inspect` reads from a protected image without any key.

    Attributes
    ----------
    version : int
        Format version.
    profile : str
    planes : int
        Low bit planes that carry payload.
    key_id : str
        12 hexadecimal digits, as `DatasetKey.key_id`.
    payload_bits : int
        Header, tag and sealed Sequence together.
    """

    version: int
    profile: str
    planes: int
    key_id: str
    payload_bits: int


def protect_batch(
    images: npt.NDArray[np.uint8],
    key: DatasetKey,
    *,
    target: npt.NDArray[np.uint8] | None = None,
    labels: npt.ArrayLike | None = None,
    surrogate: Surrogate | None = None,
    profile: str | Profile = "paper",
    out: npt.NDArray[np.uint8] | None = None,
    threads: int | None = None,
) -> ProtectedBatch:
    """Protect a batch of images.

    Each clean image is transformed to resemble its target, and the way back, sealed under `key`, is
    embedded in its low bits. Give either `target`, or `labels` and `surrogate`, from which the
    targets are made by feature-space perturbation.

    The result is deterministic: the same images, targets and key give the same bytes, however many
    threads there are. Memory beyond input and output does not grow with the batch, but for a status
    per image, so either may be a `numpy.memmap` of any size.

    Parameters
    ----------
    images : ndarray of uint8, shape (N, H, W, C) or (N, H, W)
        Clean images; C is 1 or 3, or 4 with alpha last, which passes through untouched. H and W are
        8 or more; samples outside the grid of whole 4×4 blocks pass through as well.
    key : DatasetKey
    target : ndarray of uint8, shape of `images`, optional
        The perturbed images. `dsguard.fsp.perturb` makes them with an `Attack` of your choice (ε,
        steps, layer).
    labels : array-like of int, shape (N,), optional
        Class of each image.
    surrogate : Surrogate, optional
        From `dsguard.fsp.fit_surrogate`; perturbs with the defaults of `dsguard.fsp.Attack`.
    profile : str or Profile
        How to protect.
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
        If an argument has the wrong type, shape or value.
    CapacityError
        If images of this size cannot carry their payload.
    """
    chosen = Profile.named(profile)
    _check_key(key)
    batch = as_batch(images, "images")
    targets = _targets(batch, target, labels, surrogate)
    workers = slices.thread_count(threads)
    if surrogate is not None:
        workers = 1  # torch has threads of its own
    _, height, width, channels = batch.shape
    geometry = plan(height, width, channels, chosen, OVERHEAD_BYTES)
    header = Header(chosen, geometry.planes, bytes.fromhex(key.key_id), geometry.sequence_bytes)
    result = as_output(out, images, batch, *([] if target is None else [target]))

    def work(part: slice) -> None:
        clean = np.ascontiguousarray(batch[part])
        _protect(clean, targets(part), result[part], geometry, header, key)

    parts = slices.cut(len(batch), height * width * channels, workers)
    with closing(slices.run(work, parts, workers)) as done:
        for _ in done:
            pass
    return ProtectedBatch(like_input(result, images), [Status.OK] * len(batch))


@overload
def restore_batch(
    images: npt.NDArray[np.uint8],
    key: DatasetKey,
    *,
    sidecars: Mapping[int, bytes] | None = None,
    on_error: Literal["raise"] = "raise",
    out: npt.NDArray[np.uint8] | None = None,
    threads: int | None = None,
) -> npt.NDArray[np.uint8]: ...


@overload
def restore_batch(
    images: npt.NDArray[np.uint8],
    key: DatasetKey,
    *,
    sidecars: Mapping[int, bytes] | None = None,
    on_error: Literal["report"],
    out: npt.NDArray[np.uint8] | None = None,
    threads: int | None = None,
) -> RestoredBatch: ...


def restore_batch(
    images: npt.NDArray[np.uint8],
    key: DatasetKey,
    *,
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
    key : DatasetKey
        The key that they were protected under.
    sidecars : mapping of int to bytes, optional
        As `protect_batch` returned them. Profile ``paper`` makes none.
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
        Shaped as the input. For profile ``paper``, each sample is within 1 grey level of the clean
        one where the payload took one plane, within 2 where it took two.

    Raises
    ------
    NotProtectedError, WrongKeyError, TamperedError, FormatError
        If an image cannot be restored; the message names its index.
    """
    if on_error not in ("raise", "report"):
        msg = f"on_error is 'raise' or 'report', not {on_error!r}"
        raise InputError(msg)
    _check_key(key)
    del sidecars  # no profile makes them yet
    batch = as_batch(images, "images")
    result = as_output(out, images, batch)
    workers = slices.thread_count(threads)

    def work(part: slice) -> dict[int, DsguardError]:
        failures = _restore(np.ascontiguousarray(batch[part]), result[part], key)
        return {part.start + index: error for index, error in failures.items()}

    errors: dict[int, DsguardError] = {}
    parts = slices.cut(len(batch), batch[:1].size or 1, workers)
    with closing(slices.run(work, parts, workers)) as done:
        for failures in done:
            errors |= failures
            if errors and on_error == "raise":
                raise _at(*min(errors.items(), key=lambda item: item[0]))
    restored = like_input(result, images)
    if on_error == "raise":
        return restored
    status = [_STATUS_OF[type(errors[i])] if i in errors else Status.OK for i in range(len(batch))]
    return RestoredBatch(restored, status, {i: _at(i, errors[i]) for i in sorted(errors)})


def inspect(image: npt.NDArray[np.uint8]) -> ImageInfo:
    """Tell what a protected image says of itself; no key is needed.

    Parameters
    ----------
    image : ndarray of uint8, shape (H, W, C) or (H, W)

    Returns
    -------
    ImageInfo

    Raises
    ------
    NotProtectedError, TamperedError, FormatError
        If the image has no header, a damaged one, or one of an unknown version.
    """
    batch = as_single(image, "image")
    header = Header.parse(_headers(batch)[0].tobytes())
    return ImageInfo(
        version=header.version,
        profile=header.profile.name,
        planes=header.planes,
        key_id=header.key_id.hex(),
        payload_bits=8 * (OVERHEAD_BYTES + header.sequence_bytes),
    )


def _check_key(key: object) -> None:
    if not isinstance(key, DatasetKey):
        msg = f"key: expected a DatasetKey, got {type(key).__name__}; use DatasetKey.load(path)"
        raise InputError(msg)


def _targets(
    batch: Images,
    target: npt.NDArray[np.uint8] | None,
    labels: npt.ArrayLike | None,
    surrogate: Surrogate | None,
) -> Callable[[slice], Images]:
    """Return what gives the targets of a slice: those given, or those that FSP makes."""
    if target is not None:
        if labels is not None or surrogate is not None:
            msg = "give either target, or labels and surrogate, not both"
            raise InputError(msg)
        wanted = as_batch(target, "target")
        if wanted.shape != batch.shape:
            msg = f"target has the shape {wanted.shape}, images have {batch.shape}"
            raise InputError(msg)
        return lambda part: np.ascontiguousarray(wanted[part])
    if labels is None or surrogate is None:
        msg = "give target, or both labels and surrogate"
        raise InputError(msg)
    from dsguard.fsp import perturb

    given = np.asarray(labels)
    surrogate.class_numbers(given, len(batch))  # a wrong label is found before any work is done
    return lambda part: perturb(batch[part], given[part], surrogate)


def _protect(
    clean: Images,
    target: Images,
    out: Images,
    geometry: Geometry,
    header: Header,
    key: DatasetKey,
) -> None:
    """Protect one slice of a batch into `out`."""
    run = kernels()
    _, sequences = run.transform(clean, target, geometry, out)
    run.embed(out, neutral_payload(geometry, OVERHEAD_BYTES + header.sequence_bytes), geometry)
    run.embed(out, envelope.seal(sequences, out, header, key), geometry)


def _restore(protected: Images, out: Images, key: DatasetKey) -> dict[int, DsguardError]:
    """Restore one slice of a batch into `out`, zero where it fails; return the failures."""
    failures: dict[int, DsguardError] = {}
    for members, header in _by_header(protected, key, failures):
        if len(members) == len(protected):
            genuine = _restore_alike(protected, out, header, key)
        else:
            restored = np.empty_like(protected[members])
            genuine = _restore_alike(protected[members], restored, header, key)
            out[members] = restored
        for index in members[~genuine]:
            failures[int(index)] = TamperedError(
                "was changed after it was protected; restore from an undamaged copy"
            )
    out[list(failures)] = 0
    return failures


def _by_header(
    protected: Images, key: DatasetKey, failures: dict[int, DsguardError]
) -> list[tuple[npt.NDArray[np.intp], Header]]:
    """Group images by equal headers; those that cannot be restored go to `failures`."""
    groups = []
    raw = _headers(protected)
    for members in _alike(raw):
        try:
            header = Header.parse(raw[members[0]].tobytes())
            _check_header(header, protected, key)
        except DsguardError as error:
            failures |= dict.fromkeys(members.tolist(), error)
        else:
            groups.append((members, header))
    return groups


def _alike(rows: Bytes) -> list[npt.NDArray[np.intp]]:
    """Return the positions of equal rows, one array for each kind."""
    if (rows == rows[0]).all():  # as a rule, and sorting would take as long as restoring
        return [np.arange(len(rows))]
    _, kind, counts = np.unique(rows, axis=0, return_inverse=True, return_counts=True)
    return np.split(np.argsort(kind.reshape(-1), kind="stable"), np.cumsum(counts)[:-1])


def _check_header(header: Header, protected: Images, key: DatasetKey) -> None:
    """Refuse another key's images, and lengths that this shape cannot have."""
    if header.key_id.hex() != key.key_id:
        msg = f"was protected under key {header.key_id.hex()}, not {key.key_id}"
        raise WrongKeyError(msg)
    geometry = _geometry(header, protected)
    size = OVERHEAD_BYTES + header.sequence_bytes
    fits = header.planes <= header.profile.max_planes and 8 * size <= geometry.capacity_bits
    if not fits or header.sequence_bytes != geometry.sequence_bytes:
        msg = "was cropped or resized after it was protected; restore from an undamaged copy"
        raise TamperedError(msg)


def _restore_alike(
    protected: Images, out: Images, header: Header, key: DatasetKey
) -> npt.NDArray[np.bool_]:
    """Restore images of one header into `out`; false where a tag does not open."""
    run = kernels()
    geometry = _geometry(header, protected)
    size = OVERHEAD_BYTES + header.sequence_bytes
    payloads = run.extract(protected, size, geometry)
    carriers = protected.copy()
    run.embed(carriers, neutral_payload(geometry, size), geometry)
    sequences, genuine = envelope.unseal(payloads, carriers, key)
    _, malformed = run.invert(carriers, sequences, geometry, out)
    return genuine & ~malformed


def _geometry(header: Header, protected: Images) -> Geometry:
    _, height, width, channels = protected.shape
    return Geometry(height, width, channels, header.planes)


def _headers(batch: Images) -> Bytes:
    """Return the first 18 payload bytes of each image, whether they are a header or not."""
    _, height, width, channels = batch.shape
    geometry = Geometry(height, width, channels, planes=1)
    if geometry.capacity_bits < 8 * HEADER_BYTES:
        return np.zeros((len(batch), HEADER_BYTES), np.uint8)  # too small to carry one
    return kernels().extract(batch, HEADER_BYTES, geometry)


def _at(index: int, error: DsguardError) -> DsguardError:
    """Return the error with the index of its image in the message."""
    return type(error)(error.message, index=index)
