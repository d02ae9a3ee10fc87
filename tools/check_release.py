"""Tell whether the tree is ready for a tag: ``python tools/check_release.py v1.0.0``."""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]


def faults(tag: str, root: Path = ROOT) -> Iterator[str]:
    """Yield what is missing, each with its remedy."""
    header = (root / "csrc" / "dsguard.h").read_text(encoding="utf-8")
    version = re.search(r'^#define DSG_VERSION "(.*)"$', header, re.MULTILINE)
    if version is None or tag != f"v{version[1]}":
        named = version[1] if version else "none"
        yield f"the tag is {tag}, the version in csrc/dsguard.h {named}; change one of them"
    changes = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    heading = rf"^## \[{re.escape(tag.removeprefix('v'))}\] - \d{{4}}-\d\d-\d\d$"
    if not re.search(heading, changes, re.MULTILINE):
        yield f"CHANGELOG.md has no dated section of {tag}; RELEASING.md says how to make it"
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    if any("/OWNER/" in url for url in project["urls"].values()):
        yield "project.urls in pyproject.toml names OWNER; put the owner of the repository there"


if __name__ == "__main__":
    found = list(faults(sys.argv[1]))
    sys.exit("\n".join(found) if found else 0)
