"""What a release needs is looked for before it is tagged."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def ready(tmp_path):
    """A tree that is ready for the tag v1.2.3."""
    for name, text in {
        "csrc/dsguard.h": '#define DSG_VERSION "1.2.3"\n',
        "CHANGELOG.md": "## [Unreleased]\n\n## [1.2.3] - 2027-01-31\n",
        "pyproject.toml": '[project.urls]\nSource = "https://example.org/me/dsguard"\n',
        "tools/check_release.py": (ROOT / "tools" / "check_release.py").read_text(),
    }.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return tmp_path


def refusal(tree: Path, tag: str = "v1.2.3") -> str:
    """Return what the check says; it fails where that is something."""
    command = [sys.executable, tree / "tools" / "check_release.py", tag]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert bool(done.returncode) == bool(done.stderr)
    return done.stderr


def test_a_tree_that_is_ready(ready):
    assert refusal(ready) == ""


def test_a_tag_of_another_version(ready):
    assert "the tag is v1.2.4, the version in csrc/dsguard.h 1.2.3" in refusal(ready, "v1.2.4")


@pytest.mark.parametrize(
    ("name", "old", "new", "told"),
    [
        ("CHANGELOG.md", " - 2027-01-31", "", "no dated section of v1.2.3"),
        ("CHANGELOG.md", "1.2.3", "1x2.3", "no dated section of v1.2.3"),
        ("pyproject.toml", "/me/", "/OWNER/", "put the owner of the repository there"),
    ],
)
def test_a_tree_that_lacks_something(ready, name, old, new, told):
    (ready / name).write_text((ready / name).read_text().replace(old, new))
    assert told in refusal(ready)
