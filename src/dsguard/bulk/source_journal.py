"""The journal beside a source that a run wrote: whether all of its images are there."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from dsguard.bulk.journal import Journal
from dsguard.bulk.sealed_fields import is_own, pieces_in, strays_in
from dsguard.bulk.sealed_files import (
    MOST_BYTES,
    SEALED_FILES,
    opened_archive,
    sealed_in,
    start_of,
)
from dsguard.errors import DsguardError, FormatError, InputError, NoKeysError, WrongKeyError
from dsguard.formats import png
from dsguard.formats.places import LocalPlace

if TYPE_CHECKING:
    from pathlib import Path

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


_IS_SEALED = re.compile("sealed-fi(le|eld)s.*dsguard", re.IGNORECASE)
"""Also with what browsers and systems add: ``sealed-files (1).dsguard``."""

_CALLED_AFTER = re.compile(r"(.*sealed-(?:files|fields)\.dsguard)\.")

_RENAMED = "has another name than what is sealed beside images has; give it its name again"
_ABOVE = "lies above, and holds what belongs to these images; give {} and --include"
_UNREAD = "lies above, cannot be read, and may hold what belongs to these images; get a whole copy"
_FOLDERS_ABOVE = 3
"""In which a file that cannot be read may be of this set; one that opens tells it."""


def _sealed_above(source: Source, key: DatasetKey | KeySource) -> dict[Path, str]:
    """Return files above a part of a published folder in which files of this part are sealed.

    Beside each stands what is to be done. Of those that cannot be read nobody knows.
    """
    found: dict[Path, str] = {}
    if source.is_file or not isinstance(source.place, LocalPlace) or sealed_in(source):
        return found
    has_pieces = bool(pieces_in(source))  # shards have their own
    for here in (source.place.path.absolute(), source.place.path.resolve()):  # it may be a link
        for number, folder in enumerate(here.parents):
            path, below = folder / SEALED_FILES, f"{here.relative_to(folder).as_posix()}/"
            if not path.is_file() and not path.is_symlink():
                continue
            try:
                names = _opened(path, key)
            except (WrongKeyError, NoKeysError):  # of another set, as it seems
                continue
            except (DsguardError, OSError):
                if number < _FOLDERS_ABOVE and not has_pieces:
                    found[path] = _UNREAD
            else:
                if any(name.startswith(below) for name in names):
                    found[path] = _ABOVE.format(folder)
    return found


def _opened(path: Path, key: DatasetKey | KeySource) -> dict[str, bytes]:
    """Return the files that are sealed in a file of this machine, which may be a link."""
    if not path.is_file():  # a pipe or a terminal may never end
        msg = "is no file"
        raise InputError(msg)
    with path.open("rb") as file:
        return opened_archive(file.read(2 * MOST_BYTES), key)[1]


def _is_renamed(source: Source, name: str) -> bool:
    """Tell whether a file is one of sealed files under another name, and no spare copy of one.

    Check sums and signatures are called after the file that they are of, which is there.
    """
    above, _, last = name.rpartition("/")
    if is_own(name) or not _IS_SEALED.search(last):
        return False
    of = _CALLED_AFTER.match(last)
    if of and f"{above}/{of[1]}".lstrip("/") not in source.left_out():
        return True  # that there was one
    try:
        data = start_of(source, name)
        others = (each for each in source.left_out() if is_own(each))
        beside = [each for each in others if each.rpartition("/")[0] == above]
        return data.startswith(png.SIGNATURE) and all(
            start_of(source, each) != data for each in beside
        )
    except (DsguardError, OSError):  # nobody tells: its name has to do
        return True


def look_for_sealed(source: Source, key: DatasetKey | KeySource, report: Report) -> None:
    """Report what lay sealed beside the images, and does not any more, or not where it belongs."""
    for name in sorted({*source.left_out(), *source.companions()}):
        if _is_renamed(source, name):
            report.add_broken(name, InputError(_RENAMED))
    for above, told in _sealed_above(source, key).items():
        report.add_broken(str(above), InputError(told))
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
