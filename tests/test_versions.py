"""The version of the package is spelled in more than one language."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_c_header_has_the_version_of_the_package():
    header = (ROOT / "csrc" / "dsguard.h").read_text()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert re.findall(r'^#define DSG_VERSION "(.*)"$', header, re.M) == [project["version"]]
