"""Codec exact: the payload is hidden reversibly, so restoring gives every bit back.

::

    protect:  encode (mRIT) -> seal (AES-SIV) -> hide (RDH) -> embed header
              where that does not fit, once more with a coarse Sequence; else a sidecar
    restore:  reveal -> decrypt -> decode -> verify

The tag is checked last: it covers the SHA-256 of the clean image, so it fits only an image that
was restored to the last bit.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from dsguard.codecs.associated_data import associated
from dsguard.codecs.base import CHANGED, Codec
from dsguard.codecs.header import HEADER_BYTES, Header, lengths_of, pack_headers
from dsguard.errors import CapacityError, DsguardError, MissingSidecarError, TamperedError
from dsguard.kernels import kernels
from dsguard.kernels.geometry import Geometry
from dsguard.keys import TAG_BYTES, DatasetKey
from dsguard.keys.derived import sealer

if TYPE_CHECKING:
    from dsguard.codecs.base import Keys
    from dsguard.kernels.contract import Bytes, Images, Lengths, Mask, Modes, Shape

EXACT_HEADER_BYTES = HEADER_BYTES + 5
"""The header, and its tail: the mode, and the thresholds of 8 buckets, 4 bits each."""

_LENGTH_MASK = np.uint32(0xFFFFFF)
"""The header's length has 24 bits; above them is the exclusive or of the tail's bytes."""

_LARGEST_LENGTH = int(_LENGTH_MASK)

_BLOCK_AND_PAIRING, _CLASSES = 7, 4


@dataclass(frozen=True)
class Exact(Codec):
    """Blocks of one side, which keep their places or change them by classes; hidden by PEE.

    Attributes
    ----------
    grid : int
        The side of a block: 2, 4 or 8.

    Examples
    --------
    >>> import dsguard, numpy as np
    >>> from dsguard.codecs import codec_named
    >>> key, clean = dsguard.DatasetKey(bytes(32)), np.zeros((1, 32, 32, 3), np.uint8)
    >>> shown = np.full_like(clean, 9)
    >>> out = dsguard.protect_batch(clean, key, target=shown, codec=codec_named("exact"))
    >>> bool((dsguard.restore_batch(out.images, key, sidecars=out.sidecars) == clean).all())
    True
    """

    name: str
    code: int
    grid: int
    wants_likeness: bool = True

    def payload_bytes(self, header: Header, shape: Shape) -> int:
        del shape
        return EXACT_HEADER_BYTES + TAG_BYTES + (header.sealed_bytes & int(_LENGTH_MASK))

    def in_sidecar(self, header: Header) -> bool:
        return header.variant == 1

    def protect(
        self, clean: Images, cover: Images, out: Images, key: DatasetKey
    ) -> dict[int, bytes]:
        """Protect images; one that cannot hold its payload gets a short Sequence, or a sidecar."""
        made = self._attempt(clean, cover, key, coarse=False)
        again = np.flatnonzero(made.failed & (made.raw[:, HEADER_BYTES] & _CLASSES == 0))
        if len(again) and _carries_header(Geometry.of(clean)):
            short = self._attempt(clean[again], cover[again], key, coarse=True)
            better = ~short.failed
            made.images[again[better]] = short.images[better]
            made.failed[again[better]] = False
        out[...] = made.images
        return {int(i): made.sidecar(int(i)) for i in np.flatnonzero(made.failed)}

    def _attempt(self, clean: Images, cover: Images, key: DatasetKey, *, coarse: bool) -> _Attempt:
        run = kernels()
        geometry = Geometry.of(clean)
        temporary, sequences, lengths, modes = run.encode(
            clean, cover, geometry, self.grid, coarse=coarse
        )
        plain = _plain(temporary, sequences, int(lengths.max(initial=0)), geometry)
        lengths = lengths + np.uint32(EXACT_HEADER_BYTES)
        _check_lengths(lengths)
        header = Header(self.code, 0, bytes.fromhex(key.key_id), 0)
        associated = _associated(pack_headers(header, lengths), modes, clean)
        sealed, tags = sealer(key).seal(plain, [associated], lengths)
        payloads = np.concatenate([tags, sealed], axis=1)
        sizes = lengths + np.uint32(TAG_BYTES)
        hidden, modes, thresholds, failed = run.hide(temporary, payloads, sizes, modes, geometry)
        if not _carries_header(geometry):
            hidden, failed = temporary, np.ones(len(clean), bool)
            thresholds[...] = 0
        modes[failed] &= _BLOCK_AND_PAIRING  # nothing was hidden: no weight, no thresholds
        tail = np.concatenate([modes[:, np.newaxis], _pack_thresholds(thresholds)], axis=1)
        marked = lengths | _check_of(tail)
        raw = pack_headers(header, marked)
        raw[failed] = pack_headers(replace(header, variant=1), marked[failed])
        raw = np.concatenate([raw, tail], axis=1)
        if _carries_header(geometry):
            run.embed(hidden, raw, geometry)
        return _Attempt(hidden, raw, payloads, sizes, failed)

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
        geometry, in_sidecar = Geometry.of(protected), self.in_sidecar(header)
        if not (in_sidecar or _carries_header(geometry)):  # by chance, or forged
            return {i: TamperedError(CHANGED) for i in range(len(protected))}
        lengths = lengths_of(raw) & _LENGTH_MASK
        # A forged length must not take memory: a sample hides less than a bit, and a Sequence has
        # less than three bytes for a sample.
        most = protected[:1].size * 3 + 1024 if in_sidecar else protected[:1].size // 8
        sane = (lengths >= EXACT_HEADER_BYTES) & (lengths <= most)
        lengths = np.where(sane, lengths, EXACT_HEADER_BYTES).astype(np.uint32)
        sizes = lengths + np.uint32(TAG_BYTES)
        failures: dict[int, DsguardError] = {}
        if in_sidecar:
            tail, payloads, failures = _from_sidecars(protected, raw, sizes, sidecars, geometry)
            temporary, failed = protected.copy(), np.zeros(len(protected), bool)
        else:
            tail, temporary, payloads, failed = _reveal(protected, sizes, geometry)
        modes = np.ascontiguousarray(tail[:, 0])
        genuine = sane & ~failed & (2 << (modes & 3) == self.grid)
        genuine &= lengths_of(raw) & ~_LENGTH_MASK == _check_of(tail)
        if in_sidecar:
            genuine &= (modes <= _BLOCK_AND_PAIRING) & ~tail[:, 1:].any(axis=1)
        genuine &= _decode(temporary, out, modes, payloads, lengths, raw, key, geometry)
        for i in np.flatnonzero(~genuine):
            failures.setdefault(int(i), TamperedError(CHANGED))
        return failures


def revealed(protected: Images) -> Images:
    """Return images without what is hidden in them, as anybody can; no key is needed."""
    geometry = Geometry.of(protected)
    raw = kernels().extract(protected, HEADER_BYTES, geometry)
    sizes = (lengths_of(raw) & _LENGTH_MASK) + np.uint32(TAG_BYTES)
    _, temporary, _, failed = _reveal(protected, sizes, geometry)
    temporary[failed] = protected[failed]
    return temporary


def _reveal(
    protected: Images, sizes: Lengths, geometry: Geometry
) -> tuple[Bytes, Images, Bytes, Mask]:
    """Return tails of headers, temporary images and payloads, and which images hold none."""
    tail = kernels().extract(protected, EXACT_HEADER_BYTES, geometry)[:, HEADER_BYTES:]
    modes, thresholds = np.ascontiguousarray(tail[:, 0]), _unpack_thresholds(tail[:, 1:])
    return tail, *kernels().reveal(protected, modes, thresholds, sizes, geometry)


def _check_lengths(lengths: Lengths) -> None:
    """Raise CapacityError where a Sequence is longer than a header can say."""
    index = int(lengths.argmax()) if len(lengths) else 0
    if len(lengths) and int(lengths[index]) > _LARGEST_LENGTH:
        msg = (
            f"its Sequence has {lengths[index]:,} bytes, more than the {_LARGEST_LENGTH:,} that a "
            "header can say; split the image, or take a profile with larger blocks"
        )
        needed, available = 8 * int(lengths[index]), 8 * _LARGEST_LENGTH
        raise CapacityError(msg, needed, available, index)


@dataclass
class _Attempt:
    """Protected images, and what would be in their sidecars."""

    images: Images
    raw: Bytes
    payloads: Bytes
    sizes: Lengths
    failed: Mask

    def sidecar(self, index: int) -> bytes:
        size = int(self.sizes[index])
        return bytes(self.raw[index]) + bytes(self.payloads[index, :size])


def _decode(
    temporary: Images,
    out: Images,
    modes: Modes,
    payloads: Bytes,
    lengths: Lengths,
    raw: Bytes,
    key: DatasetKey,
    geometry: Geometry,
) -> Mask:
    """Decrypt, put the header's bits back, decode and verify; false where the tag does not fit."""
    run = kernels()
    tags = np.ascontiguousarray(payloads[:, :TAG_BYTES])
    plain = sealer(key).crypt(payloads[:, TAG_BYTES:], tags)
    if _carries_header(geometry):
        run.embed(temporary, np.ascontiguousarray(plain[:, :EXACT_HEADER_BYTES]), geometry)
    sequences = np.ascontiguousarray(plain[:, EXACT_HEADER_BYTES:])
    restored, malformed = run.decode(
        temporary, modes, sequences, lengths - np.uint32(EXACT_HEADER_BYTES), geometry
    )
    out[...] = restored
    associated = _associated(raw, modes, restored)
    fits: Mask = (sealer(key).tags(plain, [associated], lengths) == tags).all(axis=1)
    return fits & ~malformed


def _from_sidecars(
    protected: Images,
    raw: Bytes,
    sizes: Lengths,
    sidecars: dict[int, bytes],
    geometry: Geometry,
) -> tuple[Bytes, Bytes, dict[int, DsguardError]]:
    """Return mode and thresholds, payloads, and what is wrong with each sidecar."""
    failures: dict[int, DsguardError] = {}
    tail = np.zeros((len(protected), EXACT_HEADER_BYTES - HEADER_BYTES), np.uint8)
    payloads = np.zeros((len(protected), int(sizes.max(initial=TAG_BYTES))), np.uint8)
    carried = None
    if _carries_header(geometry):
        carried = kernels().extract(protected, EXACT_HEADER_BYTES, geometry)
    for i, size in enumerate(sizes.tolist()):
        sidecar = sidecars.get(i)
        if sidecar is None:
            failures[i] = MissingSidecarError(
                "could not hold its payload; give the sidecar that was made with it (image files "
                "have it inside, until another program saves them again)"
            )
            continue
        head, payload = sidecar[:EXACT_HEADER_BYTES], sidecar[EXACT_HEADER_BYTES:]
        expected = raw[i].tobytes() if carried is None else carried[i].tobytes()
        if not head.startswith(expected) or len(payload) != size:
            failures[i] = TamperedError("its sidecar is damaged, or belongs to another image")
            continue
        tail[i] = np.frombuffer(head[HEADER_BYTES:], np.uint8)
        payloads[i, :size] = np.frombuffer(payload, np.uint8)
    return tail, payloads, failures


def _carries_header(geometry: Geometry) -> bool:
    return geometry.plane_bits >= 8 * EXACT_HEADER_BYTES


def _plain(temporary: Images, sequences: Bytes, longest: int, geometry: Geometry) -> Bytes:
    """Return what is sealed: the bits that the header will replace, and the Sequence."""
    plain = np.zeros((len(temporary), EXACT_HEADER_BYTES + longest), np.uint8)
    if _carries_header(geometry):
        plain[:, :EXACT_HEADER_BYTES] = kernels().extract(temporary, EXACT_HEADER_BYTES, geometry)
    plain[:, EXACT_HEADER_BYTES:] = sequences[:, :longest]
    return plain


def _associated(raw: Bytes, modes: Modes, clean: Images) -> Bytes:
    """Return header without its checksum, block and pairing, shape, and SHA-256 of each image."""
    header = raw[:, : HEADER_BYTES - 2].copy()
    # Hiding decides these later, when the Sequence is sealed already.
    header[:, 5] &= 63  # whether the image holds its payload
    header[:, 15] = 0  # the check of the tail
    kept = (modes & np.uint8(_BLOCK_AND_PAIRING)).reshape(-1, 1)
    return associated([header, kept], clean)


def _check_of(tail: Bytes) -> Lengths:
    check: Lengths = np.bitwise_xor.reduce(tail, axis=1).astype(np.uint32) << np.uint32(24)
    return check


def _pack_thresholds(thresholds: Bytes) -> Bytes:
    return thresholds[:, ::2] | thresholds[:, 1::2] << np.uint8(4)


def _unpack_thresholds(packed: Bytes) -> Bytes:
    pairs = np.stack([packed & np.uint8(15), packed >> np.uint8(4)], axis=2)
    return np.ascontiguousarray(pairs.reshape(len(packed), -1))
