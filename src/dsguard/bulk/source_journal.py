"""The journal beside a source that a run wrote: whether all of its images are there."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from typing import TYPE_CHECKING

from dsguard.bulk.journal import Journal
from dsguard.bulk.sealed_elsewhere import sealed_elsewhere
from dsguard.bulk.sealed_fields import is_own, strays_in
from dsguard.bulk.sealed_files import is_called_sealed, start_of
from dsguard.errors import DsguardError, FormatError, InputError
from dsguard.formats import png

if TYPE_CHECKING:
    from dsguard.bulk.report import Report
    from dsguard.bulk.shard import ShardSpec
    from dsguard.formats.base import Source
    from dsguard.keys import DatasetKey, KeySource


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


_CALLED_AFTER = re.compile(r"(.*sealed-(?:files|fields)\.dsguard)\.")

_RENAMED = "has another name than what is sealed beside images has; give it its name again"


class _Renamed:
    """Tells which files are sealed files under another name, and no spare copies of one."""

    def __init__(self, source: Source) -> None:
        self._source, self._there = source, set(source.left_out())
        self._known: dict[str, set[bytes]] = {}

    def has(self, name: str) -> bool:
        """Tell it of a file.

        Check sums and signatures are called after the file that they are of, which is there.
        """
        above, _, last = name.rpartition("/")
        if is_own(name) or not is_called_sealed(name):
            return False
        of = _CALLED_AFTER.match(last)
        if of and f"{above}/{of[1]}".lstrip("/") not in self._there:
            return True  # that there was one
        try:
            data = start_of(self._source, name)
            return data.startswith(png.SIGNATURE) and _digest(data) not in self._beside(above)
        except (DsguardError, OSError):  # nobody tells: its name has to do
            return True

    def _beside(self, folder: str) -> set[bytes]:
        """Return digests of the sealed files in a folder, each of which is read once."""
        if folder not in self._known:
            own = [name for name in self._there if is_own(name)]
            beside = (name for name in own if name.rpartition("/")[0] == folder)
            self._known[folder] = {_digest(start_of(self._source, name)) for name in beside}
        return self._known[folder]


def _digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def look_for_sealed(source: Source, key: DatasetKey | KeySource, report: Report) -> None:
    """Report what lay sealed beside the images, and does not any more, or not where it belongs."""
    renamed = _Renamed(source)
    for name in sorted({*source.left_out(), *source.companions()}):
        if renamed.has(name):
            report.add_broken(name, InputError(_RENAMED))
    for file, told in sealed_elsewhere(source, key).items():
        report.add_broken(file, InputError(told))
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
