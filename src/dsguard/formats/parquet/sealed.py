"""Columns of Parquet files that are not published: packed with digests of their images, and back.

An entry is a small Parquet file with the rows of one chunk. It has all columns of the source, those
that are published as they are without their values, and the digests of the published images.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from dsguard.errors import InputError
from dsguard.formats.base import Loose, Part, Rows
from dsguard.formats.disclosure import A_KEY
from dsguard.formats.limits import check_rows, load_json, most_unpacked
from dsguard.formats.names import checked
from dsguard.formats.parquet.columns import Columns, arrow, damage
from dsguard.formats.parquet.fields import FieldsOf
from dsguard.formats.parquet.pages import rows_at_once
from dsguard.formats.parquet.table import Table
from dsguard.formats.sealing import Entries, Unsealed, numbered_name

if TYPE_CHECKING:
    import pyarrow as pa

    from dsguard.formats.disclosure import Review

_DIGEST, _DIGEST_BYTES = "dsguard.image", 16
_PUBLISHED = b"dsguard.published"
_MOST_BYTES = 1 << 28
_AT_ONCE = 1 << 24


def digest_of(file: object) -> bytes:
    """Return what tells a published image from others."""
    return hashlib.sha256(file if isinstance(file, bytes) else b"").digest()[:_DIGEST_BYTES]


def packed(
    whole: Table, published: pa.RecordBatch, rows: list[int], files: Sequence[bytes], review: Review
) -> tuple[bytes, int]:
    """Return an entry with the columns that are not published as they are, and how many values.

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

    Returns
    -------
    bytes
        Empty where all is published as it is.
    int
    """
    pyarrow, parquet = arrow()
    batch = whole.batch if len(rows) == whole.batch.num_rows else whole.batch.take(rows)
    there = {name: published.column(name) for name in published.schema.names}
    columns: dict[str, Any] = {}
    sealed: list[str] = []
    for each in batch.schema:
        column, path = batch.column(each.name), f"{whole.columns.file}/{each.name}"
        said = review.disclosure.says(path)
        is_same = each.name in there and column.equals(there[each.name])
        if each.name == whole.columns.image or is_same:
            columns[each.name] = pyarrow.nulls(len(rows), each.type)
        elif said is False:
            continue
        elif _holds_key(column, review):
            if each.name not in there:
                review.leave_out(each.name, path, A_KEY, len(rows))
        else:
            columns[each.name] = column
            sealed.append(each.name)
    metadata = dict(batch.schema.metadata or {})
    is_less = review.is_cut or len(columns) < len(batch.schema.names)
    if is_less or review.holds_key(repr(metadata).encode()):
        metadata = dict(published.schema.metadata or {})  # it may tell of what does not come back
    if not sealed and metadata == dict(published.schema.metadata or {}):
        return b"", 0
    metadata[_PUBLISHED] = json.dumps([name for name in columns if name not in sealed]).encode()
    digests = pyarrow.array(list(map(digest_of, files)), pyarrow.binary(_DIGEST_BYTES))
    fields = [pyarrow.field(name, column.type) for name, column in columns.items()]
    schema = pyarrow.schema([*fields, (_DIGEST, digests.type)], metadata=metadata)
    table = pyarrow.Table.from_arrays([*columns.values(), digests], schema=schema)
    out = io.BytesIO()
    parquet.write_table(table, out, write_statistics=False)
    return out.getvalue(), len(sealed) * len(rows)


def _holds_key(column: pa.Array, review: Review) -> bool:
    return not arrow()[0].types.is_primitive(column.type) and review.is_key(column.to_pylist())


class SealedColumns(Unsealed):
    """The columns that were sealed beside a Parquet file, by the images that they belong to.

    Raises
    ------
    InputError
        If what was sealed is no such columns, or claims very much more memory than it has bytes.
    """

    def __init__(self, part: Part, entries: Entries) -> None:
        self._part, self._entries = part, entries
        self._files: dict[str, str] = {}
        self._widths: dict[str, float] = {}
        self._rows: dict[bytes, deque[tuple[str, int]]] = defaultdict(deque)
        self._load = lru_cache(2)(self._loaded)
        self._schema: pa.Schema | None = None
        for entry in entries:
            place, name = numbered_name(entry)
            if place < 0:
                self._files[checked(name)] = entry
                continue
            table = self._load(entry)
            schema = _schema_of(table)
            if self._schema is not None and not schema.equals(self._schema, check_metadata=True):
                msg = "has columns of several kinds, which dsguard never seals"
                raise InputError(msg)
            self._schema = schema
            for row, digest in enumerate(table.column(_DIGEST).to_pylist()):
                self._rows[digest].append((entry, row))
            self._widths[entry] = table.nbytes / max(1, table.num_rows)
        self._load.cache_clear()

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
            if table.schema.field(_DIGEST).type != pyarrow.binary(_DIGEST_BYTES):
                msg = "has no digests of images"
                raise InputError(msg)
        except damage() as error:
            msg = f"has columns that are damaged: {error}"
            raise InputError(msg) from error
        return table

    def put_into(self, rows: Rows) -> Iterator[Rows]:
        """Yield rows with the columns that were sealed of them; others keep those published.

        Published rows are short: with their columns they may be too long to be had all at once.
        """
        table = rows.record
        assert isinstance(table, Table)
        if self._schema is None:
            yield rows
            return
        for runs in self._cut(map(self._place, rows.files)):
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

    def _place(self, file: object) -> tuple[str, int] | None:
        """Return where the columns of an image lie; of those that are alike the next."""
        found = self._rows.get(digest_of(file))
        return found.popleft() if found else None

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
