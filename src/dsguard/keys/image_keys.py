"""Keys of single images: derived from a dataset key, and released one by one.

::

    dataset key -> image id:  HMAC-SHA256 over all that is sealed, 16 bytes; public
                -> image key: HKDF of the image id, 32 bytes
    image key   -> the AES-256 key and the HMAC-SHA256 key of the image

Whoever has the key of an image opens and verifies that image, and learns nothing of other keys.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from Crypto.Cipher import AES

from dsguard.errors import InputError, WrongKeyError
from dsguard.keys.siv import BLOCK, TAG_BYTES

if TYPE_CHECKING:
    from dsguard.keys.key import DatasetKey

IMAGE_ID_BYTES = 16
IMAGE_KEY_BYTES = 32


@dataclass(frozen=True)
class Keyring:
    """What a dataset key says of its images.

    Attributes
    ----------
    id_key, key_key : bytes
        32 bytes each.
    """

    id_key: bytes = field(repr=False)
    key_key: bytes = field(repr=False)

    def image_id(self, *sealed: bytes) -> bytes:
        """Return the id of an image, 16 bytes: the synthetic nonce of all that is sealed."""
        return _digest(self.id_key, sealed)[:IMAGE_ID_BYTES]

    def image_key(self, image_id: bytes) -> bytes:
        """Return the key of an image, 32 bytes."""
        return _expand(self.key_key, b"dsguard/v1/image-key/" + image_id, "sha256")

    def image_keys(self, image_ids: bytes) -> bytes:
        """Return the keys of many images, 32 bytes each, for their ids, 16 bytes each."""
        inner, outer = _begun(self.key_key)
        inner.update(b"dsguard/v1/image-key/")  # alike for all
        keys = []
        for start in range(0, len(image_ids), IMAGE_ID_BYTES):
            own, whole = inner.copy(), outer.copy()
            own.update(image_ids[start : start + IMAGE_ID_BYTES] + b"\x01")  # as in `_expand`
            whole.update(own.digest())
            keys.append(whole.digest())
        return b"".join(keys)


@dataclass(frozen=True)
class ImageKeys:
    """Keys of some images, and nothing else.

    Attributes
    ----------
    keys : mapping of bytes to bytes
        By image id.
    missing : mapping of bytes to str
        By image id, why there is none, where that is known.

    Examples
    --------
    >>> from dsguard.keys import ImageKeys
    >>> ImageKeys({bytes(16): bytes(32)}).image_key(bytes(16)) == bytes(32)
    True
    """

    keys: Mapping[bytes, bytes] = field(repr=False)
    missing: Mapping[bytes, str] = field(default_factory=dict, repr=False)

    def image_key(self, image_id: bytes) -> bytes:
        """Return the key of an image.

        Raises
        ------
        WrongKeyError
            If it was not given.
        """
        found = self.keys.get(image_id)
        if found is None:
            msg = f"no key was given for its image id {image_id.hex()}"
            raise WrongKeyError(self.missing.get(image_id, msg))
        return found


class ImageCipher:
    """Encryption and authentication under the key of one image.

    Parameters
    ----------
    image_key : bytes
        32 bytes. It encrypts one content only, since the id that it was derived from depends on
        all of it: so the counter starts at 0.
    """

    def __init__(self, image_key: bytes) -> None:
        both = _expand(image_key, b"dsguard/v1/image", "sha512")
        self._encryption_key, self._tag_key = both[:32], both[32:]

    def keystream(self, counters: bytes) -> bytes:
        """Return AES-256 of counter blocks: XOR with it encrypts, and decrypts."""
        return AES.new(self._encryption_key, AES.MODE_ECB).encrypt(counters)

    def crypted(self, data: bytes) -> bytes:
        """Encrypt or decrypt what is long: as with `keystream`, in less memory."""
        return AES.new(self._encryption_key, AES.MODE_CTR, nonce=b"", initial_value=0).encrypt(data)

    def tag(self, *message: bytes | memoryview) -> bytes:
        """Return the tag of a message, in pieces, 16 bytes."""
        return _digest(self._tag_key, message)[:TAG_BYTES]


_LONG = 1 << 20
_HASH_BLOCK = 64


def _begun(key: bytes) -> tuple[hashlib._Hash, hashlib._Hash]:
    """Return both hashes of HMAC-SHA256 (RFC 2104) after a key of one block at most.

    Copies of these cost half as much as copies of what `hmac` has.
    """
    block = key.ljust(_HASH_BLOCK, b"\0")
    inner, outer = (bytes(byte ^ pad for byte in block) for pad in (0x36, 0x5C))
    return hashlib.sha256(inner), hashlib.sha256(outer)


def _digest(key: bytes, pieces: Sequence[bytes | memoryview]) -> bytes:
    """Return the HMAC-SHA256 of all pieces together; long ones are not copied for it."""
    if sum(map(len, pieces)) < _LONG:
        return hmac.digest(key, b"".join(pieces), "sha256")
    begun = hmac.new(key, digestmod="sha256")
    for piece in pieces:
        begun.update(piece)
    return begun.digest()


def counters_for(size: int) -> bytes:
    """Return the counter blocks 0, 1, ... for so many bytes of keystream, 16 bytes each."""
    blocks = -(-size // BLOCK)
    counters = np.zeros((blocks, BLOCK // 8), ">u8")
    counters[:, -1] = np.arange(blocks)
    return counters.tobytes()


def image_key(key: DatasetKey, image_id: bytes) -> bytes:
    """Return the key of one image of codec ``sealed``: it restores that image and no other.

    Parameters
    ----------
    key : DatasetKey
        The key that the image was protected under.
    image_id : bytes
        16 bytes, as `dsguard.inspect` and `dsguard.image_ids` tell.

    Returns
    -------
    bytes
        32 bytes; for ``restore_batch(images, image_keys=...)``.

    Raises
    ------
    InputError
        If `image_id` is none.

    Examples
    --------
    >>> import dsguard
    >>> key = dsguard.DatasetKey(bytes(32))
    >>> dsguard.image_key(key, bytes(16)).hex()[:16]
    '43079a27c55bdd42'
    """
    if not hasattr(key, "keyring"):
        msg = f"key: expected a DatasetKey, got {type(key).__name__}"
        raise InputError(msg)
    return key.keyring.image_key(bytes_of_size(image_id, IMAGE_ID_BYTES, "an image id"))


def checked_image_keys(keys: Mapping[bytes, bytes]) -> ImageKeys:
    """Return image keys, by image id.

    Raises
    ------
    InputError
        If one of them, or its id, is not made of as many bytes as it should.
    """
    return ImageKeys({
        bytes_of_size(image_id, IMAGE_ID_BYTES, "an image id"):
            bytes_of_size(key, IMAGE_KEY_BYTES, "an image key")
        for image_id, key in keys.items()
    })  # fmt: skip


def bytes_of_size(value: object, size: int, what: str) -> bytes:
    """Return something as bytes, if it is made of so many.

    Raises
    ------
    InputError
        If it is not.
    """
    found = bytes(value) if isinstance(value, bytes | bytearray | memoryview) else None
    if found is None or len(found) != size:
        length = "" if found is None else f" of {len(found)}"
        msg = f"{what} is made of {size} bytes, not {type(value).__name__}{length}"
        raise InputError(msg)
    return found


def _expand(key: bytes, info: bytes, digest: str) -> bytes:
    """HKDF-Expand (RFC 5869) of one block: 32 bytes of SHA-256, 64 of SHA-512."""
    return hmac.digest(key, info + b"\x01", digest)
