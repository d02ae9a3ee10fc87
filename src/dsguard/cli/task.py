"""A task of a command: it is run, or estimated, and its progress shown."""

from __future__ import annotations

import contextlib
import json
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import click

from dsguard.cli.choices import Choices
from dsguard.cli.console import (
    bars_of,
    complain,
    counted,
    errors,
    progress_lines,
    show,
    warn,
    worst,
)
from dsguard.cli.report import code_of, code_of_left_out, finish, show_left_out, warn_of_unmatched
from dsguard.errors import InputError, NoKeysError

if TYPE_CHECKING:
    from rich.progress import TaskID

    from dsguard.bulk import Report
    from dsguard.bulk.report import Progress
    from dsguard.bulk.tasks import Task
    from dsguard.formats import Source

_SAMPLE = 256


def do_task(
    task: Task,
    source: Source,
    choices: Choices,
    *,
    trains: bool = False,
    against: Source | None = None,
) -> int:
    """Run a task and print what became of the dataset; return the exit code."""
    from dsguard.bulk import TooManyErrors, run

    for remark in task.remarks(source):
        warn(remark)
    if choices.dry_run:
        return _estimate(task, source, choices, trains=trains)
    reports: list[Report] = []
    with _told(task.verb, choices.quiet) as tell:

        def keep(report: Report, shards: int) -> None:
            reports[:] = [report]
            tell(report, shards)

        try:
            run(source, task, choices.destination, choices.settings(), keep, against)
        except TooManyErrors as error:
            show(reports[0].failures)
            complain(str(error))
            return code_of(reports[0])
        except NoKeysError as error:
            msg = f"{error.message}{_kept_of(task, choices)}"
            raise NoKeysError(msg) from error
    _warn(task, source, reports[0], choices)
    return finish(task, reports[0], choices)


def _kept_of(task: Task, choices: Choices) -> str:
    """Return what there is of a run that got no more keys, and how it goes on."""
    from dsguard.bulk.journal import Journal
    from dsguard.formats.places import place_of

    if not task.writes or choices.destination is None:
        return ""
    journal = Journal.of(place_of(choices.destination))
    lines = (line for number in journal.done() for line in journal.lines(number) or ())
    done = sum(line["error"] is None for line in lines)
    if not done:
        return ""
    kept = f"{counted(done, 'image')} {'is' if done == 1 else 'are'} {task.verb}"
    return f"; {kept}, and the same command goes on with the rest, once there are keys"


def _warn(task: Task, source: Source, report: Report, choices: Choices) -> None:
    """Say what an owner would want to know of a run that went as it was told to."""
    from dsguard.bulk import Protect
    from dsguard.bulk.selection import classes_in
    from dsguard.errors import NotProtectedError

    misleads = isinstance(task, Protect) and not task.codec.shows_cover_alone
    if misleads and len(classes_in(source, choices.settings().selection)) == 1:
        warn("all images are of one class: there is nothing to learn, or to mislead")
    for remark in source.remarks():
        warn(remark)
    if not report.done and set(report.kinds) == {NotProtectedError}:
        warn("none of the images is protected: is this the clean set?")


def _estimate(task: Task, source: Source, choices: Choices, *, trains: bool) -> int:
    """Try a sample; print how many images there are, what may fail and how long it may take."""
    from dsguard._atomic import temporary_subfolder
    from dsguard.bulk import Selection, run, select
    from dsguard.bulk.plan import unmatched_choice
    from dsguard.formats.disclosure import NO_ROOM, NOT_CHOSEN, THE_CLASS
    from dsguard.formats.writers import output_kind

    settings = replace(choices.settings(), most_errors=None)
    warn_of_unmatched(unmatched_choice(source, task, settings))
    wanted = settings.selection.names(source)
    names = source.names() if wanted is None else wanted
    if not names:
        msg = f"{source} holds no images{'' if wanted is None else ' that are wanted'}"
        raise InputError(msg)
    sample = select(names, _SAMPLE)
    with temporary_subfolder("estimate") as folder:
        out = folder / "out"
        chosen = Selection(include=tuple(_literal(name) for name in sample))
        start = time.perf_counter()
        report = run(
            source, task, out, replace(settings, out_format="folder", selection=chosen, workers=1)
        )
        seconds = time.perf_counter() - start
        size = sum(file.stat().st_size for file in out.rglob("*") if file.is_file())
    each = seconds / len(sample) / (settings.workers or 1)
    facts = {
        "images": len(names),
        "sample": len(sample),
        "failed_in_sample": report.failed,
        "sidecars_in_sample": report.sidecars,
        "seconds": round(each * len(names), 1),
        "bytes": round(size / max(1, report.done) * len(names)),
    }
    # Neither a sample nor a folder of it is a choice of the owner's.
    is_ours = wanted is None or len(sample) < len(names)
    ours = {NOT_CHOSEN} if is_ours else set[str]()
    if output_kind(source, settings.out_format) == source.kind:
        ours |= {NO_ROOM} if source.kind == "cifar" else {NO_ROOM, THE_CLASS}
    found = report.left_out.items()
    report.left_out = {kind: each for kind, each in found if each.reason not in ours}
    show(report.failures, report.failed)
    show_left_out(task, report)
    if choices.as_json:
        click.echo(json.dumps(facts))
    else:
        click.echo(
            f"{counted(len(names), 'image')}; of a sample of {len(sample)}, {report.failed} fail "
            f"and {report.sidecars} have a part of their payload in a sidecar; about "
            f"{facts['seconds']:g} s and {facts['bytes'] / 1e6:.1f} MB"
            + (", the training of a surrogate not counted" if trains else "")
        )
    return worst(kind("") for kind in report.kinds) or code_of_left_out(task, report)


def _literal(name: str) -> str:
    """Return the pattern that only this name is like."""
    return "".join(f"[{c}]" if c in "*?[" else c for c in name)


class _Pace:
    """How fast a step goes; what earlier runs had done of it does not count."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._before: tuple[int, int] | None = None

    def of(self, step: _Step) -> tuple[float, float]:
        """Return images a second and the seconds that are left."""
        if self._before is None:  # nothing is done yet
            self._before = step.images, step.done
        seconds = max(time.monotonic() - self._start, 1e-9)
        ours = max(1, step.done - self._before[1])
        return (step.images - self._before[0]) / seconds, seconds * (step.total - step.done) / ours


@dataclass(frozen=True)
class _Step:
    """How far a run is: in its own step, in shards, then in that of a comparison, in images."""

    text: str
    images: int
    done: int
    total: int
    unit: str

    @classmethod
    def of(cls, verb: str, report: Report, shards: int) -> _Step:
        if found := report.compared_images:
            text = f"compared {counted(found, 'image')}"
            return cls(text, found, found, max(found, report.done), "images")
        failed = f", {report.failed} failed" if report.failed else ""
        text = f"{verb} {counted(report.done, 'image')}{failed}"
        return cls(text, report.done + report.failed, shards, report.shards, "shards")


@contextlib.contextmanager
def _told(verb: str, quiet: bool) -> Iterator[Progress]:
    """Show a bar for each step on a terminal, lines elsewhere, nothing if `quiet`."""
    paces, print_now_and_then = defaultdict[str, _Pace](_Pace), progress_lines(time.monotonic())

    def lines(report: Report, shards: int) -> None:
        step = _Step.of(verb, report, shards)
        rate, left = paces[step.unit].of(step)
        if not quiet:
            print_now_and_then(
                f"{step.text}, {step.done} of {step.total} {step.unit}, "
                f"{rate:.0f} images/s, {left:.0f} s left"
            )

    if quiet or not errors.is_terminal:
        yield lines
        return
    with bars_of() as bars:
        tasks: dict[str, TaskID] = {}

        def bar(report: Report, shards: int) -> None:
            step = _Step.of(verb, report, shards)
            rate, _ = paces[step.unit].of(step)
            if step.unit not in tasks:
                tasks[step.unit] = bars.add_task(verb, total=None)
            text = f"{step.text}, {rate:.0f}/s, {step.unit}"
            bars.update(tasks[step.unit], completed=step.done, total=step.total, description=text)

        yield bar
