"""Image datasets as people have them, read and written in shards."""

from dsguard.formats.base import Source
from dsguard.formats.detect import INPUT_FORMATS, open_source
from dsguard.formats.images import (
    LOSSLESS_FORMATS,
    check_output_format,
    decode_image,
    decode_protected,
    encode_image,
    encode_images,
)
from dsguard.formats.writers import OUTPUT_FORMATS

__all__ = [
    "INPUT_FORMATS",
    "LOSSLESS_FORMATS",
    "OUTPUT_FORMATS",
    "Source",
    "check_output_format",
    "decode_image",
    "decode_protected",
    "encode_image",
    "encode_images",
    "open_source",
]
