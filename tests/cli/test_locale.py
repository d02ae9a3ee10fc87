"""Locales that are not UTF-8, and errors that nobody foresaw: no tracebacks, no other letters."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

import dsguard
from dsguard.cli import inspect
from dsguard.cli.commands import Exit, run
from dsguard.formats import encode_image, open_source

LOCALES = {
    "ascii": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "latin-1 terminal": {"LC_ALL": "C.UTF-8", "PYTHONIOENCODING": "latin-1"},
    "ascii terminal": {"LC_ALL": "C.UTF-8", "PYTHONIOENCODING": "ascii:strict"},
    "latin-1 terminal, ascii": {
        "LC_ALL": "C",
        "PYTHONUTF8": "0",
        "PYTHONCOERCECLOCALE": "0",
        "PYTHONIOENCODING": "latin-1",
    },
}


@pytest.fixture
def data(tmp_path, scenes):
    dsguard.DatasetKey(bytes(32)).save(tmp_path / "k")
    for n, image in enumerate(scenes):
        path = tmp_path / "in" / ["café", "☕ and \U0001f408"][n % 2] / f"é{n}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_image(image))
    (tmp_path / "in" / "café" / "ö.png").write_bytes(b"none")
    return tmp_path


def dsguard_in(folder, locale, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "dsguard", *arguments],
        cwd=folder,
        env={**os.environ, **LOCALES[locale]},
        capture_output=True,
        check=False,
    )


@pytest.mark.skipif(os.name != "posix", reason="locales of POSIX")
@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize("out_format", ["folder", "parquet", "webdataset"])
def test_names_are_kept_and_nothing_breaks(data, locale, out_format):
    command = ["protect", "in", "☕", "--key", "k", "--profile", "veil", "--out-format", out_format]
    done = dsguard_in(data, locale, *command)
    assert done.returncode == Exit.SOME_FAILED
    assert b"Traceback" not in done.stderr
    assert b"protected 8 of 9 images into" in done.stdout
    assert b"is not an image file" in done.stderr
    classes = {name for _, name, _ in open_source(data / "☕").read()}
    assert classes == {"café", "☕ and \U0001f408"}
    text = (done.stdout + done.stderr).decode("latin-1" if "latin" in locale else "utf-8")
    assert "\\u2615" in text or "☕" in text
    assert "ö.png" in text or (locale == "ascii terminal" and "\\xf6.png" in text)


def test_usage_errors_are_shown_in_any_locale(data):
    for locale in LOCALES:
        done = dsguard_in(data, locale, "verify", "ü☕", "--key", "k")
        assert done.returncode == Exit.USAGE
        assert b"there is nothing at" in done.stderr
        assert b"Traceback" not in done.stderr


def test_json_is_ascii(data):
    done = dsguard_in(data, "ascii", "verify", "in", "--key", "k", "--json")
    assert "café/ö.png" in json.loads(done.stdout.decode("ascii"))["failures"]


@pytest.mark.parametrize(
    "error", [ValueError("odd\x1b[31m\udce9"), RecursionError("deep"), OverflowError("int too big")]
)
def test_an_unforeseen_error_is_one_line(data, capsys, monkeypatch, error):
    def fail(*_):
        raise error

    monkeypatch.chdir(data)
    monkeypatch.setattr(inspect, "_first_image", fail)
    monkeypatch.delenv("DSGUARD_DEBUG", raising=False)
    assert run(["inspect", "x"]) == Exit.INTERNAL
    shown = capsys.readouterr().err
    assert f"internal error: {type(error).__name__}: " in shown
    assert shown.count("\n") == 1
    assert "\x1b" not in shown
    monkeypatch.setenv("DSGUARD_DEBUG", "1")
    with pytest.raises(type(error)):
        run(["inspect", "x"])


def test_memory_that_is_not_there_is_told(data, capsys, monkeypatch):
    monkeypatch.setattr(inspect, "_first_image", lambda _: (_ for _ in ()).throw(MemoryError))
    assert run(["inspect", "x"]) == Exit.INTERNAL
    assert "not enough memory" in capsys.readouterr().err


SCRIPT = """
import sys, dsguard
from dsguard.bulk import protect_dataset
key = dsguard.DatasetKey.load("k")
protect_dataset("in", "out", key, profile="veil", workers=2, shard_size=3)
"""


@pytest.mark.parametrize("method", ["forkserver", "spawn"])
def test_a_script_without_its_guard_is_told_so(data, method):
    lines = SCRIPT
    if method == "spawn":
        change = "multiprocessing.get_context = lambda *_, real=multiprocessing.get_context: real"
        lines = f"import multiprocessing\n{change}('spawn')\n" + lines
    (data / "script.py").write_text(lines)
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=data, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.count("Traceback") == 1  # that of the script itself
    assert done.stderr.strip().splitlines()[-1].startswith("dsguard.errors.WorkerError: ")
    assert 'if __name__ == "__main__":' in done.stderr
    assert "memory" not in done.stderr
