"""Rows as they lie in a Parquet file, and which of their columns are published."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from dsguard.formats.allowance import CHARACTERS, ROW, STRING, Allowance, allowance_of_classes
from dsguard.formats.base import Extras, Record
from dsguard.formats.disclosure import A_KEY, NO_ROOM, UNNAMED
from dsguard.formats.limits import load_json
from dsguard.formats.parquet.columns import NAMED, Columns, arrow, damage, type_of_values
from dsguard.formats.parquet.dropped import undropped_column, undropped_rows, undropped_schema
from dsguard.formats.parquet.metadata import (
    facts_of,
    is_of_columns,
    leave_out,
    published_of,
    retold,
)
from dsguard.formats.parquet.types import (
    Check,
    array_of,
    bare_type,
    length_of_names,
    reason_against,
    recast,
)
from dsguard.formats.rows import ROWS, are_rows
from dsguard.formats.words import weight

if TYPE_CHECKING:
    import pyarrow as pa

    from dsguard.formats.review import Review


@dataclass(frozen=True)
class Table(Record):
    """Rows as they lie in a Parquet file, and their numbers there."""

    batch: pa.RecordBatch
    columns: Columns
    numbers: Sequence[int] = ()

    def reviewed(self, review: Review, allowances: list[Allowance] | None = None) -> Table:
        """Return the table without what could hold a picture; each row has an allowance."""
        pyarrow, _ = arrow()
        batch = undropped_rows(self.batch, self.columns, review.drops)
        numbers = self._numbers(review)
        texts = self._texts(review)
        reasons, drawn = self._reasons(review, numbers, texts), _rows_drawn(batch, texts)
        if allowances is None:
            allowances = [Allowance() for _ in range(self.batch.num_rows)]
            for own in allowances if sum(numbers.values()) <= ROW else ():
                own.in_rows -= sum(numbers.values())
        kept: dict[str, Any] = {}
        for n, field in enumerate(self.batch.schema):
            name = f"{self.columns.file}/{field.name}"
            said = review.account.says_of(self.columns.file, field.name)
            column = batch.column(n)
            if field.name == self.columns.image:
                kept[field.name] = self._shortened(column, review)
            elif said or (field.name == self.columns.label and said is None):
                kept[field.name] = _without_key(
                    undropped_column(column, name, review.drops), name, review
                )
            elif said is None:
                reason = reasons.get(field.name) or reason_against(field.type)
                if reason:
                    review.account.leave_out(field.name, name, reason, len(column))
                elif field.name in numbers:
                    kept[field.name] = _without_key(column, name, review)
                else:
                    rows = drawn if field.name in texts else ()
                    pruned = _pruned(column, name, review, allowances, rows)
                    kept[field.name] = _without_key(pruned, name, review)
        kept = {name: _stripped(column, name, review) for name, column in kept.items()}
        schema = self._schema(kept, review)
        batch = pyarrow.RecordBatch.from_arrays(list(kept.values()), schema=schema)
        return Table(batch, self.columns)

    def _reasons(
        self, review: Review, numbers: dict[str, int], texts: Collection[str]
    ) -> dict[str, str]:
        """Return the columns that could hold a picture by their names or together, and why."""
        found: dict[str, str] = {}
        if len(texts) > ROW:
            found = dict.fromkeys(texts, f"is one of {len(texts)} columns of text")
        for field in self.batch.schema:
            if len(field.name) > STRING or length_of_names(field.type) > CHARACTERS:
                found[field.name] = "has a name, or names in it, of too many characters"
        if sum(numbers.values()) > ROW:
            found |= dict.fromkeys(numbers, f"is one of {len(numbers)} columns of numbers")
        if review.account.is_strict:
            found |= dict.fromkeys(self.batch.schema.names, UNNAMED)
        return found

    def undropped(self, fields: Extras, review: Review) -> Extras:
        self._leave_out_facts(review)
        if self.columns.label is not None:
            review.account.keep_class(f"{self.columns.file}/{self.columns.label}")
        if self.columns.named:
            path = f"{self.columns.file}/fields"
            own = {suffix: f"{path}/{suffix}" for suffix in fields}
        else:
            own = dict.fromkeys(fields, self.columns.file)  # whose columns are the keys of one
        left = {
            suffix: review.drops.undropped(own[suffix], data, sealing=True)
            for suffix, data in fields.items()
            if own[suffix] == self.columns.file or review.account.says(own[suffix]) is not False
        }
        return {suffix: data for suffix, data in left.items() if data is not None}

    def without_bytes(self, fields: Extras, review: Review) -> Extras:
        file = self.columns.file
        held = {
            name: reason
            for name, reason in self._reasons_by_type.items()
            if review.account.says_of(file, name) is None
        }
        for suffix in [each for each in fields if held and each.endswith("json")]:
            values = _values_in(fields[suffix])
            gone = held.keys() & values.keys()
            for name in sorted(gone):
                review.account.leave_out(name, f"{file}/{name}", held[name])
            if gone:
                kept = {name: each for name, each in values.items() if name not in gone}
                fields = {**fields, suffix: json.dumps(kept, ensure_ascii=False).encode()}
        return fields

    @cached_property
    def _reasons_by_type(self) -> dict[str, str]:
        """The columns whose type tells that they are not published, and why."""
        reasons = {field.name: reason_against(field.type) for field in self.batch.schema}
        own = (self.columns.image, self.columns.label)
        return {name: reason for name, reason in reasons.items() if reason and name not in own}

    def _shortened(self, column: pa.Array, review: Review) -> pa.Array:
        """Return the images without paths that are no names: some hold the picture itself."""
        pyarrow, _ = arrow()
        if self.columns.is_plain:
            return column
        name = f"{self.columns.file}/path"
        paths = [review.row(name, path, Allowance()) for path in column.field("path").to_pylist()]
        parts = [column.field("bytes"), pyarrow.array(paths, pyarrow.string())]
        return pyarrow.StructArray.from_arrays(parts, ["bytes", "path"])

    def _schema(self, kept: dict[str, pa.Array], review: Review) -> pa.Schema:
        """Return the schema of the columns that are kept; name what it does not say of them."""
        pyarrow, file = arrow()[0], self.columns.file
        given = undropped_schema(self.batch.schema, file, review.drops)
        fields = []
        for name, column in kept.items():
            told = published_of(given.field(name).metadata, f"{file}/{name}", review)
            fields.append(pyarrow.field(name, column.type, metadata=told))
        told = self._features(kept, review) | published_of(given.metadata, file, review)
        schema = pyarrow.schema(fields, metadata=told)
        leave_out(given, schema, file, review)
        return schema

    def _leave_out_facts(self, review: Review) -> None:
        """Name what the file says of itself, and of its columns: other formats have no such."""
        if all(is_of_columns(path) for path, _ in self._facts):
            return
        given = undropped_schema(self.batch.schema, self.columns.file, review.drops)
        bare = [retold(each, each.name, lambda *_: None) for each in given]
        leave_out(given, arrow()[0].schema(bare), self.columns.file, review, reason=NO_ROOM)

    @cached_property
    def _facts(self) -> list[tuple[str, bytes]]:
        return list(facts_of(self.batch.schema))

    def kinds(self) -> set[str]:
        return {*self.batch.schema.names} - {self.columns.image}

    def facts(self) -> Iterator[tuple[str, bytes]]:
        yield from self._facts

    def only_here(self) -> Iterator[str]:
        return (path for path, _ in self._facts if not is_of_columns(path))

    def _features(self, kept: Collection[str], review: Review) -> dict[bytes, bytes]:
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
        kinds = {name: type_of_values(self.batch.schema.field(name).type) for name in names}
        return {
            name: weight("9" * kind.precision) if types.is_decimal(kind) else 1
            for name, kind in kinds.items()
        }

    def _texts(self, review: Review) -> set[str]:
        """Return the columns of strings that were not decided on."""
        types = arrow()[0].types
        return self._undecided((types.is_string, types.is_large_string), review)

    def _undecided(self, checks: tuple[Check, ...], review: Review) -> set[str]:
        return {
            field.name
            for field in self.batch.schema
            if any(check(type_of_values(field.type)) for check in checks)
            and review.account.says_of(self.columns.file, field.name) is None
            and field.name != self.columns.label
        }


def _values_in(field: bytes) -> dict[str, Any]:
    """Return the values of columns that are a field; nothing of a field of its own."""
    try:
        found = load_json(field)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _rows_drawn(batch: pa.RecordBatch, names: Collection[str]) -> Collection[int]:
    """Return the rows of a table in which columns of text could be the rows of a picture.

    The lengths of the texts are compared first: for most that is all.
    """
    from pyarrow import compute, large_string  # as `arrow` does

    if len(names) < ROWS or not len(batch):
        return ()
    order = [name for name in batch.schema.names if name in names]
    texts = [recast(batch.column(name), large_string()) for name in order]
    each = (compute.utf8_length(text).fill_null(0) for text in texts)
    lengths = np.stack([length.to_numpy(zero_copy_only=False) for length in each])
    same = (lengths[1:] == lengths[:-1]) & (lengths[1:] >= ROWS)
    runs = np.lib.stride_tricks.sliding_window_view(same, ROWS - 1, axis=0).all(axis=-1)
    found = np.flatnonzero(runs.any(axis=0)).tolist()
    return {n for n in found if are_rows(text[n].as_py() or "" for text in texts)}


def _stripped(column: pa.Array, name: str, review: Review) -> pa.Array:
    """Return a column of its bare type."""
    pyarrow, _ = arrow()
    bare = bare_type(column.type)
    if column.type.equals(bare, check_metadata=True):
        return column
    try:
        return recast(column, bare)
    except damage() as error:
        review.account.leave_out(name, name, f"cannot be written: {error}", len(column))
        return pyarrow.nulls(len(column))


def holds_key(column: pa.Array, review: Review) -> bool:
    """Tell whether a column has the key of a dataset in it, in one row or over several."""
    types = arrow()[0].types
    is_free = types.is_temporal(column.type) or types.is_boolean(column.type)
    try:
        return not is_free and review.drops.is_key(column.to_pylist())
    except damage():  # in a list is a moment that Python has none for
        return any(review.drops.holds_key(memoryview(each)) for each in column.buffers() if each)


def _without_key(column: pa.Array, name: str, review: Review) -> pa.Array:
    """Return a column; nulls, where it has the key of a dataset in it."""
    if not holds_key(column, review):
        return column
    review.account.leave_out(name.rpartition("/")[2], name, A_KEY, len(column))
    return arrow()[0].nulls(len(column), column.type)


def _pruned(
    column: pa.Array,
    name: str,
    review: Review,
    allowances: list[Allowance],
    drawn: Collection[int],
) -> pa.Array:
    """Return a column without the values that could hold a picture, which become null."""
    pyarrow, _ = arrow()
    if drawn:
        reason = "is one of several columns that are like the rows of a picture"
        review.account.leave_out(name.rpartition("/")[2], name, reason, len(drawn))
    try:
        given = column.to_pylist()
    except damage() as error:  # a moment that Python has none for
        review.account.leave_out(
            name.rpartition("/")[2], name, f"cannot be read: {error}", len(column)
        )
        return pyarrow.nulls(len(column), column.type)
    values = [
        None if n in drawn else review.row(name, value, own)
        for n, (value, own) in enumerate(zip(given, allowances, strict=True))
    ]
    try:
        return array_of(values, column.type)
    except (pyarrow.ArrowException, TypeError, ValueError):  # a null where its type has none
        kind = name.rpartition("/")[2]
        review.account.leave_out(kind, name, f"cannot be cut as type {column.type}", len(column))
        return pyarrow.nulls(len(column), column.type)
