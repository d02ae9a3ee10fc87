"""Parquet files, written."""

from __future__ import annotations

import contextlib
import io
import json
from dataclasses import replace
from typing import Any

import numpy as np

from dsguard.errors import DsguardError
from dsguard.formats.base import Extras, Part, Record, Rows, Source
from dsguard.formats.images import LOSSLESS_FORMATS, original_name, with_suffix
from dsguard.formats.names import fault_of
from dsguard.formats.parquet.columns import NAMED, Columns, arrow
from dsguard.formats.parquet.entries import Packed, packed
from dsguard.formats.parquet.fields import as_text
from dsguard.formats.parquet.table import Table
from dsguard.formats.parquet.types import decoded_type, has_categories_within, recast
from dsguard.formats.programs.data import programs_among
from dsguard.formats.sealing import LOOSE, numbered
from dsguard.formats.sink import FileSink, Output, Results


class ParquetSink(FileSink):
    """A Parquet file with one row group for each chunk, as ``datasets`` reads it."""

    suffix = ".parquet"

    def __init__(self, output: Output, source: Source, part: Part, number: int) -> None:
        super().__init__(output, source, part, number)
        self._writer: Any = None
        self._last: Any = None
        self._rows = 0
        self._held: list[tuple[str, bytes]] = []
        self._seals = False

    def wants_extras(self, rows: Rows) -> bool:
        return not isinstance(rows.record, Table)

    def write(self, rows: Rows, names: dict[int, str], results: Results) -> dict[int, DsguardError]:
        kept = sorted(results.files)
        self._write_of_no_image(rows)
        if not kept:
            return {}
        if isinstance(rows.record, Table):
            table = self._same_columns(rows.record, kept, results)
        else:
            self._hold_programs(rows, results)
            table = self._new_columns(rows, kept, names, results)
        if self.review is not None:
            table = _with_own_categories(table)
        if self._writer is None:
            _, parquet = arrow()
            # Pixels do not compress twice, and statistics of images help nobody.
            self._writer = parquet.ParquetWriter(
                self._file, table.schema, compression="none", write_statistics=False,
                use_dictionary=_categories_within(table.schema),
            )  # fmt: skip
        self._writer.write_batch(table)
        self._last = table
        self._rows += len(kept)
        self.is_empty = False
        return {}

    def _hold_programs(self, rows: Rows, results: Results) -> None:
        """Publish no fields that could be programs: what is sealed of a row is known by that."""
        for row, fields in results.extras.items() if self.sealer is not None else ():
            held = programs_among(fields, rows.names[row])
            results.extras[row] = {name: fields[name] for name in fields if name not in held}

    def seal(
        self, whole: Record | None, rows: Rows, names: dict[int, str], results: Results
    ) -> None:
        assert self.review is not None
        self._seal_loose(whole, rows)
        kept = sorted(results.files)
        if not kept:
            return
        files = [results.files[row] for row in kept]
        if isinstance(whole, Table):
            table, numbers = whole, kept
        else:
            own = replace(results, extras={row: self._to_seal(rows, row, results) for row in kept})
            batch = self._new_columns(rows, kept, names, own)
            table = Table(batch, Columns(batch.schema, self.file_of(self.part, self.number)))
            numbers = list(range(len(kept)))
        self._give_rows(packed(table, self._last, numbers, files, self.review))

    def _to_seal(self, rows: Rows, row: int, results: Results) -> Extras:
        """Return the fields of an image as they are sealed."""
        assert self.review is not None
        stem, fields = with_suffix(rows.names[row], ""), results.whole.get(row, {})
        found = {
            name: self.review.drops.to_seal(f"{stem}.{name}", data) for name, data in fields.items()
        }
        return {name: data for name, data in found.items() if data is not None}

    def _give_rows(self, entry: Packed) -> None:
        """Give away an entry; the first that is needed takes those before it along."""
        file = self.file_of(self.part, self.number)
        name = numbered(self._rows - self._last.num_rows, "columns.parquet")
        self._seals = self._seals or entry.is_needed
        if not self._seals:
            self._held.append((name, entry.data))
            return
        for before, data in self._held:
            self.give(before, f"{file}/columns", data, 0)
        self._held.clear()
        self.give(name, f"{file}/columns", entry.data, entry.values)

    def _seal_loose(self, whole: Record | None, rows: Rows) -> None:
        """Give away the files of a shard that belong to no image and are not published."""
        assert self.review is not None
        published = dict(rows.record.of_no_image()) if rows.record else {}
        for name, data in whole.of_no_image() if whole else ():
            kept = None
            if published.get(name) != data:
                kept = self.review.drops.loose_to_seal(name, data)
            if kept is not None and published.get(name) != kept:
                self.give(numbered(LOOSE, name), name, kept)

    def _same_columns(self, table: Table, kept: list[int], results: Results) -> Any:
        pyarrow, _ = arrow()
        batch, columns = table.batch, table.columns
        kept_batch = batch if len(kept) == batch.num_rows else batch.take(kept)
        files = _binary([results.files[row] for row in kept])
        column = kept_batch.column(columns.image)
        if not columns.is_plain:
            suffix = LOSSLESS_FORMATS[self.output.image_format]
            old, paths = column.field("path"), pyarrow.nulls(len(column), pyarrow.string())
            if old.null_count < len(old):
                named = [
                    _new_path(path, suffix, results.originals.get(row))
                    for row, path in zip(kept, old.to_pylist(), strict=True)
                ]
                paths = pyarrow.array(named, pyarrow.string())
            files = pyarrow.StructArray.from_arrays([files, paths], ["bytes", "path"])
        place = kept_batch.schema.get_field_index(columns.image)
        image = kept_batch.schema.field(place).with_type(files.type)
        return kept_batch.set_column(place, image, files).replace_schema_metadata(
            batch.schema.metadata
        )

    def _new_columns(
        self, rows: Rows, kept: list[int], names: dict[int, str], results: Results
    ) -> Any:
        """Return rows of another format as columns image, label and, as JSON, fields."""
        pyarrow, _ = arrow()
        files = _binary([results.files[row] for row in kept])
        paths = pyarrow.array([_text(names[row]) for row in kept], pyarrow.string())
        image = pyarrow.StructArray.from_arrays([files, paths], ["bytes", "path"])
        known = [_text(name) for name in self.output.class_names]
        labels = [rows.classes[row] for row in kept]
        label = (
            pyarrow.array([self.numbers[name] for name in labels], pyarrow.int64())
            if known
            else pyarrow.array([_text(name) for name in labels], pyarrow.string())
        )
        texts = [as_text(results.extras.get(row, {})) for row in kept]
        fields = pyarrow.array(texts, pyarrow.string())
        features: dict[str, Any] = {
            "image": {"_type": "Image"},
            "label": {"names": known, "_type": "ClassLabel"}
            if known
            else {"dtype": "string", "_type": "Value"},
            "fields": {"dtype": "string", "_type": "Value"},
        }
        schema = pyarrow.schema(
            {"image": image.type, "label": label.type, "fields": pyarrow.string()},
            metadata={b"huggingface": json.dumps({"info": {"features": features}}), NAMED: b"1"},
        )
        return pyarrow.RecordBatch.from_arrays([image, label, fields], schema=schema)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
        super().close()

    def abort(self) -> None:
        try:
            if self._writer is not None:
                with contextlib.suppress(OSError, arrow()[0].ArrowException):
                    self._writer.close()
        finally:
            super().abort()


def _binary(files: list[bytes]) -> Any:
    """Return files as an Arrow array; `pyarrow.array` would import pandas for it, half a second."""
    pyarrow, _ = arrow()
    ends = np.cumsum([0, *map(len, files)])
    if ends[-1] > np.iinfo(np.int32).max:
        return pyarrow.array(files, pyarrow.binary())
    parts = [None, pyarrow.py_buffer(ends.astype(np.int32)), pyarrow.py_buffer(b"".join(files))]
    return pyarrow.Array.from_buffers(pyarrow.binary(), len(files), parts)


def _with_own_categories(batch: Any) -> Any:
    """Return rows whose nested columns have no categories but those of a row.

    Arrow writes whole dictionaries there: they have values of other rows, and of none.
    """
    found = [n for n, each in enumerate(batch.schema) if has_categories_within(each.type)]
    for place in found:
        column, field = batch.column(place), batch.schema.field(place)
        own = recast(recast(column, decoded_type(column.type)), column.type)
        batch = batch.set_column(place, field, own)
    return batch


def _categories_within(schema: Any) -> list[str] | bool:
    """Return the paths of columns in which dictionaries lie: Arrow cannot write them otherwise."""
    names = [each.name for each in schema if has_categories_within(each.type)]
    if not names:
        return False
    _, parquet = arrow()
    empty = io.BytesIO()
    parquet.write_table(schema.empty_table(), empty)
    told = parquet.ParquetFile(empty).schema
    paths = [told.column(number).path for number in range(len(told))]
    return [path for path in paths if any(path.startswith(f"{name}.") for name in names)]


def _text(name: str) -> str:
    """Return a name whose bytes may be no UTF-8 as text that is."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _new_path(path: str | None, suffix: str, original: str | None) -> str | None:
    """Return the path of a file that is written; `original` is the name of one as it was."""
    harmless = _with_suffix(path, suffix)
    if original is None or harmless is None or fault_of(original):
        return harmless
    return original_name(harmless, original)


def _with_suffix(path: str | None, suffix: str) -> str | None:
    """Return a path with another suffix; of one that no file may have, its last part or nothing."""
    if path and fault_of(path):
        path = path.replace("\\", "/").rpartition("/")[2]
        path = None if fault_of(path) else path
    stem, dot, _ = (path or "").rpartition(".")
    return stem + suffix if dot and stem else path
