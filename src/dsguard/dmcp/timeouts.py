"""Timeouts of connections that say nothing, or never come to the end of a header."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

from uvicorn.protocols.http.h11_impl import H11Protocol


class Patient(H11Protocol):
    """HTTP whose connections are closed when no request comes on them for a while.

    `dsguard.dmcp.middleware` sees to requests from the end of their header on.
    """

    patience: ClassVar[float] = 60

    @classmethod
    def within(cls, patience: float) -> type[Patient]:
        """Return the class with so many seconds."""
        return type("Patient", (cls,), {"patience": patience})

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to watch."""
        super().connection_made(transport)
        self._seen: Any = None
        self._watch = self.loop.call_later(self.patience, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        """Watch no more."""
        self._watch.cancel()
        super().connection_lost(exc)

    def _look(self) -> None:
        """Close what has had no request since the last look."""
        cycle: Any = self.cycle  # the request in work or the last one; None before the first
        if cycle is self._seen and (cycle is None or cycle.response_complete):
            self.transport.close()
            return
        self._seen = cycle
        self._watch = self.loop.call_later(self.patience, self._look)
