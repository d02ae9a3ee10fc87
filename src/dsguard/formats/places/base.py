"""The contract of places: what lies there, reading, writing whole files."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from dsguard.errors import InputError
from dsguard.formats.limits import MOST_LOOSE, check_size
from dsguard.formats.places.hidden import may_be_data


@dataclass
class Listing:
    """The content of a place.

    Attributes
    ----------
    files : list of str
        Names of all files at any depth, sorted; not those in hidden folders, nor leftovers.
    refused : dict of str to InputError
        What is not read, and why; the name of a folder ends with ``/``.
    leftovers : list of str
        Journals, scratch folders and temporary files of runs, sorted.
    hidden : list of str
        Names of files in hidden folders, where these were looked into.
    """

    files: list[str] = field(default_factory=list)
    refused: dict[str, InputError] = field(default_factory=dict)
    leftovers: list[str] = field(default_factory=list)
    hidden: list[str] = field(default_factory=list)

    def ordered(self) -> Listing:
        """Return itself, sorted."""
        self.files.sort()
        self.leftovers.sort()
        return self


class Place(ABC):
    """A folder, and the files under it by relative name with ``/``.

    What writes, moves or removes refuses names that `dsguard.formats.names.checked` refuses.
    """

    @abstractmethod
    def __str__(self) -> str: ...

    @abstractmethod
    def listing(self) -> Listing:
        """Look at all that there is."""

    def files(self) -> list[str]:
        """Return the names of all files at any depth, sorted; hidden folders are passed over."""
        return self.listing().files

    @abstractmethod
    def open(self, name: str) -> BinaryIO:
        """Open a file for reading, in any order."""

    @abstractmethod
    def exists(self, name: str) -> bool:
        """Tell whether there is such a file or folder."""

    @abstractmethod
    def has_file(self, name: str) -> bool:
        """Tell whether there is such a file: no folder, and no pipe."""

    @abstractmethod
    def write(self, name: str, data: bytes) -> None:
        """Write a file whole or not at all, over what may be there."""

    @abstractmethod
    def discard(self, name: str) -> None:
        """Remove a file."""

    def remove_if_empty(self) -> None:  # noqa: B027 - some have no empty folders
        """Remove the folders where nothing is in them, this one as well; hidden ones stay."""

    @abstractmethod
    def clear(self, folder: str) -> None:
        """Remove a folder in this one with all that is in it."""

    @abstractmethod
    def new_file(self, name: str) -> BinaryIO:
        """Open a new file of the scratch folder for writing and reading."""

    @abstractmethod
    def drop(self, name: str) -> None:
        """Remove a file of the scratch folder, if it is there."""

    @abstractmethod
    def take(self, file: str, name: str) -> None:
        """Move a file of the scratch folder here, whole or not at all."""

    @abstractmethod
    def scratch(self) -> Path:
        """Return a local folder for files on their way here."""

    @abstractmethod
    def clear_scratch(self) -> None:
        """Remove the scratch folder."""

    def sync(self) -> None:  # noqa: B027 - some stores do so whenever they are written to
        """Have all that was written reach the disk: after a power cut it is still whole."""

    def hold(self) -> None:  # noqa: B027 - stores have no links
        """Make the place; from now on, no other that is put there is taken for it."""

    def release(self) -> None:  # noqa: B027 - some hold nothing
        """Close the folders that are held open, so that a disk can be taken away."""

    def folded(self, name: str) -> str:
        """Return what is the same for all names that are one file here, and for no others."""
        return name

    def is_root(self) -> bool:
        """Tell whether nothing can lie beside this place but what may be of somebody else."""
        return False

    @abstractmethod
    def lies_in(self, other: Place) -> bool:
        """Tell whether this is another place or lies in it, by whatever paths both are reached."""

    @abstractmethod
    def beside(self, suffix: str) -> Place:
        """Return the private place whose name is that of this one and `suffix`."""

    def read(self, name: str) -> bytes:
        """Return the content of a file."""
        with self.open(name) as file:
            data = file.read(MOST_LOOSE)
        check_size(len(data), MOST_LOOSE)  # of a server that sends without end as well
        return data

    def modified(self, name: str) -> int | None:
        """Return when a file was modified last, in nanoseconds; None where that is not told."""
        del name
        return None

    def set_modified(self, name: str, date: int) -> None:  # noqa: B027 - stores have their own
        """Have a file look as if it was modified then."""

    def stamp_of_written(self, names: Iterable[str]) -> str:
        """Return what changes when one of the files does that were written here.

        It is empty for stores, which would be asked for each.
        """
        del names
        return ""

    def hidden_files(self, found: Listing) -> list[str]:
        """Return the hidden files that may be data of somebody, sorted.

        Parameters
        ----------
        found : Listing
            That of this place.
        """
        return sorted(filter(may_be_data, (*found.files, *found.hidden)))

    def stamp(self, name: str) -> str:
        """Return what changes when the file does, as far as can be told without reading it."""
        with self.open(name) as file:
            return str(file.seek(0, os.SEEK_END))

    def stamps(self, names: Collection[str]) -> list[str]:
        """Return the stamps of files, in their order; some servers are asked for many at once."""
        return list(map(self.stamp, names))
