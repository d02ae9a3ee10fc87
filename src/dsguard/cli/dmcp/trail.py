"""Commands for the audit trail."""

from __future__ import annotations

import json
from pathlib import Path

import click

from dsguard.cli.console import Exit, complain
from dsguard.cli.dmcp.connection import logged_in
from dsguard.cli.dmcp.service import settings_of


@click.group()
def audit() -> None:
    """Read or check the audit trail."""


@audit.command("verify")
@click.option("--folder", type=click.Path(path_type=Path))
@click.option("--at-least", type=int, default=0, help="Lines that there were once.")
def audit_verify(folder: Path | None, at_least: int) -> int:
    """Find lines of the audit trail that were edited, removed or moved; where the service is."""
    settings = settings_of(folder=folder)
    from dsguard.dmcp.admin import verify_audit

    count, fault = verify_audit(settings)
    if fault is None and count < at_least:
        fault = f"there were {at_least} lines once"
    if fault is not None:
        complain(f"{count} lines are good; {fault}")
        return Exit.DAMAGED
    click.echo(f"{count} lines, all good")
    return Exit.OK


@audit.command("all")
@click.option("--folder", type=click.Path(path_type=Path))
def audit_all(folder: Path | None) -> None:
    """Print the whole audit trail, one JSON object a line; on the machine of the service."""
    settings = settings_of(folder=folder)
    from dsguard.dmcp.admin import whole_trail

    for entry in whole_trail(settings):
        click.echo(json.dumps(entry))


@audit.command("show")
@click.argument("dataset")
@click.option("--after", type=int, default=0, help="Only lines after this number.")
def audit_show(dataset: str, after: int) -> None:
    """Print the audit trail of DATASET, one JSON object a line."""
    with logged_in() as client:
        while entries := client.audit(dataset, after, 1000):
            for entry in entries:
                click.echo(json.dumps(entry))
            after = entries[-1]["number"]
