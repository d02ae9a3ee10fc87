"""Exit codes, messages, progress, keys, for all commands. Results alone go to stdout."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from dsguard.errors import DsguardError, NoKeysError, TamperedError, WorkerError, WrongKeyError

if TYPE_CHECKING:
    from dsguard.keys import DatasetKey

_TOLD_EVERY = 10.0
_SHOWN_FAILURES = 3
_LONGEST_NAME = 200
errors = Console(stderr=True)
output = Console()


class Exit(IntEnum):
    """Exit codes; the text of `cli` says what they mean."""

    OK = 0
    INTERNAL = 1
    USAGE = 2
    SOME_FAILED = 3
    KEY_REFUSED = 4
    DAMAGED = 5
    LEFT_OUT = 6
    INTERRUPTED = 130


def load_key(path: Path) -> DatasetKey:
    """Load a key, with the passphrase of the environment or of the terminal."""
    from dsguard.keys import DatasetKey, passphrase_of_environment

    if not path.exists():
        msg = (
            f"there is no key at {path}; give that of the dataset, or, to protect a new one, make "
            f"one with: dsguard keygen {path}"
        )
        raise click.UsageError(msg)
    if os.name == "posix" and path.stat().st_mode & 0o077:
        warn(f"others can read the key; run: chmod 600 {path}")
    phrase = passphrase_of_environment()
    try:
        return DatasetKey.load(path, phrase)
    except WrongKeyError:
        if phrase is not None or not sys.stdin.isatty():
            raise
    return DatasetKey.load(path, ask_passphrase(confirm=False))


def ask_passphrase(*, confirm: bool) -> str:
    """Ask on the terminal."""
    if not sys.stdin.isatty():
        msg = "there is no terminal to ask for the passphrase: set DSGUARD_PASSPHRASE"
        raise click.UsageError(msg)
    answer = click.prompt("Passphrase", hide_input=True, confirmation_prompt=confirm, err=True)
    return str(answer)


def exit_code(error: DsguardError, otherwise: Exit) -> Exit:
    """Return the exit code of an error."""
    if isinstance(error, TamperedError):
        return Exit.DAMAGED
    if isinstance(error, WrongKeyError | NoKeysError):
        return Exit.KEY_REFUSED
    if isinstance(error, WorkerError):
        return Exit.INTERNAL
    return otherwise


def worst(failures: Iterable[DsguardError]) -> Exit:
    """Return the exit code of several failures."""
    return max((exit_code(error, Exit.SOME_FAILED) for error in failures), default=Exit.OK)


def show(failures: Mapping[str, DsguardError], total: int | None = None, where: str = "") -> None:
    """Show the first images of each kind of failure, and how many there are.

    `failures` may be the first of a greater `total`; `where` tells of the others.
    """
    alike: dict[str, list[str]] = {}
    for name, error in failures.items():
        alike.setdefault(error.message, []).append(name)
    for message, names in alike.items():
        for name in names[:_SHOWN_FAILURES]:
            complain(f"{shortened(name)}: {message}")
        if len(names) > _SHOWN_FAILURES:
            more = counted(len(names) - _SHOWN_FAILURES, f"more {_kind_of(names)}")
            complain(f"and {more}: {message}")
    if total is not None and total > len(failures):
        complain(f"and {counted(total - len(failures), 'more image')}{where}")


def _kind_of(names: Iterable[str]) -> str:
    from dsguard.formats.images import has_image_suffix  # NumPy takes long to import

    return "image" if all(map(has_image_suffix, names)) else "file"


def show_leftovers(paths: Sequence[str]) -> None:
    """Warn of what runs have left in a dataset."""
    for path in paths[:_SHOWN_FAILURES]:
        warn(
            f"{shortened(path)} is of a run and no part of the dataset: it is passed over, and may "
            "tell of clean images; move it elsewhere before you publish"
        )
    if len(paths) > _SHOWN_FAILURES:
        warn(f"and {len(paths) - _SHOWN_FAILURES} more of the kind")


def shortened(name: str) -> str:
    """Return a name, of a very long one the beginning and the end."""
    half = _LONGEST_NAME // 2
    return name if len(name) <= _LONGEST_NAME else f"{name[:half]}…{name[-half:]}"


def counted(number: int, what: str) -> str:
    """Return a number of things in words: ``1 image``, ``2 images``."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def complain(message: str, kind: str = "[bold red]error:[/]") -> None:
    """Print a message on stderr."""
    errors.print(f"{kind} {escape(printable(message))}", soft_wrap=True, highlight=False)


def warn(message: str) -> None:
    """Say on stderr that something is not as it might be wanted."""
    complain(message, "[bold yellow]warning:[/]")


def warn_of_repository(key: Path) -> None:
    """Say where a key would be committed."""
    from dsguard._published import repository_of

    if repository := repository_of(key):
        warn(f"{key} lies in the git repository {repository}: do not commit it")


def say(text: str) -> None:
    """Print a line of the result, which may have names that strangers gave."""
    click.echo(printable(text))


def printable(text: str) -> str:
    """Return `text` without the control characters that a file name could steer a terminal with."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


@contextlib.contextmanager
def bars_of() -> Iterator[Progress]:
    """Yield what shows progress bars, on a terminal."""
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=errors,
    ) as bars:
        yield bars


def progress_lines(last: float) -> Callable[[str], None]:
    """Return what prints a line where there is no terminal: one every ten seconds since `last`."""

    def tell(text: str) -> None:
        nonlocal last
        if time.monotonic() - last >= _TOLD_EVERY:
            last = time.monotonic()
            errors.print(text, highlight=False, soft_wrap=True)

    return tell


@contextlib.contextmanager
def step_bars(*, quiet: bool = False) -> Iterator[Callable[[str, int, int], None]]:
    """Show one bar per step, each from the time that it is first heard of; lines elsewhere."""
    tasks: dict[str, Any] = {}

    def line(name: str, done: int, total: int) -> None:
        if not quiet:
            tasks.setdefault(name, progress_lines(-_TOLD_EVERY))(f"{name}: {done} of {total}")

    if quiet or not errors.is_terminal:
        yield line
        return
    with bars_of() as bars:

        def tell(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = bars.add_task(name, total=total)
            bars.update(tasks[name], completed=done)

        yield tell
