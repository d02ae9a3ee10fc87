"""What Parquet files, their columns and fields within these say of themselves: their metadata."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterator
from typing import TYPE_CHECKING, Any, TypeAlias

from dsguard.formats.disclosure import A_KEY
from dsguard.formats.limits import load_json
from dsguard.formats.parquet.columns import NAMED, arrow
from dsguard.formats.parquet.types import fields_within, refielded

if TYPE_CHECKING:
    import pyarrow as pa

    from dsguard.formats.review import Review

Told: TypeAlias = "dict[bytes, bytes] | None"

FEATURES = b"huggingface"
"""What ``datasets`` says of the columns of a file."""

_PLAIN = frozenset(
    {"Array2D", "Array3D", "Array4D", "Array5D", "ClassLabel", "LargeList", "List", "Sequence"}
    | {"Translation", "TranslationVariableLanguages", "Value"}
)
"""Features of `datasets` that open nothing."""

_DTYPE = re.compile(
    r"null|bool|u?int(8|16|32|64)|float(16|32|64)?|halffloat|double|date(32|64)"
    r"|(large_)?(string|utf8|binary)|(string|binary)_view"
    r"|(time32|time64|timestamp|duration)\[[\w, =/+:-]{1,64}\]"
    r"|decimal(32|64|128|256)\(\d{1,3}, ?-?\d{1,3}\)"
)
"""Names of types in features."""

_OF_COLUMNS = f"{FEATURES.decode()}/info/features/"

_OF_STORAGE = frozenset({b"PARQUET:field_id", NAMED})
"""How a file is stored, and not what it holds: as sizes of row groups, it is not kept."""

_COULD_BE = "is metadata of a file or column, which could be anything"
_WITHIN = "is metadata of a field within a type, which is published of none"
COULD_TELL = "is metadata, which may tell of what does not come back"


def facts_of(schema: pa.Schema) -> Iterator[tuple[str, bytes]]:
    """Yield all metadata of a table: where it stands and its key as one path, and the value.

    What a file says to ``datasets`` of each column is one, however it is written.
    """
    for key, value in (schema.metadata or {}).items():
        if key == FEATURES:
            yield from _facts_of_features(value)
        elif key not in _OF_STORAGE:
            yield _text(key), value
    for field in schema:
        yield from _facts_of_field(field, field.name)


def _facts_of_field(field: pa.Field, path: str) -> Iterator[tuple[str, bytes]]:
    for key, value in (field.metadata or {}).items():
        if key not in _OF_STORAGE:
            yield f"{path}/{_text(key)}", value
    for each in fields_within(field.type):
        yield from _facts_of_field(each, f"{path}.{each.name}")


def _facts_of_features(value: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield what is said of each column, and what else there is."""
    try:
        told = load_json(value)
        features = dict(told["info"].pop("features"))
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError):
        yield FEATURES.decode(), value
        return
    if told["info"] or len(told) > 1:
        yield FEATURES.decode(), json.dumps(told, sort_keys=True).encode()
    for column, feature in features.items():
        yield f"{_OF_COLUMNS}{column}", json.dumps(_bare(feature), sort_keys=True).encode()


def _bare(feature: Any) -> Any:
    """Return a feature without what says nothing: nulls, and the number of the names of classes."""
    if not isinstance(feature, dict):
        return feature
    is_counted = "names" in feature
    kept = {key: each for key, each in feature.items() if each is not None}
    return {key: each for key, each in kept.items() if not (is_counted and key == "num_classes")}


def without_odd_features(
    metadata: Told, image: str | None, but: Collection[str] = ()
) -> tuple[Told, list[str]]:
    """Return metadata without features that are no plain values, and their columns.

    ``datasets`` calls any function of pyarrow that is called as a type is, and opens what is said
    to be an image, a film or the like: PostScript, or a file elsewhere. `image` is the column of
    the images; those of `but` may be anything.
    """
    if not metadata or FEATURES not in metadata:
        return metadata, []
    try:
        told = load_json(metadata[FEATURES])
        features = dict(told["info"]["features"])
        odd = [
            column
            for column, feature in features.items()
            if not (_is_usual(feature) or (column == image and _is_image(feature)) or column in but)
        ]
    except KeyError:  # it says nothing of columns
        return metadata, []
    except (AttributeError, TypeError, ValueError, RecursionError):  # others may read it
        return {k: v for k, v in metadata.items() if k != FEATURES}, [FEATURES.decode()]
    if not odd:
        return metadata, []
    told["info"]["features"] = {name: each for name, each in features.items() if name not in odd}
    return {**metadata, FEATURES: json.dumps(told).encode()}, odd


def _is_image(feature: Any) -> bool:
    return isinstance(feature, dict) and feature.get("_type") == "Image"


def _is_usual(feature: Any) -> bool:
    """Tell whether all types that a feature names, at any depth, are those of plain values."""
    if isinstance(feature, list):
        return all(map(_is_usual, feature))
    if not isinstance(feature, dict):
        return True
    kind = feature.get("_type", "Value")
    if isinstance(kind, str) and kind not in _PLAIN:  # otherwise it is a field of a struct
        return False
    dtype = feature.get("dtype", "null")
    is_one = isinstance(dtype, dict) or (isinstance(dtype, str) and _DTYPE.fullmatch(dtype))
    return bool(is_one) and all(map(_is_usual, feature.values()))


def is_of_columns(path: str) -> bool:
    """Tell whether a fact is what a file says to ``datasets`` of one of its columns."""
    return path.startswith(_OF_COLUMNS)


def _text(key: bytes) -> str:
    return key.decode(errors="backslashreplace")


def tells_of_itself(field: pa.Field) -> bool:
    """Tell whether a column, or a field within its type, has metadata."""
    return bool(field.metadata) or any(map(tells_of_itself, fields_within(field.type)))


def retold(field: pa.Field, path: str, told: Callable[[Told, str], Told]) -> pa.Field:
    """Return a column with other metadata, and so the fields within its type.

    Parameters
    ----------
    field : Field
    path : str
    told : callable
        Return metadata in the place of some, by the path of their field.
    """
    if not tells_of_itself(field):
        return field
    kind = refielded(field.type, lambda each: retold(each, f"{path}.{each.name}", told))
    return field.with_type(kind).with_metadata(told(field.metadata, path))


def published_of(metadata: Told, path: str, review: Review) -> dict[bytes, bytes]:
    """Return the metadata of a file or column that its owner publishes by name, but for a key."""
    return {
        key: value
        for key, value in (metadata or {}).items()
        if review.account.says(f"{path}/{_text(key)}") and not _is_key(key, value, review)
    }


def _is_key(key: bytes, value: bytes, review: Review) -> bool:
    return review.drops.holds_key(repr({key: value}).encode())


def leave_out(
    given: pa.Schema, kept: pa.Schema, file: str, review: Review, *, reason: str = ""
) -> None:
    """Name the metadata of a file and of its columns that is not kept, where its columns are.

    Parameters
    ----------
    given : Schema
        Of the source, without what is dropped.
    kept : Schema
        What is published, or comes back.
    file : str
    review : Review
    reason : str
        Why it is not sealed either; empty where it is, if anything is sealed.
    """
    there = dict(facts_of(kept))
    names = set(kept.names)
    columns = [field for field in given if field.name in names]
    direct = {_text(key) for key in given.metadata or {}}
    direct |= {f"{each.name}/{_text(key)}" for each in columns for key in each.metadata or {}}
    for path, value in facts_of(arrow()[0].schema(columns, metadata=given.metadata)):
        if there.get(path) == value or is_of_columns(path):
            continue  # what is not kept of features is named with its column
        name = f"{file}/{path}"
        why = reason or (_COULD_BE if path in direct else _WITHIN)
        if _is_key(name.encode(), value, review):
            why = A_KEY
        if review.account.says(name) is not False:
            review.account.leave_out_once(name, why, sealable=not reason)
