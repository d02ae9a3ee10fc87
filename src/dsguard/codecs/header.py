"""The header of a protected image: public, readable without a key, 18 bytes."""

from __future__ import annotations

import binascii
import struct
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dsguard.errors import FormatError, NotProtectedError, TamperedError

MAGIC = b"DSG\xb1"
VERSION = 1
HEADER_BYTES = 18

_LAYOUT = struct.Struct("<4sBB6sIH")
_CHECKED = HEADER_BYTES - 2
_LENGTH = slice(12, 16)


@dataclass(frozen=True)
class Header:
    """The public facts that a protected image carries.

    Attributes
    ----------
    code : int
        Of the codec, 1 to 63.
    variant : int
        Two bits for the codec.
    key_id : bytes
        6 bytes.
    sealed_bytes : int
        Length of what is sealed, its tag not counted.
    version : int
        Of the format.

    Examples
    --------
    >>> from dsguard.codecs import Header, codec_named
    >>> header = Header(codec_named("sealed").code, 0, bytes(6), sealed_bytes=100)
    >>> len(header.pack()), Header.parse(header.pack()) == header
    (18, True)
    """

    code: int
    variant: int
    key_id: bytes
    sealed_bytes: int
    version: int = VERSION

    def pack(self) -> bytes:
        """Return the 18 bytes of this header."""
        kind = self.code | self.variant << 6
        body = _LAYOUT.pack(MAGIC, self.version, kind, self.key_id, self.sealed_bytes, 0)
        return body[:_CHECKED] + _checksum(body)

    @classmethod
    def parse(cls, raw: bytes) -> Header:
        """Read a header.

        Raises
        ------
        NotProtectedError
            If there is none.
        TamperedError
            If there was one and it is damaged.
        FormatError
            If it is of a version that this dsguard does not know.
        """
        damage = int.from_bytes(raw[:4], "big") ^ int.from_bytes(MAGIC, "big")
        # One flipped bit of the magic is recognised as damage; a clean image looks like that once
        # in 10^8.
        if damage.bit_count() > 1:
            msg = (
                "carries no dsguard header; it is clean, was resized or stored lossily, or is so "
                "small that its header is in its sidecar"
            )
            raise NotProtectedError(msg)
        if damage or raw[_CHECKED:] != _checksum(raw):
            msg = "its header is damaged; restore from an undamaged copy"
            raise TamperedError(msg)
        _, version, kind, key_id, sealed_bytes, _ = _LAYOUT.unpack(raw)
        if version != VERSION:
            msg = f"has format version {version}, this dsguard reads {VERSION}: update it"
            raise FormatError(msg)
        return cls(kind & 63, kind >> 6, key_id, sealed_bytes, version)


def pack_headers(header: Header, lengths: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint8]:
    """Return a header for each of several lengths, shape (N, 18)."""
    raw = np.tile(np.frombuffer(header.pack(), np.uint8), (len(lengths), 1))
    raw[:, _LENGTH] = lengths.astype("<u4").view(np.uint8).reshape(-1, 4)
    raw[:, _CHECKED:] = _checksums(raw)
    return raw


def whole_headers(raw: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """Tell which rows of 18 bytes are undamaged headers, of whatever version."""
    magic = np.frombuffer(MAGIC, np.uint8)
    whole: npt.NDArray[np.bool_] = (raw[:, : len(MAGIC)] == magic).all(axis=1)
    whole &= (raw[:, _CHECKED:] == _checksums(raw)).all(axis=1)
    return whole


def lengths_of(raw: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint32]:
    """Return what headers say of the length of what is sealed."""
    lengths: npt.NDArray[np.uint32] = raw[:, _LENGTH].copy().view("<u4").reshape(-1)
    return lengths.astype(np.uint32)


def _checksum(raw: bytes) -> bytes:
    """CRC-16/XMODEM of all but the last two bytes, most significant byte first."""
    return binascii.crc_hqx(raw[:_CHECKED], 0).to_bytes(2, "big")


def _checksums(raw: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """`_checksum` of each row."""
    if len(raw) <= _FEW:
        each = b"".join(_checksum(row.tobytes()) for row in raw)
        return np.frombuffer(each, np.uint8).reshape(-1, 2)
    crc = np.zeros(len(raw), np.uint16)
    for column in range(_CHECKED):
        crc = crc << np.uint16(8) ^ _CRC_TABLE[crc >> np.uint16(8) ^ raw[:, column]]
    return crc.astype(">u2").view(np.uint8).reshape(-1, 2)


_FEW = 64
"""Rows that are faster one by one."""

_CRC_TABLE = np.array([binascii.crc_hqx(bytes([byte]), 0) for byte in range(256)], np.uint16)
