"""The Dataset Management Cloud Platform (DMCP): keeps keys, for authorised users to restore."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dsguard.dmcp.client import Client
    from dsguard.dmcp.granted import GrantedKeys

__all__ = ["Client", "GrantedKeys"]


def __getattr__(name: str) -> Any:
    if name == "Client":
        from dsguard.dmcp.client import Client

        return Client
    if name == "GrantedKeys":
        from dsguard.dmcp.granted import GrantedKeys

        return GrantedKeys
    msg = f"module 'dsguard.dmcp' has no attribute {name!r}"
    raise AttributeError(msg)
