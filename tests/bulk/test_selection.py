"""Patterns of names: of folders as other tools have them, and never without an effect."""

from __future__ import annotations

import unicodedata

import numpy as np
import pytest

import dsguard
from dsguard.bulk import Selection, protect_dataset, restore_dataset
from dsguard.cli.commands import Exit, run
from dsguard.formats import encode_image

KEY = dsguard.DatasetKey(bytes(range(32)))
DECOMPOSED = unicodedata.normalize("NFD", "privé")


@pytest.fixture
def photos(tmp_path):
    for name in (
        "cat/0.png",
        "private/1.png",
        "private/deep/2.png",
        f"{DECOMPOSED}/3.png",
        "a [b]/4.png",
    ):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_image(np.full((16, 16, 3), len(name), np.uint8)))
    (tmp_path / "photos" / "cat" / "notes.md").write_text("of nobody")
    return tmp_path / "photos"


@pytest.mark.parametrize(
    ("pattern", "left"),
    [
        ("private/*", 3),
        ("private", 3),
        ("private/", 3),
        ("./private/*", 3),
        ("././private", 3),
        ("private/**", 3),
        ("**/private/*", 3),
        ("**/2.png", 4),
        ("private/deep", 4),
        ("privé/*", 4),
        (f"{DECOMPOSED}", 4),
        ("*/1.png", 4),
        ("a [b]", 4),
        ("a [b]/4.*", 4),
        ("cat/*.md", 5),
    ],
)
def test_the_names_of_folders(photos, tmp_path, pattern, left):
    chosen = Selection(exclude=(pattern,))
    report = protect_dataset(photos, tmp_path / "out", KEY, selection=chosen)
    assert (report.done, report.failed) == (left, 0)
    assert (tmp_path / "out" / "cat" / "notes.md").exists() == (pattern != "cat/*.md")
    if left < 5:
        report = protect_dataset(
            photos, tmp_path / "these", KEY, selection=Selection(include=(pattern,))
        )
        assert report.done == 5 - left


@pytest.mark.parametrize("pattern", ["Private/*", "privat", "/private/*", "rivate", "", ".", "./"])
def test_a_pattern_that_takes_nothing_out_is_refused(photos, tmp_path, pattern):
    with pytest.raises(
        dsguard.InputError, match=r"nothing is called so \(names are like 'a \[b\]/4\."
    ):
        protect_dataset(
            photos, tmp_path / "out", KEY, selection=Selection(exclude=("cat/*", pattern))
        )
    assert not (tmp_path / "out").exists()


def test_files_that_are_no_images_may_be_left_out(photos, tmp_path, capsys):
    (photos / "scan.raw").write_bytes(bytes(99))
    out = str(tmp_path / "out")
    KEY.save(tmp_path / "k")
    given = [str(photos), out, "--key", str(tmp_path / "k"), "--exclude", "*.raw"]
    assert run(["protect", *given]) == Exit.OK
    assert run(["protect", *given, "--exclude", "scan.RAW", "--overwrite"]) == Exit.USAGE
    assert "exclude 'scan.RAW': nothing is called so" in capsys.readouterr().err
    assert (tmp_path / "out" / "cat" / "0.png").exists()


@pytest.mark.parametrize("pattern", ["*.gif", "*/masks/*", ".DS_Store", "*/.git/*", ".cache"])
def test_patterns_for_many_datasets_may_take_nothing_out(photos, tmp_path, capsys, pattern):
    chosen = Selection(exclude=(pattern,))
    report = protect_dataset(photos, tmp_path / "out", KEY, selection=chosen)
    told = [] if "." in pattern.removeprefix("*.") else [f"exclude {pattern!r}"]
    assert (report.done, report.unmatched_choice) == (5, told)


def test_a_dry_run_tells_of_patterns_too(photos, tmp_path, capsys):
    KEY.save(tmp_path / "k")
    given = [str(photos), str(tmp_path / "out"), "--key", str(tmp_path / "k"), "--dry-run"]
    assert run(["protect", *given, "--exclude", "privat"]) == Exit.USAGE
    assert run(["protect", *given, "--exclude", "*.gif", "--include", "cat"]) == Exit.OK
    assert "--exclude '*.gif': nothing is called so" in capsys.readouterr().err


def test_an_include_that_is_like_nothing_is_told(photos, tmp_path):
    chosen = Selection(include=("cat/*", "dgo/*"), exclude=("nothing",))
    key, out = KEY, tmp_path / "out"
    protect_dataset(photos, out, key)
    report = restore_dataset(out, tmp_path / "back", key, selection=chosen)
    told = ["include 'dgo/*'", "exclude 'nothing'"]  # nothing is published here
    assert (report.done, report.unmatched_choice) == (1, told)


def test_a_drop_of_images_is_told(photos, tmp_path, capsys):
    (photos / "private" / "1.txt").write_text("a note")
    report = protect_dataset(photos, tmp_path / "out", KEY, drop=("private/*", "cat/*.txt", "0.*"))
    assert report.drop_of_images == ["0.*", "private/*"]
    assert report.unmatched_drop == ["cat/*.txt"]
    assert (tmp_path / "out" / "private" / "1.png").exists()
    assert not (tmp_path / "out" / "private" / "1.txt").exists()
    chosen = Selection(exclude=("private",))
    report = protect_dataset(photos, tmp_path / "less", KEY, drop=("private/*",), selection=chosen)
    assert report.drop_of_images == []
