"""Commands that log in, and make accounts."""

from __future__ import annotations

import click

from dsguard.cli.console import say
from dsguard.cli.dmcp.connection import DEFAULT_URL, connected, given_token, keeping
from dsguard.dmcp.login import path_of_login
from dsguard.errors import InputError


@click.command()
@click.argument("url", default=DEFAULT_URL)
def login(url: str) -> None:
    """Keep URL and token for the other commands; the token is asked for, or read from stdin."""
    token = given_token()
    with keeping() as kept:
        with connected(url, token) as client:
            name = client.me()["name"]
        kept.save(url, token)
    say(f"logged in as {name}")


@click.command()
@click.argument("name")
@click.option("--url", default=DEFAULT_URL, show_default=True, envvar="DSGUARD_DMCP_URL")
@click.option("--replace", is_flag=True, help="Forget the login of another account.")
def register(name: str, url: str, *, replace: bool) -> None:
    """Make an account NAME, and log in with it."""
    if path_of_login().exists() and not replace:
        msg = (
            f"another account is logged in here, and its token may lie in {path_of_login()} alone; "
            "keep that file elsewhere, or give --replace"
        )
        raise InputError(msg)
    with keeping() as kept:  # before there is a token that could be lost
        with connected(url) as client:
            token = client.register(name)
        kept.save(url, token)
    say(f"registered as {name}; the token is in {path_of_login()}")
