"""The images that are chosen of a dataset, and what is told of the others beside them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from dsguard.bulk.selection import Choice, Selection, others_of
from dsguard.errors import DsguardError
from dsguard.formats.allowance import CouldHoldPictureError
from dsguard.formats.beside import is_of_all
from dsguard.formats.folder.reader import TreeSource

if TYPE_CHECKING:
    from dsguard.bulk.shard import ShardSpec
    from dsguard.formats.base import Source
    from dsguard.formats.others import Others


@dataclass(frozen=True)
class Chosen:
    """The images that a run has chosen.

    Attributes
    ----------
    source : Source
    selection : Selection
    specs : sequence of ShardSpec
        With the names of the images.
    """

    source: Source
    selection: Selection
    specs: Sequence[ShardSpec]

    @cached_property
    def others(self) -> Others | None:
        """The images that are not wanted; None where all are."""
        if not self.is_cut:
            return None
        return others_of(Choice(self.source, self.selection))

    @property
    def is_part(self) -> bool:
        """Whether some of the images are chosen, and others are not."""
        return self.selection != Selection()

    def of_others(self) -> set[str]:
        """Return the files beside images alone that are not wanted."""
        if not self.is_cut:
            return set()
        of_others = {text for own in self._beside.values() for text in own} - self._of_wanted
        return {text for text in of_others if not is_of_all(text)}

    @cached_property
    def is_cut(self) -> bool:
        """Whether there are images that are not wanted; of shards, whether there may be."""
        if not self.is_part or not isinstance(self.source, TreeSource):
            return self.is_part
        return len(set(self.images())) < len(self.source.names())

    @cached_property
    def _beside(self) -> dict[str, tuple[str, ...]]:
        """The files beside each image of a folder."""
        if not isinstance(self.source, TreeSource):
            return {}
        texts = [*self.source.companions(), *self.source.left_out()]
        return self.source.texts_beside(self.source.names(), texts)

    @cached_property
    def _of_wanted(self) -> set[str]:
        """The files beside the images that are wanted."""
        return {text for name in set(self.images()) for text in self._beside.get(name, ())}

    @cached_property
    def own(self) -> set[str]:
        """The files beside images that are wanted which tell of no other image, by their names."""
        return {name for name in self._of_wanted if not is_of_all(name)}

    def images(self) -> Iterator[str]:
        """Yield the names of the images that are wanted."""
        return (name for spec in self.specs for name in spec.part.names or ())

    def cut(self, name: str, data: bytes, names: dict[str, str]) -> bytes | None:
        """Return a list of images as it tells of those that are chosen, under their own names.

        None where all are, it is no such list, or still names others.
        """
        if not self.is_cut or name in self.own:
            return None
        try:
            cut = self.source.renamed(name, data, self.source.own_names(name, names))
            is_list = self.source.unlisted(name, cut)[1]
        except (DsguardError, CouldHoldPictureError):  # it is not read
            return None
        return cut if is_list and not self.tells_of_others(name, cut) else None

    def tells_of_others(self, name: str, data: bytes) -> bool:
        """Tell whether a file that is published may tell of images that were not chosen.

        Lists of images are cut by their source: only what is left of them is looked at, in which
        numbers are those of categories and the like.
        """
        if self.others is None or name in self.own:
            return False
        try:
            left, is_list = self.source.unlisted(name, data)
        except (DsguardError, CouldHoldPictureError):  # it is not read
            return True
        return self.others.are_told_by(name, left, numbers=not is_list)
