"""Parquet files as Hugging Face writes them: a column of ``struct{bytes, path}``, and others."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterator
from functools import cached_property
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO

from dsguard.errors import DsguardError, InputError, raise_if_of_machine
from dsguard.formats.allowance import STRING
from dsguard.formats.base import (
    Part,
    Rows,
    as_folder,
)
from dsguard.formats.disclosure import ClassPlace
from dsguard.formats.images import checked_member, suffix_of
from dsguard.formats.limits import check_rows
from dsguard.formats.names import fault_of, safe_name
from dsguard.formats.parquet.batches import batches_of, plain_schema
from dsguard.formats.parquet.columns import (
    Columns,
    arrow,
    classes_of,
    columns_of_images,
    damage,
    no_column_of_images,
)
from dsguard.formats.parquet.fields import FieldsOf
from dsguard.formats.parquet.foreign import parquet_file
from dsguard.formats.parquet.table import Table
from dsguard.formats.path_images import told_of_path
from dsguard.formats.places import Place
from dsguard.formats.sharded import ShardedSource

if TYPE_CHECKING:
    import pyarrow as pa


class ParquetSource(ShardedSource):
    """Parquet files with images in them; a part is a run of row groups."""

    kind = "parquet"

    def __init__(self, place: Place, files: list[str]) -> None:
        super().__init__(place, files)
        arrow()

    def names(self) -> list[str]:
        found: list[str] = []
        for file in self.files:
            try:
                found += self._names_in(Part(file))
            except InputError:  # told by whoever reads its images, but for a dataset of one file
                if len(self.files) == 1:
                    raise
        return sorted(found)

    def class_places(self) -> list[ClassPlace]:
        found = []
        for file in self.files:
            with contextlib.suppress(DsguardError):  # told by whoever reads its images
                found.append((file, self._columns(file).label))
        return [ClassPlace(file, label) for file, label in found if label is not None]

    def _names_in(self, part: Part) -> list[str]:
        return [name for name, _ in self._listed(part)]

    def _listed(self, part: Part) -> Iterator[tuple[str, str]]:
        """Yield name and class of the images of a part."""
        columns = self._columns(part.file)
        for start, batch in self._batches(part, columns.light()):
            classes = classes_of(batch, columns)
            yield from zip(_names(part.file, start, batch, columns, classes), classes, strict=True)

    def comes_back_whole(self) -> bool:
        return all(
            all(map(_keeps_path, _paths(batch, columns)))
            for file in self.files
            if not (columns := self._columns(file)).is_plain
            for batch in self.values_of(file, [f"{columns.image}.path"])
        )

    def file_names(self) -> list[str]:
        found: list[str] = []
        for file in self.files:
            with contextlib.suppress(InputError):  # as in `names`
                found += (self.as_file(*listed) for listed in self._listed(Part(file)))
        return found

    def parts(self, size: int, wanted: Collection[str] | None = None) -> list[Part]:
        parts: list[Part] = []
        for file in self.files:
            try:
                parts += self._parts(file, size, wanted)
            except InputError:  # a damaged file is a part, so that whoever reads it may say so
                parts.append(Part(file, names=None if wanted is None else ()))
        return parts

    def _parts(self, file: str, size: int, wanted: Collection[str] | None) -> list[Part]:
        if wanted is None:
            return self._whole_parts(file, size)
        if self._columns(file).named:
            return list(self._named_parts(file, size, set(wanted)))
        return list(self._numbered_parts(file, size, wanted))

    def _whole_parts(self, file: str, size: int) -> list[Part]:
        return [Part(file, start, stop) for start, stop, _, _ in self._runs(file, size)]

    def _numbered_parts(self, file: str, size: int, wanted: Collection[str]) -> Iterator[Part]:
        """Yield the parts of a file whose names end in the number of the row."""
        stem = _stem(file) + "/"
        names = sorted(name for name in wanted if name.startswith(stem))
        for start, stop, first, last in self._runs(file, size):
            mine = [name for name in names if first <= int(PurePosixPath(name).stem) < last]
            if mine:
                yield Part(file, start, stop, tuple(mine))

    def _named_parts(self, file: str, size: int, wanted: set[str]) -> Iterator[Part]:
        """Yield the parts of a file that has names of its own."""
        for start, stop, _, _ in self._runs(file, size):
            found = self._names_in(Part(file, start, stop))
            mine = tuple(name for name in found if name in wanted)
            if mine:
                yield Part(file, start, stop, mine)

    def _open(self, file: str) -> BinaryIO:
        try:
            return self.place.open(file)
        except OSError as error:
            msg = f"{self.place}/{file} cannot be read: {error.strerror or error}"
            raise InputError(msg) from error

    def _runs(self, file: str, size: int) -> Iterator[tuple[int, int, int, int]]:
        """Yield runs of row groups with `size` rows or more, and the rows that they have.

        The end of one that has all is 0.
        """
        with self._open(file) as opened:
            facts = self._file(opened, file).metadata
            counts = [facts.row_group(n).num_rows for n in range(facts.num_row_groups)]
        start = first = row = 0
        for number, count in enumerate(counts, 1):
            row += count
            is_last = number == len(counts)
            if row - first >= size or is_last:
                # One that is not cut is the same part as while it was damaged, so that a run can
                # go on.
                yield start, 0 if is_last and not start else number, first, row
                start, first = number, row

    def rows(self, part: Part) -> Iterator[Rows]:
        wanted = None if part.names is None else set(part.names)
        columns = self._columns(part.file)
        for start, batch in self._batches(part, None):
            classes = classes_of(batch, columns)
            names = _names(part.file, start, batch, columns, classes)
            if wanted is not None:
                picked = [n for n, name in enumerate(names) if name in wanted]
                if not picked:
                    continue
                kept = self._taken(batch, picked, part.file)
                names, classes = [names[n] for n in picked], [classes[n] for n in picked]
            else:
                picked, kept = list(range(len(names))), batch
            yield Rows(
                names,
                classes,
                _files(kept.column(columns.image), columns, self._sizes[part.file]),
                record=Table(kept, columns, [start + n for n in picked]),
                extras=FieldsOf(kept, columns),
                originals=_originals(kept, columns),
            )

    def has_images(self) -> bool:
        return any(map(self._may_have_images, self.files))

    def _may_have_images(self, file: str) -> bool:
        try:
            with self._open(file) as opened:
                found = self._file(opened, file)
        except InputError:  # it is damaged, as whoever reads it will say
            return True
        if found.metadata.num_rows and not columns_of_images(plain_schema(found.schema_arrow))[0]:
            if len(self.files) == 1:
                msg = f"{self} holds no images: {no_column_of_images(file, 0)}"
                raise InputError(msg)
            return False
        return bool(found.metadata.num_rows)

    def columns(self) -> set[str]:
        """Return the names of the columns of all files."""
        found = set[str]()
        for file in self.files:
            with contextlib.suppress(InputError), self._open(file) as opened:  # as in `names`
                found.update(self._file(opened, file).schema_arrow.names)
        return found

    def count_of(self, file: str) -> int:
        """Return how many rows a file has."""
        with self._open(file) as opened:
            return int(self._file(opened, file).metadata.num_rows)

    def _taken(self, batch: pa.RecordBatch, rows: list[int], file: str) -> pa.RecordBatch:
        try:
            return batch.take(rows)
        except arrow()[0].ArrowException as error:
            msg = f"{self.place}/{file} has a column of which rows cannot be taken: {error}"
            raise InputError(msg) from error

    def values_of(self, file: str, names: list[str]) -> Iterator[pa.RecordBatch]:
        """Yield the rows of a file with these columns alone."""
        for _, batch in self._batches(Part(file), names):
            yield batch

    def _batches(self, part: Part, kept: list[str] | None) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Yield the number of the first row, and some rows with these columns; None for all."""
        with self._open(part.file) as opened:
            file = self._file(opened, part.file)
            stop = part.stop or file.metadata.num_row_groups
            groups = list(range(part.start, stop))
            row = sum(file.metadata.row_group(n).num_rows for n in range(part.start))
            try:
                for batch in batches_of(opened, file, groups, kept):
                    yield row, batch
                    row += batch.num_rows
            except InputError as error:
                msg = f"{self.place}/{part.file}: {error}; it could be meant to fill the memory"
                raise InputError(msg) from error
            except damage() as error:
                raise_if_of_machine(error, f"{self.place}/{part.file}")
                msg = f"{self.place}/{part.file} is damaged: {error}"
                raise InputError(msg) from error

    def _columns(self, file: str) -> Columns:
        if file not in self._known:
            with self._open(file) as opened:
                schema = plain_schema(self._file(opened, file).schema_arrow)
                self._known[file] = Columns(schema, file)
        return self._known[file]

    @cached_property
    def _known(self) -> dict[str, Columns]:
        return {}

    def _file(self, opened: Any, name: str) -> Any:
        try:
            file = parquet_file(opened)
        except damage() as error:
            raise_if_of_machine(error, f"{self.place}/{name}")
            msg = f"{self.place}/{name} is not a Parquet file, or is damaged: {error}"
            raise InputError(msg) from error
        size = opened.seek(0, os.SEEK_END)
        check_rows(file.metadata.num_rows, size, f"{self.place}/{name}")
        self._sizes[name] = size
        return file

    @cached_property
    def _sizes(self) -> dict[str, int]:
        """Lengths of the files that were opened."""
        return {}


def _files(column: pa.Array, columns: Columns, size: int) -> list[bytes | DsguardError]:
    """Return the images of a column, and of those that are not there or too long why.

    Columns are packed, and a file of `size` bytes has no image that is longer when it is packed.
    """
    stored = column if columns.is_plain else column.field("bytes")
    files: list[bytes | None] = stored.to_pylist()
    paths = [""] * len(files)
    if None in files and not columns.is_plain:
        paths = column.field("path").to_pylist()
    return [
        (InputError(told_of_path(path)) if path else _NULL)
        if file is None
        else _believed(file, size)
        for file, path in zip(files, paths, strict=True)
    ]


def _believed(file: bytes, size: int) -> bytes | DsguardError:
    try:
        return checked_member(file, min(len(file), size))
    except InputError as error:
        return error


_NULL = InputError("is null in its row, which has no image; take the row out, or put one in")


def _names(
    file: str, start: int, batch: pa.RecordBatch, columns: Columns, classes: list[str]
) -> list[str]:
    """Return a name for each row: its own where it has one, else its file, class and number."""
    if columns.named:
        paths = _paths(batch, columns)
        return [safe_name(path or "", file) for path in paths]
    stem = _stem(file)
    folders = {
        # One that no folder can be called is refused later; until then each name would have it.
        name: f"{stem}/{as_folder(name)}/" if 0 < len(name) <= STRING else f"{stem}/"
        for name in set(classes)
    }
    return [f"{folders[name]}{row:07d}.png" for row, name in enumerate(classes, start)]


def _originals(batch: pa.RecordBatch, columns: Columns) -> list[str]:
    """Return the names that the files of rows have had, empty where one is not known."""
    if columns.named:
        return []
    if columns.is_plain:
        return [""] * batch.num_rows
    lasts = [(path or "").replace("\\", "/").rpartition("/")[2] for path in _paths(batch, columns)]
    return ["" if fault_of(last) or not suffix_of(last) else last for last in lasts]


def _paths(batch: pa.RecordBatch, columns: Columns) -> list[str | None]:
    paths: list[str | None] = batch.column(columns.image).field("path").to_pylist()
    return paths


def _keeps_path(path: str | None) -> bool:
    """Tell whether a path comes back as it is: one of a file in a folder, or none."""
    return path is None or (not fault_of(path) and suffix_of(path) != "")


def _stem(file: str) -> str:
    return file.removesuffix(".parquet")
