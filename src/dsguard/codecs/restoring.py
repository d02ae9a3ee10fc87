"""Restoring batches in which every image may have another header: each goes to its codec."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dsguard.codecs import codec_of
from dsguard.codecs.base import CHANGED, of_members
from dsguard.codecs.exact import EXACT_HEADER_BYTES
from dsguard.codecs.header import HEADER_BYTES, MAGIC, Header, whole_headers
from dsguard.errors import DsguardError, TamperedError, WrongKeyError
from dsguard.kernels import kernels
from dsguard.kernels.geometry import Geometry
from dsguard.keys import TAG_BYTES, DatasetKey

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from dsguard.codecs.base import Codec, Keys
    from dsguard.kernels.contract import Bytes, Images

_MAGIC = int.from_bytes(MAGIC, "little")

_KIND_BYTES = 12
"""Bytes of a header that images of one dataset and codec have in common."""


def restore(
    protected: Images, out: Images, key: Keys, sidecars: dict[int, bytes]
) -> tuple[dict[int, DsguardError], list[str]]:
    """Restore images into `out`, zero where that fails; return failures, and names of codecs."""
    failures: dict[int, DsguardError] = {}
    names = [""] * len(protected)
    raw = headers(protected, sidecars)
    for members, header, codec in by_header(raw, key, failures):
        for index in members.tolist():
            names[index] = codec.name
        if min(protected.shape[1:3]) < codec.smallest_side:  # by chance, or forged
            failures |= {int(i): TamperedError(CHANGED) for i in members}
            continue
        failures |= codec.restore_some(members, protected, out, header, raw, key, sidecars)
    out[list(failures)] = 0
    return failures, names


def image_ids(batch: Images, sidecars: dict[int, bytes]) -> list[bytes | None]:
    """Return the id of each image, None where it has none."""
    ids: list[bytes | None] = [None] * len(batch)
    for members, _, found in _ids(batch, sidecars):
        for i, image_id in zip(members, found, strict=True):
            ids[i] = image_id
    return ids


def ids_by_key(batch: Images, sidecars: dict[int, bytes]) -> dict[str, list[bytes]]:
    """Return the ids of images by the id of the dataset key that their headers name."""
    ids: dict[str, list[bytes]] = {}
    for _, header, found in _ids(batch, sidecars):
        known = ids.setdefault(header.key_id.hex(), [])
        known += [image_id for image_id in found if image_id is not None]
    return ids


def _ids(
    batch: Images, sidecars: dict[int, bytes]
) -> Iterator[tuple[list[int], Header, list[bytes | None]]]:
    """Yield places, header and ids of images that have one header; None where one has no id."""
    for members, header, codec in by_header(headers(batch, sidecars), None, {}):
        own = of_members(sidecars, members)
        part = batch if len(members) == len(batch) else batch[members]
        yield members.tolist(), header, codec.image_ids(part, own)


def have_headers(batch: Images) -> npt.NDArray[np.bool_]:
    """Tell which images have a whole header in their pixels; the magic alone is read of others."""
    geometry = Geometry.of(batch)
    if geometry.plane_bits < 8 * HEADER_BYTES:
        return np.zeros(len(batch), np.bool_)
    start = kernels().extract(batch, len(MAGIC), geometry)
    found: npt.NDArray[np.bool_] = start.view("<u4").reshape(-1) == _MAGIC
    if found.any():
        found[found] = whole_headers(headers(batch[found], {}))
    return found


def headers(batch: Images, sidecars: dict[int, bytes]) -> Bytes:
    """Return the first 18 payload bytes of each image, whether they are a header or not.

    An image too small to carry a header has it in its sidecar.
    """
    raw = np.zeros((len(batch), HEADER_BYTES), np.uint8)
    geometry = Geometry.of(batch)
    if geometry.plane_bits >= 8 * HEADER_BYTES:
        raw = kernels().extract(batch, HEADER_BYTES, geometry)
    if geometry.plane_bits < 8 * EXACT_HEADER_BYTES:
        for index, sidecar in sidecars.items():
            if len(sidecar) >= EXACT_HEADER_BYTES + TAG_BYTES:
                raw[index] = np.frombuffer(sidecar[:HEADER_BYTES], np.uint8)
    return raw


def by_header(
    raw: Bytes, key: Keys | None, failures: dict[int, DsguardError]
) -> list[tuple[npt.NDArray[np.intp], Header, Codec]]:
    """Group images by all that their headers say but the length; bad ones go to `failures`."""
    groups = []
    whole = whole_headers(raw)
    for index in np.flatnonzero(~whole):
        try:
            Header.parse(raw[index].tobytes())
        except DsguardError as error:
            failures[int(index)] = error.to_keep()
    good = np.flatnonzero(whole)
    for kind in _alike(raw[good, :_KIND_BYTES]):
        members = good[kind]
        try:
            header = Header.parse(raw[members[0]].tobytes())
            codec = codec_of(header)
            if key is not None:
                _check_key(key, header, codec)
        except DsguardError as error:
            failures |= dict.fromkeys(members.tolist(), error.to_keep())
        else:
            groups.append((members, header, codec))
    return groups


def _check_key(key: Keys, header: Header, codec: Codec) -> None:
    """Raise WrongKeyError where a key does not open what has such a header."""
    if isinstance(key, DatasetKey):
        if header.key_id.hex() != key.key_id:
            own = header.key_id.hex()
            msg = f"was protected under key {own}, not {key.key_id}; give the key {own}"
            raise WrongKeyError(msg)
    elif not codec.has_image_keys:
        msg = f"images of codec {codec.name} have no keys of their own: give the dataset key"
        raise WrongKeyError(msg)


def _alike(rows: Bytes) -> list[npt.NDArray[np.intp]]:
    """Return the positions of equal rows, one array for each kind."""
    if len(rows) == 0:
        return []
    if (rows == rows[0]).all():  # as a rule, and sorting would take as long as restoring
        return [np.arange(len(rows))]
    _, kind, counts = np.unique(rows, axis=0, return_inverse=True, return_counts=True)
    return np.split(np.argsort(kind.reshape(-1), kind="stable"), np.cumsum(counts)[:-1])
