"""Images and ids of a request or job: counted, limited, in the trail before anything leaves."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, suppress
from typing import TYPE_CHECKING, NamedTuple

from dsguard.dmcp.access import Credential, Refused, Service
from dsguard.dmcp.frames import OK
from dsguard.dmcp.restoring import Restored
from dsguard.keys.image_keys import IMAGE_ID_BYTES

if TYPE_CHECKING:
    from dsguard.dmcp.model import Grant, User
    from dsguard.dmcp.restoring import Chunk, Upload

_TOLD_IN_FULL = 100
_LIKE_OTHERS = "failed too"
"""Said of images after that many failures: eight bytes of a frame get no answer of eighty."""


class Released(NamedTuple):
    """Keys of images, 32 bytes each, and the key of the dataset that they are derived from."""

    version: int
    key_id: str
    keys: bytes


class Meter:
    """Counts the images of one request or job.

    Parameters
    ----------
    begin : callable
        Begins a transaction.
    user : User
    dataset : str
    credential : Credential or None
        Looked at before each chunk; None for a job, which goes on without.
    most, a_day : int
        Images of the request, and of the user on one day.
    done : int
        Images that came before, of a job that goes on.
    """

    def __init__(
        self,
        begin: Callable[[], AbstractContextManager[Service]],
        user: User,
        dataset: str,
        credential: Credential | None,
        most: int,
        a_day: int,
        done: int = 0,
    ) -> None:
        self._begin, self._user, self._dataset = begin, user, dataset
        self._credential, self._most, self._a_day = credential, most, a_day
        self._sent = self._counted = done
        self._told = 0
        self._failed, self._digest = 0, hashlib.sha256()

    def sent(self, images: Iterable[Upload]) -> Iterator[Upload]:
        """Yield images as they are read, no more than are allowed.

        Where they turn out to be too many or damaged, those that were worked on for nothing are
        counted as well.
        """
        try:
            for image in images:
                if self._sent >= self._most:
                    raise _too_many(self._most, "images", ", or begin a job")
                self._sent += 1
                yield image
        except Refused:
            self._give_up()
            raise

    def allow(self, chunk: Chunk) -> None:
        """Count a chunk before it leaves, failed images like good ones; or refuse it.

        Chunks of which nothing can be restored get one line together, at the end.
        """
        with self._begin() as service:
            grant = self._grant(service)
            service.take(grant, self._user, len(chunk.images), self._a_day)
            if chunk.good:
                service.audit(
                    "restore",
                    f"{chunk.good} of {len(chunk.images)} images",
                    dataset=self._dataset,
                    key_version=max(chunk.versions, default=None),
                    images=chunk.good,
                    digest=chunk.digest,
                )
            else:
                self._failed += len(chunk.images)
                self._digest.update(bytes.fromhex(chunk.digest))
        self._counted += len(chunk.images)

    def release(self, ids: bytes, key_id: str | None) -> Released:
        """Count ids like images that are sent, and return their keys; or refuse them all."""
        count = len(ids) // IMAGE_ID_BYTES
        if count > self._most:
            raise _too_many(self._most, "ids")
        with self._begin() as service:
            grant = self._grant(service)
            version, key = service.key_named(grant.dataset, key_id)
            charged = service.take_ids(grant, self._user, ids, self._a_day)
            told = f", {charged} of them counted" if grant.distinct else ""
            service.audit(
                "image-keys",
                f"{count} keys of images{told}",
                dataset=self._dataset,
                key_version=version,
                images=count,
                digest=hashlib.sha256(ids).hexdigest(),
            )
        return Released(version, key.key_id, key.keyring.image_keys(ids))

    def shortened(self, images: list[Restored]) -> list[Restored]:
        """Return results as they are told: after some failures the others are told in short."""
        if self._told >= _TOLD_IN_FULL and not any(image.status == OK for image in images):
            return [image._replace(status=_LIKE_OTHERS) for image in images]
        told = []
        for image in images:
            failed = image.status != OK
            self._told += failed
            is_short = failed and self._told > _TOLD_IN_FULL
            told.append(image._replace(status=_LIKE_OTHERS) if is_short else image)
        return told

    def close(self) -> None:
        """Write the line of what failed."""
        if not self._failed:
            return
        failed, self._failed = self._failed, 0
        with self._begin() as service:
            service.audit(
                "restore",
                f"0 of {failed} images",
                dataset=self._dataset,
                images=0,
                digest=self._digest.hexdigest(),
            )

    def _give_up(self) -> None:
        with self._begin() as service, suppress(Refused):
            images = self._sent - self._counted
            service.charge(self._grant(service), self._user, images, self._a_day)

    def _grant(self, service: Service) -> Grant:
        if self._credential is not None:
            service.user_of(self._credential)
        return service.granted(self._user, service.dataset_named(self._dataset), "restore")


def _too_many(most: int, what: str, also: str = "") -> Refused:
    return Refused(
        413, "too-many", f"{most} {what} are allowed in one go",
        f"send the {what} in several requests{also}",
    )  # fmt: skip
