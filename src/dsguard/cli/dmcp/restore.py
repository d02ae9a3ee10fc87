"""A command that has the platform itself restore a folder of images."""

from __future__ import annotations

import contextlib
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dsguard._regular import read_file
from dsguard.cli.console import Exit, show, warn
from dsguard.cli.dmcp.connection import logged_in
from dsguard.errors import DsguardError, InputError

if TYPE_CHECKING:
    from dsguard.formats.places import LocalPlace


@click.command("restore")
@click.argument("dataset")
@click.argument("source", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("destination", type=click.Path(path_type=Path))
@click.option("--overwrite", is_flag=True, help="Restore what is there already once more.")
def restore_command(dataset: str, source: Path, destination: Path, *, overwrite: bool) -> int:
    """Have the protected images of the folder SOURCE restored into DESTINATION.

    What is there already is left as it is, and not counted against a quota again: restore another
    release of a dataset into another folder. Names of carried files, and what lies beside the
    images, come back with: dsguard restore --dataset.
    """
    from dsguard.bulk import output_names
    from dsguard.bulk.checks import check_unpublished
    from dsguard.dmcp.outgoing import names_in, read_images
    from dsguard.formats.places import LocalPlace
    from dsguard.formats.places.local import is_within

    if is_within(source, destination) or is_within(destination, source):
        msg = "source and destination must not lie in each other"
        raise InputError(msg)
    check_unpublished(destination, "destination", with_below=True)
    place = LocalPlace(destination)
    names = output_names(names_in(source), "png")
    if not names:
        msg = f"there are no image files in {source}; of other formats restore a tar, or a job"
        raise InputError(msg)
    failed = _not_apart(names, place)
    found = {name: there for name, out in names.items() if (there := _there(destination, out))}
    failed |= {name: InputError(_PROTECTED) for name, file in found.items() if _is_protected(file)}
    left = [name for name in names if name not in failed and (overwrite or name not in found)]
    before = done = len(names) - len(failed) - len(left)
    try:
        with logged_in() as client:
            for image in client.restore(dataset, read_images(source, left, failed)):
                if image.error:
                    failed[image.name] = InputError(image.error)
                    continue
                check_unpublished(destination, "destination")  # by a run that began meanwhile
                try:
                    place.write(_name_for(names[image.name], image.data, dataset), image.data)
                except InputError as error:  # of its name
                    failed[image.name] = error
                else:
                    done += 1
    finally:
        place.clear_scratch()
        show(failed)
        _warn_of_companions(source, dataset)
        click.echo(
            f"restored {done} of {len(names)} images into {destination}"
            + (f"; {before} were there, and were not compared" if before else "")
        )
    return Exit.SOME_FAILED if failed else Exit.OK


def _warn_of_companions(source: Path, dataset: str) -> None:
    """Say that what lies beside the images is not restored here."""
    from dsguard.formats import open_source

    with contextlib.suppress(DsguardError):  # of an odd folder: its images came back
        opened = open_source(source, "folder")
        beside = [*opened.companions(), *opened.left_out()]
        if beside:
            more = f" and {len(beside) - 1} more" if len(beside) > 1 else ""
            warn(
                f"{beside[0]}{more}: lies beside the images, and does not come back so; take: "
                f"dsguard restore {shlex.quote(str(source))} DESTINATION --dataset {dataset}"
            )


def _not_apart(names: dict[str, str], place: LocalPlace) -> dict[str, DsguardError]:
    """Return the images that would come out as a file that another comes out as, and why."""
    from dsguard.formats.images import with_suffix
    from dsguard.formats.places.spelling import Apart, alike

    apart, failed = Apart(place), dict[str, DsguardError]()
    for name, out in names.items():
        stem = with_suffix(out, "")  # its suffix is known once it came back
        if other := apart.other(stem):
            failed[name] = alike(other, stem, place)
    return failed


def _name_for(name: str, data: bytes, dataset: str) -> str:
    """Return the name of a restored file, whose suffix is that of what it holds.

    Raises
    ------
    InputError
        If that is of no kind that is known here.
    """
    from dsguard.formats.images import suffix_by_content, with_suffix

    suffix = suffix_by_content(data)
    if not suffix:
        how = f"dsguard restore SOURCE DESTINATION --dataset {dataset}"
        msg = f"carries a file of another kind, whose name is not told here; take: {how}"
        raise InputError(msg)
    return with_suffix(name, suffix)


_PROTECTED = "is there already, and is protected: restore into another folder"


def _there(destination: Path, name: str) -> Path | None:
    """Return the file that an image was restored as, of any kind; None where none is there."""
    from dsguard.formats.images import KNOWN_SUFFIXES, with_suffix

    files = (destination / with_suffix(name, each) for each in sorted(KNOWN_SUFFIXES))
    return next((file for file in files if file.exists()), None)


def _is_protected(file: Path) -> bool:
    """Tell whether an image is protected: it was not restored, and may be published."""
    from dsguard.api import are_protected
    from dsguard.formats.images import decode_files

    try:
        groups, _ = decode_files([read_file(file)])
    except (InputError, OSError):
        return False
    return any(are_protected(group.images)[0] or group.sidecars for group in groups)
