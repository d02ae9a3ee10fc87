"""The plan of a run: its shards, and all that each of them has to know."""

from __future__ import annotations

import hashlib
import hmac
import itertools
import json
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from dsguard.bulk.checks import check_files, output_of
from dsguard.bulk.companions import Companions
from dsguard.bulk.croissant import write_croissant
from dsguard.bulk.destination import CODE, CONTENTS, Destination
from dsguard.bulk.fitting import fitted
from dsguard.bulk.hidden_classes import without_hidden_class
from dsguard.bulk.journal import Journal
from dsguard.bulk.sealed_fields import pieces_in, pieces_of
from dsguard.bulk.sealed_files import SEALED_FILES
from dsguard.bulk.selection import Choice, Selection, classes_of, output_names, wanted_names
from dsguard.bulk.settings import Settings
from dsguard.bulk.shard import ShardSpec
from dsguard.bulk.source_journal import state_of
from dsguard.bulk.stamps import stamps_of
from dsguard.bulk.tasks import Task
from dsguard.errors import InputError
from dsguard.formats.base import Part, as_label
from dsguard.formats.croissant import CROISSANT
from dsguard.formats.disclosure import Disclosure, add_up
from dsguard.formats.folder.reader import TreeSource
from dsguard.formats.harmless import harmless_classes
from dsguard.formats.images import LOSSLESS_FORMATS, is_image_name, with_suffix
from dsguard.formats.names import distinct
from dsguard.formats.patterns import like
from dsguard.formats.places import without_password
from dsguard.formats.review import Review
from dsguard.formats.sink import Output
from dsguard.keys import KeySource
from dsguard.keys.derived import randomness

if TYPE_CHECKING:
    from dsguard.bulk.report import Report
    from dsguard.formats.base import Source
    from dsguard.keys import DatasetKey


@dataclass
class Plan:
    """The shards of a run, and where they go.

    Attributes
    ----------
    specs : list of ShardSpec
    destination : Destination or None
        None where nothing is written.
    companions : Companions or None
    of_fields : Review or None
        The account of what is dropped of listings, before it becomes fields of images.
    croissant, access
        As `Settings` has them.
    unmatched : list of str
        Patterns of names that nothing is like.
    """

    specs: list[ShardSpec]
    destination: Destination | None = None
    companions: Companions | None = None
    of_fields: Review | None = None
    croissant: bool = False
    access: str = ""
    unmatched: list[str] = field(default_factory=list)

    def locked(self) -> AbstractContextManager[None]:
        """Keep others away; leave no journal behind if nothing was begun."""
        return nullcontext() if self.destination is None else self.destination.locked()

    def finish(self, report: Report) -> None:
        """Copy what belongs to the dataset as a whole, and note that all is done."""
        assert self.destination is not None
        assert self.companions is not None
        if self.destination.is_refused(report):
            return
        journal = self.destination.journal
        self.destination.look_for_twice(report)
        earlier = set(journal.companions()) - journal.before()
        journal.intend([*self.companions.wanted, SEALED_FILES, CROISSANT])
        copied = self.companions.copy(report)
        if self.companions.disclosure is not None:
            is_tree = isinstance(self.companions.source, TreeSource)  # then texts were copied
            texts = copied if is_tree else copied | self.destination.beside_images()
            report.published = sorted(texts - {SEALED_FILES}) + sorted(report.kinds_published)
        kept = copied | self.destination.of_shards()
        self.destination.remove(earlier, but=kept)  # they may go along no more
        if self.companions.disclosure is not None:
            written = self.destination.own_files() | copied
            copied |= write_croissant(
                self.companions, written, report, wanted=self.croissant, access=self.access
            )
        for review in filter(None, (self.of_fields, self.companions.review)):
            add_up(report.left_out, review.account.left_out)
            report.met |= review.account.met
        if self.companions.disclosure is not None:
            given = self.companions.disclosure.drop
            unmet = [each for each in given if each not in report.met]
            asked = tuple(each for each in given if each in unmet or "/" in each)
            source, selection = self.companions.source, self.companions.selection
            report.drop_of_images = drops_of_images(source, selection, asked)
            report.unmatched_drop = [each for each in unmet if each not in report.drop_of_images]
        self.destination.output.place.sync()
        journal.finish(sorted(copied))


def plan_of(
    source: Source, task: Task, destination: str | os.PathLike[str] | None, settings: Settings
) -> Plan:
    """Return the plan of a run.

    Raises
    ------
    InputError
        If the source holds no images, or source, destination and settings do not fit.
    """
    unmatched = unmatched_choice(source, task, settings)
    wanted = settings.selection.names(source)
    parts = _without_excluded(source.parts(settings.shard_size, wanted), settings.selection)
    if not parts or (wanted is None and not source.has_images()):
        raise _no_images(source, selected=wanted is not None)
    if not task.writes:
        return Plan(_specs(source, task, parts, None, None, {}), unmatched=unmatched)
    if destination is None:
        msg = "this task needs a destination"
        raise InputError(msg)
    output = output_of(source, destination, settings, publishes=task.publishes)
    if output.kind in ("numpy", "cifar") and wanted is not None:
        msg = (
            f"format {output.kind} is written whole; choose another out-format to write some images"
        )
        raise InputError(msg)
    renames = _renames(source, wanted, output, task)
    if output.kind in ("parquet", "webdataset"):
        output = replace(output, class_names=_class_names(source, wanted, task))
    check_files(output, source, parts)
    output.place.folded("")  # looks at the disk, so that not every worker has to
    disclosure = settings.disclosure() if task.publishes else None
    of_fields = None if disclosure is None else Review(disclosure)
    if output.kind != "folder":
        parts = source.with_fields(parts, of_fields)
    journal = Journal.of(output.place)
    told = of_fields.account if of_fields else None
    task = without_hidden_class(task, source, output.kind, disclosure, told)
    task = fitted(task, source, parts, None if settings.overwrite else journal.settings())
    is_cut = wanted is not None and disclosure is not None
    choice = Choice(source, settings.selection) if is_cut else None
    specs = _specs(source, task, parts, output, journal, renames, disclosure, choice)
    formats = f"{source.kind} to {output.kind} of {output.image_format}, level {output.png_level}"
    facts = {
        **task.settings(),
        "source": without_password(source),
        "shard size": str(settings.shard_size),
        "selection": _told(settings.selection),
        "formats": formats,
        CONTENTS: _fingerprint(parts),
    }
    facts[CODE] = code_of(facts, task.key)
    there = Destination(specs, output, journal, facts)
    companions = Companions(source, there, renames, disclosure, settings.selection, task)
    croissant, access = settings.croissant, settings.access
    return Plan(specs, there, companions, of_fields, croissant, access, unmatched)


def code_of(facts: dict[str, str], key: DatasetKey | KeySource) -> str:
    """Return what only those can tell of a run who have its key: journals of others are refused."""
    told = json.dumps(facts, sort_keys=True).encode()
    if isinstance(key, KeySource):
        return key.proof_of(told)
    return hmac.new(randomness(key, 32, b"journal"), told, "sha256").hexdigest()


def unmatched_choice(source: Source, task: Task, settings: Settings) -> list[str]:
    """Return the patterns of names that nothing in a source is like, to be told.

    Raises
    ------
    InputError
        If what one of them should leave out would be published.
    """
    names = _all_names(source, settings)
    return settings.selection.unmatched(names, publishes=task.publishes)


def drops_of_images(source: Source, selection: Selection, drop: tuple[str, ...]) -> list[str]:
    """Return the patterns of what is dropped beside images that images of a folder are like."""
    if not drop or not isinstance(source, TreeSource):
        return []
    names = wanted_names(source, selection)
    return sorted(set(itertools.chain.from_iterable(like(name, drop) for name in names)))


def _all_names(source: Source, settings: Settings) -> Iterator[str]:
    """Yield the names of images, and of all that lies beside them."""
    yield from source.names()
    yield from (*source.companions(), *source.left_out(), *source.refused())
    for part in source.parts(settings.shard_size, None):
        yield from itertools.chain.from_iterable(part.beside or ())


def _without_excluded(parts: list[Part], selection: Selection) -> list[Part]:
    """Return parts without the text files beside their images that are excluded."""
    if not selection.exclude:
        return parts
    return [
        replace(part, beside=tuple(map(selection.kept, part.beside))) if part.beside else part
        for part in parts
    ]


def _no_images(source: Source, *, selected: bool) -> InputError:
    msg = f"{source} holds no images{' that are wanted' if selected else ''}"
    if not selected and state_of(source)[0]:
        msg += "; the run that writes it is not finished"
    carried = [name for name in source.left_out() if is_image_name(name, of_any_kind=True)]
    if carried:
        msg += f" that are decoded; {carried[0]} and others like it are carried by --keep files"
    if not selected and (remarks := source.remarks()):
        msg += f"; {remarks[0]}"
    if not selected and source.kind == "archive":
        msg += "; if it holds a dataset of another format, unpack it and give the folder"
    return InputError(msg)


def _specs(
    source: Source,
    task: Task,
    parts: list[Part],
    output: Output | None,
    journal: Journal | None,
    renames: dict[str, str],
    disclosure: Disclosure | None = None,
    choice: Choice | None = None,
) -> list[ShardSpec]:
    found = {} if task.publishes else pieces_in(source)
    pieces = {part.file: found.get(pieces_of(part.file, 0)[0], ()) for part in parts if part.file}
    stamps = [""] * len(parts)
    if output:
        stamps = stamps_of(source, task, parts, output, disclosure, pieces)
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
            stamp,
            disclosure=disclosure,
            choice=choice,
            pieces=pieces.get(part.file, ()),
        )
        for number, (part, stamp) in enumerate(zip(parts, stamps, strict=True))
    ]


def _renames(
    source: Source, wanted: list[str] | None, output: Output, task: Task
) -> dict[str, str]:
    """Return the images whose name with the new suffix another image would have as well.

    Where files are carried, which have their names inside, those too long for a file as well.
    Images that come back have their own names, or none: others would not find them by another.
    """
    kind, image_format = output.kind, output.image_format
    if kind not in ("folder", "parquet", "webdataset") or source.kind == "numpy":
        return {}
    if source.kind == "parquet":
        if kind == "folder":
            distinct(source.file_names(), str(source), "image named {}; take --out-format parquet")
        return {}
    if kind == source.kind == "webdataset":
        return {}
    suffix = LOSSLESS_FORMATS[image_format]
    names = source.names() if wanted is None else wanted
    folded = output.place.folded if task.publishes and kind == "folder" else None
    outputs = output_names(names, image_format, cuts=task.keeps_files, folded=folded)
    return {name: out for name, out in outputs.items() if out != with_suffix(name, suffix)}


def _class_names(source: Source, wanted: list[str] | None, task: Task) -> tuple[str, ...]:
    """Return the classes that every shard lists: of images that are written, and harmless."""
    found = sorted(set(map(as_label, classes_of(source, wanted))))
    return harmless_classes(found) if task.publishes else tuple(found)


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
