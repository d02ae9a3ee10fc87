"""The report of a task, printed: counts, failures, warnings, and the exit code."""

from __future__ import annotations

import json
import shlex
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from dsguard.cli.choices import Choices
from dsguard.cli.console import (
    Exit,
    complain,
    counted,
    say,
    shortened,
    show,
    show_leftovers,
    warn,
    worst,
)

if TYPE_CHECKING:
    from dsguard.bulk import Report
    from dsguard.bulk.tasks import Task

_SHOWN_KINDS = 12
_SHOWN_FILES = 6
_WORTH_TELLING = 100_000  # bytes


_COMES_BACK = {
    "all": "all of the clean dataset comes back as it is",
    "contents": "all images, fields and labels of the clean dataset come back as they are; its "
    "format, or paths in its tables, do not",
    "images": "all images of the clean dataset come back as they are; fields of shards, columns "
    "and arrays were not compared",
}


def finish(task: Task, report: Report, choices: Choices) -> int:
    """Print what became of a dataset; return the exit code."""
    from dsguard.formats.places import without_password

    manifest = ", named in the manifest" if task.writes else ""
    show(report.failures, report.failed, manifest)
    total = report.done + report.failed - report.broken + report.lost
    _complain_of_loss(report)
    for name, how in list(report.different.items())[:_SHOWN_KINDS]:
        complain(f"{shortened(name)}: {how}")
    if report.differences > _SHOWN_KINDS:
        complain(f"{counted(report.differences, 'difference')} in all")
    show_left_out(task, report)
    _warn(task, report)
    if choices.as_json:
        click.echo(json.dumps(_facts(task, report, total)))
    elif not task.writes:
        share = report.done / total if total else 0
        click.echo(f"{share:.1%} intact: {report.done} of {counted(total, 'image')}")
        _tell_sealed(task, report)
        if report.compared and not report.differences:
            click.echo(_COMES_BACK[report.compared])
    else:
        images, there = counted(total, "image"), without_password(choices.destination)
        click.echo(f"{task.verb} {report.done} of {images} into {there}")
        if report.resumed:
            click.echo(f"{report.resumed} of {report.shards} shards were done before")
        _tell_files(task, report, choices)
        _tell_sealed(task, report)
    return code_of(report) or code_of_left_out(task, report)


def _ours(report: Report) -> str:
    """Return what to say of figures that leave out the shards that were done before."""
    return " of this run" if report.resumed else ""


def _tell_files(task: Task, report: Report, choices: Choices) -> None:
    """Say how large the files are, and which have sidecars."""
    ours = _ours(report)
    if report.sidecars:
        have, its = ("has", "its") if report.sidecars == 1 else ("have", "their")
        click.echo(
            f"{counted(report.sidecars, 'image')}{ours} {have} a part of {its} payload in a "
            "sidecar (in the same file, or beside an .npy file): do not save these files anew"
        )
    if report.samples:
        shows = "it shows itself" if report.samples == 1 else "they show themselves"
        click.echo(f"{counted(report.samples, 'sample')}{ours} in clear: {shows}")
    if report.published:
        told = ", ".join(map(shortened, report.published[:_SHOWN_FILES]))
        told += _more(len(report.published) - _SHOWN_FILES)
        keeps = "" if choices.only_named else " (--only-named keeps all but classes back)"
        say(f"published beside the images, for all to read: {told}{keeps}")
    if report.bytes_read >= _WORTH_TELLING and task.publishes:
        times = report.bytes_written / report.bytes_read
        click.echo(
            f"image files{ours}: {_megabytes(report.bytes_written)}, {times:.1f} times the "
            f"{_megabytes(report.bytes_read)} of the{' same images in the' if ours else ''} source"
        )


def _tell_sealed(task: Task, report: Report) -> None:
    """Say what is sealed rather than lost, or came back."""
    from dsguard.bulk.sealed_files import SEALED_FILES
    from dsguard.formats.sealing import SEALED_FIELDS

    for count, what, where in (
        (report.sealed_files, "file", SEALED_FILES),
        (report.sealed_fields, "value", f"*.{SEALED_FIELDS}"),
    ):
        how = f"sealed in {where}; restore brings them back"
        if not task.publishes:
            how = f"came back from {where}" if task.writes else f"intact in {where}"
        if count:
            click.echo(f"{counted(count, what)} beside the images {how}")


def _more(count: int) -> str:
    """Return how many there are beside those that are named."""
    return f" and {count:,} more" if count > 0 else ""


def _megabytes(count: int) -> str:
    return f"{count / 1e6:,.1f} MB"


def _complain_of_loss(report: Report) -> None:
    from dsguard.bulk.sealed_fields import is_own

    sealed = sum(map(is_own, report.failures))
    if report.broken > sealed:
        complain(
            f"{counted(report.broken - sealed, 'file')} could not be read, or put back, as a "
            "whole: the lines above tell what is missing"
        )
    if sealed:
        them = "it" if sealed == 1 else "them"
        complain(
            f"{counted(sealed, 'sealed file')} could not be opened or put back; not all that was "
            f"sealed in {them} comes back"
        )
    if report.lost:
        verb = "is" if report.lost == 1 else "are"
        complain(f"{counted(report.lost, 'image')} of the manifest {verb} not there any more")
    if report.journal_damaged:
        warn(
            "the journal beside the source is damaged: it does not tell whether images are missing"
        )


def _warn(task: Task, report: Report) -> None:
    if report.unfinished:
        warn("the run that writes the source is not finished: images are missing")
    for pattern in report.unmatched_drop:
        warn(
            f"--drop {shlex.quote(pattern)}: no file, column, array or key is called so; check the "
            "spelling in the dataset (tags within image files, of DICOM or EXIF, stay as they are)"
        )
    for pattern in report.drop_of_images:
        warn(
            f"--drop {shlex.quote(pattern)}: images are called so, and are published; leave them "
            "out with --exclude"
        )
    warn_of_unmatched(report.unmatched_choice)
    show_leftovers(report.leftovers)
    if report.foreign and task.publishes:
        warn(
            f"{report.foreign[0]}{_more(len(report.foreign) - 1)}: lies in the destination and was "
            "not written by this run; remove what is not to be published"
        )
    for each in report.not_shown.values():
        warn(f"{shortened(each.first)}{_more(each.count - 1)}{_ours(report)}: {each.reason}")
    if report.metadata_dropped:
        warn(
            f"{counted(report.metadata_dropped, 'image')}{_ours(report)} had a colour profile, "
            "EXIF, XMP or further pictures, which are not kept; the pixels are"
        )
    if report.as_they_are:
        warn(
            f"{counted(report.as_they_are, 'image')}{_ours(report)}: alpha, or an eighth and more "
            "of what else shows, is published as it is; profile sealed publishes nothing of it"
        )


def warn_of_unmatched(patterns: list[str]) -> None:
    """Name patterns of `Report.unmatched_choice`."""
    for each in patterns:
        warn(f"--{each}: nothing is called so; check the spelling in the dataset")


def _facts(task: Task, report: Report, total: int) -> dict[str, Any]:
    """Return the report for ``--json``."""
    return {
        task.verb: report.done,
        "of": total,
        "failed": report.failed - report.broken,
        "sidecars": report.sidecars,
        "metadata_dropped": report.metadata_dropped,
        "as_they_are": report.as_they_are,
        **({"samples": report.samples} if report.samples else {}),
        **({"published": report.published} if task.publishes else {}),
        "not_shown": {kind: asdict(each) for kind, each in report.not_shown.items()},
        "bytes_read": report.bytes_read,
        "bytes_written": report.bytes_written,
        "sealed_files": report.sealed_files,
        "sealed_fields": report.sealed_fields,
        "shards": report.shards,
        "resumed": report.resumed,
        "failures": {name: error.message for name, error in report.failures.items()},
        "left_out": {kind: asdict(each) for kind, each in report.left_out.items()},
        "broken_files": report.broken,
        "lost": report.lost,
        "source_unfinished": report.unfinished,
        "journal_damaged": report.journal_damaged,
        "leftovers": report.leftovers,
        "foreign": report.foreign,
        **({"different": report.different} if report.compared else {}),
        **({"unmatched_drop": report.unmatched_drop} if report.unmatched_drop else {}),
        **({"drop_of_images": report.drop_of_images} if report.drop_of_images else {}),
        **({"unmatched_choice": report.unmatched_choice} if report.unmatched_choice else {}),
    }


def show_left_out(task: Task, report: Report) -> None:
    """Name what lies beside the images and was not written, and how to decide on it."""
    from dsguard.formats.disclosure import A_KEY, NO_ROOM, SHOWN_CLASS, THE_CLASS
    from dsguard.formats.dropping import UNREAD

    told_as = {THE_CLASS: "dropped, and published", SHOWN_CLASS: "left out, and shown"}
    publish = ", or publish it as it is: --publish {}".format
    other_remedies = {NO_ROOM: "", UNREAD: ", or name the file that has it: --drop FILE/NAME"}
    for kind, each in list(report.left_out.items())[:_SHOWN_KINDS]:
        quoted = shlex.quote(kind)
        remedy = f"; --drop {quoted}{other_remedies.get(each.reason, publish(quoted))}"
        has_remedy = each.reason not in (A_KEY, THE_CLASS, SHOWN_CLASS)
        remedy = remedy if task.publishes and has_remedy else ""
        what = told_as.get(each.reason, "left out")
        warn(f"{what}: {shortened(each.first)}{_more(each.count - 1)}: {each.reason}{remedy}")
    kinds = len(report.left_out) - _SHOWN_KINDS
    if kinds > 0:
        warn(f"left out: {counted(kinds, 'more kind')}, which --json names")


def code_of_left_out(task: Task, report: Report) -> int:
    """Return the code of a run that would not publish all, or met files that are not its own."""
    found = task.publishes and (report.left_out or report.foreign)
    return Exit.LEFT_OUT if found else Exit.OK


def code_of(report: Report) -> int:
    """Return the exit code of a run: that of the worst of what failed."""
    missing = report.lost or report.unfinished or report.journal_damaged or report.differences
    return max(worst(kind("") for kind in report.kinds), Exit.SOME_FAILED if missing else Exit.OK)
