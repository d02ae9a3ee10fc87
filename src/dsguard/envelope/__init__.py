"""Keys, headers and the sealing of Sequences."""

from dsguard.envelope.header import HEADER_BYTES, Header
from dsguard.envelope.key import DatasetKey
from dsguard.envelope.record import OVERHEAD_BYTES, seal, unseal
from dsguard.envelope.siv import AesSiv

__all__ = [
    "HEADER_BYTES",
    "OVERHEAD_BYTES",
    "AesSiv",
    "DatasetKey",
    "Header",
    "seal",
    "unseal",
]
