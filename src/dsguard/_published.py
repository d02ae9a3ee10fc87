"""Folders that are published, by a run or with a repository: no secret may lie in one."""

from __future__ import annotations

import json
import os
from pathlib import Path

from dsguard.errors import InputError

JOURNAL = ".dsguard"
"""Ends the name of the folder beside a destination that has the journal of its run."""

SETTINGS = "settings.json"
"""The file of a journal that says what its run was asked to do."""

PROTECTED = "protected"
"""The task in the journals of runs whose results are published."""

_MOST = 1 << 24


def check_unpublished(
    path: str | os.PathLike[str], what: str = "file", *, may_be_it: bool = False
) -> None:
    """Refuse a place for what is secret, or clean, in a folder that a run protects images into.

    Its journal, which lies beside it, tells. One that cannot be read counts as one, but where it is
    that of `path` itself: whoever goes on there says what is wrong, and may begin anew.

    Parameters
    ----------
    path : path-like
    what : str
        What would lie there, for the error.
    may_be_it : bool
        Whether it may be that folder itself.

    Raises
    ------
    InputError
        If it is such a folder or lies in one, however that is spelled.
    """
    there = Path(os.path.realpath(path))  # of a loop of links as well
    for folder in there.parents if may_be_it else (there, *there.parents):
        if _is_published(folder, if_damaged=folder != there):
            msg = (
                f"the {what} {os.fspath(path)} would be published: a run protects images "
                f"into {folder} ({folder}{JOURNAL} is its journal); choose a place outside of that "
                "folder"
            )
            raise InputError(msg)


def _is_published(folder: Path, *, if_damaged: bool) -> bool:
    """Tell whether a run protects images into a folder, or has done so."""
    try:
        if not (folder.name and folder.is_dir()):  # nothing lies beside a root
            return False
        journal = folder.with_name(folder.name + JOURNAL) / SETTINGS
        if not journal.exists():
            return False
        with journal.open("rb") as file:
            settings = dict(json.loads(file.read(_MOST)))
    except (OSError, TypeError, ValueError, RecursionError):  # it is damaged, or of another user
        return if_damaged
    return bool(settings.get("task", PROTECTED) == PROTECTED)


def repository_of(path: Path) -> Path | None:
    """Return the git repository that a path lies in, which may be published with all that it has.

    Git itself is not asked what it ignores: it runs programs that a repository names, and this one
    may be a stranger's dataset.
    """
    there = Path(os.path.realpath(path))
    return next((each for each in there.parents if (each / ".git").exists()), None)
