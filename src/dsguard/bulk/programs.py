"""Programs beside published images: anybody can put one there, and trainers run it."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from functools import partial
from typing import TYPE_CHECKING

from dsguard.bulk.sealed_fields import is_own
from dsguard.bulk.sealed_lists import without_lists
from dsguard.errors import InputError
from dsguard.formats.arrays.cifar import is_data_alone
from dsguard.formats.arrays.reader import ArraySource
from dsguard.formats.folder.reader import read_or_error
from dsguard.formats.programs.data import A_PROGRAM, OF_ANY_KEY, is_data
from dsguard.keys import DatasetKey

if TYPE_CHECKING:
    from dsguard.bulk.report import Report
    from dsguard.bulk.selection import Selection
    from dsguard.formats.base import Source
    from dsguard.keys import KeySource


def look_for_programs(
    source: Source, selection: Selection, sealed: Container[str], report: Report
) -> None:
    """Report files beside published images that could be programs, and were not sealed as well."""
    own = source.own_companions() if isinstance(source, ArraySource) else ()
    for name in sorted({*source.companions(), *source.left_out()}):
        if name in sealed or is_own(name) or selection.leaves_out(name):
            continue
        if read_or_error(partial(_is_data, source, name, is_own=name in own)) is False:
            report.add_broken(name, InputError(A_PROGRAM))


def without_programs(
    files: Mapping[str, bytes],
    key: DatasetKey | KeySource,
    report: Callable[[str, InputError], None],
) -> dict[str, bytes]:
    """Return files that were sealed beside images, without programs that others can have sealed.

    Whoever has the key of one image, and be it an invented one, can seal under it. `report` gets
    the name of each that could be one, and what to do.
    """
    if isinstance(key, DatasetKey):
        return dict(files)
    programs = {
        name
        for name, data in without_lists(files).items()
        if not (is_data(name, data) or is_data_alone(name, data))
    }
    for name in sorted(programs):
        report(name, InputError(OF_ANY_KEY))
    return {name: data for name, data in files.items() if name not in programs}


def _is_data(source: Source, name: str, *, is_own: bool) -> bool:
    if is_own or source.is_file:
        data = source.read_companion(name)
        return is_data(name, data) or (is_own and is_data_alone(name, data))
    with source.place.open(name) as file:
        return is_data(name, file)
