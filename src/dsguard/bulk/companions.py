"""Files beside the images of a dataset, copied once all its shards are done."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import chain
from typing import TYPE_CHECKING, Any

from dsguard.bulk.chosen import Chosen
from dsguard.bulk.clean_names import packed_names
from dsguard.bulk.dates import packed_dates, set_dates
from dsguard.bulk.hidden_classes import files_with_classes, loses_classes, shows_class
from dsguard.bulk.programs import fault_of_published, without_programs
from dsguard.bulk.published_files import PublishedFiles, packed_digests
from dsguard.bulk.sealed_fields import is_own
from dsguard.bulk.sealed_files import (
    MOST_BYTES,
    SEALED_FILES,
    is_called_sealed,
    opened_in,
    sealed,
    sealed_in,
    start_of,
)
from dsguard.bulk.sealed_lists import DATES, NAMES, PUBLISHED, without_lists
from dsguard.bulk.selection import Selection
from dsguard.errors import DsguardError, FormatError, InputError
from dsguard.formats.arrays.cifar import check_loaded
from dsguard.formats.arrays.reader import ArraySource
from dsguard.formats.croissant import CROISSANT, is_of_protected
from dsguard.formats.croissant import read as read_croissant
from dsguard.formats.disclosure import (
    A_KEY,
    NO_ROOM,
    NOT_CHOSEN,
    Disclosure,
    LeftOut,
    add_up,
    kind_of,
)
from dsguard.formats.folder.opened import OpenedSource
from dsguard.formats.folder.reader import TreeSource, read_or_error
from dsguard.formats.folder.writer import error_of_writing
from dsguard.formats.images import is_image_name, with_suffix
from dsguard.formats.insides import READERS
from dsguard.formats.names import fault_of, is_hidden
from dsguard.formats.no_images import A_POINTER, is_pointer
from dsguard.formats.places.spelling import Apart, alike
from dsguard.formats.review import Review
from dsguard.formats.sealing import digest_of_file
from dsguard.formats.texts import json_of

if TYPE_CHECKING:
    from dsguard.bulk.destination import Destination
    from dsguard.bulk.report import Report
    from dsguard.bulk.tasks import Task
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
    task : Task
        Where it keeps files, those that do not go along are sealed.
    """

    source: Source
    destination: Destination
    renamed: dict[str, str]
    disclosure: Disclosure | None
    selection: Selection
    task: Task
    _of_shards: set[str] = field(default_factory=set, init=False, repr=False)
    croissant: dict[str, Any] | None = field(default=None, init=False, repr=False)
    """The Croissant document of the source, without what its owner drops; to be mended."""
    _broken: dict[str, DsguardError] = field(default_factory=dict, init=False, repr=False)
    _held: dict[str, bytes] = field(default_factory=dict, init=False, repr=False)
    _room: int = field(default=MOST_BYTES, init=False)
    _strange: dict[str, InputError] = field(default_factory=dict, init=False, repr=False)
    """Those that were published, and that anybody can have put there or changed."""
    _digests: list[bytes] = field(default_factory=list, init=False, repr=False)
    """Of those that were written."""

    @property
    def seals(self) -> bool:
        """Whether what does not go along is sealed."""
        return self.task.seals

    @cached_property
    def chosen(self) -> Chosen:
        """The images that are chosen, and the files that are theirs."""
        return Chosen(self.source, self.selection, self.destination.specs)

    @cached_property
    def review(self) -> Review:
        """The account of what is left out."""
        names = self.source.names() if isinstance(self.source, TreeSource) else ()
        review = Review(self.disclosure or Disclosure(), names, self.task.own_key, READERS)
        kind = self.destination.output.kind
        review.account.shows_class = shows_class(self.task, self.source, kind)
        return review

    def copy(self, report: Report) -> set[str]:
        """Copy the files beside the images that go along; return the names of what was written."""
        names = self._new_names(report) if self.wanted or self.seals else {}
        self._of_shards = self.destination.of_shards()
        if self.disclosure is None and isinstance(self.source, ArraySource):
            self._of_shards.difference_update(self.source.sidecar_files())  # clean images have none
        for name, error in self._broken.items():
            report.add_broken(name, error)
        copied = {name for name in self.wanted if self._copied(name, names, report)}
        if self.disclosure is None and isinstance(self.source, ArraySource):
            for name in sorted(self._of_arrays().intersection(self.source.companions())):
                self._read(name, report)  # classes of images come from it
        for name in sorted(self._with_classes - copied):
            self.review.account.leave_class_out(name)
        if self.disclosure is not None:
            copied |= self._seal(names, copied, report)
        report.sealed_files += len(self._opened & (copied | self._in_shards()))
        is_folder = self.destination.output.kind == "folder"
        is_told = isinstance(self.source, OpenedSource) and not is_folder  # which has no dates
        for name in sealed_in(self.source) if self.disclosure is None and not is_told else ():
            copied |= self._unsealed(name, copied, report)
        for name in sorted(self._strange.keys() - copied):
            report.add_broken(name, self._strange[name])
        return copied

    @cached_property
    def _published(self) -> PublishedFiles:
        """The files of the source that were published with its images."""
        return PublishedFiles.of(self.source, self.task.key)

    @property
    def _opened(self) -> frozenset[str]:
        """The files that had been sealed, and are there as they were."""
        return self.source.opened if isinstance(self.source, OpenedSource) else frozenset()

    def _seal(self, names: dict[str, str], copied: set[str], report: Report) -> set[str]:
        """Write the file with those that are held, and lists of all that is written."""
        key, held = self.task.own_key, dict(self._held)
        is_folder = self.seals and self.destination.output.kind == "folder"
        tree = self.source if is_folder and isinstance(self.source, TreeSource) else None
        if tree is not None:
            is_told = held or (self.wanted and any(map(_has_other_stem, names, names.values())))
            known_by_names = packed_names(names) if is_told else b""
            if len(known_by_names) > max(self._room, _MOST_NAMES):
                self.review.account.leave_out(SEALED_FILES, SEALED_FILES, _MANY_NAMES)
            elif known_by_names:
                self._room -= len(known_by_names)
                held[NAMES] = known_by_names
        published = self._packed_digests()
        if tree is not None:
            dates = packed_dates(tree, {*names, *copied, *self._held})
            if dates and len(dates) + len(published or b"") <= self._room:
                held[DATES] = dates
        if published is not None and (published or held):
            held[PUBLISHED] = published
        if key is None or not held:
            return set()
        report.sealed_files += len(self._held)
        is_written = self.write(SEALED_FILES, sealed(held, key), report)
        return {SEALED_FILES} if is_written else set()

    def _packed_digests(self) -> bytes | None:
        """Return digests of all files beside the images; None, and named, where there is none."""
        journal = self.destination.journal
        of_shards = [journal.beside_digests(number) for number in journal.done()]
        digests = chain(self._digests, *(each for each in of_shards if each is not None))
        packed = packed_digests(digests)
        is_older = None in of_shards and self.destination.beside_images()
        if not is_older and len(packed) <= self._room:
            return packed
        reason = _OF_OLDER if is_older else _MANY_FILES
        self.review.account.leave_out(SEALED_FILES, SEALED_FILES, reason)
        return None

    def _read(self, name: str, report: Report) -> bytes | None:
        """Return the content of a file that may be copied; None where that is seen to otherwise."""
        data = read_or_error(partial(self.source.read_companion, name))
        if isinstance(data, DsguardError):
            report.add_broken(name, data)
        elif self.disclosure is not None and is_pointer(data):
            report.add_broken(name, InputError(A_POINTER))
        elif self.disclosure is not None and self.review.drops.holds_key(data):
            self.review.account.leave_out(name.rpartition("/")[2], name, A_KEY)
        elif name == CROISSANT and self._is_croissant(data):
            pass
        elif fault := self._fault(name, data):
            if not is_called_sealed(name):  # a spare copy, or a check sum of one
                self._strange[name] = fault
        else:
            return data
        return None

    def _is_own(self, name: str) -> bool:
        """Tell whether a file beside arrays is read with these."""
        return isinstance(self.source, ArraySource) and name in self.source.own_companions()

    def _fault(self, name: str, data: bytes) -> InputError | None:
        """Return why a published file, which was not sealed, does not come back."""
        if self.disclosure is not None or name in self._opened:
            return None
        key, is_own = self.task.key, self._is_own(name)
        return fault_of_published(name, data, key, self._published, is_own=is_own)

    def _copied(self, name: str, names: dict[str, str], report: Report) -> bool:
        """Copy a file, if it goes along; hold it where it does not, or not as it was."""
        original = self._read(name, report)
        if original is None:
            return False
        is_own = self._is_own(name)
        whole = original if is_own else self._undropped(name, original)
        if whole is None:  # which is named
            return False
        cut = self.chosen.cut(name, whole, names)
        whole = whole if cut is None else cut
        data, told = self._reviewed(name, whole)
        if name in self._with_classes and loses_classes(self.source, name, whole, data):
            self.review.account.leave_class_out(name)
        if data is not None:
            renamed = read_or_error(partial(self.source.renamed, name, data, names))
            if isinstance(renamed, DsguardError):
                report.add_broken(name, renamed)
                return False
            data = renamed
        is_all = data == whole or (is_own and self.review.drops.could_tell(name, whole))  # anew
        reason = "" if is_all else self._hold(name, whole, is_cut=cut is not None)
        if is_all or reason:
            add_up(self.review.account.left_out, told)
        if reason and data is not None and not told and self.seals and not self.chosen.is_cut:
            self.review.account.leave_out(name.rpartition("/")[2], name, f"as it was, {reason}")
        write = self._written if self.disclosure is None else self.write
        return data is not None and write(name, data, report)

    @cached_property
    def _with_classes(self) -> set[str]:
        """The files that have classes of images which the pictures tell."""
        return files_with_classes(self.source) if self.review.account.shows_class else set()

    def _is_croissant(self, data: bytes) -> bool:
        """Tell whether a Croissant document is not copied as it is.

        That of a source is written once all files are there. That of protected files stays behind.
        """
        if self.disclosure is None:
            return is_of_protected(data)
        document = read_croissant(data)
        if document is None:
            return False
        self.croissant = self.review.drops.undropped(CROISSANT, document, sealing=True)
        if self.croissant is None:  # which is named
            return True
        whole = data
        if self.croissant is not document:
            whole = json_of(self.croissant).encode("utf-8", "surrogatepass")
        if (reason := self._hold(CROISSANT, whole)) and self.seals:
            self.review.account.leave_out(CROISSANT, CROISSANT, reason)
        return True

    def new_name(self, name: str) -> str:
        """Return the name under which a file of the source is published."""
        suffix = self.destination.specs[0].suffix
        return self.renamed.get(name) or with_suffix(name, suffix)

    def _reviewed(self, name: str, data: bytes) -> tuple[bytes | None, dict[str, LeftOut]]:
        """Return a file as it is published, None where it is not, and what is left out of it."""
        if self.disclosure is None or self.review.account.says(name) is not None:
            return data, {}
        before, self.review.account.left_out = self.review.account.left_out, {}
        try:
            if name not in self._labels and self.review.account.withholds(kind_of(name), name):
                return None, self.review.account.left_out
            kept = self.source.reviewed_companion(name, data, self.review)
            if kept is not None and self.chosen.tells_of_others(name, kept):
                self.review.account.leave_out(kind_of(name), name, NOT_CHOSEN)
                kept = None
            return kept, self.review.account.left_out
        finally:
            self.review.account.left_out = before

    def write(self, name: str, data: bytes, report: Report) -> bool:
        """Write a file; tell the report where that cannot be done."""
        place = self.destination.output.place
        if name in self._of_shards:
            report.add_broken(name, InputError(_TAKEN))
            return False
        if other := self._apart.other(name):
            report.add_broken(name, alike(other, name, place))
            return False
        error = error_of_writing(partial(place.write, name, data))
        if error is not None:
            report.add_broken(name, error)
            return False
        if self.disclosure is not None:
            self._digests.append(digest_of_file(name, data))
        return True

    @cached_property
    def _apart(self) -> Apart:
        """The names of all that is written, those of shards first."""
        apart = Apart(self.destination.output.place)
        for name in sorted(self._of_shards):
            apart.other(name)
        return apart

    def _hold(self, name: str, data: bytes, *, is_cut: bool = False) -> str:
        """Hold a file, to seal it with others; return why it is not, empty where it is.

        Where images are chosen, lists have to be cut: what else is about none may tell of others.
        """
        if not self.seals or (reason := fault_of(name)):
            return reason if self.seals else "is not kept"
        if self.chosen.is_cut and not is_cut and name not in self.chosen.own:
            return NOT_CHOSEN
        if len(data) > self._room:
            return f"is too much to be sealed with the others: {MOST_BYTES >> 20} MiB together"
        self._room -= len(data)
        self._held[name] = data
        return ""

    def _hold_unread(self, name: str) -> str:
        """Hold a file that is neither image nor text, as `_hold` does."""
        if not self.seals:
            return _not_read(name)
        data = read_or_error(partial(start_of, self.source, name))
        if isinstance(data, DsguardError):
            self._broken[name] = data
            return ""
        if is_pointer(data):
            self._broken[name] = InputError(A_POINTER)
            return ""
        if self.review.drops.holds_key(data):
            return A_KEY
        left = self._undropped(name, data)
        return "" if left is None else self._hold(name, left)

    def _undropped(self, name: str, data: bytes) -> bytes | None:
        """Return a file without what its owner drops of it; None, and named, if it is not read."""
        return data if self.disclosure is None else self.review.drops.without_dropped(name, data)

    def _unsealed(self, sealed_file: str, copied: set[str], report: Report) -> set[str]:
        """Write the files that were sealed together, over what was published of them, and dates.

        Of a source that is opened they have come as if nothing had been sealed.
        """
        try:
            found = opened_in(self.source, sealed_file, self.task.key)
        except DsguardError as error:
            if not isinstance(self.source, OpenedSource):  # which told it before
                report.add_broken(sealed_file, error.to_keep())
            return set()
        written = set[str]()
        if not isinstance(self.source, OpenedSource):
            found = without_programs(found, self.task.key, report.add_broken)
            files = without_lists(found)
            wanted = [name for name in files if not self.selection.leaves_out(name)]
            written = {name for name in wanted if self._written(name, files[name], report)}
            report.sealed_files += len(written)
        for name in found if self.destination.output.kind == "folder" else ():
            above, slash, last = name.rpartition("/")
            if last != DATES:
                continue
            own = self.destination.written() | copied | written
            try:
                set_dates(self.destination.output.place, above + slash, found[name], own)
            except InputError as error:
                report.add_broken(sealed_file, error)
        return written

    def _written(self, name: str, data: bytes, report: Report) -> bool:
        """Write a file that comes back; strangers may have put it there, or have sealed it."""
        try:
            if self.destination.output.kind == "cifar":
                check_loaded(name, data)
        except FormatError as error:
            report.add_broken(name, error.to_keep())
            return False
        return self.write(name, data, report)

    @cached_property
    def wanted(self) -> list[str]:
        """The files that may go along; those that nothing here reads are noted."""
        return list(self._wanted())

    def _wanted(self) -> Iterator[str]:
        """Yield the files that may go along; note those that nothing here reads."""
        source, review = self.source, self.review
        own = self._in_shards() | self.chosen.of_others() | self._of_arrays()
        for name in source.companions():
            if self.selection.leaves_out(name) or name in own:
                continue
            if review.account.says(name) is not False and not self._has_no_room(name):
                yield name
        for name in source.left_out():
            if self.selection.leaves_out(name) or name in own or self._is_opened(name):
                continue
            said = review.account.says(name)
            if said and is_own(name):
                review.account.leave_out(
                    name, name, "has the name of files that dsguard seals; rename it"
                )
            elif said or (self.disclosure is None and not fault_of(name)):
                yield name
            elif said is None and (reason := self._hold_unread(name)):
                review.account.leave_out(kind_of(name), name, reason)

    @cached_property
    def _labels(self) -> set[str]:
        """The files with the classes of arrays, which are published in any case."""
        return self.source.read_as_classes() if isinstance(self.source, ArraySource) else set()

    def _of_arrays(self) -> set[str]:
        """Return the files of arrays that are read with these, and do not go along themselves."""
        if not isinstance(self.source, ArraySource):
            return set()
        is_same = self.destination.output.kind == self.source.kind
        own = set() if is_same else self.source.read_as_classes()
        return own if self.disclosure is not None else own.union(self.source.sidecar_files())

    def _has_no_room(self, name: str) -> bool:
        """Tell whether a file would lie among images as one of theirs, or as of others; name it."""
        kind = self.destination.output.kind
        is_array = isinstance(self.source, ArraySource) and name in self.source.own_companions()
        is_table = kind == "parquet" and name.endswith(".parquet")
        if not is_table and (not is_array or kind == self.source.kind):
            return False
        if self.disclosure is None:
            self._broken[name] = InputError(NO_ROOM)
        else:
            self.review.account.leave_out(name.rpartition("/")[2], name, NO_ROOM, sealable=False)
        return True

    def _is_opened(self, name: str) -> bool:
        """Tell whether a file of the source is one that holds others, which are written."""
        return self.disclosure is None and is_own(name)

    def _in_shards(self) -> set[str]:
        """Return the text files that shards have as fields of their images."""
        if self.destination.output.kind == "folder":
            return set()
        texts = (spec.part.beside or () for spec in self.destination.specs)
        beside = {name for of_part in texts for of_image in of_part for name in of_image}
        return beside.union(self.source.listings())

    def _new_names(self, report: Report) -> dict[str, str]:
        """Return the names of the images that were written, by their names in the source."""
        suffix = self.destination.specs[0].suffix
        names = {
            name: self.renamed.get(name) or with_suffix(name, suffix)
            for name in self.chosen.images()
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


_TAKEN = (
    "an image, a shard or a field of an image comes out under this name; rename one of them, or, "
    "where others could write to the source, look how it came there"
)


_MOST_NAMES = 1 << 20
"""Bytes of the list of names that there is room for in any case."""
_MANY_NAMES = (
    "has no room for the names of all images: shards of a restored folder have what is in tables, "
    "those that are restored at once have not"
)

_MANY_FILES = (
    "has no room for the list of all files beside the images, without which none comes back: "
    "put what belongs to images into shards or tables"
)
_OF_OLDER = (
    "cannot list the files beside images that an older dsguard has written here, and these do not "
    "come back; begin anew with --overwrite"
)


def _has_other_stem(clean: str, published: str) -> bool:
    """Tell whether texts that are called as an image is are not called as the published one."""
    return with_suffix(clean, "") != with_suffix(published, "")


def _not_read(name: str) -> str:
    if is_hidden(name):
        return "is hidden; give it a name without a dot in front if it belongs to the dataset"
    if is_image_name(name, of_any_kind=True):
        return "is an image of a kind that is not decoded; take --keep files, or convert it to PNG"
    return "is not read as an image, nor as text"
