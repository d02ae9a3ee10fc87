"""The steps of pickles, without taking them: whether they call something that they import."""

from __future__ import annotations

import pickletools
import re

_STEPS = {ord(step.code): step for step in pickletools.opcodes}
_LENGTHS = {
    pickletools.TAKEN_FROM_ARGUMENT1: 1,
    pickletools.TAKEN_FROM_ARGUMENT4: 4,
    pickletools.TAKEN_FROM_ARGUMENT4U: 4,
    pickletools.TAKEN_FROM_ARGUMENT8U: 8,
}
_IMPORTS = frozenset({"GLOBAL", "STACK_GLOBAL", "EXT1", "EXT2", "EXT4"})
_ON_LOWEST = frozenset(
    {"REDUCE", "OBJ", "NEWOBJ", "NEWOBJ_EX", "BUILD", "APPEND", "APPENDS"}
    | {"SETITEM", "SETITEMS", "ADDITEMS", "STOP"}
)
"""Steps that call what is lowest of all that they take from the stack, or a method of it, or give
it back."""

_KEEPS = frozenset({"PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"})
_FETCHES = frozenset({"GET", "BINGET", "LONG_BINGET"})
_TEXTS = {
    "INT": re.compile(rb"[\s\w+-]*"),
    "LONG": re.compile(rb"[\s\w+-]*"),
    "FLOAT": re.compile(rb"[\s\w.+-]*"),
    "STRING": re.compile(rb"""(['"]).*\1\s*""", re.DOTALL),
}
"""Lines that unpicklers may take: some read numbers of any base, and up to a zero byte."""

LONGEST = 1 << 29
"""Bytes of a string that may still be one: four letters, read as a length, tell of more."""

_MARK, _IMPORTED, _OTHER = object(), object(), object()


def calls(start: bytes, *, is_cut: bool, longest: int = LONGEST) -> bool | None:
    r"""Tell whether a file begins as a pickle without a protocol does, which calls something.

    Protocols 0 and 1 have no mark. Texts and numbers soon have a byte that is no step of a pickle,
    or one that takes more than there is; words that could be names of functions are not called.

    Parameters
    ----------
    start : bytes
    is_cut : bool
        Whether the file goes on behind.
    longest : int
        Bytes that the file has at most.

    Returns
    -------
    bool or None
        None for steps up to a cut.

    >>> calls(b"cos\nsystem\n(S'true'\ntR.", is_cut=False), calls(b"cat\ndog\n", is_cut=False)
    (True, False)
    """
    place, stack = 0, _Stack()
    try:
        while place < len(start):
            step = _STEPS[start[place]]
            end = _end(step, start, place + 1)
            if end > len(start):
                fits = step.name == "STRING" or _fits(step.name, start[place + 1 :] + b"\n")
                return None if is_cut and end <= longest and fits else False
            if not _fits(step.name, start[place + 1 : end]):
                return False
            if stack.calls(step):
                return True
            place = end
            if step.name == "STOP":  # some files have one pickle behind the other
                stack = _Stack()
    except LookupError:  # no step, or one that takes what is not there
        return False
    return None if is_cut else False


def _end(step: pickletools.OpcodeInfo, data: bytes, place: int) -> int:
    """Return where an argument ends that begins at a place; behind the data if it is not all there.

    It is not read: unpicklers differ in the numbers and letters that they take.
    """
    kind = step.arg.n if step.arg else 0
    if kind >= 0:
        return place + kind
    if kind == pickletools.UP_TO_NEWLINE:
        for _ in range(2 if step.name in ("GLOBAL", "INST") else 1):
            place = data.find(b"\n", place) + 1 or len(data) + 1
        return place
    start = place + _LENGTHS[kind]
    length = int.from_bytes(data[place:start], "little")
    return start + length


def _fits(name: str, line: bytes) -> bool:
    """Tell whether some unpickler takes a line as the number or string that it should be."""
    if name not in _TEXTS:
        return True
    text = line[:-1] if name == "STRING" else line.partition(b"\0")[0]
    return _TEXTS[name].fullmatch(text) is not None


class _Stack:
    """What lies on the stack of a program: marks, things that were imported, and others."""

    def __init__(self) -> None:
        self._items: list[object] = []
        self._memo: object | None = None

    def calls(self, step: pickletools.OpcodeInfo) -> bool:
        """Take a step; tell whether it calls something imported, or ends with it.

        Raises
        ------
        LookupError
            If it takes what is not there, where a pickle ends.
        """
        if step.name == "INST":
            self._popped(step)
            return True
        if step.name in _KEEPS:  # under any number: something imported stands for all
            self._memo = _IMPORTED if self._memo is _IMPORTED else self._items[-1]
        elif step.name in _FETCHES and self._memo:
            self._items.append(self._memo)
        elif step.name == "DUP":
            self._items.append(self._items[-1])
        elif step.name == "POP":  # of a mark as well
            self._items.pop()
        else:
            popped = self._popped(step)
            if step.name in _ON_LOWEST and popped[0] is _IMPORTED:
                return True
            is_mark = pickletools.markobject in step.stack_after
            new = _MARK if is_mark else _IMPORTED if step.name in _IMPORTS else _OTHER
            self._items += [new] * len(step.stack_after)
        return False

    def _popped(self, step: pickletools.OpcodeInfo) -> list[object]:
        """Take what a step takes from the stack, the lowest first; without the mark."""
        before, popped = step.stack_before, list[object]()
        if pickletools.markobject in before:
            while (item := self._items.pop()) is not _MARK:
                popped.append(item)
            before = before[: before.index(pickletools.markobject)]
        for _ in before:
            item = self._items.pop()
            if item is _MARK:
                raise LookupError
            popped.append(item)
        return popped[::-1]
