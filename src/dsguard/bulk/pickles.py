"""Pickles beside published images: anybody can put one there, and trainers run it."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from functools import partial
from typing import TYPE_CHECKING

from dsguard.bulk.sealed_files import is_sealed
from dsguard.errors import InputError
from dsguard.formats.arrays.cifar import is_data_alone
from dsguard.formats.folder.reader import read_or_error
from dsguard.formats.loaded import A_PICKLE, OF_ANY_KEY, is_pickle
from dsguard.keys import DatasetKey

if TYPE_CHECKING:
    from dsguard.bulk.report import Report
    from dsguard.bulk.selection import Selection
    from dsguard.formats.base import Source
    from dsguard.keys import KeySource


def look_for_pickles(
    source: Source, selection: Selection, sealed: Container[str], report: Report
) -> None:
    """Report the pickles beside published images that were not sealed as well."""
    for name in source.left_out():
        if name in sealed or is_sealed(name) or selection.leaves_out(name):
            continue
        if read_or_error(partial(_is_pickle, source, name)) is True:
            report.add_broken(name, InputError(A_PICKLE))


def without_pickles(
    files: Mapping[str, bytes],
    key: DatasetKey | KeySource,
    report: Callable[[str, InputError], None],
) -> dict[str, bytes]:
    """Return files that were sealed beside images, without the pickles that others can have sealed.

    Whoever has the key of one image, and be it an invented one, can seal under it. `report` gets
    the name of each pickle, and what to do.
    """
    if isinstance(key, DatasetKey):
        return dict(files)
    pickles = {
        name
        for name, data in files.items()
        if is_pickle(name, data) and not is_data_alone(name, data)
    }
    for name in sorted(pickles):
        report(name, InputError(OF_ANY_KEY))
    return {name: data for name, data in files.items() if name not in pickles}


def _is_pickle(source: Source, name: str) -> bool:
    if source.is_file:
        return is_pickle(name, source.read_companion(name))
    with source.place.open(name) as file:
        return is_pickle(name, file)
