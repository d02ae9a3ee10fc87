"""Pickles of CIFAR-10 and CIFAR-100, read as data: nothing that a pickle names is called.

A pickle is a program. Python's unpickler calls what it names, and NumPy takes from it types that
hold pointers, and arrays in memory that nobody wrote. Here a small machine knows the operations
that batches consist of, whichever Python and NumPy wrote them. An array is recorded as its shape
and its bytes; it is made when all is read.
"""

from __future__ import annotations

import codecs
import io
import math
import pickle
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, TypeAlias

import numpy as np

from dsguard.errors import FormatError, raise_if_of_machine
from dsguard.formats.base import Image

Value: TypeAlias = Any
"""What comes from a file that is not trusted: only its exact type is looked at, and it is neither
printed nor compared with others of its kind, which may take for ever where it is nested."""

MOST_PICKLE_BYTES = 1 << 30
"""A pickle is smaller than this; the largest of CIFAR-100 has 155 MB."""
_MOST_STEPS = 1 << 21
"""Ten times those of CIFAR-100; a step of one byte can take a hundred bytes of memory."""
_MOST_ENCODED = 1 << 20  # characters beyond those read: no text is encoded again and again
_MOST_DIMENSIONS = 8
_DEEPEST = 8
_LONGEST_NUMBER = 30  # digits, dots and signs


def load_pickle(file: BinaryIO, name: str) -> Value:
    """Return the content of a pickle.

    Parameters
    ----------
    file : binary file
        At any position.
    name : str
        Name of the file in messages.

    Returns
    -------
    dict, list, tuple, bytes, str, int, float, bool, None or ndarray of uint8
        Strings of Python 2 are bytes. Arrays are read-only.

    Raises
    ------
    FormatError
        If it is damaged, too large, or holds anything else.
    """
    try:
        return _Copy().of(_Machine(file).run())
    except FormatError as error:
        msg = f"{name} {error.message}"
        raise FormatError(msg) from error
    except Exception as error:  # a step may find anything on the stack
        raise_if_of_machine(error, name)
        msg = f"{name} is not a CIFAR batch, or is damaged: {str(error) or type(error).__name__}"
        raise FormatError(msg) from error


def _require(good: bool, reason: str) -> None:
    if not good:
        raise ValueError(reason)


class _Dtype:
    """The type of an array: uint8 and no other."""

    def __init__(self, code: Value, align: Value = False, copy: Value = False) -> None:
        text = code.decode("latin-1") if type(code) is bytes else code
        if text not in ("u1", "uint8"):
            shown = repr(text[:20]) if type(text) is str else "unknown"
            msg = f"does not have the layout of a CIFAR batch: an array is of type {shown}, not u1"
            raise FormatError(msg)
        del align, copy  # flags, always false and true

    def build(self, state: Value) -> None:
        """Take the rest of a type: of uint8 it is always the same, without fields and flags."""
        plain = (None, None, None, -1, -1, 0)
        good = type(state) is tuple and len(state) == 8 and state[0] == 3
        good = good and state[1] in ("|", b"|") and state[2:] == plain
        _require(good, "an array is not of plain uint8")


class _Array:
    """An array that is still to be made."""

    def __init__(self) -> None:
        self._made: Image | None = None

    def build(self, state: Value) -> None:
        """Take version, shape, type, whether the order is that of Fortran, and content."""
        good = type(state) is tuple and len(state) == 5 and state[0] == 1
        _require(good and type(state[3]) in (bool, int), "an array has an unknown layout")
        _, shape, dtype, fortran, data = state
        self.fill(data, dtype, shape, "F" if fortran else "C")

    def fill(self, data: Value, dtype: Value, shape: Value, order: Value) -> None:
        """Take the content: exactly as many bytes as the shape says, and only once."""
        good = self._made is None and type(dtype) is _Dtype and order in ("C", "F")
        good = good and type(shape) is tuple and len(shape) <= _MOST_DIMENSIONS
        good = good and all(type(n) is int and 0 <= n < MOST_PICKLE_BYTES for n in shape)
        good = good and type(data) is bytes and len(data) == math.prod(shape)
        _require(good, "the content of an array does not fit its shape")
        self._made = np.frombuffer(data, np.uint8).reshape(shape, order=order)

    def made(self) -> Image:
        """Return the array itself."""
        if self._made is None:
            msg = "an array has no content"
            raise ValueError(msg)
        return self._made


@dataclass(frozen=True)
class _Function:
    """Our own function, or class, in place of one that a pickle names."""

    call: Callable[..., Value]


def _reconstruct(kind: Value, shape: Value, code: Value) -> _Array:
    """Begin an array, always with these arguments; its content comes later."""
    good = kind is _NDARRAY and shape == (0,) and code in ("b", b"b")
    _require(good, "an array is of an unknown kind")
    return _Array()


def _frombuffer(data: Value, dtype: Value, shape: Value, order: Value) -> _Array:
    array = _Array()
    array.fill(data, dtype, shape, order)
    return array


def _ndarray(*_: Value) -> Value:
    msg = "an array has no content"
    raise ValueError(msg)


def _encode(text: Value, encoding: Value) -> bytes:
    """Return bytes as Python 3 writes them for Python 2, as text."""
    _require(type(text) is str and encoding in ("latin1", "latin-1"), "bytes are not in latin-1")
    return bytes(text, "latin-1")


def _no_bytes() -> bytes:
    """Return what Python 3 writes for Python 2 as a call of ``bytes``."""
    return b""


_NDARRAY = _Function(_ndarray)
_ENCODE = _Function(_encode)
_FUNCTIONS = {
    ("numpy", "ndarray"): _NDARRAY,
    ("numpy", "dtype"): _Function(_Dtype),
    ("numpy.core.multiarray", "_reconstruct"): _Function(_reconstruct),
    ("numpy._core.multiarray", "_reconstruct"): _Function(_reconstruct),
    ("numpy.core.numeric", "_frombuffer"): _Function(_frombuffer),
    ("numpy._core.numeric", "_frombuffer"): _Function(_frombuffer),
    ("_codecs", "encode"): _ENCODE,
    ("__builtin__", "bytes"): _Function(_no_bytes),
}


class _Machine:
    """Takes the steps of a pickle, those of `_STEPS` and no others."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._left = file.seek(0, io.SEEK_END)
        file.seek(0)
        if self._left >= MOST_PICKLE_BYTES:
            msg = f"has {self._left} bytes, more than the {MOST_PICKLE_BYTES} that are read"
            raise FormatError(msg)
        self._stack: list[Value] = []
        self._below: list[list[Value]] = []  # the stack below each mark
        self._memo: dict[int, Value] = {}
        self._to_encode = _MOST_ENCODED

    def run(self) -> Value:
        """Return what is on the stack in the end."""
        for _ in range(_MOST_STEPS):
            code = self.read(1)
            if code == pickle.STOP:
                return self.pop()
            if code not in _STEPS:
                msg = f"it has an operation, {code!r}, that batches do not have"
                raise ValueError(msg)
            _STEPS[code](self)
        msg = f"has more than {_MOST_STEPS} entries; it is no CIFAR batch"
        raise FormatError(msg)

    def read(self, count: int) -> bytes:
        """Return the next bytes; ask for no more than there are, which would take memory."""
        data = self._file.read(count) if 0 <= count <= self._left else b""
        if len(data) != count:
            msg = "it stops too early"
            raise EOFError(msg)
        self._left -= count
        return data

    def line(self) -> bytes:
        """Return the rest of the line."""
        line = self._file.readline()
        self._left -= len(line)
        _require(line.endswith(b"\n"), "it stops too early")
        return line[:-1]

    def digits(self) -> bytes:
        """Return the rest of the line, which is a number."""
        digits = self.line()
        _require(len(digits) <= _LONGEST_NUMBER, "it has a number that is too long")
        return digits

    def unpack(self, layout: str) -> Any:
        """Return the next bytes as a number."""
        return struct.unpack(layout, self.read(struct.calcsize(layout)))[0]

    def push(self, value: Value) -> None:
        self._stack.append(value)

    def pop(self) -> Value:
        return self._stack.pop()

    def mark(self) -> None:
        self._below.append(self._stack)
        self._stack = []

    def to_mark(self) -> list[Value]:
        """Return what was pushed since the last mark."""
        found, self._stack = self._stack, self._below.pop()
        return found

    def last(self, count: int) -> tuple[Value, ...]:
        """Return what was pushed last, as it was in order."""
        return tuple(reversed([self.pop() for _ in range(count)]))

    def push_sized(self, layout: str) -> None:
        self.push(self.read(self.unpack(layout)))

    def push_integer(self) -> None:
        digits = self.digits()
        self.push(digits == b"01" if digits in (b"00", b"01") else int(digits))

    def push_string(self) -> None:
        line = self.line()
        quoted = len(line) > 1 and line[:1] == line[-1:] and line[:1] in (b"'", b'"')
        _require(quoted, "it has a string without quotes")
        self.push(codecs.escape_decode(line[1:-1])[0])

    def push_text(self, raw: bytes, encoding: str = "utf-8") -> None:
        text = raw.decode(encoding, "surrogatepass" if encoding == "utf-8" else "strict")
        self._to_encode += len(text)
        self.push(text)

    def put(self, place: int) -> None:
        self._memo[place] = self._stack[-1]

    def memoize(self) -> None:
        self.put(len(self._memo))

    def get(self, place: int) -> None:
        _require(place in self._memo, "it takes up again what was not there")
        self.push(self._memo[place])

    def append(self, values: Sequence[Value]) -> None:
        """Add to the list that was pushed before."""
        _require(type(self._stack[-1]) is list, "it adds to what is not a list")
        self._stack[-1].extend(values)

    def set_items(self, items: Sequence[Value]) -> None:
        """Add to the dictionary that was pushed before, under keys that hash at once and apart."""
        keys, values = items[::2], items[1::2]
        good = type(self._stack[-1]) is dict and all(map(_is_key, keys))
        _require(good, "it has keys that are neither strings nor numbers of rows")
        self._stack[-1].update(zip(keys, values, strict=True))

    def push_dict(self) -> None:
        items = self.to_mark()
        self.push({})
        self.set_items(items)

    def push_function(self, module: Value, name: Value) -> None:
        _require(type(module) is str and type(name) is str, "it names what has no name")
        if (module, name) not in _FUNCTIONS:
            msg = f"refused to load {f'{module}.{name}'[:80]!r} from a pickle"
            raise ValueError(msg)
        self.push(_FUNCTIONS[module, name])

    def reduce(self) -> None:
        """Have one of our functions give its value."""
        function, arguments = self.last(2)
        good = type(function) is _Function and type(arguments) is tuple
        _require(good, "it calls what is not a function")
        if function is _ENCODE:
            self._to_encode -= len(arguments[0])
            _require(self._to_encode >= 0, "it encodes a text again and again")
        self.push(function.call(*arguments))

    def build(self) -> None:
        state = self.pop()
        _require(type(self._stack[-1]) in (_Dtype, _Array), "it has an object of unknown layout")
        self._stack[-1].build(state)


class _Copy:
    """Copies what a pickle made, with arrays in it, and nothing of what only stood for them.

    One object may be in many places, in itself as well: depth and number of entries have an end.
    """

    def __init__(self) -> None:
        self._entries = 0

    def of(self, value: Value, depth: int = 0) -> Value:
        """Return the copy of a value."""
        kind = type(value)
        if kind in _SIMPLE:
            return value
        if kind is _Array:
            return value.made()
        _require(kind in (dict, list, tuple), "it holds what is only part of an array")
        self._entries += len(value)
        good = depth < _DEEPEST and self._entries <= _MOST_STEPS
        _require(good, "it is nested more deeply than a CIFAR batch")
        if kind is dict:
            return {key: self.of(entry, depth + 1) for key, entry in value.items()}
        return kind(self.of(entry, depth + 1) for entry in value)


_SIMPLE = (bytes, str, int, float, bool, type(None))


def _is_key(key: Value) -> bool:
    return type(key) in (bytes, str) or (type(key) is int and 0 <= key < 1 << 32)


_STEPS: dict[bytes, Callable[[_Machine], None]] = {
    pickle.PROTO: lambda m: m.unpack("<B"),
    pickle.FRAME: lambda m: m.unpack("<Q"),
    pickle.MARK: _Machine.mark,
    pickle.NONE: lambda m: m.push(None),
    pickle.NEWTRUE: lambda m: m.push(True),
    pickle.NEWFALSE: lambda m: m.push(False),
    pickle.INT: _Machine.push_integer,
    pickle.LONG: lambda m: m.push(int(m.digits().removesuffix(b"L"))),
    pickle.BININT: lambda m: m.push(m.unpack("<i")),
    pickle.BININT1: lambda m: m.push(m.unpack("<B")),
    pickle.BININT2: lambda m: m.push(m.unpack("<H")),
    pickle.LONG1: lambda m: m.push(int.from_bytes(m.read(m.unpack("<B")), "little", signed=True)),
    pickle.FLOAT: lambda m: m.push(float(m.digits())),
    pickle.BINFLOAT: lambda m: m.push(m.unpack(">d")),
    pickle.STRING: _Machine.push_string,
    pickle.BINSTRING: lambda m: m.push_sized("<i"),
    pickle.SHORT_BINSTRING: lambda m: m.push_sized("<B"),
    pickle.BINBYTES: lambda m: m.push_sized("<I"),
    pickle.SHORT_BINBYTES: lambda m: m.push_sized("<B"),
    pickle.BINBYTES8: lambda m: m.push_sized("<Q"),
    pickle.BYTEARRAY8: lambda m: m.push_sized("<Q"),
    pickle.UNICODE: lambda m: m.push_text(m.line(), "raw-unicode-escape"),
    pickle.BINUNICODE: lambda m: m.push_text(m.read(m.unpack("<I"))),
    pickle.SHORT_BINUNICODE: lambda m: m.push_text(m.read(m.unpack("<B"))),
    pickle.BINUNICODE8: lambda m: m.push_text(m.read(m.unpack("<Q"))),
    pickle.EMPTY_TUPLE: lambda m: m.push(()),
    pickle.TUPLE1: lambda m: m.push(m.last(1)),
    pickle.TUPLE2: lambda m: m.push(m.last(2)),
    pickle.TUPLE3: lambda m: m.push(m.last(3)),
    pickle.TUPLE: lambda m: m.push(tuple(m.to_mark())),
    pickle.EMPTY_LIST: lambda m: m.push([]),
    pickle.LIST: lambda m: m.push(m.to_mark()),
    pickle.APPEND: lambda m: m.append(m.last(1)),
    pickle.APPENDS: lambda m: m.append(m.to_mark()),
    pickle.EMPTY_DICT: lambda m: m.push({}),
    pickle.DICT: _Machine.push_dict,
    pickle.SETITEM: lambda m: m.set_items(m.last(2)),
    pickle.SETITEMS: lambda m: m.set_items(m.to_mark()),
    pickle.PUT: lambda m: m.put(int(m.digits())),
    pickle.BINPUT: lambda m: m.put(m.unpack("<B")),
    pickle.LONG_BINPUT: lambda m: m.put(m.unpack("<I")),
    pickle.MEMOIZE: _Machine.memoize,
    pickle.GET: lambda m: m.get(int(m.digits())),
    pickle.BINGET: lambda m: m.get(m.unpack("<B")),
    pickle.LONG_BINGET: lambda m: m.get(m.unpack("<I")),
    pickle.GLOBAL: lambda m: m.push_function(m.line().decode(), m.line().decode()),
    pickle.STACK_GLOBAL: lambda m: m.push_function(*m.last(2)),
    pickle.REDUCE: _Machine.reduce,
    pickle.BUILD: _Machine.build,
}
