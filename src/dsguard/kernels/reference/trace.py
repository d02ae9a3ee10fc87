"""Traces of PNG files in plain Python: all that an encoder chose when it wrote a zlib stream.

A trace and the pixels of a PNG file give its stream back, byte for byte, whatever program wrote it:
nothing is compressed again, so no version of any library matters. Both directions are one walk
over the stream. What the walk meets is read from the stream and encoded, or decoded and written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dsguard.kernels.reference.exact.range_coder import Decoder, Encoder, Model

if TYPE_CHECKING:
    from dsguard.kernels.contract import Bytes

STEPS = 16
"""Earlier places with the same hash that are looked at."""

_WINDOW, _LONGEST, _SHORTEST, _END = 1 << 15, 258, 3, 256
_ORDER = (16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15)
_REPEATS = {16: (3, 2), 17: (3, 3), 18: (11, 7)}
_FIXED = [8] * 144 + [9] * 112 + [7] * 24 + [8] * 8, [5] * 30


class NoTraceError(ValueError):
    """A stream that is malformed, or that no trace repeats."""


def trace(stream: bytes, rows: bytes, pitch: int) -> bytes:
    """Return the trace of a zlib stream, without its first two bytes and its checksum.

    Parameters
    ----------
    stream : bytes
    rows : bytes
        What it unpacks to: filtered rows, each with the byte of its filter.
    pitch : int
        Bytes of a row, that byte included.

    Raises
    ------
    NoTraceError
        If it is no such stream, or has odd bits that are not traced.
    """
    coder = Encoder()
    walk = _Walk(rows, coder, _Reader(stream))
    for kind in rows[::pitch]:
        walk.filter(kind)
    walk.blocks()
    if walk.stream.at_end:
        return coder.finish()
    raise NoTraceError


def retrace(trace: bytes, image: Bytes, pixel: int, most: int) -> tuple[bytes, bytes]:
    """Return the stream that a trace is of, and the filtered rows that it unpacks to.

    Parameters
    ----------
    trace : bytes
    image : ndarray of uint8, shape (H, bytes of a row)
    pixel : int
        Bytes of a pixel.
    most : int
        Bytes of the stream at most.

    Raises
    ------
    NoTraceError
        If it is no trace of this image.
    """
    coder = Decoder(trace)
    walk = _Walk(b"", coder, _Writer(most))
    walk.rows = filtered(image, pixel, [walk.filter(None) for _ in range(len(image))])
    walk.blocks()
    return walk.stream.finish(), walk.rows


def filtered(image: Bytes, pixel: int, kinds: list[int]) -> bytes:
    """Return the rows of an image under filters (ISO/IEC 15948, 9.2), each with that of its own."""
    here = image.astype(np.int16)
    left, up, corner = (np.zeros_like(here) for _ in range(3))
    left[:, pixel:], up[1:] = here[:, :-pixel], here[:-1]
    corner[1:, pixel:] = here[:-1, :-pixel]
    by_left, by_up = np.abs(up - corner), np.abs(left - corner)
    by_corner = np.abs(left + up - 2 * corner)
    nearest = np.where(by_up <= by_corner, up, corner)
    nearest = np.where((by_left <= by_up) & (by_left <= by_corner), left, nearest)
    guesses = (np.zeros_like(here), left, up, (left + up) // 2, nearest)
    if max(kinds) >= len(guesses):
        raise NoTraceError
    guess = np.stack([guesses[kind][y] for y, kind in enumerate(kinds)])
    return np.column_stack([kinds, here - guess]).astype(np.uint8).tobytes()


def unfiltered(rows: bytes, pitch: int, pixel: int) -> Bytes:
    """Return the image that rows are of, shape (H, bytes of a row); the inverse of `filtered`."""
    filtered = np.frombuffer(rows, np.uint8).reshape(-1, pitch)
    image = np.empty((len(filtered), pitch - 1), np.uint8)
    above = [0] * (pitch - 1 + pixel)
    for kind, out, row in zip(filtered[:, 0].tolist(), image, filtered[:, 1:], strict=True):
        own = [0] * pixel
        for value, up, corner in zip(row.tolist(), above[pixel:], above, strict=False):
            own.append((value + _guess(kind, own[-pixel], up, corner)) & 255)
        out[...] = own[pixel:]
        above = own
    return image


def _guess(kind: int, left: int, up: int, corner: int) -> int:
    if kind > 4:
        raise NoTraceError
    by_left, by_up, by_corner = abs(up - corner), abs(left - corner), abs(left + up - 2 * corner)
    nearest = up if by_up <= by_corner else corner
    nearest = left if by_left <= min(by_up, by_corner) else nearest
    return (0, left, up, (left + up) // 2, nearest)[kind]


class _Walk:
    """The way through a stream, block by block; `stream` is read, or written."""

    def __init__(self, rows: bytes, coder: Encoder | Decoder, stream: _Reader | _Writer) -> None:
        self.rows, self.coder, self.stream = rows, coder, stream
        self.at, self.last_filter, self.was_match = 0, 0, 0
        self.heads: dict[int, int] = {}
        self.before: list[int] = []
        self.models: dict[tuple[object, ...], Model] = {}

    # ---- One choice: encoded, or decoded. ----

    def bit(self, name: tuple[object, ...], value: int | None) -> int:
        model = self.models.setdefault(name, Model())
        if isinstance(self.coder, Decoder):
            return self.coder.bit(model)
        assert value is not None
        self.coder.bit(model, value)
        return value

    def raw(self, count: int, value: int | None) -> int:
        if isinstance(self.coder, Decoder):
            return self.coder.raw(count)
        assert value is not None
        self.coder.raw(value, count)
        return value

    def tree(self, name: tuple[object, ...], bits: int, value: int | None) -> int:
        node = 1
        for n in range(bits - 1, -1, -1):
            node = node << 1 | self.bit((*name, node), None if value is None else value >> n & 1)
        return node - (1 << bits)

    def field(self, bits: int) -> int:
        """Take a field of the stream over as it is."""
        value = self.raw(bits, self.stream.take(bits))
        self.stream.put(value, bits)
        return value

    # ---- Rows, blocks, codes. ----

    def filter(self, kind: int | None) -> int:
        self.last_filter = self.tree(("filter", self.last_filter), 3, kind)
        return self.last_filter

    def blocks(self) -> None:
        counts = np.bincount(np.frombuffer(self.rows, np.uint8), minlength=256).tolist()
        size = len(self.rows)
        self.likely = [min(31, (size**2 // n**2).bit_length()) if n else 0 for n in counts]
        last = 0
        while not last:
            last = self.bit(("last",), self.stream.take(1))
            self.stream.put(last, 1)
            kind = self.tree(("kind",), 2, self.stream.take(2))
            self.stream.put(kind, 2)
            if kind == 0:
                self.stored()
            elif kind == 3:
                raise NoTraceError
            else:
                self.coded(_FIXED if kind == 1 else self.codes(), last)
        self.stream.align()
        if self.at != size:
            raise NoTraceError

    def stored(self) -> None:
        self.stream.align()
        size = self.field(16)
        other = self.stream.take(16)
        if other not in (None, size ^ 0xFFFF) or size > len(self.rows) - self.at:
            raise NoTraceError
        self.stream.put(size ^ 0xFFFF, 16)
        for byte in self.rows[self.at : self.at + size]:
            if self.stream.take(8) not in (None, byte):
                raise NoTraceError
            self.stream.put(byte, 8)
        self.advance(size)

    def codes(self) -> tuple[list[int], list[int]]:
        """Take over the lengths of both codes (RFC 1951, 3.2.7)."""
        literals, distances, described = self.field(5) + 257, self.field(5) + 1, self.field(4) + 4
        own = [0] * 19
        for symbol in _ORDER[:described]:
            own[symbol] = self.tree(("own",), 3, self.stream.take(3))
            self.stream.put(own[symbol], 3)
        if literals > 286 or distances > 30:
            raise NoTraceError
        code, lengths = _Code(own), list[int]()
        total = literals + distances
        while len(lengths) < total:
            n = len(lengths)
            if n < 256:
                context = self.likely[n]
            else:
                context = 32 + (16 if n >= literals else 0) + (lengths[-1] if n else 0)
            symbol = self.tree(("length", context), 5, self.stream.take_symbol(code))
            self.stream.put_symbol(code, symbol)
            if symbol < 16:
                lengths.append(symbol)
                continue
            if symbol > 18 or (symbol == 16 and not lengths):
                raise NoTraceError
            least, bits = _REPEATS[symbol]
            lengths += [lengths[-1] if symbol == 16 else 0] * (least + self.field(bits))
        if len(lengths) > total:
            raise NoTraceError
        return lengths[:literals], lengths[literals:]

    def coded(self, lengths: tuple[list[int], list[int]], last: int) -> None:
        """Go through the symbols of a block; a last block goes to the end of the rows."""
        code, far = (_Code(each) for each in lengths)
        left = -1
        if not last:
            count = self.stream.count_symbols(code, far)
            left = self.raw(16, None if count is None else count >> 16) << 16
            left |= self.raw(16, None if count is None else count & 0xFFFF)
        while left and (left > 0 or self.at < len(self.rows)):
            self.token(code, far)
            left -= 1
        if self.stream.take_symbol(code) not in (None, _END):
            raise NoTraceError
        self.stream.put_symbol(code, _END)

    # ---- Symbols. ----

    def token(self, code: _Code, far: _Code) -> None:
        """Go past a byte, or a match."""
        if self.at >= len(self.rows):
            raise NoTraceError
        length, distance = self.stream.take_token(code, far) or (None, None)
        room = len(self.rows) - self.at
        places = self.places() if room >= _SHORTEST else []
        is_match = 0
        if places:
            sizes = [self.common(place) for place in places]
            best = max(range(len(places)), key=sizes.__getitem__)
            size = sizes[best] if sizes[best] >= _SHORTEST else 0
            told = None if length is None else int(length > 0)
            is_match = self.bit(("match", min(size, 15), self.was_match), told)
        if not is_match:
            if length or distance not in (None, self.rows[self.at]):
                raise NoTraceError
            self.stream.put_byte(code, self.rows[self.at])
            self.was_match = 0
            self.advance(1)
            return
        known = length is not None
        as_best = (sizes[best], self.at - places[best])
        if not self.bit(("best",), int((length, distance) == as_best) if known else None):
            length, distance = self.other(places, length, distance)
        else:
            length, distance = as_best
        if not (0 < distance <= self.at and _SHORTEST <= length <= self.common(self.at - distance)):
            raise NoTraceError
        self.stream.put_match(code, far, length, distance)
        self.was_match = 1
        self.advance(length)

    def other(self, places: list[int], length: int | None, distance: int | None) -> tuple[int, int]:
        """Code a match that is not the longest there is."""
        step = None
        if distance is not None:
            place = self.at - distance
            step = places.index(place) if place in places else STEPS
        step = self.tree(("step",), 5, step)
        if step < len(places):
            distance = self.at - places[step]
        else:
            distance = 1 + self.raw(15, None if distance is None else distance - 1)
        if distance > self.at:
            raise NoTraceError
        most = self.common(self.at - distance)
        whole = self.bit(("whole",), None if length is None else int(length == most))
        if not whole:
            most = _SHORTEST + self.raw(8, None if length is None else length - _SHORTEST)
        return most, distance

    def places(self) -> list[int]:
        """Return earlier places of the same hash, the nearest first."""
        found: list[int] = []
        place = self.heads.get(self.hashed(self.at), -1)
        while place >= 0 and self.at - place <= _WINDOW and len(found) < STEPS:
            found.append(place)
            place = self.before[place]
        return found

    def hashed(self, at: int) -> int:
        first, second, third = self.rows[at : at + 3]
        return (first << 10 ^ second << 5 ^ third) & (_WINDOW - 1)

    def common(self, place: int) -> int:
        """Return how many bytes from a place on are those that come now."""
        most = min(_LONGEST, len(self.rows) - self.at)
        size = 0
        while size < most and self.rows[place + size] == self.rows[self.at + size]:
            size += 1
        return size

    def advance(self, count: int) -> None:
        for at in range(self.at, min(self.at + count, len(self.rows) - 2)):
            key = self.hashed(at)
            self.before.append(self.heads.get(key, -1))
            self.heads[key] = at
        self.at += count


# ---- Streams of RFC 1951. ----


class _Code:
    """A prefix code: the bits of each symbol, and back."""

    def __init__(self, lengths: list[int]) -> None:
        if sum(1 << 15 - length for length in lengths if length) > 1 << 15:
            raise NoTraceError
        self.bits: dict[int, tuple[int, int]] = {}
        self.symbols: dict[tuple[int, int], int] = {}
        code = 0
        for length in range(1, 16):
            for symbol, own in enumerate(lengths):
                if own == length:
                    turned = int(f"{code:0{length}b}"[::-1], 2)
                    self.bits[symbol] = turned, length
                    self.symbols[turned, length] = symbol
                    code += 1
            code <<= 1


def _parts() -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Return base and extra bits of the symbols of lengths and of distances."""
    lengths = [(3 + n, 0) for n in range(8)]
    for bits in range(1, 6):
        lengths += [(3 + (4 + n << bits), bits) for n in range(4)]
    lengths[-1:] = [lengths[-1], (258, 0)]
    distances = [(1 + n, 0) for n in range(4)]
    for bits in range(1, 14):
        distances += [(1 + (2 + n << bits), bits) for n in range(2)]
    return lengths, distances


_LENGTHS, _DISTANCES = _parts()


def _part_of(value: int, parts: list[tuple[int, int]]) -> int:
    return max(n for n, (base, _) in enumerate(parts) if base <= value)


class _Reader:
    """Reads fields and symbols; what it is told to put is what it has read."""

    def __init__(self, data: bytes) -> None:
        self.bits, self.left = int.from_bytes(data, "little"), 8 * len(data)

    @property
    def at_end(self) -> bool:
        return self.left == 0

    def take(self, count: int) -> int:
        if count > self.left:
            raise NoTraceError
        value = self.bits & (1 << count) - 1
        self.bits >>= count
        self.left -= count
        return value

    def take_symbol(self, code: _Code) -> int:
        word = self.bits & 0x7FFF
        for length in range(1, min(15, self.left) + 1):
            symbol = code.symbols.get((word & (1 << length) - 1, length))
            if symbol is not None:
                self.take(length)
                return symbol
        raise NoTraceError

    def take_token(self, code: _Code, far: _Code) -> tuple[int, int] | None:
        """Return length and distance of a match; of a byte 0, and the byte."""
        symbol = self.take_symbol(code)
        if symbol == _END or symbol > 285:
            raise NoTraceError
        if symbol < _END:
            return 0, symbol
        base, bits = _LENGTHS[symbol - 257]
        length = base + self.take(bits)
        if length == 258 and bits:
            raise NoTraceError
        base, bits = _DISTANCES[self.take_symbol(far)]
        return length, base + self.take(bits)

    def count_symbols(self, code: _Code, far: _Code) -> int:
        """Return the number of symbols that a block has yet, without its end."""
        before, count = (self.bits, self.left), 0
        while True:
            again = self.bits, self.left
            if self.take_symbol(code) == _END:
                break
            self.bits, self.left = again
            self.take_token(code, far)
            count += 1
        self.bits, self.left = before
        return count

    def align(self) -> None:
        if self.take(self.left % 8):
            raise NoTraceError

    def put(self, value: int, bits: int) -> None: ...

    def put_symbol(self, code: _Code, symbol: int) -> None: ...

    def put_byte(self, code: _Code, byte: int) -> None: ...

    def put_match(self, code: _Code, far: _Code, length: int, distance: int) -> None: ...

    def finish(self) -> bytes:
        return b""


class _Writer:
    """Writes fields and symbols; there is nothing to take."""

    def __init__(self, most: int) -> None:
        self.out, self.bits, self.count, self.most = bytearray(), 0, 0, most

    at_end = True

    def take(self, count: int) -> None: ...

    def take_symbol(self, code: _Code) -> None: ...

    def take_token(self, code: _Code, far: _Code) -> None: ...

    def count_symbols(self, code: _Code, far: _Code) -> None: ...

    def put(self, value: int, bits: int) -> None:
        self.bits |= value << self.count
        self.count += bits
        while self.count >= 8:
            self.out.append(self.bits & 255)
            self.bits >>= 8
            self.count -= 8
        if len(self.out) > self.most:
            raise NoTraceError

    def put_symbol(self, code: _Code, symbol: int) -> None:
        if symbol not in code.bits:
            raise NoTraceError
        self.put(*code.bits[symbol])

    def put_byte(self, code: _Code, byte: int) -> None:
        self.put_symbol(code, byte)

    def put_match(self, code: _Code, far: _Code, length: int, distance: int) -> None:
        for use, value, parts, first in (
            (code, length, _LENGTHS, 257), (far, distance, _DISTANCES, 0)
        ):  # fmt: skip
            part = _part_of(value, parts)
            self.put_symbol(use, first + part)
            base, bits = parts[part]
            self.put(value - base, bits)

    def align(self) -> None:
        self.put(0, -self.count % 8)

    def finish(self) -> bytes:
        return bytes(self.out)
