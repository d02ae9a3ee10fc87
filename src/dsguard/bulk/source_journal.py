"""The journal beside a source that a run wrote: whether all of its images are there."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from dsguard.bulk.journal import Journal
from dsguard.bulk.sealed_fields import is_own, strays_in
from dsguard.errors import FormatError, InputError

if TYPE_CHECKING:
    from dsguard.bulk.report import Report
    from dsguard.bulk.shard import ShardSpec
    from dsguard.formats.base import Source


def state_of(source: Source) -> tuple[bool, bool]:
    """Tell whether the run that writes a source is unfinished, and its journal damaged."""
    journal = _journal_of(source)
    if journal is None:
        return False, False
    try:
        if journal.settings() is None:
            return False, False
    except FormatError:
        return False, True
    return not journal.is_finished(), not journal.is_whole()


def _journal_of(source: Source) -> Journal | None:
    """Return the journal of a source, None where none can lie beside it."""
    return None if source.is_file or source.place.is_root() else Journal.of(source.place)


def look_for_lost(specs: list[ShardSpec], seen: dict[int, int], report: Report) -> None:
    """Count the images that the journal of the source lists and that were not in it.

    Parameters
    ----------
    specs : list of ShardSpec
        All shards of the source.
    seen : dict of int to int
        By shard, how many images it had.
    report : Report
    """
    source = specs[0].source
    journal = _journal_of(source)
    if journal is None:
        return
    expected, found = Counter[str](), Counter[str]()
    for number in journal.done():
        lines = journal.lines(number)
        report.journal_damaged |= lines is None
        expected.update(line["file"] for line in lines or () if line["error"] is None)
    if any(spec.part.file for spec in specs):
        for spec in specs:
            found[spec.part.file] += seen.get(spec.number, 0)
    elif expected:  # each image has its own
        found.update(source.place.files())
    report.lost = (expected - found).total()


def look_for_sealed(source: Source, report: Report) -> None:
    """Report what lay sealed beside the images, and does not any more, or not beside its shard."""
    for name in strays_in(source):
        msg = "is of fields, and its shard is not beside it, or its first piece; get a whole copy"
        report.add_broken(name, InputError(msg))
    journal = _journal_of(source)
    if journal is None or not journal.is_finished():
        return
    also = (name for number in journal.done() for name in journal.also(number))
    sealed = (name for name in (*journal.companions(), *also) if is_own(name))
    for name in sorted(set(sealed).difference(source.left_out())):
        msg = "was written beside the images, and is not there any more; get it from a whole copy"
        report.add_broken(name, InputError(msg))
