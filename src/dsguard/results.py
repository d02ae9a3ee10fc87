"""Results of the public functions: batches with a status for each image, and facts of an image."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from dsguard.codecs import CarriesArchiveError, CarriesFileError
from dsguard.errors import (
    DsguardError,
    FormatError,
    MissingSidecarError,
    NotProtectedError,
    TamperedError,
    WrongKeyError,
)

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from dsguard.codecs import File


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


STATUS_OF: dict[type[DsguardError], Status] = {
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
