"""The journal beside a source that a run wrote: whether all of its images are there."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from dsguard.bulk.journal import Journal
from dsguard.errors import FormatError

if TYPE_CHECKING:
    from dsguard.bulk.report import Report
    from dsguard.bulk.shard import ShardSpec
    from dsguard.formats.base import Source


def state_of(source: Source) -> tuple[bool, bool]:
    """Tell whether the run that writes a source is unfinished, and its journal damaged."""
    if source.is_file:
        return False, False
    journal = Journal.of(source.place)
    try:
        if journal.settings() is None:
            return False, False
    except FormatError:
        return False, True
    return not journal.is_finished(), not journal.is_whole()


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
    if source.is_file:
        return
    expected, found = Counter[str](), Counter[str]()
    journal = Journal.of(source.place)
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
