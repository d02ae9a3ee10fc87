"""``dsguard protect``, ``restore`` and ``verify``: whole datasets."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dsguard.cli import options
from dsguard.cli.console import (
    Exit,
    bars_of,
    complain,
    counted,
    errors,
    load_key,
    progress_lines,
    shortened,
    show,
    show_leftovers,
    step_bars,
    worst,
)
from dsguard.errors import InputError

if TYPE_CHECKING:
    from dsguard.bulk import Report, Settings
    from dsguard.bulk.report import Progress
    from dsguard.bulk.tasks import Task
    from dsguard.formats import Source
    from dsguard.fsp import Surrogate
    from dsguard.keys import DatasetKey

_SAMPLE = 256
_SHOWN_KINDS = 12
_WARNING = "[bold yellow]warning:[/]"


@dataclass(frozen=True)
class Choices:
    """What the options that all bulk commands have were set to."""

    source: str
    destination: str | None
    key_path: Path
    in_format: str
    limit: int | None
    include: tuple[str, ...]
    exclude: tuple[str, ...]
    workers: int | None
    shard_size: int
    engine: str
    on_error: str
    max_errors: int | None
    as_json: bool
    quiet: bool
    out_format: str = "auto"
    image_format: str = "png"
    png_level: int = 1
    overwrite: bool = False
    dry_run: bool = False
    publish: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()

    def settings(self) -> Settings:
        """Return them as `dsguard.bulk.run` takes them."""
        from dsguard._parallel.threads import thread_count
        from dsguard.bulk import Selection, Settings

        return Settings(
            self.out_format,
            self.image_format,
            self.shard_size,
            Selection(self.include, self.exclude, self.limit),
            self.engine,
            thread_count(self.workers),
            self.overwrite,
            0 if self.on_error == "fail" else self.max_errors,
            self.png_level,
            self.publish,
            self.drop,
        )

    def opened(self) -> tuple[Source, DatasetKey]:
        """Open source and key, before any work is done."""
        from dsguard.formats import open_source
        from dsguard.kernels import kernels

        key = load_key(self.key_path)
        kernels()  # a backend that is not there is found now
        told = (
            contextlib.nullcontext() if self.quiet else errors.status("reading the list of images")
        )
        with told:
            return open_source(self.source, self.in_format), key


def _common(command: Callable[..., int]) -> Callable[..., int]:
    for option in (
        click.option("--quiet", is_flag=True, help="No progress on stderr."),
        click.option("--json", "as_json", is_flag=True, help="Print the result as JSON."),
        click.option(
            "--max-errors",
            type=click.IntRange(min=0),
            metavar="N",
            help="Stop when more than N images have failed.",
        ),
        click.option(
            "--on-error",
            type=click.Choice(["skip", "fail"]),
            default="skip",
            show_default=True,
            help="Leave out images that fail, or stop after the shard that has the first.",
        ),
        click.option(
            "--engine",
            type=click.Choice(["local", "ray"]),
            default="local",
            show_default=True,
            help="Work on this machine, or on a Ray cluster (RAY_ADDRESS, else one made here).",
        ),
        click.option(
            "--shard-size",
            type=click.IntRange(min=1),
            default=5000,
            show_default=True,
            help="Images of one unit of work, which is done whole or not at all. Tar shards are "
            "not cut.",
        ),
        click.option(
            "--workers",
            type=click.IntRange(min=1),
            help="Processes; by default one per CPU.",
        ),
        click.option(
            "--exclude",
            multiple=True,
            metavar="PATTERN",
            help="Leave out images whose name is like this, '*/masks/*'. May be repeated.",
        ),
        click.option(
            "--include",
            multiple=True,
            metavar="PATTERN",
            help="Take only images whose name is like this, 'train/*'. May be repeated.",
        ),
        click.option(
            "--limit",
            type=click.IntRange(min=1),
            help="Take only N images, evenly from all folders.",
        ),
        click.option(
            "--in-format",
            default="auto",
            show_default=True,
            help="auto, folder, archive, webdataset, parquet, numpy, cifar, coco or imagefolder.",
        ),
        options.key_option,
    ):
        command = option(command)
    return command


def _writing(command: Callable[..., int]) -> Callable[..., int]:
    for option in (
        click.option(
            "--dry-run", is_flag=True, help="Write nothing: try a sample, count, estimate."
        ),
        click.option(
            "--overwrite/--resume",
            help="Begin anew over what is in DESTINATION, or go on with what an earlier run left "
            "to do, which is the default.",
        ),
        click.option(
            "--png-level",
            type=click.IntRange(0, 1),
            default=1,
            show_default=True,
            help="0 stores pixels without compression: fastest, a third larger.",
        ),
        click.option(
            "--image-format",
            default="png",
            show_default=True,
            help="Of the written image files: png or tiff. Lossy ones are refused.",
        ),
        click.option(
            "--out-format",
            default="auto",
            show_default=True,
            help="auto (that of the source; of an archive a folder), folder, webdataset, parquet, "
            "numpy or cifar.",
        ),
    ):
        command = option(command)
    return command


@click.command()
@click.argument("source")
@click.argument("destination")
@click.option(
    "--surrogate",
    "surrogate_path",
    type=click.Path(path_type=Path),
    help="Surrogate file: used if it exists, else fitted to SOURCE and written there. Keep it as "
    "private as the key. By default it is kept in DESTINATION.dsguard.",
)
@options.epsilon_option
@options.kind_option
@options.steps_option
@click.option(
    "--epochs",
    type=click.IntRange(min=1),
    default=15,
    show_default=True,
    help="Training of a new surrogate.",
)
@options.profile_option
@options.cover_option
@options.cells_option
@options.codec_option
@click.option(
    "--drop",
    multiple=True,
    metavar="PATTERN",
    help="Leave these out without a word. Patterns as for --publish. May be repeated.",
)
@click.option(
    "--publish",
    multiple=True,
    metavar="PATTERN",
    help="Publish files, columns, members, arrays or JSON keys of this name ('*.npy', 'caption') "
    "beside the images, even if they could hold a picture. May be repeated.",
)
@_writing
@_common
@options.device_option
def protect(
    surrogate_path: Path | None,
    epsilon: int,
    kind: str | None,
    steps: int,
    epochs: int,
    profile: str,
    shows: str | None,
    cells: int,
    codec: str | None,
    device: str | None,
    **given: Any,
) -> int:
    """Protect the images of SOURCE into DESTINATION.

    SOURCE is a folder of class folders, a tar or zip archive of one, a folder of WebDataset or
    Parquet shards, .npy or .npz files, the pickles of CIFAR-10 or CIFAR-100, a COCO dataset, or a
    Hugging Face image folder, on this machine or at a URL; it is only read. All of it is protected,
    and trains the surrogate: to publish clean test images, give the training part alone. Profile
    veil needs no surrogate, and no time for one.

    DESTINATION.dsguard gets the journal of the run, from which it goes on after an interruption,
    and the manifest. Do not publish it.
    """
    from dsguard.api import unwise
    from dsguard.bulk import Protect, class_names_of
    from dsguard.codecs import codec_named
    from dsguard.covers import Itself
    from dsguard.covers.named import NEED_SURROGATE, Ingredients, cover_named
    from dsguard.profiles import Profile

    choices = Choices(**given)
    if epsilon == 0:
        complain("epsilon is 0: nothing in the protected images misleads a network", _WARNING)
    chosen = Profile.named(profile)
    name = shows or {"class-wise": "patterns", "sample-wise": "attack"}.get(
        kind or "", chosen.shows
    )
    carrier = codec_named(codec or (chosen.codec if name == chosen.shows else chosen.plain_codec))
    if name in NEED_SURROGATE:
        from dsguard.fsp import choose_device

        choose_device(device)  # a wrong one is found before any work is done
    source, key = choices.opened()
    of = Ingredients(key, None, epsilon, True, steps, cells, device)
    names: tuple[str, ...] = ()
    trains = False
    if name in NEED_SURROGATE:
        _check_destination(source, choices)
        path = surrogate_path or _own_surrogate(choices)
        trains = choices.dry_run and not (path and path.exists())
        if trains:  # any patterns will do
            name, names = "drawn", _sampled_classes(source, choices)
        else:
            network = _surrogate(source, choices, path, epochs, device)
            names = class_names_of(network)
            of = replace(of, surrogate=path if name == "attack" else network)
    cover = of.marked(Itself()) if name == "drawn" else cover_named(name, of)
    if carrier.wants_likeness and not cover.is_like:
        complain(unwise(carrier), _WARNING)
    return _do(Protect(key, cover, carrier, names), source, choices, trains=trains)


def _sampled_classes(source: Source, choices: Choices) -> tuple[str, ...]:
    from dsguard.bulk.selection import select, wanted_names
    from dsguard.bulk.surrogates import check_classes

    some = select(wanted_names(source, choices.settings().selection), 512)
    classes = {name for _, name, _ in source.read(some)}
    check_classes(classes)
    return tuple(sorted(classes))


@click.command()
@click.argument("source")
@click.argument("destination")
@_writing
@_common
def restore(**given: Any) -> int:
    """Restore the protected images of SOURCE into DESTINATION.

    Both as in `protect`. What of DESTINATION is done already is not done again.
    """
    from dsguard.bulk import Restore

    choices = Choices(**given)
    source, key = choices.opened()
    return _do(Restore(key), source, choices)


@click.command()
@click.argument("source")
@_common
def verify(**given: Any) -> int:
    """Tell how many images of SOURCE can still be restored; nothing is written.

    Images are intact if their tag opens, whatever they went through.
    """
    from dsguard.bulk import Verify

    choices = Choices(destination=None, **given)
    source, key = choices.opened()
    return _do(Verify(key), source, choices)


def _do(task: Task, source: Source, choices: Choices, *, trains: bool = False) -> int:
    """Run a task and print what became of the dataset; return the exit code."""
    from dsguard.bulk import TooManyErrors, run

    if choices.dry_run:
        return _estimate(task, source, choices, trains=trains)
    reports: list[Report] = []
    with _told(task.verb, choices.quiet) as tell:

        def keep(report: Report, shards: int) -> None:
            reports[:] = [report]
            tell(report, shards)

        try:
            run(source, task, choices.destination, choices.settings(), keep)
        except TooManyErrors as error:
            show(reports[0].failures)
            complain(str(error))
            return _code(reports[0])
    _warn(task, source, reports[0], choices)
    return _finish(task, reports[0], choices)


def _warn(task: Task, source: Source, report: Report, choices: Choices) -> None:
    """Say what an owner would want to know of a run that went as it was told to."""
    from dsguard.bulk import Protect
    from dsguard.bulk.selection import classes_in
    from dsguard.errors import NotProtectedError

    if isinstance(task, Protect) and len(classes_in(source, choices.settings().selection)) == 1:
        complain("all images are of one class: there is nothing to learn, or to mislead", _WARNING)
    for remark in source.remarks():
        complain(remark, _WARNING)
    if not report.done and set(report.kinds) == {NotProtectedError}:
        complain("none of the images is protected: is this the clean set?", _WARNING)


def _finish(task: Task, report: Report, choices: Choices) -> int:
    manifest = ", named in the manifest" if task.writes else ""
    show(report.failures, report.failed, manifest)
    total = report.done + report.failed - report.broken + report.lost
    if report.broken:
        complain(
            f"{counted(report.broken, 'file')} could not be read to the end; what else was there "
            "is lost"
        )
    if report.lost:
        verb = "is" if report.lost == 1 else "are"
        complain(f"{counted(report.lost, 'image')} of the manifest {verb} not there any more")
    if report.journal_damaged:
        complain(
            "the journal beside the source is damaged: it does not tell whether images are missing",
            _WARNING,
        )
    _show_left_out(task, report)
    if report.unfinished:
        complain("the run that writes the source is not finished: images are missing", _WARNING)
    show_leftovers(report.leftovers)
    if report.foreign and task.publishes:
        more = f" and {len(report.foreign) - 1:,} more" if len(report.foreign) > 1 else ""
        complain(
            f"{report.foreign[0]}{more}: lies in the destination and was not written by this run; "
            "remove what is not to be published",
            _WARNING,
        )
    if report.metadata_dropped:
        complain(
            f"{counted(report.metadata_dropped, 'image')} had a colour profile, EXIF, XMP or "
            "further pictures, which are not kept; the pixels are",
            _WARNING,
        )
    if report.as_they_are:
        complain(
            f"{counted(report.as_they_are, 'image')}: alpha, or margins of an eighth and more, are "
            "published as they are",
            _WARNING,
        )
    if choices.as_json:
        failures = {name: error.message for name, error in report.failures.items()}
        result = {task.verb: report.done, "of": total, "failed": report.failed - report.broken}
        facts = {
            "sidecars": report.sidecars,
            "metadata_dropped": report.metadata_dropped,
            "as_they_are": report.as_they_are,
            "shards": report.shards,
            "resumed": report.resumed,
            "failures": failures,
            "left_out": {kind: asdict(each) for kind, each in report.left_out.items()},
        }
        source = {
            "broken_files": report.broken,
            "lost": report.lost,
            "source_unfinished": report.unfinished,
            "journal_damaged": report.journal_damaged,
            "leftovers": report.leftovers,
            "foreign": report.foreign,
        }
        click.echo(json.dumps({**result, **facts, **source}))
    elif not task.writes:
        share = report.done / total if total else 0
        click.echo(f"{share:.1%} intact: {report.done} of {counted(total, 'image')}")
    else:
        images = counted(total, "image")
        click.echo(f"{task.verb} {report.done} of {images} into {choices.destination}")
        if report.resumed:
            click.echo(f"{report.resumed} of {report.shards} shards were done before")
        if report.sidecars:
            click.echo(
                f"{report.sidecars} with their payload beside the pixels, in the same file or, of "
                "x.npy, in x.npy.sidecars.npz; keep the files as they are"
            )
    return _code(report) or _code_of_left_out(task, report)


def _show_left_out(task: Task, report: Report) -> None:
    """Name what lies beside the images and was not written, and how to decide on it."""
    for kind, each in list(report.left_out.items())[:_SHOWN_KINDS]:
        more = f" and {each.count - 1:,} more" if each.count > 1 else ""
        remedy = f"; --drop '{kind}', or publish it as it is: --publish '{kind}'"
        remedy = remedy if task.publishes else ""
        complain(f"left out: {shortened(each.first)}{more}: {each.reason}{remedy}", _WARNING)
    kinds = len(report.left_out) - _SHOWN_KINDS
    if kinds > 0:
        complain(f"left out: {counted(kinds, 'more kind')}, which --json names", _WARNING)


def _code_of_left_out(task: Task, report: Report) -> int:
    """Return the code of a run that would not publish all, or met files that are not its own."""
    found = task.publishes and (report.left_out or report.foreign)
    return Exit.LEFT_OUT if found else Exit.OK


def _code(report: Report) -> int:
    """Return the exit code of a run: that of the worst of what failed."""
    missing = report.lost or report.unfinished or report.journal_damaged
    return max(worst(kind("") for kind in report.kinds), Exit.SOME_FAILED if missing else Exit.OK)


def _estimate(task: Task, source: Source, choices: Choices, *, trains: bool) -> int:
    """Try a sample; print how many images there are, what may fail and how long it may take."""
    from dsguard._atomic import temporary_subfolder
    from dsguard.bulk import Selection, run, select

    settings = replace(choices.settings(), most_errors=None)
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
    show(report.failures, report.failed)
    _show_left_out(task, report)
    if choices.as_json:
        click.echo(json.dumps(facts))
    else:
        click.echo(
            f"{counted(len(names), 'image')}; of a sample of {len(sample)}, {report.failed} fail "
            f"and {report.sidecars} have their payload beside the pixels; about "
            f"{facts['seconds']:g} s and {facts['bytes'] / 1e6:.1f} MB"
            + (", the training of a surrogate not counted" if trains else "")
        )
    return worst(kind("") for kind in report.kinds) or _code_of_left_out(task, report)


def _literal(name: str) -> str:
    """Return the pattern that only this name is like."""
    return "".join(f"[{c}]" if c in "*?[" else c for c in name)


def _check_destination(source: Source, choices: Choices) -> None:
    """Find out that the destination will not do before a surrogate is trained."""
    from dsguard.bulk.checks import check

    if choices.destination is not None:
        check(source, choices.destination, choices.settings())


def _own_surrogate(choices: Choices) -> Path | None:
    """Return the surrogate that the journal of the destination has, or will have."""
    from dsguard.bulk.journal import Journal
    from dsguard.formats.place import LocalPlace, place_of

    assert choices.destination is not None
    place = Journal.of(place_of(choices.destination)).place
    if choices.dry_run or not isinstance(place, LocalPlace):
        return None
    path = place.path / "surrogate.pt"
    if choices.overwrite:
        path.unlink(missing_ok=True)
    return path


def _surrogate(
    source: Source, choices: Choices, path: Path | None, epochs: int, device: str | None
) -> Surrogate:
    """Load the surrogate, or fit one to the source and keep it if a path was given."""
    from dsguard.bulk import dataset_surrogate

    def tell_start(images: int) -> None:
        if not choices.quiet:
            errors.print(
                f"training a surrogate on {images} images, {counted(epochs, 'epoch')}, then "
                "fitting patterns with it; interrupted, it starts over",
                highlight=False,
            )

    with step_bars(quiet=choices.quiet) as tell:
        return dataset_surrogate(
            source,
            path,
            selection=choices.settings().selection,
            epochs=epochs,
            device=device,
            on_start=tell_start,
            on_step=tell,
        )


class _Pace:
    """How fast a run goes; what earlier runs had done does not count."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._before: tuple[int, int] | None = None

    def of(self, report: Report, shards: int) -> tuple[float, float]:
        """Return images a second and the seconds that are left."""
        images = report.done + report.failed
        if self._before is None:  # nothing is done yet
            self._before = images, shards
        seconds = max(time.monotonic() - self._start, 1e-9)
        ours = max(1, shards - self._before[1])
        return (images - self._before[0]) / seconds, seconds * (report.shards - shards) / ours


def _so_far(verb: str, report: Report) -> str:
    failed = f", {report.failed} failed" if report.failed else ""
    return f"{verb} {counted(report.done, 'image')}{failed}"


@contextlib.contextmanager
def _told(verb: str, quiet: bool) -> Iterator[Progress]:
    """Show a bar on a terminal, lines elsewhere, nothing if `quiet`."""
    pace, print_now_and_then = _Pace(), progress_lines(time.monotonic())

    def lines(report: Report, shards: int) -> None:
        rate, left = pace.of(report, shards)
        if not quiet:
            print_now_and_then(
                f"{_so_far(verb, report)}, {shards} of {report.shards} shards, "
                f"{rate:.0f} images/s, {left:.0f} s left"
            )

    if quiet or not errors.is_terminal:
        yield lines
        return
    with bars_of() as bars:
        task = bars.add_task(verb, total=None)

        def bar(report: Report, shards: int) -> None:
            rate, _ = pace.of(report, shards)
            text = f"{_so_far(verb, report)}, {rate:.0f}/s, shards"
            bars.update(task, completed=shards, total=report.shards, description=text)

        yield bar
