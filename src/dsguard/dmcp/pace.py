"""The pace of requests and answers: nothing else ends one of which a byte comes now and then."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

PATIENCE = 120.0
"""Seconds that an answer may be waited for, from its head to its end."""

RATE = 4096
"""Bytes for each of which, in a second, it may take a second more."""

_SLOW = "its answer does not come, or too slowly; try again later, or tell who runs it"


class Patience:
    """How long somebody may be waited for: some seconds, and one more for each `RATE` bytes.

    Attributes
    ----------
    moved : int
        Bytes that they have sent or taken.
    """

    def __init__(self, seconds: float) -> None:
        self.moved, self._seconds, self._spent = 0, seconds, 0.0

    @property
    def left(self) -> float:
        """The seconds that are left."""
        return self._seconds + self.moved / RATE - self._spent

    @contextlib.contextmanager
    def spent(self) -> Iterator[None]:
        """Count the seconds of a step, if it comes to its end."""
        begun = time.monotonic()
        yield
        self._spent += time.monotonic() - begun


class Pace:
    """Counts the seconds that are spent waiting for an answer, in each thread for itself."""

    def __init__(self) -> None:
        self._own = threading.local()

    def begin(self) -> dict[str, Any]:
        """Begin to count; return the extensions of the request, as httpx takes them."""
        self._own.patience = Patience(PATIENCE)
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

        patience: Patience = self._own.patience
        if (left := patience.left) <= 0:
            raise httpcore.ReadTimeout(_SLOW)
        try:
            with patience.spent():
                data = read(most, left if timeout is None else min(left, timeout))
        except httpcore.ReadTimeout:
            raise httpcore.ReadTimeout(_SLOW) from None
        patience.moved += len(data)
        return data
