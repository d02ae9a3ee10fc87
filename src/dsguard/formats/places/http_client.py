"""The client of web servers: stays with one server, and takes no more of it than was asked for."""

from __future__ import annotations

import asyncio
import contextlib
import html
import re
import socket
from typing import Any

import aiohttp

from dsguard.errors import InputError
from dsguard.formats.limits import MOST_LOOSE
from dsguard.formats.places.addresses import KEPT

MOST_LISTED = 1 << 26
"""Bytes of the page that lists a folder."""

MOST_LINKS = 250_000
"""Links of such a page."""

PATIENCE = 5
"""Seconds that one of several addresses of a server has to answer in."""

_LINK = re.compile(
    r"""<a\s(?:[^<>]*?\s)?href=  # looks no further than a tag
    (?:"([^\s"<>]+(?:\ [^\s"<>]+)*)|'([^\s'<>]+(?:\ [^\s'<>]+)*))
    |(https?://[-a-zA-Z0-9@:%_+.~\#?&/=]+)""",
    re.IGNORECASE | re.VERBOSE,
)
_QUOTED = re.compile("[\"'<>\0-\x1f]")
"""Signs that would end a link for whoever reads it next."""

_RANGE = re.compile(r"bytes=(\d+)-(\d+)")


async def new_client(**options: Any) -> aiohttp.ClientSession:
    """Return a client; another server than that of its address might be one that only we can reach.

    It unpacks nothing: a short answer could unpack to any length.
    """
    trace = aiohttp.TraceConfig()
    trace.on_request_redirect.append(_check_redirect)
    trace.on_request_end.append(_check_encoding)
    return aiohttp.ClientSession(
        trace_configs=[trace],
        headers={"accept-encoding": "identity"},
        auto_decompress=False,
        response_class=_Response,
        connector=aiohttp.TCPConnector(resolver=_Resolver()),
        **options,
    )


class _Resolver(aiohttp.ThreadedResolver):
    """Keeps the address of a server: its name could mean one later that only we can reach.

    It keeps one of several, as the others could be such from the beginning.
    """

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[Any]:
        if host not in KEPT:
            found = await super().resolve(host, port, family)
            KEPT.setdefault(host, await _answering(found, port))
        return [{**KEPT[host], "port": port}]


async def _answering(found: list[Any], port: int) -> Any:
    """Return the first address at which somebody answers, or the only one."""
    for each in found[:-1]:
        with contextlib.suppress(OSError, asyncio.TimeoutError):
            opening = asyncio.open_connection(each["host"], port)
            _, writer = await asyncio.wait_for(opening, PATIENCE)
            writer.close()
            return each
    return found[-1]


async def _check_redirect(session: Any, context: Any, redirect: Any) -> None:
    """Refuse to be sent to another server, or from TLS to what everybody can read and change."""
    old = redirect.url
    headers = redirect.response.headers
    given = headers.get("location") or headers.get("uri") or ""
    try:
        new = old.join(type(old)(given))
        host, origin = new.host, new.origin()
    except ValueError:
        msg = f"{old} leads to {given[:200]!r}, which is no address; ask who runs the server"
        raise InputError(msg) from None
    upgraded = (old.scheme, new.scheme) == ("http", "https") and new.is_default_port()
    if host != old.host or not (upgraded or (old.scheme, old.port) == (new.scheme, new.port)):
        msg = f"{old} leads to another server, {origin}; give the address there"
        raise InputError(msg)


async def _check_encoding(session: Any, context: Any, request: Any) -> None:
    encoding = request.response.headers.get("content-encoding", "identity")
    if encoding.lower() not in ("", "identity"):
        request.response.close()
        msg = (
            f"{request.url} is sent in the encoding {encoding[:40]!r}, which was not asked for and "
            "could unpack to any length; have the server send it as it is, or download it"
        )
        raise InputError(msg)


class _Response(aiohttp.ClientResponse):
    """An answer that may not be longer than what was asked for."""

    async def read(self) -> bytes:
        asked = _RANGE.match(self.request_info.headers.get("range", ""))
        return await self._read(int(asked[2]) - int(asked[1]) + 1 if asked else MOST_LOOSE)

    async def text(self, encoding: str | None = None, errors: str = "strict") -> str:
        """Return the links of a page that lists a folder, and nothing else of it."""
        page = await self._read(MOST_LISTED)
        return "\n".join(f'<a href="{link}">' for link in links_in(page, str(self.url)))

    async def _read(self, most: int) -> bytes:
        parts, size = [], 0
        async for part in self.content.iter_any():
            parts.append(part)
            size += len(part)
            if size > most:
                self.close()
                msg = f"{self.url} sends more than {most} bytes, which is too much; download it"
                raise InputError(msg)
        return b"".join(parts)


def links_in(page: bytes, url: str) -> list[str]:
    """Return the links of a page, in a time that its length bounds.

    Raises
    ------
    InputError
        If there are too many.
    """
    links = []
    for found in _LINK.finditer(page.decode("utf-8", "ignore")):  # some encodings take very long
        link = html.unescape(found[1] or found[2] or found[3])
        link = _QUOTED.sub(lambda sign: f"%{ord(sign[0]):02X}", link)
        links.append(link.removeprefix("./"))  # as Caddy writes them
        if len(links) > MOST_LINKS:
            msg = f"{url} lists more than {MOST_LINKS} files; pack them into shards"
            raise InputError(msg)
    return links
