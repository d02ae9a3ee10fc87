"""Codecs: how a clean image is carried in a protected one. One file each, and a registry."""

from __future__ import annotations

from dsguard.codecs.base import Codec
from dsguard.codecs.content import CarriesArchiveError, CarriesFileError, File
from dsguard.codecs.exact import Exact
from dsguard.codecs.header import HEADER_BYTES, Header
from dsguard.codecs.paper import Paper
from dsguard.codecs.sealed import Sealed
from dsguard.errors import FormatError, InputError

__all__ = [
    "CODECS", "HEADER_BYTES", "CarriesArchiveError", "CarriesFileError", "Codec", "Exact", "File",
    "Header", "Paper", "Sealed",
    "codec_named", "codec_of",
]  # fmt: skip

CODECS: tuple[Codec, ...] = (
    Exact("exact", 2, 4),
    Exact("exact-fine", 3, 2),
    Exact("exact-coarse", 4, 8),
    Exact("veil", 5, 4, wants_likeness=False),  # whose code says that another image shows
    Paper(),
    Sealed(),
)
"""All codecs. Another one is a file here and a line in this tuple."""

_NAMED = {codec.name: codec for codec in CODECS}
_CODED = {codec.code: codec for codec in CODECS}


def codec_named(name: str | Codec) -> Codec:
    """Return the codec of a name; a codec is returned as it is.

    Raises
    ------
    InputError
        If there is none.

    Examples
    --------
    >>> from dsguard.codecs import codec_named
    >>> codec_named("sealed").restores_every_bit
    True
    """
    if isinstance(name, Codec):
        return name
    if name not in _NAMED:
        msg = f"there is no codec {name!r}; the codecs are: {', '.join(_NAMED)}"
        raise InputError(msg)
    return _NAMED[name]


def codec_of(header: Header) -> Codec:
    """Return the codec that a header names.

    Raises
    ------
    FormatError
        If this version of dsguard does not know it.

    Examples
    --------
    >>> from dsguard.codecs import Header, codec_named, codec_of
    """
    codec = _CODED.get(header.code)
    if codec is None:
        code = header.code
        msg = f"unknown profile code {code}; a newer dsguard wrote this image, update to read it"
        raise FormatError(msg)
    if header.variant >= codec.variants:
        msg = f"has an unknown variant of profile {codec.name}: update dsguard"
        raise FormatError(msg)
    return codec
