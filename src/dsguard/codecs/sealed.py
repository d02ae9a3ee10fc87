"""Codec sealed: nothing of the clean image is left but ciphertext in the low bits of its cover.

::

    protect:  code without loss -> id (HMAC) -> image key (HKDF) -> encrypt (AES-CTR)
              -> spread over low bits -> embed header, id and tag (HMAC)
    restore:  read id -> image key -> verify tag -> gather -> decrypt -> decode

All images of a run carry the same number of bits per sample, however well they compress. The tag
covers every bit of the protected image, and of its sidecar.
"""

from __future__ import annotations

import hmac
import math
import struct
from bisect import bisect_left
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from dsguard._opaque import over_white
from dsguard.codecs.base import CHANGED, Codec
from dsguard.codecs.content import (
    HEAD_BYTES,
    MALFORMED,
    MOST_CONTENT_BYTES,
    File,
    content_size,
    contents_of,
    lengths_in,
    restore_contents,
    stated_size,
)
from dsguard.codecs.header import HEADER_BYTES, Header, lengths_of
from dsguard.errors import DsguardError, InputError, MissingSidecarError, TamperedError
from dsguard.kernels import kernels
from dsguard.kernels.geometry import Geometry
from dsguard.keys import TAG_BYTES, DatasetKey
from dsguard.keys.image_keys import IMAGE_ID_BYTES, ImageCipher, counters_for

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dsguard.codecs.base import Keys
    from dsguard.kernels.contract import Bytes, Images, Shape

FRONT_BYTES = HEADER_BYTES + IMAGE_ID_BYTES + TAG_BYTES
"""Header, image id and tag: in the lowest bit of the first samples."""

RATE = 36
"""Bits per sample, in eighths, where no set was looked at: 32 dB to the cover."""

RATE_OF_FITTED = 40
"""The same where covers are fitted to files: 29 dB. PNG files hold whole bits best."""

LEAST_RATE, MOST_RATE, MOST_FITTED = 8, 64, 48

_LEAST_SIDE = 16
"""Of covers that are made for a file: a picture can still be seen in it."""

_MOST_OBLONG = 8
"""So many times as long as wide such a cover is at most, or as wide as long."""

_ID = slice(HEADER_BYTES, HEADER_BYTES + IMAGE_ID_BYTES)
_TAG = slice(HEADER_BYTES + IMAGE_ID_BYTES, FRONT_BYTES)

_SHAPE = struct.Struct("<III")

_LEAST_SIDECAR = 256
"""Bytes that a sidecar carries at least; more are a power of two, so they tell little."""

_NO_SIDECAR = "does not hold all of its image: give its sidecar, or an undamaged copy"

_FOREIGN = "has the sidecar of another image, or one that was changed; restore from another copy"


@dataclass(frozen=True)
class Sealed(Codec):
    """The encrypted image in the low bits of a cover, whatever that shows.

    Attributes
    ----------
    rate : int or None
        Bits per colour sample, in eighths, 8 to 64. Values are off their cover by about
        2^(rate / 8) / √12 grey levels. None: fitted to a dataset where one is protected, else 36.

    Examples
    --------
    >>> import numpy as np, dsguard
    >>> from dsguard.codecs import Sealed
    >>> clean, key = np.full((1, 32, 32, 3), 90, np.uint8), dsguard.DatasetKey(bytes(32))
    >>> done = dsguard.protect_batch(clean, key, codec=Sealed(rate=16))
    >>> dsguard.inspect(done.images[0]).planes
    2
    """

    rate: int | None = None
    name: str = "sealed"
    code: int = 6
    grid: int = 1
    wants_likeness: bool = False
    smallest_side: ClassVar[int] = 1
    variants: ClassVar[int] = 1
    has_image_keys: ClassVar[bool] = True
    carries_files: ClassVar[bool] = True
    shows_cover_alone: ClassVar[bool] = True

    def __post_init__(self) -> None:
        rate = RATE if self.rate is None else self.rate
        if type(rate) is not int or not LEAST_RATE <= rate <= MOST_RATE:
            msg = f"rate is a whole number of {LEAST_RATE} to {MOST_RATE}, not {self.rate!r}"
            raise InputError(msg)

    def payload_bytes(self, header: Header, shape: Shape) -> int:
        return FRONT_BYTES + Layout.of(shape, _rate_in(header)).room

    def planes(self, header: Header) -> int:
        return -(-_rate_in(header) // 8)

    def settings(self) -> dict[str, str]:
        return {**super().settings(), "rate": str(self._rate)}

    @property
    def _rate(self) -> int:
        return RATE if self.rate is None else self.rate

    @property
    def is_fitted(self) -> bool:
        return self.rate is not None

    def fitted_to(self, needed: Iterable[int], part: float = 0.999) -> Sealed:
        """Return this codec with the lowest rate that holds a part of what rates are needed."""
        needed = sorted(rate for rate in needed if rate <= MOST_RATE)
        if not needed:
            return self
        rate = needed[math.ceil(part * len(needed)) - 1]
        return replace(self, rate=min(rate, MOST_FITTED))

    def fitted(self, sample: Iterable[Images], part: float = 0.999) -> Sealed:
        """Return this codec with the lowest rate that holds a part of some images; 48 at most.

        At 6 bits of 8, little is left of a cover. Images that fit no rate are not counted.

        Parameters
        ----------
        sample : iterable of Images
            Batches, each of one shape.
        part : float
            Of the images, 0 to 1; the others get sidecars.
        """
        return self.fitted_to((rate for images in sample for rate in rates_of(images)), part)

    def as_earlier(self, settings: Mapping[str, str]) -> Sealed:
        """Return this codec with the rate that an earlier run had."""
        told = settings.get("rate", "")
        known = told.isdecimal() and len(told) <= 2 and LEAST_RATE <= int(told) <= MOST_RATE
        return replace(self, rate=int(told)) if known else self

    def protect(
        self, clean: Images, cover: Images, out: Images, key: DatasetKey
    ) -> dict[int, bytes]:
        return self.protect_files(clean, cover, out, key, {})

    def protect_files(
        self,
        clean: Images,
        cover: Images,
        out: Images,
        key: DatasetKey,
        files: Mapping[int, File],
    ) -> dict[int, bytes]:
        layout = Layout.of(clean.shape[1:], self._rate)
        header = Header(self.code, 0, bytes.fromhex(key.key_id), self._rate).pack()
        plain = [
            content.ljust(layout.size_with_sidecar(len(content)), b"\0")
            for content in contents_of(clean, files)
        ]
        fronts = np.zeros((len(clean), FRONT_BYTES), np.uint8)
        fronts[:, :HEADER_BYTES] = np.frombuffer(header, np.uint8)
        known, ring, ciphers = header + layout.packed_shape, key.keyring, []
        for front, content in zip(fronts, plain, strict=True):
            image_id = ring.image_id(known, content)
            front[_ID] = np.frombuffer(image_id, np.uint8)
            ciphers.append(ImageCipher(ring.image_key(image_id)))
        sealed = _crypt(plain, ciphers)
        del plain
        tails = [data[layout.room :] for data in sealed]
        carried = b"".join(data[: layout.room] for data in sealed)
        del sealed
        layout.show(cover, out)
        payloads = np.frombuffer(carried, np.uint8).reshape(len(clean), layout.room)
        kernels().spread(out, payloads, layout.masks)
        layout.embed(out, fronts)
        for i, cipher in enumerate(ciphers):
            tag = cipher.tag(*_message(fronts[i].tobytes(), layout, out[i], tails[i]))
            fronts[i, _TAG] = np.frombuffer(tag, np.uint8)
        layout.embed(out, fronts)
        return {i: fronts[i].tobytes() + tail for i, tail in enumerate(tails) if tail}

    def restore(
        self,
        protected: Images,
        out: Images,
        header: Header,
        raw: Bytes,
        key: Keys,
        sidecars: dict[int, bytes],
    ) -> dict[int, DsguardError]:
        failures: dict[int, DsguardError] = {}
        rates = lengths_of(raw)
        for rate in np.unique(rates).tolist():
            members = np.flatnonzero(rates == rate)
            if not LEAST_RATE <= rate <= MOST_RATE:
                failures |= {int(i): TamperedError(CHANGED) for i in members}
            elif len(members) < len(rates):
                alike = replace(header, sealed_bytes=rate)
                failures |= self.restore_some(members, protected, out, alike, raw, key, sidecars)
            else:
                layout = Layout.of(protected.shape[1:], rate)
                failures = _opened(protected, out, layout, key, sidecars)
        return failures

    def smallest_cover(self, size: int, like: Shape) -> Shape:
        height, width, channels = like
        colours = min(channels, 3)
        samples = max(8 * FRONT_BYTES, -(-64 * (size + FRONT_BYTES) // self._rate))
        pixels = -(-samples // colours)
        steep = min(max(height / width, 1 / _MOST_OBLONG), _MOST_OBLONG)
        across = _rounded(max(_LEAST_SIDE, math.sqrt(pixels / steep)))
        down = _rounded(max(_LEAST_SIDE, pixels / across))
        while Layout((down, across, colours), self._rate).room < size:
            down += 1  # the front lies in whole blocks alone
        return down, across, colours

    def image_ids(self, protected: Images, sidecars: dict[int, bytes]) -> list[bytes | None]:
        layout = Layout.of(protected.shape[1:], RATE)
        return [front and front[_ID] for front in layout.fronts(protected, sidecars)]


def _rounded(side: float) -> int:
    """Return a whole side that is longer by less than a sixteenth: so many covers have one shape.

    Those of one shape are worked on together, and the shape tells a little less of the size.
    """
    step = 1 << max(0, int(side).bit_length() - 5)
    return -(-math.ceil(side) // step) * step


def _rate_in(header: Header) -> int:
    """Return the rate that a header tells.

    Raises
    ------
    TamperedError
        If there is no such rate: somebody has made that header.
    """
    if not LEAST_RATE <= header.sealed_bytes <= MOST_RATE:
        raise TamperedError(CHANGED)
    return header.sealed_bytes


def _opened(
    protected: Images, out: Images, layout: Layout, key: Keys, sidecars: dict[int, bytes]
) -> dict[int, DsguardError]:
    """Restore images of one rate; return by index why one could not be."""
    fronts = layout.fronts(protected, sidecars)
    bare = layout.bare(protected, fronts)
    sealed = kernels().gather(protected, layout.room, layout.masks)
    ciphers: dict[int, ImageCipher] = {}
    failures: dict[int, DsguardError] = {}
    longest = layout.size_with_sidecar(MOST_CONTENT_BYTES)
    tails = {i: sidecar[FRONT_BYTES:] for i, sidecar in sidecars.items()}
    finder = key.keyring if isinstance(key, DatasetKey) else key
    for i, front in enumerate(fronts):
        try:
            if front is None:
                raise MissingSidecarError(_NO_SIDECAR)
            if sidecars.get(i, front)[:FRONT_BYTES] != front or len(tails.get(i, b"")) > longest:
                raise TamperedError(_FOREIGN)
            cipher = ImageCipher(finder.image_key(front[_ID]))
            _verify(front, bare[i], sealed[i], tails.get(i, b""), layout, cipher)
            ciphers[i] = cipher
        except DsguardError as error:
            of_key = error.message == CHANGED and finder is key
            failures[i] = TamperedError(_OTHER_KEY) if of_key else error.to_keep()
    del bare
    data = [b"".join((sealed[i].data, tails.get(i, b""))) for i in ciphers]
    del sealed, tails
    contents = dict(zip(ciphers, _crypt(data, list(ciphers.values())), strict=True))
    del data
    for i, content in list(contents.items()):
        if len(content) != layout.size_with_sidecar(content_size(content)):
            failures[i] = TamperedError(MALFORMED)
            del contents[i]
    if isinstance(key, DatasetKey):  # whoever has the key of an image alone can forge its tag
        for i, content in list(contents.items()):
            front = fronts[i] or b""
            known = front[:HEADER_BYTES] + layout.packed_shape
            if not hmac.compare_digest(key.keyring.image_id(known, content), front[_ID]):
                failures[i] = TamperedError(_FORGED)
                del contents[i]
    return failures | restore_contents(contents, out, layout.shape)


_OTHER_KEY = "does not open: it was changed, or the key that was given for it is of another image"

_FORGED = "was made by somebody who has the key of this image, but not that of the dataset"


def _verify(
    front: bytes, bare: Images, sealed: Bytes, tail: bytes, layout: Layout, cipher: ImageCipher
) -> None:
    """Raise an error where the tag of an image does not fit."""
    untagged = front[: _TAG.start] + bytes(TAG_BYTES)
    if hmac.compare_digest(cipher.tag(*_message(untagged, layout, bare, tail)), front[_TAG]):
        return
    if not tail and layout.room >= HEAD_BYTES:
        (head,) = _crypt([sealed[:HEAD_BYTES].tobytes()], [cipher])
        if layout.room < stated_size(head, bare.size):
            raise MissingSidecarError(_NO_SIDECAR)
    raise TamperedError(CHANGED)


def _crypt(data: list[bytes], ciphers: list[ImageCipher]) -> list[bytes]:
    """Encrypt or decrypt, each with its own cipher."""
    out = [b""] * len(data)
    for size in set(map(len, data)):  # nearly all are of one size
        members = [i for i, each in enumerate(data) if len(each) == size]
        if size > _LONG:
            for i in members:
                out[i] = ciphers[i].crypted(data[i])
            continue
        counters = counters_for(size)
        streams = b"".join(ciphers[i].keystream(counters)[:size] for i in members)
        joined = b"".join(data[i] for i in members)
        crypted = np.frombuffer(streams, np.uint8) ^ np.frombuffer(joined, np.uint8)
        for i, row in zip(members, crypted.reshape(len(members), size), strict=True):
            out[i] = row.tobytes()
    return out


_LONG = 1 << 18
"""Bytes from which on one content is worked on alone, so as not to hold it several times."""


def _message(
    front: bytes, layout: Layout, image: Images, tail: bytes
) -> tuple[bytes | memoryview, ...]:
    """Return all that the tag of an image covers; the bits of the tag itself are 0 in it."""
    return front, layout.packed_shape, image.reshape(-1).data, tail


def rates_of(images: Images) -> list[int]:
    """Return the least rate that holds each image, in eighths of a bit; 65 where none does."""
    return [rate_for(images.shape[1:], size) for size in lengths_in(images)]


def rate_for(shape: Shape, size: int) -> int:
    """Return the least rate at which an image of this shape holds so many bytes; 65 if none."""
    return LEAST_RATE + bisect_left(_rooms(shape), size)


@lru_cache(maxsize=64)
def _rooms(shape: Shape) -> list[int]:
    """Return how many bytes images of a shape hold at each rate."""
    return [Layout(shape, rate).room for rate in range(LEAST_RATE, MOST_RATE + 1)]


@dataclass(frozen=True)
class Layout:
    """Where images of one shape carry what is sealed in them, at one rate.

    Attributes
    ----------
    shape : tuple of int
        Height, width, channels.
    rate : int
    """

    shape: Shape
    rate: int

    @staticmethod
    def of(shape: Shape, rate: int) -> Layout:
        """Return the layout of a shape, which keeps what it has made, if that is not large."""
        samples = math.prod(shape)
        if samples > _LARGE:  # of which each may have another shape
            return Layout(shape, rate)
        return (_kept_small if samples <= _SMALL else _kept)(shape, rate)

    @cached_property
    def geometry(self) -> Geometry:
        """Return where a header lies."""
        return Geometry(*self.shape, 1)

    @cached_property
    def front_bytes(self) -> int:
        """Return how much of the front an image has room for: all, the header alone, or nothing."""
        bits = self.geometry.plane_bits
        fits = (size for size in (FRONT_BYTES, HEADER_BYTES) if 8 * size <= bits)
        return next(fits, 0)

    @cached_property
    def masks(self) -> Bytes:
        """Return which low bits of each sample carry ciphertext."""
        width, colours = self.shape[1], self.geometry.colours
        masks = np.zeros(self.shape, np.uint8)
        if self.front_bytes == FRONT_BYTES:
            ends = np.arange(9) * self.rate // 8
            low = np.uint8((1 << np.diff(ends)) - 1)
            for first, row in enumerate(np.resize(low, (8, width, colours))):
                masks[first::8, :, :colours] = row  # of which the ninth begins as the first
            front = np.zeros((1, *self.shape), np.uint8)
            kernels().embed(front, np.full((1, FRONT_BYTES), 255, np.uint8), self.geometry)
            masks &= np.invert(front[0], out=front[0])
        return masks

    @cached_property
    def room(self) -> int:
        """Return how many bytes of ciphertext an image holds."""
        if self.front_bytes < FRONT_BYTES:
            return 0
        height, width, _ = self.shape
        samples = height * width * self.geometry.colours
        return (samples * self.rate // 8 - 8 * FRONT_BYTES) // 8

    @cached_property
    def packed_shape(self) -> bytes:
        """Return the shape as bytes."""
        return _SHAPE.pack(*self.shape)

    def size_with_sidecar(self, size: int) -> int:
        """Return how many bytes a content is filled up to: the room, and a step of a sidecar."""
        if size <= self.room:
            return self.room
        over = max(_LEAST_SIDECAR, size - self.room)
        return self.room + (1 << (over - 1).bit_length())

    def show(self, cover: Images, out: Images) -> None:
        """Write covers as they are seen: alpha is opaque, that of the image is sealed with it."""
        out[...] = over_white(cover)

    def embed(self, images: Images, fronts: Bytes) -> None:
        """Write as much of the fronts into images as they have room for."""
        if self.front_bytes:
            part = np.ascontiguousarray(fronts[:, : self.front_bytes])
            kernels().embed(images, part, self.geometry)

    def fronts(self, protected: Images, sidecars: dict[int, bytes]) -> list[bytes | None]:
        """Return the front of each image; None where it has no room for it, and no sidecar."""
        if self.front_bytes < FRONT_BYTES:
            own = (sidecars.get(i, b"")[:FRONT_BYTES] for i in range(len(protected)))
            return [front if len(front) == FRONT_BYTES else None for front in own]
        extracted = kernels().extract(protected, FRONT_BYTES, self.geometry)
        return [front.tobytes() for front in extracted]

    def bare(self, protected: Images, fronts: list[bytes | None]) -> Images:
        """Return images, whose fronts these are, with the bits of their tags at 0."""
        if self.front_bytes < FRONT_BYTES:
            return protected
        untagged = np.frombuffer(b"".join(filter(None, fronts)), np.uint8).copy()
        untagged = untagged.reshape(len(protected), FRONT_BYTES)
        untagged[:, _TAG] = 0
        bare = protected.copy()
        self.embed(bare, untagged)
        return bare


_SMALL = 1 << 18
"""Samples of images whose layouts are kept, however many shapes a batch has: 64 MiB of masks."""

_LARGE = 1 << 22
"""The same, of eight shapes: 32 MiB."""

_kept = lru_cache(maxsize=8)(Layout)
_kept_small = lru_cache(maxsize=256)(Layout)
