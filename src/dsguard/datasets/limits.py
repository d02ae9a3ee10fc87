"""How much something packed may unpack to: a short file can hold any length of zeros."""

from __future__ import annotations

_ALWAYS = 1 << 26
_RATIO = 100


def most_unpacked(packed: int, most: int) -> int:
    """Return the bytes that `packed` ones may unpack to: a hundred times as many, but 64 MiB.

    Parameters
    ----------
    packed : int
    most : int
        Not more than these, however many are packed.
    """
    return min(most, max(_ALWAYS, _RATIO * packed))


def too_much(most: int) -> str:
    """Return what is said of something that unpacks to more than `most` bytes."""
    return f"unpacks to more than {most} bytes, too much for its size; unpack it yourself"
