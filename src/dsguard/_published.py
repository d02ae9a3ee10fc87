"""Folders that are published, by a run or with a repository: no secret may lie in one."""

from __future__ import annotations

import json
import os
from pathlib import Path

from dsguard._regular import read_file
from dsguard.errors import InputError

JOURNAL = ".dsguard"
"""Ends the name of the folder beside a destination that has the journal of its run."""

SETTINGS = "settings.json"
"""The file of a journal that says what its run was asked to do."""

PROTECTED = "protected"
"""The task in the journals of runs whose results are published."""

_MOST = 1 << 24


def check_unpublished(
    path: str | os.PathLike[str],
    what: str = "file",
    *,
    may_be_it: bool = False,
    with_below: bool = False,
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
    with_below : bool
        Whether folders below count: much will lie there, and at any depth.

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
    if with_below and (below := _published_below(there)):
        msg = (
            f"the {what} {os.fspath(path)} has a folder that a run protects images into, "
            f"{below} ({below}{JOURNAL} is its journal), and what comes there would be published "
            "as well; choose another place"
        )
        raise InputError(msg)


def _published_below(folder: Path) -> Path | None:
    """Return a folder below one that a run protects images into; it may be gone for now."""
    for above, folders, _ in os.walk(folder):
        for name in filter(_is_of_journal, folders):
            journal = Path(above, name)
            if (journal / SETTINGS).exists() and _protects(journal, if_damaged=True):
                return journal.with_name(name.removesuffix(JOURNAL))
    return None


def _is_of_journal(name: str) -> bool:
    return name.endswith(JOURNAL) and name != JOURNAL


def _is_published(folder: Path, *, if_damaged: bool) -> bool:
    """Tell whether a run protects images into a folder, or has done so."""
    try:
        if not (folder.name and folder.is_dir()):  # nothing lies beside a root
            return False
        journal = folder.with_name(folder.name + JOURNAL)
        if not (journal / SETTINGS).exists():
            return False
    except OSError:  # of another user
        return if_damaged
    return _protects(journal, if_damaged=if_damaged)


def _protects(journal: Path, *, if_damaged: bool) -> bool:
    """Tell whether the run of a journal protects images."""
    try:
        settings = dict(json.loads(read_file(journal / SETTINGS, _MOST)))
    except (InputError, OSError, TypeError, ValueError, RecursionError):
        return if_damaged  # it is damaged, a pipe, or of another user
    return bool(settings.get("task", PROTECTED) == PROTECTED)


def repository_of(path: Path) -> Path | None:
    """Return the git repository that a path lies in, which may be published with all that it has.

    Git itself is not asked what it ignores: it runs programs that a repository names, and this one
    may be a stranger's dataset.
    """
    there = Path(os.path.realpath(path))
    return next((each for each in there.parents if (each / ".git").exists()), None)
