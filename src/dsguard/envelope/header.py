"""The header of a protected image: public, readable without a key, 18 bytes."""

from __future__ import annotations

import binascii
import struct
from dataclasses import dataclass

from dsguard.errors import FormatError, NotProtectedError, TamperedError
from dsguard.profile import Profile

MAGIC = b"DSG\xb1"
VERSION = 1
HEADER_BYTES = 18

_LAYOUT = struct.Struct("<4sBB6sIH")
_CHECKED = HEADER_BYTES - 2


@dataclass(frozen=True)
class Header:
    """What a protected image says of itself.

    Attributes
    ----------
    profile : Profile
    planes : int
        Bit planes that the payload may take, 1 or 2.
    key_id : bytes
        6 bytes.
    sequence_bytes : int
        Length of the sealed Sequence, its tag not counted.
    version : int
        Of the format.
    """

    profile: Profile
    planes: int
    key_id: bytes
    sequence_bytes: int
    version: int = VERSION

    def pack(self) -> bytes:
        """Return the 18 bytes of this header."""
        kind = self.profile.code | (self.planes - 1) << 6
        body = _LAYOUT.pack(MAGIC, self.version, kind, self.key_id, self.sequence_bytes, 0)
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
            If it is of a version or profile that this dsguard does not know.
        """
        damage = int.from_bytes(raw[:4], "big") ^ int.from_bytes(MAGIC, "big")
        # One flipped bit of the magic is recognised as damage; a clean image looks like that once
        # in 10^8.
        if damage.bit_count() > 1:
            msg = "carries no dsguard header; it is clean, or was resized or stored lossily"
            raise NotProtectedError(msg)
        if damage or raw[_CHECKED:] != _checksum(raw):
            msg = "its header is damaged; restore from an undamaged copy"
            raise TamperedError(msg)
        _, version, kind, key_id, sequence_bytes, _ = _LAYOUT.unpack(raw)
        if version != VERSION:
            msg = f"has format version {version}, this dsguard reads {VERSION}: update it"
            raise FormatError(msg)
        profile = Profile.coded(kind & 63)
        return cls(profile, (kind >> 6) + 1, key_id, sequence_bytes, version)


def _checksum(raw: bytes) -> bytes:
    """CRC-16/XMODEM of all but the last two bytes, most significant byte first."""
    return binascii.crc_hqx(raw[:_CHECKED], 0).to_bytes(2, "big")
