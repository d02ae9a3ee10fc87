"""One unit of work: a shard, from its source to its destination, written whole or not at all."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial

from dsguard.bulk.ahead import with_keys
from dsguard.bulk.checks import check_unpublished
from dsguard.bulk.hidden_classes import shows_class
from dsguard.bulk.journal import Journal
from dsguard.bulk.lines import fail, files_of, line_of
from dsguard.bulk.rows import intend, work
from dsguard.bulk.sealed_fields import PieceSealer, opened_fields, pieces_of
from dsguard.bulk.selection import Choice, others_of
from dsguard.bulk.tasks import Task
from dsguard.errors import DsguardError, InputError
from dsguard.formats.base import Part, Rows, Source
from dsguard.formats.disclosure import NO_ROOM, Disclosure, LeftOut
from dsguard.formats.insides import READERS
from dsguard.formats.names import fault_of, shard_name
from dsguard.formats.programs.data import A_PROGRAM, A_TYPE, OF_ANY_KEY
from dsguard.formats.programs.published import PublishedPrograms
from dsguard.formats.review import Review
from dsguard.formats.sealing import Unsealed
from dsguard.formats.sink import Output, Sink
from dsguard.formats.unsealing import unsealed
from dsguard.formats.writers import open_sink


@dataclass(frozen=True)
class ShardSpec:
    """All that a worker has to know.

    Attributes
    ----------
    number : int
    source : Source
    part : Part
    task : Task
    output : Output or None
        None where nothing is written.
    journal : Journal or None
        Where the manifest of the shard goes.
    suffix : str
        Of the written images.
    renamed : dict of str to str
        By name, under which an image is written, where it is not its own with that suffix.
    stamp : str
        What changes when the source does; kept with the manifest.
    threads : int or None
    disclosure : Disclosure or None
        The owner's decisions on what lies beside images; None where all of it goes along.
    choice : Choice or None
        The images of the whole dataset that are wanted; None for all.
    pieces : tuple of str
        Files with what was sealed beside that of the shard.

    Examples
    --------
    >>> from dsguard.bulk import process_shard
    >>> def engine(specs, workers):  # an engine of one's own: any way to call it for each shard
    ...     return map(process_shard, specs)
    """

    number: int
    source: Source
    part: Part
    task: Task
    output: Output | None = None
    journal: Journal | None = None
    suffix: str = ".png"
    renamed: dict[str, str] = field(default_factory=dict, repr=False)
    stamp: str = ""
    threads: int | None = 1
    disclosure: Disclosure | None = None
    choice: Choice | None = None
    pieces: tuple[str, ...] = ()


@dataclass
class ShardResult:
    """The outcome of a shard.

    Attributes
    ----------
    number : int
    done : int
        Images written, or found intact.
    sidecars : int
        Images that could not hold their payload; it is beside the pixels, in the same file.
    failures : dict of str to DsguardError
        By name, why an image has no result.
    broken : int
        How many of these are no images but files that hold images: what they had is not known.
    metadata_dropped : int
        Images read that had a colour profile, EXIF, XMP or further pictures, which are not written.
    as_they_are : int
        Images of which alpha or wide margins are published as they are.
    samples : int
        Images that show themselves, where others do not.
    not_shown : dict of str to LeftOut
        By kind, images of which a drawn picture shows, though the owner may expect another.
    bytes_read, bytes_written : int
        Of the files of images that were done, where source and output have such files.
    digests : list of bytes
        Of all images that come back, where they are to be compared.
    fields : dict of str to list of bytes
        Of what belongs to them, by kind, and of texts of no image, by name.
    facts : set of tuple of str and bytes
        What files say of themselves and of their columns: names, and digests of the values.
    left_out : dict of str to LeftOut
        What lies beside images and was not published, by kind.
    met : set of str
        Patterns of what is dropped that something was like.
    sealed_fields : int
        Fields, values of columns, and arrays that were sealed, or have come back.
    published : set of str
        Kinds of what its file has beside images for all to read, where it was protected.
    beside_digests : list of bytes
        Of the files that were written beside images for all to read, and what they are called.
    written : str
        What changes when a file that is published does.

    Examples
    --------
    >>> from dsguard.bulk import ShardResult
    >>> ShardResult(number=0, done=10, sidecars=1).done
    10
    """

    number: int
    done: int = 0
    sidecars: int = 0
    failures: dict[str, DsguardError] = field(default_factory=dict)
    broken: int = 0
    metadata_dropped: int = 0
    as_they_are: int = 0
    samples: int = 0
    not_shown: dict[str, LeftOut] = field(default_factory=dict)
    bytes_read: int = 0
    bytes_written: int = 0
    digests: list[bytes] = field(default_factory=list, repr=False)
    fields: dict[str, list[bytes]] = field(default_factory=dict, repr=False)
    facts: set[tuple[str, bytes]] = field(default_factory=set, repr=False)
    left_out: dict[str, LeftOut] = field(default_factory=dict)
    met: set[str] = field(default_factory=set, repr=False)
    sealed_fields: int = 0
    published: set[str] = field(default_factory=set)
    beside_digests: list[bytes] = field(default_factory=list, repr=False)
    written: str = ""


def process_shard(spec: ShardSpec) -> ShardResult:
    """Work on one shard: the same spec again gives the same files.

    What cannot be done to one image is in the result. When this returns, all files of the shard
    are complete, its manifest the last of them; when it raises, or its process is killed, the shard
    counts as not begun.

    Raises
    ------
    OSError
        If the destination cannot be written.
    InputError
        If images would be restored into what a run publishes that has begun meanwhile.

    Examples
    --------
    >>> from dsguard.bulk import process_shard
    >>> def engine(specs, workers):  # an engine of one's own: any way to call it for each shard
    ...     return map(process_shard, specs)
    """
    if spec.output is not None and not spec.task.publishes:
        check_unpublished(str(spec.output.place), "destination")  # by a run that began meanwhile
    result = ShardResult(spec.number)
    lines: list[str] = []
    sink = None
    review = None
    if spec.disclosure is not None:
        review = Review(spec.disclosure, key=spec.task.own_key, readers=READERS)
        kind = spec.output.kind if spec.output else ""
        review.account.shows_class = shows_class(spec.task, spec.source, kind)
        if spec.choice is not None:
            review.others = partial(others_of, spec.choice)
    found = _unsealed(spec, result, lines)
    trusts = spec.task.own_key is not None
    programs = PublishedPrograms(spec.source, found, trusts_sealed=trusts)
    noted = set[str]()
    sealer = None
    if spec.output is not None:
        sink = open_sink(spec.output, spec.source, spec.part, spec.number, review)
        sink.unsealed = found
        sealer = _sealer(spec, sink, noted)
    try:
        for rows, runs in with_keys(spec.task, _rows(spec, result, lines, programs)):
            lines += work(spec, rows, runs, sink, result, noted)
        if sink is not None:
            sink.close()
            _refuse_arrays(spec, sink)
            lines += _refused(spec, sink, result)
        for name, reason in _left(spec, found, programs, result.failures):
            fail(name, InputError(reason), spec, result, lines)
        if sink is not None and sealer is not None:
            sealer.close()
            sink.also += sealer.written
            result.sealed_fields = sealer.count
    except BaseException:
        if sink is not None:
            sink.abort()
        raise
    result.sealed_fields += found.used
    if review is not None:
        result.left_out, result.met = review.account.left_out, review.account.met
        _tell_published(sink, result)
    if spec.journal is not None:
        _note_done(spec, spec.journal, lines, result, [] if sink is None else sink.also)
    return result


def _note_done(
    spec: ShardSpec, journal: Journal, lines: list[str], result: ShardResult, also: list[str]
) -> None:
    """Write the manifest, once all files are on the disk."""
    if spec.output is not None:
        spec.output.place.sync()  # or a power cut leaves empty files that are said to be done
        if spec.task.publishes:
            good = (line for line in map(json.loads, lines) if line["error"] is None)
            result.written = spec.output.place.stamp_of_written(files_of(good).union(also))
    journal.write(spec.number, lines, spec.stamp, result, also)


def _tell_published(sink: Sink | None, result: ShardResult) -> None:
    """Note what a sink has written beside images for all to read."""
    if sink is not None:
        result.published, result.beside_digests = sink.published, sink.beside_digests


def _sealer(spec: ShardSpec, sink: Sink, noted: set[str]) -> PieceSealer | None:
    """Return what takes the fields of a shard that are not published; None where none are kept."""
    key, file = spec.task.own_key, sink.file_of(spec.part, spec.number)
    names = pieces_of(file, spec.number)
    kept = sink.review is not None and spec.task.seals and sink.can_seal()
    if not kept or key is None or fault_of(f"{names[0]}.000000.{names[1]}"):
        return None
    assert sink.review is not None
    sink.review.account.seals, sink.review.account.is_cut = True, spec.part.names is not None

    announce = partial(intend, spec, noted=noted)
    sink.sealer = sealer = PieceSealer(sink.output.place, names, key, announce)
    return sealer


def _unsealed(spec: ShardSpec, result: ShardResult, lines: list[str]) -> Unsealed:
    """Return what was sealed beside the file of a shard; without it images go on."""
    file = spec.part.file
    if spec.task.publishes or not file:
        return Unsealed()
    try:
        entries = opened_fields(spec.source, file, spec.task.key, spec.pieces)
        if entries is None:
            return Unsealed()
        found = unsealed(spec.source, spec.part, entries)
        found.bind(entries.images())
        return found
    except DsguardError as error:
        fail(_pieces(spec), error, spec, result, lines)
        return Unsealed()


def _pieces(spec: ShardSpec) -> str:
    """Return what the pieces of a shard are called in messages."""
    return "{}.*.{}".format(*pieces_of(spec.part.file, spec.number))


def _rows(
    spec: ShardSpec, result: ShardResult, lines: list[str], programs: PublishedPrograms
) -> Iterator[Rows]:
    """Yield what can be read of the shard; damage of its file is a failure like others."""
    try:
        if spec.task.publishes:
            yield from spec.source.rows(spec.part)
            return
        for rows in spec.source.rows(spec.part):
            yield from programs.taken_out(rows)
        yield from programs.rest()
    except DsguardError as error:
        fail(spec.part.file or f"shard {spec.number}", error, spec, result, lines)


def _refuse_arrays(spec: ShardSpec, sink: Sink) -> None:
    """Have a sink name the arrays beside images for which its format has no room."""
    is_other = sink.output.kind != spec.source.kind  # its own sink seals them, or writes them
    if not is_other or (sink.review is None and spec.part.names is not None):
        return
    with contextlib.suppress(DsguardError):  # of its file, which is told
        for name in spec.source.beside_images(spec.part.file, published=sink.review is None):
            sink.refuse(f"{spec.part.file}/{name}", NO_ROOM)


def _left(
    spec: ShardSpec, found: Unsealed, programs: PublishedPrograms, failures: Mapping[str, object]
) -> Iterator[tuple[str, str]]:
    """Yield the names of what has not come back beside the images of a shard, and why."""
    for name in programs.left():
        yield name, OF_ANY_KEY if spec.task.own_key is None else A_PROGRAM
    for name in programs.types():
        yield name, A_TYPE
    is_whole = (spec.part.file or f"shard {spec.number}") not in failures
    if is_whole and (trouble := found.trouble()):
        yield _pieces(spec), trouble
    if found.is_strange:
        return
    if spec.output is None:
        with contextlib.suppress(DsguardError):
            found.look_through()
    if spec.part.names is None and is_whole:
        for name, reason in found.left():
            told = f"was sealed, and does not come back: {reason}"
            yield f"{shard_name(spec.part.file)}/{name}", told


def _refused(spec: ShardSpec, sink: Sink, result: ShardResult) -> list[str]:
    """Report what a sink has not written of what lies beside images; return its lines."""
    result.failures |= sink.refused
    result.broken += len(sink.refused)
    return [line_of(name, spec, error=error) for name, error in sink.refused.items()]
