"""One unit of work: a shard, from its source to its destination, written whole or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from dsguard.bulk.against import digests_of_facts, digests_of_fields, digests_of_loose
from dsguard.bulk.ahead import KeyedRun, with_keys
from dsguard.bulk.carried import name_in
from dsguard.bulk.hidden_classes import shows_class
from dsguard.bulk.journal import Journal
from dsguard.bulk.sealed_fields import PieceSealer, opened_fields, pieces_of
from dsguard.bulk.selection import Choice, others_of
from dsguard.bulk.tasks import Batch, Task
from dsguard.errors import DsguardError, InputError
from dsguard.formats.allowance import CouldHoldPictureError
from dsguard.formats.base import Extras, Part, Rows, Source
from dsguard.formats.disclosure import NO_ROOM, Disclosure, LeftOut
from dsguard.formats.images import Group, is_image_name, original_name, with_suffix
from dsguard.formats.insides import READERS
from dsguard.formats.loaded import A_PICKLE, OF_ANY_KEY
from dsguard.formats.names import checked, fault_of, is_folder_name, shard_name
from dsguard.formats.review import Review
from dsguard.formats.sealing import Unsealed
from dsguard.formats.sink import Output, Results, Sink
from dsguard.formats.strings import check_class
from dsguard.formats.unsealing import unsealed
from dsguard.formats.webdataset.pickles import PublishedPickles
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
    bytes_read: int = 0
    bytes_written: int = 0
    digests: list[bytes] = field(default_factory=list, repr=False)
    fields: dict[str, list[bytes]] = field(default_factory=dict, repr=False)
    facts: set[tuple[str, bytes]] = field(default_factory=set, repr=False)
    left_out: dict[str, LeftOut] = field(default_factory=dict)
    met: set[str] = field(default_factory=set, repr=False)
    sealed_fields: int = 0


def process_shard(spec: ShardSpec) -> ShardResult:
    """Work on one shard: the same spec again gives the same files.

    What cannot be done to one image is in the result. When this returns, all files of the shard
    are complete, its manifest the last of them; when it raises, or its process is killed, the shard
    counts as not begun.

    Raises
    ------
    OSError
        If the destination cannot be written.

    Examples
    --------
    >>> from dsguard.bulk import process_shard
    >>> def engine(specs, workers):  # an engine of one's own: any way to call it for each shard
    ...     return map(process_shard, specs)
    """
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
    pickles = PublishedPickles(spec.source, found, trusts_sealed=trusts)
    noted = set[str]()
    sealer = None
    if spec.output is not None:
        sink = open_sink(spec.output, spec.source, spec.part, spec.number, review)
        sink.unsealed = found
        sealer = _sealer(spec, sink, noted)
    try:
        for rows, runs in with_keys(spec.task, _rows(spec, result, lines, pickles)):
            lines += _work(spec, rows, runs, sink, result, noted)
        if sink is not None:
            sink.close()
            _refuse_arrays(spec, sink)
            lines += _refused(spec, sink, result)
        for name, reason in _left(spec, found, pickles, result.failures):
            _fail(name, InputError(reason), spec, result, lines)
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
    if spec.journal is not None:
        if spec.output is not None:
            spec.output.place.sync()  # or a power cut leaves empty files that are said to be done
        also = [] if sink is None else sink.also
        sealed, met = result.sealed_fields, result.met
        spec.journal.write(spec.number, lines, spec.stamp, result.left_out, also, sealed, met)
    return result


def _sealer(spec: ShardSpec, sink: Sink, noted: set[str]) -> PieceSealer | None:
    """Return what takes the fields of a shard that are not published; None where none are kept."""
    key, file = spec.task.own_key, sink.file_of(spec.part, spec.number)
    names = pieces_of(file, spec.number)
    kept = sink.review is not None and spec.task.seals and sink.can_seal()
    if not kept or key is None or fault_of(f"{names[0]}.000000.{names[1]}"):
        return None
    assert sink.review is not None
    sink.review.account.seals, sink.review.account.is_cut = True, spec.part.names is not None

    def intend(files: set[str]) -> None:
        _intend(spec, files, noted)

    sink.sealer = sealer = PieceSealer(sink.output.place, names, key, intend)
    return sealer


def _intend(spec: ShardSpec, files: set[str], noted: set[str]) -> None:
    """Note files in the journal before they are written, each once."""
    new = files - noted
    if spec.journal is not None and new:
        spec.journal.intend_shard(spec.number, len(noted), new)
        noted |= new


def _unsealed(spec: ShardSpec, result: ShardResult, lines: list[str]) -> Unsealed:
    """Return what was sealed beside the file of a shard; without it images go on."""
    file = spec.part.file
    if spec.task.publishes or not file:
        return Unsealed()
    try:
        entries = opened_fields(spec.source, file, spec.task.key)
        if entries is None:
            return Unsealed()
        found = unsealed(spec.source, spec.part, entries)
        found.bind(entries.images())
        return found
    except DsguardError as error:
        _fail(_pieces(spec), error, spec, result, lines)
        return Unsealed()


def _pieces(spec: ShardSpec) -> str:
    """Return what the pieces of a shard are called in messages."""
    return "{}.*.{}".format(*pieces_of(spec.part.file, spec.number))


def _rows(
    spec: ShardSpec, result: ShardResult, lines: list[str], pickles: PublishedPickles
) -> Iterator[Rows]:
    """Yield what can be read of the shard; damage of its file is a failure like others."""
    try:
        if spec.task.publishes:
            yield from spec.source.rows(spec.part)
            return
        for rows in spec.source.rows(spec.part):
            yield from pickles.taken_out(rows)
        yield from pickles.rest()
    except DsguardError as error:
        _fail(spec.part.file or f"shard {spec.number}", error, spec, result, lines)


def _fail(
    name: str, error: DsguardError, spec: ShardSpec, result: ShardResult, lines: list[str]
) -> None:
    """Note that a file cannot be read."""
    result.failures[name] = error.to_keep()
    result.broken += 1
    lines.append(_line(name, spec, error=error))


def _refuse_arrays(spec: ShardSpec, sink: Sink) -> None:
    """Have a sink name the arrays beside images for which its format has no room."""
    is_other = sink.output.kind != spec.source.kind  # its own sink seals them, or writes them
    if not is_other or (sink.review is None and spec.part.names is not None):
        return
    with contextlib.suppress(DsguardError):  # of its file, which is told
        for name in spec.source.beside_images(spec.part.file, published=sink.review is None):
            sink.refuse(f"{spec.part.file}/{name}", NO_ROOM)


def _left(
    spec: ShardSpec, found: Unsealed, pickles: PublishedPickles, failures: Mapping[str, object]
) -> Iterator[tuple[str, str]]:
    """Yield the names of what has not come back beside the images of a shard, and why."""
    for name in pickles.left():
        yield name, OF_ANY_KEY if spec.task.own_key is None else A_PICKLE
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
    return [_line(name, spec, error=error) for name, error in sink.refused.items()]


def _work(
    spec: ShardSpec,
    rows: Rows,
    runs: Iterator[KeyedRun],
    sink: Sink | None,
    result: ShardResult,
    noted: set[str],
) -> list[str]:
    """Process and write some rows; return their lines of the manifest.

    Files that are about to be written are noted in the journal first, each once.
    """
    results, profiles = Results(), [""] * len(rows.names)
    errors: dict[int, DsguardError] = {}
    for task, groups, unreadable in runs:
        errors |= unreadable
        while groups:
            group = groups.pop(0)
            if sink is not None and not task.keeps_files:
                result.metadata_dropped += group.with_more
            _process(task, spec.threads, rows, group, sink, result, results, errors, profiles)
            del group  # before the next are decoded, which may be as large
    files: dict[int, str] = {}
    whole = rows.record
    lines = list[str]()
    if not spec.task.publishes and rows.record is not None:
        for name, reason in rows.record.passed_over():
            _fail(name, InputError(reason), spec, result, lines)
    if sink is not None:
        if sink.wants_extras(rows):
            _add_extras(rows, results, errors, sink.review)
        if sink.review is not None:
            _refuse_classes(rows, results, errors)
            rows.record = None if rows.record is None else rows.record.reviewed(sink.review)
        names = _names(spec, rows, results, errors)
        _intend(spec, sink.files(rows, names, results), noted)
        shard = sink.file_of(spec.part, spec.number)
        files = dict.fromkeys(range(len(rows.names)), shard) if shard else names
        failed = sink.write(rows, names, results)
        errors |= failed
        for row in failed:
            results.drop(row)
            del names[row]
        if sink.sealer is not None:
            sink.seal(whole, rows, names, results)
            sink.sealer.bind(_published(results))
    result.digests += results.digests.values()
    if spec.task.compares_fields:
        _tell_fields(rows, results, result)
    _count_bytes(rows, results, result)
    result.done += len(results.rows)
    result.sidecars += len(results.sidecars)
    result.failures |= {rows.names[row]: error for row, error in errors.items()}
    if spec.journal is None:
        return []
    return lines + [
        _line(
            rows.names[n],
            spec,
            _hashes(rows, results, n),
            profiles[n],
            errors.get(n),
            files.get(n, ""),
            results.beside.get(n, []),
        )
        for n in range(len(rows.names))
    ]


def _published(results: Results) -> Iterator[bytes]:
    """Yield the images that were written: their files, or else their pixels."""
    yield from results.files.values()
    for image in results.images.values():
        yield image.tobytes()


def _tell_fields(rows: Rows, results: Results, result: ShardResult) -> None:
    """Add the digests of what belongs to images, and of the texts of none."""
    for row, digest in results.digests.items():
        with contextlib.suppress(DsguardError):  # it is missed where the two are compared
            for kind, told in digests_of_fields(digest, rows.extras(row)):
                result.fields.setdefault(kind, []).append(told)
    for name, told in digests_of_loose(rows):
        result.fields.setdefault(name, []).append(told)
    result.facts.update(digests_of_facts(rows))


def _count_bytes(rows: Rows, results: Results, result: ShardResult) -> None:
    """Add up the files of images before and after."""
    for row, file in results.files.items():
        came = rows.files[row] if rows.files else b""
        if isinstance(came, bytes) and came:
            result.bytes_read += len(came)
            result.bytes_written += len(file)


def _refuse_classes(rows: Rows, results: Results, errors: dict[int, DsguardError]) -> None:
    """Fail images whose class could hold a picture: classes are published in any case."""
    for row in sorted(results.rows):
        try:
            check_class(rows.classes[row])
        except CouldHoldPictureError as error:
            errors[row] = InputError(f"its class {error}; give classes short names")
            results.drop(row)


def _add_extras(
    rows: Rows, results: Results, errors: dict[int, DsguardError], review: Review | None
) -> None:
    """Fetch what else belongs to the rows; an image does not go without it."""
    last: Extras | None = None
    whole, going = Extras(), Extras()
    for row in sorted(results.rows):
        try:
            fields = rows.extras(row)
            if fields is not last:  # images of one sample share theirs: it is looked at once
                stem = with_suffix(rows.names[row], "")
                whole = going = _checked(fields)
                if review is not None:
                    whole = rows.record.undropped(fields, review) if rows.record else fields
                    going = review.fields(stem, whole)
                last = fields
            results.extras[row] = going
            if review is not None and review.account.seals:
                results.whole[row] = whole
        except DsguardError as error:
            errors[row] = error.to_keep()
        except OSError as error:
            errors[row] = InputError(f"what belongs to it cannot be read: {error.strerror}")
        if row in errors:
            results.drop(row)


def _checked(extras: Extras) -> Extras:
    """Refuse fields that would come out as an image, or in another folder."""
    for name in extras:
        file = f"x.{name}" if name else "x"
        if "\\" in name or not is_folder_name(file) or is_image_name(file):
            msg = f"has a field named {name!r}, which no file beside it can be; rename the field"
            raise InputError(msg)
    return extras


def _process(
    task: Task,
    threads: int | None,
    rows: Rows,
    group: Group,
    sink: Sink | None,
    result: ShardResult,
    results: Results,
    errors: dict[int, DsguardError],
    profiles: list[str],
) -> None:
    batch = Batch(
        [rows.names[row] for row in group.rows],
        [rows.classes[row] for row in group.rows],
        group.images,
        group.sidecars,
        [file for file in (rows.files[row] for row in group.rows) if isinstance(file, bytes)]
        if rows.files
        else [],
        [rows.originals[row] for row in group.rows] if rows.originals else [],
        group.is_seen,
    )
    done = task.checked(batch, threads)
    if sink is not None and not sink.takes_files:
        done.errors |= dict.fromkeys(done.files, InputError("carries a file, and this is an array"))
    result.as_they_are += done.as_they_are
    result.samples += done.samples
    results.digests |= {group.rows[n]: digest for n, digest in done.digests.items()}
    errors |= {group.rows[n]: error for n, error in done.errors.items()}
    for row, profile in zip(group.rows, done.profiles, strict=False):
        profiles[row] = profile
    good = [n for n in range(len(group.rows)) if n not in done.errors]
    results.rows.update(group.rows[n] for n in good)
    results.sidecars |= {group.rows[n]: data for n, data in done.sidecars.items()}
    if sink is not None and not sink.takes_files:
        results.images |= {group.rows[n]: done.images[n] for n in good}
    elif sink is not None:
        results.files |= {group.rows[n]: file.data for n, file in done.files.items()}
        kind = sink.output.kind
        results.originals |= {group.rows[n]: name_in(kind, file) for n, file in done.files.items()}
        own = [n for n in good if n not in done.files]
        if own:
            images = done.images if len(own) == len(group.rows) else done.images[own]
            sidecars = {k: done.sidecars[n] for k, n in enumerate(own) if n in done.sidecars}
            files = sink.encoded(images, sidecars)
            results.files |= {group.rows[n]: file for n, file in zip(own, files, strict=True)}


def _names(
    spec: ShardSpec, rows: Rows, results: Results, errors: dict[int, DsguardError]
) -> dict[int, str]:
    """Return the names that images are written under; without a fit one an image fails."""
    names: dict[int, str] = {}
    for row in sorted(results.rows):
        try:
            names[row] = checked(_output_name(spec, rows, row, results.originals.get(row)))
        except InputError as error:
            errors[row] = error.to_keep()
            results.drop(row)
    return names


def _output_name(spec: ShardSpec, rows: Rows, row: int, original: str | None) -> str:
    """Return the name of an image that is written; `original` is that of a file as it was."""
    name = rows.names[row]
    new = spec.renamed.get(name) or with_suffix(name, spec.suffix)
    if original is not None:
        new = original_name(name, original)
    folder = spec.output is not None and spec.output.kind == "folder"
    return spec.source.as_file(new, rows.classes[row]) if folder else new


def _hashes(rows: Rows, results: Results, row: int) -> tuple[str, str]:
    """Return the SHA-256 of what came in and of what goes out: of files, else of pixels."""
    came: Any = rows.files[row] if rows.images is None else rows.images[row].tobytes()
    went: Any = results.files.get(row)
    if went is None and row in results.images:
        went = results.images[row].tobytes()
    return _sha256(came), _sha256(went)


def _sha256(data: object) -> str:
    return hashlib.sha256(data).hexdigest() if isinstance(data, bytes) else ""


_quoted = json.encoder.encode_basestring_ascii  # `json.dumps` of text, without its detours


def _line(
    name: str,
    spec: ShardSpec,
    hashes: tuple[str, str] = ("", ""),
    profile: str = "",
    error: DsguardError | None = None,
    file: str = "",
    beside: list[str] | None = None,
) -> str:
    """Return one line of the manifest, JSON."""
    status = spec.task.verb if error is None else type(error).__name__
    told = "null" if error is None else _quoted(error.message)
    return (
        f'{{"name": {_quoted(name)}, "file": {_quoted(file)}, '
        f'"sha256_in": "{hashes[0]}", "sha256_out": "{hashes[1]}", '
        f'"key_id": {_quoted(spec.task.key_name)}, "profile": "{profile}", "status": "{status}", '
        f'"error": {told}' + (f', "beside": {json.dumps(beside)}}}' if beside else "}")
    )
