"""The examples in docstrings: each public name has one, and they say what is true."""

from __future__ import annotations

import doctest
import importlib
import inspect
from pathlib import Path

import pytest

MODULES = (
    "dsguard",
    "dsguard.bulk",
    "dsguard.codecs",
    "dsguard.covers",
    "dsguard.formats",
    "dsguard.keys",
    "dsguard.integrations.huggingface",
    "dsguard.integrations.ray",
    "dsguard.integrations.torch",
    "dsguard.integrations.webdataset",
)


def public(module: str) -> dict[str, object]:
    """Return the classes and functions that a module offers, and itself."""
    loaded = importlib.import_module(module)
    names = getattr(loaded, "__all__", ())
    found = {f"{module}.{name}": getattr(loaded, name) for name in names}
    own = {
        f"{module}.{name}": value
        for name, value in vars(loaded).items()
        if not names and not name.startswith("_") and getattr(value, "__module__", "") == module
    }
    documented = (found | own).items()
    return {module: loaded} | {
        name: value
        for name, value in documented
        if inspect.isclass(value) or inspect.isfunction(value)
    }


CASES = {name: value for module in MODULES for name, value in public(module).items()}
SOURCE = Path(__file__).resolve().parents[1] / "src"
WITH_EXAMPLES = sorted(
    ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")
    for path in SOURCE.rglob("*.py")
    if ">>> " in path.read_text("utf-8")
)


@pytest.mark.parametrize("module", WITH_EXAMPLES)
def test_examples_are_true(tmp_path, monkeypatch, module):
    loaded = importlib.import_module(module)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    for number, test in enumerate(doctest.DocTestFinder().find(loaded, module)):
        (tmp_path / str(number)).mkdir()
        monkeypatch.chdir(tmp_path / str(number))
        runner.run(test)
    assert not runner.failures


def test_every_public_name_has_an_example():
    functions = {name for name, value in CASES.items() if not inspect.ismodule(value)}
    without = {name for name in functions if ">>>" not in (CASES[name].__doc__ or "")}
    assert not without
