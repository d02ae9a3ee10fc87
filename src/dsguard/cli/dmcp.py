"""``dsguard dmcp``: the platform that keeps keys, and its clients."""

from __future__ import annotations

import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dsguard.cli.console import Exit, complain, load_key, say, show
from dsguard.errors import DsguardError, InputError, MissingExtraError

if TYPE_CHECKING:
    from dsguard.dmcp.client import Client
    from dsguard.dmcp.settings import Settings

_DEFAULT_URL = "http://127.0.0.1:8642"
_PREFIX = "DSGUARD_DMCP_"
_TIME = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"])
_right = click.option(
    "--right",
    type=click.Choice(["restore", "manage", "export-key"]),
    default="restore",
    show_default=True,
)


@click.group()
def dmcp() -> None:
    """Run a Dataset Management Cloud Platform, or use one.

    It keeps the keys of datasets, and restores images for whom an owner has granted it.
    """


@dmcp.command()
@click.option("--host", help="Where to listen.  [default: 127.0.0.1]")
@click.option("--port", type=int, help="[default: 8642]")
@click.option("--folder", type=click.Path(path_type=Path), help="Database and master key.")
def serve(host: str | None, port: int | None, folder: Path | None) -> None:
    """Start the service.

    The first start makes the database, the master key and an owner, whose token it prints.
    Settings come from the environment: DSGUARD_DMCP_DATABASE and others, see docs/dmcp.md.
    """
    settings = _settings(host=host, port=port, folder=folder)
    from dsguard.dmcp.serve import run

    run(settings, lambda token: click.echo(f"first owner: user owner, token {token}"))


@dmcp.command()
@click.argument("name")
@click.option("--folder", type=click.Path(path_type=Path))
def publisher(name: str, folder: Path | None) -> None:
    """Let the user NAME deposit datasets; on the machine of the service."""
    settings = _settings(folder=folder)
    from dsguard.dmcp.operate import make_publisher

    make_publisher(settings, name)
    click.echo(f"{name} may deposit datasets")


@dmcp.command()
@click.argument("name")
@click.option("--folder", type=click.Path(path_type=Path))
def token(name: str, folder: Path | None) -> None:
    """Print a new token for the user NAME, the old one ends; on the machine of the service.

    An account is made if there is none of that name.
    """
    settings = _settings(folder=folder)
    from dsguard.dmcp.operate import give_token

    click.echo(give_token(settings, name))


@dmcp.command("rotate-master-key")
@click.argument("new", type=click.Path(path_type=Path))
@click.option("--folder", type=click.Path(path_type=Path))
def rotate_master_key(new: Path, folder: Path | None) -> None:
    """Wrap all keys under the master key in the file NEW, made if it is not there.

    Stop the service first. Afterwards it, and the other commands of the operator, need
    DSGUARD_DMCP_MASTER_KEY_FILE; the old key opens nothing any more.
    """
    settings = _settings(folder=folder)
    from dsguard.dmcp.operate import rotate

    count = rotate(settings, new)
    click.echo(f"wrapped {count} keys; start the service with DSGUARD_DMCP_MASTER_KEY_FILE={new}")


@dmcp.group()
def audit() -> None:
    """Read or check the audit trail."""


@audit.command("verify")
@click.option("--folder", type=click.Path(path_type=Path))
@click.option("--at-least", type=int, default=0, help="Lines that there were once.")
def audit_verify(folder: Path | None, at_least: int) -> int:
    """Find lines of the audit trail that were edited, removed or moved; where the service is."""
    settings = _settings(folder=folder)
    from dsguard.dmcp.operate import verify_audit

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
    settings = _settings(folder=folder)
    from dsguard.dmcp.operate import whole_trail

    for entry in whole_trail(settings):
        click.echo(json.dumps(entry))


@audit.command("show")
@click.argument("dataset")
@click.option("--after", type=int, default=0, help="Only lines after this number.")
def audit_show(dataset: str, after: int) -> None:
    """Print the audit trail of DATASET, one JSON object a line."""
    with _client() as client:
        while entries := client.audit(dataset, after, 1000):
            for entry in entries:
                click.echo(json.dumps(entry))
            after = entries[-1]["number"]


@dmcp.command()
@click.argument("url", default=_DEFAULT_URL)
def login(url: str) -> None:
    """Keep URL and token for the other commands; the token is asked for, or read from stdin."""
    if sys.stdin.isatty():
        token = str(click.prompt("Token", hide_input=True, err=True))
    else:
        token = sys.stdin.readline().strip()
    from dsguard.dmcp.client import Client

    with Client(url, token) as client:
        name = client.me()["name"]
    _keep(url, token)
    say(f"logged in as {name}")


@dmcp.command()
@click.argument("name")
@click.option("--url", default=_DEFAULT_URL, show_default=True, envvar="DSGUARD_DMCP_URL")
@click.option("--replace", is_flag=True, help="Forget the login of another account.")
def register(name: str, url: str, *, replace: bool) -> None:
    """Make an account NAME, and log in with it."""
    if _config().exists() and not replace:
        msg = (
            f"another account is logged in here, and its token may lie in {_config()} alone; "
            "keep that file elsewhere, or give --replace"
        )
        raise InputError(msg)
    from dsguard.dmcp.client import Client

    with Client(url) as client:
        token = client.register(name)
    path = _keep(url, token)
    click.echo(f"registered as {name}; the token is in {path}")


@dmcp.command()
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
    with _client() as client:
        done = client.deposit(dataset, key, title)
    say(f"deposited {dataset}, version {done['version']}, key {done['key_id']}")


@dmcp.command()
def datasets() -> None:
    """List datasets and your rights to them."""
    with _client() as client:
        for row in client.datasets():
            say(f"{row['name']}: {', '.join(row['rights']) or 'no rights'}  {row['title']}")


@dmcp.command()
@click.argument("dataset")
@click.argument("user")
@_right
@click.option("--from", "not_before", type=_TIME, help="UTC.")
@click.option("--until", "expires", type=_TIME, help="UTC.")
@click.option("--images", type=click.IntRange(min=1), help="At most so many.")
def grant(
    dataset: str,
    user: str,
    right: str,
    not_before: datetime | None,
    expires: datetime | None,
    images: int | None,
) -> None:
    """Let USER restore DATASET, or give another right."""
    times = {"not_before": not_before, "expires": expires}
    zoned = {name: time and time.replace(tzinfo=UTC) for name, time in times.items()}
    with _client() as client:
        client.grant(dataset, user, right, quota=images, **zoned)
    click.echo(f"{user} may {right} {dataset}")


@dmcp.command()
@click.argument("dataset")
def grants(dataset: str) -> None:
    """List the grants of DATASET, past ones too, one JSON object a line."""
    with _client() as client:
        for row in client.grants(dataset):
            click.echo(json.dumps(row))


@dmcp.command()
@click.argument("dataset")
def keys(dataset: str) -> None:
    """List the versions of the key of DATASET."""
    with _client() as client:
        for row in client.keys(dataset):
            say(f"version {row['version']}: key {row['key_id']}")


@dmcp.command()
@click.argument("dataset")
@click.argument("user")
@_right
def revoke(dataset: str, user: str, right: str) -> None:
    """Take a right of USER to DATASET back."""
    with _client() as client:
        ended = client.revoke(dataset, user, right)
    say(f"ended {ended} grant(s): {user} may no longer {right} {dataset}")


@dmcp.command()
@click.argument("dataset")
@click.option("--message", default="", help="What you want it for.")
def request(dataset: str, message: str) -> None:
    """Ask the owners of DATASET for the right to restore it."""
    with _client() as client:
        say(f"request {client.request(dataset, message)['number']} is with the owners")


@dmcp.command()
def requests() -> None:
    """List your requests, and those that you can answer."""
    with _client() as client:
        for row in client.requests():
            reason = f" ({row['reason']})" if row["reason"] else ""
            say(
                f"{row['number']}: {row['user']} asks for {row['dataset']}: "
                f"{row['state']}{reason}  {row['message']}"
            )


@dmcp.command()
@click.argument("number", type=int)
@click.option("--accept/--refuse", required=True)
@click.option("--reason", default="")
def answer(number: int, reason: str, *, accept: bool) -> None:
    """Accept or refuse the request NUMBER."""
    with _client() as client:
        say(f"request {number} is {client.answer(number, accept=accept, reason=reason)['state']}")


@dmcp.command("export-key")
@click.argument("dataset")
@click.argument("version", type=int)
@click.argument("path", type=click.Path(path_type=Path))
def export_key(dataset: str, version: int, path: Path) -> None:
    """Write a key of DATASET to PATH; needs the right export-key."""
    if path.exists():
        msg = f"there is something at {path} already; no key was asked for"
        raise InputError(msg)
    with _client() as client:
        key = client.export_key(dataset, version)
    key.save(path)
    click.echo(f"wrote key {key.key_id} to {path}")


@dmcp.command("restore")
@click.argument("dataset")
@click.argument("source", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("destination", type=click.Path(path_type=Path))
@click.option("--overwrite", is_flag=True, help="Restore what is there already once more.")
def restore_command(dataset: str, source: Path, destination: Path, *, overwrite: bool) -> int:
    """Have the protected images of the folder SOURCE restored into DESTINATION.

    What is there already is left as it is, and not counted against a quota again.
    """
    from dsguard.bulk import output_names
    from dsguard.datasets.place import LocalPlace
    from dsguard.dmcp.client import names_in, read_images

    here, there = source.resolve(), destination.resolve()
    if here == there or here in there.parents or there in here.parents:
        msg = "source and destination must not lie in each other"
        raise InputError(msg)
    place = LocalPlace(destination)
    names = output_names(names_in(source), "png")
    if not names:
        msg = f"there are no image files in {source}; of other formats restore a tar, or a job"
        raise InputError(msg)
    left = [name for name, out in names.items() if overwrite or not (destination / out).exists()]
    done = len(names) - len(left)
    failed: dict[str, DsguardError] = {}
    try:
        with _client() as client:
            for image in client.restore(dataset, read_images(source, left, failed)):
                if image.error:
                    failed[image.name] = InputError(image.error)
                    continue
                try:
                    place.write(names[image.name], image.data)
                except InputError as error:  # of its name
                    failed[image.name] = error
                else:
                    done += 1
    finally:
        place.clear_scratch()
        show(failed)
        click.echo(
            f"restored {done} of {len(names)} images into {destination}"
            + (f"; {len(names) - len(left)} were there" if len(left) < len(names) else "")
        )
    return Exit.SOME_FAILED if failed else Exit.OK


def _settings(**given: Any) -> Settings:
    try:
        from pydantic import ValidationError

        from dsguard.dmcp.settings import Settings
    except ImportError as error:
        raise MissingExtraError.of(package=str(error.name), extra="dmcp") from None
    known = {f"{_PREFIX}{name}".upper() for name in (*Settings.model_fields, "url", "token")}
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


def _config() -> Path:
    base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(base, "dsguard", "dmcp.json")


def _keep(url: str, token: str) -> Path:
    path = _config()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    from dsguard.files import write_new

    write_new(path, json.dumps({"url": url, "token": token}).encode())
    return path


def _client() -> Client:
    """Return a client of the service of the environment, or that of the last login."""
    from dsguard.dmcp.client import Client

    url, token = os.environ.get("DSGUARD_DMCP_URL"), os.environ.get("DSGUARD_DMCP_TOKEN")
    if not (url and token):
        try:
            kept = json.loads(_config().read_text())
        except (OSError, ValueError):
            msg = "you are not logged in; run: dsguard dmcp login URL"
            raise DsguardError(msg) from None
        url, token = url or kept["url"], token or kept["token"]
    return Client(url, token)
