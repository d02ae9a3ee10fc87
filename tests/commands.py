"""Commands of the documentation, checked: options, extras, targets and files exist."""

from __future__ import annotations

import contextlib
import re
import shlex
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import click

from dsguard.cli.commands import cli
from tests import ROOT

_BETWEEN = {"|", "||", "&&", ";"}
_TO_A_FILE = {"<", ">", ">>"}
_ASSIGNMENT = re.compile(r"[A-Z_]+=.*")
OF_THE_SYSTEM = {
    "chroot",
    "cp",
    "cut",
    "debootstrap",
    "diff",
    "export",
    "find",
    "hf",
    "mlcroissant",
    "nginx",
    "openssl",
    "source",
    "systemctl",
    "tar",
    "useradd",
}
"""Commands that are of others: nothing of them is looked at."""


def commands(text: str) -> Iterator[list[str]]:
    """Yield the commands of a block, as the shell would have them."""
    aliases: dict[str, list[str]] = {}
    for line in text.replace("\\\n", " ").splitlines():
        line = line.removeprefix("$ ")  # noqa: PLW2901 - the prompt
        lexer = shlex.shlex(line, posix=True, punctuation_chars="|<>&;")
        lexer.whitespace_split = True
        words: list[str] = []
        for word in [*lexer, ";"]:
            if word not in _BETWEEN:
                words.append(word)
                continue
            if words[:1] == ["alias"]:
                name, _, meant = words[1].partition("=")
                aliases[name] = shlex.split(meant)
            elif words:
                yield _plain(words, aliases)
            words = []


def _plain(words: list[str], aliases: dict[str, list[str]]) -> list[str]:
    """Take off what is set for a command, and the files that it reads and writes."""
    while _ASSIGNMENT.fullmatch(words[0]):
        words = words[1:]
    for n, word in enumerate(words):
        if word in _TO_A_FILE:
            words = words[:n]
            break
    return [*aliases.get(words[0], words[:1]), *words[1:]]


def check(words: list[str]) -> None:
    """Raise an error if a command would not do.

    Raises
    ------
    AssertionError, click.ClickException
        If it has an option that there is not, lacks one, or names no file, extra or target.
    """
    name = Path(words[0]).name
    if name in OF_THE_SYSTEM or re.match(r"\w+=", words[0]):
        return
    assert name in _CHECKS, f"nobody checks {name!r}: add it to tests/commands.py"
    _CHECKS[name](words[1:])


def command_at(words: list[str]) -> tuple[click.Command, list[str]]:
    """Return the command of dsguard that is meant, and its arguments."""
    command: click.Command = cli
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        assert words[0] in command.commands, f"there is no dsguard {words[0]}"
        command, words = command.commands[words[0]], words[1:]
    return command, words


def every_option() -> set[str]:
    """Return the options of all commands of dsguard."""
    found, left = {"--help"}, [cli]
    for command in left:
        left += getattr(command, "commands", {}).values()
        for option in command.params:
            found.update(option.opts, option.secondary_opts)
    return found


def _dsguard(words: list[str]) -> None:
    """Have click take the words, as far as to where something would be done."""
    command, given = command_at(words)
    with contextlib.suppress(click.exceptions.Exit):  # of --help
        command.make_context(command.name, list(given))


def _pip(words: list[str]) -> None:
    for extras in re.findall(r"^\.\[(.*)\]$", "\n".join(words), re.MULTILINE):
        known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        missing = set(extras.split(",")) - known["optional-dependencies"].keys()
        assert not missing, f"there is no extra {missing}"


def _make(words: list[str]) -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(words) <= set(targets), f"make {words}: there is no such target"


def _python(words: list[str]) -> None:
    """Look for the module, or the file, that is run."""
    if words[0] != "-m":
        assert (ROOT / words[0]).is_file(), f"there is no {words[0]}"
    elif words[1] not in ("pip", "venv"):
        place = ROOT / words[1].replace(".", "/")
        assert place.is_dir() or place.with_suffix(".py").is_file(), f"there is no {words[1]}"


def _curl(words: list[str]) -> None:
    """Look for the route of the platform that a request goes to."""
    sources = (path.read_text() for path in (ROOT / "src/dsguard/dmcp").glob("*.py"))
    routes = re.findall(r'\.(?:get|post|put|delete)\(\s*"(/v1/[^"]+)"', "\n".join(sources))
    known = [re.sub(r"\{\w+\}", "[^/]+", route) for route in routes]
    for word in words:
        _, is_one, path = word.partition("$URL/")
        found = any(re.fullmatch(route, f"/{path}") for route in known)
        assert found or not is_one, f"no route: {word}"


_CHECKS: dict[str, Callable[[list[str]], None]] = {
    "curl": _curl,
    "dsguard": _dsguard,
    "make": _make,
    "pip": _pip,
    "python": _python,
    "python3": _python,
}
