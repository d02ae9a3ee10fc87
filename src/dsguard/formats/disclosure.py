"""Disclosure: what the owner of a dataset decides, and the account of what is left out.

Protected images, labels and names are published. Everything else is looked at, in `review`, unless
its owner has decided on it by name.
"""

from __future__ import annotations

import glob
from dataclasses import dataclass

from dsguard.errors import InputError
from dsguard.formats.patterns import like, like_within, steps_of

NOT_CHOSEN = "may tell of images that were not chosen"
"""Why something is not sealed where images are chosen."""


NO_ROOM = "has no place beside images of another format; keep the format of the source"
"""Why arrays are left out that only files of arrays have room for."""


THE_CLASS = "is the class of the images, which is published in any case; take it out yourself"
"""Why something is named that its owner drops, and that is published."""


SHOWN_CLASS = (
    "has the class of the images, which is not published, and shows in the drawn pictures; add "
    "--no-labels, or publish it (--publish)"
)
"""Why something is named that has the class of images, where their pictures tell it."""


UNNAMED = "is not named, and nothing else is published"


A_KEY = "holds the key of a dataset, or a token, which is never published; keep it elsewhere"


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
    only_named : bool
        Whether nothing goes along but images, their names and classes, and what `publish` names.
    """

    publish: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    only_named: bool = False

    def __post_init__(self) -> None:
        for given in (self.publish, self.drop):
            if type(given) is not tuple or not all(isinstance(each, str) for each in given):
                msg = f"publish and drop are tuples of patterns, not {given!r}"
                raise InputError(msg)


@dataclass(frozen=True)
class ClassPlace:
    """Where the class of images lies in a dataset.

    Attributes
    ----------
    file : str
        A file, a field, or an object in one.
    key : str
        The key, column or array in it; empty for all of it.
    is_named : bool
        Whether it goes along as the class of images, and not as any other value.
    """

    file: str
    key: str = ""
    is_named: bool = True

    @property
    def name(self) -> str:
        return f"{self.file}/{self.key}" if self.key else self.file


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


class Account:
    """What the owner decides on the things beside some images, and what is left out of them.

    Parameters
    ----------
    disclosure : Disclosure

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
    shows_class : bool
        Whether the pictures that are published tell the class of images.
    """

    def __init__(self, disclosure: Disclosure) -> None:
        self.disclosure = disclosure
        self.left_out: dict[str, LeftOut] = {}
        self.met: set[str] = set()
        self.seals = False
        self.is_cut = False
        self.shows_class = False
        self._noted: set[str] = set()

    def says(self, name: str) -> bool | None:
        """Tell whether a name is to be published; None where the owner has not decided."""
        if found := like(name, self.disclosure.drop) or like_within(name, self.disclosure.drop):
            self.met.update(found)
            return False
        return True if like(name, self.disclosure.publish, exactly=True) else None

    def says_of(self, file: str, name: str) -> bool | None:
        """Tell the same of a key, column or array in a file; one with dots is a path of them."""
        whole, *steps = steps_of(name)
        said = self.says(f"{file}/{whole}")
        is_dropped = said is False or any(self.says(f"{file}/{step}") is False for step in steps)
        return False if is_dropped else said

    @property
    def is_strict(self) -> bool:
        """Whether only that is published which its owner names."""
        return self.disclosure.only_named

    def withholds(self, kind: str, name: str) -> bool:
        """Tell whether something that is not named goes to nobody; note it then."""
        if self.is_strict:
            self.leave_out(kind, name, UNNAMED)
        return self.is_strict

    def leave_out(
        self, kind: str, name: str, reason: str, count: int = 1, *, sealable: bool = True
    ) -> None:
        """Note that something is not published, and not sealed."""
        if self._is_sealed(reason, sealable=sealable):
            return
        is_suffix = kind.startswith("*.") and name.endswith(kind[1:])
        literal = kind[2:] if is_suffix and name.rpartition("/")[2] != kind else kind
        kind = f"{kind[: len(kind) - len(literal)]}{glob.escape(literal)}"  # a pattern of it alone
        add_up(self.left_out, {kind: LeftOut(count, name, reason)})

    def leave_out_once(self, name: str, reason: str, *, sealable: bool = True) -> None:
        """Note the same of something that many rows share, which is met again with each of them."""
        if name not in self._noted and not self._is_sealed(reason, sealable=sealable):
            self._noted.add(name)
            self.leave_out(name.rpartition("/")[2], name, reason, sealable=sealable)

    def _is_sealed(self, reason: str, *, sealable: bool) -> bool:
        return self.seals and sealable and reason != A_KEY

    def keep_class(self, name: str) -> None:
        """Name what has the class of images, and is published, where its owner would drop it."""
        if self.says(name) is False:
            self.name_class(name)

    def name_class(self, name: str) -> None:
        """Name what has the class of images, is dropped, and is published."""
        self.leave_out(name.rpartition("/")[2], name, THE_CLASS, sealable=False)

    def leave_class_out(self, name: str) -> None:
        """Name what has the class of images, and goes not along, where pictures tell it."""
        if self.shows_class:
            add_up(self.left_out, {"class of the images": LeftOut(1, name, SHOWN_CLASS)})

    def drops_class(self, place: ClassPlace) -> bool:
        """Tell whether its owner drops what has the class of images."""
        if place.key:
            return self.says_of(place.file, place.key) is False
        return self.says(place.file) is False


def kind_of(name: str) -> str:
    """Return the pattern of files like this one: those of its suffix."""
    last = name.rpartition("/")[2]
    _, dot, suffix = last.rpartition(".")
    return f"*.{suffix}" if dot else last
