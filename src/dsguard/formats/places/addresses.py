"""Addresses of web servers, which stay for as long as the process runs."""

from __future__ import annotations

from typing import Any

KEPT: dict[str, dict[str, Any]] = {}
"""The one address of each server that was asked for anything, as aiohttp has it."""


def keep(addresses: dict[str, dict[str, Any]]) -> None:
    """Keep addresses that another process has found, where there are none yet."""
    for host, address in addresses.items():
        KEPT.setdefault(host, address)
