"""Which images of a dataset, and the names that they are written under."""

from __future__ import annotations

import secrets
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from dsguard.bulk.name_patterns import NamePatterns, is_hidden, starts_of
from dsguard.errors import InputError
from dsguard.formats.folder.reader import TreeSource
from dsguard.formats.images import LOSSLESS_FORMATS, with_suffix
from dsguard.formats.names import LONGEST_PART
from dsguard.formats.others import Others
from dsguard.formats.webdataset.reader import WebDatasetSource, sample_of

if TYPE_CHECKING:
    from dsguard.formats.base import Source


@dataclass(frozen=True)
class Selection:
    """The images that are wanted.

    Attributes
    ----------
    include, exclude : tuple of str
        Patterns of names, as in a shell; ``*`` goes across folders, and the name of a folder
        stands for all below it. Without `include` all are in. Text files of a folder or archive
        stay behind as well if `exclude` has them.
    limit : int or None
        At most so many, drawn evenly from every folder.

    Examples
    --------
    >>> from dsguard.bulk import Selection
    >>> Selection(exclude=("private/*",)).has("private/1.png")
    False
    >>> Selection(exclude=("private",)).has("private/1.png")
    False
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    limit: int | None = None

    def __post_init__(self) -> None:
        for given in (self.include, self.exclude):
            if type(given) is not tuple:
                msg = f"include and exclude are tuples of patterns, not {given!r}"
                raise InputError(msg)
        if self.limit is not None and self.limit < 1:
            msg = f"limit is 1 or more, not {self.limit}"
            raise InputError(msg)

    def names(self, source: Source) -> list[str] | None:
        """Return the wanted names, None for all."""
        if not self.include and not self.exclude and self.limit is None:
            return None
        return select([name for name in source.names() if self.has(name)], self.limit)

    def has(self, name: str) -> bool:
        """Tell whether patterns take in a name."""
        included = not self.include or NamePatterns.of(self.include).has(name)
        return included and not self.leaves_out(name)

    def may_have_below(self, folder: str) -> bool:
        """Tell whether patterns may take in a name below a folder, which ends with a slash."""
        if self.leaves_out(folder):
            return False
        starts = starts_of(self.include)
        return not starts or any(
            start.startswith(folder) or folder.startswith(start) for start in starts
        )

    def leaves_out(self, name: str) -> bool:
        """Tell whether a pattern of `exclude` takes in a name: of a text file as well."""
        return NamePatterns.of(self.exclude).has(name)

    def kept(self, names: Collection[str]) -> tuple[str, ...]:
        """Return the names that no pattern of `exclude` takes in."""
        return tuple(name for name in names if not self.leaves_out(name))

    def unmatched(self, names: Iterable[str], *, publishes: bool) -> list[str]:
        """Return the patterns that take in none of all names of a dataset, to be told.

        Whoever excludes something definite would find it published: that is an error. A pattern
        that begins with a wildcard is for many datasets, of which some have nothing like it.

        Parameters
        ----------
        names : iterable of str
            Of images, and of all that lies beside them.
        publishes : bool
            Whether these are to be published.

        Raises
        ------
        InputError
        """
        exclude = [pattern for pattern in self.exclude if not is_hidden(pattern)]
        patterns = tuple(dict.fromkeys([*self.include, *exclude]))
        found, first = set[str](), ""
        for name in names if patterns else ():
            first = first or name
            found.update(NamePatterns.of(patterns).like(name))
            if len(found) == len(patterns):
                break
        for pattern in exclude:
            if pattern not in found and publishes and not pattern.startswith("*"):
                example = f" (names are like {first!r})" if first else ""
                msg = f"exclude {pattern!r}: nothing is called so{example}; mend it, or omit it"
                raise InputError(msg)
        told = [f"include {each!r}" for each in self.include if each not in found]
        return told + [f"exclude {each!r}" for each in exclude if each not in found]


def select(names: Sequence[str], limit: int | None) -> list[str]:
    """Return at most `limit` names, drawn evenly from every folder.

    Examples
    --------
    >>> from dsguard.bulk import select
    >>> select(["a/1.png", "a/2.png", "b/1.png", "b/2.png"], 2)
    ['a/1.png', 'b/1.png']
    """
    if limit is None or limit >= len(names):
        return list(names)
    by_folder: dict[str, list[str]] = defaultdict(list)
    for name in names:
        by_folder[str(PurePosixPath(name).parent)].append(name)
    turns = [
        (turn, folder, name)
        for folder, members in by_folder.items()
        for turn, name in enumerate(members)
    ]
    return sorted(name for _, _, name in sorted(turns)[:limit])


def output_names(
    names: Collection[str],
    output_format: str,
    *,
    cuts: bool = False,
    folded: Callable[[str], str] | None = None,
) -> dict[str, str]:
    """Return the name that each image is written under: its own with the format's suffix.

    Where that would give two images one name (``a.jpg`` and ``a.bmp``), they keep their old suffix
    before the new one, but for one that has the name already; where that is taken as well, a number
    comes between. No two are alike. Where it `cuts`, what is too long with its new suffix is cut.
    `folded` returns what two names have in common that are one file where they are written, as
    ``A.png`` and ``a.png`` are on some disks; without it all that differ are two.

    Examples
    --------
    >>> from dsguard.bulk import output_names
    >>> output_names(["a/1.jpg", "b/2.bmp"], "png")
    {'a/1.jpg': 'a/1.png', 'b/2.bmp': 'b/2.png'}
    """
    suffix = LOSSLESS_FORMATS[output_format]
    fitting = _fitting if cuts else _unchanged
    plain = {name: fitting(name, with_suffix(name, suffix), suffix) for name in names}
    wanted = Counter(plain.values())
    fold = folded or str
    outputs, taken = dict[str, str](), set[str]()
    for name in sorted(plain, key=lambda name: (name != plain[name], name)) if folded else plain:
        out = plain[name]
        if (wanted[out] == 1 or name == out) and fold(out) not in taken:
            outputs[name] = out
            taken.add(fold(out))
    for name in sorted(set(names) - set(outputs)):
        out, number = fitting(name, name + suffix, suffix), 2
        while fold(out) in taken:
            end = f".{number}{suffix}"
            out, number = fitting(name, name + end, end), number + 1
        outputs[name] = out
        taken.add(fold(out))
    return outputs


def _unchanged(name: str, new: str, end: str) -> str:
    del name, end
    return new


def _fitting(name: str, new: str, end: str) -> str:
    """Return a new name, cut before its end if only that makes it too long for a file."""
    folder, slash, last = new.rpartition("/")
    raw = last.encode("utf-8", "surrogateescape")
    old = name.rpartition("/")[2].encode("utf-8", "surrogateescape")
    if len(raw) <= LONGEST_PART or len(old) > LONGEST_PART:
        return new
    start = raw[: LONGEST_PART - len(end)].decode("utf-8", "ignore")
    return f"{folder}{slash}{start}{end}"


@dataclass(frozen=True)
class Choice:
    """What one run chooses of a source, small enough to be sent to a worker with each shard."""

    source: Source = field(compare=False)
    selection: Selection
    run: str = field(default_factory=lambda: secrets.token_hex(8))


@lru_cache(maxsize=1)  # each worker lists all names once, if a text of no image is met
def others_of(choice: Choice) -> Others:
    """Return the images that were not chosen; those of WebDataset by their samples as well."""
    source = choice.source
    names = source.names()
    chosen = choice.selection.names(source) or names
    if isinstance(source, WebDatasetSource):
        others = set(map(sample_of, set(names).difference(chosen)))
        samples = set(map(sample_of, chosen)) - others
        names, chosen = [*names, *samples, *others], [*chosen, *samples]
    return Others(names, chosen)


def wanted_names(source: Source, selection: Selection | None) -> list[str]:
    """Return the names of the images that are meant."""
    wanted = None if selection is None else selection.names(source)
    return source.names() if wanted is None else wanted


def classes_in(source: Source, selection: Selection | None = None) -> set[str]:
    """Return the classes of the images that are meant, as far as names tell them."""
    return classes_of(source, None if selection is None else selection.names(source))


def classes_of(source: Source, wanted: Collection[str] | None) -> set[str]:
    """Return the classes of some images, None for all, as far as names tell them."""
    if not isinstance(source, TreeSource):
        return set()
    return set(map(source.class_of, source.names() if wanted is None else wanted))
