"""Profile paper: the payload replaces the lowest bits, so restoring comes within a grey level.

::

    protect:  transform (mRIT) -> seal (AES-SIV) -> embed (LSB)
    restore:  extract -> open -> invert
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dsguard import envelope
from dsguard.envelope import OVERHEAD_BYTES, DatasetKey, Header
from dsguard.errors import DsguardError, TamperedError
from dsguard.kernels import kernels
from dsguard.mrit import Geometry, neutral_payload, plan

if TYPE_CHECKING:
    import numpy.typing as npt

    from dsguard.kernels.contract import Bytes, Images
    from dsguard.profile import Profile

_CHANGED = "was changed after it was protected; restore from an undamaged copy"


def check_size(height: int, width: int, channels: int, profile: Profile) -> None:
    """Raise CapacityError where images of this size cannot carry their payload."""
    plan(height, width, channels, profile, OVERHEAD_BYTES)


def payload_bytes(header: Header) -> int:
    """Return what an image carries in all: header, tag and what is sealed."""
    return OVERHEAD_BYTES + header.sealed_bytes


def protect(
    clean: Images, target: Images, out: Images, profile: Profile, key: DatasetKey
) -> dict[int, bytes]:
    """Protect a slice of a batch into `out`; no image needs a sidecar."""
    _, height, width, channels = clean.shape
    geometry = plan(height, width, channels, profile, OVERHEAD_BYTES)
    key_id = bytes.fromhex(key.key_id)
    header = Header(profile, geometry.planes - 1, key_id, geometry.sequence_bytes)
    run = kernels()
    _, sequences = run.transform(clean, target, geometry, out)
    run.embed(out, neutral_payload(geometry, OVERHEAD_BYTES + header.sealed_bytes), geometry)
    run.embed(out, envelope.seal(sequences, out, header, key), geometry)
    return {}


def restore(
    protected: Images,
    out: Images,
    header: Header,
    raw: Bytes,
    key: DatasetKey,
    sidecars: dict[int, bytes],
) -> dict[int, DsguardError]:
    """Restore images of one kind of header into `out`; return the failures."""
    del sidecars
    geometry = Geometry.of(protected, header.planes)
    fits = header.planes <= header.profile.max_planes
    fits = fits and 8 * (OVERHEAD_BYTES + geometry.sequence_bytes) <= geometry.capacity_bits
    right = envelope.lengths_of(raw) == geometry.sequence_bytes
    if not (fits and right.all()):
        msg = "was cropped or resized after it was protected; restore from an undamaged copy"
        wrong = np.flatnonzero(~right) if fits else np.arange(len(protected))
        failures: dict[int, DsguardError] = {int(i): TamperedError(msg) for i in wrong}
        good = np.setdiff1d(np.arange(len(protected)), wrong)
        if len(good):
            part = np.empty_like(protected[good])
            rest = restore(protected[good], part, header, raw[good], key, {})
            out[good] = part
            failures |= {int(good[i]): error for i, error in rest.items()}
        return failures
    genuine = _restore(protected, out, geometry, header, key)
    return {int(i): TamperedError(_CHANGED) for i in np.flatnonzero(~genuine)}


def _restore(
    protected: Images, out: Images, geometry: Geometry, header: Header, key: DatasetKey
) -> npt.NDArray[np.bool_]:
    run = kernels()
    size = OVERHEAD_BYTES + header.sealed_bytes
    payloads = run.extract(protected, size, geometry)
    carriers = protected.copy()
    run.embed(carriers, neutral_payload(geometry, size), geometry)
    sequences, genuine = envelope.unseal(payloads, carriers, key)
    _, malformed = run.invert(carriers, sequences, geometry, out)
    return genuine & ~malformed
