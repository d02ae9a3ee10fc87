"""The adaptive binary range coder of Sequences: the specification of csrc/exact/range_coder.h."""

from __future__ import annotations

_ONE, _LEAST = 4096, 64
_SHIFT = (1, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 4, 4, 4, 4, 5)
_TOP, _BYTE = 1 << 32, 1 << 24


class Model:
    """The probability of a 0, in 1/4096; early bits move it further than later ones."""

    def __init__(self) -> None:
        self.zero = _ONE // 2
        self.seen = 0

    def learn(self, bit: int) -> None:
        """Move towards `bit`."""
        by = _SHIFT[self.seen]
        self.zero += -(self.zero >> by) if bit else (_ONE - self.zero) >> by
        self.zero = min(max(self.zero, _LEAST), _ONE - _LEAST)
        self.seen = min(self.seen + 1, 15)


class Encoder:
    """Turns bits into bytes; `low` is an integer of any length, so carries need no care."""

    def __init__(self) -> None:
        self.low, self.range, self.shifted = 0, _TOP - 1, 0

    def bit(self, model: Model, bit: int) -> None:
        """Encode a bit under a model."""
        bound = (self.range >> 12) * model.zero
        if bit:
            self.low += bound
            self.range -= bound
        else:
            self.range = bound
        model.learn(bit)
        self._normalise()

    def raw(self, value: int, count: int) -> None:
        """Encode the low `count` bits of `value`, the highest first, without a model."""
        for n in range(count - 1, -1, -1):
            self.range >>= 1
            self.low += self.range * (value >> n & 1)
            self._normalise()

    def finish(self) -> bytes:
        """Return the bytes: the number with most trailing zeros in the last interval, without
        the zero bytes that it ends with.
        """  # noqa: D205 - one sentence
        for zeros in range(31, -1, -1):
            value = -(-self.low >> zeros) << zeros
            if value < self.low + self.range:
                break
        return value.to_bytes(4 + self.shifted, "big").rstrip(b"\0")

    def _normalise(self) -> None:
        while self.range < _BYTE:
            self.range <<= 8
            self.low <<= 8
            self.shifted += 1


class Decoder:
    """Reads what an `Encoder` wrote; beyond the end there are zeros."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 4
        self.code = int.from_bytes(data[:4].ljust(4, b"\0"), "big")
        self.range = _TOP - 1

    def bit(self, model: Model) -> int:
        """Decode a bit under a model."""
        bound = (self.range >> 12) * model.zero
        bit = int(self.code >= bound)
        if bit:
            self.code -= bound
            self.range -= bound
        else:
            self.range = bound
        model.learn(bit)
        self._normalise()
        return bit

    def raw(self, count: int) -> int:
        """Decode `count` bits, the highest first."""
        value = 0
        for _ in range(count):
            self.range >>= 1
            bit = int(self.code >= self.range)
            self.code -= self.range * bit
            value = value << 1 | bit
            self._normalise()
        return value

    def _normalise(self) -> None:
        while self.range < _BYTE:
            self.range <<= 8
            byte = self.data[self.at] if self.at < len(self.data) else 0
            self.code = (self.code << 8 | byte) & (_TOP - 1)
            self.at += 1
