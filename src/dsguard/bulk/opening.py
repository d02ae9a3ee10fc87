"""What was sealed beside images, opened before the images become shards.

Shards have fields and labels, which are in these files. One sealed file after the other goes to a
temporary folder, so that none but the one that is being opened is held in memory.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

from dsguard._atomic import temporary_subfolder
from dsguard.bulk.clean_names import clean_names
from dsguard.bulk.programs import faults_beside, without_programs
from dsguard.bulk.published_files import PublishedFiles
from dsguard.bulk.sealed_files import is_of_set, opened_in, sealed_in
from dsguard.bulk.sealed_lists import NAMES, is_list, without_lists
from dsguard.bulk.selection import Selection
from dsguard.errors import DsguardError
from dsguard.formats.detect import with_opened
from dsguard.formats.folder.reader import TreeSource
from dsguard.formats.folder.writer import error_of_writing
from dsguard.formats.places import LocalPlace
from dsguard.formats.places.spelling import Apart, alike
from dsguard.formats.writers import output_kind

if TYPE_CHECKING:
    from pathlib import Path

    from dsguard.bulk.settings import Settings
    from dsguard.bulk.tasks import Task
    from dsguard.formats.base import Source
    from dsguard.keys import DatasetKey, KeySource


@contextlib.contextmanager
def opened(
    source: Source, task: Task, settings: Settings
) -> Iterator[tuple[Source, dict[str, DsguardError]]]:
    """Yield a source as a task has to see it, and by file what does not open of what is sealed."""
    restores = isinstance(source, TreeSource) and task.writes and not task.publishes
    becomes_shards = restores and output_kind(source, settings.out_format) != "folder"
    is_cut = settings.selection != Selection()  # of a list, what is about others stays behind
    if not (restores and (becomes_shards or is_cut)):
        yield source, {}
        return
    assert isinstance(source, TreeSource)
    with temporary_subfolder("opened") as folder:
        yield _opened(source, task.key, folder / "files")


def _opened(
    source: TreeSource, key: DatasetKey | KeySource, folder: Path
) -> tuple[Source, dict[str, DsguardError]]:
    folder.mkdir()
    place, clean, failures = LocalPlace(folder), dict[str, str](), dict[str, DsguardError]()
    images, of_samples, apart = source.names(), set[str](), Apart(place)
    published = PublishedFiles.unlisted(source)
    for sealed in sealed_in(source):
        try:
            files = opened_in(source, sealed, key)
            for name in filter(is_list, files):
                if name.endswith(NAMES):
                    clean |= clean_names(name.removesuffix(NAMES), files[name], images)
        except DsguardError as error:
            failures[sealed] = error.to_keep()
            continue
        published.add(files)
        files = without_programs(files, key, failures.__setitem__)
        for name, data in without_lists(files).items():
            if other := apart.other(name):
                failures[name] = alike(other, name, place)
            elif fault := error_of_writing(partial(place.write, name, data)):
                failures[name] = fault
        if not is_of_set(sealed):
            of_samples |= files.keys()
    strange = {name for name, _ in faults_beside(source, key, published, place.files())}
    return with_opened(source, place, clean, of_samples - failures.keys(), strange), failures
