"""Publish image datasets without giving them away.

>>> import numpy as np, dsguard
>>> key = dsguard.DatasetKey.generate()
>>> clean = np.full((2, 32, 32, 3), 100, np.uint8)
>>> out = dsguard.protect_batch(clean, key)
>>> back = dsguard.restore_batch(out.images, key)
>>> bool((back == clean).all())
True

Names are loaded where they are first used, so that ``import dsguard`` takes no time; then NumPy and
the C core are. FSP needs the extra ``dsguard[fsp]``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import dsguard._moved  # noqa: F401 - says where former modules are

if TYPE_CHECKING:
    from dsguard.api import image_ids, inspect, protect_batch, restore_batch
    from dsguard.codecs import CarriesFileError, File
    from dsguard.errors import (
        CapacityError,
        DsguardError,
        FormatError,
        InputError,
        MissingExtraError,
        MissingSidecarError,
        NoKeysError,
        NotProtectedError,
        TamperedError,
        WrongKeyError,
    )
    from dsguard.kernels import get_backend, set_backend
    from dsguard.keys import DatasetKey, image_key
    from dsguard.profiles import Profile
    from dsguard.results import ImageInfo, ProtectedBatch, RestoredBatch, Status

    __version__: str

__all__ = [
    "CapacityError",
    "CarriesFileError",
    "DatasetKey",
    "DsguardError",
    "File",
    "FormatError",
    "ImageInfo",
    "InputError",
    "MissingExtraError",
    "MissingSidecarError",
    "NoKeysError",
    "NotProtectedError",
    "Profile",
    "ProtectedBatch",
    "RestoredBatch",
    "Status",
    "TamperedError",
    "WrongKeyError",
    "__version__",
    "get_backend",
    "image_ids",
    "image_key",
    "inspect",
    "protect_batch",
    "restore_batch",
    "set_backend",
]

_HOMES = {
    "CapacityError": "dsguard.errors",
    "CarriesFileError": "dsguard.codecs",
    "DatasetKey": "dsguard.keys",
    "DsguardError": "dsguard.errors",
    "File": "dsguard.codecs",
    "FormatError": "dsguard.errors",
    "ImageInfo": "dsguard.results",
    "InputError": "dsguard.errors",
    "MissingExtraError": "dsguard.errors",
    "MissingSidecarError": "dsguard.errors",
    "NoKeysError": "dsguard.errors",
    "NotProtectedError": "dsguard.errors",
    "Profile": "dsguard.profiles",
    "ProtectedBatch": "dsguard.results",
    "RestoredBatch": "dsguard.results",
    "Status": "dsguard.results",
    "TamperedError": "dsguard.errors",
    "WrongKeyError": "dsguard.errors",
    "get_backend": "dsguard.kernels",
    "image_ids": "dsguard.api",
    "image_key": "dsguard.keys",
    "inspect": "dsguard.api",
    "protect_batch": "dsguard.api",
    "restore_batch": "dsguard.api",
    "set_backend": "dsguard.kernels",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        value: Any = importlib.import_module("importlib.metadata").version("dsguard")
    elif name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
    else:
        msg = f"module 'dsguard' has no attribute {name!r}"
        raise AttributeError(msg)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
