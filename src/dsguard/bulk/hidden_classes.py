"""Classes that are not published: the pictures of protected images tell nothing of them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from dsguard.bulk.protecting import Protect
from dsguard.bulk.tasks import Task
from dsguard.errors import InputError
from dsguard.formats.arrays.reader import NumpySource
from dsguard.formats.disclosure import Account, ClassPlace, Disclosure
from dsguard.formats.folder.reader import TreeSource

if TYPE_CHECKING:
    from dsguard.formats.base import Source

_SHOWN = (
    "the class of the images ({}) is not published, and this cover would show it in their "
    "pictures; take cover blank or preview, or publish the class"
)


def shows_class(task: Task, source: Source, kind: str) -> bool:
    """Tell whether pictures tell classes, which an output of this format may not have.

    In another format than that of the source, they become folders, columns or fields.
    """
    return isinstance(task, Protect) and task.cover.needs_labels and _is_same(source, kind)


def without_hidden_class(
    task: Task, source: Source, kind: str, disclosure: Disclosure | None, told: Account | None
) -> Task:
    """Return a task whose cover needs no class that its owner drops, or leaves unnamed.

    Parameters
    ----------
    task : Task
    source : Source
    kind : str
        The format that it is written in.
    disclosure : Disclosure or None
    told : Account or None
        Gets a class that is dropped, and that another format has all the same.

    Raises
    ------
    InputError
        If the cover cannot do without.
    """
    hidden = hidden_classes(source, kind, disclosure)
    if not hidden:
        return task
    if told is not None and not _is_same(source, kind) and source.kind != "parquet":  # it tells it
        told.name_class(hidden[0].name)
    if not (isinstance(task, Protect) and task.cover.needs_labels):
        return task
    cover = task.cover.without_labels()
    if cover is None:
        raise InputError(_SHOWN.format(hidden[0].name))
    return replace(task, cover=cover, class_names=())


def check_hidden(source: Source, kind: str, disclosure: Disclosure) -> None:
    """Raise InputError where there are such classes, before a network is trained on them."""
    for place in hidden_classes(source, kind, disclosure)[:1]:
        raise InputError(_SHOWN.format(place.name))


def hidden_classes(source: Source, kind: str, disclosure: Disclosure | None) -> list[ClassPlace]:
    """Return where the classes lie that an owner drops, or leaves unnamed where that counts."""
    if disclosure is None or not (disclosure.drop or disclosure.only_named):
        return []
    account, is_same = Account(disclosure), _is_same(source, kind)
    return [
        place
        for place in source.class_places()
        if account.drops_class(place) or (is_same and _is_held(place, account))
    ]


def _is_held(place: ClassPlace, account: Account) -> bool:
    """Tell whether classes are in something that goes along as a whole or not at all."""
    is_whole = not place.key and not place.is_named
    return account.is_strict and is_whole and not account.says(place.file)


def _is_same(source: Source, kind: str) -> bool:
    """Tell whether a source is written in the format that it has."""
    return kind == ("folder" if isinstance(source, TreeSource) else source.kind)


def files_with_classes(source: Source) -> set[str]:
    """Return the files beside those with images, in which classes lie."""
    if isinstance(source, NumpySource):
        return source.read_as_classes() - {""}
    places = source.class_places() if isinstance(source, TreeSource) else ()
    return {place.file for place in places if not place.key}


def loses_classes(source: Source, name: str, whole: bytes, published: bytes | None) -> bool:
    """Tell whether a list of images is published without all of its classes."""
    if published is None or published == whole or not isinstance(source, TreeSource):
        return False
    return source.classes_in(name, published) != source.classes_in(name, whole)
