"""The commands of ``dsguard``. Results go to stdout, progress and errors to stderr."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from dsguard import DatasetKey, DsguardError, InputError, TamperedError, WrongKeyError, __version__
from dsguard.bulk import (
    Report,
    load_training_set,
    protect_dataset,
    restore_dataset,
    select,
)
from dsguard.datasets import check_output_format, open_source
from dsguard.kernels import kernels
from dsguard.profile import DEFAULT, PROFILES, STRENGTHS, VEIL
from dsguard.protection import inspect

if TYPE_CHECKING:
    from dsguard.datasets import Source
    from dsguard.evaluation import Row
    from dsguard.fsp import Attack, Surrogate

_SHOWN_FAILURES = 3
_errors = Console(stderr=True)
_output = Console()


class Exit(IntEnum):
    """Exit codes; the text of `cli` says what they mean."""

    OK = 0
    INTERNAL = 1
    USAGE = 2
    SOME_FAILED = 3
    KEY_REFUSED = 4
    DAMAGED = 5
    INTERRUPTED = 130


def run(arguments: Sequence[str]) -> int:
    """Run the command line and return its exit code."""
    try:
        code = cli.main(list(arguments), prog_name="dsguard", standalone_mode=False)
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        _errors.print("interrupted; what was written is whole")
        return Exit.INTERRUPTED
    except DsguardError as error:
        _complain(str(error))
        return _exit_code(error, Exit.USAGE)
    except OSError as error:
        _complain(f"{error.filename or 'writing'}: {error.strerror}")
        return Exit.USAGE
    return code if isinstance(code, int) else Exit.OK


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="dsguard")
def cli() -> None:
    """Publish image datasets without giving them away.

    Protected images are meant to mislead a network that is trained on them; `dsguard demo --data`
    measures how far they do. Whoever has the key restores the clean images and trains as usual.

    \b
    Exit codes:
      0    all went well
      1    internal error
      2    wrong usage, or files that cannot be read or written
      3    some images failed, each of them named
      4    wrong key or passphrase
      5    damaged images
      130  interrupted; what was written is whole
    """  # noqa: D301 - click wants the control character itself


_key_option = click.option(
    "--key",
    "key_path",
    required=True,
    envvar="DSGUARD_KEY_FILE",
    show_envvar=True,
    type=click.Path(path_type=Path),
    help="Key file, from `dsguard keygen`. A passphrase is read from DSGUARD_PASSPHRASE.",
)
_limit_option = click.option(
    "--limit", type=click.IntRange(min=1), help="Take only N images, evenly from all folders."
)
_format_option = click.option(
    "--format",
    "output_format",
    default="png",
    show_default=True,
    help="Format of the written images: png or tiff. Lossy ones are refused.",
)
_profile_option = click.option(
    "--profile",
    type=click.Choice([profile.name for profile in PROFILES]),
    default=DEFAULT,
    show_default=True,
    help="How to protect: the exact ones restore every bit, on blocks of 4, 2 (fine) or 8 (coarse) "
    "pixels; so does veil, which hides images in each other; paper is the method as published.",
)


class _Radius(click.ParamType):  # type: ignore[type-arg] # generic only in newer versions
    """ε by number or by name."""

    name = "epsilon"

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        del param, ctx
        return f"[0..255|{'|'.join(STRENGTHS)}]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if value in STRENGTHS:
            return STRENGTHS[value]
        return int(click.IntRange(0, 255).convert(value, param, ctx))


_epsilon_option = click.option(
    "--epsilon",
    type=_Radius(),
    default="standard",
    show_default=True,
    help="Perturbation radius, of 255 levels, or its name (subtle 8, standard 16, strong 32): more "
    "protects better and shows more.",
)
_kind_option = click.option(
    "--kind",
    type=click.Choice(["class-wise", "sample-wise"]),
    help="One perturbation per class or per image; by default per class, per image for paper.",
)
_steps_option = click.option(
    "--steps",
    type=click.IntRange(min=1),
    default=20,
    show_default=True,
    help="Steps of a sample-wise perturbation.",
)
_device_option = click.option(
    "--device", help="Where networks run, as torch names it; by default CUDA if there is one."
)


@cli.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option(
    "--passphrase",
    is_flag=True,
    help="Wrap the key under a passphrase: that in DSGUARD_PASSPHRASE, else you are asked.",
)
def keygen(path: Path, *, passphrase: bool) -> None:
    """Make a new key and write it to PATH, which must not exist."""
    phrase = os.environ.get("DSGUARD_PASSPHRASE") if passphrase else None
    if passphrase and phrase is None:
        phrase = _ask_passphrase(confirm=True)
    if path.exists():
        msg = f"there is something at {path}; a key that is overwritten takes its dataset with it"
        raise click.UsageError(msg)
    key = DatasetKey.generate()
    key.save(path, phrase)
    _output.print(f"wrote key {key.key_id} to {escape(str(path))}", soft_wrap=True)
    _errors.print("keep it safe and secret: without it nobody can restore what it protects")


@cli.command()
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("destination", type=click.Path(path_type=Path))
@_key_option
@click.option(
    "--surrogate",
    "surrogate_path",
    type=click.Path(path_type=Path),
    help="Surrogate file: used if it exists, else fitted to SOURCE and written there. Keep it as "
    "private as the key.",
)
@_epsilon_option
@_kind_option
@_steps_option
@click.option(
    "--epochs",
    type=click.IntRange(min=1),
    default=15,
    show_default=True,
    help="Training of a new surrogate.",
)
@_profile_option
@_limit_option
@_format_option
@_device_option
@click.option("--overwrite", is_flag=True, help="Write into a DESTINATION that has files.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
def protect(
    source: Path,
    destination: Path,
    key_path: Path,
    surrogate_path: Path | None,
    epsilon: int,
    kind: str | None,
    steps: int,
    epochs: int,
    profile: str,
    limit: int | None,
    output_format: str,
    device: str | None,
    *,
    overwrite: bool,
    as_json: bool,
) -> int:
    """Protect the images of SOURCE into DESTINATION, a folder.

    SOURCE is a folder of class folders, a tar or zip archive of one, or a cifar-10-batches-py
    folder. It is only read. All of it is protected, and trains the surrogate: to publish clean test
    images, give the training part alone. Profile veil needs no surrogate, and no time for one.
    """
    attack = None if profile == VEIL.name else _attack(profile, epsilon, kind, steps)
    if attack is not None:
        from dsguard.fsp import choose_device

        choose_device(device)  # a wrong one is found before any work is done
    key = _load_key(key_path)
    opened, names = _open(source, destination, output_format, limit, overwrite=overwrite)
    surrogate = None
    if attack is not None:
        surrogate = _surrogate(opened, names, surrogate_path, epochs, device)
    with _progress("protect", len(names)) as advance:
        report = protect_dataset(
            opened,
            names,
            destination,
            key,
            surrogate,
            attack=attack,
            epsilon=epsilon,
            profile=profile,
            output_format=output_format,
            progress=advance,
        )
    return _finish("protected", report, destination, as_json=as_json)


@cli.command()
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("destination", type=click.Path(path_type=Path))
@_key_option
@_limit_option
@_format_option
@click.option("--overwrite", is_flag=True, help="Write into a DESTINATION that has files.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
def restore(
    source: Path,
    destination: Path,
    key_path: Path,
    limit: int | None,
    output_format: str,
    *,
    overwrite: bool,
    as_json: bool,
) -> int:
    """Restore the protected images of SOURCE into DESTINATION."""
    key = _load_key(key_path)
    opened, names = _open(source, destination, output_format, limit, overwrite=overwrite)
    with _progress("restore", len(names)) as advance:
        report = restore_dataset(
            opened, names, destination, key, output_format=output_format, progress=advance
        )
    return _finish("restored", report, destination, as_json=as_json)


@cli.command("inspect")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per file.")
def inspect_command(files: tuple[Path, ...], *, as_json: bool) -> int:
    """Tell what protected FILES say of themselves; no key is needed."""
    from dsguard.datasets import decode_protected

    failures: dict[str, DsguardError] = {}
    for file in files:
        try:
            info = asdict(inspect(*decode_protected(file.read_bytes())))
        except DsguardError as error:
            failures[str(file)] = error
            continue
        except OSError as error:
            failures[str(file)] = InputError(f"cannot be read: {error.strerror}")
            continue
        if as_json:
            click.echo(json.dumps({"file": str(file), **info}))
        else:
            facts = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in info.items())
            click.echo(f"{_printable(str(file))}: {facts}")
    _show(failures)
    return _worst(failures)


@cli.command()
@click.option("--data", type=click.Path(path_type=Path), help="Your own images; see `protect`.")
@click.option("--out", default="out/demo", show_default=True, type=click.Path(path_type=Path))
@click.option(
    "--epsilon",
    type=_Radius(),
    help="Perturbation radius; 32 for the digits, 16 for --data.",
)
@click.option(
    "--epochs",
    type=click.IntRange(min=1),
    default=10,
    show_default=True,
    help="Of every training.",
)
@_profile_option
@click.option("--seed", default=0, show_default=True)
@_device_option
def demo(
    data: Path | None,
    out: Path,
    epsilon: int | None,
    epochs: int,
    profile: str,
    seed: int,
    device: str | None,
) -> None:
    """Show the whole method on a small dataset, in some minutes.

    Fits a surrogate, protects, restores, trains a network on clean, protected and restored images,
    and writes a report with pictures.
    """
    from dsguard.demo import demo_data, run_demo

    chosen = demo_data(data, seed)
    # Digits are all contrast: a perturbation has to be larger than on photographs to matter.
    radius = epsilon if epsilon is not None else 32 if data is None else 16
    attack = _attack(profile, radius)
    with _steps() as tell:
        result = run_demo(
            chosen,
            out,
            attack=attack,
            profile=profile,
            epochs=epochs,
            device=device,
            seed=seed,
            on_step=tell,
        )
    _output.print(_table(result.rows))
    for title, value in result.facts.items():
        _output.print(f"{title}: {value}", soft_wrap=True, highlight=False)
    _output.print(f"report: {escape(str(result.report))}", soft_wrap=True)
    _output.print(f"picture: {escape(str(result.picture))}", soft_wrap=True)


@cli.command()
@click.argument("data", type=click.Path(path_type=Path))
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    help="Folder that the study lives in; started again with the same settings, it goes on there.",
)
@click.option("--preset", type=click.Choice(["quick", "paper"]), default="quick", show_default=True)
@_epsilon_option
@_kind_option
@_steps_option
@click.option(
    "--against",
    multiple=True,
    metavar="NAME",
    help="Counter-measure of the trainer to try as well, on clean and on protected images; `all` "
    "for every one. May be repeated.",
)
@click.option(
    "--network",
    "networks",
    multiple=True,
    metavar="NAME",
    help="Network to train besides ResNet-18; `all` for every one. May be repeated.",
)
@click.option(
    "--percent",
    "percents",
    multiple=True,
    type=click.IntRange(1, 99),
    help="Protect only so many of the images, and compare with the others alone. May be repeated.",
)
@click.option(
    "--bfloat16/--float32",
    default=None,
    help="Precision of training; by default bfloat16 on CUDA. Recent server CPUs gain by it.",
)
@click.option(
    "--held-out",
    is_flag=True,
    help="Test on a part of the training images instead: to choose settings without looking at the "
    "test images.",
)
@_profile_option
@_device_option
def evaluate(
    data: Path,
    out: Path,
    preset: str,
    epsilon: int,
    kind: str | None,
    steps: int,
    against: tuple[str, ...],
    networks: tuple[str, ...],
    percents: tuple[int, ...],
    profile: str,
    device: str | None,
    *,
    bfloat16: bool | None,
    held_out: bool,
) -> None:
    """Train networks on clean, protected and restored images of DATA, and compare.

    quick takes minutes on two cores and is a lead, not a result; paper has the settings of the
    published method and wants a GPU. Either goes on where it was interrupted, and with the same
    --out adds what is newly asked for.
    """
    from dsguard.evaluation import COUNTERMEASURES, NETWORKS, matrix, own_images
    from dsguard.evaluation.study import PRESETS, run_study

    chosen = PRESETS[preset].computed_in(bfloat16=bfloat16)
    trials = matrix(
        _all_of(COUNTERMEASURES, against, "--against"),
        _all_of(NETWORKS, networks, "--network"),
        percents,
    )
    with _steps() as tell:
        study = run_study(
            own_images(data, chosen.train_images, chosen.test_images, held_out=held_out),
            out,
            chosen,
            _attack(profile, epsilon, kind, steps),
            profile,
            trials=trials,
            device=device,
            on_step=tell,
        )
    _output.print(_table(study.mean_rows()))
    for title, value in study.facts.items():
        _output.print(f"{title}: {value}", soft_wrap=True, highlight=False)
    _output.print(f"results: {escape(str(out / 'results.json'))}", soft_wrap=True)
    _output.print(f"report: {escape(str(out / 'report.html'))}", soft_wrap=True)


def _all_of(known: Collection[str], given: tuple[str, ...], option: str) -> list[str]:
    """Return the names given, or all that are known."""
    if "all" in given:
        return list(known)
    for name in given:
        if name not in known:
            msg = f"{option}: there is no {name!r}; there are: all, {', '.join(known)}"
            raise click.UsageError(msg)
    return list(given)


def _attack(profile: str, epsilon: int, kind: str | None = None, steps: int = 20) -> Attack:
    from dsguard.fsp import Attack

    chosen = {} if kind is None else {"kind": kind}
    return Attack.carried_by(profile, epsilon=epsilon, steps=steps, **chosen)


def _load_key(path: Path) -> DatasetKey:
    if not path.exists():
        msg = f"there is no key at {path}; make one with: dsguard keygen {path}"
        raise click.UsageError(msg)
    if os.name == "posix" and path.stat().st_mode & 0o077:
        _complain(f"others can read the key; run: chmod 600 {path}", "[bold yellow]warning:[/]")
    phrase = os.environ.get("DSGUARD_PASSPHRASE")
    try:
        return DatasetKey.load(path, phrase)
    except WrongKeyError:
        if phrase is not None or not sys.stdin.isatty():
            raise
    return DatasetKey.load(path, _ask_passphrase(confirm=False))


def _ask_passphrase(*, confirm: bool) -> str:
    if not sys.stdin.isatty():
        msg = "there is no terminal to ask for the passphrase: set DSGUARD_PASSPHRASE"
        raise click.UsageError(msg)
    answer = click.prompt("Passphrase", hide_input=True, confirmation_prompt=confirm, err=True)
    return str(answer)


def _open(
    source: Path, destination: Path, output_format: str, limit: int | None, *, overwrite: bool
) -> tuple[Source, list[str]]:
    """Open the source and refuse destinations that would endanger anything."""
    check_output_format(output_format)
    kernels()  # a backend that is not there is found before any work is done
    if destination.is_file():
        msg = f"the destination {destination} is a file; give a folder"
        raise click.UsageError(msg)
    here, there = source.resolve(), destination.resolve()
    if here == there or here in there.parents or there in here.parents:
        msg = "source and destination must not lie in each other"
        raise click.UsageError(msg)
    nearest = next(
        folder for folder in (destination, *destination.resolve().parents) if folder.exists()
    )
    if not (nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)):
        msg = f"the destination {destination} cannot be made: {nearest} is not a writable folder"
        raise click.UsageError(msg)
    if destination.is_dir() and any(destination.iterdir()) and not overwrite:
        msg = f"{destination} is not empty; choose another folder or add --overwrite"
        raise click.UsageError(msg)
    with _errors.status("reading the list of images"):
        opened = open_source(source)
        names = opened.names()
    if not names:
        msg = f"{source} holds no images; expected class folders with image files"
        raise InputError(msg)
    return opened, select(names, limit)


def _surrogate(
    source: Source, names: list[str], path: Path | None, epochs: int, device: str | None
) -> Surrogate:
    """Load the surrogate, or fit one to the source and keep it if a path was given."""
    from dsguard.datasets.sources import class_of
    from dsguard.fsp import Recipe, Surrogate, fit_surrogate

    if path is not None and path.exists():
        surrogate = Surrogate.load(path, device)
        unknown = sorted({class_of(name) for name in names} - set(surrogate.class_names))
        if unknown:
            msg = f"the surrogate {path} was not trained on the class(es): {', '.join(unknown)}"
            raise InputError(msg)
        return surrogate
    images, classes = load_training_set(source, names)
    known = sorted(set(classes))
    if len(known) < 2:
        msg = (
            "protection needs at least two classes: put the images of each class in a folder of "
            "its own"
        )
        raise InputError(msg)
    with _progress("fit surrogate", epochs) as advance:
        surrogate = fit_surrogate(
            images,
            [known.index(name) for name in classes],
            recipe=Recipe(epochs=epochs),
            device=device,
            class_names=known,
            on_epoch=advance,
        )
    if path is not None:
        surrogate.save(path)
    return surrogate


def _finish(verb: str, report: Report, destination: Path, *, as_json: bool) -> int:
    """Print what became of a dataset and return the exit code."""
    _show(report.failures)
    total = report.done + len(report.failures)
    if as_json:
        failures = {name: error.message for name, error in report.failures.items()}
        result = {verb: report.done, "of": total, "sidecars": report.sidecars}
        click.echo(json.dumps({**result, "failures": failures}))
    else:
        click.echo(f"{verb} {report.done} of {total} images into {destination}")
        if report.sidecars:
            click.echo(
                f"{report.sidecars} of them have their payload beside the pixels in their file"
            )
    return _worst(report.failures)


def _exit_code(error: DsguardError, otherwise: Exit) -> Exit:
    if isinstance(error, TamperedError):
        return Exit.DAMAGED
    if isinstance(error, WrongKeyError):
        return Exit.KEY_REFUSED
    return otherwise


def _worst(failures: dict[str, DsguardError]) -> Exit:
    return max(
        (_exit_code(error, Exit.SOME_FAILED) for error in failures.values()), default=Exit.OK
    )


def _show(failures: dict[str, DsguardError]) -> None:
    """Show the first images of each kind of failure, and how many there are."""
    alike: dict[str, list[str]] = {}
    for name, error in failures.items():
        alike.setdefault(error.message, []).append(name)
    for message, names in alike.items():
        for name in names[:_SHOWN_FAILURES]:
            _complain(f"{name}: {message}")
        if len(names) > _SHOWN_FAILURES:
            _complain(f"and {len(names) - _SHOWN_FAILURES} more images: {message}")


def _complain(message: str, kind: str = "[bold red]error:[/]") -> None:
    _errors.print(f"{kind} {escape(_printable(message))}", soft_wrap=True, highlight=False)


def _printable(text: str) -> str:
    """Return `text` without the control characters that a file name could steer a terminal with."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


@contextlib.contextmanager
def _bars() -> Iterator[Progress]:
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=_errors,
        disable=not _errors.is_terminal,
    ) as bars:
        yield bars


@contextlib.contextmanager
def _progress(name: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show one bar; yields the function that tells it how much is done."""
    with _bars() as bars:
        task = bars.add_task(name, total=total)
        yield lambda done: bars.update(task, completed=done)


@contextlib.contextmanager
def _steps() -> Iterator[Callable[[str, int, int], None]]:
    """Show one bar per step, each from the time that it is first heard of."""
    tasks: dict[str, Any] = {}
    with _bars() as bars:

        def tell(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = bars.add_task(name, total=total)
            bars.update(tasks[name], completed=done)

        yield tell


def _table(rows: list[Row]) -> Table:
    table = Table("trained on", title="tested on clean images")
    for title in ("train accuracy", "test accuracy", "best of any epoch"):
        table.add_column(title, justify="right")
    for row in rows:
        figures = (row.train_accuracy, row.test_accuracy, row.peak_accuracy)
        table.add_row(row.name, *(f"{figure:.1%}" for figure in figures))
    return table
