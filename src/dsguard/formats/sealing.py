"""The contract of sealing: what a shard does not publish is given away, and had again."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dsguard.formats.base import Rows


class Sealer(ABC):
    """Takes what a shard does not publish.

    Attributes
    ----------
    count : int
        How many values it took.
    """

    count = 0

    @abstractmethod
    def add(self, name: str, data: bytes, count: int = 1) -> str:
        """Take what counts as some values; return why that cannot be, empty where it can."""


class Entries(ABC):
    """What was sealed beside a shard, by name."""

    @abstractmethod
    def __iter__(self) -> Iterator[str]:
        """Go through the names, in the order in which they were given away."""

    @abstractmethod
    def size(self) -> int:
        """Return how many bytes there are."""

    @abstractmethod
    def __getitem__(self, name: str) -> bytes:
        """Return what was given away under a name."""


class Unsealed:
    """What was sealed beside a shard, ready to be put back; this one where there is nothing.

    Attributes
    ----------
    used : int
        How many values came back.
    """

    used = 0

    def put_into(self, rows: Rows) -> Iterator[Rows]:
        """Yield rows with what was sealed of them."""
        yield rows

    def rest(self) -> Iterator[Rows]:
        """Yield what belongs to no image."""
        yield from ()

    def look_through(self) -> None:
        """Count what would come back where something was written, and now is not."""

    def left(self) -> Iterator[tuple[str, str]]:
        """Yield the names of what has found no place, and why."""
        yield from ()


LOOSE = "-"
"""In place of a number, before the name of what belongs to no image."""


def numbered(number: int | str, name: str) -> str:
    """Return the name of an entry: its place among its like, then what it is called."""
    return f"{number}/{name}"


def numbered_name(entry: str) -> tuple[int, str]:
    """Return the place and the name that an entry has; -1 for what belongs to no image."""
    number, _, name = entry.partition("/")
    if number == LOOSE:
        return -1, name
    return (int(number) if number.isascii() and number.isdigit() and len(number) < 10 else 0), name
