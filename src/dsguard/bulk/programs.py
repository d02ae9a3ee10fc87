"""Files beside published images that do not come back: anybody can have put them there."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING

from dsguard.bulk.published_files import PublishedFiles
from dsguard.bulk.sealed_fields import is_own
from dsguard.bulk.sealed_files import is_called_sealed
from dsguard.bulk.sealed_lists import without_lists
from dsguard.errors import InputError
from dsguard.formats.arrays.cifar import is_data_alone
from dsguard.formats.arrays.reader import ArraySource
from dsguard.formats.croissant import CROISSANT, is_of_protected
from dsguard.formats.folder.reader import read_or_error
from dsguard.formats.no_images import A_POINTER, is_pointer
from dsguard.formats.programs.data import A_PROGRAM, OF_ANY_KEY, is_data
from dsguard.keys import DatasetKey

if TYPE_CHECKING:
    from dsguard.bulk.report import Report
    from dsguard.bulk.selection import Selection
    from dsguard.formats.base import Source
    from dsguard.keys import KeySource


def look_for_programs(
    source: Source,
    key: DatasetKey | KeySource,
    selection: Selection,
    published: PublishedFiles,
    sealed: Container[str],
    report: Report,
) -> None:
    """Report files beside published images that are not restored, and were not sealed as well."""
    for name, fault in faults_beside(source, key, published, sealed):
        if not selection.leaves_out(name):
            report.add_broken(name, fault)


def faults_beside(
    source: Source,
    key: DatasetKey | KeySource,
    published: PublishedFiles,
    sealed: Container[str],
) -> Iterator[tuple[str, InputError]]:
    """Yield the files beside published images that do not come back, and why.

    Those that were sealed as well are not among them.
    """
    own = source.own_companions() if isinstance(source, ArraySource) else ()
    passed = source.sidecar_files() if isinstance(source, ArraySource) else ()
    for name in sorted({*source.companions(), *source.left_out()}.difference(passed)):
        if name in sealed or is_own(name):
            continue
        data = read_or_error(partial(source.read_companion, name))
        if not isinstance(data, bytes) or (name == CROISSANT and is_of_protected(data)):
            continue
        fault = fault_of_published(name, data, key, published, is_own=name in own)
        if fault and not is_called_sealed(name):
            yield name, fault


def fault_of_published(
    name: str,
    data: bytes,
    key: DatasetKey | KeySource,
    published: PublishedFiles,
    *,
    is_own: bool,
) -> InputError | None:
    """Return why a file beside published images does not come back; None where it does.

    Parameters
    ----------
    name : str
    data : bytes
    key : DatasetKey or KeySource
        With keys of images, others than the owner can make a list: then no programs come back.
    published : PublishedFiles
    is_own : bool
        Whether it is read together with arrays of images.
    """
    if fault := published.fault(name, data):
        return InputError(A_POINTER) if is_pointer(data) else fault
    has_own_key = isinstance(key, DatasetKey)
    if has_own_key and not published.is_field(name):
        return None
    is_plain = is_data(name, data) or (is_own and is_data_alone(name, data))
    return None if is_plain else InputError(A_PROGRAM if has_own_key else OF_ANY_KEY)


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
