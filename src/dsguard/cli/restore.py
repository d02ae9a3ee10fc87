"""``dsguard restore`` and ``dsguard verify``: whole datasets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from dsguard.cli import options
from dsguard.cli.choices import Choices, common, writing
from dsguard.cli.console import load_key
from dsguard.cli.grouped import Grouped
from dsguard.cli.task import do_task

if TYPE_CHECKING:
    from dsguard.keys import DatasetKey, KeySource


@click.command(cls=Grouped)
@click.argument("source")
@click.argument("destination")
@writing
@common
@options.url_option
@options.dataset_option
@options.key_or_platform_option
def restore(dataset: str | None, url: str | None, **given: Any) -> int:
    """Restore the protected images of SOURCE into DESTINATION.

    Both as in `protect`. What of DESTINATION is done already is not done again. Give the key, or
    name the dataset on a platform that grants you to restore it.
    """
    from dsguard.bulk import Restore

    choices = Choices(**given)
    key = _key(choices.key_path, dataset, url)
    return do_task(Restore(key), choices.opened_source(), choices)


def _key(path: Path | None, dataset: str | None, url: str | None) -> DatasetKey | KeySource:
    """Return the key in a file, or what stands in its place on a platform."""
    if dataset is None:
        if url is None and path is not None:
            return load_key(path)
        other = "" if url is not None else ", or give the key, --key FILE"
        msg = f"name the dataset on the platform, --dataset NAME{other}"
        raise click.UsageError(msg)
    given = click.get_current_context().get_parameter_source("key_path")
    if given is ParameterSource.COMMANDLINE:
        msg = "give --key or --dataset, not both"
        raise click.UsageError(msg)
    from dsguard.cli.dmcp.connection import granted_keys

    return granted_keys(dataset, url)


@click.command(cls=Grouped)
@click.argument("source")
@click.option(
    "--against",
    metavar="CLEAN",
    help="The clean dataset: see whether all of it comes back as it is, files byte for byte.",
)
@common
@options.url_option
@options.dataset_option
@options.key_or_platform_option
def verify(against: str | None, dataset: str | None, url: str | None, **given: Any) -> int:
    """Tell how many images of SOURCE can still be restored; nothing is written.

    Images are intact if their tag opens, whatever they went through. Give the key, or name the
    dataset on a platform; each image counts there as one that is restored.
    """
    from dsguard.bulk import Verify
    from dsguard.formats.detect import open_clean

    choices = Choices(destination=None, **given)
    key = _key(choices.key_path, dataset, url)
    source = choices.opened_source()
    clean = None if against is None else open_clean(against, source, choices.in_format)
    return do_task(Verify(key), source, choices, against=clean)
