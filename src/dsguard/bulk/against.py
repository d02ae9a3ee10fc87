"""Comparison of a protected dataset with the one that it was made of: whether all comes back.

Images are known by digests of their class, their name and all that comes back, so neither format
nor order matter, and nothing has to be written. In folders and archives the name is the whole path,
but for folders that all images lie in.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from dsguard.bulk.carried import file_of
from dsguard.bulk.sealed_fields import opened_fields
from dsguard.bulk.selection import classes_of, output_names
from dsguard.errors import DsguardError, InputError
from dsguard.formats.arrays.cifar import CifarSource
from dsguard.formats.arrays.npy import SealedArrays
from dsguard.formats.arrays.reader import SIDECARS, ArraySource, NumpySource
from dsguard.formats.arrays.sealed_pickle import SealedPickle, is_same, text_of
from dsguard.formats.base import CHUNK_IMAGES, as_label, class_of, decode_rows
from dsguard.formats.folder.reader import TreeSource, read_or_error
from dsguard.formats.harmless import harmless_classes
from dsguard.formats.images import original_name, with_suffix
from dsguard.formats.names import CLASS_NAME, shown
from dsguard.formats.parquet.reader import ParquetSource
from dsguard.formats.places.spelling import Spelling
from dsguard.formats.sharded import ShardedSource
from dsguard.formats.webdataset.reader import WebDatasetSource, class_in
from dsguard.formats.webdataset.writer import class_number

if TYPE_CHECKING:
    from dsguard.bulk.report import Report
    from dsguard.codecs import File
    from dsguard.formats.base import Extras, Part, Rows, Source
    from dsguard.kernels.contract import Bytes
    from dsguard.keys import DatasetKey, KeySource

_DIGEST = 16

NO_CLASS_OF_PATHS = ""
"""In place of classes where paths are compared: these and the text files have them, and a table
that is sealed tells them to nobody but who has it again."""


def digest_of_file(class_name: str, name: str, data: bytes) -> bytes:
    """Return what tells a file, in its class, from all others."""
    return _digest(b"file", class_name, name, data)


def digest_of_pixels(class_name: str, name: str, pixels: Bytes) -> bytes:
    """Return what tells an image, in its class, from all others."""
    return _digest(b"pixels", class_name, f"{name} {pixels.shape}", pixels.tobytes())


def names_matter(source: Source, published: Source) -> bool:
    """Tell whether images of both have the paths of files."""
    return isinstance(source, TreeSource) and isinstance(published, TreeSource)


def common_folder(source: Source) -> str:
    """Return the folder that all images of a source lie in, with its slash; empty for no such."""
    folders = [name.rpartition("/")[0].split("/") for name in source.names()]
    pairs = zip(min(folders, default=[]), max(folders, default=[]), strict=False)
    common = (one for one, _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))
    return "".join(f"{folder}/" for folder in common if folder)


def starts(source: Source, published: Source) -> tuple[int, int]:
    """Return where the paths of images begin that are compared, of clean and of published ones.

    Where one of both is an archive, which may have a folder that all lie in, they begin behind it:
    unless the published images lie where clean ones do, of which some folders were left out.
    """
    if not (source.is_file or published.is_file):
        return 0, 0
    clean = {path for name in source.names() for path in (name, with_suffix(name, ""))}
    if all(with_suffix(name, "") in clean for name in published.names()):
        return 0, 0
    return len(common_folder(source)), len(common_folder(published))


def _digest(kind: bytes, class_name: str, name: str, data: bytes) -> bytes:
    digest = hashlib.sha256(kind)
    for text in (class_name, name):
        raw = text.encode("utf-8", "surrogateescape")
        digest.update(len(raw).to_bytes(8, "little") + raw)
    digest.update(data)
    return digest.digest()[:_DIGEST]


@dataclass(frozen=True)
class Comparison:
    """How images of a protected dataset are told, to be held against those of the clean one.

    Attributes
    ----------
    start : int or None
        Where the paths of images begin that are compared; None where they have none.
    fields : bool
        Whether what belongs to images lies with them in shards, and is compared as well.
    numbers : mapping of str to int or None
        Those that classes have got in shards of a dataset that had none.
    """

    start: int | None = None
    fields: bool = False
    numbers: Mapping[str, int] | None = None

    @classmethod
    def of(cls, source: Source, published: Source) -> Comparison:
        """Return that of a clean dataset and what was published of it."""
        start = starts(source, published)[1] if names_matter(source, published) else None
        numbers = None
        if isinstance(published, WebDatasetSource) and not isinstance(source, WebDatasetSource):
            names = sorted(set(map(as_label, classes_of(source, None))))
            numbers = {name: number for number, name in enumerate(harmless_classes(names))}
        return cls(start, isinstance(published, ShardedSource), numbers)

    def digest(self, name: str, class_name: str, file: File | None, pixels: Bytes) -> bytes:
        """Return what tells an image, or the file that it carries, from all others."""
        if self.start is not None:
            class_name = NO_CLASS_OF_PATHS
        if file is None:
            path = "" if self.start is None else with_suffix(name, "")[self.start :]
            return digest_of_pixels(class_name, path, pixels)
        path = file.name if self.start is None else original_name(name, file.name)[self.start :]
        return digest_of_file(class_name, path, file.data)


def digests_of_fields(image: bytes, fields: Extras) -> Iterator[tuple[str, bytes]]:
    """Yield the kind of each field of an image, and what tells it from all others.

    The image is known by its own digest.
    """
    for suffix, data in fields.items():
        yield f"*.{suffix}", _digest(b"field", suffix, image.hex(), data)


def digests_of_loose(rows: Rows) -> list[tuple[str, bytes]]:
    """Return the names of the texts of no image, and what tells each from all others."""
    texts = rows.record.of_no_image() if rows.record else ()
    return [(name, _digest_of_loose(name, data)) for name, data in texts]


def digests_of_facts(rows: Rows) -> set[tuple[str, bytes]]:
    """Return what a file says of itself: names, and what tells each value from all others."""
    facts = rows.record.facts() if rows.record else ()
    return {(name, _digest(b"fact", name, "", value)) for name, value in facts}


def _digest_of_loose(name: str, data: bytes) -> bytes:
    return _digest(b"loose", name, "", data)


def _is_beside(published: Source, there: set[str], name: str, digest: bytes) -> bool:
    """Tell whether a text of no image lies beside the shards that were published."""
    data = read_or_error(partial(published.read_companion, name)) if name in there else None
    return isinstance(data, bytes) and _digest_of_loose(name, data) == digest


def compare(
    source: Source,
    published: Source,
    key: DatasetKey | KeySource,
    report: Report,
    sealed: Mapping[str, bytes],
    tell: Callable[[], None],
) -> None:
    """Report what of a source does not come back from what was published.

    Parameters
    ----------
    source, published : Source
    key : DatasetKey or KeySource
    report : Report
        With the digests of all that comes back; those that the source has are taken out.
    sealed : mapping of str to bytes
        By name, SHA-256 of the files that lie sealed beside the images.
    tell : callable
        Called after some images each.
    """
    names = _Names.of(source, published)
    how = Comparison.of(source, published)
    as_folder = isinstance(published, TreeSource) and not isinstance(source, TreeSource)
    is_beside = partial(_is_beside, published, {*published.companions(), *published.left_out()})
    parts, lost = source.parts(CHUNK_IMAGES), Counter[str]()
    untold = set[tuple[str, str, bytes]]()
    for part in source.with_fields(parts) if how.fields else parts:
        for rows in source.rows(part):
            some = _in_folders(rows, source) if as_folder else rows
            _compare_rows(some, names, how, is_beside, report, lost)
            if isinstance(published, ParquetSource):
                untold |= {(part.file, *fact) for fact in digests_of_facts(rows) - report.facts}
            report.compared_images += len(rows.names)
            tell()
    for file, name, _ in sorted(untold):
        report.add_different(f"{file}/{name}", "is metadata that does not come back as it is")
    left = sum(report.digests.values())
    if left:
        more = "1 image more" if left == 1 else f"{left} images more"
        report.add_different(str(source), f"has not all that comes back: {more}")
    if how.fields:
        _tell_more(source, published, lost, left, report)
    arrays = isinstance(source, NumpySource) and isinstance(published, NumpySource)
    pickles = isinstance(source, CifarSource) and isinstance(published, CifarSource)
    if names is None and not (how.fields or arrays or pickles):
        report.compared = "images"
        return
    is_same = source.kind == published.kind and source.comes_back_whole()
    report.compared = "contents" if how.fields and not is_same else "all"
    if isinstance(source, NumpySource) and isinstance(published, NumpySource):
        _compare_arrays(source, published, key, report)
    if isinstance(source, CifarSource) and isinstance(published, CifarSource):
        _compare_pickles(source, published, key, report)
    in_shards = _in_shards(source, parts) if how.fields else set[str]()
    if isinstance(source, ArraySource) and source.kind != published.kind:
        _tell_arrays(source, report)
        in_shards |= source.read_as_classes()
    _compare_files(source, published, in_shards, sealed, report)


def _in_folders(rows: Rows, source: Source) -> Rows:
    """Return rows as a folder has them: those without a class have that of where they lie."""
    classes = [
        own or class_of(source.as_file(name, ""))
        for name, own in zip(rows.names, rows.classes, strict=True)
    ]
    return replace(rows, classes=classes)


def _tell_more(
    source: Source, published: Source, lost: Counter[str], images: int, report: Report
) -> None:
    """Report fields that come back, and that the clean dataset never had.

    Parameters
    ----------
    source, published : Source
    lost : Counter of str
        How many fields of each kind do not come back: others may, in their place.
    images : int
        How many images come back that the clean dataset does not have; they may have any fields.
    report : Report
    """
    if isinstance(source, ParquetSource) and isinstance(published, ParquetSource):
        for column in sorted(published.columns() - source.columns()):
            report.add_different(column, "is a column that the clean dataset does not have")
    made = _MADE if source.kind != published.kind else ()
    for kind, found in report.fields.items():
        is_loose = not kind.startswith("*.")
        more = sum(found.values()) - lost[kind] - (0 if is_loose else images)
        if more > 0 and kind not in made:
            whose = "belongs to no image" if is_loose else f"comes back {more} times more"
            report.add_different(kind, f"{whose}, and the clean dataset does not have it")


_MADE = ("*.cls", f"*.{CLASS_NAME}")
"""Fields that tell the class in shards, which has other places in other formats."""


def _compare_rows(
    rows: Rows,
    names: _Names | None,
    how: Comparison,
    is_beside: Callable[[str, bytes], bool],
    report: Report,
    lost: Counter[str],
) -> None:
    """Report the images of some rows that do not come back, or without their fields.

    How many of each kind of field do not is added to `lost`.
    """
    found = _found(rows, report.digests, names)
    if how.fields:
        found |= _found_by_fields(rows, found, report.digests)
    for row, name in enumerate(rows.names):
        if row not in found:
            report.add_different(name, "does not come back as it is")
        elif how.fields:
            for kind, digest in digests_of_fields(found[row], rows.extras(row)):
                if not _takes(report.fields[kind], digest):
                    lost[kind] += 1
                    told = f"comes back, and its field {shown(kind[2:])} not as it is"
                    report.add_different(name, told)
            if not _has_its_number(rows, row, found[row], how, report):
                report.add_different(name, "comes back, and with another number of its class (cls)")
    for name, reason in rows.record.passed_over() if how.fields and rows.record else ():
        report.add_different(name, f"belongs to no image, and does not come back: it {reason}")
    for name, digest in digests_of_loose(rows) if how.fields else ():
        if not _takes(report.fields[name], digest) and not is_beside(name, digest):
            lost[name] += 1
            report.add_different(name, "belongs to no image, and does not come back as it is")


def _has_its_number(rows: Rows, row: int, image: bytes, how: Comparison, report: Report) -> bool:
    """Tell whether an image came back with the number that its class has got, if it has one."""
    name = rows.classes[row]
    number = None if how.numbers is None or not name else class_number(name, how.numbers)
    if number is None or "cls" in rows.extras(row):  # which stands in its place
        return True
    [(kind, digest)] = digests_of_fields(image, {"cls": number})
    return _takes(report.fields[kind], digest)


def _compare_arrays(
    source: NumpySource, published: NumpySource, key: DatasetKey | KeySource, report: Report
) -> None:
    """Report the arrays beside the images of ``.npz`` files that do not come back as they are."""
    for file in source.array_files:
        if not file.endswith(".npz") or file not in published.array_files:
            continue
        content = published.content(file)
        arrays = {name: content[name] for name in published.own_arrays(file)}
        with contextlib.suppress(DsguardError):  # told before
            entries = opened_fields(published, file, key)
            arrays = SealedArrays(entries).among(arrays) if entries else arrays
        images = source.array_names(file)
        for name in arrays:
            if name not in source.content(file) and not name.startswith(f"{SIDECARS}/"):
                told = "is an array that the clean dataset does not have"
                report.add_different(f"{file}/{name}", told)
        for name, array in source.content(file).items():
            if name in images:
                continue
            back = arrays.get(name)
            if back is None or back.dtype != array.dtype or back.tobytes() != array.tobytes():
                report.add_different(f"{file}/{name}", "does not come back as it is")


def _compare_pickles(
    source: CifarSource, published: CifarSource, key: DatasetKey | KeySource, report: Report
) -> None:
    """Report what lies beside the images of pickles and does not come back as it is."""
    for file in set(source.array_files).intersection(published.array_files):
        back: Mapping[bytes, object] = published.content(file)
        with contextlib.suppress(DsguardError):  # told before
            if entries := opened_fields(published, file, key):
                sealed = SealedPickle(entries, published.pixels(file))
                if whole := sealed.with_pixels(source.pixels(file)):
                    back = source.content_of(whole, file)
        for name in source.content(file):
            if name != b"data" and not is_same(source.content(file), back, name):
                report.add_different(f"{file}/{text_of(name)}", "does not come back as it is")


def _tell_arrays(source: ArraySource, report: Report) -> None:
    """Report the arrays that lie beside images, which became files of another format."""
    for file in source.array_files:
        with contextlib.suppress(DsguardError):  # told before
            for name in source.beside_images(file, published=False):
                report.add_different(f"{file}/{name}", "lies beside images, and does not come back")


def _in_shards(source: Source, parts: list[Part]) -> set[str]:
    """Return the files beside images that shards have as fields."""
    beside = (name for part in parts for own in part.beside or () for name in own)
    return set(beside).union(source.listings())


@dataclass(frozen=True)
class _Names:
    """Paths of images in a folder or archive, as they are compared."""

    start: int
    published: tuple[dict[str, str], ...]

    @classmethod
    def of(cls, source: Source, published: Source) -> _Names | None:
        """Return them; None where images of one of both have no paths of files."""
        if not names_matter(source, published):
            return None
        names = source.names()
        apart, folded = output_names(names, "png"), output_names(names, "png", folded=_ANY.folded)
        return cls(starts(source, published)[0], (apart, folded) if apart != folded else (apart,))

    def of_pixels(self, name: str) -> set[str]:
        """Return what an image may be called whose pixels come back: its suffix may be another.

        It may have been written where names are one that differ in capitals alone.
        """
        return {with_suffix(names[name], "")[self.start :] for names in self.published}


_ANY = Spelling(ignores_case=True, ignores_forms=True)


def _found(rows: Rows, found: Counter[bytes], names: _Names | None) -> dict[int, bytes]:
    """Return the digests of those of some rows that come back, as files or as pixels."""
    back: dict[int, bytes] = {}
    for row in range(len(rows.names)) if rows.files else ():
        if _takes(found, digest := _of_file(rows, row, names)):
            back[row] = digest
    left = [row for row in range(len(rows.names)) if row not in back]
    some = rows.taken(left)
    for groups, _ in decode_rows(some) if left else ():
        for group in groups:
            for row, pixels in zip(group.rows, group.images, strict=True):
                for name in {""} if names is None else names.of_pixels(some.names[row]):
                    digest = digest_of_pixels(_class_of(some, row, names), name, pixels)
                    if left[row] not in back and _takes(found, digest):
                        back[left[row]] = digest
    return back


def _found_by_fields(rows: Rows, known: Collection[int], found: Counter[bytes]) -> dict[int, bytes]:
    """Return the digests of images without a class that come back with the one their fields tell.

    A folder has files beside its images, and its classes elsewhere; a shard has both in fields.
    """
    left = [row for row, own in enumerate(rows.classes) if row not in known and not own]
    some = rows.taken(left)
    told = replace(some, classes=[class_in(rows.extras(row)) or "" for row in left])
    return {left[row]: digest for row, digest in _found(told, found, None).items()}


def _of_file(rows: Rows, row: int, names: _Names | None) -> bytes:
    try:
        file = file_of(rows, row)
    except (AssertionError, InputError):  # it could not be read
        return b""
    name = file.name if names is None else rows.names[row][names.start :]
    return digest_of_file(_class_of(rows, row, names), name, file.data)


def _class_of(rows: Rows, row: int, names: _Names | None) -> str:
    return rows.classes[row] if names is None else NO_CLASS_OF_PATHS


def _takes(found: Counter[bytes], digest: bytes) -> bool:
    if not found[digest]:
        return False
    found[digest] -= 1
    return True


def _compare_files(
    source: Source,
    published: Source,
    in_shards: set[str],
    sealed: Mapping[str, bytes],
    report: Report,
) -> None:
    """Report the files beside the images that do not come back as they are."""
    there = {*published.companions(), *published.left_out()}
    for name in (*source.companions(), *source.left_out()):
        if name in in_shards:
            continue
        was = _hash_of(read_or_error(partial(source.read_companion, name)))
        back = sealed.get(name)
        if back is None and name in there and name not in report.failures:
            back = _hash_of(read_or_error(partial(published.read_companion, name)))
        if back is None or back != was:
            how = "does not come back" if back is None else "comes back changed"
            report.add_different(name, f"{shown(name)} lies beside the images, and {how}")


def _hash_of(read: bytes | DsguardError) -> bytes | None:
    return hashlib.sha256(read).digest() if isinstance(read, bytes) else None
