"""Types of Arrow: which are known, without what they say of themselves, and arrays of them."""

from __future__ import annotations

import re
import zoneinfo
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias

from dsguard.formats.parquet.columns import arrow

if TYPE_CHECKING:
    import pyarrow as pa

Check: TypeAlias = "Callable[[pa.DataType], bool]"

_OFFSET = re.compile(r"[+-]\d\d:\d\d")


def bare_type(kind: pa.DataType) -> pa.DataType:
    """Return a type without what its fields say of themselves, which could be anything.

    Types that `reason_against` does not know are returned as they are: it refuses them.
    """
    pyarrow, _ = arrow()
    types = pyarrow.types
    if types.is_struct(kind):
        return pyarrow.struct({field.name: bare_type(field.type) for field in kind})
    if types.is_map(kind):
        return pyarrow.map_(bare_type(kind.key_type), bare_type(kind.item_type))
    if types.is_dictionary(kind):
        return pyarrow.dictionary(kind.index_type, bare_type(kind.value_type), kind.ordered)
    if types.is_timestamp(kind) and kind.tz and not _is_zone(kind.tz):  # the moment stays
        return pyarrow.timestamp(kind.unit, "UTC")
    if types.is_fixed_size_list(kind):
        return pyarrow.list_(bare_type(kind.value_type), kind.list_size)
    list_of = next((list_of for is_such, list_of in lists_of_arrow() if is_such(kind)), None)
    return list_of(bare_type(kind.value_type)) if list_of else kind


def fields_within(kind: pa.DataType) -> list[pa.Field]:
    """Return the fields of a type that `refielded` takes, which may have metadata; else none."""
    return [kind.field(n) for n in range(kind.num_fields)] if _is_known(kind) else []


def refielded(kind: pa.DataType, field_for: Callable[[pa.Field], pa.Field]) -> pa.DataType:
    """Return a type with other fields in it, of the same names; types with none as they are."""
    pyarrow, types = arrow()[0], arrow()[0].types
    if isinstance(kind, pyarrow.BaseExtensionType) or not fields_within(kind):
        return kind
    if types.is_struct(kind):
        return pyarrow.struct(list(map(field_for, kind)))
    if types.is_map(kind):
        entry = (field_for(kind.key_field), field_for(kind.item_field))
        return pyarrow.map_(*entry, keys_sorted=kind.keys_sorted)
    inner = field_for(kind.value_field)
    if types.is_fixed_size_list(kind):
        return pyarrow.list_(inner, kind.list_size)
    list_of = next((list_of for is_such, list_of in lists_of_arrow() if is_such(kind)), None)
    return list_of(inner) if list_of else kind


def decoded_type(kind: pa.DataType) -> pa.DataType:
    """Return a type with the types of values in place of dictionaries, at any depth."""
    if arrow()[0].types.is_dictionary(kind):
        return kind.value_type
    return refielded(kind, lambda field: field.with_type(decoded_type(field.type)))


def plain_type(kind: pa.DataType) -> pa.DataType:
    """Return a type with plain texts and bytes in place of views of these, at any depth.

    Arrow takes no rows of views and does not put them together. A list view of such becomes a list,
    and an extension type that is stored so what it is stored as.
    """
    pyarrow, _ = arrow()
    types = pyarrow.types
    if not _has_views(kind):
        return kind
    if isinstance(kind, pyarrow.BaseExtensionType):
        return plain_type(kind.storage_type)
    if types.is_struct(kind):
        return pyarrow.struct([_plain_field(each) for each in kind])
    if types.is_map(kind):
        fields = (_plain_field(kind.key_field), _plain_field(kind.item_field))
        return pyarrow.map_(*fields, keys_sorted=kind.keys_sorted)
    if kind.num_fields:
        return _plain_list(kind)
    return pyarrow.string() if types.is_string_view(kind) else pyarrow.binary()


def _plain_list(kind: pa.DataType) -> pa.DataType:
    pyarrow, types = arrow()[0], arrow()[0].types
    inner = _plain_field(kind.value_field)
    if types.is_fixed_size_list(kind):
        return pyarrow.list_(inner, kind.list_size)
    is_large = types.is_large_list(kind) or types.is_large_list_view(kind)
    return pyarrow.large_list(inner) if is_large else pyarrow.list_(inner)


def _plain_field(field: pa.Field) -> pa.Field:
    return field.with_type(plain_type(field.type))


def _has_views(kind: pa.DataType) -> bool:
    """Tell whether a type has views of texts or bytes in it; an old Arrow has none."""
    pyarrow, _ = arrow()
    types = pyarrow.types
    if isinstance(kind, pyarrow.BaseExtensionType):
        return _has_views(kind.storage_type)
    if kind.num_fields:
        inner = (kind.field(n).type for n in range(kind.num_fields))
        return _is_known(kind) and any(map(_has_views, inner))
    checks = ("is_string_view", "is_binary_view")
    return any(getattr(types, check, lambda _: False)(kind) for check in checks)


def has_categories_within(kind: pa.DataType) -> bool:
    """Tell whether a type has dictionaries in its lists or structs, of which Arrow can do less."""
    types = arrow()[0].types
    inner = [kind.field(n).type for n in range(kind.num_fields)]
    return any(types.is_dictionary(each) or has_categories_within(each) for each in inner)


def lists_of_arrow() -> list[tuple[Check, Callable[[pa.DataType], pa.DataType]]]:
    """Return the lists of any length that Arrow has: how one is known, and how it is made."""
    pyarrow, types = arrow()[0], arrow()[0].types
    return [
        (types.is_list, pyarrow.list_),
        (types.is_large_list, pyarrow.large_list),
        (types.is_list_view, pyarrow.list_view),
        (types.is_large_list_view, pyarrow.large_list_view),
    ]


def _is_known(kind: pa.DataType) -> bool:
    """Tell whether `bare_type` knows a type: others may have fields that say anything."""
    types = arrow()[0].types
    checks = [types.is_struct, types.is_fixed_size_list, types.is_map, types.is_dictionary]
    checks += [is_such for is_such, _ in lists_of_arrow()]
    nested = types.is_nested(kind) or kind.num_fields > 0
    return not nested or any(is_such(kind) for is_such in checks)


def _is_zone(name: str) -> bool:
    return bool(_OFFSET.fullmatch(name)) or name in _zones()


@cache
def _zones() -> set[str]:
    return zoneinfo.available_timezones()


def reason_against(kind: pa.DataType) -> str:
    """Return why no column of this type is published unless it is named; empty where some are."""
    types = arrow()[0].types
    if isinstance(kind, arrow()[0].BaseExtensionType) or not _is_known(kind):
        return f"is of type {kind}"
    inner = [kind.field(n).type for n in range(kind.num_fields)]
    if types.is_dictionary(kind):
        inner.append(kind.value_type)
    if any("binary" in str(each) for each in (kind, *inner)) or any(map(reason_against, inner)):
        return "holds bytes"
    return ""


def length_of_names(kind: pa.DataType) -> int:
    """Return how many characters the fields of a type have in their names, at any depth."""
    fields = [kind.field(n) for n in range(kind.num_fields)]
    return sum(len(field.name) + length_of_names(field.type) for field in fields)


def recast(column: pa.Array, kind: pa.DataType) -> pa.Array:
    """Return a column as one of another type that has the same values."""
    pyarrow, _ = arrow()
    try:
        cast = column.cast(kind)
        cast.validate(full=True)  # Arrow makes invalid ones of lists of nothing, and of list views
    except pyarrow.ArrowException:
        return array_of(column.to_pylist(), kind)
    return cast


def array_of(values: list[Any], kind: pa.DataType) -> pa.Array:
    """Return values as an Arrow array, maps without the entries that were pruned.

    An entry or key that is null is no exception to Arrow: it ends the process.
    """
    return arrow()[0].array([_without_null_entries(value, kind) for value in values], kind)


def _without_null_entries(value: Any, kind: pa.DataType) -> Any:
    types = arrow()[0].types
    if value is None or not kind.num_fields:
        return value
    if types.is_struct(kind):
        return {each.name: _without_null_entries(value.get(each.name), each.type) for each in kind}
    if types.is_map(kind):
        parts = (kind.key_type, kind.item_type)
        entries = (entry for entry in value if entry is not None and entry[0] is not None)
        return [tuple(map(_without_null_entries, entry, parts)) for entry in entries]
    return [_without_null_entries(each, kind.value_type) for each in value]
