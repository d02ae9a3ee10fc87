"""The files of ``examples/``: they run, and the notebook shows what its cells give."""

import contextlib
import io
import json
import os
import re
import subprocess
import sys

import pytest

from tests import ROOT

plt = pytest.importorskip("matplotlib.pyplot")

EXAMPLES = ROOT / "examples"
SCRIPTS = sorted(EXAMPLES.glob("*.py"))
FIGURES = {"publish_a_folder.py": r"49 files came back, 0 of them changed"}
CHANGES = re.compile(r"[0-9a-f]{12}|\d+ bytes")
"""Key ids, and lengths of what is compressed: others in each run."""


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_run(script, tmp_path):
    if "import torch" in script.read_text(encoding="utf-8"):
        pytest.importorskip("torch")
    # A process of its own: examples start workers, and choose the seed of torch.
    command = [sys.executable, str(script)]
    alone = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, check=False, cwd=tmp_path, env=alone, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert re.search(FIGURES.get(script.name, "."), done.stdout)
    if script.name == "train_from_protected.py":
        with_key, without = re.findall(r"(\d+\.\d)% of the test", done.stdout)
        assert float(with_key) > 80
        assert float(without) < 30


def test_the_notebook_shows_what_it_gives(monkeypatch):
    notebook = json.loads((EXAMPLES / "tour.ipynb").read_text("utf-8"))
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert len(cells) > 5
    shown = []
    monkeypatch.setattr(plt, "show", lambda: shown.append(plt.gcf()))
    names = {}
    plt.switch_backend("agg")
    for cell in cells:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile("".join(cell["source"]), "tour.ipynb", "exec"), names)
        stored = "".join("".join(each["text"]) for each in cell["outputs"] if "text" in each)
        assert CHANGES.sub("…", printed.getvalue()) == CHANGES.sub("…", stored)
    plt.close("all")
    pictures = [output for cell in cells for output in cell["outputs"] if "data" in output]
    assert sum("image/jpeg" in output["data"] for output in pictures) == len(shown) == 2


def test_each_is_named_on_the_page():
    page = (EXAMPLES / "README.md").read_text("utf-8")
    files = {path.name for path in EXAMPLES.iterdir() if path.suffix in (".py", ".ipynb")}
    assert files == set(re.findall(r"\]\((\w+\.(?:py|ipynb))\)", page))
