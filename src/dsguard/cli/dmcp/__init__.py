"""``dsguard dmcp``: the platform that keeps keys, and its clients."""

from __future__ import annotations

import click

from dsguard.cli.dmcp.accounts import login, register
from dsguard.cli.dmcp.approvals import sync_requests
from dsguard.cli.dmcp.deposits import datasets, deposit, export_key, keys, samples, webhook
from dsguard.cli.dmcp.restore import restore_command
from dsguard.cli.dmcp.rights import answer, grant, grants, request, requests, revoke
from dsguard.cli.dmcp.service import publisher, rotate_master_key, serve, token
from dsguard.cli.dmcp.trail import audit


@click.group()
def dmcp() -> None:
    """Run a Dataset Management Cloud Platform, or use one.

    It keeps the keys of datasets, and gives those of images to whom an owner has granted it; see
    `dsguard restore --dataset`. It restores images that have no such keys.
    """


for command in (
    serve, publisher, token, rotate_master_key, audit, login, register, deposit, samples, datasets,
    keys, export_key, webhook, grant, grants, revoke, request, requests, answer, sync_requests,
    restore_command,
):  # fmt: skip
    dmcp.add_command(command)
