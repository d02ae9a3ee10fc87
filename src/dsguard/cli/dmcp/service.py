"""Commands of the operator, on the machine of the service."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dsguard.errors import InputError, MissingExtraError

if TYPE_CHECKING:
    from dsguard.dmcp.settings import Settings


_PREFIX = "DSGUARD_DMCP_"


@click.command()
@click.option("--host", help="Where to listen.  [default: 127.0.0.1]")
@click.option("--port", type=int, help="[default: 8642]")
@click.option("--folder", type=click.Path(path_type=Path), help="Database and master key.")
def serve(host: str | None, port: int | None, folder: Path | None) -> None:
    """Start the service.

    The first start makes the database, the master key and an owner, whose token it writes to a
    file that nobody else can read.
    Settings come from the environment: DSGUARD_DMCP_DATABASE and others, see docs/dmcp.md.
    """
    settings = settings_of(host=host, port=port, folder=folder)
    from dsguard.bulk.checks import check_unpublished
    from dsguard.dmcp.serve import run

    check_unpublished(settings.folder, "folder of the service")
    for path in (settings.database_file(), settings.master_key_file):
        if path is not None:
            check_unpublished(path, "file of the service")

    run(settings, lambda path: click.echo(f"first owner: user owner, whose token is in {path}"))


@click.command()
@click.argument("name")
@click.option("--folder", type=click.Path(path_type=Path))
def publisher(name: str, folder: Path | None) -> None:
    """Let the user NAME deposit datasets; on the machine of the service."""
    settings = settings_of(folder=folder)
    from dsguard.dmcp.admin import make_publisher

    make_publisher(settings, name)
    click.echo(f"{name} may deposit datasets")


@click.command()
@click.argument("name")
@click.option("--folder", type=click.Path(path_type=Path))
def token(name: str, folder: Path | None) -> None:
    """Print a new token for the user NAME, the old one ends; on the machine of the service.

    An account is made if there is none of that name.
    """
    settings = settings_of(folder=folder)
    from dsguard.dmcp.admin import give_token

    click.echo(give_token(settings, name))


@click.command("rotate-master-key")
@click.argument("new", type=click.Path(path_type=Path))
@click.option("--folder", type=click.Path(path_type=Path))
def rotate_master_key(new: Path, folder: Path | None) -> None:
    """Wrap all keys under the master key in the file NEW, made if it is not there.

    Stop the service first. Afterwards it, and the other commands of the operator, need
    DSGUARD_DMCP_MASTER_KEY_FILE; the old key opens nothing any more.
    """
    settings = settings_of(folder=folder)
    from dsguard.bulk.checks import check_unpublished
    from dsguard.dmcp.admin import rotate

    check_unpublished(new, "master key")
    count = rotate(settings, new)
    click.echo(f"wrapped {count} keys; start the service with DSGUARD_DMCP_MASTER_KEY_FILE={new}")


def settings_of(**given: Any) -> Settings:
    """Return the settings of the service: those given, others from the environment."""
    try:
        from pydantic import ValidationError

        from dsguard.dmcp.settings import Settings
    except ImportError as error:
        raise MissingExtraError.of(package=str(error.name), extra="dmcp") from None
    others = ("url", "token", "allow_http")
    known = {f"{_PREFIX}{name}".upper() for name in (*Settings.model_fields, *others)}
    for variable in os.environ:
        if variable.startswith(_PREFIX) and variable not in known:
            msg = f"{variable} is no setting; there are: {', '.join(sorted(known))}"
            raise InputError(msg)
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except ValueError as error:
        faults = error.errors() if isinstance(error, ValidationError) else []
        told = [f"{_PREFIX}{str(fault['loc'][0]).upper()}: {fault['msg']}" for fault in faults]
        raise InputError("; ".join(told) or str(error)) from None
