"""``dsguard keygen``: a new key."""

from __future__ import annotations

from pathlib import Path

import click

from dsguard.cli.console import ask_passphrase, errors, say, warn_of_repository


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option(
    "--passphrase",
    is_flag=True,
    help="Wrap the key under a passphrase: that in DSGUARD_PASSPHRASE, else you are asked.",
)
def keygen(path: Path, *, passphrase: bool) -> None:
    """Make a new key and write it to PATH, which must not exist."""
    from dsguard.bulk.checks import check_private
    from dsguard.keys import DatasetKey, passphrase_of_environment

    check_private(path, "key")
    phrase = passphrase_of_environment() if passphrase else None
    if passphrase and phrase is None:
        phrase = ask_passphrase(confirm=True)
    if path.exists():
        msg = f"there is something at {path}, and keys are never overwritten; choose another path"
        raise click.UsageError(msg)
    key = DatasetKey.generate()
    key.save(path, phrase)
    say(f"wrote key {key.key_id} to {path}")
    errors.print("keep it safe and secret: without it nobody can restore what it protects")
    warn_of_repository(path)
