"""The Croissant document of a protected dataset: written last, once all its files are there."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from dsguard.errors import InputError
from dsguard.formats import croissant
from dsguard.formats.croissant import CROISSANT, MOST_LISTED, Facts
from dsguard.formats.disclosure import A_KEY, NOT_CHOSEN
from dsguard.formats.images import is_image_name

if TYPE_CHECKING:
    from dsguard.bulk.companions import Companions
    from dsguard.bulk.report import Report
    from dsguard.formats.others import Others
    from dsguard.formats.places import Place

_AT_ONCE = 1 << 20
_OF_ANOTHER_KIND = (
    "is no Croissant document, and no new one is written in its place; mend it, rename it, or take "
    "--drop croissant.json"
)
_IN_PART = (
    "has records, numbers or texts in it that could hold a picture, or are too many; the rest goes "
    "along"
)


def write_croissant(
    companions: Companions, written: set[str], report: Report, *, wanted: bool, access: str
) -> set[str]:
    """Write the document, that of the source mended or a new one; return its name.

    Parameters
    ----------
    companions : Companions
        Those of the run, copied.
    written : set of str
        All files that the run has written.
    report : Report
    wanted : bool
        Whether there is to be one where the source has none.
    access : str
        Where the key is to be had.
    """
    original, review = companions.croissant, companions.review
    is_named = original is None or review.account.says(CROISSANT)
    if not is_named and review.account.withholds(CROISSANT, CROISSANT):
        original = None
    if original is None and not (wanted or access):
        return set()
    if original is None and CROISSANT in companions.wanted:  # that of the source is no document
        report.add_broken(CROISSANT, InputError(_OF_ANOTHER_KIND))
        return set()
    place = companions.destination.output.place
    names = sorted(name for name in written if name != CROISSANT and place.exists(name))
    images = [name for name in names if is_image_name(name)]
    listed = names if len(images) <= MOST_LISTED else [n for n in names if not is_image_name(n)]
    files = {name: _facts_of(place, name) for name in listed}
    if original is None:
        title = str(place).rstrip("/").rpartition("/")[2]
        data = croissant.new(title, files, images, access)
    else:
        whole = bool(review.account.says(CROISSANT))
        new_name = companions.new_name
        data, is_cut = croissant.mended(original, files, images, new_name, access, whole=whole)
        if is_cut and not companions.seals:
            review.account.leave_out(CROISSANT, CROISSANT, _IN_PART)
        if not whole and companions.chosen.others and _tells_of(companions.chosen.others, data):
            review.account.left_out.pop(CROISSANT, None)  # that it is not sealed as it was
            review.account.leave_out(CROISSANT, CROISSANT, NOT_CHOSEN)
            return set()
    if review.drops.holds_key(data):
        review.account.leave_out(CROISSANT, CROISSANT, A_KEY)
        return set()
    return {CROISSANT} if companions.write(CROISSANT, data, report) else set()


def _tells_of(others: Others, data: bytes) -> bool:
    """Tell whether a document names other images, but by the names of what is published."""
    document = json.loads(data)
    items = document.pop("distribution")
    known = {text for item in items for text in _scalars(item)}
    return any(others.are_named_in(text) for text in _scalars(document) if text not in known)


def _scalars(value: Any) -> Iterator[str]:
    """Yield the keys, strings and numbers of JSON."""
    if isinstance(value, dict):
        yield from value
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from _scalars(each)
    else:
        yield str(value)


def _facts_of(place: Place, name: str) -> Facts:
    digest, size = hashlib.sha256(), 0
    with place.open(name) as file:
        while piece := file.read(_AT_ONCE):
            digest.update(piece)
            size += len(piece)
    return Facts(size, digest.hexdigest())
