"""Disclosure: which of the things beside protected images are published, in every format.

Protected images, labels and names are published. Everything else is looked at: numbers, short
strings, boxes and the like go along. Whatever could hold a picture is left out and named, until the
owner decides.
"""

from __future__ import annotations

import contextlib
import glob
import itertools
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from dsguard.errors import DsguardError, InputError
from dsguard.formats.beside import is_text_field
from dsguard.formats.dropped_columns import without_columns
from dsguard.formats.dropping import UNREAD, Dropper, begins_as_json
from dsguard.formats.harmless import (
    BLURRED,
    BOXES,
    LABELS,
    NUMBERED,
    ROW,
    SHAPES,
    STRING,
    WORD,
    Allowance,
    CouldHoldPictureError,
    TooMuchError,
    charge_numbers,
    charge_string,
    charge_text,
    check_class,
    count_of,
    decoded,
    is_number,
    json_of,
    numbers_in,
    parsed,
    parsed_lines,
    size_of_scalar,
    size_of_string,
)
from dsguard.formats.images import is_image_name
from dsguard.formats.key_search import Forms, forms_of, holds_key, is_key
from dsguard.formats.limits import id_key
from dsguard.formats.mentions import (
    has_escapes,
    has_letters,
    has_no_names,
    is_packed,
    names_in,
    rests_of,
)
from dsguard.formats.names import CLASS_NAME
from dsguard.formats.pairs import is_about, text_of
from dsguard.formats.patterns import is_like, like

if TYPE_CHECKING:
    import numpy.typing as npt

    from dsguard.formats.others import Others
    from dsguard.keys import DatasetKey

    Fields = dict[str, bytes]
    Reader = Callable[[str, bytes, "Review", bool], bytes]
    """Returns a file without what is dropped in it, of its name; and whether that is to seal it."""


@dataclass(frozen=True)
class Disclosure:
    """The things beside images on which the owner has decided.

    Names are those of files and members, ``<file>/<column>`` in Parquet, ``<file>/<array>`` in
    ``.npz`` and ``<file>/<key>`` in JSON. A pattern without ``/`` is held against the last part.

    Attributes
    ----------
    publish : tuple of str
        Patterns, as in a shell, of names that go along whatever they hold.
    drop : tuple of str
        Patterns of names that do not, however they are written, and are not reported.
    """

    publish: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for given in (self.publish, self.drop):
            if type(given) is not tuple or not all(isinstance(each, str) for each in given):
                msg = f"publish and drop are tuples of patterns, not {given!r}"
                raise InputError(msg)

    def says(self, name: str) -> bool | None:
        """Tell whether a name is to be published; None where the owner has not decided."""
        if like(name, self.drop):
            return False
        return True if like(name, self.publish, exactly=True) else None


_LONGEST_PATH = 4096
"""Characters of a path, as systems have it: longer texts are not looked through for one."""

NOT_CHOSEN = "may tell of images that were not chosen"
"""Why something is not sealed where images are chosen."""


NO_ROOM = "has no place beside images of another format; keep the format of the source"
"""Why arrays are left out that only files of arrays have room for."""


THE_CLASS = "is the class of the images, which is published in any case; take it out yourself"
"""Why something is named that its owner drops, and that is published."""


A_KEY = "holds the key of a dataset, which is never published; keep it elsewhere"


def _is_short(data: bytes) -> bool:
    try:
        check_class(data.decode("utf-8", "surrogateescape"))
    except CouldHoldPictureError:
        return False
    return True


@dataclass
class LeftOut:
    """Things of one kind that were not published.

    Attributes
    ----------
    count : int
    first : str
        The name of one of them.
    reason : str
    """

    count: int
    first: str
    reason: str


def add_up(found: dict[str, LeftOut], more: dict[str, LeftOut]) -> None:
    """Add what was left out in one place to the account of others."""
    for kind, other in more.items():
        if kind in found:
            found[kind].count += other.count
        else:
            found[kind] = LeftOut(other.count, other.first, other.reason)


class Review:
    """Decides on everything beside some images, and keeps account of what is left out.

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
    left_out : dict of str to LeftOut
        By kind: the pattern that would publish it.
    met : set of str
        Patterns of what is dropped that something was like.
    seals : bool
        Whether what is not published is sealed: then only that is left out which cannot be.
    is_cut : bool
        Whether images are chosen: what belongs to no image may tell of the others.
    others : callable or None
        Return the images that were not chosen, where there may be any.
    """

    seals = False
    is_cut = False
    others: Callable[[], Others] | None = None

    def __init__(
        self,
        disclosure: Disclosure,
        names: Collection[str] = (),
        key: DatasetKey | None = None,
        readers: Mapping[str, Reader] | None = None,
    ) -> None:
        self.disclosure = disclosure
        self.met: set[str] = set()
        self._readers = readers or {}
        self._forms = Forms() if key is None else forms_of(key.secret)
        self.left_out: dict[str, LeftOut] = {}
        self._names = names
        self._of_all = Allowance()
        self._of_arrays: dict[str, Allowance] = defaultdict(Allowance)
        self._texts_of: dict[str, Allowance] = defaultdict(Allowance)
        self._seen: dict[str, bool] = {}
        self._like_key: dict[str, list[str]] = {}

    def says(self, name: str) -> bool | None:
        """Tell what the owner says of a name, as `Disclosure.says`; note what is like it."""
        if found := like(name, self.disclosure.drop):
            self.met.update(found)
            return False
        return True if like(name, self.disclosure.publish, exactly=True) else None

    def holds_key(self, data: bytes | memoryview) -> bool:
        """Tell whether bytes have the key of a dataset in them, that of this one above all."""
        return holds_key(data, self._forms)

    def is_key(self, value: Any) -> bool:
        """Tell whether a value has a key in it, however it is spelled."""
        return is_key(value, self._forms)

    def leave_out(
        self, kind: str, name: str, reason: str, count: int = 1, *, sealable: bool = True
    ) -> None:
        """Note that something is not published, and not sealed."""
        if self.seals and sealable and reason != A_KEY:
            return
        is_suffix = kind.startswith("*.") and name.endswith(kind[1:])
        literal = kind[2:] if is_suffix and name.rpartition("/")[2] != kind else kind
        kind = f"{kind[: len(kind) - len(literal)]}{glob.escape(literal)}"  # a pattern of it alone
        add_up(self.left_out, {kind: LeftOut(count, name, reason)})

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
        for suffix, data in fields.items():
            name, kind = f"{stem}.{suffix}", f"*.{suffix}"
            is_class = suffix == CLASS_NAME and _is_short(data) and not self.holds_key(data)
            if is_class and self.says(name) is not False:
                found[suffix] = data
                continue
            if not is_text_field(suffix) and self.says(name) is None:
                is_key = self.seals and self.holds_key(data)
                reason = A_KEY if is_key else "is of a kind that is not known as text"
                self.leave_out(kind, name, reason)
                continue
            kept = self._content(name, kind, data, allowance)
            if kept is not None:
                found[suffix] = kept
        return found

    def keep_class(self, name: str) -> None:
        """Name what has the class of images, and is published, where its owner would drop it."""
        if self.says(name) is False:
            self.leave_out(name.rpartition("/")[2], name, THE_CLASS, sealable=False)

    def to_seal(self, name: str, data: bytes) -> bytes | None:
        """Return something as it is sealed: not what its owner drops, and no key."""
        if self.says(name) is False or self.holds_key(data):
            return None
        return self.without_dropped(name, data)

    def loose_to_seal(self, name: str, data: bytes) -> bytes | None:
        """Return what belongs to no image as it is sealed: nothing, where images are chosen."""
        if self.is_cut and self.says(name) is None:
            self.leave_out(kind_of(name), name, NOT_CHOSEN, sealable=False)
        return None if self.is_cut else self.to_seal(name, data)

    def without_dropped(self, name: str, data: bytes, *, sealing: bool = True) -> bytes | None:
        """Return a file without what its owner drops in it: keys, columns and arrays.

        None, and named, where it cannot be read, and may have something like that in it.
        """
        has_none = has_no_names(name, data) and not begins_as_json(data)
        if has_none or not self.could_tell(name, data, of_files=True):
            return data  # most are not even parsed
        left: bytes | None = data
        try:
            left = self._undropped(name, data, sealing=sealing)
            is_unread = left is data and self._seems_to_tell(name, data)
        except (CouldHoldPictureError, DsguardError, RecursionError, ValueError):
            is_unread = self.could_tell(name, data)  # what has escapes could be any text
        if is_unread:
            self.leave_out(kind_of(name), name, UNREAD, sealable=not sealing)
            return None
        return left

    def _undropped(self, name: str, data: bytes, *, sealing: bool) -> bytes | None:
        kind = _suffix(name)
        if kind in self._readers:
            return self._readers[kind](name, data, self, sealing)
        if kind in _TABLES:
            return self._without_columns(name, data, sealing=sealing)
        if kind in _JSON:
            values = _values_of(name.lower(), decoded(data))
            if len(values) == 1:  # or else lines are as what a list has
                kept = self.undropped(name, values[0], sealing=sealing)
                is_same, values = kept is values[0], [] if kept is None else [kept]
            else:
                kept = self.undropped(name, values, sealing=sealing)
                is_same, values = kept is values, kept or []
            return data if is_same else (_json_lines(values) if values else None)
        left = self.undropped(name, data, sealing=sealing)
        return left if isinstance(left, bytes) else None

    def _seems_to_tell(self, name: str, data: bytes) -> bool:
        """Tell whether a file of a kind that nothing here reads seems to have what is dropped."""
        is_read = _suffix(name) in {*self._readers, *_TABLES, *_JSON}
        if is_read or has_no_names(name, data):
            return False
        try:
            text = "" if is_packed(name, data) else decoded(data)
        except CouldHoldPictureError:
            text = ""
        if not text:
            return self.could_tell(name, data, escapes=False)
        with contextlib.suppress(ValueError, CouldHoldPictureError):
            if isinstance(parsed(text), dict | list):  # which was looked into
                return False
        names = names_in(text)
        found = any(self._could_be(name, each) for each in itertools.islice(names, _MOST_NAMES))
        return found or next(names, None) is not None

    def could_tell(
        self, name: str, data: bytes, *, of_files: bool = False, escapes: bool = True
    ) -> bool:
        """Tell whether bytes could have what is dropped in them.

        Not by patterns that seem to be about whole files, unless `of_files`; nor by `escapes` of
        letters, where it is no text.
        """
        drop = self.disclosure.drop
        rests = [rest for each in drop for rest in rests_of(each, name, sure=not of_files)]
        if not rests or is_packed(name, data) or has_letters(data, rests):
            return bool(rests)
        return escapes and has_escapes(data)

    def is_about_dropped(self, name: str, record: Mapping[str, Any]) -> bool:
        """Tell whether a row of a table is about what is dropped, as `is_about` has it."""
        return is_about(record.items(), partial(self._could_be, name))

    def _could_be(self, where: str, key: str) -> bool:
        """Tell whether a word in a text is like what is dropped there, at any depth."""
        found = self._like_key.get(key)
        if found is None:
            drop = self.disclosure.drop
            found = [each for each in drop if is_like(key, each.rpartition("/")[2])]
            if len(key) <= STRING and len(self._like_key) < _MOST_SEEN:
                self._like_key[key] = found
        there = [each for each in found if any(rests_of(each, where, sure=True))]
        self.met.update(there)
        return bool(there)

    def undropped(self, name: str, value: Any, *, sealing: bool = False) -> Any:
        """Return a value without the keys that its owner drops; the very same where it has none.

        Texts of JSON are looked into, at any depth. One that cannot be read, and has such a key in
        it, becomes None, and is named.
        """
        return self._droppers[sealing].left_of(value, name) if self.disclosure.drop else value

    @cached_property
    def _droppers(self) -> dict[bool, Dropper]:
        """What takes keys out of values that are published, and out of those that are sealed."""

        def is_dropped(name: str) -> bool:
            return self.says(name) is False

        def dropper(sealing: bool) -> Dropper:
            def unread(where: str) -> None:
                self.leave_out(where.rpartition("/")[2], where, UNREAD, sealable=not sealing)

            return Dropper(is_dropped, self.could_tell, self._could_be, unread)

        return {sealing: dropper(sealing) for sealing in (False, True)}

    def has_dropped(self, name: str, array: npt.NDArray[Any], *, told: bool = True) -> bool:
        """Tell whether an array has fields, or a text in it keys, that are dropped; name it."""
        if not self.disclosure.drop or array.dtype.kind not in "SUV":
            return False
        could_be, rows = partial(self._could_be, name), array.reshape(-1).tolist()
        is_free = all(self.undropped(name, each) is each for each in rows)
        if names := array.dtype.names:
            is_free &= not self.could_tell(name, repr(array.dtype).encode())
            is_free &= not any(is_about(zip(names, row, strict=True), could_be) for row in rows)
        elif array.ndim > 1:  # a table
            is_free &= not any(could_be(text_of(each)) for each in rows)
        else:
            is_free &= not is_about([(name.rpartition("/")[2], rows)], could_be)
        if not is_free and told:
            reason = "has texts with keys, or fields, that are dropped; drop it, or take them out"
            self.leave_out(name.rpartition("/")[2], name, reason, sealable=False)
        return not is_free

    def file(self, name: str, data: bytes) -> bytes | None:
        """Return the content with which a text file goes along, None where it does not."""
        stem = _stem(name.rpartition("/")[2])
        own = self._texts_of[f"0 {self._resolved(name)}"] if stem in self._stems else None
        kept = self._content(name, kind_of(name), data, own)
        if kept is not None and self._tells_of_others(name, kept):
            self.leave_out(kind_of(name), name, NOT_CHOSEN)
            return None
        return kept

    def _tells_of_others(self, name: str, data: bytes) -> bool:
        """Tell whether a text of no image may tell of images that were not chosen."""
        if self.others is None or self.disclosure.says(name):
            return False
        return self.others().are_told_by(name, decoded(data))

    def row_of_table(self, row: dict[str, Any]) -> Allowance:
        """Charge the numbers of a row to the image that it names; return its allowance."""
        words = [each for each in row.values() if isinstance(each, str)]
        allowance = self._allowance_of_line(words)
        numbers = sum(map(count_of, row.values()))
        allowance.take_line(numbers, alone=True)
        allowance.take(numbers, 0)
        return allowance

    def _allowance_of_line(self, words: list[str]) -> Allowance:
        """Return the allowance of the image that some words name, over all files."""
        image = next((word for word in words if self._is_image(word)), "")
        if not image:
            return self._of_all
        return self._texts_of.setdefault(self._account(image), _allowance_of(image))

    def _account(self, image: str) -> str:
        """Return the account of an image; a number, which may be none, has one of its own."""
        return f"{image.isdigit():d} {self._resolved(image)}"

    def _resolved(self, name: str) -> str:
        """Return as much of a path as belongs to an image here: the last parts, at least one."""
        folder, _, last = name.rpartition("/")
        stem = last if last in self._stems else _stem(last)
        two = f"{folder.rpartition('/')[2]}/{stem}"
        return two if stem in self._twice and two in self._pairs else stem

    @cached_property
    def _twice(self) -> frozenset[str]:
        """Return the names that images of several folders have."""
        counts = Counter({name.rpartition(".")[0] or name for name in self._names})
        found = Counter(name.rpartition("/")[2] for name in counts)
        return frozenset(name for name, count in found.items() if count > 1)

    @cached_property
    def _pairs(self) -> frozenset[str]:
        folders = (name.rpartition("/") for name in self._names)
        return frozenset(f"{a.rpartition('/')[2]}/{_stem(last)}" for a, _, last in folders)

    def content(self, name: str, value: Any) -> Any:
        """Return a value of a file that is no text, pruned; None where it does not go along."""
        return self.row(name, value, self._of_all)

    def row(self, name: str, value: Any, allowance: Allowance, *, alone: bool = False) -> Any:
        """Return one value of a column, None where it could hold a picture.

        The numbers of a table are charged together, by `row_of_table`, but for one that is `alone`.
        """

        def judged() -> Any:
            if self.is_key(value):
                raise CouldHoldPictureError(A_KEY)
            if alone:
                _charge_alone(value, allowance)
            return self._pruned(self.undropped(name, value), name, allowance)

        return self._judged(name, name.rpartition("/")[2], judged)

    def array(
        self,
        file: str,
        array_name: str,
        array: npt.NDArray[Any],
        counts: Collection[int],
        read: Callable[[], npt.NDArray[Any]] | None = None,
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
        """
        name = f"{file}/{array_name}" if file else array_name
        said = self.says(name)
        if said is False or self.has_dropped(name, array):
            return False
        try:
            if said is None:
                size_of_string(array_name)
                self._charge_array(array, counts, self._of_arrays[file])
            whole = np.ascontiguousarray(read() if read else array)
            if self.holds_key(whole.reshape(-1).view(np.uint8).data):
                raise CouldHoldPictureError(A_KEY)
        except CouldHoldPictureError as error:
            self.leave_out(array_name.rpartition("/")[2], name, str(error))
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
        allowance, numbers = (each_image, width) if about_images else (self._of_all, array.size)
        if array.dtype.kind in "SU":
            if numbers > ROW:
                msg = f"is an array of {numbers} strings for {_whom(about_images)}"
                raise CouldHoldPictureError(msg)
            texts = array.reshape(-1).tolist()
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
        if rows in counts and _is_one_hot(array):
            allowance, numbers = each_image, 1
        if numbers > ROW:
            msg = f"is an array of {numbers} numbers for {_whom(about_images)}"
            raise CouldHoldPictureError(msg)
        allowance.take_row(numbers)
        allowance.take(numbers, 0)

    def _content(self, name: str, kind: str, data: bytes, own: Allowance | None) -> bytes | None:
        if self.holds_key(data):
            self.leave_out(name.rpartition("/")[2], name, A_KEY)
            return None
        said = self.says(name)
        left = None if said is False else self.without_dropped(name, data, sealing=False)
        if said is not None or left is None:
            return left
        result = self._judged(name, kind, lambda: self._reviewed(name, left, own))
        return result if isinstance(result, bytes) else None

    def _judged(self, name: str, kind: str, judge: Any) -> Any:
        try:
            return judge()
        except CouldHoldPictureError as error:
            self.leave_out(kind, name, str(error))
        except RecursionError:
            self.leave_out(kind, name, "is nested too deeply")
        return None

    def _reviewed(self, name: str, data: bytes, own: Allowance | None) -> bytes | None:
        """Return a file without the values that could hold a picture."""
        text = decoded(data)
        kind = name.lower()
        if kind.endswith((".json", ".jsonl")):
            with contextlib.suppress(ValueError):  # it is not JSON
                return self._json(name, data, _values_of(kind, text), own)

        def allowance_of(words: list[str]) -> Allowance:
            if own is not None:
                return own
            return self._allowance_of_line(words)

        charge_text(text, allowance_of, self._is_path)
        return data

    def _without_columns(self, name: str, data: bytes, *, sealing: bool) -> bytes:
        """Return a table without the columns that its owner drops, and keys in its cells."""
        text = decoded(data)
        left = without_columns(
            text,
            lambda column: self.says(f"{name}/{column}") is False,
            lambda word: self._could_be(name, word),
            lambda column, cell: self.undropped(f"{name}/{column}", cell, sealing=sealing),
        )
        return data if left is text else left.encode("utf-8", "surrogateescape")

    def _json(
        self, name: str, data: bytes, values: list[Any], own: Allowance | None
    ) -> bytes | None:
        for value in values:
            _charge_alone(value, own or self._of_all)
        walk, changed = _Walk(self, own or self._of_all, own is None), False
        for number, value in enumerate(values):
            pruned = walk.pruned(value, name)
            if pruned is not value and pruned != value:
                values[number], changed = pruned, True
        if not changed:
            return data
        kept = [each for each in values if each is not None]
        return _json_lines(kept) if kept else None

    def _pruned(self, value: Any, name: str, allowance: Allowance) -> Any:
        if isinstance(value, str) and value[:1] in "{[":
            try:  # a column of JSON
                inner = parsed(value)
            except ValueError:
                pass
            else:
                kept = _Walk(self, allowance, by_image=False).pruned(inner, name)
                usual = len(json_of(inner, indent=4))  # blanks can hold bits
                same = kept == inner and len(value) <= usual
                return value if same else json_of(kept)
        return _Walk(self, allowance, by_image=False).pruned(value, name)

    def _is_image(self, word: str) -> bool:
        """Tell whether a word names an image of the dataset; texts have the same words often."""
        found = self._seen.get(word)
        if found is None:
            found = self._names_image(word)
            if len(word) <= WORD and len(self._seen) < _MOST_SEEN:
                self._seen[word] = found
        return found

    def _names_image(self, word: str) -> bool:
        last = word.rpartition("/")[2]
        is_image = is_image_name(last, of_any_kind=True)
        return last in self._stems or (is_image and _stem(last) in self._stems)

    def is_name(self, text: str) -> bool:
        """Tell whether a string is the name of an image, published in any case; not a number."""
        return len(text) <= _LONGEST_PATH and not numbers_in(text) and self._is_path(text)

    def _is_path(self, word: str) -> bool:
        """Tell whether a word names an image by a path of the dataset, or by one met before.

        Folders that the dataset does not have are charged once.
        """
        if not self._is_image(word):
            return False
        folder = word.rpartition("/")[0]
        if folder not in self._folders:
            if len(folder) > STRING:
                return False
            self._of_all.take(0, len(folder))
            self._folders.add(folder)
        return True

    @cached_property
    def _folders(self) -> set[str]:
        """Return the folders of the dataset as paths tell them, whole or from some part on."""
        found = {""}
        for folder in {name.rpartition("/")[0] for name in self._names}:
            parts = folder.split("/")[-_MOST_PARTS:]
            found.update("/".join(parts[n:]) for n in range(len(parts)))
        return found

    @cached_property
    def _stems(self) -> frozenset[str]:
        return frozenset(_stem(name.rpartition("/")[2]) for name in self._names)


_MOST_SEEN = 1 << 16  # words
_MOST_NAMES = 200_000  # in a text that is looked through for them
_MOST_PARTS = 8  # of a path within a dataset


class _Walk:
    """Goes through objects and lists, and replaces with None what could hold a picture."""

    def __init__(self, review: Review, of_all: Allowance, by_image: bool) -> None:
        self._review, self._of_all, self._by_image = review, of_all, by_image
        self._allowances: dict[str, Allowance] = {}
        self._ids: dict[Any, str] = {}
        self._file = ""

    def pruned(self, value: Any, name: str) -> Any:
        """Return a value without what could hold a picture.

        Raises
        ------
        TooMuchError
            If what is left is still too much.
        """
        self._file = name
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
            if isinstance(value, dict):  # an empty one costs nothing
                return value and self._object(value, name, self._owner_in(value) or owner)
            if isinstance(value, np.ndarray):
                self._array(value, owner)
                return value
            if isinstance(value, list | tuple):
                last = name.rpartition("/")[2]
                shape = last if last in SHAPES else ""
                if charge_numbers(list(value), self._allowance(owner), shape=shape):
                    return value
                self._allowance(owner).take_row(sum(map(count_of, value)))
                kept = [self._any(each, name, owner) for each in value]
                lost = sum(new is None for new in kept) - sum(each is None for each in value)
                return None if 2 * lost > len(kept) else type(value)(kept)
            if isinstance(value, str | bytes):
                text = decoded(value) if isinstance(value, bytes) else value
                if text and name.rpartition("/")[2].lower() in BLURRED:
                    msg = "is a blurred picture, by its name"
                    raise CouldHoldPictureError(msg)
                if not self._review.is_name(text):
                    charge_string(text, self._allowance(owner))
            else:
                self._allowance(owner).take(*size_of_scalar(value))
        except TooMuchError:
            raise
        except CouldHoldPictureError as error:
            kind = kind_of(name) if name == self._file else name.rpartition("/")[2]
            self._review.leave_out(kind, name, str(error))
            return None
        return value

    def _object(self, value: dict[Any, Any], name: str, owner: str) -> dict[Any, Any]:
        numbers = [key for key, each in value.items() if is_number(each) and not _is_id(key, each)]
        self._allowance(owner).take_ids(sum(_is_id(key, each) for key, each in value.items()))
        of_images = [str(key) for key in numbers if self._is_image(key)]
        for image in of_images:
            self._allowance(image).take_row(1)
        own = sum(count_of(value[key]) for key in numbers) - len(of_images)
        self._allowance(owner).take_line(own, alone=own == len(value))
        found: dict[Any, Any] = {}
        for key, each in value.items():
            below = f"{name}/{text_of(key)}"
            said = self._review.says(below)
            if said is False:
                continue
            if self._is_image(key):
                if not self._review._is_path(key):
                    self._allowance(owner).take(0, size_of_string(key))
                found[key] = each if said else self._any(each, below, str(key))
                continue
            if not _is_usual(key):
                self._allowance(owner).take(0, size_of_string(text_of(key)))
            free = said or _is_id(key, each)
            found[key] = each if free else self._any(each, below, owner)
        return found

    def _array(self, array: npt.NDArray[Any], owner: str) -> None:
        if array.dtype.kind not in "biuf" or array.size > BOXES:
            msg = f"is an array of {array.size} values of type {array.dtype}"
            raise CouldHoldPictureError(msg)
        charge_numbers(np.atleast_1d(array).tolist(), self._allowance(owner))

    def _allowance(self, owner: str) -> Allowance:
        if not owner:
            return self._of_all
        return self._allowances.setdefault(self._review._account(owner), _allowance_of(owner))

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
        return self._by_image and isinstance(key, str) and self._review._is_image(key)


def _values_of(name: str, text: str) -> list[Any]:
    """Return the values of a JSON file: one, or one in each line."""
    if not name.endswith(".jsonl"):
        with contextlib.suppress(ValueError):
            return [parsed(text)]
    return list(parsed_lines(text))


def _json_lines(values: list[Any]) -> bytes:
    text = "".join(json_of(each) + "\n" for each in values)
    return text.encode("utf-8", "surrogatepass")


def _charge_alone(value: Any, allowance: Allowance) -> None:
    """Charge a value that is a number by itself, in no list and no object."""
    if is_number(value):
        allowance.take_row(1)


def _is_id(key: Any, value: Any) -> bool:
    """Tell whether a number only counts things, as in COCO."""
    if isinstance(value, str):
        return key in _IDS and value.isdecimal() and len(value) <= _MOST_DIGITS
    return key in _IDS and isinstance(value, int) and is_number(value)


_DIGITS = re.compile(r"\d+")
_MOST_DIGITS = 19  # of 64 bits
_IDS = frozenset({"id", "image_id", "category_id", "iscrowd"})


def _allowance_of(image: str) -> Allowance:
    """Return the allowance of an image of this name; a number may be meant as a number."""
    return Allowance(numbers=NUMBERED) if image.isdigit() else Allowance()


def _is_usual(key: Any) -> bool:
    usual = isinstance(key, str) and len(key) <= 32 and key.isidentifier()
    return usual and len(_DIGITS.findall(key)) <= 1  # places of a grid have two numbers


def _whom(about_images: bool) -> str:
    return "one image" if about_images else "no image"


def _is_one_hot(array: npt.NDArray[Any]) -> bool:
    if array.ndim != 2 or not ((array == 0) | (array == 1)).all():
        return False
    return bool((np.count_nonzero(array, axis=1) <= 1).all())


def kind_of(name: str) -> str:
    """Return the pattern of files like this one: those of its suffix."""
    last = name.rpartition("/")[2]
    _, dot, suffix = last.rpartition(".")
    return f"*.{suffix}" if dot else last


_TABLES = (".csv", ".tsv")
_JSON = (".json", ".jsonl", ".ndjson", ".geojson", ".ipynb", ".jsn")


def _suffix(name: str) -> str:
    """Return the suffix of a file in small letters, with its dot."""
    _, dot, last = name.rpartition("/")[2].rpartition(".")
    return (dot + last).lower()


def _stem(name: str) -> str:
    stem, dot, _ = name.rpartition(".")
    return stem if dot and stem and not stem.endswith("/") else name
