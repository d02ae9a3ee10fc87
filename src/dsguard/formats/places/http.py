"""Reading from a web server: what lies at its address, and not what it sends one on to."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from dsguard.errors import InputError
from dsguard.formats.names import leads_out_of_url
from dsguard.formats.places.walked import not_listed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_PROTOCOLS = ("http", "https")

MOST_FOLDERS = 25_000
"""Each is a request. iNaturalist has 10,000 classes, in two splits."""

MOST_FILES = 1_000_000
DEEPEST = 30

AT_ONCE = 16
"""Requests that wait for their answers at a time."""


def options_of(url: str) -> Mapping[str, Any]:
    """Return the options with which fsspec opens a URL; there are none but for web servers."""
    options = {"get_client": _client, "use_listings_cache": False}
    return {each: options for each in _PROTOCOLS if f"{each}://" in url}


async def _client(**options: Any) -> Any:
    from dsguard.formats.places.http_client import new_client

    return await new_client(**options)


def is_of_web(system: Any) -> bool:
    """Tell whether a file system of fsspec is that of web servers."""
    return system.protocol == "http" or "http" in tuple(system.protocol)


def find(system: Any, root: str) -> tuple[list[str], list[str]]:
    """Return the addresses of all files under one, and those of folders that list nothing, sorted.

    A folder that lists nothing may be a page of another kind, such as that of a login.

    Raises
    ------
    InputError
        If a folder cannot be listed, or there is no end to them: a server can make up folders as it
        is asked for them.
    """
    found, seen, waiting, empty = set[str](), {root}, [(root, 0)], list[str]()
    while waiting:
        folder, depth = waiting.pop()
        entries = _listed(system, folder)
        if not entries and folder != root:
            empty.append(folder)
        for entry in entries:
            path = entry["name"].rstrip("/")
            if entry["type"] != "directory" or not lies_below(root, path):
                found.add(entry["name"])  # who asked for it is told that it leads out
            elif path not in seen:
                seen.add(path)
                waiting.append((path, depth + 1))
        if depth > DEEPEST:
            msg = f"{root} has folders in folders without end"
        elif len(seen) > MOST_FOLDERS or len(found) > MOST_FILES:
            msg = f"{root} has more than {MOST_FOLDERS} folders or {MOST_FILES} files; download it"
        else:
            continue
        raise InputError(msg)
    return sorted(found), sorted(empty)


def has_file(system: Any, path: str) -> bool:
    """Tell whether a server has a file.

    Raises
    ------
    Exception
        If it answers that something else is wrong than the address, or not at all.
    """
    try:
        system.info(path)
    except FileNotFoundError as error:  # of fsspec, whatever was wrong
        cause = error.__cause__
        is_refused = isinstance(cause, InputError)  # it leads elsewhere
        if cause is None or is_refused or getattr(cause, "status", 0) in _NOT_THERE:
            return False
        raise cause from None
    return True


_NOT_THERE = (401, 403, 404, 410)
"""Stores that list nothing to strangers answer 403 where there is nothing."""


def infos(system: Any, paths: Sequence[str]) -> list[dict[str, Any]]:
    """Return what a server tells of files, for a request each; nothing of what it does not give."""
    from fsspec.asyn import sync

    found: list[dict[str, Any]] = sync(system.loop, _infos, system, paths)
    return found


async def _infos(system: Any, paths: Sequence[str]) -> list[dict[str, Any]]:
    found, waiting = dict[str, dict[str, Any]](), iter(dict.fromkeys(paths))

    async def ask() -> None:
        for path in waiting:
            try:
                found[path] = await system._info(path)
            except FileNotFoundError:  # or it is refused: who reads it is told why
                found[path] = {}

    await system.set_session()  # one for all of them
    await asyncio.gather(*(ask() for _ in range(AT_ONCE)))
    return [found[path] for path in paths]


def lies_below(root: str, address: str) -> bool:
    """Tell whether an address is that of a root, or below it, however that is decoded."""
    from yarl import URL

    if address == root:
        return True
    if not address.startswith(f"{root}/") or leads_out_of_url(address[len(root) + 1 :]):
        return False
    try:
        above, below = URL(root), URL(address)
        is_same = (above.scheme, above.raw_authority) == (below.scheme, below.raw_authority)
    except ValueError:
        return False
    if {"?", "#"} & set(root):  # all that follows is no path
        return is_same and above.path == below.path
    return is_same and below.path.startswith(above.path.rstrip("/") + "/")


def _listed(system: Any, folder: str) -> list[dict[str, Any]]:
    """Return what a folder holds; nothing of one that is not there."""
    from aiohttp import ClientError

    pauses = iter(PAUSES)
    while True:
        try:
            return list(system.ls(folder, detail=True))
        except FileNotFoundError as error:
            if isinstance(error.__cause__, InputError):  # a refusal, which says more
                raise error.__cause__ from None
            return []
        except (ClientError, OSError) as error:  # that of a time that is over among them
            is_final = getattr(error, "status", 500) in (401, 403, 410)
            pause = None if is_final else next(pauses, None)
            if pause is None:
                raise not_listed(folder, error) from error
            time.sleep(pause)


PAUSES = (0.2, 1.0, 3.0)
"""Seconds between tries to list a folder: servers are busy now and then."""
