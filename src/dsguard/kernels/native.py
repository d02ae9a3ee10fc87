"""The kernels in C. The only module that sees cffi objects."""

from __future__ import annotations

from typing import Any

import numpy as np

from dsguard._core import ffi, lib
from dsguard.errors import InputError
from dsguard.kernels.contract import Bytes, Images, Mask
from dsguard.mrit.geometry import Geometry

_ERRORS: dict[int, str] = {
    lib.DSG_ERR_NULL: "a pointer is NULL",
    lib.DSG_ERR_GEOMETRY: "a field of the geometry is out of range",
    lib.DSG_ERR_ISA: "unknown instruction set, or not on this CPU",
    lib.DSG_ERR_CAPACITY: "the payload is longer than the image can carry",
}


def transform(
    clean: Images, target: Images, geometry: Geometry, out: Images | None = None
) -> tuple[Images, Bytes]:
    """See `dsguard.kernels.contract.Kernels.transform`."""
    temporary = np.empty_like(clean) if out is None else out
    sequences = np.empty((len(clean), geometry.sequence_bytes), np.uint8)
    shape = (len(clean), geometry.height, geometry.width, geometry.channels)
    _check(
        lib.dsg_transform(
            _c_geometry(geometry),
            len(clean),
            _input(clean, shape),
            _input(target, shape),
            _output(temporary, shape),
            _output(sequences, sequences.shape),
        )
    )
    return temporary, sequences


def invert(
    temporary: Images, sequences: Bytes, geometry: Geometry, out: Images | None = None
) -> tuple[Images, Mask]:
    """See `dsguard.kernels.contract.Kernels.invert`."""
    clean = np.empty_like(temporary) if out is None else out
    malformed = np.empty(len(temporary), np.uint8)
    shape = (len(temporary), geometry.height, geometry.width, geometry.channels)
    _check(
        lib.dsg_invert(
            _c_geometry(geometry),
            len(temporary),
            _input(temporary, shape),
            _input(sequences, (len(temporary), geometry.sequence_bytes)),
            _output(clean, shape),
            _output(malformed, malformed.shape),
        )
    )
    return clean, malformed.view(np.bool_)


def embed(images: Images, payloads: Bytes, geometry: Geometry) -> None:
    """See `dsguard.kernels.contract.Kernels.embed`."""
    size = payloads.shape[-1]
    shape = (len(images), geometry.height, geometry.width, geometry.channels)
    shared = payloads.ndim == 1
    _check(
        lib.dsg_embed(
            _c_geometry(geometry),
            len(images),
            _output(images, shape),
            _input(payloads, (size,) if shared else (len(images), size)),
            0 if shared else size,
            size,
        )
    )


def extract(images: Images, size: int, geometry: Geometry) -> Bytes:
    """See `dsguard.kernels.contract.Kernels.extract`."""
    payloads = np.empty((len(images), size), np.uint8)
    shape = (len(images), geometry.height, geometry.width, geometry.channels)
    _check(
        lib.dsg_extract(
            _c_geometry(geometry),
            len(images),
            _input(images, shape),
            _output(payloads, payloads.shape),
            size,
        )
    )
    return payloads


def isa() -> str:
    """Return the instruction set in use, such as ``"avx2"``."""
    return str(ffi.string(lib.dsg_isa()).decode())


def set_isa(name: str | None) -> None:
    """Use one instruction set from now on; None asks for the best of this CPU.

    Raises
    ------
    InputError
        If `name` is unknown or not available on this CPU.
    """
    _check(lib.dsg_set_isa(ffi.NULL if name is None else name.encode()))


def _check(status: int) -> None:
    if status != lib.DSG_OK:
        raise InputError(_ERRORS.get(status, f"C core: status {status}"))


def _c_geometry(geometry: Geometry) -> Any:
    return ffi.new(
        "struct dsg_geometry *",
        (
            geometry.height,
            geometry.width,
            geometry.channels,
            geometry.colours,
            geometry.planes,
        ),
    )


def _input(array: Images, shape: tuple[int, ...]) -> Any:
    _check_buffer(array, shape)
    return ffi.from_buffer("uint8_t[]", array)


def _output(array: Images, shape: tuple[int, ...]) -> Any:
    _check_buffer(array, shape)
    if not array.flags.writeable:
        msg = "the array to write to is read-only"
        raise InputError(msg)
    return ffi.from_buffer("uint8_t[]", array, require_writable=True)


def _check_buffer(array: Images, shape: tuple[int, ...]) -> None:
    # C sees a bare pointer and cffi checks neither dtype nor length: a mismatch must stop here.
    if array.dtype != np.uint8 or array.shape != shape or not array.flags.c_contiguous:
        msg = (
            f"expected C-contiguous uint8 of shape {shape}, got {array.dtype} of {array.shape} "
            f"with strides {array.strides}"
        )
        raise InputError(msg)
