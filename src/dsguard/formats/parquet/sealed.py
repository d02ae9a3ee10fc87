"""Columns of Parquet files that were sealed, put back into the rows that they belong to."""

from __future__ import annotations

import io
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache, partial
from typing import TYPE_CHECKING

from dsguard.errors import InputError
from dsguard.formats.base import Extras, Loose, Part, Rows
from dsguard.formats.limits import check_rows, most_unpacked
from dsguard.formats.names import checked
from dsguard.formats.parquet.batches import batches_of, plain_schema
from dsguard.formats.parquet.columns import Columns, arrow, damage
from dsguard.formats.parquet.entries import (
    DIGEST,
    MARK,
    check_own,
    marks_in,
    published_in,
    schema_of,
)
from dsguard.formats.parquet.fields import FieldsOf
from dsguard.formats.parquet.fitting import fitted, merged_schema, misfits
from dsguard.formats.parquet.foreign import parquet_file
from dsguard.formats.parquet.marks import NO_BLOCK, NULL_BLOCK, blocks, blocks_of, marks_of
from dsguard.formats.parquet.table import Table
from dsguard.formats.parquet.vouching import Troubles, vouched
from dsguard.formats.sealing import Entries, Unsealed, digest_of, numbered_name

if TYPE_CHECKING:
    import pyarrow as pa

    from dsguard.formats.parquet.reader import ParquetSource

_MOST_BYTES = 1 << 28
_AT_ONCE = 1 << 24


class SealedColumns(Unsealed):
    """The columns that were sealed beside a Parquet file, by the images that they belong to.

    Raises
    ------
    InputError
        If what was sealed is no such columns, or claims very much more memory than it has bytes.
    """

    def __init__(self, source: ParquetSource, part: Part, entries: Entries) -> None:
        self._source, self._part, self._entries = source, part, entries
        self._files: dict[str, str] = {}
        self._firsts: list[int] = []
        self._tables: list[str] = []
        self._widths: dict[str, float] = {}
        self._digests: list[bytes] = []
        self._row_of: dict[bytes, int | None] = {}
        self._ever_sealed: set[str] = set()
        self._unmarked: set[str] = set()
        self._troubles = Troubles(part.file)
        self._misfits: frozenset[str] = frozenset()
        self._compared: list[int] = []
        self._is_met = False
        self._load = lru_cache(2)(self._loaded)
        self._schema: pa.Schema | None = None
        for entry in entries:
            place, name = numbered_name(entry)
            if place < 0:
                self._files[checked(name)] = entry
            else:
                self._add(entry, place)
        self._load.cache_clear()
        self.images = self._row_of.keys()

    def _add(self, entry: str, first: int) -> None:
        """Note the rows of an entry, which go on where those before it end."""
        table = self._load(entry)
        schema = schema_of(table)
        if self._schema is not None and not schema.equals(self._schema, check_metadata=True):
            msg = "has columns of several kinds, which dsguard never seals"
            raise InputError(msg)
        if first != len(self._digests):
            msg = "has rows that do not follow each other, which dsguard never seals"
            raise InputError(msg)
        self._schema = schema
        self._firsts.append(first)
        self._tables.append(entry)
        self._widths[entry] = table.nbytes / max(1, table.num_rows)
        self._ever_sealed.update(set(schema.names).difference(published_in(table)))
        self._unmarked.update(_unmarked_in(table, schema))
        for row, digest in enumerate(table.column(DIGEST).to_pylist(), first):
            self._row_of[digest] = None if digest in self._row_of else row
            self._digests.append(digest)

    def _loaded(self, entry: str) -> pa.Table:
        """Return an entry, if it takes no more memory than its bytes can account for."""
        pyarrow, _ = arrow()
        data = self._entries[entry]
        try:
            file = parquet_file(io.BytesIO(data))
            check_rows(file.metadata.num_rows, len(data), "what was sealed")
            most = most_unpacked(len(data), _MOST_BYTES)
            batches = list(batches_of(io.BytesIO(data), file, most_bytes=most))
            schema = plain_schema(file.schema_arrow)  # an older dsguard sealed views as they came
            table = pyarrow.Table.from_batches(batches, schema).combine_chunks()
            check_own(table.schema)
        except damage() as error:
            msg = f"has columns that are damaged: {error}"
            raise InputError(msg) from error
        return table

    def put_into(self, rows: Rows, known: set[int]) -> Iterator[Rows]:
        """Yield rows with the columns that were sealed of them; others keep those published.

        Published rows are short: with their columns they may be too long to be had all at once.
        """
        table = rows.record
        assert isinstance(table, Table)
        del known  # which each row has to be by itself
        if self._schema is None:
            yield rows
            return
        if not self._is_met:
            self._meet(table)
        for runs in self._cut(self._places(rows, table)):
            start, stop = runs[0].start, runs[-1].stop
            sealed = self._sealed_in(runs, start)
            merged = self._merged(table, start, stop, runs)
            trusted = self._ever_sealed - self._misfits
            batch = vouched(merged, table.columns.image, trusted, sealed, self._troubles)
            columns = Columns(batch.schema, table.columns.file)
            if columns.image != table.columns.image:
                msg = "has another column of images than the published file"
                raise InputError(msg)
            yield replace(
                rows,
                names=rows.names[start:stop],
                classes=rows.classes[start:stop],
                files=rows.files[start:stop],
                originals=rows.originals[start:stop],
                record=Table(batch, columns),
                extras=(fields := FieldsOf(batch, columns)),
                published=partial(_published, fields, sealed),
            )

    def _sealed_in(self, runs: list[_Run], start: int) -> list[Collection[str]]:
        """Return the columns of each row that were sealed, and are not as they were published."""
        assert self._schema is not None
        sealed: list[Collection[str]] = [()] * (runs[-1].stop - start)
        for run in runs:
            if run.entry:
                own = set(self._schema.names).difference(published_in(self._load(run.entry)))
                sealed[run.start - start : run.stop - start] = [own - self._misfits] * len(run.rows)
        return sealed

    def _cut(self, places: Iterable[tuple[str, int] | None]) -> Iterator[list[_Run]]:
        """Yield runs of rows that lie in one entry, as many as are put together at once."""
        runs: list[_Run] = []
        size = 0.0
        for number, place in enumerate(places):
            entry, row = place or ("", 0)
            size += self._widths.get(entry, 0)
            if runs and size > _AT_ONCE:
                yield runs
                runs, size = [], self._widths.get(entry, 0)
            if not runs or runs[-1].entry != entry:
                runs.append(_Run(entry, number))
            runs[-1].rows.append(row)
        if runs:
            yield runs

    def _merged(self, table: Table, start: int, stop: int, runs: list[_Run]) -> pa.RecordBatch:
        """Return some rows with the columns of the source, and those that were added since."""
        pyarrow, _ = arrow()
        assert self._schema is not None
        published = table.batch.slice(start, stop - start)
        names, as_published = set(self._schema.names), {table.columns.image or "", *self._misfits}
        schema = merged_schema(self._schema, published.schema, as_published)
        arrays = []
        for each in schema:
            if each.name in as_published or each.name not in names:
                arrays.append(published.column(each.name))
                continue
            parts = [self._values(each, table.batch, run) for run in runs]
            arrays.append(parts[0] if len(parts) == 1 else pyarrow.concat_arrays(parts))
        return pyarrow.RecordBatch.from_arrays(arrays, schema=schema)

    def rest(self) -> Iterator[Rows]:
        if self._files and self._part.names is None and not self._part.start:
            self.used += len(self._files)
            files = {name: self._entries[entry] for name, entry in self._files.items()}
            yield Rows([], [], record=Loose(files))

    def _places(self, rows: Rows, table: Table) -> Iterator[tuple[str, int] | None]:
        """Yield in which entry the columns of each image lie, and where there.

        The image says so, and the published values do where others are like it. Of rows that are
        alike in both, their numbers do, where all rows are those that were written: some may have
        been sorted, taken or added since.
        """
        digests = list(map(digest_of, rows.files))
        several = [n for n, digest in enumerate(digests) if self._row_of.get(digest, 0) is None]
        marks = self._marks(table, several)
        alike = {n: self._alike.get((digests[n], marks[n]), []) for n in several}
        stays = self._has_all_rows and all(
            number in alike[n] if n in alike else self._digests[number] == digest
            for n, (number, digest) in enumerate(zip(table.numbers, digests, strict=True))
            if digest in self._row_of
        )
        for n, (number, digest) in enumerate(zip(table.numbers, digests, strict=True)):
            row = self._row_of.get(digest)
            if n in alike:
                row = number if stays else None
                if len(alike[n]) == 1:
                    row = alike[n][0]
                elif row is None:
                    self._troubles.unknown.append(rows.names[n])
            if row is None:
                yield None
                continue
            place = bisect_right(self._firsts, row) - 1
            yield self._tables[place], row - self._firsts[place]

    def _meet(self, table: Table) -> None:
        """Note which columns of the published file have other types since, and which can tell."""
        assert self._schema is not None
        published, image = table.batch.schema, table.columns.image
        wanted = arrow()[0].schema(each for each in self._schema if each.name != image)
        self._misfits = misfits(self._source, self._part.file, published, wanted)
        dumb = self._misfits | self._unmarked
        told = set(published.names).difference(dumb)
        self._compared = [n for n, name in enumerate(self._schema.names) if name in told]
        self._is_met = True

    def _marks(self, table: Table, rows: list[int]) -> dict[int, bytes]:
        """Return what is compared of the marks of some published rows."""
        if not rows:
            return {}
        assert self._schema is not None
        marks = marks_of(table.batch.take(rows), self._schema, table.columns.image)
        return {n: blocks(mark, self._compared) for n, mark in zip(rows, marks, strict=True)}

    @cached_property
    def _alike(self) -> dict[tuple[bytes, bytes], list[int]]:
        """The rows of images that others are like, by image and what is compared of their marks."""
        found: dict[tuple[bytes, bytes], list[int]] = defaultdict(list)
        for first, entry in zip(self._firsts, self._tables, strict=True):
            table = self._load(entry)
            for row, mark in enumerate(marks_in(table), first):
                digest = self._digests[row]
                if self._row_of[digest] is None:
                    found[digest, blocks(mark, self._compared)].append(row)
        return found

    @cached_property
    def _has_all_rows(self) -> bool:
        """Whether the published file has as many rows as were written."""
        return self._source.count_of(self._part.file) == len(self._digests)

    def trouble(self) -> str:
        return self._troubles.told(self._misfits & self._ever_sealed) or super().trouble()

    def _values(self, wanted: pa.Field, published: pa.RecordBatch, run: _Run) -> pa.Array:
        """Return a column for a run of rows: sealed, published, or nulls."""
        pyarrow, _ = arrow()
        rows = published.slice(run.start, len(run.rows))
        if run.entry:
            table = self._load(run.entry)
            if wanted.name not in published_in(table):
                self.used += len(run.rows)
                self._note_changed(wanted, rows, table, run)
                taken = table.column(wanted.name).combine_chunks().take(run.rows)
                return taken.combine_chunks() if hasattr(taken, "chunks") else taken
        column = None
        if wanted.name in rows.schema.names:
            column = fitted(rows.column(wanted.name), wanted.type)
        return pyarrow.nulls(len(rows), wanted.type) if column is None else column

    def _note_changed(
        self, wanted: pa.Field, published: pa.RecordBatch, table: pa.Table, run: _Run
    ) -> None:
        """Note a column that has other values than were published, where sealed ones go."""
        if wanted.name not in published.schema.names or MARK not in table.schema.names:
            return
        if published.column(wanted.name).null_count == published.num_rows:
            return
        place, marks = schema_of(table).get_field_index(wanted.name), marks_in(table, run.rows)
        for mark, block in zip(marks, blocks_of(published, wanted), strict=True):
            if block not in (NULL_BLOCK, blocks(mark, [place])):
                self._troubles.changed.add(wanted.name)


def _published(fields: FieldsOf, sealed: list[Collection[str]], row: int) -> Extras:
    return fields.without(row, sealed[row])


@dataclass
class _Run:
    """Rows that follow each other, and whose columns lie in one entry; empty for none."""

    entry: str
    start: int
    rows: list[int] = field(default_factory=list)

    @property
    def stop(self) -> int:
        return self.start + len(self.rows)


def _unmarked_in(table: pa.Table, schema: pa.Schema) -> Iterator[str]:
    """Yield the columns that were not published, or of which an old entry has no marks."""
    marks = marks_in(table)
    for n, each in enumerate(schema):
        if not marks or blocks(marks[0], [n]) in (b"", NO_BLOCK):
            yield each.name
