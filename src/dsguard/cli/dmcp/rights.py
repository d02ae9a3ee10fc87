"""Commands for grants, and requests for them."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import click

from dsguard.cli.console import say
from dsguard.cli.dmcp.connection import logged_in

TIME = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"])


_right = click.option(
    "--right",
    type=click.Choice(["restore", "manage", "export-key"]),
    default="restore",
    show_default=True,
)


def of_budget(command: Callable[..., None]) -> Callable[..., None]:
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


@click.command()
@click.argument("dataset")
@click.argument("user")
@_right
@click.option("--from", "not_before", type=TIME, help="UTC.")
@click.option("--until", "expires", type=TIME, help="UTC.")
@of_budget
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
    with logged_in() as client:
        client.grant(dataset, user, right, **limits)
    click.echo(f"{user} may {right} {dataset}")


@click.command()
@click.argument("dataset")
def grants(dataset: str) -> None:
    """List the grants of DATASET, past ones too, one JSON object a line."""
    with logged_in() as client:
        for row in client.grants(dataset):
            click.echo(json.dumps(row))


@click.command()
@click.argument("dataset")
@click.argument("user")
@_right
def revoke(dataset: str, user: str, right: str) -> None:
    """Take a right of USER to DATASET back."""
    with logged_in() as client:
        ended = client.revoke(dataset, user, right)
    say(f"ended {ended} grant(s): {user} may no longer {right} {dataset}")


@click.command()
@click.argument("dataset")
@click.option("--message", default="", help="What you want it for.")
def request(dataset: str, message: str) -> None:
    """Ask the owners of DATASET for the right to restore it."""
    with logged_in() as client:
        say(f"request {client.request(dataset, message)['number']} is with the owners")


@click.command()
def requests() -> None:
    """List your requests, and those that you can answer."""
    with logged_in() as client:
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


@click.command()
@click.argument("number", type=int)
@click.option("--accept/--refuse", required=True)
@click.option("--reason", default="")
@of_budget
def answer(number: int, reason: str, *, accept: bool, **budget: Any) -> None:
    """Accept the request NUMBER, for a number of images if one is given, or refuse it."""
    with logged_in() as client:
        done = client.answer(number, accept=accept, reason=reason, **_checked(budget))
    say(f"request {number} is {done['state']}")


def _checked(budget: dict[str, Any]) -> dict[str, Any]:
    """Return what is given of a budget; distinct images have to have a number."""
    distinct = budget["distinct"] or budget["lease_hours"] is not None
    if distinct and budget["quota"] is None:
        msg = "say how many distinct images the grant is for: --images N"
        raise click.UsageError(msg)
    return {name: value for name, value in {**budget, "distinct": distinct}.items() if value}
