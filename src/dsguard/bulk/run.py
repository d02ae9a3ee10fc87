"""A run: the shards of a dataset, those that are done left alone, the others given to an engine."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from dsguard._parallel.processes import end_if_imported
from dsguard.bulk.engines import Engine, engine_of
from dsguard.bulk.journal import Journal, told
from dsguard.bulk.preparing import prepared
from dsguard.bulk.selection import Selection, classes_in, output_names
from dsguard.bulk.shard import ShardResult, ShardSpec
from dsguard.bulk.tasks import Task
from dsguard.errors import (
    DsguardError,
    FormatError,
    InputError,
    NotProtectedError,
    WorkerError,
    WrongKeyError,
)
from dsguard.formats.base import Part
from dsguard.formats.disclosure import Disclosure, LeftOut, Review, add_up, kind_of
from dsguard.formats.folder.reader import TreeSource, distinct, is_text, read_or_error
from dsguard.formats.images import LOSSLESS_FORMATS, check_output_format, with_suffix
from dsguard.formats.names import JOURNAL, checked, is_hidden, shard_name
from dsguard.formats.place import Listing, LocalPlace, Place, RemotePlace, place_of
from dsguard.formats.sink import Output
from dsguard.formats.writers import file_name, output_kind
from dsguard.keys import DatasetKey

if TYPE_CHECKING:
    from dsguard.formats.base import Source

SHARD_SIZE = 5000
"""Images of one shard, where the files of the dataset do not say otherwise."""

_LISTED = 10_000
_CONTENTS = "contents"


@dataclass
class Report:
    """What became of a dataset.

    Attributes
    ----------
    done : int
        Images written, or found intact.
    failed : int
        Images without a result.
    sidecars : int
        Images that could not hold their payload; it is beside the pixels, in the same file. Of
        shards that an earlier run had done they are not counted.
    failures : dict of str to DsguardError
        By name, why; the first 10,000. The manifest has all.
    kinds : Counter of type
        How many images failed with each class of error.
    broken : int
        How many of the failures are files that hold images, of which more may be lost.
    lost : int
        Images that the manifest of the source lists, and whose files are not there. Only tasks that
        read all of a dataset and write nothing look for them.
    unfinished : bool
        Whether the run that writes the source is not at its end: images are still to come.
    journal_damaged : bool
        Whether the journal beside the source cannot tell all that it had.
    leftovers : list of str
        Journals, scratch folders and temporary files that lie in the source or in the destination
        and are no part of a dataset: remove them before it is published.
    foreign : list of str
        Files in a finished destination on this machine that no run has written.
    metadata_dropped : int
        Images read that had a colour profile, EXIF, XMP or further pictures, which are not written;
        counted as `sidecars` are.
    as_they_are : int
        Protected images with an alpha that is not one value, or with an eighth in the margins that
        fill no block: that part is published as it is. Counted as `sidecars` are.
    shards, resumed : int
        Shards of the dataset, and those of them that earlier runs had done.
    left_out : dict of str to LeftOut
        By kind, what lies beside the images and was not written: files that are not read as images
        and, of protection, whatever could hold a picture.
    """

    done: int = 0
    failed: int = 0
    sidecars: int = 0
    failures: dict[str, DsguardError] = field(default_factory=dict)
    kinds: Counter[type[DsguardError]] = field(default_factory=Counter)
    shards: int = 0
    resumed: int = 0
    broken: int = 0
    lost: int = 0
    unfinished: bool = False
    journal_damaged: bool = False
    metadata_dropped: int = 0
    as_they_are: int = 0
    left_out: dict[str, LeftOut] = field(default_factory=dict)
    leftovers: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)

    def add_broken(self, name: str, error: DsguardError) -> None:
        """Add a file that cannot be read and is no image."""
        self.failed += 1
        self.broken += 1
        self.kinds[type(error)] += 1
        self.failures[name] = error

    def add(self, result: ShardResult) -> None:
        """Add what became of a shard."""
        self.done += result.done
        self.sidecars += result.sidecars
        self.metadata_dropped += result.metadata_dropped
        self.as_they_are += result.as_they_are
        self.failed += len(result.failures)
        self.kinds.update(type(error) for error in result.failures.values())
        self.broken += result.broken
        add_up(self.left_out, result.left_out)
        for name, error in result.failures.items():
            if len(self.failures) < _LISTED:
                self.failures[name] = error


class TooManyErrors(DsguardError):
    """More images failed than were to be accepted; what is done stays."""


Progress = Callable[[Report, int], None]


@dataclass(frozen=True)
class Settings:
    """How a run goes about its work.

    Attributes
    ----------
    out_format : str
        Format of what is written; ``"auto"`` for that of the source.
    image_format : {"png", "tiff"}
    png_level : {0, 1}
        Effort of compression; 0 is fastest and a third larger.
    shard_size : int
        Images of one shard; files of tar shards and row groups of Parquet are not cut.
    selection : Selection
    engine : {"local", "ray"} or callable
        What works on the shards; a callable takes specs and `workers`, and yields the result that
        `process_shard` returns for each, in any order.
    workers : int or None
        Processes; None does everything in this one, on all cores.
    overwrite : bool
        Begin anew, over what is in the destination.
    most_errors : int or None
        Stop when more images than this have failed.
    publish, drop : tuple of str
        Patterns of what lies beside images, as `Disclosure` takes them: protection publishes the
        first whatever they hold, and leaves out the second without a word.
    """

    out_format: str = "auto"
    image_format: str = "png"
    shard_size: int = SHARD_SIZE
    selection: Selection = field(default_factory=Selection)
    engine: str | Engine = "local"
    workers: int | None = None
    overwrite: bool = False
    most_errors: int | None = None
    png_level: int = 1
    publish: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, value, least in (
            ("shard_size", self.shard_size, 1),
            ("workers", 1 if self.workers is None else self.workers, 1),
            ("png_level", self.png_level, 0),
        ):
            if type(value) is not int or value < least or (name == "png_level" and value > 1):
                msg = f"{name} is a whole number, {least} or more, not {value!r}"
                raise InputError(msg)
        self.disclosure()

    def disclosure(self) -> Disclosure:
        """Return the decisions of the owner on what lies beside images."""
        return Disclosure(self.publish, self.drop)


def run(
    source: Source,
    task: Task,
    destination: str | os.PathLike[str] | None = None,
    settings: Settings | None = None,
    progress: Progress | None = None,
) -> Report:
    """Do a task to a whole dataset.

    A run that was interrupted goes on: shards whose manifest is there are left as they are. A run
    that was finished does the shards again in which images had failed. Each shard is written whole
    or not at all, and the same run gives the same bytes however often it was interrupted.

    Parameters
    ----------
    source : Source
    task : Task
    destination : path-like or URL, optional
        Where it goes; its journal lies beside it, in ``<destination>.dsguard``. Tasks that write
        nothing have none.
    settings : Settings, optional
    progress : callable, optional
        Called with the report so far and the number of shards done, after each.

    Raises
    ------
    InputError
        If source and settings do not fit, or the destination has something else in it.
    TooManyErrors
        If more images failed than `most_errors`.
    OSError
        If the destination cannot be written.
    """
    end_if_imported()
    settings = settings or Settings()
    given: object = task.key
    if not isinstance(given, DatasetKey):
        msg = f"key: expected a DatasetKey, got {type(given).__name__}; use DatasetKey.load(path)"
        raise InputError(msg)
    engine = engine_of(settings.engine)
    plan = _plan(source, task, destination, settings)
    with plan.locked(), contextlib.ExitStack() as stack:
        report = Report(shards=len(plan.specs))
        report.unfinished, report.journal_damaged = _state_of(source)
        _look_around(source, settings.selection, report)
        left = plan.begin(report, overwrite=settings.overwrite)
        if left:
            left = stack.enter_context(prepared(left, plan.specs))
        shards = len(plan.specs) - len(left)
        if progress is not None:
            progress(report, shards)
        stack.callback(plan.clean_up, report)
        results = engine(left, settings.workers)
        with closing(results) if hasattr(results, "close") else contextlib.nullcontext():
            for result in results:
                report.add(result)
                plan.seen[result.number] = result.done + len(result.failures) - result.broken
                shards += 1
                if progress is not None:
                    progress(report, shards)
                if settings.most_errors is not None and report.failed > settings.most_errors:
                    msg = (
                        f"stopped after {shards} of {report.shards} shards: images failed: "
                        f"{report.failed}, accepted: {settings.most_errors}"
                    )
                    raise TooManyErrors(msg)
        if shards != len(plan.specs):
            msg = f"the engine gave results for {shards} of {len(plan.specs)} shards"
            raise WorkerError(msg)
        plan.finish(report)
        if not task.writes and settings.selection == Selection():
            plan.look_for_lost(report)
    plan.look_back(report)
    return report


def _look_around(source: Source, selection: Selection, report: Report) -> None:
    """Report what lies in a source and is not read."""
    report.leftovers += [f"{source}/{name}" for name in source.leftovers()]
    for name, error in source.refused().items():
        if selection.has(name):
            report.add_broken(name, error)


def _state_of(source: Source) -> tuple[bool, bool]:
    """Tell whether the run that writes a source is unfinished, and its journal damaged."""
    if source.is_file:
        return False, False
    journal = Journal.of(source.place)
    try:
        if journal.settings() is None:
            return False, False
    except FormatError:
        return False, True
    return not journal.is_finished(), not journal.is_whole()


def check(source: Source, destination: str | os.PathLike[str], settings: Settings) -> None:
    """Refuse a destination that `run` would refuse, as far as can be told without the task.

    Raises
    ------
    InputError
        If it lies in the source, cannot be made, or has something else in it.
    """
    place, _, _ = _checked(source, destination, settings)
    if not settings.overwrite and Journal.of(place).settings() is None:
        _check_empty(place)


def _checked(
    source: Source, destination: str | os.PathLike[str], settings: Settings
) -> tuple[Place, str, str]:
    """Return where to write, in which format, and images in which; refuse what will not do."""
    place = place_of(destination)
    journal = Journal.of(place)
    for each in (place, journal.place):
        _check_apart(source, each)
    journal.check()
    _check_writable(place)
    kind = output_kind(source, settings.out_format)
    return place, kind, check_output_format(settings.image_format)


def _check_writable(place: Place) -> None:
    if not isinstance(place, LocalPlace):
        return
    if place.path.is_file():
        msg = f"the destination {place} is a file; give a folder"
        raise InputError(msg)
    folders = (place.path, *place.path.resolve().parents)
    nearest = next(folder for folder in folders if folder.exists())
    if not (nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)):
        msg = f"the destination {place} cannot be made: {nearest} is not a writable folder"
        raise InputError(msg)


def _check_empty(place: Place) -> None:
    found = place.listing() if place.exists("") else Listing()
    if found.files or found.refused:
        msg = (
            f"{place} is not empty and was not begun by dsguard; choose another destination or add "
            "--overwrite"
        )
        raise InputError(msg)


@dataclass
class _Plan:
    """The shards of a run and where they go."""

    specs: list[ShardSpec]
    output: Output | None
    journal: Journal | None
    facts: dict[str, str]
    renamed: dict[str, str]
    disclosure: Disclosure | None = None
    seen: dict[int, int] = field(default_factory=dict)  # images by shard
    is_new: bool = False

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep others away; leave no journal behind if nothing was begun."""
        if self.journal is None:
            yield
            return
        with self.journal.locked():
            yield

    def begin(self, report: Report, *, overwrite: bool) -> list[ShardSpec]:
        """Return the shards that are left to do; what is done goes to the report."""
        if self.journal is None or self.output is None:
            return self.specs
        earlier = None if overwrite else self.journal.settings()
        self._clear_scratch()
        if earlier is None:
            if overwrite:
                self._remove_earlier()
            else:
                _check_empty(self.output.place)
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
                and self._are_there(lines)
            ):
                count, failures = told(lines)
                if not (again and failures):
                    left_out = self.journal.left_out(spec.number)
                    report.add(ShardResult(spec.number, count, 0, failures, left_out=left_out))
                    report.resumed += 1
                    kept.add(spec.number)
                    continue
            left.append(spec)
        self._drop(done - kept, kept)
        return left

    def _drop(self, numbers: set[int], kept: set[int]) -> None:
        """Remove what shards have written that are done anew, or are no more."""
        assert self.journal is not None
        assert self.output is not None
        if not numbers:
            return
        own = {name for number in kept for name in self._written(number)}
        for number in sorted(numbers):
            for name in self._written(number) - own:
                self.output.place.discard(name)
            self.journal.drop(number)

    def _written(self, number: int) -> set[str]:
        """Return the files of a shard of an earlier run."""
        assert self.journal is not None
        return _files_of(self.journal.lines(number) or ()).union(self.journal.also(number))

    def _are_there(self, lines: list[dict[str, Any]]) -> bool:
        """Tell whether what a manifest lists was not removed since."""
        assert self.output is not None
        good = _files_of(line for line in lines if line["error"] is None)
        return all(self.output.place.exists(name) for name in good)

    def _remove_earlier(self) -> None:
        """Remove what an earlier run wrote: it might have other images."""
        assert self.journal is not None
        assert self.output is not None
        written = (self._written(number) for number in self.journal.done())
        for name in set(self.journal.companions()).union(*written):
            if self.output.place.exists(name):
                self.output.place.discard(name)

    def _check_same(self, earlier: dict[str, str]) -> None:
        assert self.output is not None
        other = [name for name in self.facts if self.facts[name] != earlier.get(name)]
        if other:
            told = "; ".join(
                f"{name} was {earlier.get(name, 'not set')}, is {self.facts[name]}"
                for name in other
                if name != _CONTENTS
            )
            msg = (
                f"{self.output.place} holds the output of another run "
                f"({told or 'the source has other images'}); give what it was given, choose "
                "another destination, or begin anew with --overwrite"
            )
            raise InputError(msg)

    def finish(self, report: Report) -> None:
        """Copy what belongs to the dataset as a whole, and note that all is done."""
        if self.journal is None or self.output is None or self._is_refused(report):
            return
        review = self._review()
        self.journal.intend(list(self._beside(self._review())))
        copied = self._copied(report, review)
        for name in set(self.journal.companions()) - copied:  # it may go along no more
            if self.output.place.exists(name):
                self.output.place.discard(name)
        add_up(report.left_out, review.left_out)
        self.output.place.sync()
        self.journal.finish(sorted(copied))

    def _review(self) -> Review:
        source = self.specs[0].source
        names = source.names() if isinstance(source, TreeSource) else ()
        return Review(self.disclosure or Disclosure(), names)

    def _copied(self, report: Report, review: Review) -> set[str]:
        """Copy the files beside the images that go along; return their names."""
        assert self.output is not None
        source = self.specs[0].source
        copied, names = set[str](), self._new_names(report)
        for name in self._beside(review):
            data = read_or_error(partial(source.read_companion, name))
            if isinstance(data, DsguardError):
                report.add_broken(name, data)
                continue
            if self.disclosure is not None and review.disclosure.says(name) is None:
                kept = source.reviewed_companion(name, data, review)
                if kept is None:
                    continue
                data = kept
            data = read_or_error(partial(source.renamed, name, data, names))
            if isinstance(data, DsguardError):
                report.add_broken(name, data)
                continue
            try:
                self.output.place.write(name, data)
            except DsguardError as error:  # of its name
                report.add_broken(name, error.to_keep())
                continue
            copied.add(name)
        return copied

    def _beside(self, review: Review) -> Iterator[str]:
        """Yield the files that may go along; note those that nothing here reads."""
        assert self.output is not None
        source = self.specs[0].source
        own = self._in_shards()
        of_arrays = source.kind in ("numpy", "cifar") and self.output.kind != source.kind
        for name in source.companions():
            in_images = name in own or (of_arrays and not is_text(name))  # labels, names of classes
            if not in_images and review.disclosure.says(name) is not False:
                yield name
        for name in source.left_out():
            said = review.disclosure.says(name)
            if said is None:
                review.leave_out(kind_of(name), name, _not_read(name))
            elif said:
                yield name

    def _in_shards(self) -> set[str]:
        """Return the text files that shards have as fields of their images."""
        assert self.output is not None
        if self.output.kind == "folder":
            return set()
        texts = (spec.part.beside or () for spec in self.specs)
        beside = {name for of_part in texts for of_image in of_part for name in of_image}
        return beside.union(self.specs[0].source.listings())

    def _is_refused(self, report: Report) -> bool:
        """Tell whether nothing came of it, since the key or the source was the wrong one."""
        refused = report.kinds.keys() & {WrongKeyError, NotProtectedError}
        return self.is_new and bool(refused) and not report.done

    def clean_up(self, report: Report) -> None:
        """Leave nothing half done behind; nothing at all if the key or the source was wrong."""
        if self.journal is None or self.output is None:
            return
        self._clear_scratch()
        if self._is_refused(report):
            self.output.place.discard_all()  # there was nothing before
            self.journal.forget()

    def look_back(self, report: Report) -> None:
        """Report what lies in the destination and is not to be published.

        Once all is done, these are also the files that no run has written.
        """
        if self.output is None or not isinstance(self.output.place, LocalPlace):
            return
        place = self.output.place
        with contextlib.suppress(DsguardError, OSError):  # the run itself went well
            found = place.listing()
            report.leftovers += [f"{place}/{name}" for name in found.leftovers]
            if self.journal is not None and self.journal.is_finished():
                files = {name for name in (*found.files, *found.refused) if not is_hidden(name)}
                report.foreign += [f"{place}/{name}" for name in sorted(files - self._own_files())]

    def _own_files(self) -> set[str]:
        """Return all files that this run, and those before it, have written."""
        assert self.journal is not None
        assert self.output is not None
        own = set(self.journal.companions())
        if self.output.kind == "folder":
            return own.union(*(self._written(number) for number in self.journal.done()))
        for spec in self.specs:
            file = file_name(self.output.kind, spec.part, spec.number)
            own |= {file, f"{file}.sidecars.npz", *self.journal.also(spec.number)}
        return own

    def _clear_scratch(self) -> None:
        """Remove what is not whole, of this run or of one that was killed."""
        assert self.journal is not None
        assert self.output is not None
        self.output.place.clear_scratch()
        self.journal.place.clear_scratch()

    def look_for_lost(self, report: Report) -> None:
        """Count the images that the journal of the source lists and that were not in it."""
        source = self.specs[0].source
        if source.is_file:
            return
        expected, found = Counter[str](), Counter[str]()
        journal = Journal.of(source.place)
        for number in journal.done():
            lines = journal.lines(number)
            report.journal_damaged |= lines is None
            expected.update(line["file"] for line in lines or () if line["error"] is None)
        if any(spec.part.file for spec in self.specs):
            for spec in self.specs:
                found[spec.part.file] += self.seen.get(spec.number, 0)
        elif expected:  # each image has its own
            found.update(source.place.files())
        report.lost = (expected - found).total()

    def _new_names(self, report: Report) -> dict[str, str]:
        """Return the names of the images that were written, by their names in the source."""
        assert self.journal is not None
        suffix = self.specs[0].suffix
        images = (name for spec in self.specs for name in spec.part.names or ())
        names = {name: self.renamed.get(name) or with_suffix(name, suffix) for name in images}
        for spec in self.specs if report.failed else ():
            for line in self.journal.lines(spec.number) or ():
                if line["error"] is not None:
                    names.pop(line["name"], None)
        return names


def _not_read(name: str) -> str:
    if name.lower().endswith((".heic", ".heif", ".avif", ".jxl", ".jp2", ".dng", ".cr2", ".nef")):
        return "is an image of a kind that is not read; convert it to PNG or JPEG"
    return "is not read as an image, nor as text"


def _files_of(lines: Iterable[dict[str, Any]]) -> set[str]:
    """Return the files that lines of a manifest tell of."""
    files = (name for line in lines for name in (line["file"], *line.get("beside", ())))
    return {name for name in files if name}


def _plan(
    source: Source, task: Task, destination: str | os.PathLike[str] | None, settings: Settings
) -> _Plan:
    wanted = settings.selection.names(source)
    parts = source.parts(settings.shard_size, wanted)
    if not parts:
        msg = f"{source} holds no images{'' if wanted is None else ' that are wanted'}"
        if wanted is None and _state_of(source)[0]:
            msg += "; the run that writes it is not finished"
        if wanted is None and source.kind == "archive":
            msg += "; if it holds a dataset of another format, unpack it and give the folder"
        raise InputError(msg)
    if not task.writes:
        return _Plan(_specs(source, task, parts, None, None, {}), None, None, {}, {})
    if destination is None:
        msg = "this task needs a destination"
        raise InputError(msg)
    place, kind, image_format = _checked(source, destination, settings)
    if kind in ("numpy", "cifar") and wanted is not None:
        msg = f"format {kind} is written whole; choose another out-format to write some images"
        raise InputError(msg)
    renames = _renames(source, wanted, kind, image_format)
    classes = tuple(sorted(classes_in(source))) if kind in ("parquet", "webdataset") else ()
    output = Output(place, kind, image_format, classes, settings.png_level)
    journal = Journal.of(place)
    _check_files(kind, source, parts)
    if kind != "folder":
        parts = source.with_fields(parts)
    disclosure = settings.disclosure() if task.publishes else None
    specs = _specs(source, task, parts, output, journal, renames, disclosure)
    facts = {
        **task.settings(),
        "source": str(source),
        "shard size": str(settings.shard_size),
        "selection": _told(settings.selection),
        "formats": f"{source.kind} to {kind} of {image_format}, level {settings.png_level}",
        _CONTENTS: _fingerprint(parts),
    }
    return _Plan(specs, output, journal, facts, renames, disclosure)


def _specs(
    source: Source,
    task: Task,
    parts: list[Part],
    output: Output | None,
    journal: Journal | None,
    renames: dict[str, str],
    disclosure: Disclosure | None = None,
) -> list[ShardSpec]:
    # Where shards hold what lies beside images, they change with it, and with decisions on it.
    in_shards = output and not (output.kind == "folder" and isinstance(source, TreeSource))
    decided = f" {disclosure}" if in_shards and disclosure not in (None, Disclosure()) else ""

    def stamp_of(part: Part) -> str:
        texts = source.stamp_of_texts(part) if in_shards else ""
        return f"{source.stamp(part)} {part.start}-{part.stop}{decided}{texts}"

    suffix = LOSSLESS_FORMATS[output.image_format] if output else ""
    return [
        ShardSpec(
            number,
            source,
            part,
            task,
            output,
            journal,
            suffix,
            {name: renames[name] for name in part.names or renames if name in renames},
            stamp_of(part) if journal else "",
            disclosure=disclosure,
        )
        for number, part in enumerate(parts)
    ]


def _check_apart(source: Source, destination: Place) -> None:
    """Refuse a destination, or a journal, that the source lies in, or that lies in the source."""
    if isinstance(source.place, RemotePlace) or isinstance(destination, RemotePlace):
        same = str(source.place).rstrip("/") == str(destination).rstrip("/")
    else:
        assert isinstance(source.place, LocalPlace)
        assert isinstance(destination, LocalPlace)
        here, there = source.place.path.resolve(), destination.path.resolve()
        inside = here in there.parents and not source.is_file
        same = here == there or inside or there in here.parents
    if same:
        msg = (
            f"source and destination, and the journal beside that (*{JOURNAL}), must not lie in "
            "each other; choose another destination"
        )
        raise InputError(msg)


def _check_files(kind: str, source: Source, parts: list[Part]) -> None:
    """Refuse parts of which two would come out as one file."""
    if kind == "folder" and source.kind == "webdataset":
        names = Counter(shard_name(part.file) for part in parts)
    else:
        names = Counter(file_name(kind, part, number) for number, part in enumerate(parts))
    for name, count in names.items():
        if name:
            checked(name)
        if name and count > 1:
            msg = f"two files of {source} would come out as {name}; rename one of them"
            raise InputError(msg)


def _renames(
    source: Source, wanted: list[str] | None, kind: str, image_format: str
) -> dict[str, str]:
    """Return the images whose name with the new suffix another image would have as well."""
    if kind not in ("folder", "parquet", "webdataset") or source.kind == "numpy":
        return {}
    if source.kind == "parquet":
        if kind == "folder":
            distinct(source.file_names(), str(source))
        return {}
    if kind == source.kind == "webdataset":
        return {}
    suffix = LOSSLESS_FORMATS[image_format]
    outputs = output_names(source.names() if wanted is None else wanted, image_format)
    return {name: out for name, out in outputs.items() if out != with_suffix(name, suffix)}


def _told(selection: Selection) -> str:
    parts = [
        *(f"include {pattern}" for pattern in selection.include),
        *(f"exclude {pattern}" for pattern in selection.exclude),
        *([] if selection.limit is None else [f"limit {selection.limit}"]),
    ]
    return ", ".join(parts) or "everything"


def _fingerprint(parts: list[Part]) -> str:
    """Return what changes when the shards do."""
    digest, last = hashlib.sha256(), ""
    for part in parts:
        if part.names == ():  # damaged, and not there any more once it is repaired
            continue
        # How a file is cut may change when it is repaired; what is in it, its stamp tells.
        told = part.file if part.names is None else repr((part.file, part.start, part.names))
        if told != last:
            digest.update(f"{told}\0".encode("utf-8", "surrogateescape"))
        last = told
    return digest.hexdigest()[:16]
