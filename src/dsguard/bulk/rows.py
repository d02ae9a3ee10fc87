"""Some rows of a shard: processed, named, and written with what belongs to them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from dsguard.bulk.against import digests_of_facts, digests_of_fields, digests_of_loose
from dsguard.bulk.carried import name_in
from dsguard.bulk.lines import fail, hashes_of, line_of
from dsguard.bulk.tasks import Batch, Task
from dsguard.errors import DsguardError, InputError
from dsguard.formats.allowance import CouldHoldPictureError
from dsguard.formats.base import Extras
from dsguard.formats.disclosure import NO_ROOM, add_up
from dsguard.formats.images import Group, is_image_name, original_name, with_suffix
from dsguard.formats.names import checked, is_folder_name
from dsguard.formats.no_images import A_POINTER, is_pointer
from dsguard.formats.review import Review
from dsguard.formats.sink import Results, Sink
from dsguard.formats.strings import check_class

if TYPE_CHECKING:
    from dsguard.bulk.ahead import KeyedRun
    from dsguard.bulk.shard import ShardResult, ShardSpec
    from dsguard.formats.base import Rows


def work(
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
    lines = _passed_over(spec, rows, result)
    if sink is not None:
        if sink.wants_extras(rows):
            _add_extras(rows, results, errors, sink.review)
        if sink.review is not None:
            _refuse_classes(rows, results, errors)
            rows.record = None if rows.record is None else rows.record.reviewed(sink.review)
        else:
            _refuse_facts(spec, rows, sink)
        names = _names(spec, rows, results, errors)
        intend(spec, sink.files(rows, names, results), noted)
        shard = sink.file_of(spec.part, spec.number)
        files = dict.fromkeys(range(len(rows.names)), shard) if shard else names
        failed = sink.write(rows, names, results)
        sink.published |= _kinds(rows, results, sink) if shard else set()
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
        line_of(
            rows.names[n],
            spec,
            hashes_of(rows, results, n),
            profiles[n],
            errors.get(n),
            files.get(n, ""),
            results.beside.get(n, []),
        )
        for n in range(len(rows.names))
    ]


def _kinds(rows: Rows, results: Results, sink: Sink) -> set[str]:
    """Return the kinds of what a shard has beside its images."""
    if rows.record is not None and not sink.wants_extras(rows):
        return rows.record.kinds()
    return {f"*.{suffix}" for fields in results.extras.values() for suffix in fields}


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


def _passed_over(spec: ShardSpec, rows: Rows, result: ShardResult) -> list[str]:
    """Fail the files of no image that do not come back; return their lines."""
    lines = list[str]()
    if not spec.task.publishes and rows.record is not None:
        for name, reason in rows.record.passed_over():
            fail(name, InputError(reason), spec, result, lines)
    return lines


def _refuse_facts(spec: ShardSpec, rows: Rows, sink: Sink) -> None:
    """Name what a file says of itself where another format has no place for it."""
    if rows.record is not None and sink.output.kind != spec.source.kind:
        for fact in rows.record.only_here():
            sink.refuse(f"{spec.part.file}/{fact}", NO_ROOM)


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
                    _refuse_pointers(stem, whole, review)
                    plain = rows.record.without_bytes(whole, review) if rows.record else whole
                    going = review.fields(stem, plain)
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


def _refuse_pointers(stem: str, fields: Extras, review: Review) -> None:
    """Refuse texts that Git LFS or git-annex has not fetched, but those that their owner drops."""
    for suffix, data in fields.items():
        if is_pointer(data) and review.account.says(f"{stem}.{suffix}") is not False:
            msg = f"its file {stem}.{suffix} {A_POINTER}"
            raise InputError(msg)


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
        group.is_damaged,
        group.found,
    )
    done = task.checked(batch, threads)
    if sink is not None and not sink.takes_files:
        done.errors |= dict.fromkeys(done.files, InputError("carries a file, and this is an array"))
    result.as_they_are += done.as_they_are
    result.samples += done.samples
    add_up(result.not_shown, done.not_shown)
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


def intend(spec: ShardSpec, files: set[str], noted: set[str]) -> None:
    """Note files in the journal before they are written, each once."""
    new = files - noted
    if spec.journal is not None and new:
        spec.journal.intend_shard(spec.number, len(noted), new)
        noted |= new
