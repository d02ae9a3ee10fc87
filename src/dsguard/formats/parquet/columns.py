"""The columns of a Parquet file: which holds the images, which the class."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from dsguard.errors import InputError, MissingExtraError
from dsguard.formats.limits import MOST_COLUMNS, load_json

if TYPE_CHECKING:
    import pyarrow as pa


NAMED = b"dsguard.named"
"""Metadata of files whose paths are the names that images had in another format."""


LABELS = ("label", "labels", "fine_label", "class", "cls", "category", "y", "target")
"""Columns that are taken for the class, the first that is there."""


def arrow() -> tuple[Any, Any]:
    """Import pyarrow and its Parquet part."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise MissingExtraError.of(package="pyarrow", extra="parquet") from None
    return pyarrow, pyarrow.parquet


def damage() -> tuple[type[Exception], ...]:
    """Return what Arrow raises where a file is damaged; text that is no text is a ValueError."""
    return (arrow()[0].ArrowException, OSError, OverflowError, ValueError)


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
        if len(schema.names) > MOST_COLUMNS:
            msg = (
                f"{file} has {len(schema.names)} columns, and {MOST_COLUMNS} are the most; put "
                "values of one kind into a list"
            )
            raise InputError(msg)
        found, is_plain = columns_of_images(schema)
        if len(found) != 1:
            msg = no_column_of_images(file, len(found))
            raise InputError(msg)
        twice = sorted(name for name, count in Counter(schema.names).items() if count > 1)
        if twice:
            msg = f"{file} has more than one column named {twice[0]!r}; rename one of them"
            raise InputError(msg)
        self.file = file
        self.image: str | None = found[0]
        self.is_plain = is_plain
        labels = (name for name in LABELS if name in schema.names)
        self.label = next((name for name in labels if _is_label(schema.field(name).type)), None)
        self.class_names = class_names_in(schema, self.label)
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


def columns_of_images(schema: pa.Schema) -> tuple[list[str], bool]:
    """Return the columns that may be that of the images, and whether they hold bytes alone."""
    pyarrow, _ = arrow()
    binary = (pyarrow.binary(), pyarrow.large_binary())
    plain = [f.name for f in schema if f.type in binary and f.name in ("image", "img", "png")]
    structs = [f.name for f in schema if _is_image(f.type)]
    found = structs or plain
    if len(found) > 1:  # the others are columns like others, and not published
        found = [name for name in ("image", "img", "png") if name in found][:1] or found
    return found, not structs


def _is_image(kind: pa.DataType) -> bool:
    """Tell whether a type is that of images and their paths; either may be missing in all rows."""
    pyarrow, types = arrow()[0], arrow()[0].types
    if not types.is_struct(kind) or sorted(each.name for each in kind) != ["bytes", "path"]:
        return False
    file, path = (type_of_values(kind.field(name).type) for name in ("bytes", "path"))
    files = (pyarrow.binary(), pyarrow.large_binary(), pyarrow.null())
    texts = (pyarrow.string(), pyarrow.large_string(), pyarrow.null())
    return (file in files or types.is_fixed_size_binary(file)) and path in texts


def no_column_of_images(file: str, found: int) -> str:
    """Return what is said of a file with none, or of which nobody knows which it is."""
    return (
        f"{file} has {found} columns of images; expected one, or one of them named "
        "image or img, of bytes or of struct{bytes, path}"
    )


def type_of_values(kind: pa.DataType) -> pa.DataType:
    """Return the type of the values of a dictionary, as of categories; others as they are."""
    return kind.value_type if arrow()[0].types.is_dictionary(kind) else kind


def _is_label(kind: pa.DataType) -> bool:
    """Tell whether a column of this type can be the class: a mask of bytes is called target too."""
    types, kind = arrow()[0].types, type_of_values(kind)
    checks = (types.is_integer, types.is_boolean, types.is_floating, types.is_string)
    return any(check(kind) for check in (*checks, types.is_large_string, types.is_null))


def class_names_in(schema: pa.Schema, label: str | None) -> list[str]:
    """Return what a file says that the numbers of a column stand for; empty where it does not."""
    try:
        info = load_json((schema.metadata or {})[b"huggingface"])["info"]
        names = info["features"][label]["names"]
    except (KeyError, TypeError, ValueError, RecursionError):
        return []
    return [str(name) for name in names] if isinstance(names, list) else []


def classes_of(batch: pa.RecordBatch, columns: Columns) -> list[str]:
    """Return the class of each row, empty where it has none."""
    if columns.label is None:
        return [""] * batch.num_rows
    known = columns.class_names
    return [
        known[value]
        if isinstance(value, int) and 0 <= value < len(known)
        else ("" if value is None else str(value))
        for value in batch.column(columns.label).to_pylist()
    ]
