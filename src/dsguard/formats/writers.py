"""The writers by name of format."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dsguard.errors import InputError
from dsguard.formats.arrays.writer import ArraySink
from dsguard.formats.base import Part, Source
from dsguard.formats.folder.reader import TreeSource
from dsguard.formats.folder.writer import FolderSink
from dsguard.formats.parquet.columns import arrow
from dsguard.formats.parquet.writer import ParquetSink
from dsguard.formats.sink import Output, Sink
from dsguard.formats.webdataset.writer import TarSink

if TYPE_CHECKING:
    from dsguard.formats.review import Review

_SINKS: dict[str, type[Sink]] = {
    "folder": FolderSink,
    "webdataset": TarSink,
    "parquet": ParquetSink,
    "numpy": ArraySink,
    "cifar": ArraySink,
}

OUTPUT_FORMATS = tuple(_SINKS)


def output_kind(source: Source, wanted: str) -> str:
    """Return the format to write: the one wanted, by default that of the source.

    Raises
    ------
    InputError
        If the source cannot be written in it.
    """
    own = "folder" if isinstance(source, TreeSource) else source.kind
    kind = own if wanted == "auto" else wanted
    if kind not in OUTPUT_FORMATS:
        msg = f"there is no output format {kind!r}; the formats are: {', '.join(OUTPUT_FORMATS)}"
        raise InputError(msg)
    if kind in ("numpy", "cifar") and source.kind != kind:
        msg = f"format {kind} keeps the layout of its source; this one is of format {source.kind}"
        raise InputError(msg)
    if kind == "parquet":
        arrow()
    return kind


def file_name(kind: str, part: Part, number: int) -> str:
    """Return the file that a part comes out as; empty where each image has its own."""
    return _SINKS[kind].file_of(part, number)


def open_sink(
    output: Output, source: Source, part: Part, number: int, review: Review | None
) -> Sink:
    """Return what takes the rows of a part."""
    sink = _SINKS[output.kind](output, source, part, number)
    sink.review = review
    return sink
