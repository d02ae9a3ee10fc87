"""The kernels in C. The only module, beside `scanlines`, that sees cffi objects."""

from __future__ import annotations

from typing import Any

import numpy as np

from dsguard._core import ffi, lib
from dsguard.errors import InputError
from dsguard.kernels.contract import Bytes, Images, Lengths, Mask, Modes
from dsguard.kernels.geometry import Geometry

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
    shape = _shape(clean, geometry)
    check(
        lib.dsg_transform(
            _c_geometry(geometry),
            len(clean),
            in_buffer(clean, shape),
            in_buffer(target, shape),
            out_buffer(temporary, shape),
            out_buffer(sequences, sequences.shape),
        )
    )
    return temporary, sequences


def invert(
    temporary: Images, sequences: Bytes, geometry: Geometry, out: Images | None = None
) -> tuple[Images, Mask]:
    """See `dsguard.kernels.contract.Kernels.invert`."""
    clean = np.empty_like(temporary) if out is None else out
    malformed = np.empty(len(temporary), np.uint8)
    shape = _shape(temporary, geometry)
    check(
        lib.dsg_invert(
            _c_geometry(geometry),
            len(temporary),
            in_buffer(temporary, shape),
            in_buffer(sequences, (len(temporary), geometry.sequence_bytes)),
            out_buffer(clean, shape),
            out_buffer(malformed, malformed.shape),
        )
    )
    return clean, malformed.view(np.bool_)


def embed(images: Images, payloads: Bytes, geometry: Geometry) -> None:
    """See `dsguard.kernels.contract.Kernels.embed`."""
    size = payloads.shape[-1]
    shape = _shape(images, geometry)
    shared = payloads.ndim == 1
    check(
        lib.dsg_embed(
            _c_geometry(geometry),
            len(images),
            out_buffer(images, shape),
            in_buffer(payloads, (size,) if shared else (len(images), size)),
            0 if shared else size,
            size,
        )
    )


def extract(images: Images, size: int, geometry: Geometry) -> Bytes:
    """See `dsguard.kernels.contract.Kernels.extract`."""
    payloads = np.empty((len(images), size), np.uint8)
    shape = _shape(images, geometry)
    check(
        lib.dsg_extract(
            _c_geometry(geometry),
            len(images),
            in_buffer(images, shape),
            out_buffer(payloads, payloads.shape),
            size,
        )
    )
    return payloads


def encode(
    clean: Images, target: Images, geometry: Geometry, block: int, *, coarse: bool = False
) -> tuple[Images, Bytes, Lengths, Modes]:
    """See `dsguard.kernels.contract.Kernels.encode`."""
    count, shape = len(clean), _shape(clean, geometry)
    room, places = ffi.new("size_t *"), ffi.new("size_t *")
    check(lib.dsg_exact_sizes(_c_geometry(geometry), block, room, places))
    temporary = np.empty_like(clean)
    sequences = np.empty((count, room[0]), np.uint8)
    lengths, modes = np.empty(count, np.uint32), np.empty(count, np.uint8)
    check(
        lib.dsg_encode(
            _c_geometry(geometry),
            block,
            int(coarse),
            count,
            in_buffer(clean, shape),
            in_buffer(target, shape),
            out_buffer(temporary, shape),
            out_buffer(sequences, sequences.shape),
            room[0],
            _lengths(lengths, count),
            out_buffer(modes, (count,)),
        )
    )
    return temporary, sequences, lengths, modes


def decode(
    temporary: Images, modes: Modes, sequences: Bytes, lengths: Lengths, geometry: Geometry
) -> tuple[Images, Mask]:
    """See `dsguard.kernels.contract.Kernels.decode`."""
    count, shape = len(temporary), _shape(temporary, geometry)
    clean, malformed = np.empty_like(temporary), np.empty(count, np.uint8)
    check(
        lib.dsg_decode(
            _c_geometry(geometry),
            count,
            in_buffer(temporary, shape),
            in_buffer(modes, (count,)),
            in_buffer(sequences, (count, sequences.shape[1])),
            sequences.shape[1],
            _lengths(lengths, count),
            out_buffer(clean, shape),
            out_buffer(malformed, (count,)),
        )
    )
    return clean, malformed.view(np.bool_)


def hide(
    temporary: Images, payloads: Bytes, lengths: Lengths, modes: Modes, geometry: Geometry
) -> tuple[Images, Modes, Bytes, Mask]:
    """See `dsguard.kernels.contract.Kernels.hide`."""
    count, shape = len(temporary), _shape(temporary, geometry)
    hidden, chosen = np.empty_like(temporary), modes.copy()
    thresholds = np.empty((count, lib.DSG_BUCKETS), np.uint8)
    failed = np.empty(count, np.uint8)
    check(
        lib.dsg_hide(
            _c_geometry(geometry),
            count,
            in_buffer(temporary, shape),
            in_buffer(payloads, (count, payloads.shape[1])),
            payloads.shape[1],
            _lengths(lengths, count),
            out_buffer(chosen, (count,)),
            out_buffer(thresholds, thresholds.shape),
            out_buffer(hidden, shape),
            out_buffer(failed, (count,)),
        )
    )
    return hidden, chosen, thresholds, failed.view(np.bool_)


def reveal(
    hidden: Images, modes: Modes, thresholds: Bytes, lengths: Lengths, geometry: Geometry
) -> tuple[Images, Bytes, Mask]:
    """See `dsguard.kernels.contract.Kernels.reveal`."""
    count, shape = len(hidden), _shape(hidden, geometry)
    places = (geometry.height // 2) * (geometry.width // 2)
    longest = int(lengths.max(initial=0))
    payloads = np.empty((count, longest + places // 8 + 1), np.uint8)
    temporary, failed = np.empty_like(hidden), np.empty(count, np.uint8)
    scratch = ffi.new("uint64_t[]", places)
    check(
        lib.dsg_reveal(
            _c_geometry(geometry),
            count,
            in_buffer(hidden, shape),
            in_buffer(modes, (count,)),
            in_buffer(thresholds, (count, lib.DSG_BUCKETS)),
            _lengths(lengths, count),
            out_buffer(payloads, payloads.shape),
            payloads.shape[1],
            out_buffer(temporary, shape),
            scratch,
            out_buffer(failed, (count,)),
        )
    )
    return temporary, payloads[:, :longest], failed.view(np.bool_)


def compress(images: Images) -> tuple[Bytes, Lengths]:
    """See `dsguard.kernels.contract.Kernels.compress`."""
    count, shape = len(images), images.shape[1:]
    room, scratch = _compress_sizes(shape)
    streams, lengths = np.empty((count, room), np.uint8), np.empty(count, np.uint32)
    check(
        lib.dsg_compress(
            _c_image(shape),
            count,
            in_buffer(images, images.shape),
            out_buffer(streams, streams.shape),
            room,
            _lengths(lengths, count),
            scratch,
        )
    )
    return np.ascontiguousarray(streams[:, : int(lengths.max(initial=0))]), lengths


def expand(data: Bytes, lengths: Lengths, shape: tuple[int, int, int]) -> tuple[Images, Mask]:
    """See `dsguard.kernels.contract.Kernels.expand`."""
    count = len(data)
    images, malformed = np.empty((count, *shape), np.uint8), np.empty(count, np.uint8)
    check(
        lib.dsg_expand(
            _c_image(shape),
            count,
            in_buffer(data, data.shape),
            data.shape[1],
            _lengths(lengths, count),
            out_buffer(images, images.shape),
            _compress_sizes(shape)[1],
            out_buffer(malformed, (count,)),
        )
    )
    return images, malformed.view(np.bool_)


def spread(images: Images, payloads: Bytes, masks: Bytes) -> None:
    """See `dsguard.kernels.contract.Kernels.spread`."""
    count, size = payloads.shape
    check(
        lib.dsg_spread(
            masks.size,
            in_buffer(masks, images.shape[1:]),
            count,
            out_buffer(images, (count, *masks.shape)),
            in_buffer(payloads, payloads.shape),
            size,
            size,
        )
    )


def gather(images: Images, size: int, masks: Bytes) -> Bytes:
    """See `dsguard.kernels.contract.Kernels.gather`."""
    payloads = np.empty((len(images), size), np.uint8)
    check(
        lib.dsg_gather(
            masks.size,
            in_buffer(masks, images.shape[1:]),
            len(images),
            in_buffer(images, images.shape),
            out_buffer(payloads, payloads.shape),
            size,
        )
    )
    return payloads


def _compress_sizes(shape: tuple[int, ...]) -> tuple[int, Any]:
    """Return the room for a stream, and work space."""
    room, entries = ffi.new("size_t *"), ffi.new("size_t *")
    check(lib.dsg_compress_sizes(_c_image(shape), room, entries))
    return room[0], ffi.new("uint64_t[]", entries[0])


def _c_image(shape: tuple[int, ...]) -> Any:
    return ffi.new("struct dsg_image *", shape)


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
    check(lib.dsg_set_isa(ffi.NULL if name is None else name.encode()))


def check(status: int) -> None:
    """Raise what a status of the C core means."""
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


def _shape(images: Images, geometry: Geometry) -> tuple[int, ...]:
    return (len(images), geometry.height, geometry.width, geometry.channels)


def _lengths(lengths: Lengths, count: int) -> Any:
    if lengths.dtype != np.uint32 or lengths.shape != (count,):
        msg = f"expected {count} lengths of uint32, got {lengths.dtype} of {lengths.shape}"
        raise InputError(msg)
    return ffi.from_buffer("uint32_t[]", lengths)


def in_buffer(array: Images, shape: tuple[int, ...]) -> Any:
    """Return a pointer to an array that C reads."""
    _check_buffer(array, shape)
    return ffi.from_buffer("uint8_t[]", array)


def out_buffer(array: Images, shape: tuple[int, ...]) -> Any:
    """Return a pointer to an array that C writes."""
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
