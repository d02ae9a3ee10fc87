"""Columns of Parquet files that are not published: packed with digests of their images, and back.

An entry is a small Parquet file with the rows of one chunk, called after the number of its first
row in the published file. It has all columns of the source, those that are published as they are
without their values, and the digests of the published images. All rows are in one: where images are
alike the number tells whose values are whose.
"""

from __future__ import annotations

import io
import json
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, NamedTuple

from dsguard.errors import InputError
from dsguard.formats.base import Loose, Part, Rows
from dsguard.formats.disclosure import A_KEY
from dsguard.formats.limits import MOST_BYTES, check_rows, load_json, most_unpacked
from dsguard.formats.names import checked
from dsguard.formats.parquet.columns import Columns, arrow, damage
from dsguard.formats.parquet.dropped import undropped_column, undropped_metadata, undropped_rows
from dsguard.formats.parquet.fields import FieldsOf
from dsguard.formats.parquet.pages import rows_at_once
from dsguard.formats.parquet.table import Table, holds_key
from dsguard.formats.sealing import DIGEST_BYTES, Entries, Unsealed, digest_of, numbered_name

if TYPE_CHECKING:
    import pyarrow as pa

    from dsguard.formats.parquet.reader import ParquetSource
    from dsguard.formats.review import Review

_DIGEST = "dsguard.image"
_PUBLISHED = b"dsguard.published"
_MOST_BYTES = 1 << 28
_AT_ONCE = 1 << 24


class Packed(NamedTuple):
    """An entry.

    Attributes
    ----------
    data : bytes
    values : int
        How many are in it.
    is_needed : bool
        Whether it has more than what is published.
    """

    data: bytes
    values: int
    is_needed: bool


def packed(
    whole: Table, published: pa.RecordBatch, rows: list[int], files: Sequence[bytes], review: Review
) -> Packed:
    """Return an entry with the columns that are not published as they are.

    Parameters
    ----------
    whole : Table
        As the rows came.
    published : RecordBatch
        The rows that were written, with the columns that go along.
    rows : list of int
        Their numbers in `whole`.
    files : sequence of bytes
        Their published images.
    review : Review
    """
    batch = whole.batch if len(rows) == whole.batch.num_rows else whole.batch.take(rows)
    batch = undropped_rows(batch, whole.columns, review.drops)
    there = {name: published.column(name) for name in published.schema.names}
    kept: list[pa.Field] = []
    sealed: dict[str, pa.Array] = {}
    for each in batch.schema:
        column, path = batch.column(each.name), f"{whole.columns.file}/{each.name}"
        if each.name != whole.columns.image:
            column = undropped_column(column, path, review.drops, sealing=True)
        is_same = each.name in there and column.equals(there[each.name])
        is_published = each.name == whole.columns.image or is_same
        if not is_published and review.account.says_of(whole.columns.file, each.name) is False:
            continue
        kept.append(each)
        if is_published:
            continue
        if not holds_key(column, review):
            sealed[each.name] = column
        elif each.name not in there:
            review.account.leave_out(each.name, path, A_KEY, len(rows))
    metadata = undropped_metadata(batch.schema.metadata, whole.columns.file, review.drops) or {}
    is_less = review.account.is_cut or len(kept) < len(batch.schema.names)
    if is_less or review.drops.holds_key(repr(metadata).encode()):
        metadata = dict(published.schema.metadata or {})  # it may tell of what does not come back
    is_needed = bool(sealed) or metadata != dict(published.schema.metadata or {})
    digests = list(map(digest_of, files))
    data = _entry(kept, sealed, digests, metadata)
    if len(data) > MOST_BYTES:
        for name, column in sealed.items():
            reason = f"is too much to be sealed: {MOST_BYTES >> 20} MiB are the most"
            path = f"{whole.columns.file}/{name}"
            review.account.leave_out(name, path, reason, len(column), sealable=False)
        sealed = {}
        data = _entry(kept, sealed, digests, metadata)
    return Packed(data, len(sealed) * len(rows), is_needed)


def _entry(
    kept: list[pa.Field],
    sealed: dict[str, pa.Array],
    digests: list[bytes],
    metadata: dict[bytes, bytes],
) -> bytes:
    """Return an entry with these columns, without the values of those that are not sealed."""
    pyarrow, parquet = arrow()
    published = json.dumps([each.name for each in kept if each.name not in sealed])
    columns = [
        sealed[each.name] if each.name in sealed else pyarrow.nulls(len(digests), each.type)
        for each in kept
    ]
    columns.append(pyarrow.array(digests, pyarrow.binary(DIGEST_BYTES)))
    names = [*(each.name for each in kept), _DIGEST]
    fields = [pyarrow.field(n, column.type) for n, column in zip(names, columns, strict=True)]
    schema = pyarrow.schema(fields, metadata={**metadata, _PUBLISHED: published.encode()})
    out = io.BytesIO()
    table = pyarrow.Table.from_arrays(columns, schema=schema)
    parquet.write_table(table, out, write_statistics=False)
    return out.getvalue()


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
        self._unknown: list[str] = []
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
        schema = _schema_of(table)
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
        for row, digest in enumerate(table.column(_DIGEST).to_pylist(), first):
            self._row_of[digest] = None if digest in self._row_of else row
            self._digests.append(digest)

    def _loaded(self, entry: str) -> pa.Table:
        """Return an entry, if it takes no more memory than its bytes can account for."""
        pyarrow, parquet = arrow()
        data = self._entries[entry]
        try:
            file = parquet.ParquetFile(io.BytesIO(data))
            check_rows(file.metadata.num_rows, len(data), "what was sealed")
            groups = list(range(file.metadata.num_row_groups))
            count = rows_at_once(io.BytesIO(data), file, groups, None)
            batches, size = [], 0
            for batch in file.iter_batches(count, row_groups=groups):
                batch.validate(full=True)
                batches.append(batch)
                size += batch.nbytes
                if size > most_unpacked(len(data), _MOST_BYTES):
                    msg = "unpacks to too much for its size"
                    raise InputError(msg)
            table = pyarrow.Table.from_batches(batches, file.schema_arrow).combine_chunks()
            if table.schema.field(_DIGEST).type != pyarrow.binary(DIGEST_BYTES):
                msg = "has no digests of images"
                raise InputError(msg)
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
        for runs in self._cut(self._places(rows, table)):
            start, stop = runs[0].start, runs[-1].stop
            batch = self._merged(table, start, stop, runs)
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
                extras=FieldsOf(batch, columns),
            )

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
        """Return some rows with the columns of the source."""
        pyarrow, _ = arrow()
        assert self._schema is not None
        arrays, fields = [], []
        for each in self._schema:
            if each.name == table.columns.image:
                column = table.batch.column(each.name).slice(start, stop - start)
            else:
                parts = [self._values(each, table.batch, run) for run in runs]
                column = parts[0] if len(parts) == 1 else pyarrow.concat_arrays(parts)
            arrays.append(column)
            fields.append(pyarrow.field(each.name, column.type))
        schema = pyarrow.schema(fields, metadata=self._schema.metadata)
        return pyarrow.RecordBatch.from_arrays(arrays, schema=schema)

    def rest(self) -> Iterator[Rows]:
        if self._files and self._part.names is None and not self._part.start:
            self.used += len(self._files)
            files = {name: self._entries[entry] for name, entry in self._files.items()}
            yield Rows([], [], record=Loose(files))

    def _places(self, rows: Rows, table: Table) -> Iterator[tuple[str, int] | None]:
        """Yield in which entry the columns of each image lie, and where there.

        Where all rows are those that were written, the number of a row says so. Where some were
        sorted, taken or added since, the image alone does, if no other is like it.
        """
        digests = list(map(digest_of, rows.files))
        numbers = table.numbers
        stays = self._has_all_rows and all(
            self._digests[number] == digest
            for number, digest in zip(numbers, digests, strict=True)
            if digest in self._row_of
        )
        for number, digest, name in zip(numbers, digests, rows.names, strict=True):
            if digest not in self._row_of:
                yield None
                continue
            row = number if stays else self._row_of[digest]
            if row is None:
                self._unknown.append(name)
                yield None
                continue
            place = bisect_right(self._firsts, row) - 1
            yield self._tables[place], row - self._firsts[place]

    @cached_property
    def _has_all_rows(self) -> bool:
        """Whether the published file has as many rows as were written."""
        return self._source.count_of(self._part.file) == len(self._digests)

    def trouble(self) -> str:
        if not self._unknown:
            return super().trouble()
        others = len(self._unknown) - 1
        more = f" and of {others} more" if others else ""
        return (
            f"rows of {self._part.file} were sorted, taken or added since, and other images are "
            f"just like that of {self._unknown[0]}{more}: whose values are whose is not known, and "
            "they stay sealed; restore the file as it was published"
        )

    def _values(self, wanted: pa.Field, published: pa.RecordBatch, run: _Run) -> pa.Array:
        """Return a column for a run of rows: sealed, published, or nulls."""
        pyarrow, _ = arrow()
        if run.entry:
            table = self._load(run.entry)
            if wanted.name not in _published_in(table):
                self.used += len(run.rows)
                taken = table.column(wanted.name).combine_chunks().take(run.rows)
                return taken.combine_chunks() if hasattr(taken, "chunks") else taken
        if wanted.name in published.schema.names:
            column = published.column(wanted.name).slice(run.start, len(run.rows))
            try:
                return column.cast(wanted.type)
            except pyarrow.ArrowException:
                pass
        return pyarrow.nulls(len(run.rows), wanted.type)


@dataclass
class _Run:
    """Rows that follow each other, and whose columns lie in one entry; empty for none."""

    entry: str
    start: int
    rows: list[int] = field(default_factory=list)

    @property
    def stop(self) -> int:
        return self.start + len(self.rows)


def _schema_of(table: pa.Table) -> pa.Schema:
    """Return the schema of the source."""
    schema = table.schema
    metadata = {k: v for k, v in (schema.metadata or {}).items() if k != _PUBLISHED}
    return schema.remove(schema.get_field_index(_DIGEST)).with_metadata(metadata or None)


def _published_in(table: pa.Table) -> list[str]:
    """Return the columns that are not sealed, since they are published as they are."""
    try:
        return list(map(str, load_json((table.schema.metadata or {})[_PUBLISHED])))
    except (KeyError, TypeError, ValueError, RecursionError):
        return []
