"""Keys, headers and the sealing of Sequences."""

from dsguard.envelope.header import (
    HEADER_BYTES,
    Header,
    lengths_of,
    pack_headers,
    whole_headers,
)
from dsguard.envelope.key import DatasetKey
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
    "seal",
    "unseal",
    "whole_headers",
]
