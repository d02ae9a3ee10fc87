"""Reading from a web server: what lies at its address, and not what it sends one on to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dsguard.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

_PROTOCOLS = ("http", "https")


def options_of(url: str) -> Mapping[str, Any]:
    """Return the options with which fsspec opens a URL; there are none but for web servers."""
    return {each: {"get_client": _client} for each in _PROTOCOLS if f"{each}://" in url}


async def _client(**options: Any) -> Any:
    """Return a client that stays with one server: another might be one that only we can reach."""
    import aiohttp

    trace = aiohttp.TraceConfig()
    trace.on_request_redirect.append(_check_redirect)
    return aiohttp.ClientSession(trace_configs=[trace], **options)


async def _check_redirect(session: Any, context: Any, redirect: Any) -> None:
    """Refuse to be sent to another server, or from TLS to what everybody can read and change."""
    old = redirect.url
    headers = redirect.response.headers
    new = old.join(type(old)(headers.get("location") or headers.get("uri") or ""))
    upgraded = (old.scheme, new.scheme) == ("http", "https") and new.is_default_port()
    if new.host != old.host or not (upgraded or (old.scheme, old.port) == (new.scheme, new.port)):
        msg = f"{old} leads to another server, {new.origin()}; give the address there"
        raise InputError(msg)
