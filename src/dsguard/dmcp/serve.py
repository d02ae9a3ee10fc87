"""Starting the service."""

from __future__ import annotations

import math
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
import uvicorn

from dsguard.dmcp.admin import first_owner
from dsguard.dmcp.app import create_app
from dsguard.dmcp.model import check_url
from dsguard.dmcp.timeouts import Patient
from dsguard.errors import InputError

if TYPE_CHECKING:
    from dsguard.dmcp.settings import Settings


_GRACE = 10  # seconds that requests in work have when the service is told to stop


def run(settings: Settings, on_owner: Callable[[Path], None]) -> None:
    """Serve until stopped; `on_owner` is told of the file with the token of a first owner.

    Raises
    ------
    InputError
        If the port is taken, the database cannot be reached, or there is no master key for it.
    """
    structlog.configure(
        processors=[
            structlog.processors.TimeStamper("iso"),
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ]
    )
    os.umask(0o077)  # of whatever is written: it is nobody else's
    with _listening(settings.host, settings.port) as listener:  # before anything is made
        settings.make_folder()
        check_url(settings.url())
        app = create_app(settings)
        path = first_owner(app.state.platform)
        if path is not None:
            on_owner(path)
        server = uvicorn.Server(
            uvicorn.Config(
                app,
                access_log=False,
                http=Patient.within(settings.patience),
                timeout_graceful_shutdown=math.ceil(min(settings.patience, _GRACE)),
                proxy_headers=bool(settings.proxies),
                forwarded_allow_ips=settings.proxies or None,
            )
        )
        server.run(sockets=[listener])


def _listening(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        msg = (
            f"cannot listen on {host}, port {port}: {error.strerror}; choose others: --host, --port"
        )
        raise InputError(msg) from None
    # Or the end of an answer waits 40 ms for its reader to confirm the beginning. asyncio sees to
    # that only for sockets that it makes itself; those that are accepted here have it from this.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener
