"""Names that are one name to some disks: they differ in capitals, or in how accents are coded."""

from __future__ import annotations

import contextlib
import tempfile
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dsguard.errors import InputError
from dsguard.formats.names import shown

if TYPE_CHECKING:
    from dsguard.formats.places.base import Place

_IN_ONE, _IN_TWO = "\u00e9", "e\u0301"
"""One letter with an accent in both normal forms of Unicode: as one character, and as two."""


@dataclass(frozen=True)
class Spelling:
    """What a disk does not tell apart in the names of files.

    Attributes
    ----------
    ignores_case : bool
        As those of macOS and Windows do, exFAT and most SMB shares.
    ignores_forms : bool
        Whether a letter with an accent may be one character or two, as on macOS.
    """

    ignores_case: bool = False
    ignores_forms: bool = False

    @classmethod
    def of(cls, folder: Path) -> Spelling:
        """Return that of the disk of a folder which can be written to; nothing stays there."""
        try:
            with tempfile.TemporaryDirectory(prefix=".dsguard-", suffix=".tmp", dir=folder) as made:
                within = Path(made)
                return cls(_are_one(within, "x", "X"), _are_one(within, _IN_ONE, _IN_TWO))
        except OSError:  # nothing can be written there, as whoever tries will say
            return cls()

    def folded(self, name: str) -> str:
        """Return what is the same for all names that are one here.

        Disks fold letters by tables of their own. Some keep apart what is one by this, never the
        other way round.
        """
        if self.ignores_forms:
            name = unicodedata.normalize("NFC", name)
        return name.casefold() if self.ignores_case else name


def _are_one(folder: Path, name: str, other: str) -> bool:
    with contextlib.suppress(OSError, UnicodeError):  # a disk or locale without such letters
        (folder / name).touch()
        return (folder / other).exists()
    return False


class Apart:
    """The names of files at a place, to notice those that are one file there."""

    def __init__(self, place: Place) -> None:
        self._folded = place.folded
        self._first: dict[str, str] = {}

    def other(self, name: str) -> str:
        """Return the name taken before that is one file with this; take it if there is none.

        Empty where there is none, or it is the same name.
        """
        first = self._first.setdefault(self._folded(name), name)
        return "" if first == name else first


def alike(
    first: str,
    name: str,
    place: Place,
    become: str = "would be one file, and the first is written",
) -> InputError:
    """Return the error of a file or folder whose name is that of another there."""
    return InputError(
        f"{shown(first)} and {shown(name)} {become}: {place} does not keep names apart that differ "
        "in capitals alone, or in how accents are coded; choose a folder on another disk, or "
        "--out-format webdataset or parquet"
    )
