"""Print docs/files.md: all files of the package and of the core, each with its job."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
INTRO = """# Files

Made by `python docs/files.py > docs/files.md` from the first line of each file; a test compares.
"""


def job(path: Path) -> str:
    """Return the first sentences of a file, without its name in C."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        return (ast.get_docstring(ast.parse(text)) or "").partition("\n\n")[0].replace("\n", " ")
    comment = re.match(r"/\*(.*?)\*/", text, re.DOTALL)
    words = re.sub(r"\s*\n \* ?", "\n", comment[1] if comment else "").strip()
    told = words.partition("\n\n")[0].replace("\n", " ").partition(" - ")[2]
    return told.partition(".  ")[0].rstrip(".:") + "."


def files() -> str:
    """Return the list, one folder after the other."""
    paths = [*(ROOT / "src").rglob("*.py"), *(ROOT / "csrc").rglob("*.[ch]")]
    lines, folder = [INTRO], Path()
    for path in sorted(paths, key=lambda path: (path.parent, path.name)):
        if "migrations" in path.parts or path.name == "_core.csrc.c":
            continue
        if path.parent != folder:
            folder = path.parent
            lines.append(f"\n## `{folder.relative_to(ROOT).as_posix()}/`\n")
        lines.append(f"- `{path.name}`: {job(path)}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(files())
