"""Files in which something of images is sealed, and that were not given with them.

Whoever restores a part of what was published, a folder of it or one shard, has the images. The
file ``sealed-files.dsguard`` of the whole lies above, or beside the shard.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from dsguard.bulk.sealed_fields import pieces_in, pieces_of
from dsguard.bulk.sealed_files import MOST_BYTES, SEALED_FILES, opened_archive, sealed_in
from dsguard.bulk.sealed_lists import PUBLISHED, without_lists
from dsguard.errors import DsguardError, InputError, NoKeysError, WrongKeyError
from dsguard.formats import png
from dsguard.formats.archive import ArchiveSource
from dsguard.formats.beside import stem_of
from dsguard.formats.no_images import is_pointer
from dsguard.formats.places import LocalPlace, Place, RemotePlace, real_path
from dsguard.formats.sealing import has_sealed

if TYPE_CHECKING:
    from dsguard.formats.base import Source
    from dsguard.keys import DatasetKey, KeySource

_ABOVE = "lies above, and holds what belongs to these images; give {} and --include"
_BESIDE = "lies beside it, and holds what belongs to these images; give {}"
_OF_LINK = "lies beside {}, and holds what belongs to these images; give that, and not a link to it"
_UNREAD = "lies {}, cannot be read, and may hold what belongs to these images; get a whole copy"
_FOLDERS_ABOVE = 3
"""In which a file that cannot be read may be of this set; one that opens tells it."""


def sealed_elsewhere(source: Source, key: DatasetKey | KeySource) -> dict[str, str]:
    """Return these files, and what is to be done about each.

    Of those that cannot be read nobody knows.
    """
    if sealed_in(source):
        return {}
    found = _beside_target(source) if source.is_file else {}
    places = _beside(source) if source.is_file else _above(source.place)
    has_pieces = bool(pieces_in(source))  # shards have their own
    for number, (place, below) in enumerate(places):
        try:
            if not has_sealed(place, SEALED_FILES):
                continue
            data = _read(place)
            if not (isinstance(place, LocalPlace) or _could_be(data)):
                continue  # some servers have something for any name
            files = opened_archive(data, key)[1]
            names = without_lists(files)
            is_listed = PUBLISHED in files and bool(source.companions())
        except (WrongKeyError, NoKeysError):  # of another set, as it seems
            continue
        except (DsguardError, OSError):
            if number < _FOLDERS_ABOVE and not has_pieces:
                where = "beside it" if source.is_file else "above"
                found[f"{place}/{SEALED_FILES}"] = _UNREAD.format(where)
            continue
        if source.is_file and _are_beside(names, source):
            found[f"{place}/{SEALED_FILES}"] = _BESIDE.format(place)
        elif not source.is_file and (is_listed or any(each.startswith(below) for each in names)):
            found[f"{place}/{SEALED_FILES}"] = _ABOVE.format(place)
    return found


def _above(place: Place) -> Iterator[tuple[Place, str]]:
    """Yield the folders above a place, and how names below them begin that are in it."""
    if isinstance(place, RemotePlace):
        below = ""
        while not place.is_root():
            url, _, last = place.url.rstrip("/").rpartition("/")
            if url.endswith(":/"):  # above is the store itself
                return
            place, below = RemotePlace(url), f"{last}/{below}"
            yield place, below
    elif isinstance(place, LocalPlace):
        for here in dict.fromkeys((place.path.absolute(), real_path(place.path))):  # by a link
            for folder in here.parents:
                yield LocalPlace(folder), f"{here.relative_to(folder).as_posix()}/"


def _beside(source: Source) -> Iterator[tuple[Place, str]]:
    """Yield the folder of a file, and of that which it is a link to."""
    yield source.place, ""
    for folder in dict.fromkeys(target.parent for target in _targets(source)):
        yield LocalPlace(folder), ""


def _beside_target(source: Source) -> dict[str, str]:
    """Return the first piece beside that which a link to a shard leads to, if it has none here."""
    found: dict[str, str] = {}
    for target in () if pieces_in(source) else _targets(source):
        start, end = pieces_of(target.name, 0)
        piece = target.parent / f"{start}.0.{end}"
        if piece.is_file():
            found[str(piece)] = _OF_LINK.format(target)
    return found


def _targets(source: Source) -> Iterator[Path]:
    """Yield that which the files of a source lead to, where they are links to other folders."""
    if isinstance(source.place, LocalPlace):
        here = real_path(source.place.path)
        for file in [source.file] if isinstance(source, ArchiveSource) else source.shards():
            target = real_path(here / file)
            if target.parent != here:
                yield target


def _are_beside(names: dict[str, bytes], source: Source) -> bool:
    """Tell whether some files have the names of images of a source, but for their suffix."""
    own = {stem_of(name) for name in source.names()}
    return any(stem_of(name) in own for name in names)


def _read(place: Place) -> bytes:
    """Return the file in which files are sealed in a place, or as much as tells that it is none."""
    if isinstance(place, LocalPlace) and not place.has_file(SEALED_FILES):
        msg = "is no file"  # but a pipe or a terminal, which may never end
        raise InputError(msg)
    with place.open(SEALED_FILES) as file:
        return file.read(2 * MOST_BYTES)


def _could_be(data: bytes) -> bool:
    """Tell whether a file may be what its name says: an image, or a pointer to it."""
    return data.startswith(png.SIGNATURE) or is_pointer(data)
