"""The version stands in csrc/dsguard.h, and nowhere else."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import dsguard

ROOT = Path(__file__).parents[1]


def test_the_package_has_the_version_of_the_c_header():
    header = (ROOT / "csrc" / "dsguard.h").read_text()
    assert re.findall(r'^#define DSG_VERSION "(.*)"$', header, re.M) == [dsguard.__version__]


def test_no_other_file_of_the_project_names_a_version_of_its_own():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert "version" not in project
    assert not re.search(r"^version:", (ROOT / "CITATION.cff").read_text(), re.M)
