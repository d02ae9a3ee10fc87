"""The review of what lies beside protected images, in every format: what of it is published.

Numbers, short strings, boxes and the like go along. Whatever could hold a picture is left out and
named, until the owner decides.
"""

from __future__ import annotations

import contextlib
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from dsguard.formats.allowance import (
    BOXES,
    LABELS,
    ROW,
    SHORT_ROW,
    STRING,
    Allowance,
    CouldHoldPictureError,
)
from dsguard.formats.beside import is_text_field
from dsguard.formats.class_maps import check_classes
from dsguard.formats.disclosure import A_KEY, NOT_CHOSEN, Account, Disclosure, kind_of
from dsguard.formats.drops import Drops
from dsguard.formats.harmless import charge_text
from dsguard.formats.json_files import lines_of, values_of
from dsguard.formats.named_images import NamedImages
from dsguard.formats.names import CLASS_NAME
from dsguard.formats.plain_arrays import check_filled, check_spelled, is_one_hot
from dsguard.formats.rows import ROWS, are_rows, check_rows
from dsguard.formats.strings import check_class, check_name, size_of_scalar, size_of_string
from dsguard.formats.texts import decoded, json_of, parsed
from dsguard.formats.walk import Walk
from dsguard.formats.words import PLACE, count_of, extra_of_row, is_number, numbers_in

if TYPE_CHECKING:
    import numpy.typing as npt

    from dsguard.formats.drops import Reader
    from dsguard.formats.others import Others
    from dsguard.keys import DatasetKey

    Fields = dict[str, bytes]


class Review:
    """Decides on everything beside some images.

    Parameters
    ----------
    disclosure : Disclosure
    names : collection of str
        Images of the dataset, where text files tell of them by name.
    key : DatasetKey, optional
        Of the dataset, which is not published in any form.
    readers : dict of str to Reader, optional
        By suffix, what reads files that are no text, to drop what is in them.

    Attributes
    ----------
    account : Account
        The decisions of the owner, and what is left out.
    drops : Drops
        What goes to nobody.
    others : callable or None
        Return the images that were not chosen, where there may be any.
    """

    others: Callable[[], Others] | None = None

    def __init__(
        self,
        disclosure: Disclosure,
        names: Collection[str] = (),
        key: DatasetKey | None = None,
        readers: Mapping[str, Reader] | None = None,
    ) -> None:
        self.account = Account(disclosure)
        self.drops = Drops(self.account, key, readers)
        self._images = NamedImages(names)
        self._of_arrays: dict[str, Allowance] = defaultdict(Allowance)

    def fields(self, stem: str, fields: Fields) -> Fields:
        """Return those fields of an image that go along; they share one allowance.

        Parameters
        ----------
        stem : str
            The name of the image but for its suffix, or of its sample.
        fields : dict of str to bytes
            By suffix.
        """
        allowance = Allowance()
        found: Fields = {}
        rows = self._rows_in(stem, fields)
        for suffix, data in fields.items():
            name, kind = f"{stem}.{suffix}", f"*.{suffix}"
            if suffix in rows:
                reason = f"is one of {len(rows)} texts that are like the rows of a picture"
                self.account.leave_out(kind, name, reason)
                continue
            is_class = suffix == CLASS_NAME or (suffix == "cls" and self.account.is_strict)
            is_class = is_class and _is_short(data) and not self.drops.holds_key(data)
            if is_class and self.account.says(name) is not False:
                found[suffix] = data
                continue
            if not is_text_field(suffix) and self.account.says(name) is None:
                is_key = self.account.seals and self.drops.holds_key(data)
                reason = A_KEY if is_key else "is of a kind that is not known as text"
                self.account.leave_out(kind, name, reason)
                continue
            kept = self._content(name, kind, data, allowance)
            if kept is not None:
                found[suffix] = kept
        return found

    def _rows_in(self, stem: str, fields: Fields) -> Collection[str]:
        """Return the fields of one line each that could be the rows of a picture together."""
        lines = {
            suffix: data.decode("utf-8", "replace")
            for suffix, data in fields.items()
            if ROWS <= len(data) <= STRING and is_text_field(suffix)
            if self.account.says(f"{stem}.{suffix}") is None
        }
        return lines if len(lines) >= ROWS and are_rows(lines.values()) else ()

    def file(self, name: str, data: bytes) -> bytes | None:
        """Return the content with which a text file goes along, None where it does not."""
        kept = self._content(name, kind_of(name), data, self._images.of_file(name))
        if kept is not None and self._tells_of_others(name, kept):
            self.account.leave_out(kind_of(name), name, NOT_CHOSEN)
            return None
        return kept

    def _tells_of_others(self, name: str, data: bytes) -> bool:
        """Tell whether a text of no image may tell of images that were not chosen."""
        if self.others is None or self.account.says(name):
            return False
        return self.others().are_told_by(name, decoded(data))

    def row_of_table(self, row: dict[str, Any]) -> Allowance:
        """Charge the numbers of a row to the image that it names; return its allowance."""
        words = [each for each in row.values() if isinstance(each, str)]
        allowance = self._images.allowance_of_line(words)
        numbers = sum(map(count_of, row.values()))
        allowance.take_line(numbers, alone=True)
        allowance.take_large(numbers, extra_of_row(row.values()))
        allowance.take(numbers, 0)
        return allowance

    def content(self, name: str, value: Any) -> Any:
        """Return a value of a file that is no text, pruned; None where it does not go along."""
        if self.account.withholds(name.rpartition("/")[2], name):
            return None
        return self.row(name, value, self._images.of_all)

    def row(self, name: str, value: Any, allowance: Allowance, *, alone: bool = False) -> Any:
        """Return one value of a column, None where it could hold a picture.

        The numbers of a table are charged together, by `row_of_table`, but for one that is `alone`.
        """

        def judged() -> Any:
            if self.drops.is_key(value):
                raise CouldHoldPictureError(A_KEY)
            if alone:
                _charge_alone(value, allowance)
            return self._pruned(self.drops.undropped(name, value), name, allowance)

        return self._judged(name, name.rpartition("/")[2], judged)

    def array(
        self,
        file: str,
        array_name: str,
        array: npt.NDArray[Any],
        counts: Collection[int],
        read: Callable[[], npt.NDArray[Any]] | None = None,
        *,
        has_classes: bool = False,
    ) -> bool:
        """Tell whether an array goes along.

        Parameters
        ----------
        file : str
            Where it lies: images have one allowance over all arrays of a file.
        array_name : str
        array : ndarray
        counts : collection of int
            Of images in the arrays beside it: one of so many rows is about them.
        read : callable, optional
            Gives the content, where `array` has the shape alone: it is looked at last.
        has_classes : bool
            Whether these are the classes of images, which need not be named.
        """
        name = f"{file}/{array_name}" if file else array_name
        said = self.account.says_of(file, array_name) if file else self.account.says(name)
        if said is False or self.drops.has_dropped(name, array):
            return False
        is_open = said is not None or has_classes
        if not is_open and self.account.withholds(array_name.rpartition("/")[2], name):
            return False
        try:
            check_filled(array.dtype)
            if said is None:
                size_of_string(array_name)
                check_name(array_name)
                self._charge_array(array, counts, self._of_arrays[file])
            whole = np.ascontiguousarray(read() if read else array)
            if said is None:
                check_spelled(whole)
                self._charge_bits(whole, counts, self._of_arrays[file])
            if self.drops.holds_key(whole.reshape(-1).view(np.uint8).data):
                raise CouldHoldPictureError(A_KEY)
        except CouldHoldPictureError as error:
            self.account.leave_out(array_name.rpartition("/")[2], name, str(error))
            return False
        return True

    def left_of(self, file: str) -> Allowance:
        """Return what each image has left beside the arrays of a file."""
        return replace(self._of_arrays[file])

    def _charge_array(
        self, array: npt.NDArray[Any], counts: Collection[int], each_image: Allowance
    ) -> None:
        """Charge an array to the allowance that each image has over all arrays of a file.

        Where there are few images, long rows could as well be those of one picture.
        """
        rows = len(array) if array.ndim else 0
        width = array.size // rows if rows else array.size
        about_images = rows in counts and rows > 0 and (width <= LABELS or rows > BOXES)
        allowance, numbers = self._images.of_all, array.size
        if about_images:
            allowance, numbers = each_image, width
        if array.dtype.kind in "SU":
            if numbers > ROW:
                msg = f"is an array of {numbers} strings for {_whom(about_images)}"
                raise CouldHoldPictureError(msg)
            texts = array.reshape(-1).tolist()
            for start in range(0, len(texts), numbers) if numbers >= ROWS else ():
                check_rows(map(str, texts[start : start + numbers]))
            sizes = [size_of_scalar(text)[1] for text in texts]
            most = max((numbers_in(str(text)) for text in texts), default=0)
            if most > 1 and most * numbers > ROW:
                msg = f"is an array of strings of {most} numbers"
                raise CouldHoldPictureError(msg)
            allowance.take(0, max(sizes, default=0) * numbers)
            return
        if array.dtype.kind not in "biufmM" or array.ndim > 2:
            msg = f"is an array of {array.ndim} dimensions and type {array.dtype}"
            raise CouldHoldPictureError(msg)
        if rows in counts and is_one_hot(array):
            allowance, numbers = each_image, 1
        if numbers > ROW:
            msg = f"is an array of {numbers} numbers for {_whom(about_images)}"
            raise CouldHoldPictureError(msg)
        allowance.take_row(numbers)
        allowance.take(numbers, 0)

    def _charge_bits(
        self, array: npt.NDArray[Any], counts: Collection[int], each_image: Allowance
    ) -> None:
        """Charge the rows of an array as rows of bits, by that which counts as the most."""
        is_about_images = array.ndim == 2 and len(array) in counts
        rows = array if is_about_images else array.reshape(1, -1)
        if array.dtype.kind not in "iu" or rows.shape[1] <= SHORT_ROW:
            return
        large = ((rows >= 1 << PLACE) | (rows <= -(1 << PLACE))).sum(axis=1) >= ROWS
        most = max(map(extra_of_row, rows[large].tolist()), default=0)  # others are none
        (each_image if is_about_images else self._images.of_all).take_large(rows.shape[1], most)

    def _content(self, name: str, kind: str, data: bytes, own: Allowance | None) -> bytes | None:
        if self.drops.holds_key(data):
            self.account.leave_out(name.rpartition("/")[2], name, A_KEY)
            return None
        said = self.account.says(name)
        left = None if said is False else self.drops.without_dropped(name, data, sealing=False)
        if said is not None or left is None:
            return left
        if self.account.withholds(kind, name):
            return None
        result = self._judged(name, kind, lambda: self._reviewed(name, left, own))
        return result if isinstance(result, bytes) else None

    def _judged(self, name: str, kind: str, judge: Any) -> Any:
        try:
            return judge()
        except CouldHoldPictureError as error:
            self.account.leave_out(kind, name, str(error))
        except RecursionError:
            self.account.leave_out(kind, name, "is nested too deeply")
        return None

    def _reviewed(self, name: str, data: bytes, own: Allowance | None) -> bytes | None:
        """Return a file without the values that could hold a picture."""
        check_name(name.rpartition("/")[2])
        text = decoded(data)
        kind = name.lower()
        if kind.endswith((".json", ".jsonl")):
            with contextlib.suppress(ValueError):  # it is not JSON
                values = values_of(kind, text)
                _refuse_needless(text)
                return self._json(name, data, values, own)

        def allowance_of(words: list[str]) -> Allowance:
            if own is not None:
                return own
            return self._images.allowance_of_line(words)

        charge_text(text, allowance_of, self._images.is_path, self._images.of_all)
        return data

    def _json(
        self, name: str, data: bytes, values: list[Any], own: Allowance | None
    ) -> bytes | None:
        allowance, changed = own or self._images.of_all, False
        for value in values:
            _charge_alone(value, allowance)
        if own is not None:
            check_classes(values)
        walk = Walk(self.account, self._images, allowance, by_image=own is None)
        for number, value in enumerate(values):
            pruned = walk.pruned(value, name)
            if pruned is not value and pruned != value:
                values[number], changed = pruned, True
        if not changed:
            return data
        kept = [each for each in values if each is not None]
        return lines_of(kept) if kept else None

    def _pruned(self, value: Any, name: str, allowance: Allowance) -> Any:
        walk = Walk(self.account, self._images, allowance, by_image=False)
        if isinstance(value, str) and value[:1] in "{[":
            try:  # a column of JSON
                inner = parsed(value)
            except ValueError:
                pass
            else:
                kept = walk.pruned(inner, name)
                usual = len(json_of(inner, indent=4))  # blanks can hold bits
                same = kept == inner and len(value) <= usual
                return value if same else json_of(kept)
        return walk.pruned(value, name)


def _is_short(data: bytes) -> bool:
    try:
        check_class(data.decode("utf-8", "surrogateescape"))
    except CouldHoldPictureError:
        return False
    return True


def _charge_alone(value: Any, allowance: Allowance) -> None:
    """Charge a value that is a number by itself, in no list and no object."""
    if is_number(value):
        allowance.take_row(1)


_NEEDLESS = re.compile(r"(?<!\\)(?:\\\\)*\\u00(?:3\d|[46][1-9A-Fa-f]|[57][\dAa])")
"""A letter or digit of ASCII by its number, as nothing writes it; each could be a pixel."""


def _refuse_needless(text: str) -> None:
    """Refuse JSON with such letters."""
    if _NEEDLESS.search(text):
        msg = "has plain letters that are written as their numbers"
        raise CouldHoldPictureError(msg)


def _whom(about_images: bool) -> str:
    return "one image" if about_images else "no image"
