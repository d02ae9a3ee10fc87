"""``dsguard doctor``, ``dsguard --version`` and ``dsguard`` alone: what a new user meets first."""

from __future__ import annotations

import json
import re
from importlib import metadata

import click
import numpy as np
import pytest

from dsguard import codecs
from dsguard.cli.commands import run
from dsguard.cli.grouped import GROUPS
from dsguard.cli.protect import protect
from dsguard.cli.restore import restore, verify
from dsguard.kernels import native


def test_all_codecs_are_well(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(["doctor", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert list(told["codecs"]) == [codec.name for codec in codecs.CODECS]
    assert all(each["fault"] is None for each in told["codecs"].values())
    assert told["kernels"] == "native"
    assert told["instruction_set"] == native.isa()
    assert not list(tmp_path.iterdir())


def test_kernels_that_compute_something_else_are_found(capsys, monkeypatch):
    expand = native.expand

    def wrong(*arguments):
        images, fine = expand(*arguments)
        images[..., 0] ^= 1
        return images, fine

    monkeypatch.setattr(native, "expand", wrong)
    assert run(["doctor"]) == 1
    printed = capsys.readouterr()
    assert "codec sealed: a restored image is wrong by 1 of 255 levels" in printed.err
    assert "codec exact " in printed.out


def test_changed_bits_that_go_unnoticed_are_found(capsys, monkeypatch):
    from dsguard import api

    restore = api.restore_batch
    first = []

    def forgiving(images, key, **settings):
        if not first:
            first.append(restore(images, key, **settings))
        return np.copy(first[0])

    monkeypatch.setattr(api, "restore_batch", forgiving)
    assert run(["doctor"]) == 1
    assert "changed bits are not noticed" in capsys.readouterr().err


@pytest.mark.parametrize("version", [None, "0.0.1"])
def test_missing_and_old_packages_have_their_remedy(capsys, monkeypatch, version):
    version_of = metadata.version

    def told(name):
        if name != "numba":
            return version_of(name)
        if version is None:
            raise metadata.PackageNotFoundError(name)
        return version

    monkeypatch.setattr(metadata, "version", told)
    assert run(["doctor"]) == 0
    assert "needs numba; run: pip install 'dsguard[numba]'" in capsys.readouterr().out


def test_version_tells_kernels(capsys):
    assert run(["--version"]) == 0
    told = capsys.readouterr().out
    assert told.startswith(f"dsguard {metadata.version('dsguard')} (native kernels, {native.isa()}")


def test_alone_it_says_how_to_begin(capsys):
    assert run([]) == 0
    told = capsys.readouterr().out
    assert "dsguard keygen my.key" in told
    assert "dsguard protect photos protected --key my.key" in told


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete_names(capsys, monkeypatch, shell):
    monkeypatch.setenv("_DSGUARD_COMPLETE", f"{shell}_source")
    with pytest.raises(SystemExit):
        run([])
    assert f"_DSGUARD_COMPLETE={shell}_complete" in capsys.readouterr().out
    monkeypatch.setenv("_DSGUARD_COMPLETE", f"{shell}_complete")
    monkeypatch.setenv("COMP_WORDS", "dsguard protect --cov")
    monkeypatch.setenv("COMP_CWORD", "--cov" if shell == "fish" else "2")
    with pytest.raises(SystemExit):
        run([])
    assert "--covers" in capsys.readouterr().out


@pytest.mark.parametrize("command", [protect, restore, verify], ids=lambda each: each.name)
def test_options_stand_under_their_subject(capsys, command):
    names = [name for group in GROUPS.values() for name in group]
    assert len(set(names)) == len(names)
    own = {each.name for each in command.params if isinstance(each, click.Option)}
    assert own <= set(names)
    assert run([command.name, "--help"]) == 0
    told = capsys.readouterr().out
    titles = [title for title, group in GROUPS.items() if own & set(group)]
    assert re.findall(r"^([A-Z].*):$", told, re.MULTILINE) == [*titles, "Other"]
    for each in command.params:
        assert not isinstance(each, click.Option) or each.hidden or each.opts[0] in told


def test_every_option_of_a_group_is_one_of_some_command():
    there = {each.name for command in (protect, restore, verify) for each in command.params}
    assert {name for group in GROUPS.values() for name in group} <= there
