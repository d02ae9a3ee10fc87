"""The other columns of a row, as JSON, and back."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

from dsguard.errors import InputError
from dsguard.formats.base import Extras
from dsguard.formats.json_files import as_json
from dsguard.formats.limits import load_json
from dsguard.formats.parquet.columns import Columns, arrow, damage
from dsguard.formats.parquet.types import bare_type, decoded_type, refielded

if TYPE_CHECKING:
    import pyarrow as pa


FIELDS = "fields"
"""The column for what belongs to images that were no rows before."""

_HEX = ":hex"
"""Ends the names of fields whose values are in hexadecimal: all that are no text, or end so."""


class FieldsOf:
    """The other columns of a row, as JSON."""

    def __init__(self, batch: pa.RecordBatch, columns: Columns) -> None:
        names = [name for name in batch.schema.names if name not in (columns.image, columns.label)]
        self._others = batch.select(names) if names else None
        self._named = columns.named

    def __call__(self, row: int) -> Extras:
        return self.without(row, ())

    def without(self, row: int, columns: Collection[str]) -> Extras:
        """Return the fields of a row without what some columns add, under the same names."""
        if self._others is None:
            return {}
        part = self._others.slice(row, 1)
        try:
            values = {
                name: values_of(column)[0]
                for name, column in zip(part.schema.names, part.columns, strict=True)
            }
        except damage() as error:  # a moment that Python has none for
            msg = f"a value of another column cannot be read: {error}"
            raise InputError(msg) from error
        fields = _from_text(values.pop(FIELDS, None)) if self._named else {}
        rest = _free("json", fields)  # of others, who may have added some to a file of here
        if self._named and FIELDS in columns:
            fields = {}
        if values := {name: value for name, value in values.items() if name not in columns}:
            fields[rest] = _dumped(values)
        return fields


def values_of(column: pa.Array) -> list[Any]:
    """Return the values of a column; moments that Python has none for as the numbers they are."""
    pyarrow, _ = arrow()
    bare = bare_type(column.type)
    column = column.cast(bare) if pyarrow.types.is_temporal(bare) else column
    try:
        if "time64[ns]" in str(column.type):  # else nanoseconds are lost without a word
            column = column.cast(_with_moments(column.type, _times_of_python))
        return list(column.to_pylist())
    except damage():
        return list(column.cast(_with_moments(column.type, _numbers)).to_pylist())


def _with_moments(kind: pa.DataType, change: Callable[[pa.DataType], pa.DataType]) -> pa.DataType:
    """Return a type with other moments in it, at any depth."""
    kind = decoded_type(kind)
    if arrow()[0].types.is_temporal(kind):
        return change(kind)
    return refielded(kind, lambda field: field.with_type(_with_moments(field.type, change)))


def _times_of_python(kind: pa.DataType) -> pa.DataType:
    pyarrow, _ = arrow()
    return pyarrow.time64("us") if pyarrow.types.is_time64(kind) else kind


def _numbers(kind: pa.DataType) -> pa.DataType:
    pyarrow, _ = arrow()
    days = pyarrow.types.is_date32(kind) or pyarrow.types.is_time32(kind)
    return pyarrow.int32() if days else pyarrow.int64()


def _free(name: str, fields: Extras) -> str:
    while name in fields:
        name = f"columns.{name}"
    return name


def _dumped(values: dict[str, Any]) -> bytes:
    return json.dumps(values, default=as_json, ensure_ascii=False).encode()


def as_text(extras: Extras) -> str | None:
    """Return what belongs to an image as one JSON object.

    Bytes that are no text are in hexadecimal, and so is all whose suffix ends with the mark of it.
    """
    if not extras:
        return None
    text: dict[str, str] = {}
    for suffix, data in extras.items():
        name = suffix.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
        try:
            value = None if name.endswith(_HEX) else data.decode()
        except UnicodeDecodeError:
            value = None
        if value is None:
            text[name + _HEX] = data.hex()
        else:
            text[name] = value
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
