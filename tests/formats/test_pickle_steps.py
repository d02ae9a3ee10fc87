"""Python's own unpickler finds no call in a pickle that is not seen."""

from __future__ import annotations

import contextlib
import io
import pickle

import hypothesis.strategies as st
from hypothesis import example, given

from dsguard.formats.programs.pickle_steps import calls

STEPS = [
    b"cos\nsystem\n", b"ctypes\nkind\n", b"ios\nsystem\n", b"S'os'\nS'system'\n\x93",
    b"N", b"(", b"t", b")", b"]", b"}", b"l", b"d", b"R", b"b", b"o", b"a", b"e", b"s", b"u",
    b"0", b"1", b"2", b"\x81", b"\x92", b"\x90", b"\x8f", b"\x91", b"\x94", b"\x85", b"\x86",
    b"I0x1\n", b"I1\x002\n", b"L1L\n", b"F1e3\n", b"S'a'\n", b"S'\\xff'\n", b"Va\n", b"U\1a",
    b"p0\n", b"p 1\n", b"g0\n", b"g1\n", b"q\0", b"h\0", b"j\0\0\0\0", b"r\1\0\0\0", b".",
    b"\x8a\1\1", b"X\1\0\0\0a", b"\x95" + bytes(8), b"\x80\2", b"K\1", b"G" + bytes(8),
]  # fmt: skip


class Touched:
    """Notes whatever a pickle does with it."""

    def __init__(self, notes: list[str]) -> None:
        self.__dict__["notes"] = notes

    def __getattr__(self, name: str):
        def note(*_: object) -> Touched:
            self.notes.append(name)
            return self

        return note

    def __call__(self, *_: object) -> Touched:
        self.notes.append("called")
        return self

    def __setitem__(self, *_: object) -> None:
        self.notes.append("set")


class Unpickler(pickle.Unpickler):
    def __init__(self, data: bytes, encoding: str) -> None:
        super().__init__(io.BytesIO(data), encoding=encoding)
        self.notes: list[str] = []

    def find_class(self, module: str, name: str, /):
        if module != "types":
            return Touched(self.notes)
        notes = self.notes

        class Kind:
            def __new__(cls, *_: object, **__: object):
                notes.append("made")
                return object.__new__(cls)

        return Kind


@given(
    st.lists(st.sampled_from(STEPS), max_size=12), st.sampled_from(["ASCII", "latin-1", "bytes"])
)
@example([b"ctypes\nkind\n", b")", b"\x81", b"."], "ASCII")
@example([b"cos\nsystem\n", b"N", b"b"], "ASCII")
def test_a_pickle_that_calls_something_is_seen(steps, encoding):
    data = b"".join(steps)
    unpickler = Unpickler(data, encoding)
    with contextlib.suppress(Exception):
        unpickler.load()
    if unpickler.notes:
        assert calls(data, is_cut=False)
