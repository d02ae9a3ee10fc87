"""What other libraries do while they read a file, whatever the process has set, in any threads."""

from __future__ import annotations

import contextlib
import sys
import threading
import warnings
from typing import TYPE_CHECKING

from PIL import Image, ImageFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Ignore all warnings, but raise that of Pillow of an image that may fill the memory."""
    if getattr(sys.flags, "context_aware_warnings", False):  # since 3.14: each thread has its own
        with _filters():
            yield
        return
    with _shared_filters.held():
        yield


@contextlib.contextmanager
def whole() -> Iterator[None]:
    """Have Pillow refuse images that are cut off, where the process has told it to fill them up.

    Gray would be hidden and come back in the place of the rest, and nobody be told.
    """
    with _shared_whole.held():
        yield


@contextlib.contextmanager
def _filters() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


@contextlib.contextmanager
def _without_filling() -> Iterator[None]:
    fills = ImageFile.LOAD_TRUNCATED_IMAGES
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    try:
        yield
    finally:
        if fills:
            ImageFile.LOAD_TRUNCATED_IMAGES = fills


class _Shared:
    """A state of the process, set when the first thread begins, put back when the last ends.

    If each set its own, one that ends would put back what it found: that of others, for ever.
    """

    def __init__(self, state: Callable[[], contextlib.AbstractContextManager[None]]) -> None:
        self._state = state
        self._lock = threading.Lock()
        self._threads = 0
        self._set = contextlib.ExitStack()

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Keep the state while a thread is in here."""
        with self._lock:
            if not self._threads:
                self._set.enter_context(self._state())
            self._threads += 1
        try:
            yield
        finally:
            with self._lock:
                self._threads -= 1
                if not self._threads:
                    self._set.close()


_shared_filters = _Shared(_filters)
_shared_whole = _Shared(_without_filling)
