"""Pickles of CIFAR without their pixels: all that they have beside these, sealed, and had again.

A pickle is cut where its pixels begin and where they end. With restored pixels between the two it
is the file that it was, to the last byte.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from dsguard.errors import FormatError, InputError
from dsguard.formats.arrays.pickles import load_pickle
from dsguard.formats.disclosure import A_KEY
from dsguard.formats.sealing import UnsealedInTurn, numbered, numbered_name

if TYPE_CHECKING:
    from dsguard.formats.base import Image
    from dsguard.formats.review import Review
    from dsguard.formats.sealing import Entries

Cut: TypeAlias = tuple[bytes, bytes]
"""What a pickle has before its pixels, and behind them."""

_ENTRIES = ["before", "behind", "keys"]
_PROTOCOL = 3  # the first in which bytes lie as they are
_NO_PIXELS = "has no pixels, or others"


def text_of(key: Any) -> str:
    """Return the name of a key in messages and patterns."""
    return key.decode("utf-8", "backslashreplace") if isinstance(key, bytes) else str(key)


def entries_of(cut: Cut, keys: list[str]) -> Iterator[tuple[str, bytes, int]]:
    """Yield what is sealed of a pickle, by name, and how many values it counts as.

    Parameters
    ----------
    cut : tuple of bytes
    keys : list of str
        Those of the pickle that are not published as they are.
    """
    listed = "\n".join(" ".join(key.split()) for key in keys).encode("utf-8", "replace")
    for place, (name, data) in enumerate(zip(_ENTRIES, (*cut, listed), strict=True)):
        yield numbered(place, name), data, 0 if name != "keys" else len(keys)


def is_same(given: Mapping[bytes, Any], published: Mapping[bytes, Any], key: bytes) -> bool:
    """Tell whether an entry is published as it is."""
    return key in published and _are_same(given[key], published[key])


def _are_same(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        return np.array_equal(one, other)
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_are_same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(_are_same, one, other))
    return bool(one == other or repr(one) == repr(other))  # nan


def cut_of(raw: bytes, file: str, labels: bytes, review: Review) -> Cut | None:
    """Return a pickle without its pixels, nor what is dropped of it, or is a key; these are named.

    Where nothing is, and the pixels lie in it as they are, its bytes come back; else its values.

    Parameters
    ----------
    raw : bytes
    file : str
        What it is called.
    labels : bytes
        The key of the labels, which are published in any case.
    review : Review

    Returns
    -------
    tuple of bytes, or None where it cannot be cut
    """
    given = load_pickle(io.BytesIO(raw), file)
    pixels = _pixels_of(given)
    kept = {key: given[key] for key in given if _stays(key, given[key], file, labels, review)}
    is_whole = len(kept) == len(given) and not review.drops.has_any
    for data in (raw if is_whole else b"", pickle.dumps(kept, _PROTOCOL)):
        before, found, behind = data.partition(pixels.tobytes())
        is_key = review.drops.holds_key(before + behind)
        if found and not is_key and _fits((before, behind), pixels):
            return before, behind
    return None


def _stays(key: Any, value: Any, file: str, labels: bytes, review: Review) -> bool:
    """Tell whether an entry of a pickle is neither dropped nor a key; name it if it may be."""
    name = f"{file}/{text_of(key)}"
    if text_of(key).encode() in (b"data", labels):
        return True
    if review.account.says_of(file, text_of(key)) is False:
        return False
    told = pickle.dumps(value, _PROTOCOL)
    reason = A_KEY if review.drops.holds_key(told) or review.drops.is_key(value) else ""
    if not reason and review.drops.could_tell(name, told, escapes=False):
        reason = "could have what is dropped in it; drop it, or take that out"
    if reason:
        review.account.leave_out(text_of(key), name, reason, sealable=False)
    return not reason


def _pixels_of(content: Any) -> Image:
    """Return the pixels of a pickle, which is a dictionary; refuse one that has none."""
    found = content if isinstance(content, Mapping) else {}
    pixels = found.get(b"data", found.get("data"))
    if not isinstance(pixels, np.ndarray):
        raise FormatError(_NO_PIXELS)
    return pixels


def _fits(cut: Cut, pixels: Image) -> bool:
    """Tell whether a pickle comes of it that holds any pixels, and can be read here.

    Where pixels ended at a sign of their own, such as the end of a line, they could go on as code.
    """
    every = np.resize(np.arange(256, dtype=np.uint8), pixels.shape)
    return all(_holds(cut, some) for some in (pixels, 255 - pixels, every, every[:, ::-1]))


def _holds(cut: Cut, pixels: Image) -> bool:
    """Tell whether these pixels are what the pickle has, as it is read here: as data alone."""
    try:
        found = _pixels_of(load_pickle(io.BytesIO(pixels.tobytes().join(cut)), ""))
    except FormatError:
        return False
    return np.array_equal(found, pixels)


class SealedPickle(UnsealedInTurn):
    """What was sealed beside a pickle.

    Parameters
    ----------
    entries : Entries
    pixels : ndarray of uint8, shape (N, 3072)
        Those that were published.
    is_whole : bool
        Whether all images of the file are read.

    Raises
    ------
    InputError
        If it is no pickle that is read here, or one of other images.
    """

    def __init__(self, entries: Entries, pixels: Image, *, is_whole: bool = True) -> None:
        super().__init__(is_whole=is_whole)
        found = {numbered_name(entry)[1]: entries[entry] for entry in entries}
        if sorted(found) != sorted(_ENTRIES):
            msg = "has something else than a pickle without its pixels"
            raise InputError(msg)
        self._cut: Cut = (found["before"], found["behind"])
        if not _fits(self._cut, pixels):
            msg = "is of a pickle with other images than the published one; get a whole copy"
            raise InputError(msg)
        self._keys = found["keys"].decode("utf-8", "replace").splitlines()

    def with_pixels(self, pixels: Image) -> bytes | None:
        """Return the pickle with restored pixels; None where it is not one of data alone."""
        if not _holds(self._cut, pixels):
            self._keys = self._keys or ["pickle"]  # which is named
            return None
        self.look_through()
        return pixels.tobytes().join(self._cut)

    def look_through(self) -> None:
        self.used = len(self._keys)

    def left(self) -> Iterator[tuple[str, str]]:
        for key in () if self.used else self._keys:
            yield key, "only a pickle of CIFAR of these images has room for it"
