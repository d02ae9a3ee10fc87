"""No function or command writes clean pixels or a secret into a folder that is published.

All that takes a path is found by walking the public modules and the commands. Whoever adds one
says here whether it reads there, or shows that it refuses.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest

import dsguard
from dsguard.bulk import protect_dataset, restore_dataset, run
from dsguard.cli import commands
from dsguard.covers import Preview

KEY = dsguard.DatasetKey(bytes(range(32)))
MODULES = (
    "dsguard",
    "dsguard.bulk",
    "dsguard.covers",
    "dsguard.dmcp",
    "dsguard.evaluation",
    "dsguard.formats",
    "dsguard.fsp",
    "dsguard.integrations.huggingface",
    "dsguard.integrations.images",
    "dsguard.integrations.ray",
    "dsguard.integrations.torch",
    "dsguard.integrations.webdataset",
    "dsguard.keys",
)
READ = {
    "Attacked.__init__ surrogate",
    "Client.begin_job tar",
    "DatasetKey.load path",
    "FolderOfCovers.__init__ folder",
    "FolderOfCovers.of folder",
    "Profile.cover surrogate",
    "Restore.__init__ key_path",
    "Surrogate.load path",
    "key_at place",
    "open_source location",
    "own_images known",
    "own_images path",
    "protect_dataset source",
    "protect_dataset surrogate",
    "protection_of surrogate",
    "restore_dataset source",
    "rows_in files",
    "verify_dataset against",
    "verify_dataset source",
}
"""Functions of the API that read at a path; or write nothing there."""


def taking_paths(name: str, found: Any) -> Iterator[str]:
    """Yield what of a public name takes a path, and the name of the argument."""
    functions = {name: found} if inspect.isfunction(found) else {}
    if inspect.isclass(found) and found.__module__.startswith("dsguard."):
        own = (each for each in vars(found) if each == "__init__" or not each.startswith("_"))
        functions = {f"{name}.{each}": getattr(found, each) for each in own}
    for path, function in functions.items():
        if not callable(function):
            continue
        for each in inspect.signature(function).parameters.values():
            if any(word in str(each.annotation) for word in ("Path", "Location")):
                yield f"{path} {each.name}"


def of_the_api() -> set[str]:
    found = set[str]()
    for name in MODULES:
        module = importlib.import_module(name)
        names = getattr(module, "__all__", [each for each in vars(module) if each[0] != "_"])
        for each in names:
            known = getattr(module, each)
            if not getattr(known, "__module__", "").startswith("dsguard._"):  # which are not public
                found.update(taking_paths(each, known))
    return found


@pytest.fixture
def published(tmp_path, monkeypatch) -> Path:
    """Return a folder that is published, beside the images that it was made of."""
    np.save(tmp_path / "images.npy", np.zeros((2, 32, 32, 3), np.uint8))
    protect_dataset(tmp_path / "images.npy", tmp_path / "pub", KEY, cover=Preview(4))
    KEY.save(tmp_path / "k.key")
    for n in range(20):
        image = dsguard.formats.encode_image(np.full((32, 32, 3), 9 * n, np.uint8))
        file = tmp_path / "photos" / "ab"[n % 2] / f"{n}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(image)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "pub"


def fetched(path: Path) -> None:
    from dsguard.dmcp import Client

    Client("http://localhost:1", "0" * 64).fetch_job("1", path)


def trained(name: str, module: str = "dsguard.networks.training") -> Callable[[Path], None]:
    """Have a function store the checkpoint that it is given a path for."""

    def store(path: Path) -> None:
        from dsguard.networks.training import save_whole

        assert name in inspect.getsource(importlib.import_module(module))
        save_whole({}, path)

    return store


WRITERS: dict[str, Callable[[Path], object]] = {
    "Client.fetch_job tar": fetched,
    "DatasetKey.save path": KEY.save,
    "dataset_surrogate path": lambda path: dsguard.bulk.dataset_surrogate(
        dsguard.formats.open_source("images.npy"), path
    ),
    "fit_surrogate checkpoint": trained("checkpoint"),
    "learn checkpoint": trained("checkpoint"),
    "protect_dataset destination": lambda path: protect_dataset("images.npy", path, KEY),
    "restore_dataset destination": lambda path: restore_dataset("images.npy", path, KEY),
    "run destination": lambda path: run(
        dsguard.formats.open_source("images.npy"), dsguard.bulk.Restore(KEY), path
    ),
    "Surrogate.save path": trained("save_whole", "dsguard.covers.surrogate"),
    "train checkpoint": trained("checkpoint"),
}
"""Functions of the API that write clean pixels, or secrets, and how they are called."""


def test_every_function_that_takes_a_path_is_known():
    pytest.importorskip("torch")
    pytest.importorskip("httpx")
    assert of_the_api() == READ | WRITERS.keys()


@pytest.mark.parametrize("name", WRITERS)
def test_no_function_writes_into_what_is_published(published, name):
    if "checkpoint" in name or "urrogate" in name:
        pytest.importorskip("torch")
    before = sorted(published.rglob("*"))
    for inner in ("new", "deep/new"):
        with pytest.raises(dsguard.InputError, match="would be published"):
            WRITERS[name](published / inner)
    assert sorted(published.rglob("*")) == before


READING = {
    ("demo", "data"),
    ("dmcp audit all", "folder"),
    ("dmcp audit verify", "folder"),
    ("dmcp deposit", "key_path"),
    ("dmcp publisher", "folder"),
    ("dmcp restore", "source"),
    ("dmcp rotate-master-key", "folder"),
    ("dmcp samples", "files"),
    ("dmcp sync-requests", "names"),
    ("dmcp token", "folder"),
    ("evaluate", "against"),
    ("evaluate", "data"),
    ("evaluate", "known"),
    ("inspect", "key_path"),
    ("protect", "covers_folder"),
    ("protect", "source"),
    ("restore", "key_path"),
    ("restore", "source"),
    ("verify", "against"),
    ("verify", "key_path"),
    ("verify", "source"),
}
"""Arguments of commands at which nothing is written."""

WRITING = {
    ("demo", "out"): "demo --data photos --out {}",
    ("dmcp export-key", "path"): "dmcp export-key photos 1 {}",
    ("dmcp restore", "destination"): "dmcp restore photos photos {}",
    ("dmcp rotate-master-key", "new"): "dmcp rotate-master-key {}",
    ("dmcp serve", "folder"): "dmcp serve --folder {}",
    ("evaluate", "out"): "evaluate photos --out {}",
    ("keygen", "path"): "keygen {}",
    ("protect", "destination"): "protect images.npy {} --key k.key",
    ("protect", "key_path"): "protect images.npy more --dataset photos --key {}",
    ("protect", "surrogate_path"): "protect images.npy more --key k.key --profile exact "
    "--surrogate {}",
    ("restore", "destination"): "restore images.npy {} --key k.key",
}
"""Arguments at which clean pixels or secrets are written, and a command with each."""


def of_commands(
    command: click.Command = commands.cli, name: tuple[str, ...] = ()
) -> Iterator[tuple[str, str]]:
    """Yield the arguments of all commands that are paths."""
    if isinstance(command, click.Group):
        context = click.Context(command)
        for each in command.list_commands(context):
            inner = command.get_command(context, each)
            assert inner is not None
            yield from of_commands(inner, (*name, each))
        return
    for each in command.params:
        is_path = isinstance(each.type, (click.Path, click.File))
        if each.name and (is_path or each.name in ("source", "destination", "against")):
            yield " ".join(name), each.name


def test_every_argument_that_is_a_path_is_known():
    assert set(of_commands()) == READING | WRITING.keys()


@pytest.mark.parametrize("argument", WRITING, ids=" ".join)
def test_no_command_writes_into_what_is_published(published, argument, capsys, monkeypatch):
    monkeypatch.setenv("DSGUARD_DMCP_URL", "http://localhost:1")
    monkeypatch.setenv("DSGUARD_DMCP_TOKEN", "0" * 64)
    monkeypatch.setattr("dsguard.dmcp.Client.key_versions", lambda *_: [])
    before = sorted(published.rglob("*"))
    assert commands.run(WRITING[argument].format("pub/new").split()) == 2
    assert "would be published" in capsys.readouterr().err
    assert sorted(published.rglob("*")) == before
