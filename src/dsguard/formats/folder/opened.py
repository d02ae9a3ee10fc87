"""A tree of protected images, with the files that were sealed beside them.

What becomes of it has the fields and labels of the clean dataset, not those that were published.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

from dsguard.formats.beside import texts_beside
from dsguard.formats.folder.reader import TreeSource
from dsguard.formats.listings.base import ImageIndex

if TYPE_CHECKING:
    from dsguard.errors import InputError
    from dsguard.formats.base import Part
    from dsguard.formats.places import Place


class OpenedSource(TreeSource):
    """Protected images as they are published, and beside them the files of the clean dataset.

    Parameters
    ----------
    source : TreeSource
        The protected images.
    opened : Place
        Where the files lie that were sealed.
    clean : mapping of str to str
        By published name, that which the clean image had: texts know it by this. Images that are
        not in it have one name for both.
    of_samples : collection of str
        Those of the files that were fields of samples, whatever is in them.
    strange : collection of str
        Files that nobody with the key has published so: nothing is taken from them.
    """

    def __init__(
        self,
        source: TreeSource,
        opened: Place,
        clean: Mapping[str, str],
        of_samples: Collection[str] = (),
        strange: Collection[str] = (),
    ) -> None:
        super().__init__(source.place)
        self.kind = source.kind if source.is_file else "folder"
        self.is_file = source.is_file
        self.may_be_shard = source.may_be_shard
        self.has_images_of_any_kind = source.has_images_of_any_kind
        self.asked_for = source.asked_for
        self._source, self._place, self._clean = source, opened, clean
        self._of_samples, self._strange = of_samples, strange

    def __str__(self) -> str:
        return str(self._source)

    def __getstate__(self) -> dict[str, object]:
        # Parts have what is told of their images.
        return {**super().__getstate__(), "_clean": {}, "_of_samples": (), "_strange": ()}

    def names(self) -> list[str]:
        return self._source.names()

    def parts(self, size: int, wanted: Collection[str] | None = None) -> list[Part]:
        return [
            replace(part, known_as=tuple(map(self._clean_name, part.names or ())))
            for part in super().parts(size, wanted)
        ]

    def companions(self) -> list[str]:
        return [name for name in self._beside if self._goes_along(name)]

    def left_out(self) -> list[str]:
        return [name for name in self._beside if not self._goes_along(name)]

    def may_list(self) -> set[str]:
        return super().may_list().difference(self._strange)

    def fields(self) -> list[str]:
        return sorted({*self.companions(), *self._of_samples})

    def _goes_along(self, name: str) -> bool:
        return name not in self._strange and super()._goes_along(name)

    def read_companion(self, name: str) -> bytes:
        if self._place.has_file(name):
            return self._place.read(name)
        return self._source.read_companion(name)

    def dates(self, names: Iterable[str]) -> Iterator[tuple[str, int]]:
        return self._source.dates(names)

    def texts_beside(self, images: list[str], texts: list[str]) -> dict[str, tuple[str, ...]]:
        published = {self._clean_name(name): name for name in images}
        found = texts_beside(list(published), texts)
        return {published[clean]: own for clean, own in found.items()}

    def index_of(self, companion: str) -> ImageIndex:
        return self._clean_index if companion in self.opened else self.index

    def own_names(self, companion: str, names: Iterable[str]) -> dict[str, str]:
        if companion in self.opened:
            return {name: self._clean_name(name) for name in names}
        return super().own_names(companion, names)

    def refused(self) -> dict[str, InputError]:
        return self._source.refused()

    def leftovers(self) -> list[str]:
        return self._source.leftovers()

    def stamp(self, part: Part) -> str:
        return self._source.stamp(part)

    def stamp_of_texts(self, part: Part) -> str:
        digest = hashlib.sha256(repr(part.known_as).encode("utf-8", "surrogateescape"))
        for name in (name for own in part.beside or () for name in own if name in self.opened):
            digest.update(hashlib.sha256(self.read_companion(name)).digest())
        others = (
            tuple(name for name in own if name not in self.opened) for own in part.beside or ()
        )
        published = self._source.stamp_of_texts(replace(part, beside=tuple(others)))
        return f"{published} {digest.hexdigest()}"

    @cached_property
    def opened(self) -> frozenset[str]:
        """The files that were sealed."""
        return frozenset(self._place.files())

    @cached_property
    def _beside(self) -> list[str]:
        source = self._source
        return sorted({*source.companions(), *source.left_out(), *self.opened})

    @cached_property
    def _clean_index(self) -> ImageIndex:
        """The images by the names that files have for them which were sealed as they were."""
        published = {self._clean_name(name): name for name in self.names()}
        return ImageIndex(published, published)

    def _clean_name(self, name: str) -> str:
        return self._clean.get(name, name)

    def _files(self, names: Collection[str]) -> Iterator[tuple[str, Callable[[], bytes]]]:
        return self._source._files(names)
