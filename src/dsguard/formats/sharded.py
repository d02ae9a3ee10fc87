"""Folders of files that hold images."""

from __future__ import annotations

from dsguard.formats.base import Source
from dsguard.formats.beside import strays_among, texts_among
from dsguard.formats.places import Place


class ShardedSource(Source):
    """A folder of files that hold images, or one such file.

    Parameters
    ----------
    place : Place
    files : list of str
        The files, by name.
    """

    def __init__(self, place: Place, files: list[str]) -> None:
        super().__init__(place)
        self.files = files

    def shards(self) -> list[str]:
        return self.files

    def companions(self) -> list[str]:
        return texts_among(self._listing.files)

    def left_out(self) -> list[str]:
        return strays_among(self._listing.files, set(self.files))
