"""``dsguard restore`` and ``dsguard verify``: whole datasets."""

from __future__ import annotations

from typing import Any

import click

from dsguard.cli.choices import Choices, common, writing
from dsguard.cli.task import do_task


@click.command()
@click.argument("source")
@click.argument("destination")
@writing
@common
def restore(**given: Any) -> int:
    """Restore the protected images of SOURCE into DESTINATION.

    Both as in `protect`. What of DESTINATION is done already is not done again.
    """
    from dsguard.bulk import Restore

    choices = Choices(**given)
    source, key = choices.opened()
    return do_task(Restore(key), source, choices)


@click.command()
@click.argument("source")
@common
def verify(**given: Any) -> int:
    """Tell how many images of SOURCE can still be restored; nothing is written.

    Images are intact if their tag opens, whatever they went through.
    """
    from dsguard.bulk import Verify

    choices = Choices(destination=None, **given)
    source, key = choices.opened()
    return do_task(Verify(key), source, choices)
