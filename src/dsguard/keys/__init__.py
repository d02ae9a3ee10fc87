"""Keys of datasets, and the AES-SIV that they seal with."""

from dsguard.keys.key import DatasetKey, passphrase_of_environment
from dsguard.keys.siv import TAG_BYTES, AesSiv

__all__ = ["TAG_BYTES", "AesSiv", "DatasetKey", "passphrase_of_environment"]
