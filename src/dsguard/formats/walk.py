"""The walk over values of JSON, tables and pickles, which prunes what could hold a picture."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from dsguard.formats.allowance import (
    BOXES,
    SHAPES,
    SHORT_ROW,
    Allowance,
    CouldHoldPictureError,
    TooMuchError,
)
from dsguard.formats.class_maps import check_classes, strings_of
from dsguard.formats.disclosure import Account, kind_of
from dsguard.formats.drawings import is_path
from dsguard.formats.harmless import charge_string
from dsguard.formats.images import is_image_name
from dsguard.formats.limits import id_key
from dsguard.formats.named_images import NamedImages, allowance_of
from dsguard.formats.number_lists import charge_numbers
from dsguard.formats.pairs import text_of
from dsguard.formats.pixels import BOX_NAMES, pixels_in_object
from dsguard.formats.plain_arrays import check_filled, check_spelled
from dsguard.formats.rows import RowGroups, check_rows
from dsguard.formats.strings import A_DRAWING, check_name, size_of_scalar, size_of_string
from dsguard.formats.texts import decoded
from dsguard.formats.words import (
    count_of,
    extra_of_row,
    is_number,
    long_in,
    numbers_in,
    words_of,
)

if TYPE_CHECKING:
    import numpy.typing as npt

_DIGITS = re.compile(r"\d+")
_MOST_DIGITS = 19  # of 64 bits
_DRAWN = re.compile(r"(?i)/[^/]*(?:stroke|drawing|\bink)[^/]*/")  # points below are no outlines
_DRAWING = re.compile(
    r"(?i)(?:^|/)(?:\w{1,20}_)?(?:drawings?|strokes?|ink|bitmaps?|glyphs?|bits)(?:_(?:data|points|xy))?"
    r"(?:/(?:points?|path|coord(?:inate)?s|xs?|ys?|xy))?$"
)
"""Names of drawings, whose points or bits are the picture: these alone, with nothing told of them.
"""
_A_DRAWING = "is of a drawing, by its name: its points or bits are the picture"
_IDS = frozenset({"id", "image_id", "category_id", "iscrowd"})


class Walk:
    """Goes through objects and lists, and replaces with None what could hold a picture."""

    def __init__(
        self, account: Account, images: NamedImages, of_all: Allowance, by_image: bool
    ) -> None:
        self._account, self._images = account, images
        self._of_all, self._by_image = of_all, by_image
        self._allowances: dict[str, Allowance] = {}
        self._ids: dict[Any, str] = {}
        self._rows = RowGroups()
        self._file = ""
        self._blanks: dict[Any, type] = {}
        self._points: dict[int, int] = {}

    def pruned(self, value: Any, name: str) -> Any:
        """Return a value without what could hold a picture.

        Raises
        ------
        TooMuchError
            If what is left is still too much.
        """
        self._file, self._points = name, {}
        if self._by_image and isinstance(value, dict) and isinstance(value.get("images"), list):
            self._ids = {
                id_key(image["id"]): owner
                for image in value["images"]
                if isinstance(image, dict)
                and isinstance(image.get("id"), int | str)
                and (owner := self._owner_in(image))
            }
        return self._any(value, name, "")

    def _any(self, value: Any, name: str, owner: str) -> Any:
        try:
            if _says_something(value):
                check_name(name.rpartition("/")[2])
            self._check_drawing(value, name)
            if isinstance(value, dict):  # an empty one costs nothing
                return value and self._object(value, name, self._owner_in(value) or owner)
            if isinstance(value, np.ndarray):
                self._array(value, owner)
                return value
            if isinstance(value, list | tuple):
                return self._list(value, name, owner)
            if isinstance(value, str | bytes):
                text = decoded(value) if isinstance(value, bytes) else value
                if not self._images.is_name(text):
                    charge_string(text, self._allowance(owner))
                    self._add_row(text, name, owner)
            else:
                self._allowance(owner).take(*size_of_scalar(value))
        except TooMuchError:
            raise
        except CouldHoldPictureError as error:
            kind = kind_of(name) if name == self._file else name.rpartition("/")[2]
            self._account.leave_out(kind, name, str(error))
            return None
        return value

    def _list(self, value: list[Any] | tuple[Any, ...], name: str, owner: str) -> Any:
        """Return a list without what could hold a picture; None where most of it could."""
        allowance = self._allowance(owner)
        if _is_map(value):  # whose numbers are one row, as those of an object
            allowance.take_row(sum(count_of(each) for _, each in value))
        last = name.rpartition("/")[2]
        shape = last if last in SHAPES and not _DRAWN.search(name) else ""
        boxes = last in BOX_NAMES
        if charge_numbers(list(value), allowance, shape=shape, boxes=boxes):
            return value
        numbers = sum(map(count_of, value))
        allowance.take_row(numbers)
        allowance.take_large(numbers, extra_of_row(value))
        allowance.take_blanks(sum(map(_is_blank, value)))
        check_rows(" ".join(strings_of(each)) for each in value)
        check_classes(value)
        kept = [self._any(each, name, owner) for each in value]
        lost = sum(new is None for new in kept) - sum(each is None for each in value)
        return None if 2 * lost > len(kept) else type(value)(kept)

    def _check_drawing(self, value: Any, name: str) -> None:
        """Refuse the data of a path, and points of what is called a drawing."""
        if value is None or isinstance(value, int | float):  # most values of large lists
            return
        if isinstance(value, list | tuple) and is_path(value):
            raise CouldHoldPictureError(A_DRAWING)
        if _DRAWING.search(self._inner(name)) and _points_in(value, self._points) > SHORT_ROW:
            raise CouldHoldPictureError(_A_DRAWING)

    def _inner(self, name: str) -> str:
        """Return the keys that lead to a value; those of a column begin with its name."""
        is_column = "." not in self._file.rpartition("/")[2]
        return name if is_column else name.removeprefix(self._file)

    def _add_row(self, text: str, name: str, owner: str) -> None:
        """Add a string about an image to those of its key, and to those of its object.

        Raises
        ------
        TooMuchError
            If they could be the rows of a picture.
        """
        place, _, key = name.rpartition("/")
        try:
            for group in (f"{place}/", _DIGITS.sub("", key)):  # row0, row1, ...
                self._rows.add((owner, group), text)
        except CouldHoldPictureError as error:
            raise TooMuchError(str(error)) from error

    def _object(self, value: dict[Any, Any], name: str, owner: str) -> dict[Any, Any]:
        numbers = [key for key, each in value.items() if is_number(each) and not _is_id(key, each)]
        self._allowance(owner).take_ids(sum(_is_id(key, each) for key, each in value.items()))
        of_images = [str(key) for key in numbers if self._is_image(key)]
        for image in of_images:
            self._allowance(image).take_row(1)
        own = len(numbers) - len(of_images)
        self._allowance(owner).take_rest(long_in(value[key] for key in numbers))
        self._allowance(owner).take_line(own, alone=own == len(value))
        self._allowance(owner).take_large(own, extra_of_row(value[key] for key in numbers))
        self._allowance(owner).take_pixels(pixels_in_object(value, name.rpartition("/")[2]))
        self._take_changes(value, owner)
        if self._allowance(owner) is not self._images.of_all:
            check_classes(value.values())  # others may have a label for each image
        found: dict[Any, Any] = {}
        for key, each in value.items():
            below = f"{name}/{text_of(key)}"
            said = self._account.says_of(name, text_of(key))
            if said is False:
                continue
            if self._is_image(key):
                if not self._images.is_path(key):
                    self._allowance(owner).take(0, size_of_string(key))
                found[key] = each if said else self._any(each, below, str(key))
                continue
            if not _is_usual(key):
                self._allowance(owner).take(0, size_of_string(text_of(key)))
            free = said or _is_id(key, each)
            found[key] = each if free else self._any(each, below, owner)
        return found

    def _take_changes(self, value: dict[Any, Any], owner: str) -> None:
        """Charge the keys of an object that are empty in another way than they were before."""
        for key, each in value.items():
            if _is_blank(each):
                kind = type(each)
                if self._blanks.setdefault(key, kind) is not kind:
                    self._blanks[key] = kind
                    self._allowance(owner).take_blanks(1)

    def _array(self, array: npt.NDArray[Any], owner: str) -> None:
        if array.dtype.kind not in "biuf" or array.size > BOXES:
            msg = f"is an array of {array.size} values of type {array.dtype}"
            raise CouldHoldPictureError(msg)
        check_filled(array.dtype)
        check_spelled(array)
        charge_numbers(np.atleast_1d(array).tolist(), self._allowance(owner))

    def _allowance(self, owner: str) -> Allowance:
        if not owner:
            return self._of_all
        return self._allowances.setdefault(self._images.account_of(owner), allowance_of(owner))

    def _owner_in(self, value: dict[Any, Any]) -> str:
        """Return the image that an object is about; empty where it does not say."""
        if not self._by_image:
            return ""
        known = value.get("image_id")
        if isinstance(known, int | str) and (owner := self._ids.get(id_key(known))):
            return owner
        strings = [each for each in value.values() if isinstance(each, str)]
        named = [each for each in strings if self._is_image(each)]
        whole = (each for each in named if is_image_name(each, of_any_kind=True))
        return next(whole, named[0] if named else "")  # an id may be like a name without its suffix

    def _is_image(self, key: Any) -> bool:
        return self._by_image and isinstance(key, str) and self._images.is_image(key)


def _points_in(value: Any, known: dict[int, int]) -> int:
    """Return how many numbers a value has, at any depth; 0 where there are words among them.

    `known` has those of lists and objects that were looked at, by their place in memory.
    """
    if isinstance(value, dict | list | tuple):
        if id(value) not in known:
            inner = value.values() if isinstance(value, dict) else value
            found = [_points_in(each, known) for each in inner if _says_something(each)]
            known[id(value)] = sum(found) if all(found) else 0
        return known[id(value)]
    if isinstance(value, np.ndarray):
        return value.size
    if isinstance(value, str):
        return 0 if any(map(str.isalpha, words_of(value))) else numbers_in(value)
    return count_of(value)


def _is_map(value: Any) -> bool:
    """Tell whether a list has the entries of a map of Arrow."""
    return all(type(each) is tuple and len(each) == 2 for each in value)


def _is_blank(value: Any) -> bool:
    """Tell whether a value is empty, or null."""
    return value is None or (isinstance(value, str | bytes | dict | list | tuple) and not value)


def _says_something(value: Any) -> bool:
    if isinstance(value, str | bytes | dict | list | tuple):
        return bool(value)
    return value is not None and not isinstance(value, bool)


def _is_id(key: Any, value: Any) -> bool:
    """Tell whether a number only counts things, as in COCO."""
    if isinstance(value, str):
        return key in _IDS and value.isdecimal() and len(value) <= _MOST_DIGITS
    return key in _IDS and isinstance(value, int) and is_number(value)


def _is_usual(key: Any) -> bool:
    usual = isinstance(key, str) and len(key) <= 32 and key.isidentifier()
    return usual and len(_DIGITS.findall(key)) <= 1  # places of a grid have two numbers
