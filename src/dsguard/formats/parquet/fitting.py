"""Columns that were changed since they were published, and the types that they had before."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from dsguard.errors import InputError
from dsguard.formats.limits import load_json
from dsguard.formats.parquet.columns import arrow, damage
from dsguard.formats.parquet.types import recast

if TYPE_CHECKING:
    import pyarrow as pa

    from dsguard.formats.parquet.reader import ParquetSource

_FEATURES = b"huggingface"


def fitted(column: pa.Array, kind: pa.DataType) -> pa.Array | None:
    """Return a column as one of another type; None where that changes or loses a value."""
    pyarrow, _ = arrow()
    if column.type.equals(kind, check_metadata=True):
        return column
    if column.null_count == len(column):
        return pyarrow.nulls(len(column), kind)
    try:
        if column.type == kind:  # but for what its fields are called
            return recast(column, kind)
        found = column.cast(kind)
        found.validate(full=True)
        return found if _is_same(found.cast(column.type), column) else None
    except damage():
        return None


def _is_same(one: pa.Array, other: pa.Array) -> bool:
    """Tell whether values are the same; to Arrow, NaN is not the same as NaN."""
    return one.equals(other) or repr(one.to_pylist()) == repr(other.to_pylist())


def misfits(
    source: ParquetSource, file: str, published: pa.Schema, wanted: pa.Schema
) -> frozenset[str]:
    """Return the columns of a published file that have values which do not fit their types.

    All values of the file decide, so that all of its rows come back with one type.
    """
    own = {each.name: each.type for each in published}
    changed = {
        each.name: each.type for each in wanted if own.get(each.name, each.type) != each.type
    }
    found: set[str] = set()
    try:
        for batch in source.values_of(file, list(changed)) if changed else ():
            there = batch.schema.names
            found |= {
                name
                for name, kind in changed.items()
                if name not in there or fitted(batch.column(name), kind) is None
            }
    except InputError:  # damage, as whoever reads those rows will say
        return frozenset(changed)
    return frozenset(found)


def merged_schema(
    wanted: pa.Schema, published: pa.Schema, as_published: Collection[str]
) -> pa.Schema:
    """Return the columns that rows come back with: those of the source, then those added since.

    Parameters
    ----------
    wanted : Schema
        Of the source.
    published : Schema
    as_published : collection of str
        The columns that come back with the type that they are published with.
    """
    pyarrow, _ = arrow()
    fields = [published.field(each.name) if each.name in as_published else each for each in wanted]
    there = set(wanted.names)
    fields += [each for each in published if each.name not in there]
    new = {each.name for each in fields[len(wanted) :]} | set(as_published)
    told = {each.name: each.metadata for each in wanted}
    return pyarrow.schema(
        [pyarrow.field(each.name, each.type, metadata=told.get(each.name)) for each in fields],
        metadata=_metadata(wanted.metadata, published.metadata, new),
    )


def _metadata(
    wanted: dict[bytes, bytes] | None, published: dict[bytes, bytes] | None, new: Collection[str]
) -> dict[bytes, bytes] | None:
    """Return what the source says of its columns, and the published file of these."""
    told = {name: what for name, what in _features(published).items() if name in new}
    own = _features(wanted)
    if not told or all(own.get(name) == what for name, what in told.items()):
        return wanted
    features = {"info": {"features": {**own, **told}}}
    return {**(wanted or {}), _FEATURES: json.dumps(features).encode()}


def _features(metadata: dict[bytes, bytes] | None) -> dict[str, Any]:
    """Return what a file says of its columns to ``datasets``; nothing where it does not."""
    try:
        found = load_json((metadata or {})[_FEATURES])["info"]["features"]
    except (KeyError, TypeError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
