"""Hugging Face ``imagefolder``: tables ``metadata.csv``, ``.jsonl`` or ``.parquet`` of images."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

from dsguard.errors import InputError
from dsguard.formats.allowance import CouldHoldPictureError
from dsguard.formats.base import class_of
from dsguard.formats.disclosure import ClassPlace, kind_of
from dsguard.formats.json_files import read_json
from dsguard.formats.limits import MOST_BYTES, check_csv, json_lines
from dsguard.formats.listings.base import (
    NO_CLASS,
    ImageIndex,
    Listing,
    follow,
    read_listing,
    within_size,
)
from dsguard.formats.listings.coco import dumped

if TYPE_CHECKING:
    from dsguard.formats.drops import Drops
    from dsguard.formats.folder.reader import TreeSource
    from dsguard.formats.review import Review

Row: TypeAlias = dict[str, Any]
Change: TypeAlias = Callable[[Row], Row | None]
"""Returns a row as it is to be, the same object if nothing changes, None to leave it out."""

_TABLES = frozenset({"metadata.csv", "metadata.jsonl", "metadata.parquet"})


def is_metadata(name: str) -> bool:
    """Tell whether a file is called as a table of an image folder."""
    return name.rpartition("/")[2] in _TABLES


class MetadataListing(Listing):
    """The class of an image is its label in the table; without labels there, its folder."""

    kind = "imagefolder"
    more_files = frozenset({"metadata.parquet"})

    @staticmethod
    def recognises(source: TreeSource) -> bool:
        """Tell whether a table names an image of the dataset."""
        return any(_names_images(source, file) for file in _candidates(source))

    def files(self) -> list[str]:
        return self._files

    def class_of(self, name: str) -> str:
        labels, _ = self._labels
        if labels is None:
            return class_of(name)
        return labels.get(name) or NO_CLASS

    def class_places(self) -> list[ClassPlace]:
        found = ((file, _label_column(list(self._rows(file)))) for file in self.files())
        return [
            ClassPlace(file, key, is_named=False)
            for file, column in found
            if column is not None
            for key in ("", column)
        ]

    def classes_in(self, file: str, data: bytes) -> object:
        index = self.source.index_of(file)
        return _labels([(row, _images(row, file, index)) for row in _rows(file, data)])

    def remarks(self) -> list[str]:
        _, doubtful = self._labels
        return [f"{doubtful[0]} has several labels, and gets none of them"] if doubtful else []

    def whole(self) -> list[str]:
        """Return the tables all of whose cells are about images, and under a name of their own."""
        return [
            file
            for file in self.files()
            if all(images or not row for row, images in self._rows(file))
            and _is_even(file, self.read(file))
        ]

    def fields(self, wanted: Collection[str], review: Review | None = None) -> dict[str, bytes]:
        size = sum(len(self.read(file)) for file in self.files())
        return within_size(self._told(wanted, review), size)

    def _told(self, wanted: Collection[str], review: Review | None) -> Iterator[tuple[str, bytes]]:
        """Yield images, and of each row about them what it tells; rows go as in `with_names`."""
        for file in self.files():
            if review is not None and review.account.says(file) is False:
                continue
            index = self.source.index_of(file)
            for row, images in self._rows(file):
                if any(image in wanted for image in _about(row, images, file, index)):
                    for image in dict.fromkeys(images):
                        told = self._of_image(row, image, file, wanted)
                        if review is not None:
                            told = review.drops.undropped(file, told, sealing=True) or {}
                        if told and image in wanted:
                            yield image, dumped(told)

    def _of_image(self, row: Row, image: str, file: str, wanted: Collection[str]) -> Row:
        """Return a row without the names of the image itself, of those not wanted, and lists."""

        def stays(column: str, value: Any) -> bool:
            if not _is_name(column):
                return True
            named = _images({column: value}, file, self.source.index_of(file))
            known = isinstance(value, str) and image not in named
            return known and all(other in wanted for other in named)

        return {column: value for column, value in row.items() if stays(column, value)}

    @cached_property
    def _files(self) -> list[str]:
        return [file for file in _candidates(self.source) if _names_images(self.source, file)]

    @cached_property
    def _labels(self) -> tuple[dict[str, str | None] | None, list[str]]:
        """Label by image, None if the tables have no labels; and images with several."""
        known: dict[str, str | None] = {}
        doubtful: list[str] = []
        labelled = False
        for file in self.files():
            labels = _labels(list(self._rows(file)))
            labelled |= labels is not None
            for image, label in labels or ():
                if known.setdefault(image, label) != label:
                    doubtful.append(image)
        return (known | dict.fromkeys(doubtful) if labelled else None), doubtful

    def _rows(self, file: str) -> Iterator[tuple[Row, list[str]]]:
        """Yield the rows of a table and the images that each is about."""
        for row in _rows(file, self.read(file)):
            yield row, _images(row, file, self.source.index_of(file))


def _candidates(source: TreeSource) -> list[str]:
    return sorted(filter(is_metadata, source.may_list()))


def _names_images(source: TreeSource, file: str) -> bool:
    content = read_listing(source, file)
    try:
        rows = _rows(file, content)
        return any(_images(row, file, source.index_of(file)) for row in rows)
    except InputError:  # a table that is none, called as one
        return False


def _labels(rows: list[tuple[Row, list[str]]]) -> list[tuple[str, str | None]] | None:
    """Return image and label of each row; None where no column has labels."""
    column = _label_column(rows)
    if column is None:
        return None
    values = [row.get(column) for row, _ in rows]
    return [
        (image, None if value in (None, "") else str(value))
        for value, (_, images) in zip(values, rows, strict=True)
        for image in images
    ]


def _label_column(rows: list[tuple[Row, list[str]]]) -> str | None:
    """Return the column with the labels, None where there is none."""
    from dsguard.formats.parquet.columns import LABELS

    for name in LABELS:
        values = [row.get(name) for row, _ in rows]
        plain = all(isinstance(value, str | int | None) for value in values)
        if plain and any(value not in (None, "") for value in values):
            return name
    return None


def _images(row: Row, file: str, index: ImageIndex) -> list[str]:
    """Return the images that a row names, by their paths from the folder of its table."""
    folder = file.rpartition("/")[0]
    found = (index.at(folder, text) for text in _texts(row) if "://" not in text)
    return [image for image in found if image is not None]


def _about(row: Row, images: list[str], file: str, index: ImageIndex) -> list[str]:
    """Return those of the images of a row that it is about: ``file_name``, where there is one."""
    return _images({"file_name": row.get("file_name")}, file, index) or images


def _is_name(column: str) -> bool:
    return column in ("file_name", "file_names") or column.endswith(("_file_name", "_file_names"))


def _texts(value: Any, *, named: bool = False) -> Iterator[str]:
    """Yield the names of files in a row, at any depth, as ``datasets`` finds them."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _texts(inner, named=_is_name(name))
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner, named=named)
    elif named and isinstance(value, str):
        yield value


def _followed(value: Any, new: Callable[[str], str | None], *, named: bool = False) -> Any:
    """Return a row with other names of files in it; None is one that goes, from a list as well."""
    if isinstance(value, dict):
        return {name: _followed(inner, new, named=_is_name(name)) for name, inner in value.items()}
    if isinstance(value, list):
        changed = ((inner, _followed(inner, new, named=named)) for inner in value)
        return [other for inner, other in changed if other is not None or inner is None]
    return new(value) if named and isinstance(value, str) else value


def with_names(data: bytes, file: str, names: Mapping[str, str], index: ImageIndex) -> bytes:
    """Return a table with the new names of its images, without the rows of those that have none.

    A row that names several images, such as one and its mask, stays without the names of those that
    have none, unless ``file_name`` is among these: the row is about that image. Text that is no
    table comes back as it is.
    """
    folder = file.rpartition("/")[0]

    def renamed(text: str) -> str | None:
        old = index.at(folder, text)
        if old is None:
            return text
        return follow(text, old, names[old]) if old in names else None

    def changed(row: Row) -> Row | None:
        images = _images(row, file, index)
        if images and names.keys().isdisjoint(_about(row, images, file, index)):
            return None
        return _followed(row, renamed) if images else row

    try:
        return _KINDS[file.rpartition(".")[2]][1](data, changed)
    except InputError:
        raise
    except (ValueError, TypeError, csv.Error, RecursionError) as error:
        if file.endswith(".parquet"):
            raise _unreadable(file, error) from error  # it is no text, which may go along
        return data


def as_text(file: str, data: bytes) -> str:
    """Return the rows of a table as text."""
    return "\n".join(json.dumps(row, default=str, ensure_ascii=False) for row in _rows(file, data))


def _rows(file: str, data: bytes) -> Iterator[Row]:
    """Yield the rows of a table."""
    try:
        yield from _KINDS[file.rpartition(".")[2]][0](data)
    except (ValueError, TypeError, csv.Error, RecursionError) as error:
        raise _unreadable(file, error) from error


def _unreadable(file: str, error: Exception) -> InputError:
    reason = str(error).partition("\n")[0]
    return InputError(
        f"{file} cannot be read as a table: {reason}; mend it, or have the dataset read as a "
        "folder (--in-format)"
    )


def _jsonl_rows(data: bytes) -> Iterator[Row]:
    for number, line in enumerate(json_lines(data), 1):
        if line.strip():
            row = read_json(line)
            if not isinstance(row, dict):
                msg = f"line {number} is no JSON object"
                raise TypeError(msg)
            yield row


def _changed_jsonl(data: bytes, change: Change) -> bytes:
    lines = []
    for line in json_lines(data):
        row = read_json(line) if line.strip() else None
        new = change(row) if isinstance(row, dict) else row
        if new == row:
            lines.append(line)
        elif new is not None:
            lines.append(dumped(new) + line[len(line.rstrip(b"\r\n")) :])
    return b"".join(lines)


def _csv_rows(data: bytes) -> Iterator[Row]:
    header, *rows = _cells(data.decode("utf-8-sig")) or [[]]
    for cells in rows:
        yield dict(zip(header, cells, strict=False))


def _is_even(file: str, data: bytes) -> bool:
    """Tell whether rows have all of a table: each cell has a column, and that a name of its own."""
    if file.endswith(".parquet"):
        names, types = zip(*((each.name, each.type) for each in _table(data).schema), strict=True)
        return len(set(names)) == len(names) and not any(map(_reason_against, types))
    if file.endswith(".csv"):
        header, *rows = _cells(data.decode("utf-8-sig")) or [[]]
        return len(set(header)) == len(header) and all(len(row) <= len(header) for row in rows)
    return True


def _cells(text: str) -> list[list[str]]:
    """Return the lines of a table that are not empty, whatever the length of a cell."""
    check_csv(text)
    limit = csv.field_size_limit(MOST_BYTES)
    try:
        return [cells for cells in csv.reader(io.StringIO(text, newline="")) if cells]
    finally:
        csv.field_size_limit(limit)


def _changed_csv(data: bytes, change: Change) -> bytes:
    text = data.decode("utf-8")
    header, *rows = _cells(text.removeprefix(_BOM)) or [[]]
    kept, differs = [header], False
    for cells in rows:
        row = dict(zip(header, cells, strict=False))
        new = change(row)
        differs |= new != row
        if new is not None:
            own = zip(header, cells, strict=False)
            kept.append([new[name] if new[name] != row[name] else cell for name, cell in own])
            kept[-1] += cells[len(header) :]
    if not differs:
        return data
    written = io.StringIO(newline="")
    end = "\r\n" if "\r\n" in text else "\n"
    csv.writer(written, lineterminator=end).writerows(kept)
    return ((_BOM if text.startswith(_BOM) else "") + written.getvalue()).encode()


_BOM = "\ufeff"


def reviewed_table(file: str, data: bytes, review: Review) -> bytes | None:
    """Return a Parquet table without what could hold a picture, written anew."""
    from dsguard.formats.parquet.columns import Columns, arrow
    from dsguard.formats.parquet.table import Table

    pyarrow, parquet = arrow()
    try:
        table = _table(data)
    except (InputError, ValueError) as error:
        review.account.leave_out(kind_of(file), file, str(error))
        return None
    columns = Columns.without_images(file)
    kept = []
    try:
        for batch in table.to_batches():
            rows = _lists(pyarrow.Table.from_batches([batch]))
            allowances = list(map(review.row_of_table, rows))
            kept.append(Table(batch, columns).reviewed(review, allowances).batch)
    except (CouldHoldPictureError, ValueError) as error:
        review.account.leave_out(kind_of(file), file, str(error))
        return None
    written = io.BytesIO()
    if kept:
        parquet.write_table(pyarrow.Table.from_batches(kept), written)
    return written.getvalue() or None


def undropped_table(file: str, data: bytes, drops: Drops, sealing: bool = True) -> bytes:
    """Return a Parquet table without the columns that its owner drops, and keys in its values."""
    from dsguard.formats.parquet.columns import damage
    from dsguard.formats.parquet.dropped import undropped

    try:
        return undropped(_table(data), data, file, drops, sealing=sealing)
    except damage() as error:
        raise ValueError(str(error)) from error


_TABLE_ALWAYS, _TABLE_RATIO = 1 << 24, 100
"""Bytes that any table may unpack to, and how many for each byte of its file."""


def _table(data: bytes) -> Any:
    """Read a Parquet file, some rows at a time: it may unpack to any length."""
    from dsguard.formats.parquet.batches import batches_of, plain_schema
    from dsguard.formats.parquet.columns import arrow
    from dsguard.formats.parquet.foreign import parquet_file

    pyarrow, _ = arrow()
    try:
        opened = io.BytesIO(data)
        file = parquet_file(opened)
        most = min(MOST_BYTES, max(_TABLE_ALWAYS, _TABLE_RATIO * len(data)))
        batches = list(batches_of(opened, file, most=256, most_bytes=most))
    except (pyarrow.ArrowException, OSError) as error:
        raise ValueError(str(error)) from error
    return pyarrow.Table.from_batches(batches, plain_schema(file.schema_arrow))


def _reason_against(kind: Any) -> str:
    from dsguard.formats.parquet.types import reason_against

    return reason_against(kind)


def _parquet_rows(data: bytes) -> Iterator[Row]:
    from dsguard.formats.parquet.columns import LABELS, class_names_in

    table = _table(data)
    table = table.select([each.name for each in table.schema if not _reason_against(each.type)])
    known = {name: class_names_in(table.schema, name) for name in LABELS}
    for row in _lists(table):
        for name, classes in known.items():
            number = row.get(name)
            if classes and isinstance(number, int) and 0 <= number < len(classes):
                row[name] = classes[number]
        yield row


def _lists(table: Any) -> Iterator[Row]:
    """Yield the rows of a table, or of a part of one."""
    from dsguard.formats.parquet.columns import damage
    from dsguard.formats.parquet.fields import values_of

    try:
        for batch in table.to_batches():
            for row in zip(*map(values_of, batch.columns), strict=True):
                yield dict(zip(batch.schema.names, row, strict=True))
    except damage() as error:  # a moment that Python has none for, in a list
        raise ValueError(str(error)) from error


def _changed_parquet(data: bytes, change: Change) -> bytes:
    from dsguard.formats.parquet.columns import arrow

    pyarrow, parquet = arrow()
    table = _table(data)
    old = list(_lists(table))
    new = [change(row) for row in old]
    if new == old:
        return data
    kept = [number for number, row in enumerate(new) if row is not None]
    taken = table.take(pyarrow.array(kept, pyarrow.int64()))
    rows = [(old[number], new[number]) for number in kept]
    for place, column in enumerate(table.schema):
        values = [after[column.name] for _, after in rows if after is not None]
        if values != [before[column.name] for before, _ in rows]:
            taken = taken.set_column(place, column, pyarrow.array(values, column.type))
    written = io.BytesIO()
    parquet.write_table(taken, written)
    return written.getvalue()


_KINDS: dict[str, tuple[Callable[[bytes], Iterator[Row]], Callable[[bytes, Change], bytes]]] = {
    "csv": (_csv_rows, _changed_csv),
    "jsonl": (_jsonl_rows, _changed_jsonl),
    "parquet": (_parquet_rows, _changed_parquet),
}
"""How the rows of a table are read, and how they are changed, by its suffix."""
