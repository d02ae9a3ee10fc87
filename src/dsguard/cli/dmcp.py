"""``dsguard dmcp``: the platform that keeps keys, and its clients."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dsguard.cli.console import Exit, complain, counted, load_key, say, show, warn
from dsguard.dmcp.login import allows_http, login_for, path_of_login
from dsguard.dmcp.secret_text import check_token, text_of
from dsguard.errors import DsguardError, InputError, MissingExtraError, NoKeysError

if TYPE_CHECKING:
    from dsguard.dmcp import GrantedKeys
    from dsguard.dmcp.client import Client
    from dsguard.dmcp.settings import Settings
    from dsguard.dmcp.sync import Plan

_DEFAULT_URL = "http://127.0.0.1:8642"
_PREFIX = "DSGUARD_DMCP_"
_LARGEST_SAMPLE = 16 << 20
_TIME = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"])
_right = click.option(
    "--right",
    type=click.Choice(["restore", "manage", "export-key"]),
    default="restore",
    show_default=True,
)


def _budget(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of how many images a grant is for."""
    for option in (
        click.option(
            "--lease",
            "lease_hours",
            type=click.IntRange(min=1),
            metavar="HOURS",
            help="As --distinct, for so many hours after an image was counted; then it counts "
            "again.",
        ),
        click.option(
            "--distinct",
            is_flag=True,
            help="Count an image once, however often its key is asked for: for training.",
        ),
        click.option("--images", "quota", type=click.IntRange(min=1), help="At most so many."),
    ):
        command = option(command)
    return command


@click.group()
def dmcp() -> None:
    """Run a Dataset Management Cloud Platform, or use one.

    It keeps the keys of datasets, and gives those of images to whom an owner has granted it; see
    `dsguard restore --dataset`. It restores images that have no such keys.
    """


@dmcp.command()
@click.option("--host", help="Where to listen.  [default: 127.0.0.1]")
@click.option("--port", type=int, help="[default: 8642]")
@click.option("--folder", type=click.Path(path_type=Path), help="Database and master key.")
def serve(host: str | None, port: int | None, folder: Path | None) -> None:
    """Start the service.

    The first start makes the database, the master key and an owner, whose token it writes to a
    file that nobody else can read.
    Settings come from the environment: DSGUARD_DMCP_DATABASE and others, see docs/dmcp.md.
    """
    settings = _settings(host=host, port=port, folder=folder)
    from dsguard.dmcp.serve import run

    run(settings, lambda path: click.echo(f"first owner: user owner, whose token is in {path}"))


@dmcp.command()
@click.argument("name")
@click.option("--folder", type=click.Path(path_type=Path))
def publisher(name: str, folder: Path | None) -> None:
    """Let the user NAME deposit datasets; on the machine of the service."""
    settings = _settings(folder=folder)
    from dsguard.dmcp.admin import make_publisher

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
    from dsguard.dmcp.admin import give_token

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
    from dsguard.dmcp.admin import rotate

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
    settings = _settings(folder=folder)
    from dsguard.dmcp.admin import whole_trail

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
    token = _given_token()
    with _keeping() as kept:
        with connected(url, token) as client:
            name = client.me()["name"]
        kept.save(url, token)
    say(f"logged in as {name}")


@dmcp.command()
@click.argument("name")
@click.option("--url", default=_DEFAULT_URL, show_default=True, envvar="DSGUARD_DMCP_URL")
@click.option("--replace", is_flag=True, help="Forget the login of another account.")
def register(name: str, url: str, *, replace: bool) -> None:
    """Make an account NAME, and log in with it."""
    if path_of_login().exists() and not replace:
        msg = (
            f"another account is logged in here, and its token may lie in {path_of_login()} alone; "
            "keep that file elsewhere, or give --replace"
        )
        raise InputError(msg)
    with _keeping() as kept:  # before there is a token that could be lost
        with connected(url) as client:
            token = client.register(name)
        kept.save(url, token)
    say(f"registered as {name}; the token is in {path_of_login()}")


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
    with _client() as client:
        count = client.replace_samples(dataset, [(path.name, _read(path)) for path in files])
    say(f"{dataset} is shown by {counted(count, 'sample')}")


def _read(path: Path) -> bytes:
    if path.stat().st_size > _LARGEST_SAMPLE:
        msg = f"{path} has more than {_LARGEST_SAMPLE} bytes; choose a smaller image"
        raise InputError(msg)
    return path.read_bytes()


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
@_budget
def grant(
    dataset: str,
    user: str,
    right: str,
    not_before: datetime | None,
    expires: datetime | None,
    **budget: Any,
) -> None:
    """Let USER restore DATASET, or give another right."""
    limits = _checked(budget)
    times = {"not_before": not_before, "expires": expires}
    limits |= {name: time and time.replace(tzinfo=UTC) for name, time in times.items()}
    with _client() as client:
        client.grant(dataset, user, right, **limits)
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
        for row in client.key_versions(dataset):
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
        rows = client.requests()
        for row in rows:
            reason = f" ({row['reason']})" if row["reason"] else ""
            say(
                f"{row['number']}: {row['user']} asks for {row['dataset']}: "
                f"{row['state']}{reason}  {row['message']}"
            )
    if any(row["state"] == "pending" for row in rows):
        told = "who manages the dataset answers: dsguard dmcp answer NUMBER --accept, or --refuse"
        click.echo(told, err=True)


@dmcp.command()
@click.argument("number", type=int)
@click.option("--accept/--refuse", required=True)
@click.option("--reason", default="")
@_budget
def answer(number: int, reason: str, *, accept: bool, **budget: Any) -> None:
    """Accept the request NUMBER, for a number of images if one is given, or refuse it."""
    with _client() as client:
        done = client.answer(number, accept=accept, reason=reason, **_checked(budget))
    say(f"request {number} is {done['state']}")


@dmcp.command("sync-requests")
@click.argument("dataset")
@click.argument("repo")
@click.option("--apply", is_flag=True, help="Do it; without, only what would be done is told.")
@click.option("--field", help="Label of the field of the hub's form that names the account here.")
@click.option(
    "--names",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="File of lines with a user of the hub and their account here.",
)
@click.option("--hub", default="https://huggingface.co", show_default=True, envvar="HF_ENDPOINT")
@click.option("--until", "expires", type=_TIME, help="Of new grants, UTC.")
@click.option("--images", type=click.IntRange(min=1), help="Of new grants, at most so many.")
@click.option("--allow-empty", is_flag=True, help="Believe a hub that approves nobody any more.")
def sync_requests(
    dataset: str,
    repo: str,
    field: str | None,
    names: Path | None,
    hub: str,
    expires: datetime | None,
    images: int | None,
    *,
    apply: bool,
    allow_empty: bool,
) -> int:
    """Grant DATASET to whom Hugging Face's hub has approved for its gated dataset REPO.

    Grants that came from approvals that are gone are revoked. HF_TOKEN has a token of the hub that
    may write to REPO. A user of the hub is nobody here by their name: accounts are told by a field
    of the form, or by a file of yours.
    """
    from dsguard.dmcp import hub as hubs
    from dsguard.dmcp.sync import planned

    if not (field or names):
        msg = "tell accounts by a field of the form, --field LABEL, or by a file, --names FILE"
        raise click.UsageError(msg)
    approvals = hubs.approvals(repo, os.environ.get("HF_TOKEN", "").strip(), hub, field)
    accounts = {each.user: each.account for each in approvals} | _accounts(names)
    prefix = hubs.source_of(hub, repo, "")
    ends = expires and expires.replace(tzinfo=UTC)
    with _client() as client:
        given = client.grants(dataset)
        plan = planned(approvals, accounts, given, prefix, may_be_empty=allow_empty)
        for on_hub, reason in plan.left.items():
            say(f"left alone: {on_hub} {reason}")
        if not apply:
            return _tell(plan)
        failed: dict[str, DsguardError] = {}
        for user, source in plan.grant.items():
            grant = partial(client.grant, dataset, expires=ends, quota=images, source=source)
            if _did(failed, user, grant):
                say(f"granted: {user}, approved as {source}")
        for user, source in plan.revoke.items():
            if _did(failed, user, partial(client.revoke, dataset)):
                say(f"revoked: {user}, no more approved as {source}")
    for user, error in failed.items():
        complain(f"{user}: {error.message}")
    return Exit.SOME_FAILED if failed else Exit.OK


def _tell(plan: Plan) -> int:
    """Say what would be done."""
    for user, source in plan.grant.items():
        say(f"would grant: {user}, approved as {source}")
    for user, source in plan.revoke.items():
        say(f"would revoke: {user}, no more approved as {source}")
    if plan.grant or plan.revoke:
        say("nothing was changed; --apply does it")
    return Exit.OK


def _did(failed: dict[str, DsguardError], user: str, change: Callable[[str], object]) -> bool:
    """Make a change; what the service refuses of one user does not end it for the others."""
    from dsguard.dmcp.client import RefusedError

    try:
        change(user)
    except RefusedError as error:
        if error.status not in (404, 403, 409, 422) or error.code in ("no-dataset", "no-grant"):
            raise
        failed[user] = error
    return user not in failed


def _accounts(path: Path | None) -> dict[str, str]:
    """Return accounts by users of a hub, from a file of the owner's."""
    lines = text_of(path.read_bytes(), str(path)).splitlines() if path else []
    accounts = {}
    for number, line in enumerate(lines, 1):
        words = line.partition("#")[0].split()
        if len(words) not in (0, 2):
            msg = f"{path}, line {number}: write a user of the hub and their account here"
            raise InputError(msg)
        if words:
            accounts[words[0]] = words[1]
    return accounts


@dmcp.command()
@click.argument("dataset")
@click.option("--remove", is_flag=True, help="Take no more messages.")
def webhook(dataset: str, *, remove: bool) -> None:
    """Print a secret that messages about approvals of DATASET are signed with; an old one ends."""
    with _client() as client:
        if remove:
            client.remove_webhook(dataset)
            say(f"{dataset} takes no more messages; the grants that came by them stay")
        else:
            say(client.new_webhook(dataset))


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

    What is there already is left as it is, and not counted against a quota again. Names of carried
    files, and what lies beside the images, come back with: dsguard restore --dataset.
    """
    from dsguard.bulk import output_names
    from dsguard.dmcp.client import names_in, read_images
    from dsguard.formats.places import LocalPlace

    here, there = source.resolve(), destination.resolve()
    if here == there or here in there.parents or there in here.parents:
        msg = "source and destination must not lie in each other"
        raise InputError(msg)
    place = LocalPlace(destination)
    names = output_names(names_in(source), "png")
    if not names:
        msg = f"there are no image files in {source}; of other formats restore a tar, or a job"
        raise InputError(msg)
    there_are = partial(_is_there, destination)
    left = [name for name, out in names.items() if overwrite or not there_are(out)]
    done = len(names) - len(left)
    failed: dict[str, DsguardError] = {}
    try:
        with _client() as client:
            for image in client.restore(dataset, read_images(source, left, failed)):
                if image.error:
                    failed[image.name] = InputError(image.error)
                    continue
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
            + (f"; {len(names) - len(left)} were there" if len(left) < len(names) else "")
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


def _is_there(destination: Path, name: str) -> bool:
    """Tell whether an image was restored already, as a file of any kind."""
    from dsguard.formats.images import KNOWN_SUFFIXES, with_suffix

    return any((destination / with_suffix(name, each)).exists() for each in KNOWN_SUFFIXES)


def _checked(budget: dict[str, Any]) -> dict[str, Any]:
    """Return what is given of a budget; distinct images have to have a number."""
    distinct = budget["distinct"] or budget["lease_hours"] is not None
    if distinct and budget["quota"] is None:
        msg = "say how many distinct images the grant is for: --images N"
        raise click.UsageError(msg)
    return {name: value for name, value in {**budget, "distinct": distinct}.items() if value}


def _settings(**given: Any) -> Settings:
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


_ROOM = 4096


class _Kept:
    """A place for a login, made and filled with blanks before there is one."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor, name = tempfile.mkstemp(prefix=".dmcp-", dir=path.parent)
            self._temporary, self._file = Path(name), os.fdopen(descriptor, "r+b", buffering=0)
            self._put(b" " * _ROOM)
        except OSError as error:
            self.discard()
            msg = (
                f"a login cannot be kept in {path}: {error.strerror}; nothing was asked of the "
                "service; make room there, or set XDG_CONFIG_HOME to a folder where it can be"
            )
            raise InputError(msg) from None

    def save(self, url: str, token: str) -> None:
        """Put a login there; if that fails after all, say where the token is."""
        content = json.dumps({"url": url, "token": token}).encode()
        try:
            self._put(content)
        except OSError as error:
            raise self._lost(content, error) from None
        try:
            self._temporary.replace(self._path)
        except OSError as error:
            left, self._temporary = self._temporary, Path()
            msg = f"{self._path} cannot be written: {error.strerror}; move {left} there"
            raise InputError(msg) from None

    def discard(self) -> None:
        """Remove what is not needed."""
        if hasattr(self, "_file"):
            self._file.close()
            if self._temporary != Path():
                self._temporary.unlink(missing_ok=True)

    def _put(self, content: bytes) -> None:
        self._file.seek(0)
        self._file.write(content)
        self._file.truncate()
        os.fsync(self._file.fileno())

    def _lost(self, content: bytes, error: OSError) -> InputError:
        with contextlib.suppress(OSError):
            descriptor, name = tempfile.mkstemp(prefix="dsguard-dmcp-", suffix=".json")
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
            msg = f"{self._path} cannot be written: {error.strerror}; move {name} there"
            return InputError(msg)
        msg = (
            f"{self._path} cannot be written: {error.strerror}, and the token is lost; ask the "
            "operator of the service for another: dsguard dmcp token NAME"
        )
        return InputError(msg)


@contextlib.contextmanager
def _keeping() -> Iterator[_Kept]:
    """Yield a place for a login that can be written, before anything is asked of a service."""
    kept = _Kept(path_of_login())
    try:
        yield kept
    finally:
        kept.discard()


def _given_token() -> str:
    """Return a token from the terminal, or the first line of stdin that is not empty."""
    if sys.stdin.isatty():
        return check_token(str(click.prompt("Token", hide_input=True, err=True)))
    binary = getattr(sys.stdin, "buffer", None)
    data = binary.read(_ROOM) if binary else sys.stdin.read(_ROOM).encode()
    token = text_of(data, "stdin").partition("\n")[0]
    if not token:
        msg = "there is no token on stdin"
        raise InputError(msg)
    return check_token(token)


def connected(url: str, token: str | None = None) -> Client:
    """Return a client; what it warns of is said on stderr."""
    from dsguard.dmcp.client import Client

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        client = Client(url, token, allow_http=allows_http())
    for warning in told:
        warn(str(warning.message))
    return client


def _client() -> Client:
    """Return a client of the service of the environment, or that of the last login."""
    return connected(*login_for())


def granted_keys(dataset: str, url: str | None) -> GrantedKeys:
    """Return the keys of a dataset on a platform, whose address and token are tried first."""
    from dsguard.dmcp import GrantedKeys
    from dsguard.dmcp.client import RefusedError

    keys = GrantedKeys(dataset, *(login := login_for(url)), allow_http=allows_http())
    try:
        with connected(*login) as client:
            client.me()
    except RefusedError as refusal:
        raise NoKeysError(refusal.message) from refusal
    return keys
