"""Everything that dsguard raises.

One class per cause, all under `DsguardError`, so that a caller can tell a wrong key from a damaged
image without reading a message.
"""

from __future__ import annotations

from typing import Self


class DsguardError(Exception):
    """Base of all errors of dsguard.

    Parameters
    ----------
    message : str
        What is wrong and what to do about it.
    index : int, optional
        Position in the batch of the image that is concerned; it opens the message.

    Attributes
    ----------
    message : str
        The message without the position.
    index : int or None
    """

    def __init__(self, message: str, index: int | None = None) -> None:
        super().__init__(message if index is None else f"image {index}: {message}")
        self.message = message
        self.index = index

    def to_keep(self) -> Self:
        """Return itself without what it was raised in: that would keep its images in memory."""
        self.__cause__ = self.__context__ = None
        return self.with_traceback(None)


class InputError(DsguardError, ValueError):
    """An argument has the wrong type, shape or value."""


class CapacityError(DsguardError, ValueError):
    """An image is too small to carry its own payload.

    Parameters
    ----------
    needed, available : int
        Payload bits that the image needs, and the most that it can carry.
    """

    # The defaults let it be pickled: unpickling calls with the message alone, then sets the rest.
    def __init__(
        self, message: str, needed: int = 0, available: int = 0, index: int | None = None
    ) -> None:
        super().__init__(message, index)
        self.needed = needed
        self.available = available


class NotProtectedError(DsguardError, ValueError):
    """The image carries no dsguard header."""


class FormatError(DsguardError, ValueError):
    """A header, key or surrogate of a version or kind that this dsguard does not know."""


class WrongKeyError(DsguardError, ValueError):
    """The image was protected under another key, or the passphrase is wrong."""


class NoKeysError(DsguardError):
    """No keys of images are to be had: whoever gives them refuses, or does not answer."""


class MissingSidecarError(DsguardError, ValueError):
    """The payload of the image is in a sidecar, which was not given."""


class TamperedError(DsguardError, ValueError):
    """The image was changed after it was protected: its tag does not open."""


class WorkerError(DsguardError):
    """Worker processes died again and again, or did not do what they were given."""


class MissingExtraError(DsguardError, ImportError):
    """An optional dependency is not installed."""

    @classmethod
    def of(cls, package: str, extra: str) -> MissingExtraError:
        """Build the error for a missing `package` that comes with `dsguard[extra]`."""
        return cls(f"{package} is not installed; run: pip install 'dsguard[{extra}]'")
