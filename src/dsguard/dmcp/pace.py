"""The pace of answers: nothing else ends one of which a byte comes now and then."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

PATIENCE = 120.0
"""Seconds that an answer may be waited for, from its head to its end."""

RATE = 4096
"""Bytes for each of which, in a second, it may take a second more."""

_SLOW = "its answer does not come, or too slowly; try again later, or tell who runs it"


class Pace:
    """Counts the seconds that are spent waiting for an answer, in each thread for itself."""

    def __init__(self) -> None:
        self._own = threading.local()

    def begin(self) -> dict[str, Any]:
        """Begin to count; return the extensions of the request, as httpx takes them."""
        self._own.spent, self._own.received = 0.0, 0
        return {"trace": self._watch}

    def _watch(self, event: str, told: dict[str, Any]) -> None:
        """Have what is read on a new connection counted."""
        if event.endswith(("connect_tcp.complete", "start_tls.complete")):
            stream = told["return_value"]
            stream.read = partial(self._read, stream.read)

    def _read(
        self, read: Callable[[int, float | None], bytes], most: int, timeout: float | None = None
    ) -> bytes:
        import httpcore

        left = PATIENCE + self._own.received / RATE - self._own.spent
        if left <= 0:
            raise httpcore.ReadTimeout(_SLOW)
        begun = time.monotonic()
        try:
            data = read(most, left if timeout is None else min(left, timeout))
        except httpcore.ReadTimeout:
            raise httpcore.ReadTimeout(_SLOW) from None
        self._own.spent += time.monotonic() - begun
        self._own.received += len(data)
        return data
