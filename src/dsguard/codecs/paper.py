"""Codec paper: the payload replaces the lowest bits, so restoring comes within a grey level.

The method of Xue et al. (arXiv 2109.07921)::

    protect:  transform (mRIT) -> seal (AES-SIV) -> embed (LSB)
    restore:  extract -> open -> invert

The tag covers the carrier: the protected image with its payload bits put to neutral. So any later
change of any sample is noticed when the payload is opened.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from dsguard.codecs.associated_data import associated
from dsguard.codecs.base import CHANGED, Codec
from dsguard.codecs.header import HEADER_BYTES, Header, lengths_of
from dsguard.errors import CapacityError, DsguardError, TamperedError
from dsguard.kernels import kernels
from dsguard.kernels.geometry import Geometry
from dsguard.keys import TAG_BYTES, DatasetKey
from dsguard.keys.derived import sealer

if TYPE_CHECKING:
    from dsguard.codecs.base import Keys
    from dsguard.kernels.contract import Bytes, Images, Mask, Shape

OVERHEAD_BYTES = HEADER_BYTES + TAG_BYTES
"""Bytes of a payload besides the Sequence."""

MOST_PLANES = 2


@dataclass(frozen=True)
class Paper(Codec):
    """Pairing by rank on 4×4 blocks, and LSB replacement in one plane, or in two.

    Each restored sample is within 1 grey level of the clean one, within 2 where two planes carry
    the payload.

    Examples
    --------
    >>> import dsguard, numpy as np
    >>> from dsguard.codecs import codec_named
    >>> key, clean = dsguard.DatasetKey(bytes(32)), np.full((1, 32, 32, 3), 90, np.uint8)
    >>> out = dsguard.protect_batch(clean, key, target=clean.copy(), codec=codec_named("paper"))
    >>> int(abs(dsguard.restore_batch(out.images, key).astype(int) - clean).max()) <= 2
    True
    """

    name: str = "paper"
    code: int = 1
    grid: int = 1  # its recipe is pixel-wise, though pairing by rank carries only part of that
    restores_every_bit: ClassVar[bool] = False
    variants: ClassVar[int] = 4

    def check_size(self, height: int, width: int, channels: int) -> None:
        super().check_size(height, width, channels)
        plan(height, width, channels)

    def payload_bytes(self, header: Header, shape: Shape) -> int:
        del shape
        return OVERHEAD_BYTES + header.sealed_bytes

    def planes(self, header: Header) -> int:
        return header.variant + 1

    def protect(
        self, clean: Images, cover: Images, out: Images, key: DatasetKey
    ) -> dict[int, bytes]:
        geometry = plan(*clean.shape[1:])
        key_id = bytes.fromhex(key.key_id)
        header = Header(self.code, geometry.planes - 1, key_id, geometry.sequence_bytes)
        run = kernels()
        _, sequences = run.transform(clean, cover, geometry, out)
        run.embed(
            out, neutral_payload(geometry, OVERHEAD_BYTES + geometry.sequence_bytes), geometry
        )
        run.embed(out, seal(sequences, out, header, key), geometry)
        return {}

    def restore(
        self,
        protected: Images,
        out: Images,
        header: Header,
        raw: Bytes,
        key: Keys,
        sidecars: dict[int, bytes],
    ) -> dict[int, DsguardError]:
        assert isinstance(key, DatasetKey)
        planes = self.planes(header)
        geometry = Geometry.of(protected, planes)
        fits = lengths_of(raw) == geometry.sequence_bytes
        room = 8 * (OVERHEAD_BYTES + geometry.sequence_bytes) <= geometry.capacity_bits
        fits &= planes <= MOST_PLANES and room
        if not fits.all():
            msg = "was cropped or resized after it was protected; restore from an undamaged copy"
            wrong = np.flatnonzero(~fits).tolist()
            failures: dict[int, DsguardError] = {i: TamperedError(msg) for i in wrong}
            good = np.flatnonzero(fits)
            if len(good):
                failures |= self.restore_some(good, protected, out, header, raw, key, sidecars)
            return failures
        genuine = _restored(protected, out, geometry, key)
        return {i: TamperedError(CHANGED) for i in np.flatnonzero(~genuine).tolist()}


def _restored(protected: Images, out: Images, geometry: Geometry, key: DatasetKey) -> Mask:
    """Restore images into `out`; tell which are genuine."""
    run = kernels()
    size = OVERHEAD_BYTES + geometry.sequence_bytes
    payloads = run.extract(protected, size, geometry)
    carriers = protected.copy()
    run.embed(carriers, neutral_payload(geometry, size), geometry)
    sequences, genuine = unseal(payloads, carriers, key)
    _, malformed = run.invert(carriers, sequences, geometry, out)
    return genuine & ~malformed


@lru_cache(maxsize=256)
def plan(height: int, width: int, channels: int) -> Geometry:
    """Choose the fewest bit planes that carry the payload of an image of this shape.

    Raises
    ------
    CapacityError
        If it does not fit in two.
    """
    for planes in range(1, MOST_PLANES + 1):
        geometry = Geometry(height, width, channels, planes)
        needed = 8 * (geometry.sequence_bytes + OVERHEAD_BYTES)
        if needed <= geometry.capacity_bits:
            return geometry
    msg = (
        f"an image of {height}x{width}x{channels} needs {needed} payload bits and can carry "
        f"{geometry.capacity_bits} in {MOST_PLANES} planes; enlarge it or join several"
    )
    raise CapacityError(msg, needed=needed, available=geometry.capacity_bits)


def neutral_payload(geometry: Geometry, size: int) -> Bytes:
    """Return the payload of `size` bytes that puts every lost value in the middle of its range.

    A sample that lost one bit gets 1, a sample that lost two gets 2, so the restored value is off
    by at most 1 or 2 grey levels.
    """
    payload = np.full(size, 0xFF, np.uint8)
    in_second_plane = size - geometry.plane_bits // 8
    if in_second_plane > 0:
        payload[:in_second_plane] = 0
    return payload


def seal(sequences: Bytes, carriers: Images, header: Header, key: DatasetKey) -> Bytes:
    """Seal Sequences into payloads: header, tag and sealed Sequence, one after the other.

    Parameters
    ----------
    sequences : ndarray of uint8, shape (N, header.sealed_bytes)
    carriers : ndarray of uint8, shape (N, H, W, C)
    header : Header
    key : DatasetKey

    Returns
    -------
    ndarray of uint8, shape (N, OVERHEAD_BYTES + header.sealed_bytes)
    """
    raw = np.frombuffer(header.pack(), np.uint8)
    sealed, tags = sealer(key).seal(sequences, [associated([raw], carriers)])
    payloads = np.empty((len(sequences), OVERHEAD_BYTES + sequences.shape[1]), np.uint8)
    payloads[:, :HEADER_BYTES] = raw
    payloads[:, HEADER_BYTES:OVERHEAD_BYTES] = tags
    payloads[:, OVERHEAD_BYTES:] = sealed
    return payloads


def unseal(payloads: Bytes, carriers: Images, key: DatasetKey) -> tuple[Bytes, Mask]:
    """Open payloads that have one header in common; the inverse of `seal`.

    Returns
    -------
    sequences : ndarray of uint8, shape (N, header.sealed_bytes)
        All zero where the tag does not fit.
    genuine : ndarray of bool, shape (N,)
        False where payload or carrier were changed.
    """
    facts = [payloads[0, :HEADER_BYTES]]
    tags = payloads[:, HEADER_BYTES:OVERHEAD_BYTES]
    return sealer(key).open(payloads[:, OVERHEAD_BYTES:], tags, [associated(facts, carriers)])
