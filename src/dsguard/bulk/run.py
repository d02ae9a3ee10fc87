"""A run: shards that are done are left alone, the others are given to an engine."""

from __future__ import annotations

import contextlib
import hashlib
import os
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from dsguard._parallel.processes import end_if_imported
from dsguard.bulk.against import Comparison, compare
from dsguard.bulk.engines import engine_of
from dsguard.bulk.opening import opened
from dsguard.bulk.plan import Plan, plan_of
from dsguard.bulk.preparing import prepared
from dsguard.bulk.programs import look_for_programs, without_programs
from dsguard.bulk.published_files import PublishedFiles
from dsguard.bulk.report import Progress, Report
from dsguard.bulk.sealed_files import opened_in, sealed_in
from dsguard.bulk.sealed_lists import without_lists
from dsguard.bulk.selection import Selection
from dsguard.bulk.settings import Settings
from dsguard.bulk.source_journal import look_for_lost, look_for_sealed, state_of
from dsguard.bulk.tasks import Task, Verify
from dsguard.errors import DsguardError, InputError, WorkerError
from dsguard.keys import DatasetKey, KeySource

if TYPE_CHECKING:
    from dsguard.bulk.shard import ShardSpec
    from dsguard.formats.base import Source


class TooManyErrors(DsguardError):
    """More images failed than were to be accepted; what is done stays.

    Examples
    --------
    >>> import dsguard
    >>> from dsguard.bulk import TooManyErrors
    >>> issubclass(TooManyErrors, dsguard.DsguardError)
    True
    """


def run(
    source: Source,
    task: Task,
    destination: str | os.PathLike[str] | None = None,
    settings: Settings | None = None,
    progress: Progress | None = None,
    against: Source | None = None,
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
        Called with the report so far and the number of shards done, after each; and while the
        images of `against` are looked for.
    against : Source, optional
        The clean dataset, for a `Verify` that compares: all of it has to come back.

    Raises
    ------
    InputError
        If source and settings do not fit, or the destination has something else in it.
    TooManyErrors
        If more images failed than `most_errors`.
    OSError
        If the destination cannot be written.

    Examples
    --------
    >>> import dsguard, numpy as np
    >>> from dsguard.bulk import Settings, protection_of, run
    >>> from dsguard.formats import open_source
    >>> np.save("images.npy", np.zeros((2, 32, 32, 3), np.uint8))
    >>> task = protection_of(dsguard.DatasetKey(bytes(range(32))))
    >>> report = run(open_source("images.npy"), task, "protected", Settings(png_level=0))
    >>> report.done, report.failed
    (2, 0)
    """
    end_if_imported()
    settings = settings or Settings()
    given: object = task.key
    is_source = isinstance(given, KeySource) and task.takes_sources
    if not (isinstance(given, DatasetKey) or is_source):
        msg = f"key: expected a DatasetKey, got {type(given).__name__}; use DatasetKey.load(path)"
        raise InputError(msg)
    if against is not None and settings.selection != Selection():
        msg = "a part of a dataset cannot be held against another; leave out the choice of images"
        raise InputError(msg)
    engine_of(settings.engine)  # before anything is begun
    if against is not None and isinstance(task, Verify):
        task = replace(task, comparison=Comparison.of(against, source))
    with opened(source, task, settings) as (whole, failures):
        plan = plan_of(whole, task, destination, settings)
        report = Report(shards=len(plan.specs), unmatched_choice=plan.unmatched)
        for name, error in failures.items():
            report.add_broken(name, error)
        _carry_out(plan, settings, report, progress, against)
    return report


def _carry_out(
    plan: Plan,
    settings: Settings,
    report: Report,
    progress: Progress | None,
    against: Source | None,
) -> None:
    """Do what was planned, and report it."""
    source, task = plan.specs[0].source, plan.specs[0].task
    with plan.locked(), contextlib.ExitStack() as stack:
        stack.callback(source.place.release)
        report.unfinished, report.journal_damaged = state_of(source)
        _look_around(source, settings.selection, report)
        if not task.publishes:
            look_for_sealed(source, task.key, report)
        if plan.destination is None:
            seen = _work(plan, plan.specs, settings, report, progress)
            published = PublishedFiles.unlisted(source)
            sealed = _look_at_sealed(source, task, published, report)
            look_for_programs(source, task.key, settings.selection, published, sealed, report)
            if against is not None:
                told = partial(progress or _untold, report, len(plan.specs))
                compare(against, source, task.key, report, sealed, told)
            if settings.selection == Selection():
                look_for_lost(plan.specs, seen, report)
            return
        left = plan.destination.begin(report, overwrite=settings.overwrite)
        try:
            _work(plan, left, settings, report, progress)
            plan.finish(report)
        finally:
            plan.destination.clean_up(report)
    plan.destination.look_back(report)


def _untold(report: Report, shards: int) -> None:
    """Tell nobody how far a run is."""


def _look_around(source: Source, selection: Selection, report: Report) -> None:
    """Report what lies in a source and is not read."""
    report.leftovers += [f"{source}/{name}" for name in source.leftovers()]
    for name, error in source.refused().items():
        if selection.may_have_below(name) if name.endswith("/") else selection.has(name):
            report.add_broken(name, error)


def _look_at_sealed(
    source: Source, task: Task, published: PublishedFiles, report: Report
) -> dict[str, bytes]:
    """Return SHA-256 of the files that lie sealed beside the images; report what does not open.

    The lists of published files that are among them are added to these.
    """
    found: dict[str, bytes] = {}
    for name in sealed_in(source):
        try:
            opened_files = opened_in(source, name, task.key)
        except DsguardError as error:
            report.add_broken(name, error.to_keep())
        else:
            published.add(opened_files)
            files = without_lists(opened_files)
            files = without_programs(files, task.key, report.add_broken)
            found |= {inner: hashlib.sha256(data).digest() for inner, data in files.items()}
    report.sealed_files += len(found)
    return found


def _work(
    plan: Plan,
    left: list[ShardSpec],
    settings: Settings,
    report: Report,
    progress: Progress | None,
) -> dict[int, int]:
    """Have an engine work on the shards that are left; return how many images each had."""
    seen: dict[int, int] = {}
    shards = len(plan.specs) - len(left)
    with contextlib.ExitStack() as stack:
        if left:
            left = stack.enter_context(prepared(left, plan.specs))
        if progress is not None:
            progress(report, shards)
        results = engine_of(settings.engine)(left, settings.workers)
        if hasattr(results, "close"):
            stack.enter_context(closing(results))
        for result in results:
            report.add(result)
            seen[result.number] = result.done + len(result.failures) - result.broken
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
    return seen
