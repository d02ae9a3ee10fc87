"""Starting the service."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import structlog
import uvicorn

from dsguard.dmcp.app import create_app
from dsguard.dmcp.operate import first_owner

if TYPE_CHECKING:
    from dsguard.dmcp.settings import Settings


def run(settings: Settings, on_owner: Callable[[str], None]) -> None:
    """Serve until stopped; the token of a first owner goes to `on_owner`, and nowhere else."""
    structlog.configure(
        processors=[
            structlog.processors.TimeStamper("iso"),
            structlog.processors.add_log_level,
            structlog.processors.JSONRenderer(),
        ]
    )
    settings.folder.mkdir(parents=True, exist_ok=True)
    token = first_owner(settings)
    if token is not None:
        on_owner(token)
    uvicorn.run(
        create_app(settings),
        host=settings.host,
        port=settings.port,
        access_log=False,
        proxy_headers=bool(settings.proxies),
        forwarded_allow_ips=settings.proxies or None,
    )
