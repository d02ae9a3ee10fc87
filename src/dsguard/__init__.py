"""Publish image datasets without giving them away.

>>> import numpy as np, dsguard
>>> key = dsguard.DatasetKey.generate()
>>> clean = np.full((2, 32, 32, 3), 100, np.uint8)
>>> out = dsguard.protect_batch(clean, key, target=clean)
>>> back = dsguard.restore_batch(out.images, key)
>>> bool((back == clean).all())
True

``import dsguard`` loads NumPy and the C core; FSP needs the extra ``dsguard[fsp]``.
"""

from importlib.metadata import version as _version

from dsguard.envelope import DatasetKey
from dsguard.errors import (
    CapacityError,
    DsguardError,
    FormatError,
    InputError,
    MissingExtraError,
    MissingSidecarError,
    NotProtectedError,
    TamperedError,
    WrongKeyError,
)
from dsguard.kernels import get_backend, set_backend
from dsguard.profile import Profile
from dsguard.protection import (
    ImageInfo,
    ProtectedBatch,
    RestoredBatch,
    Status,
    inspect,
    protect_batch,
    restore_batch,
)

__version__ = _version("dsguard")

__all__ = [
    "CapacityError",
    "DatasetKey",
    "DsguardError",
    "FormatError",
    "ImageInfo",
    "InputError",
    "MissingExtraError",
    "MissingSidecarError",
    "NotProtectedError",
    "Profile",
    "ProtectedBatch",
    "RestoredBatch",
    "Status",
    "TamperedError",
    "WrongKeyError",
    "__version__",
    "get_backend",
    "inspect",
    "protect_batch",
    "restore_batch",
    "set_backend",
]
