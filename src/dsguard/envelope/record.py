"""Payloads: a batch of Sequences sealed together with what they belong to.

A payload is header, tag and sealed Sequence, one after the other. The tag also covers the shape of
the image and every bit of it that is not payload, so that any later change of any sample is noticed
when the payload is opened.
"""

from __future__ import annotations

import hashlib
import struct
from typing import TYPE_CHECKING

import numpy as np

from dsguard.envelope.header import HEADER_BYTES, Header
from dsguard.envelope.siv import TAG_BYTES

if TYPE_CHECKING:
    from dsguard.envelope.key import DatasetKey
    from dsguard.kernels.contract import Bytes, Images, Mask

OVERHEAD_BYTES = HEADER_BYTES + TAG_BYTES
"""What a payload has besides the Sequence."""

_SHAPE = struct.Struct("<III")


def seal(sequences: Bytes, carriers: Images, header: Header, key: DatasetKey) -> Bytes:
    """Seal Sequences into payloads.

    Parameters
    ----------
    sequences : ndarray of uint8, shape (N, header.sealed_bytes)
    carriers : ndarray of uint8, shape (N, H, W, C)
        The images that will carry them, their payload bits neutral.
    header : Header
    key : DatasetKey

    Returns
    -------
    ndarray of uint8, shape (N, OVERHEAD_BYTES + header.sealed_bytes)
    """
    raw = np.frombuffer(header.pack(), np.uint8)
    sealed, tags = key.sealer.seal(sequences, [_associated(raw, carriers)])
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
    associated = _associated(payloads[0, :HEADER_BYTES], carriers)
    tags = payloads[:, HEADER_BYTES:OVERHEAD_BYTES]
    return key.sealer.open(payloads[:, OVERHEAD_BYTES:], tags, [associated])


def _associated(header: Bytes, carriers: Images) -> Bytes:
    """Return header, shape (height, width, channels) and SHA-256 of each carrier, side by side."""
    shape = np.frombuffer(_SHAPE.pack(*carriers.shape[1:]), np.uint8)
    digests = b"".join(hashlib.sha256(carrier).digest() for carrier in carriers)
    public = np.concatenate([header, shape])
    associated = np.empty((len(carriers), len(public) + 32), np.uint8)
    associated[:, : len(public)] = public
    associated[:, len(public) :] = np.frombuffer(digests, np.uint8).reshape(-1, 32)
    return associated
