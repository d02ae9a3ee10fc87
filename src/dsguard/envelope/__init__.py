"""Keys, headers and the sealing of Sequences."""

from dsguard.envelope.header import (
    HEADER_BYTES,
    Header,
    lengths_of,
    pack_headers,
    whole_headers,
)
from dsguard.envelope.key import DatasetKey, passphrase_of_environment
from dsguard.envelope.record import OVERHEAD_BYTES, seal, unseal
from dsguard.envelope.siv import TAG_BYTES, AesSiv

__all__ = [
    "HEADER_BYTES",
    "OVERHEAD_BYTES",
    "TAG_BYTES",
    "AesSiv",
    "DatasetKey",
    "Header",
    "lengths_of",
    "pack_headers",
    "passphrase_of_environment",
    "seal",
    "unseal",
    "whole_headers",
]
