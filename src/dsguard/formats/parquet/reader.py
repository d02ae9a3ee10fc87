"""Parquet files as Hugging Face writes them: a column of ``struct{bytes, path}``, and others."""

from __future__ import annotations

import contextlib
import json
import os
import re
import zoneinfo
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from dsguard.errors import DsguardError, InputError, MissingExtraError
from dsguard.formats.base import (
    Extras,
    Part,
    Record,
    Rows,
    as_folder,
)
from dsguard.formats.harmless import (
    CHARACTERS,
    ROW,
    STRING,
    Allowance,
    allowance_of_classes,
    weight,
)
from dsguard.formats.limits import load_json
from dsguard.formats.names import safe_name
from dsguard.formats.parquet.pages import rows_at_once
from dsguard.formats.place import Place
from dsguard.formats.sharded import ShardedSource

if TYPE_CHECKING:
    import pyarrow as pa

    from dsguard.formats.disclosure import Review

NAMED = b"dsguard.named"
"""Metadata of files whose paths are the names that images had in another format."""

LABELS = ("label", "labels", "fine_label", "class", "cls", "category", "y", "target")
"""Columns that are taken for the class, the first that is there."""


_FREE_ROWS = 10_000  # that any file may claim
_LEAST_BYTES = 8  # of a file, for each row beyond


def arrow() -> tuple[Any, Any]:
    """Import pyarrow and its Parquet part."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise MissingExtraError.of(package="pyarrow", extra="parquet") from None
    return pyarrow, pyarrow.parquet


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

    def _names_in(self, part: Part) -> list[str]:
        return [name for name, _ in self._listed(part)]

    def _listed(self, part: Part) -> Iterator[tuple[str, str]]:
        """Yield name and class of the images of a part."""
        columns = self._columns(part.file)
        for start, batch in self._batches(part, read_images=False):
            classes = _classes(batch, columns)
            yield from zip(_names(part.file, start, batch, columns, classes), classes, strict=True)

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
        runs = list(self._runs(file, size))
        if len(runs) == 1:  # the same part as while it was damaged, so that a run can go on
            return [Part(file)]
        return [Part(file, start, stop) for start, stop, _, _ in runs]

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

    def _runs(self, file: str, size: int) -> Iterator[tuple[int, int, int, int]]:
        """Yield runs of row groups with `size` rows or more, and the rows that they have."""
        with self.place.open(file) as opened:
            facts = self._file(opened, file).metadata
            counts = [facts.row_group(n).num_rows for n in range(facts.num_row_groups)]
        start = first = row = 0
        for number, count in enumerate(counts, 1):
            row += count
            if row - first >= size or number == len(counts):
                yield start, number, first, row
                start, first = number, row

    def rows(self, part: Part) -> Iterator[Rows]:
        wanted = None if part.names is None else set(part.names)
        columns = self._columns(part.file)
        for start, batch in self._batches(part, read_images=True):
            classes = _classes(batch, columns)
            names = _names(part.file, start, batch, columns, classes)
            if wanted is not None:
                picked = [n for n, name in enumerate(names) if name in wanted]
                if not picked:
                    continue
                kept = self._taken(batch, picked, part.file)
                names, classes = [names[n] for n in picked], [classes[n] for n in picked]
            else:
                kept = batch
            column = kept.column(columns.image)
            stored = column if columns.is_plain else column.field("bytes")
            files: list[bytes | DsguardError] = [
                _NO_BYTES if file is None else file for file in stored.to_pylist()
            ]
            yield Rows(
                names, classes, files, record=Table(kept, columns), extras=_Extras(kept, columns)
            )

    def _taken(self, batch: pa.RecordBatch, rows: list[int], file: str) -> pa.RecordBatch:
        try:
            return batch.take(rows)
        except arrow()[0].ArrowException as error:
            msg = f"{self.place}/{file} has a column of which rows cannot be taken: {error}"
            raise InputError(msg) from error

    def _batches(self, part: Part, *, read_images: bool) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Yield the number of the first row, and some rows."""
        columns = self._columns(part.file)
        with self.place.open(part.file) as opened:
            file = self._file(opened, part.file)
            stop = part.stop or file.metadata.num_row_groups
            groups = list(range(part.start, stop))
            row = sum(file.metadata.row_group(n).num_rows for n in range(part.start))
            kept = None if read_images else columns.light()
            try:
                count = rows_at_once(opened, file, groups, kept)
                for batch in file.iter_batches(count, row_groups=groups, columns=kept):
                    batch.validate(full=True)  # text that is none would be met by whoever reads it
                    yield row, _without_views(batch)
                    row += batch.num_rows
            except InputError as error:
                msg = f"{self.place}/{part.file}: {error}; it could be meant to fill the memory"
                raise InputError(msg) from error
            except _damage() as error:
                msg = f"{self.place}/{part.file} is damaged: {error}"
                raise InputError(msg) from error

    def _columns(self, file: str) -> Columns:
        if file not in self._known:
            with self.place.open(file) as opened:
                self._known[file] = Columns(self._file(opened, file).schema_arrow, file)
        return self._known[file]

    @cached_property
    def _known(self) -> dict[str, Columns]:
        return {}

    def _file(self, opened: Any, name: str) -> Any:
        _, parquet = arrow()
        try:
            file = parquet.ParquetFile(opened)
        except _damage() as error:
            msg = f"{self.place}/{name} is not a Parquet file, or is damaged: {error}"
            raise InputError(msg) from error
        rows, size = file.metadata.num_rows, opened.seek(0, os.SEEK_END)
        if rows > _FREE_ROWS and rows * _LEAST_BYTES > size:
            msg = f"{self.place}/{name} claims {rows} rows in {size} bytes; images are longer"
            raise InputError(msg)
        return file


def _damage() -> tuple[type[Exception], ...]:
    """Return what Arrow raises where a file is damaged; text that is no text is a ValueError."""
    return (arrow()[0].ArrowException, OSError, OverflowError, ValueError)


_NO_BYTES = InputError(
    "is not in the file, which has but its path; embed the images before to_parquet: dataset = "
    'dataset.with_format("arrow").map(datasets.table.embed_table_storage, batched=True)'
)


class Columns:
    """Which columns of a file are what.

    Attributes
    ----------
    file : str
    image : str
        The column with the images.
    is_plain : bool
        Whether it holds bytes alone, and no struct with a path.
    label : str or None
        The column with the class.
    class_names : list of str
        What its numbers mean, where the file says so; empty otherwise.
    named : bool
        Whether paths are the names of images, and no two alike: the file was written here.
    """

    def __init__(self, schema: pa.Schema, file: str) -> None:
        pyarrow, _ = arrow()
        binary = (pyarrow.binary(), pyarrow.large_binary())
        plain = [f.name for f in schema if f.type in binary and f.name in ("image", "img", "png")]
        structs = [
            f.name
            for f in schema
            if pyarrow.types.is_struct(f.type) and {g.name for g in f.type} == {"bytes", "path"}
        ]
        found = structs or plain
        if len(found) > 1:  # the others are columns like others, and not published
            found = [name for name in ("image", "img", "png") if name in found][:1] or found
        if len(found) != 1:
            msg = (
                f"{file} has {len(found)} columns of images; expected one, or one of them named "
                "image or img, of bytes or of struct{bytes, path}"
            )
            raise InputError(msg)
        twice = sorted({name for name in schema.names if schema.names.count(name) > 1})
        if twice:
            msg = f"{file} has more than one column named {twice[0]!r}; rename one of them"
            raise InputError(msg)
        self.file = file
        self.image: str | None = found[0]
        self.is_plain = not structs
        labels = (name for name in LABELS if name in schema.names)
        self.label = next((name for name in labels if _is_label(schema.field(name).type)), None)
        self.class_names = _class_names(schema, self.label)
        self.named = NAMED in (schema.metadata or {})

    @classmethod
    def without_images(cls, file: str) -> Columns:
        """Return those of a table that has none of images."""
        columns = cls.__new__(cls)
        columns.file, columns.image, columns.label = file, None, None
        columns.is_plain, columns.named, columns.class_names = False, False, []
        return columns

    def light(self) -> list[str]:
        """Return the columns that names and classes are made of."""
        columns = [] if self.label is None else [self.label]
        return [*columns, f"{self.image}.path"] if self.named else columns


def _is_label(kind: pa.DataType) -> bool:
    """Tell whether a column of this type can be the class: a mask of bytes is called target too."""
    types = arrow()[0].types
    if types.is_dictionary(kind):
        kind = kind.value_type
    checks = (types.is_integer, types.is_boolean, types.is_floating, types.is_string)
    return any(check(kind) for check in (*checks, types.is_large_string, types.is_null))


@dataclass(frozen=True)
class Table(Record):
    """Rows as they lie in a Parquet file."""

    batch: pa.RecordBatch
    columns: Columns

    def reviewed(self, review: Review, allowances: list[Allowance] | None = None) -> Table:
        """Return the table without what could hold a picture; each row has an allowance."""
        pyarrow, _ = arrow()
        numbers, texts = self._numbers(review), self._texts(review)
        if allowances is None:
            allowances = [Allowance() for _ in range(self.batch.num_rows)]
        kept: dict[str, Any] = {}
        for n, field in enumerate(self.batch.schema):
            name = f"{self.columns.file}/{field.name}"
            said = review.disclosure.says(name)
            column = self.batch.column(n)
            if field.name == self.columns.image:
                kept[field.name] = self._shortened(column, review)
            elif field.name == self.columns.label or said:
                kept[field.name] = column
            elif said is None:
                reason = reason_against(field.type)
                if len(field.name) > STRING or _length_of_names(field.type) > CHARACTERS:
                    reason = "has a name, or names in it, of too many characters"
                elif field.name in texts and len(texts) > ROW:
                    reason = f"is one of {len(texts)} columns of text"
                if field.name in numbers and sum(numbers.values()) > ROW:
                    reason = f"is one of {len(numbers)} columns of numbers"
                if reason:
                    review.leave_out(field.name, name, reason, len(column))
                elif field.name in numbers:
                    kept[field.name] = column
                else:
                    kept[field.name] = _pruned(column, name, review, allowances)
        kept = {name: _stripped(column, name, review) for name, column in kept.items()}
        schema = pyarrow.schema(
            {name: column.type for name, column in kept.items()},
            metadata=self._metadata(kept, review),
        )
        batch = pyarrow.RecordBatch.from_arrays(list(kept.values()), schema=schema)
        return Table(batch, self.columns)

    def _shortened(self, column: pa.Array, review: Review) -> pa.Array:
        """Return the images without paths that are no names: some hold the picture itself."""
        pyarrow, _ = arrow()
        if self.columns.is_plain:
            return column
        name = f"{self.columns.file}/path"
        paths = [review.row(name, path, Allowance()) for path in column.field("path").to_pylist()]
        parts = [column.field("bytes"), pyarrow.array(paths, pyarrow.string())]
        return pyarrow.StructArray.from_arrays(parts, ["bytes", "path"])

    def _metadata(self, kept: Collection[str], review: Review) -> dict[bytes, bytes]:
        """Return what the file says of the columns that are kept, and nothing else."""
        given = self.batch.schema.metadata or {}
        found = {NAMED: b"1"} if NAMED in given else {}
        try:
            features = load_json(given[b"huggingface"])["info"]["features"]
            own = {name: told for name, told in features.items() if name in kept}
        except (AttributeError, KeyError, TypeError, ValueError, RecursionError):
            return found
        label, names = self.columns.label, self.columns.class_names
        if label in own and names:
            own[label] = {"_type": "ClassLabel"}
        told = review.row(f"{self.columns.file}/huggingface", own, Allowance()) or {}
        if label in told and names:
            name = f"{self.columns.file}/{label}.names"
            kept_names = review.row(name, names, allowance_of_classes(len(names)))
            if kept_names != names:
                told[label] = {"dtype": "int64", "_type": "Value"}
            else:
                told[label] = {"names": names, **told[label]}
        return {b"huggingface": json.dumps({"info": {"features": told}}).encode(), **found}

    def _numbers(self, review: Review) -> dict[str, int]:
        """Return the columns of one number for each image, and how many those digits count as.

        Those that were decided on are not among them.
        """
        types = arrow()[0].types
        plain = (types.is_integer, types.is_floating, types.is_decimal)
        names = self._undecided((*plain, types.is_boolean, types.is_temporal), review)
        kinds = {name: _plain(self.batch.schema.field(name).type) for name in names}
        return {
            name: weight("9" * kind.precision) if types.is_decimal(kind) else 1
            for name, kind in kinds.items()
        }

    def _texts(self, review: Review) -> set[str]:
        """Return the columns of strings that were not decided on."""
        types = arrow()[0].types
        return self._undecided((types.is_string, types.is_large_string), review)

    def _undecided(self, checks: tuple[Callable[[Any], bool], ...], review: Review) -> set[str]:
        return {
            field.name
            for field in self.batch.schema
            if any(check(_plain(field.type)) for check in checks)
            and review.disclosure.says(f"{self.columns.file}/{field.name}") is None
            and field.name != self.columns.label
        }


def _plain(kind: pa.DataType) -> pa.DataType:
    """Return the type of the values of a dictionary, as of categories; others as they are."""
    return kind.value_type if arrow()[0].types.is_dictionary(kind) else kind


def _bare(kind: pa.DataType) -> pa.DataType:
    """Return a type without what its fields say of themselves, which could be anything."""
    pyarrow, _ = arrow()
    types = pyarrow.types
    if types.is_struct(kind):
        return pyarrow.struct({field.name: _bare(field.type) for field in kind})
    if types.is_fixed_size_list(kind):
        return pyarrow.list_(_bare(kind.value_type), kind.list_size)
    if types.is_large_list(kind):
        return pyarrow.large_list(_bare(kind.value_type))
    if types.is_map(kind):
        return pyarrow.map_(_bare(kind.key_type), _bare(kind.item_type))
    if types.is_timestamp(kind) and kind.tz and not _is_zone(kind.tz):  # the moment stays
        return pyarrow.timestamp(kind.unit, "UTC")
    return pyarrow.list_(_bare(kind.value_type)) if types.is_list(kind) else kind


def _without_views(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return columns of views, of which Arrow takes no rows, as plain strings."""
    pyarrow, _ = arrow()
    is_view = getattr(pyarrow.types, "is_string_view", lambda kind: False)
    for n, field in enumerate(batch.schema):
        if is_view(field.type):
            plain = field.with_type(pyarrow.string())
            batch = batch.set_column(n, plain, batch.column(n).cast(plain.type))
    return batch


def _stripped(column: pa.Array, name: str, review: Review) -> pa.Array:
    """Return a column of its bare type."""
    pyarrow, _ = arrow()
    bare = _bare(column.type)
    if column.type.equals(bare, check_metadata=True):
        return column
    try:
        try:
            cast = column.cast(bare)
            cast.validate(full=True)  # Arrow makes invalid ones of lists of nothing
        except pyarrow.ArrowException:
            return pyarrow.array(column.to_pylist(), bare)
    except _damage() as error:
        review.leave_out(name, name, f"cannot be written: {error}", len(column))
        return pyarrow.nulls(len(column))
    return cast


def _values(column: pa.Array) -> list[Any]:
    """Return the values of a column; moments that Python has none for as the numbers they are."""
    pyarrow, _ = arrow()
    bare = _bare(column.type)
    if not pyarrow.types.is_temporal(bare):
        return list(column.to_pylist())
    column = column.cast(bare)
    try:
        return list(column.to_pylist())
    except _damage():
        days = pyarrow.types.is_date32(bare) or pyarrow.types.is_time32(bare)
        return list(column.cast(pyarrow.int32() if days else pyarrow.int64()).to_pylist())


def _is_zone(name: str) -> bool:
    return bool(_OFFSET.fullmatch(name)) or name in _zones()


@cache
def _zones() -> set[str]:
    return zoneinfo.available_timezones()


_OFFSET = re.compile(r"[+-]\d\d:\d\d")


def _pruned(column: pa.Array, name: str, review: Review, allowances: list[Allowance]) -> pa.Array:
    """Return a column without the values that could hold a picture, which become null."""
    pyarrow, _ = arrow()
    try:
        given = column.to_pylist()
    except _damage() as error:  # a moment that Python has none for
        review.leave_out(name.rpartition("/")[2], name, f"cannot be read: {error}", len(column))
        return pyarrow.nulls(len(column), column.type)
    values = [review.row(name, value, own) for value, own in zip(given, allowances, strict=True)]
    try:
        return pyarrow.array(values, column.type)
    except (pyarrow.ArrowException, TypeError, ValueError):  # a null where its type has none
        kind = name.rpartition("/")[2]
        review.leave_out(kind, name, f"cannot be cut as type {column.type}", len(column))
        return pyarrow.nulls(len(column), column.type)


def reason_against(kind: pa.DataType) -> str:
    """Return why no column of this type is published unless it is named; empty where some are."""
    types = arrow()[0].types
    if isinstance(kind, arrow()[0].BaseExtensionType) or types.is_union(kind):
        return f"is of type {kind}"
    inner = [kind.field(n).type for n in range(kind.num_fields)]
    if types.is_dictionary(kind):
        inner.append(kind.value_type)
    if any("binary" in str(each) for each in (kind, *inner)) or any(map(reason_against, inner)):
        return "holds bytes"
    return ""


def _length_of_names(kind: pa.DataType) -> int:
    """Return how many characters the fields of a type have in their names, at any depth."""
    fields = [kind.field(n) for n in range(kind.num_fields)]
    return sum(len(field.name) + _length_of_names(field.type) for field in fields)


def _class_names(schema: pa.Schema, label: str | None) -> list[str]:
    try:
        info = load_json((schema.metadata or {})[b"huggingface"])["info"]
        names = info["features"][label]["names"]
    except (KeyError, TypeError, ValueError, RecursionError):
        return []
    return [str(name) for name in names] if isinstance(names, list) else []


def _classes(batch: pa.RecordBatch, columns: Columns) -> list[str]:
    if columns.label is None:
        return [""] * batch.num_rows
    known = columns.class_names
    return [
        known[value]
        if isinstance(value, int) and 0 <= value < len(known)
        else ("" if value is None else str(value))
        for value in batch.column(columns.label).to_pylist()
    ]


def _names(
    file: str, start: int, batch: pa.RecordBatch, columns: Columns, classes: list[str]
) -> list[str]:
    """Return a name for each row: its own where it has one, else its file, class and number."""
    if columns.named:
        paths = batch.column(columns.image).field("path").to_pylist()
        return [safe_name(path or "", file) for path in paths]
    stem = _stem(file)
    folders = {name: f"{stem}/{as_folder(name)}/" if name else f"{stem}/" for name in set(classes)}
    return [f"{folders[name]}{row:07d}.png" for row, name in enumerate(classes, start)]


def _stem(file: str) -> str:
    return file.removesuffix(".parquet")


class _Extras:
    """The other columns of a row, as JSON."""

    def __init__(self, batch: pa.RecordBatch, columns: Columns) -> None:
        names = [name for name in batch.schema.names if name not in (columns.image, columns.label)]
        self._others = batch.select(names) if names else None
        self._named = columns.named

    def __call__(self, row: int) -> Extras:
        if self._others is None:
            return {}
        part = self._others.slice(row, 1)
        try:
            values = {
                name: _values(column)[0]
                for name, column in zip(part.schema.names, part.columns, strict=True)
            }
        except _damage() as error:  # a moment that Python has none for
            msg = f"a value of another column cannot be read: {error}"
            raise InputError(msg) from error
        if self._named:
            return _from_text(values.get("fields"))
        return {"json": json.dumps(values, default=_as_json, ensure_ascii=False).encode()}


def _as_json(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)


def as_text(extras: Extras) -> str | None:
    """Return what belongs to an image as one JSON object; bytes that are no text in hexadecimal."""
    if not extras:
        return None
    text: dict[str, str] = {}
    for suffix, data in extras.items():
        name = suffix.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
        try:
            text[name] = data.decode()
        except UnicodeDecodeError:
            text[name + _HEX] = data.hex()
    return json.dumps(text, ensure_ascii=False)


def _from_text(text: str | None) -> Extras:
    try:
        given: dict[str, str] = load_json(text) if text else {}
        return {
            suffix.removesuffix(_HEX): (
                bytes.fromhex(value) if suffix.endswith(_HEX) else value.encode()
            )
            for suffix, value in given.items()
        }
    except (AttributeError, TypeError, ValueError, RecursionError) as error:
        msg = "its column fields is not the JSON object that was written here"
        raise InputError(msg) from error


_HEX = ":hex"
