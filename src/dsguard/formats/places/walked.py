"""Stores whose folders are listed one by one: each that cannot be listed is told."""

from __future__ import annotations

from typing import Any

from dsguard.errors import InputError

DEEPEST = 200
MOST_FOLDERS = 100_000
"""A server may make up folders in folders; each costs a request."""


def is_walked(store: Any) -> bool:
    """Tell whether fsspec walks through a store itself, and passes over what it cannot list."""
    from fsspec import AbstractFileSystem

    return bool(type(store).find is AbstractFileSystem.find)


def walked(store: Any, root: str) -> tuple[list[str], list[str]]:
    """Return the paths of all files under one, and those of folders that list nothing, sorted.

    Of the latter there are only those at stores that may have failed to list them.

    Raises
    ------
    InputError
        If a folder cannot be listed, or there is no end to them.
    """
    found, empty, waiting, count = set[str](), list[str](), [(root, 0)], 0
    while waiting:
        folder, depth = waiting.pop()
        count += 1
        if count > MOST_FOLDERS:
            msg = f"{root} has more than {MOST_FOLDERS} folders; download it"
            raise InputError(msg)
        if depth > DEEPEST:
            msg = f"{root} has folders in folders without end"
            raise InputError(msg)
        entries = _listed(store, folder, root)
        if not entries and folder != root and "ftp" in store.protocol:
            empty.append(folder)  # whose client says so of what it may not list
        for entry in entries:
            path = entry["name"].rstrip("/")
            if entry["type"] != "directory":
                found.add(path)
            elif path != folder.rstrip("/"):
                waiting.append((path, depth + 1))
    return sorted(found), sorted(empty)


def _listed(store: Any, folder: str, root: str) -> list[dict[str, Any]]:
    try:
        return list(store.ls(folder, detail=True))
    except OSError as error:
        if folder == root and isinstance(error, FileNotFoundError):
            return []
        raise not_listed(folder, error) from error


def not_listed(folder: str, error: Exception) -> InputError:
    """Return the error of a folder that cannot be listed."""
    told = str(error) or type(error).__name__
    return InputError(f"{folder} cannot be listed: {told}; try again later, or download it")
