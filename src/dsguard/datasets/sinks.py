"""Writing datasets: one sink for each part, whose files appear whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import pickle
import secrets
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar

import numpy as np
import numpy.typing as npt

from dsguard.datasets.arrays import SIDECARS, ArrayRows, ArraySource, CifarSource
from dsguard.datasets.folder import TreeSource, is_text
from dsguard.datasets.images import LOSSLESS_FORMATS, encode_images, with_suffix
from dsguard.datasets.names import CLASS_NAME, fault_of
from dsguard.datasets.parquet import NAMED, Table, arrow, as_text
from dsguard.datasets.place import Place
from dsguard.datasets.source import Extras, Image, Part, Rows, Source, class_of
from dsguard.datasets.tar import END, packed
from dsguard.datasets.webdataset import Kept, Samples, as_class, sample_of, shard_name
from dsguard.errors import DsguardError, InputError

if TYPE_CHECKING:
    from dsguard.datasets.disclosure import Review

OUTPUT_FORMATS = ("folder", "webdataset", "parquet", "numpy", "cifar")

_OWN_FAULTS = (errno.ENAMETOOLONG, errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.EILSEQ)
"""What can be wrong with the name of one image, and with no other."""


@dataclass(frozen=True)
class Output:
    """Where and how to write.

    Attributes
    ----------
    place : Place
    kind : str
        One of `OUTPUT_FORMATS`.
    image_format : str
        One of `LOSSLESS_FORMATS`.
    class_names : tuple of str
        All classes of the dataset, where they are known.
    png_level : {0, 1}
        Effort of compression; 0 stores the pixels as they are.
    """

    place: Place
    kind: str
    image_format: str = "png"
    class_names: tuple[str, ...] = ()
    png_level: int = 1


@dataclass
class Results:
    """What became of some rows, by row.

    Attributes
    ----------
    rows : set of int
        Those that have a result.
    sidecars : dict of int to bytes
    images : dict of int to ndarray of uint8, shape (H, W, C)
        For sinks that take arrays.
    files : dict of int to bytes
        The images as files, for sinks that take files.
    extras : dict of int to Extras
        What else belongs to them, for sinks that want it.
    beside : dict of int to list of str
        The files that a sink has made of that.
    """

    rows: set[int] = field(default_factory=set)
    sidecars: dict[int, bytes] = field(default_factory=dict)
    images: dict[int, Image] = field(default_factory=dict)
    files: dict[int, bytes] = field(default_factory=dict)
    extras: dict[int, Extras] = field(default_factory=dict)
    beside: dict[int, list[str]] = field(default_factory=dict)

    def drop(self, row: int) -> None:
        """Forget a row."""
        self.rows.discard(row)
        for by_row in (self.sidecars, self.images, self.files, self.extras):
            by_row.pop(row, None)


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


class Sink(ABC):
    """Takes the rows of one part."""

    takes_files: ClassVar[bool] = True

    review: Review | None = None
    """Decides what goes along; None where everything does."""

    def __init__(self, output: Output, source: Source, part: Part, number: int) -> None:
        self.output, self.source, self.part, self.number = output, source, part, number
        self.also: list[str] = []  # files that belong to no image

    @abstractmethod
    def write(self, rows: Rows, names: dict[int, str], results: Results) -> dict[int, DsguardError]:
        """Write the rows that have a result, under these names; return what cannot be written."""

    def wants_extras(self, rows: Rows) -> bool:
        """Tell whether it writes what else belongs to rows, and does not have it from them."""
        return False

    def close(self) -> None:  # noqa: B027 - some have nothing to do
        """Let the files appear."""

    def abort(self) -> None:  # noqa: B027
        """Leave nothing behind."""

    def encoded(self, images: Image, sidecars: dict[int, bytes]) -> list[bytes]:
        """Return images as files."""
        return encode_images(images, self.output.image_format, sidecars, self.output.png_level)


class FolderSink(Sink):
    """Each image is a file; what belongs to it lies beside it, under its name.

    Of a WebDataset sample that is the name of the sample: it may have several images.
    """

    def __init__(self, output: Output, source: Source, part: Part, number: int) -> None:
        super().__init__(output, source, part, number)
        self._names: set[str] = set()

    def wants_extras(self, rows: Rows) -> bool:
        return not isinstance(self.source, TreeSource)  # whose text files are copied as they are

    def write(self, rows: Rows, names: dict[int, str], results: Results) -> dict[int, DsguardError]:
        errors: dict[int, DsguardError] = {}
        for row, file in results.files.items():
            if names[row] in self._names:
                errors[row] = InputError(f"another image comes out as {names[row]}; rename it")
                continue
            self._names.add(names[row])
            try:
                for name, data in self._beside(names[row], results.extras.get(row, {})):
                    self.output.place.write(name, data)
                    results.beside.setdefault(row, []).append(name)
                self.output.place.write(names[row], file)
            except DsguardError as error:  # of a name, or of a link where it was to go
                errors[row] = error.to_keep()
            except OSError as error:
                if error.errno not in _OWN_FAULTS:
                    raise  # a full disk will be full for the next image as well
                errors[row] = InputError(f"cannot be written: {error.strerror}")
        self.also += _write_nobodys(self.output.place, rows)
        return errors

    def _beside(self, name: str, extras: Extras) -> Iterator[tuple[str, bytes]]:
        """Yield the files of what belongs to an image."""
        webdataset = self.source.kind == "webdataset"
        stem = sample_of(name) if webdataset else with_suffix(name, "")
        for suffix, data in extras.items():
            yield f"{stem}.{suffix}" if suffix else stem, data


def _write_nobodys(place: Place, rows: Rows) -> list[str]:
    """Write the members of a shard that belong to no image, if they are text, in its folder."""
    if not isinstance(rows.record, Samples):
        return []
    with_image = {kept.sample for kept in rows.record.members if kept.data is None}
    written = []
    for kept in rows.record.members:
        if kept.data is not None and kept.sample not in with_image and is_text(kept.name):
            written.append(f"{rows.record.shard}/{kept.name}")
            place.write(written[-1], kept.data)
    return written


def file_name(kind: str, source: Source, part: Part, number: int) -> str:
    """Return the file that a part comes out as: the source's, with a number where that is cut.

    Empty where each image has its own.
    """
    if kind == "folder":
        return ""
    if kind in ("numpy", "cifar"):
        return part.file
    suffix = {"webdataset": ".tar", "parquet": ".parquet"}[kind]
    if not part.file:
        return f"{number:05d}{suffix}"
    stem = shard_name(part.file).removesuffix(".parquet")
    cut = f"-{part.start:05d}" if part.start else ""
    return f"{stem}{cut}{suffix}"


class _FileSink(Sink):
    """One file for the whole part, made in the scratch folder."""

    def __init__(self, output: Output, source: Source, part: Part, number: int) -> None:
        super().__init__(output, source, part, number)
        self._scratch = output.place.scratch() / f"{number:05d}-{secrets.token_hex(4)}"
        self._file: BinaryIO = self._scratch.open("xb")
        self.is_empty = True
        self.numbers = {name: n for n, name in enumerate(output.class_names)}

    def close(self) -> None:
        self._file.close()
        if self.is_empty:
            self._scratch.unlink()
        else:
            name = file_name(self.output.kind, self.source, self.part, self.number)
            self.output.place.take(self._scratch, name)

    def abort(self) -> None:
        try:
            with contextlib.suppress(OSError):  # a full disk is full still
                self._file.close()
        finally:
            self._scratch.unlink(missing_ok=True)


class TarSink(_FileSink):
    """A WebDataset shard: images and what belongs to them, side by side."""

    def __init__(self, output: Output, source: Source, part: Part, number: int) -> None:
        super().__init__(output, source, part, number)
        self._names: set[str] = set()
        self._keys: set[str] = set()

    def wants_extras(self, rows: Rows) -> bool:
        return not isinstance(rows.record, Samples)

    def write(self, rows: Rows, names: dict[int, str], results: Results) -> dict[int, DsguardError]:
        given = rows.record
        record = given if isinstance(given, Samples) else self._samples(rows, names, results)
        images = [kept for kept in record.members if kept.data is None]
        good = {kept.sample for kept in images if kept.row in results.files}
        lost = {kept.sample for kept in images} - good
        given_names = {kept.name for kept in images}
        suffix = LOSSLESS_FORMATS[self.output.image_format]
        pieces: list[bytes] = []
        for kept in record.members:
            if kept.data is not None and kept.sample not in lost:
                pieces += packed(kept.name, kept.data)
            elif kept.data is None and kept.row in results.files:
                name = with_suffix(kept.name, suffix)
                if name != kept.name and name in given_names:  # which keeps its own
                    name = kept.name + suffix
                while name in self._names:  # a.jpg and a.png of one sample
                    name += suffix
                self._names.add(name)
                pieces += packed(name, results.files[kept.row])
        self._file.write(b"".join(pieces))
        self.is_empty = self.is_empty and not pieces
        return {}

    def _class(self, key: str, name: str) -> dict[str, bytes]:
        """Return the class as fields: ``cls`` is a number, which readers take it for."""
        if not name:  # where it lies in a folder, that is not to be taken for its class
            return {CLASS_NAME: b""} if class_of(key) else {}
        named = {CLASS_NAME: name.encode("utf-8", "surrogateescape")}
        if name in self.numbers:
            return {"cls": b"%d" % self.numbers[name], **named}
        return {"cls": name.encode()} if name.isascii() and name.isdigit() else named

    def _samples(self, rows: Rows, names: dict[int, str], results: Results) -> Samples:
        """Return rows of another format as samples: keys are names, classes are in ``cls``."""
        members: list[Kept] = []
        for row in range(len(rows.names)):
            if row not in names:
                continue
            path = PurePosixPath(names[row])
            plain = str(path.with_name(path.stem.replace(".", "_")))
            key, number = plain, 2
            while key in self._keys:
                key, number = f"{plain}_{number}", number + 1
            self._keys.add(key)
            members.append(Kept(key, key + path.suffix, None, row))
            extras = results.extras.get(row, {})
            if as_class(extras) not in (None, rows.classes[row]):  # it was moved to another folder
                extras = {n: data for n, data in extras.items() if n not in ("cls", CLASS_NAME)}
            fields = self._class(key, rows.classes[row]) | extras
            members += [Kept(key, f"{key}.{suffix}", data) for suffix, data in fields.items()]
        return Samples(members)

    def close(self) -> None:
        self._file.write(END)
        super().close()


class ParquetSink(_FileSink):
    """A Parquet file with one row group for each chunk, as ``datasets`` reads it."""

    def __init__(self, output: Output, source: Source, part: Part, number: int) -> None:
        super().__init__(output, source, part, number)
        self._writer: Any = None

    def wants_extras(self, rows: Rows) -> bool:
        return not isinstance(rows.record, Table)

    def write(self, rows: Rows, names: dict[int, str], results: Results) -> dict[int, DsguardError]:
        kept = sorted(results.files)
        self.also += _write_nobodys(self.output.place, rows)
        if not kept:
            return {}
        if isinstance(rows.record, Table):
            table = self._same_columns(rows.record, kept, results)
        else:
            table = self._new_columns(rows, kept, names, results)
        if self._writer is None:
            _, parquet = arrow()
            # Pixels do not compress twice, and statistics of images help nobody.
            self._writer = parquet.ParquetWriter(
                self._file, table.schema, compression="none", use_dictionary=False,
                write_statistics=False,
            )  # fmt: skip
        self._writer.write_batch(table)
        self.is_empty = False
        return {}

    def _same_columns(self, table: Table, kept: list[int], results: Results) -> Any:
        pyarrow, _ = arrow()
        batch, columns = table.batch, table.columns
        kept_batch = batch if len(kept) == batch.num_rows else batch.take(kept)
        files = _binary([results.files[row] for row in kept])
        column = kept_batch.column(columns.image)
        if not columns.is_plain:
            suffix = LOSSLESS_FORMATS[self.output.image_format]
            old, paths = column.field("path"), pyarrow.nulls(len(column), pyarrow.string())
            if old.null_count < len(old):
                named = [_with_suffix(path, suffix) for path in old.to_pylist()]
                paths = pyarrow.array(named, pyarrow.string())
            files = pyarrow.StructArray.from_arrays([files, paths], ["bytes", "path"])
        place = kept_batch.schema.get_field_index(columns.image)
        return kept_batch.set_column(place, columns.image, files).replace_schema_metadata(
            batch.schema.metadata
        )

    def _new_columns(
        self, rows: Rows, kept: list[int], names: dict[int, str], results: Results
    ) -> Any:
        """Return rows of another format as columns image, label and, as JSON, fields."""
        pyarrow, _ = arrow()
        files = _binary([results.files[row] for row in kept])
        paths = pyarrow.array([_text(names[row]) for row in kept], pyarrow.string())
        image = pyarrow.StructArray.from_arrays([files, paths], ["bytes", "path"])
        known = [_text(name) for name in self.output.class_names]
        labels = [rows.classes[row] for row in kept]
        label = (
            pyarrow.array([self.numbers[name] for name in labels], pyarrow.int64())
            if known
            else pyarrow.array([_text(name) for name in labels], pyarrow.string())
        )
        texts = [as_text(results.extras.get(row, {})) for row in kept]
        fields = pyarrow.array(texts, pyarrow.string())
        features: dict[str, Any] = {
            "image": {"_type": "Image"},
            "label": {"names": known, "_type": "ClassLabel"}
            if known
            else {"dtype": "string", "_type": "Value"},
            "fields": {"dtype": "string", "_type": "Value"},
        }
        schema = pyarrow.schema(
            {"image": image.type, "label": label.type, "fields": pyarrow.string()},
            metadata={b"huggingface": json.dumps({"info": {"features": features}}), NAMED: b"1"},
        )
        return pyarrow.RecordBatch.from_arrays([image, label, fields], schema=schema)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
        super().close()

    def abort(self) -> None:
        try:
            if self._writer is not None:
                with contextlib.suppress(OSError, arrow()[0].ArrowException):
                    self._writer.close()
        finally:
            super().abort()


def _binary(files: list[bytes]) -> Any:
    """Return files as an Arrow array; `pyarrow.array` would import pandas for it, half a second."""
    pyarrow, _ = arrow()
    ends = np.cumsum([0, *map(len, files)])
    if ends[-1] > np.iinfo(np.int32).max:
        return pyarrow.array(files, pyarrow.binary())
    parts = [None, pyarrow.py_buffer(ends.astype(np.int32)), pyarrow.py_buffer(b"".join(files))]
    return pyarrow.Array.from_buffers(pyarrow.binary(), len(files), parts)


def _text(name: str) -> str:
    """Return a name whose bytes may be no UTF-8 as text that is."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _with_suffix(path: str | None, suffix: str) -> str | None:
    """Return a path with another suffix; of one that no file may have, its last part or nothing."""
    if path and fault_of(path):
        path = path.replace("\\", "/").rpartition("/")[2]
        path = None if fault_of(path) else path
    stem, dot, _ = (path or "").rpartition(".")
    return stem + suffix if dot and stem else path


class ArraySink(Sink):
    """A file of arrays like that of the source, with other pixels."""

    takes_files = False

    def __init__(self, output: Output, source: Source, part: Part, number: int) -> None:
        super().__init__(output, source, part, number)
        assert isinstance(source, ArraySource)
        self._source: ArraySource = source
        self._arrays: dict[str, npt.NDArray[np.uint8]] = {}
        self._sidecars: dict[str, dict[int, bytes]] = {}
        self._done: dict[str, int] = {}
        self._scratch = output.place.scratch() / f"{number:05d}-{secrets.token_hex(4)}.npy"

    def write(self, rows: Rows, names: dict[int, str], results: Results) -> dict[int, DsguardError]:
        assert isinstance(rows.record, ArrayRows)
        array, start = rows.record.array, rows.record.start
        out = self._array(array)
        for row, image in results.images.items():
            out[start + row] = image.reshape(out.shape[1:])
        for row, data in results.sidecars.items():
            self._sidecars.setdefault(array, {})[start + row] = data
        self._done[array] = self._done.get(array, 0) + len(results.images)
        return {}

    def _array(self, array: str) -> npt.NDArray[np.uint8]:
        """Return what takes the images; zero, as failed images stay."""
        if array not in self._arrays:
            given = self._source.arrays(self.part.file)[array]
            made: npt.NDArray[np.uint8]
            if self.part.file.endswith(".npy"):
                made = np.lib.format.open_memmap(self._scratch, "w+", np.uint8, given.shape)
            else:
                made = np.zeros(given.shape, np.uint8)
            self._arrays[array] = made
        return self._arrays[array]

    def close(self) -> None:
        if not any(self._done.values()):
            self.abort()
            return
        place, file = self.output.place, self.part.file
        if isinstance(self._source, CifarSource):
            place.write(file, self._pickled())
        elif file.endswith(".npy"):
            for array in self._arrays.values():
                assert isinstance(array, np.memmap)
                array.flush()
            self._arrays.clear()
            place.take(self._scratch, file)
            if self._sidecars:
                place.write(file + ".sidecars.npz", _zipped(self._named_sidecars()))
        else:
            place.write(file, _zipped(self._content(self._arrays) | self._named_sidecars()))

    def _content(self, images: Mapping[Any, Any]) -> dict[Any, Any]:
        """Return what the file holds, with these images, and beside them what is published."""
        given = self._source.content(self.part.file)
        names = [name for name in given if name not in images and not _is_sidecar(name)]
        if self.review is None:
            others = {name: given[name] for name in names}
        else:
            others = self._source.reviewed_others(self.part.file, names, self.review)
        both = {**others, **images}
        return {name: both[name] for name in given if name in both}

    def _named_sidecars(self) -> dict[str, npt.NDArray[np.uint8]]:
        return {
            f"{SIDECARS}/{array}/{row}": np.frombuffer(data, np.uint8)
            for array, own in self._sidecars.items()
            for row, data in own.items()
        }

    def _pickled(self) -> bytes:
        planes = self._arrays["data"].transpose(0, 3, 1, 2)
        content = self._content({b"data": np.ascontiguousarray(planes).reshape(len(planes), -1)})
        if self._sidecars:
            content[SIDECARS.encode()] = self._sidecars["data"]
        return pickle.dumps(content, protocol=2)

    def abort(self) -> None:
        self._arrays.clear()
        self._scratch.unlink(missing_ok=True)


def _is_sidecar(name: str | bytes) -> bool:
    text = name.decode("latin-1") if isinstance(name, bytes) else name
    return text.startswith(SIDECARS)


def _zipped(arrays: dict[str, npt.NDArray[Any]]) -> bytes:
    """Return an ``.npz`` file: that of `numpy.savez`, but for its times, which are always one."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)
    return file.getvalue()


_SINKS: dict[str, type[Sink]] = {
    "folder": FolderSink,
    "webdataset": TarSink,
    "parquet": ParquetSink,
    "numpy": ArraySink,
    "cifar": ArraySink,
}


def open_sink(
    output: Output, source: Source, part: Part, number: int, review: Review | None
) -> Sink:
    """Return what takes the rows of a part."""
    sink = _SINKS[output.kind](output, source, part, number)
    sink.review = review
    return sink
