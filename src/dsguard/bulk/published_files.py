"""Files beside images as they were published: a sealed list tells them from those of others.

Anybody can add a file to what is published, or change one. What is on no list, as it is now, does
not come back.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING

from dsguard.bulk.sealed_files import opened_in, sealed_in
from dsguard.bulk.sealed_lists import PUBLISHED
from dsguard.errors import DsguardError, InputError
from dsguard.formats.beside import texts_beside
from dsguard.formats.sealing import DIGEST_BYTES, digest_of_file

if TYPE_CHECKING:
    from dsguard.formats.base import Source
    from dsguard.keys import DatasetKey, KeySource

A_STRANGER = (
    "was added, or changed, after the images were protected: anybody can do that. It does not come "
    "back; get a whole copy, or take it from the published data yourself if you trust its author"
)

NO_LIST = (
    "lies beside the images, and no list tells that it was published with them: "
    "sealed-files.dsguard is not here, does not open, or is of an older dsguard. It does not come "
    "back; get a whole copy, or take it from the published data yourself if you trust its author"
)


def packed_digests(digests: Iterable[bytes]) -> bytes:
    """Return the digests of published files as they are sealed; empty where there are none."""
    return b"".join(sorted(digests))


@dataclass
class PublishedFiles:
    """The files that were published beside images, as sealed lists tell them.

    Attributes
    ----------
    fields : frozenset of str
        Files that are fields of images if the source is a shard, of which no list tells.
    lists : dict of str to frozenset of bytes
        By folder, with its slash, digests of the files in and below it.
    """

    fields: frozenset[str]
    lists: dict[str, frozenset[bytes]] = field(default_factory=dict)

    @classmethod
    def unlisted(cls, source: Source) -> PublishedFiles:
        """Return those of a source of which no list is known yet."""
        if not source.may_be_shard:
            return cls(frozenset())
        texts = [*source.companions(), *source.left_out()]
        beside = texts_beside(source.names(), texts).values()
        return cls(frozenset(chain.from_iterable(beside)))

    @classmethod
    def of(cls, source: Source, key: DatasetKey | KeySource) -> PublishedFiles:
        """Return those of a source; of what does not open, nothing is told here."""
        known = cls.unlisted(source)
        for name in sealed_in(source):
            with contextlib.suppress(DsguardError):
                known.add(opened_in(source, name, key))
        return known

    def add(self, files: dict[str, bytes]) -> None:
        """Add the lists that are among files which were sealed."""
        for name, data in files.items():
            folder, last = name[: name.rfind("/") + 1], name.rpartition("/")[2]
            if last == PUBLISHED:
                starts = range(0, len(data), DIGEST_BYTES)
                own = frozenset(data[start : start + DIGEST_BYTES] for start in starts)
                self.lists[folder] = own.union(self.lists.get(folder, ()))

    def is_field(self, name: str) -> bool:
        """Tell whether a file is a field of a shard, for all that is known."""
        return name in self.fields and not self.lists

    def fault(self, name: str, data: bytes) -> InputError | None:
        """Return why a file beside the images does not come back; None where it is as it was."""
        folders = [folder for folder in self.lists if name.startswith(folder)]
        for folder in folders:
            if digest_of_file(name[len(folder) :], data) in self.lists[folder]:
                return None
        if self.is_field(name):
            return None
        return InputError(A_STRANGER if folders else NO_LIST)
