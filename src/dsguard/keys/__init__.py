"""Keys of datasets and of single images, and the AES-SIV that dataset keys seal with."""

from dsguard.keys.image_keys import ImageKeys, image_key
from dsguard.keys.key import DatasetKey, passphrase_of_environment
from dsguard.keys.siv import TAG_BYTES, AesSiv
from dsguard.keys.source import KeySource

__all__ = [
    "TAG_BYTES",
    "AesSiv",
    "DatasetKey",
    "ImageKeys",
    "KeySource",
    "image_key",
    "passphrase_of_environment",
]
