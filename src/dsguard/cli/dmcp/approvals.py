"""A command that grants datasets to whom a public hub has approved."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dsguard.cli.console import Exit, complain, say
from dsguard.cli.dmcp.connection import logged_in
from dsguard.cli.dmcp.rights import TIME
from dsguard.dmcp.secret_text import text_of
from dsguard.errors import DsguardError, InputError

if TYPE_CHECKING:
    from dsguard.dmcp.sync import Plan


@click.command("sync-requests")
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
@click.option("--until", "expires", type=TIME, help="Of new grants, UTC.")
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
    with logged_in() as client:
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
    from dsguard.dmcp.connection import RefusedError

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
