"""Commands for datasets, and their keys."""

from __future__ import annotations

from pathlib import Path

import click

from dsguard.cli.console import counted, load_key, say, warn_of_repository
from dsguard.cli.dmcp.connection import logged_in
from dsguard.errors import InputError

_LARGEST_SAMPLE = 16 << 20


@click.command()
def datasets() -> None:
    """List datasets and your rights to them."""
    with logged_in() as client:
        for row in client.datasets():
            say(f"{row['name']}: {', '.join(row['rights']) or 'no rights'}  {row['title']}")


@click.command()
@click.argument("dataset")
@click.option(
    "--key",
    "key_path",
    envvar="DSGUARD_KEY_FILE",
    show_envvar=True,
    type=click.Path(path_type=Path),
    help="Key file that the images are protected with.",
)
@click.option("--new-key", is_flag=True, help="Let the service make a key, for `export-key`.")
@click.option("--title", default="")
def deposit(dataset: str, key_path: Path | None, title: str, *, new_key: bool) -> None:
    """Deposit DATASET with its key, or another version of the key of one of yours."""
    if key_path is None and not new_key:
        msg = "give the key that the images are protected with, --key FILE, or --new-key"
        raise click.UsageError(msg)
    key = None if new_key or key_path is None else load_key(key_path)
    with logged_in() as client:
        done = client.deposit(dataset, key, title)
    say(f"deposited {dataset}, version {done['version']}, key {done['key_id']}")


@click.command()
@click.argument("dataset")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--remove", is_flag=True, help="Show none.")
def samples(dataset: str, files: tuple[Path, ...], *, remove: bool) -> None:
    """Show DATASET on its page by protected images, FILES, in place of those that it had.

    Everybody with an account sees them as they are; who may restore sees them restored as well.
    """
    if bool(files) == remove:
        msg = "name up to 12 protected images, or give --remove"
        raise click.UsageError(msg)
    with logged_in() as client:
        count = client.replace_samples(dataset, [(path.name, _read(path)) for path in files])
    say(f"{dataset} is shown by {counted(count, 'sample')}")


def _read(path: Path) -> bytes:
    if path.stat().st_size > _LARGEST_SAMPLE:
        msg = f"{path} has more than {_LARGEST_SAMPLE} bytes; choose a smaller image"
        raise InputError(msg)
    return path.read_bytes()


@click.command()
@click.argument("dataset")
def keys(dataset: str) -> None:
    """List the versions of the key of DATASET."""
    with logged_in() as client:
        for row in client.key_versions(dataset):
            say(f"version {row['version']}: key {row['key_id']}")


@click.command()
@click.argument("dataset")
@click.option("--remove", is_flag=True, help="Take no more messages.")
def webhook(dataset: str, *, remove: bool) -> None:
    """Print a secret that messages about approvals of DATASET are signed with; an old one ends."""
    with logged_in() as client:
        if remove:
            client.remove_webhook(dataset)
            say(f"{dataset} takes no more messages; the grants that came by them stay")
        else:
            say(client.new_webhook(dataset))


@click.command("export-key")
@click.argument("dataset")
@click.argument("version", type=int)
@click.argument("path", type=click.Path(path_type=Path))
def export_key(dataset: str, version: int, path: Path) -> None:
    """Write a key of DATASET to PATH; needs the right export-key."""
    from dsguard.bulk.checks import check_private

    if path.exists():
        msg = f"there is something at {path} already; no key was asked for"
        raise InputError(msg)
    check_private(path, "key")
    with logged_in() as client:
        key = client.export_key(dataset, version)
    key.save(path)
    click.echo(f"wrote key {key.key_id} to {path}")
    warn_of_repository(path)
