"""Covers by name, as profiles and the command line have them: a registry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dsguard.covers.attack import Attacked
from dsguard.covers.attack_settings import Attack
from dsguard.covers.base import EPSILON, Cover, Marked
from dsguard.covers.blank import Blank
from dsguard.covers.folder import FolderOfCovers
from dsguard.covers.itself import Itself
from dsguard.covers.other import Other
from dsguard.covers.patterns import DrawnPatterns, FittedPatterns
from dsguard.covers.preview import Preview
from dsguard.covers.samples import Samples
from dsguard.errors import InputError

if TYPE_CHECKING:
    from dsguard.covers.surrogate import Surrogate
    from dsguard.keys import DatasetKey


@dataclass(frozen=True)
class Ingredients:
    """All that covers are made of.

    Attributes
    ----------
    key : DatasetKey
    surrogate : Surrogate or Path or None
        A path where other processes make covers, and a network is run for each image.
    epsilon : int
        Radius of a mark, in grey levels.
    labelled : bool
        Whether images have labels, for a mark.
    steps : int
        Of an attack on each image.
    cells : int
        Of a preview, from side to side.
    samples : int
        How many images of each class show themselves.
    names : tuple of str
        The images that do, where their owner names them.
    folder : Path or None
        Of pictures to show.
    device : str or None
        Where a network runs.
    """

    key: DatasetKey
    surrogate: Surrogate | Path | None = None
    epsilon: int = EPSILON
    labelled: bool = True
    steps: int = 20
    cells: int = 8
    samples: int = 1
    names: tuple[str, ...] = ()
    folder: Path | None = None
    device: str | None = None

    def marked(self, base: Cover) -> Cover:
        """Return a cover with a pattern for each label, drawn by the key, if there are labels."""
        return Marked(base, DrawnPatterns(self.key, self.epsilon)) if self.labelled else base


def _patterns(of: Ingredients) -> Cover:
    surrogate = of.surrogate
    if isinstance(surrogate, Path):
        from dsguard.covers.surrogate import Surrogate

        surrogate = Surrogate.load(surrogate, of.device)
    assert surrogate is not None
    return Marked(Itself(), FittedPatterns(surrogate.patterns, of.epsilon))


def _attack(of: Ingredients) -> Cover:
    assert of.surrogate is not None
    attack = Attack(of.epsilon, "sample-wise", steps=of.steps)
    return Marked(Itself(), Attacked(of.surrogate, attack, of.device))


def _given(of: Ingredients) -> Cover:
    if of.folder is None:
        msg = "cover given needs a folder of pictures (--covers FOLDER)"
        raise InputError(msg)
    return FolderOfCovers.of(of.key, of.folder)


_MAKERS: dict[str, Callable[[Ingredients], Cover]] = {
    "patterns": _patterns,
    "attack": _attack,
    "other": lambda of: of.marked(Other(of.key)),
    "blank": lambda of: Blank(of.key, of.labelled),
    "preview": lambda of: Preview(of.cells),
    "samples": lambda of: Samples(of.key, of.samples, of.names, of.labelled),
    "given": _given,
}
"""All named covers. Another one is a file in this package and a line here."""

NEED_SURROGATE = frozenset({"patterns", "attack"})


def cover_named(name: str, of: Ingredients) -> Cover:
    """Return the cover of a name.

    Raises
    ------
    InputError
        If there is none, or it needs a surrogate and there is none.
    """
    if name not in _MAKERS:
        msg = f"there is no cover {name!r}; the covers are: {', '.join(_MAKERS)}"
        raise InputError(msg)
    if name in NEED_SURROGATE and of.surrogate is None:
        msg = f"cover {name} needs a surrogate; fit one, or take another cover"
        raise InputError(msg)
    return _MAKERS[name](of)
