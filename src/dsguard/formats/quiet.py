"""What other libraries warn of, ignored while they read a file, in any number of threads."""

from __future__ import annotations

import contextlib
import sys
import threading
import warnings
from typing import TYPE_CHECKING

from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Ignore all warnings, but raise that of Pillow of an image that may fill the memory."""
    if getattr(sys.flags, "context_aware_warnings", False):  # since 3.14: each thread has its own
        with _filters():
            yield
        return
    _shared.begin()
    try:
        yield
    finally:
        _shared.end()


@contextlib.contextmanager
def _filters() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


class _Shared:
    """The filters of the process, set when the first thread begins, put back when the last ends.

    If each set its own, one that ends would put back what it found: filters of others, for ever.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._threads = 0
        self._set = contextlib.ExitStack()

    def begin(self) -> None:
        with self._lock:
            if not self._threads:
                self._set.enter_context(_filters())
            self._threads += 1

    def end(self) -> None:
        with self._lock:
            self._threads -= 1
            if not self._threads:
                self._set.close()


_shared = _Shared()
