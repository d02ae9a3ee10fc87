"""The destination of a run: the shards that are done there, and the files that do not belong."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dsguard.bulk.checks import check_destination, check_empty
from dsguard.bulk.journal import Journal, told
from dsguard.bulk.lines import files_of
from dsguard.bulk.sealed_fields import is_own
from dsguard.bulk.shard import ShardResult, ShardSpec
from dsguard.errors import DsguardError, InputError, NotProtectedError, WrongKeyError
from dsguard.formats.names import is_hidden
from dsguard.formats.places import LocalPlace, Place
from dsguard.formats.places.spelling import Apart, alike
from dsguard.formats.sink import Output
from dsguard.formats.writers import file_name

if TYPE_CHECKING:
    from dsguard.bulk.report import Report

_SIDECARS = ".sidecars.npz"

CONTENTS = "contents"
"""The fact that changes with the images of a dataset, and tells people nothing."""

CODE = "code"
"""The fact that proves the others: nobody can tell it who does not have the key of the run."""


@dataclass
class Destination:
    """A destination, and its shards from this run and from those before it.

    Attributes
    ----------
    specs : list of ShardSpec
    output : Output
    journal : Journal
    facts : dict of str to str
        All that decides what is written: an earlier run had the same, or has to go.
    is_new : bool
        Whether no run had begun there before.
    is_made : bool
        Whether the folder itself was not there.
    """

    specs: list[ShardSpec]
    output: Output
    journal: Journal
    facts: dict[str, str]
    is_new: bool = False
    is_made: bool = False

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other runs away; leave no journal behind if nothing was begun.

        The destination is made first: a journal that appears tells others where it will be.
        """
        place = self.output.place
        self.is_made = not place.exists("")
        place.hold()
        try:
            with self.journal.locked():
                self._check_beside(place, self.journal.place)
                # it may have become published, or had a folder below it, since it was looked at
                check_destination(str(place), publishes=self.specs[0].task.publishes)
                yield
        finally:
            if self.is_made:
                place.remove_if_empty()
            place.release()

    @staticmethod
    def _check_beside(place: Place, journal: Place) -> None:
        """Refuse the journal of another destination: somebody has put a link in the way."""
        if not (isinstance(place, LocalPlace) and isinstance(journal, LocalPlace)):
            return
        if not place.lies_beside(journal):
            msg = f"{place} became another folder while the run began; give a folder of your own"
            raise InputError(msg)

    def begin(self, report: Report, *, overwrite: bool) -> list[ShardSpec]:
        """Return the shards that are left to do; what is done goes to the report."""
        earlier = None if overwrite else self.journal.settings()
        self._clear_scratch()
        if overwrite:
            others = self._remove_earlier()
            self.journal.begin(self.facts)
            self.journal.keep_before(others)
            return self.specs
        if earlier is None:
            check_empty(self.output.place)
            self.is_new = True
            self.journal.begin(self.facts)
            return self.specs
        self._check_same(earlier)
        again = self.journal.is_finished()
        done = self.journal.done()
        left, kept = [], set[int]()
        for spec in self.specs:
            lines = self.journal.lines(spec.number) if spec.number in done else None
            if (
                lines is not None
                and self.journal.stamp(spec.number) == spec.stamp
                and self._are_there(spec.number, lines)
            ):
                count, failures = told(lines)
                if not (again and failures):
                    result = ShardResult(spec.number, count, 0, failures)
                    result.left_out = self.journal.left_out(spec.number)
                    result.sealed_fields = self.journal.sealed_fields(spec.number)
                    result.met = self.journal.met(spec.number)
                    result.published = self.journal.published(spec.number)
                    report.add(result)
                    report.resumed += 1
                    kept.add(spec.number)
                    continue
            left.append(spec)
        self._drop(done - kept, kept)
        return left

    def _drop(self, numbers: set[int], kept: set[int]) -> None:
        """Remove what shards have written that are done anew, or are no more.

        Those that were killed had noted what they were about to write, maybe by other options.
        """
        begun = self.journal.intended(but=kept)
        if not (numbers or begun):
            return
        own = {name for number in kept for name in self._written(number)}
        self.remove(begun, but=own | self.journal.before())
        self.remove({name for number in numbers for name in self._written(number)}, but=own)
        for number in sorted(numbers):
            self.journal.drop(number)
        self.journal.forget_intended(but=kept)

    def _written(self, number: int) -> set[str]:
        """Return the files of a shard of an earlier run."""
        return self._written_as(number, self.journal.lines(number) or [])

    def _written_as(self, number: int, lines: list[dict[str, Any]]) -> set[str]:
        """Return the files of a shard with such a manifest."""
        files = files_of(lines)
        sidecars = (self._untold_sidecars(number, file) for file in files)
        return files.union(*sidecars, self.journal.also(number))

    def _untold_sidecars(self, number: int, file: str) -> set[str]:
        """Return the file with the sidecars of another, which earlier versions did not note."""
        is_noted = bool(self.journal.written(number)) or not file.endswith(".npy")
        return set() if is_noted else {f"{file}{_SIDECARS}"}

    def written(self) -> set[str]:
        """Return the files of all shards that are done."""
        return set[str]().union(*map(self._written, self.journal.done()))

    def beside_images(self) -> set[str]:
        """Return the files beside images that shards have written for all to read."""
        found = set[str]()
        for number in self.journal.done():
            lines = self.journal.lines(number) or []
            found |= self._written_as(number, lines).difference(line["file"] for line in lines)
        return {name for name in found if not (is_own(name) or name.endswith(_SIDECARS))}

    def _are_there(self, number: int, lines: list[dict[str, Any]]) -> bool:
        """Tell whether what a manifest lists was neither removed since, nor changed."""
        place = self.output.place
        names = files_of(line for line in lines if line["error"] is None)
        names.update(self.journal.also(number))
        written = self.journal.written(number)
        is_same = not written or written == place.stamp_of_written(names)
        return is_same and all(map(place.exists, names))

    def _remove_earlier(self) -> set[str]:
        """Remove what an earlier run wrote: it might have other images. Return what is left.

        Raises
        ------
        InputError
            If that run did not come to its end, and there are files that may be of it or not.
        """
        place, journal, written = self.output.place, self.journal, self.written()
        intended = journal.intended().union(journal.companions()) - written
        found = place.files() if place.exists("") else []
        there = {name for name in found if not is_hidden(name)}
        left = there - written - intended
        if journal.is_cut_short():
            before = journal.before()
            unsure = (left - before) | (there & intended & before)
            if unsure:
                msg = (
                    f"{place}/{min(unsure)} may be of the run that was cut short there, or of "
                    "somebody else; remove it or move it away, or choose another destination"
                )
                raise InputError(msg)
        self.remove(written | intended)
        return left

    def remove(self, names: Iterable[str], but: Iterable[str] = ()) -> None:
        """Remove files that are there, but for some, of which these may be other spellings."""
        place = self.output.place
        kept = set(map(place.folded, but))
        for name in names:
            if place.folded(name) not in kept and place.exists(name):
                place.discard(name)

    def _check_same(self, earlier: dict[str, str]) -> None:
        names = {**self.facts, **earlier}
        other = [name for name in names if self.facts.get(name) != earlier.get(name)]
        if other == [CODE]:
            msg = (
                f"{self.journal.place} was made by no run with this key, though it says so; what "
                "lies here may be of anybody: choose another destination, or begin anew with "
                "--overwrite"
            )
            raise InputError(msg)
        if other:
            told = "; ".join(
                f"{name} was {earlier.get(name, 'not set')}, is {self.facts.get(name, 'not set')}"
                for name in other
                if name not in (CONTENTS, CODE)
            )
            msg = (
                f"{self.output.place} holds the output of another run "
                f"({told or 'the source has other images'}); give what it was given, choose "
                "another destination, or begin anew with --overwrite"
            )
            raise InputError(msg)

    def is_refused(self, report: Report) -> bool:
        """Tell whether nothing came of it, since the key or the source was the wrong one."""
        refused = report.kinds.keys() & {WrongKeyError, NotProtectedError}
        return self.is_new and bool(refused) and not report.done

    def clean_up(self, report: Report) -> None:
        """Leave nothing half done behind; nothing at all if the key or the source was wrong."""
        self._clear_scratch()
        journal = self.journal
        has_nothing = not (report.done or report.failed or journal.done() or journal.intended())
        if self.is_refused(report) or (self.is_new and has_nothing):
            journal.forget()

    def look_back(self, report: Report) -> None:
        """Report what lies in the destination and is not to be published.

        Once all is done, these are also the files that no run has written.
        """
        place = self.output.place
        try:
            found = place.listing()
            hidden = place.hidden_files(found)
        except FileNotFoundError:  # nothing came of it
            return
        except (DsguardError, OSError) as error:  # nobody can say what else is published
            reason = f"cannot be looked through for files that no run has written: {error}"
            report.add_broken(str(place), InputError(reason))
            return
        report.leftovers += [f"{place}/{name}" for name in found.leftovers]
        if self.journal.is_finished():
            files = {name for name in (*found.files, *found.refused) if not is_hidden(name)}
            files = (files - self.own_files()).union(hidden, found.leftovers)
            report.foreign += [f"{place}/{name}" for name in sorted(files)]

    def look_for_twice(self, report: Report) -> None:
        """Report files that two shards have written: images, what belongs to them or to none.

        Restored ones may have had one name; whoever adds a shard may call its members so. Names
        that differ may be one to a disk.
        """
        place = self.output.place
        first: dict[str, tuple[int, str, str]] = {}
        for spec in self.specs:
            for file, name in self._files_and_origins(spec):
                own = (spec.number, file, name)
                number, earlier, other = first.setdefault(place.folded(file), own)
                if earlier != file:
                    lost = "came out as one file, and one was overwritten"
                    report.add_broken(file, alike(earlier, file, place, lost))
                elif number != spec.number:
                    msg = (
                        f"{other} and {name} both came back under this name, and one was "
                        "overwritten; rename one of the two, and begin anew with --overwrite"
                    )
                    report.add_broken(file, InputError(msg))
        self._look_for_merged(report, (file for _, file, _ in first.values()))

    def _look_for_merged(self, report: Report, files: Iterable[str]) -> None:
        """Report folders that became one: they are classes, or splits, to many."""
        place, seen = self.output.place, {""}
        apart = Apart(place)
        for file in files:
            folder = file.rpartition("/")[0]
            while folder not in seen:
                seen.add(folder)
                if other := apart.other(folder):
                    error = alike(other, folder, place, "became one folder")
                    report.add_broken(f"{folder}/", error)
                folder = folder.rpartition("/")[0]

    def _files_and_origins(self, spec: ShardSpec) -> Iterator[tuple[str, str]]:
        """Yield the files of a shard, and the images or shards that they came of."""
        kind, origin = self.output.kind, spec.part.file or f"shard {spec.number}"
        if kind != "folder":
            file = file_name(kind, spec.part, spec.number)
            yield file, origin
        for line in self.journal.lines(spec.number) or () if kind == "folder" else ():
            if line["error"] is None:
                yield line["file"], line["name"]
                yield from ((file, line["name"]) for file in line.get("beside", ()))
        yield from ((file, origin) for file in self.journal.also(spec.number))

    def own_files(self) -> set[str]:
        """Return all files that this run, and those before it, have written."""
        return self.of_shards().union(self.journal.companions())

    def of_shards(self) -> set[str]:
        """Return the files that the shards of this run come out as."""
        if self.output.kind == "folder":
            return self.written()
        own = set[str]()
        for spec in self.specs:
            file = file_name(self.output.kind, spec.part, spec.number)
            own |= {file, *self.journal.also(spec.number)}
            own |= self._untold_sidecars(spec.number, file)
            if spec.part.stop and not spec.part.start:  # an earlier version named it as the source
                own |= self._written(spec.number)
        return own

    def _clear_scratch(self) -> None:
        """Remove what is not whole, of this run or of one that was killed."""
        self.output.place.clear_scratch()
        self.journal.place.clear_scratch()
