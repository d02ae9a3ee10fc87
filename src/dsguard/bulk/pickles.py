"""Pickles beside published images: anybody can put one there, and trainers run it."""

from __future__ import annotations

from collections.abc import Container
from functools import partial
from typing import TYPE_CHECKING

from dsguard.bulk.sealed_files import is_sealed
from dsguard.errors import InputError
from dsguard.formats.folder.reader import read_or_error
from dsguard.formats.loaded import A_PICKLE, is_pickle

if TYPE_CHECKING:
    from dsguard.bulk.report import Report
    from dsguard.bulk.selection import Selection
    from dsguard.formats.base import Source


def look_for_pickles(
    source: Source, selection: Selection, sealed: Container[str], report: Report
) -> None:
    """Report the pickles beside published images that were not sealed as well."""
    for name in source.left_out():
        if name in sealed or is_sealed(name) or selection.leaves_out(name):
            continue
        if read_or_error(partial(_is_pickle, source, name)) is True:
            report.add_broken(name, InputError(A_PICKLE))


def _is_pickle(source: Source, name: str) -> bool:
    if source.is_file:
        return is_pickle(name, source.read_companion(name))
    with source.place.open(name) as file:
        return is_pickle(name, file)
