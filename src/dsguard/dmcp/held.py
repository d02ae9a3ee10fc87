"""Answers that hold something, a place or a file, until the last of them is sent."""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable, Mapping
from contextlib import ExitStack

import anyio
from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send


class HeldResponse(StreamingResponse):
    """An answer that lets go of what it holds, however it ends."""

    def __init__(
        self,
        content: Iterable[bytes] | AsyncIterable[bytes],
        media_type: str,
        held: ExitStack,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(content, headers=headers, media_type=media_type)
        self._held = held

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            with anyio.CancelScope(shield=True):
                await run_in_threadpool(self._held.close)
