"""Secrets made from that of a dataset key, each for one purpose.

They are no part of `DatasetKey`: who seals a text twice with them, or takes the same bytes for two
purposes, tells about the dataset.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from Crypto.Cipher import AES
from Crypto.Hash import SHA256
from Crypto.Protocol.KDF import HKDF

from dsguard.keys.siv import AesSiv

if TYPE_CHECKING:
    from dsguard.keys.key import DatasetKey

_SEED_BYTES = 32
SEALING_KEY_BYTES = 64


def derived(secret: bytes, size: int, context: bytes) -> bytes:
    """Return `size` bytes of HKDF (RFC 5869, SHA-256) for a context."""
    found = HKDF(secret, size, b"", SHA256, context=b"dsguard/v1/" + context)
    assert isinstance(found, bytes)
    return found


@lru_cache(maxsize=4)  # a batch of one image would wait for HKDF longer than for its bits
def sealer(key: DatasetKey) -> AesSiv:
    """Return AES-256-SIV under the sealing key."""
    return AesSiv(derived(key.secret, SEALING_KEY_BYTES, b"seal"))


def randomness(key: DatasetKey, size: int, occasion: bytes) -> bytes:
    """Return `size` secret bytes, the same for the same occasion: AES-256 in counter mode."""
    seed = derived(key.secret, _SEED_BYTES, b"random/" + occasion)
    return AES.new(seed, AES.MODE_CTR, nonce=b"").encrypt(bytes(size))
