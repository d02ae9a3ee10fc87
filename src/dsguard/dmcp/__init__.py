"""The Dataset Management Cloud Platform (DMCP): keeps keys, restores for authorised users."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dsguard.dmcp.client import Client

__all__ = ["Client"]


def __getattr__(name: str) -> Any:
    if name == "Client":
        from dsguard.dmcp.client import Client

        return Client
    msg = f"module 'dsguard.dmcp' has no attribute {name!r}"
    raise AttributeError(msg)
