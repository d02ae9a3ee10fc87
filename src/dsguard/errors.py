"""Everything that dsguard raises.

One class per cause, all under `DsguardError`, so that a caller can tell a wrong key from a damaged
image without reading a message.
"""

from __future__ import annotations

import errno
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

    Examples
    --------
    >>> import dsguard, numpy as np
    >>> try:
    ...     dsguard.restore_batch(np.zeros((1, 32, 32, 3), np.uint8), dsguard.DatasetKey(bytes(32)))
    ... except dsguard.DsguardError as error:
    ...     print(error.index, type(error).__name__)
    0 NotProtectedError
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
    """An argument has the wrong type, shape or value.

    Examples
    --------
    >>> import dsguard, numpy as np
    >>> dsguard.protect_batch(np.zeros((1, 32, 32, 3)), dsguard.DatasetKey(bytes(32)))
    Traceback (most recent call last):
        ...
    dsguard.errors.InputError: images: ...
    """


class FileThereError(InputError, FileExistsError):
    """There is something where a new file was to be written, which is never overwritten.

    Examples
    --------
    >>> import dsguard
    >>> key = dsguard.DatasetKey(bytes(32))
    >>> key.save("my.key")
    >>> try:
    ...     key.save("my.key")
    ... except dsguard.InputError as error:
    ...     print(type(error).__name__)
    FileThereError
    """


class CapacityError(DsguardError, ValueError):
    """An image is too small to carry its own payload.

    Parameters
    ----------
    needed, available : int
        Payload bits that the image needs, and the most that it can carry.

    Examples
    --------
    >>> import dsguard, numpy as np
    >>> key, tiny = dsguard.DatasetKey(bytes(32)), np.zeros((1, 8, 8, 1), np.uint8)
    >>> try:
    ...     dsguard.protect_batch(tiny, key, target=tiny.copy(), profile="paper")
    ... except dsguard.CapacityError as error:
    ...     print(error.needed > error.available)
    True
    """

    # The defaults let it be pickled: unpickling calls with the message alone, then sets the rest.
    def __init__(
        self, message: str, needed: int = 0, available: int = 0, index: int | None = None
    ) -> None:
        super().__init__(message, index)
        self.needed = needed
        self.available = available


class NotProtectedError(DsguardError, ValueError):
    """The image carries no dsguard header.

    Examples
    --------
    >>> import dsguard, numpy as np
    >>> dsguard.restore_batch(np.zeros((1, 32, 32, 3), np.uint8), dsguard.DatasetKey(bytes(32)))
    Traceback (most recent call last):
        ...
    dsguard.errors.NotProtectedError: ...
    """


class FormatError(DsguardError, ValueError):
    """A header, key or surrogate of a version or kind that this dsguard does not know.

    Examples
    --------
    >>> import dsguard
    >>> issubclass(dsguard.FormatError, dsguard.DsguardError)
    True
    """


class WrongKeyError(DsguardError, ValueError):
    """The image was protected under another key, or the passphrase is wrong.

    Examples
    --------
    >>> import dsguard, numpy as np
    >>> key = dsguard.DatasetKey(bytes(range(32)))
    >>> clean = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), np.uint8)
    >>> out = dsguard.protect_batch(clean, key)
    >>> dsguard.restore_batch(out.images, dsguard.DatasetKey(bytes(32)), sidecars=out.sidecars)
    Traceback (most recent call last):
        ...
    dsguard.errors.WrongKeyError: ...
    """


class NoKeysError(DsguardError):
    """No keys of images are to be had: whoever gives them refuses, or does not answer.

    Examples
    --------
    >>> import dsguard
    >>> issubclass(dsguard.NoKeysError, dsguard.DsguardError)
    True
    """


class MissingSidecarError(DsguardError, ValueError):
    """The payload of the image is in a sidecar, which was not given.

    Examples
    --------
    >>> import dsguard, numpy as np
    >>> key = dsguard.DatasetKey(bytes(range(32)))
    >>> clean = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), np.uint8)
    >>> out = dsguard.protect_batch(clean[:1], key)  # noise does not fit into its own low bits
    >>> sorted(out.sidecars)
    [0]
    >>> dsguard.restore_batch(out.images, key)
    Traceback (most recent call last):
        ...
    dsguard.errors.MissingSidecarError: ...
    """


class TamperedError(DsguardError, ValueError):
    """The image was changed after it was protected: its tag does not open.

    Examples
    --------
    >>> import dsguard, numpy as np
    >>> key = dsguard.DatasetKey(bytes(32))
    >>> images = dsguard.protect_batch(np.zeros((1, 32, 32, 3), np.uint8), key).images
    >>> images[0, 9, 9] ^= 1
    >>> dsguard.restore_batch(images, key)
    Traceback (most recent call last):
        ...
    dsguard.errors.TamperedError: ...
    """


class WorkerError(DsguardError):
    """Worker processes died again and again, or did not do what they were given.

    Examples
    --------
    >>> import dsguard
    >>> from dsguard.bulk import WorkerError
    >>> issubclass(WorkerError, dsguard.DsguardError)
    True
    """


class MissingExtraError(DsguardError, ImportError):
    """An optional dependency is not installed.

    Examples
    --------
    >>> import dsguard
    >>> issubclass(dsguard.MissingExtraError, ImportError)
    True
    """

    @classmethod
    def of(cls, package: str, extra: str) -> MissingExtraError:
        """Build the error for a missing `package` that comes with `dsguard[extra]`."""
        return cls(f"{package} is not installed; run: pip install 'dsguard[{extra}]'")


def raise_if_of_machine(error: Exception, what: str) -> None:
    """Raise an error of the machine as such: it says nothing of what was to be read.

    Those are a full disk, a missing permission, too many open files or a lost connection. Readers
    that take any error for damage call this first.

    Raises
    ------
    InputError
        If it is one.
    """
    for cause in (error, error.__context__):  # zipfile makes one of its own of an OSError
        if not isinstance(cause, OSError):
            continue
        has_number = cause.errno not in (None, errno.EINVAL)  # which damage leads to as well
        if has_number or isinstance(cause, (ConnectionError, PermissionError, TimeoutError)):
            msg = f"{what} cannot be read: {cause.strerror or str(cause) or type(cause).__name__}"
            raise InputError(msg) from error
