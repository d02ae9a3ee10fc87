"""The search for the key of a dataset in what lies beside its images, however it is spelled.

Bytes are read in two ways: for the secret as it is, in hexadecimal, base64, base85 and uuencode;
and, of texts, letters and digits alone, of which numbers, escapes and lists of parts have the same
as the key. Of what ``xxd`` and the like print, addresses and the text beside it are not read.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import cast

from dsguard.formats.encoded import z85

_KEY_BYTES = 32
_KEY = re.compile(
    rb"dsguard-key[\s\xa0\xc2]+\d|secret[^0-9a-f]{1,8}[0-9a-f]{64}(?![0-9a-f])"
    rb"|(?<![a-z0-9])dsg_[a-z0-9_-]{43}(?![a-z0-9_-])"  # a token of the platform
)
_AT_ONCE, _LONGEST = 1 << 20, 1 << 16
_FEWEST = 16
"""Characters of a form; fewer could be anything."""
_LEVELS = 3
"""How deep JSON may lie in strings of JSON, each with escapes of its own."""
_ESCAPED = re.compile(
    rb'\\(?:([bfnrt"\\/])|u00([0-9a-f]{2}))|%([0-9a-f]{2})|&#(?:x([0-9a-f]{2})|(\d{1,3}));'
)
_SIGNS = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t"}
_NAME = re.compile(rb'"[^"]*"\s*:')
"""The key of a JSON object."""
_DUMPED = re.compile(
    rb"(?:^|[\":,])[ \t]*[0-9a-f]{6,16}(:?)[ \t]+((?:[0-9a-f]{2,8}[ ]{1,2})*[0-9a-f]{2,8})\b",
    re.MULTILINE,
)
_PIECE = 4
_WORD = re.compile(rb"[a-z0-9+/_-]{%d,}" % _PIECE)
_BETWEEN = rb"\D{1,64}(?:\d{1,20}\D{1,64})?"
_UU_LINE = 45
_LENGTHS, _FEWEST_ROWS = 2, 4
"""Different lengths of rows by which the columns of a text are read, and rows of each."""
_DIGITS = b"0123456789"
_LETTERS = _DIGITS + b"abcdefghijklmnopqrstuvwxyz"
_OTHERS = bytes(set(range(256)) - set(_LETTERS))
_NO_DIGITS = bytes(set(range(256)) - set(_DIGITS))
_CELL_ENDS, _ROW_ENDS = b",;|\t", b"\n]}"
_TABLE = bytes.maketrans(_CELL_ENDS + _ROW_ENDS, b" " * len(_CELL_ENDS) + b"\n" * len(_ROW_ENDS))
_NO_CELL = bytes(set(_OTHERS) - set(_CELL_ENDS + _ROW_ENDS))
_CONTROLS = bytes(set(range(32)) - set(b"\t\n\r"))
_MOST_CONTROLS = 1 / 64
"""Those of a text; bytes of which more are control characters are none."""


@dataclass(frozen=True)
class Forms:
    """What a secret looks like in files.

    Attributes
    ----------
    plain : tuple of bytes
        In lower case, without zero bytes.
    spelled : tuple of bytes
        Letters and digits of other spellings.
    numbers : tuple of re.Pattern
        Its parts as numbers, with other words between them, and a number such as their place.
    words : tuple of bytes
        Spellings that may lie in a text in pieces of four signs and more.
    """

    plain: tuple[bytes, ...] = ()
    spelled: tuple[bytes, ...] = ()
    numbers: tuple[re.Pattern[bytes], ...] = ()
    words: tuple[bytes, ...] = ()

    def are_in(self, text: bytes) -> bool:
        """Tell whether a spelling is in a text, of which letters and digits alone are read."""
        if len(text) < self._fewest[0]:
            return False
        letters = text.translate(None, _OTHERS)
        digits = len(letters.translate(None, _NO_DIGITS))
        if len(letters) < self._fewest[0] or digits < self._fewest[1]:
            return False
        return any(form in letters for form in self.spelled)

    def are_scattered_in(self, text: bytes) -> bool:
        """Tell whether its parts are in a text in their order, with something else between them."""
        if any(pattern.search(text) for pattern in self.numbers):
            return True
        begun = [word for word in self.words if word[:_PIECE] in text]
        return any(_is_in_pieces(word, text) for word in begun)

    @cached_property
    def _fewest(self) -> tuple[int, int]:
        """Return how many letters and digits, and how many digits, a spelling has at least."""
        digits = (len(form.translate(None, _NO_DIGITS)) for form in self.spelled)
        return min(map(len, self.spelled), default=0), min(digits, default=0)


def forms_of(secret: bytes) -> Forms:
    """Return what a secret looks like in files, as `holds_key` takes it."""
    in_base64 = (base64.b64encode(secret), base64.urlsafe_b64encode(secret))
    plain = [secret, secret.decode("latin-1").encode(), secret.hex().encode()]
    plain += [form.rstrip(b"=") for form in in_base64]
    plain += [encode(secret) for encode in (base64.a85encode, base64.b85encode, z85)]
    plain += [_uuencoded(secret, backtick=backtick) for backtick in (False, True)]
    steps = {after - before for before, after in pairwise(secret)}
    is_row = len(steps) == 1  # 0, 1, 2, …: as numbers they are everywhere
    found = _long(dict.fromkeys(form.replace(b"\0", b"").lower() for form in plain))
    if is_row:
        return Forms(found)
    spelled = {_letters_of(each) for each in _spellings(secret)}
    words = tuple(word.lower().rstrip(b"=") for word in (secret.hex().encode(), *in_base64))
    return Forms(found, _long(sorted(spelled)), tuple(_patterns_of(secret)), words)


def _patterns_of(secret: bytes) -> Iterator[re.Pattern[bytes]]:
    """Yield patterns of the parts of a secret as whole numbers, and of its bytes in hexadecimal.

    Each begins with letters that are looked for fast; what is before these follows.
    """
    for width in (1, 2, 4, 8):
        parts = [secret[n : n + width] for n in range(0, len(secret), width)]
        little = [int.from_bytes(each, "little") for each in parts]
        big = [int.from_bytes(each, "big") for each in parts]
        for first, *others in (little, big)[:width]:
            start = rb"%d(?<![1-9]%d)" % (first, first)
            rest = (rb"0*%d" % number for number in others)
            yield re.compile(_BETWEEN.join((start, *rest)) + rb"(?!\d)")
    start = rb"%02x(?<![0-9a-wyz]%02x)(?![0-9a-z])" % (secret[0], secret[0])
    rest = (rb"(?<![0-9a-wyz])%02x(?![0-9a-z])" % byte for byte in secret[1:])
    yield re.compile(rb".{1,24}?".join((start, *rest)), re.DOTALL)


def _is_in_pieces(word: bytes, text: bytes) -> bool:
    """Tell whether some words of a text have a longer one on end; others are passed over."""
    place = 0
    for found in _WORD.finditer(text):
        piece = found[0].removeprefix(b"0x")
        if word.startswith(piece, place):
            place += len(piece)
            if place >= len(word):
                return True
    return False


def _uuencoded(secret: bytes, *, backtick: bool) -> bytes:
    """Return the line of a secret without its length, and without what may fill its end."""
    return binascii.b2a_uu(secret[:_UU_LINE], backtick=backtick)[1:].rstrip(b" `\n")


def _long(forms: Sequence[bytes] | dict[bytes, None]) -> tuple[bytes, ...]:
    return tuple(form for form in forms if len(form) >= _FEWEST)


def _letters_of(text: str) -> bytes:
    opened = text.lower().encode()
    for _ in range(_LEVELS):
        opened = _opened(opened)
    return opened.translate(None, _OTHERS)


def _spellings(secret: bytes) -> Iterator[str]:
    """Yield texts whose letters and digits are those of a secret, in numbers or strings."""
    in_base64 = base64.b64encode(secret).decode()
    yield from (in_base64, base64.b32encode(secret).decode(), repr(secret))
    for text in (secret.hex(), secret.hex().upper(), in_base64.rstrip("=")):
        yield "".join(str(ord(each)) for each in text)
        yield text.encode().hex()  # a key file as xxd prints it
        yield "".join(f"{ord(each):03o}" for each in text)
    for form in ("{:03d}", "{}.0", "{:.18e}", "x{:02x}", "{:08b}", "{:03o}", "{:o}", "0{:o}"):
        yield "".join(form.format(each) for each in secret)
    words = (secret[n : n + 2] for n in range(0, len(secret), 2))
    yield "".join(f"{int.from_bytes(each, 'little'):06o}" for each in words)  # as od has them
    for width in (1, 2, 4, 8, len(secret)):
        parts = [secret[n : n + width] for n in range(0, len(secret), width)]
        for order in ("little", "big"):
            numbers = [int.from_bytes(each, order) for each in parts]
            signed = [int.from_bytes(each, order, signed=True) for each in parts]
            yield "".join(map(str, signed))
            for form in ("{}", "{:x}", "{:#x}", f"{{:0{2 * width}x}}", f"{{:#0{2 * width + 2}x}}"):
                yield "".join(map(form.format, numbers))


_NONE = Forms()


def holds_key(data: bytes | bytearray | memoryview, forms: Forms = _NONE) -> bool:
    """Tell whether bytes have the key of a dataset in them, in any encoding that keys are read in.

    A token of the platform counts as one: it hands the key to whoever has the token.

    Parameters
    ----------
    data : bytes
    forms : Forms
        What the secret of a certain key looks like; without, a key is known by its file.
    """
    for start in range(0, len(data), _AT_ONCE):
        part = bytes(data[start : start + _AT_ONCE + _LONGEST])
        text = part.replace(b"\0", b"").lower()  # UTF-16 and -32 as well
        is_text = _is_text(text)
        for _ in range(_LEVELS):
            if _KEY.search(text) or any(form in text for form in forms.plain):
                return True
            if not is_text and b"\\u00" not in text:
                break
            before, text = text, _opened(text)
            if text == before:
                break
        if is_text and forms.spelled and _spells(text, forms):
            return True
    return False


def _opened(text: bytes) -> bytes:
    """Return a text with the characters that escapes of JSON, addresses or HTML stand for."""
    return _ESCAPED.sub(_character, text).lower()


def _character(found: re.Match[bytes]) -> bytes:
    sign, digits, number = found[1], found[2] or found[3] or found[4], found[5]
    if sign:
        return _SIGNS.get(sign, sign)
    return bytes([int(digits, 16) if digits else int(number) & 255])


def _is_text(text: bytes) -> bool:
    controls = len(text) - len(text.translate(None, _CONTROLS))
    return controls <= _MOST_CONTROLS * len(text)


def _spells(text: bytes, forms: Forms) -> bool:
    """Tell whether a text spells a secret, from left to right or in a column.

    Keys of JSON stand between its values, and are read by themselves.
    """
    if forms.are_in(text) or forms.are_in(_undumped(text)):
        return True
    if names := _NAME.findall(text):
        text = _NAME.sub(b"", text)
        if forms.are_in(b"".join(names)) or forms.are_in(text):
            return True
    return any(map(forms.are_in, _columns(text))) or forms.are_scattered_in(text)


def _undumped(text: bytes) -> bytes:
    """Return the digits of lines that begin with an address, as ``xxd`` and ``od`` print them.

    The text beside them is behind two blanks or a sign.
    """
    found = _DUMPED.findall(text)
    return b" ".join(row.partition(b"  ")[0] if colon else row for colon, row in found)


def _columns(text: bytes) -> Iterator[bytes]:
    """Yield the columns of a text on end, by its rows of the usual lengths; lists are rows, too."""
    if not any(end in text for end in _CELL_ENDS):
        text = b",".join(text.split(b" "))
    lines = text.translate(_TABLE, _NO_CELL).split(b"\n")
    rows = list(filter(None, map(bytes.strip, lines)))
    lengths = [row.count(b" ") + 1 for row in rows]
    for length, count in Counter(lengths).most_common(_LENGTHS):
        if count >= _FEWEST_ROWS:
            alike = (row for row, own in zip(rows, lengths, strict=True) if own == length)
            cells = b" ".join(alike).split(b" ")
            yield b"".join(b"".join(cells[n::length]) for n in range(length))


def is_key(value: object, forms: Forms) -> bool:
    """Tell whether a value has a key in it, lists and objects in it as well."""
    plain = Forms(forms.plain)
    if any(holds_key(each, plain) for each in texts_in(value)):
        return True
    found = bytearray()
    for piece in _pieces(value):
        if len(piece) > _LONGEST:
            if holds_key(piece, forms):
                return True
            continue
        found += piece
        if len(found) > _AT_ONCE:
            if holds_key(found, forms):
                return True
            del found[:-_LONGEST]
    return holds_key(found, forms)


def _pieces(value: object) -> Iterator[bytes]:
    """Yield a value as a text, an object or list in each line; not lists of numbers at length.

    Those are read by `texts_in`.
    """
    left = [value]
    while left:
        each = left.pop()
        if each is _END:
            yield b"\n"
        elif isinstance(each, dict):
            yield from (b'"%s":' % _as_bytes(name) for name in each)
            left += [_END, *reversed(each.values())]
        elif isinstance(each, list | tuple):
            if not _is_long_row(each):
                left += [_END, *reversed(each)]
        elif isinstance(each, float) and each.is_integer():
            yield b"%d," % each
        elif each is not None:
            yield _as_bytes(each) + b","


_END = object()


def _is_long_row(values: Sequence[object]) -> bool:
    """Tell whether a list has nothing but whole numbers, as many as a key has bytes, or others."""
    kinds = set(map(type, values))
    if kinds == {float}:
        return not all(map(float.is_integer, cast("Sequence[float]", values)))
    return kinds == {int} and len(values) >= _KEY_BYTES


def texts_in(value: object) -> Iterator[bytes]:
    """Yield the strings of a value, those of lists and objects in it as well, that hold 32 bytes.

    A key is no shorter. Lists of strings are read on end as well, and whole numbers as the bytes
    that they take.
    """
    left = [value]
    while left:
        each = left.pop()
        if isinstance(each, dict):
            left += [*each, *each.values()]
        elif isinstance(each, list | tuple):
            left += each
            yield from _on_end(each)
        elif isinstance(each, str | bytes) and len(each) >= _KEY_BYTES:
            yield _as_bytes(each)


def _on_end(values: Sequence[object]) -> Iterator[bytes]:
    """Yield the bytes of a list of strings, or of whole numbers of one width."""
    kinds = set(map(type, values))
    if kinds <= {str, bytes} and len(values) > 1:
        found = b"".join(map(_as_bytes, values))
        if len(found) >= _KEY_BYTES:
            yield found
    elif kinds == {int} and len(values) >= _KEY_BYTES // 8:
        yield from _numbers_on_end(cast("Sequence[int]", values))


def _numbers_on_end(numbers: Sequence[int]) -> Iterator[bytes]:
    """Yield the bytes of whole numbers, in both orders; and the last byte of each."""
    bits = max(each.bit_length() for each in numbers)
    width = next((size for size in (1, 2, 4, 8) if bits <= 8 * size), 0)
    if len(numbers) >= _KEY_BYTES:
        yield bytes(each & 255 for each in numbers)
    if width > 1 and width * len(numbers) >= _KEY_BYTES:
        mask = (1 << 8 * width) - 1
        yield b"".join((each & mask).to_bytes(width, "little") for each in numbers)
        yield b"".join((each & mask).to_bytes(width, "big") for each in numbers)


def _as_bytes(value: object) -> bytes:
    if isinstance(value, bytes):
        return value
    return str(value).encode("utf-8", "surrogatepass")
