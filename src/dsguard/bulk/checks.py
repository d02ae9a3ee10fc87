"""Checks of a destination, before anything is written."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from dsguard import _published
from dsguard._published import JOURNAL
from dsguard.bulk.journal import Journal
from dsguard.errors import InputError
from dsguard.formats.images import check_output_format
from dsguard.formats.names import checked, is_hidden, shard_name, some_of
from dsguard.formats.places import LocalPlace, Place, RemotePlace, on_disk, place_of
from dsguard.formats.places.local import is_within
from dsguard.formats.places.spelling import Apart
from dsguard.formats.sink import Output
from dsguard.formats.writers import file_name, output_kind

if TYPE_CHECKING:
    from dsguard.bulk.settings import Settings
    from dsguard.formats.base import Part, Source


def check(source: Source, destination: str | os.PathLike[str], settings: Settings) -> None:
    """Refuse a destination that `run` would refuse, as far as can be told without the task.

    Raises
    ------
    InputError
        If it lies in the source, cannot be made, or has something else in it.
    """
    place = output_of(source, destination, settings).place
    if not settings.overwrite and Journal.of(place).settings() is None:
        check_empty(place)


def output_of(
    source: Source,
    destination: str | os.PathLike[str],
    settings: Settings,
    *,
    publishes: bool = True,
) -> Output:
    """Return where to write and in which formats; refuse what will not do.

    Parameters
    ----------
    source : Source
    destination : path-like or URL
    settings : Settings
    publishes : bool
        Whether a run that publishes is to write there: it may go on with what it has published.

    Raises
    ------
    InputError
        If the destination lies in the source, or in what is published, or cannot be made, or the
        source cannot be written so.
    """
    place = place_of(destination)
    journal = Journal.of(place)
    for each in (place, journal.place):
        _check_apart(source, each)
    check_destination(destination, publishes=publishes)
    journal.check()
    _check_writable(place)
    kind = output_kind(source, settings.out_format)
    image_format = check_output_format(settings.image_format)
    return Output(place, kind, image_format, png_level=settings.png_level)


def _check_writable(place: Place) -> None:
    if not isinstance(place, LocalPlace):
        return
    if place.path.is_file():
        msg = f"the destination {place} is a file; give a folder"
        raise InputError(msg)
    nearest = place.nearest()
    if not (nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)):
        msg = f"the destination {place} cannot be made: {nearest} is not a writable folder"
        raise InputError(msg)


def check_temporary(destination: str | os.PathLike[str] | None) -> None:
    """Refuse a folder for temporary files in a destination: archives are unpacked to it.

    One that has a journal is refused wherever temporary files are made; a new one has none yet.

    Raises
    ------
    InputError
        If it is the destination or lies in it, however that is spelled.
    """
    there = None if destination is None else on_disk(destination)
    if there is not None and is_within(Path(tempfile.gettempdir()), there):
        msg = (
            f"the folder for temporary files lies in the destination {destination}; set TMPDIR to "
            "another one"
        )
        raise InputError(msg)


def check_private(path: Path, what: str, *folders: str | os.PathLike[str] | None) -> None:
    """Refuse a place for a secret, a key or a surrogate, in what is published or was given.

    One that is there already may be of whoever gave the images, who could restore them.

    Raises
    ------
    InputError
        If it lies in one of the folders, however that is spelled, or in what is published.
    """
    for folder in folders:
        there = None if folder is None else on_disk(folder)
        if there is not None and is_within(path, there):
            lies = "lies" if path.exists() else "would lie"
            msg = f"the {what} {lies} in {folder}, and is not secret; give another place, --{what}"
            raise InputError(msg)
    check_unpublished(path, what)


def check_unpublished(
    path: str | os.PathLike[str], what: str, *, may_be_it: bool = False, with_below: bool = False
) -> None:
    """Refuse a place for what is secret, or clean, in a folder that a run protects images into.

    Arguments are those of `_published.check_unpublished`, and URLs: places that are reached by
    fsspec are not looked at.

    Raises
    ------
    InputError
        If it is such a folder or lies in one, however that is spelled.
    """
    if (there := on_disk(path)) is not None:
        _published.check_unpublished(there, what, may_be_it=may_be_it, with_below=with_below)


def check_destination(destination: str | os.PathLike[str], *, publishes: bool) -> None:
    """Refuse a destination in what is published: a run that publishes may go on with its own.

    One that restores has no published folder below it either.

    Raises
    ------
    InputError
        If it lies there.
    """
    check_unpublished(destination, "destination", may_be_it=publishes, with_below=not publishes)


def check_empty(place: Place) -> None:
    """Refuse a place that has files in it, or links, but for hidden ones of tools."""
    if not place.exists(""):
        return
    found = place.listing()
    seen = (name for name in (*found.files, *found.refused) if not is_hidden(name))
    if there := [*seen, *place.hidden_files(found)]:
        msg = (
            f"{place} is not empty ({some_of(there[:1])} lies there) and was not begun by dsguard; "
            "choose another destination or add --overwrite"
        )
        raise InputError(msg)


def _check_apart(source: Source, destination: Place) -> None:
    """Refuse a destination, or a journal, that the source lies in, or that lies in the source."""
    here, there = _uncached(source.place), _uncached(destination)
    inside = there.lies_in(here) and not source.is_file
    if inside or here.lies_in(there):
        msg = (
            f"source and destination, and the journal beside that (*{JOURNAL}), must not lie in "
            "each other; choose another destination"
        )
        raise InputError(msg)


def _uncached(place: Place) -> Place:
    """Return the place that a cache, or the like, stands before."""
    if not isinstance(place, RemotePlace) or "::" not in place.url:
        return place
    return place_of(place.url.rpartition("::")[2])


def check_files(output: Output, source: Source, parts: list[Part]) -> None:
    """Refuse parts of which two would come out as one file."""
    if output.kind == "folder" and source.kind == "webdataset":
        names = Counter(shard_name(part.file) for part in parts)
    else:
        names = Counter(file_name(output.kind, part, number) for number, part in enumerate(parts))
    apart = Apart(output.place)
    for name in filter(None, names):
        other = apart.other(checked(name))
        if other or names[name] > 1:
            alike = f"{other} and {name}, one file to {output.place}" if other else name
            msg = f"two files of {source} would come out as {alike}; rename one of them"
            raise InputError(msg)
