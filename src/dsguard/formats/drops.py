"""What goes to nobody, published or sealed: what its owner drops, and the key of a dataset."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Mapping
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from dsguard.errors import DsguardError
from dsguard.formats.allowance import STRING, CouldHoldPictureError
from dsguard.formats.disclosure import NOT_CHOSEN, Account, kind_of
from dsguard.formats.dropped_columns import without_columns
from dsguard.formats.dropping import UNREAD, Dropper, begins_as_json
from dsguard.formats.json_files import lines_of, values_of
from dsguard.formats.key_search import Forms, forms_of, holds_key, is_key
from dsguard.formats.mentions import (
    has_escapes,
    has_letters,
    has_no_names,
    is_packed,
    names_in,
    rests_of,
)
from dsguard.formats.packed import unpacked_starts
from dsguard.formats.pairs import is_about, text_of
from dsguard.formats.patterns import is_like, steps_of
from dsguard.formats.texts import decoded, parsed

if TYPE_CHECKING:
    import numpy.typing as npt

    from dsguard.keys import DatasetKey

    Reader = Callable[[str, bytes, "Drops", bool], bytes]
    """Returns a file without what is dropped in it, of its name; and whether that is to seal it."""

_TABLES = (".csv", ".tsv")
_JSON = (".json", ".jsonl", ".ndjson", ".geojson", ".ipynb", ".jsn")
_MOST_NAMES = 200_000  # in a text that is looked through for them
_MOST_SEEN = 1 << 16  # words


class Drops:
    """Takes out of files, values and arrays what goes to nobody.

    Parameters
    ----------
    account : Account
    key : DatasetKey, optional
        Of the dataset, which is not published in any form.
    readers : dict of str to Reader, optional
        By suffix, what reads files that are no text, to drop what is in them.
    """

    def __init__(
        self,
        account: Account,
        key: DatasetKey | None = None,
        readers: Mapping[str, Reader] | None = None,
    ) -> None:
        self.account = account
        self._readers = readers or {}
        self._forms = Forms() if key is None else forms_of(key.secret)
        self._like_key: dict[str, list[str]] = {}

    @property
    def has_any(self) -> bool:
        """Whether the owner drops anything."""
        return bool(self.account.disclosure.drop)

    def holds_key(self, data: bytes | memoryview) -> bool:
        """Tell whether bytes have the key of a dataset in them, that of this one above all."""
        return holds_key(data, self._forms) or any(
            holds_key(part, self._forms) for part in unpacked_starts(data)
        )

    def is_key(self, value: Any) -> bool:
        """Tell whether a value has a key in it, however it is spelled."""
        return is_key(value, self._forms)

    def to_seal(self, name: str, data: bytes) -> bytes | None:
        """Return something as it is sealed: not what its owner drops, and no key."""
        if self.account.says(name) is False or self.holds_key(data):
            return None
        return self.without_dropped(name, data)

    def loose_to_seal(self, name: str, data: bytes) -> bytes | None:
        """Return what belongs to no image as it is sealed: nothing, where images are chosen."""
        if self.account.is_cut and self.account.says(name) is None:
            self.account.leave_out(kind_of(name), name, NOT_CHOSEN, sealable=False)
        return None if self.account.is_cut else self.to_seal(name, data)

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
            self.account.leave_out(kind_of(name), name, UNREAD, sealable=not sealing)
            return None
        return left

    def _undropped(self, name: str, data: bytes, *, sealing: bool) -> bytes | None:
        kind = _suffix(name)
        if kind in self._readers:
            return self._readers[kind](name, data, self, sealing)
        if kind in _TABLES:
            return self._without_columns(name, data, sealing=sealing)
        if kind in _JSON:
            values = values_of(name.lower(), decoded(data))
            if len(values) == 1:  # or else lines are as what a list has
                kept = self.undropped(name, values[0], sealing=sealing)
                is_same, values = kept is values[0], [] if kept is None else [kept]
            else:
                kept = self.undropped(name, values, sealing=sealing)
                is_same, values = kept is values, kept or []
            return data if is_same else (lines_of(values) if values else None)
        left = self.undropped(name, data, sealing=sealing)
        return left if isinstance(left, bytes) else None

    def _without_columns(self, name: str, data: bytes, *, sealing: bool) -> bytes:
        """Return a table without the columns that its owner drops, and keys in its cells."""
        text = decoded(data)
        left = without_columns(
            text,
            lambda column: self.account.says_of(name, column) is False,
            lambda word: self._could_be(name, word),
            lambda column, cell: self.undropped(f"{name}/{column}", cell, sealing=sealing),
        )
        return data if left is text else left.encode("utf-8", "surrogateescape")

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
        drop = self.account.disclosure.drop
        rests = [rest for each in drop for rest in rests_of(each, name, sure=not of_files)]
        if not rests or is_packed(name, data) or has_letters(data, rests):
            return bool(rests)
        return escapes and has_escapes(data)

    def is_about_dropped(self, name: str, record: Mapping[str, Any]) -> bool:
        """Tell whether a row of a table is about what is dropped, as `is_about` has it."""
        return is_about(record.items(), partial(self._could_be, name))

    def _could_be(self, where: str, key: str) -> bool:
        """Tell whether a word in a text, or a part of it, is like what is dropped at any depth."""
        found = self._like_key.get(key)
        if found is None:
            words = {step.rpartition("/")[2] for step in steps_of(key)}
            found = [
                each
                for each in self.account.disclosure.drop
                if any(is_like(word, each.rpartition("/")[2]) for word in words)
            ]
            if len(key) <= STRING and len(self._like_key) < _MOST_SEEN:
                self._like_key[key] = found
        there = [each for each in found if any(rests_of(each, where, sure=True))]
        self.account.met.update(there)
        return bool(there)

    def undropped(self, name: str, value: Any, *, sealing: bool = False) -> Any:
        """Return a value without the keys that its owner drops; the very same where it has none.

        Texts of JSON are looked into, at any depth. One that cannot be read, and has such a key in
        it, becomes None, and is named.
        """
        return self._droppers[sealing].left_of(value, name) if self.has_any else value

    @cached_property
    def _droppers(self) -> dict[bool, Dropper]:
        """What takes keys out of values that are published, and out of those that are sealed."""

        def is_dropped(file: str, name: str) -> bool:
            return self.account.says_of(file, name) is False

        def dropper(sealing: bool) -> Dropper:
            def unread(where: str) -> None:
                last = where.rpartition("/")[2]
                self.account.leave_out(last, where, UNREAD, sealable=not sealing)

            return Dropper(is_dropped, self.could_tell, self._could_be, unread)

        return {sealing: dropper(sealing) for sealing in (False, True)}

    def has_dropped(self, name: str, array: npt.NDArray[Any], *, told: bool = True) -> bool:
        """Tell whether an array has fields, or a text in it keys, that are dropped; name it."""
        if not self.has_any or array.dtype.kind not in "SUV":
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
            self.account.leave_out(name.rpartition("/")[2], name, reason, sealable=False)
        return not is_free


def _suffix(name: str) -> str:
    """Return the suffix of a file in small letters, with its dot."""
    _, dot, last = name.rpartition("/")[2].rpartition(".")
    return (dot + last).lower()
