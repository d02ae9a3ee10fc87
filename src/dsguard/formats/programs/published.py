"""Programs and types in published shards: anybody can put them there, and readers run them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from dsguard.formats.base import Extras, Loose, Rows
from dsguard.formats.folder.reader import TreeSource
from dsguard.formats.parquet.foreign import without_types
from dsguard.formats.parquet.table import Table
from dsguard.formats.programs.data import is_data, programs_among, programs_of_stem
from dsguard.formats.sealing import Unsealed, digest_of
from dsguard.formats.webdataset.reader import Samples, sample_of

if TYPE_CHECKING:
    from dsguard.formats.base import Source


class PublishedPrograms:
    """Takes out of what was published all that could be programs, and names it.

    What is sealed has been put there by somebody with the key, and comes back with that key.

    Parameters
    ----------
    source : Source
    found : Unsealed
    trusts_sealed : bool
        Whether sealed programs come back: with keys of images, others than the owner can seal.
    """

    def __init__(self, source: Source, found: Unsealed, *, trusts_sealed: bool = True) -> None:
        self._found, self._is_tree = found, isinstance(source, TreeSource)
        self._trusts_sealed = trusts_sealed
        self._types: set[str] = set()
        self._published: dict[str, bytes] = {}
        self._sealed: dict[str, bytes] = {}

    def taken_out(self, rows: Rows) -> Iterator[Rows]:
        """Yield rows with what was sealed of them, and without published programs."""
        published = self._without(rows)
        for each in self._found.put_into(published, self._found.known(published)):
            is_plain = self._is_tree or isinstance(each.record, Samples)
            trusted = self._trusted(each)
            if self._types and isinstance(each.record, Table):
                self._types.difference_update(self._types_in(trusted)[1])  # they were sealed
            yield trusted if is_plain else self._sealed_alone(trusted)

    def rest(self) -> Iterator[Rows]:
        """Yield what was sealed of no image."""
        for rows in [] if self._found.is_strange else self._found.rest():
            yield self._trusted(rows)

    def left(self) -> Iterator[str]:
        """Yield the names of all that was published, and does not come back."""
        for name, digest in self._published.items():
            if self._sealed.get(name) != digest:
                yield name

    def types(self) -> list[str]:
        """Return the columns of published tables that come back without their types."""
        return sorted(self._types)

    def _trusted(self, rows: Rows) -> Rows:
        """Return rows of a shard with what may come back of that which was sealed."""
        if not self._trusts_sealed:
            return self._without(rows)
        self._sealed |= _programs_of(rows)
        return rows

    def _without(self, rows: Rows) -> Rows:
        """Return rows of a shard without programs in it, those of a table without types."""
        if isinstance(rows.record, Table):
            rows, types = self._types_in(rows)
            self._types.update(types)
            return rows
        if isinstance(rows.record, Loose):
            return self._without_loose(rows, rows.record)
        if self._is_tree and not self._trusts_sealed:
            return self._without_texts(rows)
        programs = _programs_of(rows)
        if not isinstance(rows.record, Samples) or not programs:
            return rows
        self._published |= programs
        members = [
            kept
            for kept in rows.record.members
            if kept.data is None or is_data(kept.name, kept.data)
        ]
        plain = rows.extras

        def extras(row: int) -> Extras:
            fields = plain(row)
            theirs = programs_of_stem(fields, sample_of(rows.names[row]))  # as they are written
            theirs |= programs_among(fields, rows.names[row])
            return {name: data for name, data in fields.items() if name not in theirs}

        return replace(rows, record=replace(rows.record, members=members), extras=extras)

    def _without_loose(self, rows: Rows, record: Loose) -> Rows:
        """Return rows without what belongs to no image and could be a program."""
        files = {name: data for name, data in record.files.items() if is_data(name, data)}
        self._published |= dict.fromkeys(record.files.keys() - files.keys(), b"")
        return replace(rows, record=Loose(files))

    def _without_texts(self, rows: Rows) -> Rows:
        """Return rows of a folder without the fields that could be programs.

        Tables are data, and become JSON here, of which some is none.
        """
        plain = rows.extras

        def extras(row: int) -> Extras:
            fields = plain(row)
            theirs = programs_among(fields, rows.names[row])
            self._published |= dict.fromkeys(theirs.values(), b"")
            return {name: data for name, data in fields.items() if name not in theirs}

        return replace(rows, extras=extras)

    def _types_in(self, rows: Rows) -> tuple[Rows, list[str]]:
        """Return rows of a table without types of packages, and the columns that had one."""
        assert isinstance(rows.record, Table)
        columns = rows.record.columns
        batch, names = without_types(rows.record.batch, columns.image)
        found = [f"{columns.file}/{name}" for name in names]
        return replace(rows, record=replace(rows.record, batch=batch)) if names else rows, found

    def _sealed_alone(self, rows: Rows) -> Rows:
        """Return rows of a table without the programs that were published, or partly so.

        One field may be of several columns, of which only some were sealed.
        """
        plain, published = rows.extras, rows.published or rows.extras

        def extras(row: int) -> Extras:
            fields = plain(row)
            programs = programs_among(fields, rows.names[row])
            if not programs:
                return fields
            strange = programs_among(published(row), rows.names[row])
            theirs = {n for n in programs if n in strange or not self._trusts_sealed}
            self._published |= {programs[name]: b"" for name in theirs}
            return {name: data for name, data in fields.items() if name not in theirs}

        return replace(rows, extras=extras)


def _programs_of(rows: Rows) -> dict[str, bytes]:
    """Return digests of what could be programs among the members of a shard, by name."""
    if not isinstance(rows.record, Samples):
        return {}
    shard = rows.record.shard
    return {
        f"{shard}/{kept.name}": digest_of(kept.data)
        for kept in rows.record.members
        if kept.data is not None and not is_data(kept.name, kept.data)
    }
