"""Image datasets as people have them: folders, archives of folders, CIFAR pickles."""

from dsguard.datasets.images import (
    LOSSLESS_FORMATS,
    check_output_format,
    decode_image,
    decode_protected,
    encode_image,
    encode_images,
)
from dsguard.datasets.sources import Source, open_source

__all__ = [
    "LOSSLESS_FORMATS",
    "Source",
    "check_output_format",
    "decode_image",
    "decode_protected",
    "encode_image",
    "encode_images",
    "open_source",
]
