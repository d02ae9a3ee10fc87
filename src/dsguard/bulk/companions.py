"""Files beside the images of a dataset, copied once all its shards are done."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING

from dsguard.bulk.selection import Selection
from dsguard.errors import DsguardError, InputError
from dsguard.formats.beside import is_text, stem_of, texts_beside
from dsguard.formats.disclosure import A_KEY, Disclosure, Review, kind_of
from dsguard.formats.folder.reader import TreeSource, read_or_error
from dsguard.formats.folder.writer import OWN_FAULTS
from dsguard.formats.harmless import holds_key
from dsguard.formats.images import with_suffix

if TYPE_CHECKING:
    from dsguard.bulk.destination import Destination
    from dsguard.bulk.report import Report
    from dsguard.formats.base import Source


@dataclass
class Companions:
    """The files beside the images of a dataset.

    Attributes
    ----------
    source : Source
    destination : Destination
    renamed : dict of str to str
        By name, under which an image is written, where it is not its own with the new suffix.
    disclosure : Disclosure or None
        The owner's decisions on them; None where all go along.
    selection : Selection
        What it excludes does not go along.
    """

    source: Source
    destination: Destination
    renamed: dict[str, str]
    disclosure: Disclosure | None
    selection: Selection

    @cached_property
    def review(self) -> Review:
        """The account of what is left out."""
        names = self.source.names() if isinstance(self.source, TreeSource) else ()
        return Review(self.disclosure or Disclosure(), names)

    def copy(self, report: Report) -> set[str]:
        """Copy the files beside the images that go along; return their names."""
        copied, names = set[str](), self._new_names(report) if self.wanted else {}
        for name in self.wanted:
            data = read_or_error(partial(self.source.read_companion, name))
            if isinstance(data, DsguardError):
                report.add_broken(name, data)
                continue
            if self.disclosure is not None and holds_key(data):
                self.review.leave_out(name.rpartition("/")[2], name, A_KEY)
                continue
            if self.disclosure is not None and self.review.disclosure.says(name) is None:
                kept = self.source.reviewed_companion(name, data, self.review)
                if kept is None:
                    continue
                data = kept
            data = read_or_error(partial(self.source.renamed, name, data, names))
            if isinstance(data, DsguardError):
                report.add_broken(name, data)
                continue
            if name in self.of_shards:
                told = "a field of an image comes out under this name; rename one of them"
                report.add_broken(name, InputError(told))
                continue
            try:
                self.destination.output.place.write(name, data)
            except DsguardError as error:  # of its name
                report.add_broken(name, error.to_keep())
                continue
            except OSError as error:
                if error.errno not in OWN_FAULTS:
                    raise
                report.add_broken(name, InputError(f"cannot be written: {error.strerror}"))
                continue
            copied.add(name)
        return copied

    @cached_property
    def wanted(self) -> list[str]:
        """The files that may go along; those that nothing here reads are noted."""
        return list(self._wanted())

    def _wanted(self) -> Iterator[str]:
        """Yield the files that may go along; note those that nothing here reads."""
        source, review, output = self.source, self.review, self.destination.output
        own = self._in_shards() | self._of_others()
        of_arrays = source.kind in ("numpy", "cifar") and output.kind != source.kind
        for name in source.companions():
            if self.selection.leaves_out(name):
                continue
            in_images = name in own or (of_arrays and not is_text(name))  # labels, names of classes
            if not in_images and review.disclosure.says(name) is not False:
                yield name
        for name in source.left_out():
            said = not self.selection.leaves_out(name) and review.disclosure.says(name)
            if said is None:
                review.leave_out(kind_of(name), name, _not_read(name))
            elif said:
                yield name

    @cached_property
    def of_shards(self) -> set[str]:
        """The files that fields of shards have become: a companion must not take their place."""
        is_copy = isinstance(self.source, TreeSource) or self.destination.output.kind != "folder"
        return set() if is_copy else self.destination.written()

    def _in_shards(self) -> set[str]:
        """Return the text files that shards have as fields of their images."""
        if self.destination.output.kind == "folder":
            return set()
        texts = (spec.part.beside or () for spec in self.destination.specs)
        beside = {name for of_part in texts for of_image in of_part for name in of_image}
        return beside.union(self.source.listings())

    def _of_others(self) -> set[str]:
        """Return the text files beside images alone that are not wanted."""
        if not isinstance(self.source, TreeSource):
            return set()
        texts, wanted = self.source.companions(), set(self._images())
        if not texts or len(wanted) == len(names := self.source.names()):
            return set()
        beside = texts_beside(names, texts)
        of_wanted = {text for name in wanted for text in beside.get(name, ())}
        of_others = {text for own in beside.values() for text in own} - of_wanted
        return {text for text in of_others if stem_of(text).upper() not in _OF_ALL}

    def _images(self) -> Iterator[str]:
        """Yield the names of the images that are wanted."""
        return (name for spec in self.destination.specs for name in spec.part.names or ())

    def _new_names(self, report: Report) -> dict[str, str]:
        """Return the names of the images that were written, by their names in the source."""
        suffix = self.destination.specs[0].suffix
        names = {
            name: self.renamed.get(name) or with_suffix(name, suffix) for name in self._images()
        }
        # Restored files have the names that they once had, which only the manifests tell.
        restored = self.disclosure is None and self.destination.output.kind == "folder"
        for spec in self.destination.specs if report.failed or restored else ():
            for line in self.destination.journal.lines(spec.number) or ():
                if line["error"] is not None:
                    names.pop(line["name"], None)
                elif restored and line["name"] in names:
                    names[line["name"]] = line["file"]
        return names


_OF_ALL = ("CLASSES", "LABELS", "LICENSE", "NOTICE", "README")
"""Text files of a dataset as a whole, whatever image is called so as well."""


def _not_read(name: str) -> str:
    if name.lower().endswith((".heic", ".heif", ".avif", ".jxl", ".jp2", ".dng", ".cr2", ".nef")):
        return "is an image of a kind that is not read; convert it to PNG or JPEG"
    return "is not read as an image, nor as text"
