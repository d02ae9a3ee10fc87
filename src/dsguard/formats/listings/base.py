"""Files that list the images of a dataset: which images their names mean, and what they tell."""

from __future__ import annotations

import posixpath
import re
from abc import ABC, abstractmethod
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, TypeAlias

from dsguard.errors import DsguardError, InputError
from dsguard.formats.limits import MOST_LOOSE, most_unpacked
from dsguard.formats.names import top

if TYPE_CHECKING:
    from dsguard.formats.disclosure import ClassPlace
    from dsguard.formats.folder.reader import TreeSource
    from dsguard.formats.review import Review

NO_CLASS = "none"
"""Class of the images of a listed dataset that no file gives one."""


class Listing(ABC):
    """The facts that files tell of the images of a tree that they list.

    Attributes
    ----------
    kind : str
        Name of the format.
    more_files : frozenset of str
        Files that go along with this format though they are no text, by their last name.
    """

    kind: ClassVar[str]
    more_files: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, source: TreeSource) -> None:
        self.source = source

    def read(self, file: str) -> bytes:
        """Return the content of a file, nothing where it cannot be read, which its copy tells."""
        return read_listing(self.source, file)

    @abstractmethod
    def files(self) -> list[str]:
        """Return the files that list images of the dataset."""

    @abstractmethod
    def class_of(self, name: str) -> str:
        """Return the class of an image."""

    @abstractmethod
    def class_places(self) -> list[ClassPlace]:
        """Return the files that tell the classes of images, and where in them."""

    @abstractmethod
    def classes_in(self, file: str, data: bytes) -> object:
        """Return all that the content of such a file tells of classes, to be compared."""

    def whole(self) -> list[str]:
        """Return those of which nothing is lost where `fields` stand in their place."""
        return self.files()

    @abstractmethod
    def fields(self, wanted: Collection[str], review: Review | None = None) -> dict[str, bytes]:
        """Return what the files tell about each of some images, as JSON; not what is dropped."""

    @abstractmethod
    def remarks(self) -> list[str]:
        """Return what the owner should know, one sentence each."""


def within_size(told: Iterable[tuple[str, bytes]], size: int) -> dict[str, bytes]:
    """Return by image what files of `size` bytes tell about it, several things as a list.

    Raises
    ------
    InputError
        If a few words are told of so many images that they fill the memory.
    """
    found, left = defaultdict[str, list[bytes]](list), most_unpacked(size, MOST_LOOSE)
    for image, fields in told:
        left -= len(fields)
        if left < 0:
            msg = (
                f"{image}: what is told of the images, as a field of each, is too much for the "
                "size of the files that tell it; write a folder, or shorten what many images share"
            )
            raise InputError(msg)
        found[image].append(fields)
    return {
        image: own[0] if len(own) == 1 else b"[" + b", ".join(own) + b"]"
        for image, own in found.items()
    }


def read_listing(source: TreeSource, file: str) -> bytes:
    """Return the content of a file, nothing where it cannot be read: whoever copies it says so.

    Raises
    ------
    InputError
        If it could be read another time. Without it, images would have other classes.
    """
    try:
        return source.read_companion(file)
    except (DsguardError, FileNotFoundError, PermissionError):
        return b""
    except OSError as error:
        msg = (
            f"{file} of {source}, which may list the images, cannot be read: "
            f"{error.strerror or error}; try again"
        )
        raise InputError(msg) from error


@dataclass(frozen=True)
class Located:
    """The images that the names of one file mean.

    Attributes
    ----------
    images : dict of str to str
        Image by name, as the file has it. Names that mean no image are not there.
    ambiguous : list of str
        Names that could mean several images.
    by_path : bool
        Whether the names are paths from a folder; otherwise only their ends fit.
    """

    images: dict[str, str] = field(default_factory=dict)
    ambiguous: list[str] = field(default_factory=list)
    by_path: bool = False


_DEEPEST = 16
"""Parts of a name by which an image or its folder is looked for: each takes memory for each."""

_MOST_SEARCHES = 1 << 26
"""How often names of one file are looked for in a folder; COCO 2017 has 118,287 names."""


Form: TypeAlias = tuple[int, str]
"""How many folders a name goes up, and the path that it goes down from there."""


def _forms(text: str) -> list[Form]:
    """Return the forms of a name; backslashes may separate its parts."""
    found = [(0, text)]
    for form in (text, text.replace("\\", "/")) if _NOT_PLAIN.search(text) else ():
        path = posixpath.normpath(form)
        up = len(_UPWARDS.match(path)[0])  # type: ignore[index]  # it fits any
        found.append((up // 3, path[up:]))
    return list(dict.fromkeys(found))


_UPWARDS = re.compile(r"(\.\./)*")


class ImageIndex:
    """The images of a dataset, to be found by the names that text files have for them.

    Attributes
    ----------
    names : frozenset of str
    folders : set of str
        Folders that images lie in, and those above these; of very deep ones the first 16 levels.
    meant : mapping of str to str
        By name, that which the image has in the dataset, where it may be another.
    """

    def __init__(self, names: Iterable[str], meant: Mapping[str, str] | None = None) -> None:
        self.names = frozenset(names)
        self.meant = meant or {}
        self._tails: dict[int, dict[str, str | None]] = {}
        self.folders = {""}
        for folder in {name.rpartition("/")[0] for name in self.names}:
            above = top(folder, _DEEPEST)
            while above not in self.folders:
                self.folders.add(above)
                above = above.rpartition("/")[0]
        self._named: dict[str, set[str]] = defaultdict(set)
        for folder in self.folders - {""}:
            last = folder.rpartition("/")[2].lower()
            self._named[last].add(folder)
            self._named[_word(last) + "*"].add(folder)

    def at(self, folder: str, text: str) -> str | None:
        """Return the image that a name means in a folder; backslashes may separate its parts."""
        plain = f"{folder}/{text}" if folder else text
        if plain in self.names:
            return self.meant.get(plain, plain)
        forms = _forms(text) if _NOT_PLAIN.search(text) else []
        found = self.from_bases(self.bases(folder), forms) if forms else None
        return None if found is None else self.meant.get(found, found)

    def bases(self, folder: str) -> list[str | None]:
        """Return a folder and those above it; None for one that no images are in or below."""
        found = [folder]
        while found[-1]:
            found.append(found[-1].rpartition("/")[0])
        return [base if self._may_hold(base) else None for base in found]

    def _may_hold(self, folder: str) -> bool:
        return folder in self.folders or folder.count("/") >= _DEEPEST

    def from_bases(self, bases: list[str | None], forms: list[Form]) -> str | None:
        """Return the image that a name means, in one of its forms, in the first of some folders."""
        for up, rest in forms:
            base = bases[up] if up < len(bases) else None
            if base is not None and (path := f"{base}/{rest}" if base else rest) in self.names:
                return path
        return None

    def tails(self, depth: int) -> dict[str, str | None]:
        """Return the images by the last `depth` parts of their names; None where several fit."""
        if depth not in self._tails:
            found: dict[str, str | None] = {}
            for name in self.names:
                parts = name.split("/")
                if len(parts) >= depth:
                    tail = "/".join(parts[-depth:])
                    found[tail] = None if tail in found else name
            self._tails[depth] = found
        return self._tails[depth]

    def depth(self) -> int:
        """Return the number of parts of the longest path, as far as images are looked for."""
        deepest = 1 + max(folder.count("/") + bool(folder) for folder in self.folders)
        return min(deepest, _DEEPEST)

    def named_for(self, file: str, level: str) -> list[list[str]]:
        """Return the folders under `level` whose images a file is probably about, likely first.

        ``instances_train2017.json`` is named for ``train2017``; where there is none, for ``train``.
        Of these, ``train``, ``images/train`` and ``train/images`` come first. Last is ``images``.
        """
        words = set(re.split(r"[_.]", _stem(file).lower())) - _NO_SPLITS
        start = level + "/" if level else ""
        exact = self._called(words, start)
        own = exact or self._called({_word(word) + "*" for word in words} - {"*"}, start)
        own |= {f"{folder}/images" for folder in own} & self.folders
        near = {f for f in own if "/" not in re.sub("^images/|/images$", "", f[len(start) :])}
        return [sorted(near), sorted(own - near), sorted({start + "images"} & self.folders)]

    def _called(self, keys: set[str], start: str) -> set[str]:
        return {f for key in keys for f in self._named.get(key, ()) if f.startswith(start)}


_NOT_PLAIN = re.compile(r"\\|//|(^|/)\.")
_NO_SPLITS = {"", "annotation", "annotations", "coco", "image", "images", "instances", "labels"}
"""Words of file names that are no splits."""


def _word(name: str) -> str:
    """Return the word that a split begins with: ``train`` of ``train2017``."""
    found = re.match(r"[^\W\d_]*", name)
    word = found[0] if found else ""
    return "val" if word.startswith("val") else word


def _stem(file: str) -> str:
    return file.rpartition("/")[2].rpartition(".")[0]


def locate(texts: Collection[str], file: str, index: ImageIndex) -> Located:
    """Find the images that the names in a file mean.

    All names of a file are paths from one place. That is the folder of the file, a folder above it,
    or in one of these a folder that the file is named for. The nearest that has any of the images
    is taken; of a folder and what is in it, the one that has more of them. Where no place has any,
    the only image is meant whose path ends with the name; where there is none either, the only one
    with the same last part, if no other name of the file has that.
    """
    own = top(file.rpartition("/")[0])
    texts = [text for text in dict.fromkeys(texts) if "://" not in text]
    search = _Search({text: _forms(text) for text in texts}, file, index)
    for level in _upwards(own):
        named = map(search.fits, index.named_for(file, level))
        fits = [next(filter(None, named), {}), search.fits([level])]
        if level and level == own:
            fits.reverse()
        if best := max(fits, key=len):
            return _located(best, index, by_path=True)
    return _by_tail(texts, index)


def _upwards(folder: str) -> Iterator[str]:
    """Yield a folder and those above it, of very deep ones not all."""
    yield folder
    while folder:
        folder = top(folder.rpartition("/")[0], _DEEPEST)
        yield folder


@dataclass
class _Search:
    """The names of a file, looked for in one folder after the other.

    Attributes
    ----------
    forms : dict of str to list of Form
        By name.
    file : str
    index : ImageIndex
    left : int
        How often a name may still be looked for in a folder.
    """

    forms: dict[str, list[Form]]
    file: str
    index: ImageIndex
    left: int = field(default_factory=lambda: _MOST_SEARCHES)

    def fits(self, folders: list[str]) -> dict[str, str | None]:
        """Return the image by name, None where it could be several; without names that fit none.

        Raises
        ------
        InputError
            If there are too many names for so many folders.
        """
        places = [bases for bases in map(self.index.bases, folders) if self._may_fit(bases)]
        self.left -= len(places) * len(self.forms)
        if self.left < 0:
            msg = (
                f"{self.file} lists {len(self.forms)} names, too many to look for in all folders "
                "that it could be about; have the dataset read as a folder (--in-format)"
            )
            raise InputError(msg)
        found: dict[str, str | None] = {}
        for text, forms in self.forms.items():
            images = {self.index.from_bases(bases, forms) for bases in places}
            images.discard(None)
            if images:
                found[text] = images.pop() if len(images) == 1 else None
        return found

    def _may_fit(self, bases: list[str | None]) -> bool:
        """Tell whether images are where any of the names leads to, as far up as these go."""
        return any(base is not None for base in bases[: 1 + self._highest])

    @cached_property
    def _highest(self) -> int:
        return max((up for forms in self.forms.values() for up, _ in forms), default=0)


def _located(fits: dict[str, str | None], index: ImageIndex, *, by_path: bool) -> Located:
    meant = index.meant
    images = {text: meant.get(name, name) for text, name in fits.items() if name is not None}
    return Located(images, [text for text in fits if text not in images], by_path)


def _by_tail(texts: Iterable[str], index: ImageIndex) -> Located:
    parts = {
        text: [part for part in text.replace("\\", "/").split("/") if part not in ("", ".", "..")]
        for text in texts
    }
    most, fits = index.depth(), dict[str, str | None]()
    for text, own in parts.items():
        tail = "/".join(own)
        if 0 < len(own) <= most and tail in index.tails(len(own)):
            fits[text] = index.tails(len(own))[tail]
    if not fits:
        last, counts = index.tails(1), Counter(own[-1] for own in parts.values() if own)
        for text, own in parts.items():
            if own and own[-1] in last:
                fits[text] = last[own[-1]] if counts[own[-1]] == 1 else None
    return _located(fits, index, by_path=False)


def follow(text: str, old: str, new: str) -> str:
    """Return the name that a file has for an image once that is called `new`."""
    before, after = old.rpartition("/")[2], new.rpartition("/")[2]
    return text[: len(text) - len(before)] + after if text.endswith(before) else text
