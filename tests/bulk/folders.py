"""Folders, compared by all that is in them."""

from __future__ import annotations

from pathlib import Path


def files_in(root: Path) -> dict[str, bytes]:
    """Return the content of all files of a folder, by relative path."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }
