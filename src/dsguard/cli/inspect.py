"""``dsguard inspect``: the public facts of protected files."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dsguard.cli import options
from dsguard.cli.console import Exit, counted, load_key, say, shortened, show, worst
from dsguard.errors import DsguardError, InputError

if TYPE_CHECKING:
    from numpy import uint8
    from numpy.typing import NDArray


@click.command("inspect")
@click.argument("files", nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per file.")
@options.key_or_platform_option
def inspect_command(files: tuple[str, ...], key_path: Path | None, *, as_json: bool) -> int:
    """Tell what protected FILES say of themselves; no key is needed.

    FILES are paths or URLs. Of a folder or a file with many images the first is shown. Files that
    cannot be read are named, with code 3; with code 2 where there are no others. With a key, files
    of what is sealed beside images (.dsguard) tell what is in them.
    """
    from dsguard.formats.places import without_password

    failures: dict[str, DsguardError] = {}
    unread = 0
    for file in files:
        shown = without_password(file)
        try:
            info = _facts_of(file, key_path)
        except DsguardError as error:
            failures[shown] = error
            continue
        except OSError as error:
            failures[shown] = InputError(f"cannot be read: {error.strerror}")
            unread += 1
            continue
        if as_json:
            click.echo(json.dumps({"file": shown, **info}))
        else:
            inner = info.pop("files", {})
            facts = ", ".join(
                f"{name.replace('_', ' ')} {value}"
                for name, value in info.items()
                if value is not None
            )
            say(f"{shown}: {facts}")
            for name, size in inner.items():
                say(f"  {shortened(name)}: {counted(size, 'byte')}")
    show(failures)
    return Exit.USAGE if unread == len(files) else worst(failures.values())


def _facts_of(file: str, key_path: Path | None) -> dict[str, Any]:
    """Return what a file says of itself; with a key, what is sealed in one beside images."""
    from dsguard.api import inspect
    from dsguard.bulk.sealed_fields import is_of_fields, is_own
    from dsguard.bulk.sealed_files import opened_archive
    from dsguard.formats.places import local_path
    from dsguard.formats.sealing import unmarked

    file = local_path(file)
    image, sidecar, name = _first_image(file)
    info: dict[str, Any] = {"first_image": name} if name else {}
    info |= asdict(inspect(image, sidecar))
    info["image_id"] = info["image_id"] and info["image_id"].hex()
    if not is_own(Path(file).name):
        return info
    kind = "fields of a shard" if is_of_fields(Path(file).name) else "files beside the images"
    info["holds"] = f"{kind}, sealed"
    if key_path is not None:
        _, inner = opened_archive(_content(file), load_key(key_path))
        is_marked = is_of_fields(Path(file).name)
        info["files"] = {
            unmarked(name) if is_marked else name: len(data) for name, data in inner.items()
        }
    return info


def _content(location: str) -> bytes:
    from dsguard.formats.places import LocalPlace, is_url, place_of

    if is_url(location):
        folder, _, name = location.rpartition("/")
        return place_of(folder).read(name)
    path = Path(location)
    return LocalPlace(path.parent, asked_for=path.name).read(path.name)


def _first_image(location: str) -> tuple[NDArray[uint8], bytes, str]:
    """Return the first image of a file or dataset, its sidecar, and its name in a dataset."""
    from dsguard.bulk.sealed_fields import is_own
    from dsguard.formats import decode_protected, open_source
    from dsguard.formats.base import decode_rows
    from dsguard.formats.images import is_image_name
    from dsguard.formats.places import is_url

    if not is_url(location):
        Path(location).stat()  # raises what is said of a path that is not there
    name = Path(location).name
    if (is_image_name(name) or is_own(name)) and not Path(location).is_dir():
        return *decode_protected(_content(location)), ""
    source = open_source(location)
    for part in source.parts(1):
        for rows in source.rows(part):
            for groups, failed in decode_rows(rows):
                if failed:
                    raise min(failed.items())[1]
                first = min(groups, key=lambda group: group.rows[0])
                return first.images[0], first.sidecars.get(0, b""), rows.names[first.rows[0]]
    msg = "holds no images"
    raise InputError(msg)
