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
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per file.")
@options.key_or_platform_option
def inspect_command(files: tuple[Path, ...], key_path: Path | None, *, as_json: bool) -> int:
    """Tell what protected FILES say of themselves; no key is needed.

    Of a folder or a file with many images the first is shown. Files that cannot be read are named,
    with code 3; with code 2 where there are no others. With a key, files of what is sealed
    beside images (.dsguard) tell what is in them.
    """
    failures: dict[str, DsguardError] = {}
    unread = 0
    for file in files:
        try:
            info = _facts_of(file, key_path)
        except DsguardError as error:
            failures[str(file)] = error
            continue
        except OSError as error:
            failures[str(file)] = InputError(f"cannot be read: {error.strerror}")
            unread += 1
            continue
        if as_json:
            click.echo(json.dumps({"file": str(file), **info}))
        else:
            inner = info.pop("files", {})
            facts = ", ".join(
                f"{name.replace('_', ' ')} {value}"
                for name, value in info.items()
                if value is not None
            )
            say(f"{file}: {facts}")
            for name, size in inner.items():
                say(f"  {shortened(name)}: {counted(size, 'byte')}")
    show(failures)
    return Exit.USAGE if unread == len(files) else worst(failures.values())


def _facts_of(file: Path, key_path: Path | None) -> dict[str, Any]:
    """Return what a file says of itself; with a key, what is sealed in one beside images."""
    from dsguard.api import inspect
    from dsguard.bulk.sealed_fields import is_of_fields, is_own
    from dsguard.bulk.sealed_files import opened_archive
    from dsguard.formats.sealing import unmarked

    image, sidecar, name = _first_image(file)
    info: dict[str, Any] = {"first_image": name} if name else {}
    info |= asdict(inspect(image, sidecar))
    info["image_id"] = info["image_id"] and info["image_id"].hex()
    if not is_own(file.name):
        return info
    kind = "fields of a shard" if is_of_fields(file.name) else "files beside the images"
    info["holds"] = f"{kind}, sealed"
    if key_path is not None:
        _, inner = opened_archive(file.read_bytes(), load_key(key_path))
        is_marked = is_of_fields(file.name)
        info["files"] = {
            unmarked(name) if is_marked else name: len(data) for name, data in inner.items()
        }
    return info


def _first_image(path: Path) -> tuple[NDArray[uint8], bytes, str]:
    """Return the first image of a file or dataset, its sidecar, and its name in a dataset."""
    from dsguard.bulk.sealed_fields import is_own
    from dsguard.formats import decode_protected, open_source
    from dsguard.formats.base import decode_rows
    from dsguard.formats.images import is_image_name

    if path.is_file() and (is_image_name(path.name) or is_own(path.name)):
        return *decode_protected(path.read_bytes()), ""
    path.stat()  # raises what is said of a path that is not there
    source = open_source(path)
    for part in source.parts(1):
        for rows in source.rows(part):
            for groups, failed in decode_rows(rows):
                if failed:
                    raise min(failed.items())[1]
                first = min(groups, key=lambda group: group.rows[0])
                return first.images[0], first.sidecars.get(0, b""), rows.names[first.rows[0]]
    msg = "holds no images"
    raise InputError(msg)
