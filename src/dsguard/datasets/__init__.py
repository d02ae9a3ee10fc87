"""Image datasets as people have them, read and written in shards."""

from dsguard.datasets.images import (
    LOSSLESS_FORMATS,
    check_output_format,
    decode_image,
    decode_protected,
    encode_image,
    encode_images,
)
from dsguard.datasets.sinks import OUTPUT_FORMATS
from dsguard.datasets.source import Source
from dsguard.datasets.sources import INPUT_FORMATS, open_source

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
