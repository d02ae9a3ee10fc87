"""Sample images of a dataset: all see them as published, and restored who may restore."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from itertools import islice
from typing import TYPE_CHECKING

from sqlalchemy import delete, select

from dsguard.dmcp.access import Credential, Refused, Service
from dsguard.dmcp.frames import OK
from dsguard.dmcp.model import Sample
from dsguard.dmcp.restoring import Restored, Upload, measured, plain_file, restored_chunks
from dsguard.dmcp.state import refusing_where_workers_die

if TYPE_CHECKING:
    from dsguard.dmcp.audit import Origin
    from dsguard.dmcp.model import Dataset, User
    from dsguard.dmcp.restoring import Chunk, Ring
    from dsguard.dmcp.state import Platform

MOST = 12
MOST_BYTES = 4 << 20
"""Of all samples of a dataset: a page has them within it."""


def published(service: Service, dataset: Dataset) -> list[bytes]:
    """Return the samples of a dataset as its owner published them: PNG files."""
    own = select(Sample.file).where(Sample.dataset_id == dataset.id).order_by(Sample.id)
    return list(service.session.scalars(own))


def admit(platform: Platform, origin: Origin, user: User, name: str) -> None:
    """Refuse who may not choose the samples of a dataset, before any image is taken."""
    with platform.service(origin) as service:
        service.granted(user, service.dataset_named(name), "manage")


def replace(
    platform: Platform,
    origin: Origin,
    user: User,
    name: str,
    images: Iterable[Upload],
    credential: Credential,
) -> int:
    """Take images in place of the samples of a dataset, after `admit`; return how many there are.

    Raises
    ------
    Refused
        If one is not protected under a key of the dataset, or they are too many or too large; the
        samples stay as they were then.
    """
    with platform.service(origin) as service:
        dataset = service.dataset_named(name)
        ring = service.ring(dataset)
    files = _checked(platform, ring, list(islice(images, MOST + 1)), name)
    with platform.service(origin) as service:
        service.user_of(credential)
        service.granted(user, dataset, "manage")
        service.session.execute(delete(Sample).where(Sample.dataset_id == dataset.id))
        service.session.add_all(Sample(dataset_id=dataset.id, file=file) for file in files)
        digest = hashlib.sha256(b"".join(hashlib.sha256(file).digest() for file in files))
        told = f"{len(files)} samples"
        service.audit("samples", told, dataset=name, digest=digest.hexdigest())
    return len(files)


def _checked(platform: Platform, ring: Ring, images: list[Upload], name: str) -> list[bytes]:
    """Return images as they are shown to all, if each is protected under a key of a ring."""
    if len(images) > MOST:
        raise Refused(
            422, "too-many", f"a dataset has at most {MOST} samples", "send fewer images", name
        )
    most = platform.settings.image_pixels
    with refusing_where_workers_die():
        plain = [
            platform.workers.submit(plain_file, measured(image, most)[0]).result()
            for image in images
        ]
        chunks = list(restored_chunks(plain, ring, platform.workers, _AllowsAll(), most))
    for image in (image for chunk in chunks for image in chunk.images):
        if image.status != OK:
            raise Refused(
                422, "not-protected", f"{image.name} cannot be a sample: {image.status}",
                "samples are public: send protected images, as the dataset has them", name,
            )  # fmt: skip
    if (size := sum(len(image.data) for image in plain)) > MOST_BYTES:
        raise Refused(
            413, "too-large", f"these samples have {size} bytes; {MOST_BYTES} are allowed",
            "send fewer or smaller images", name,
        )  # fmt: skip
    return [image.data for image in plain]


class _AllowsAll:
    """Notes nothing: what is restored to be checked does not leave."""

    def allow(self, chunk: Chunk) -> None:
        """Allow it."""


def restored(
    platform: Platform,
    origin: Origin,
    user: User,
    name: str,
    files: list[bytes],
    credential: Credential,
) -> list[Restored]:
    """Return samples of a dataset as who may restore it sees them.

    They count against no quota, as they are few, and the same each time. The trail tells who saw
    them in which hour.
    """
    with platform.place(user):
        with platform.service(origin) as service:
            ring = service.ring(service.dataset_named(name))
        images = [Upload(f"sample-{n}.png", file) for n, file in enumerate(files, 1)]
        meter = _Noted(platform, origin, user, name, credential)
        most = platform.settings.image_pixels
        with refusing_where_workers_die():
            chunks = list(restored_chunks(images, ring, platform.workers, meter, most))
    return [image for chunk in chunks for image in chunk.images]


class _Noted:
    """Notes samples in the trail before they leave, if who asks may still restore."""

    def __init__(
        self, platform: Platform, origin: Origin, user: User, name: str, credential: Credential
    ) -> None:
        self._platform, self._origin = platform, origin
        self._user, self._name, self._credential = user, name, credential

    def allow(self, chunk: Chunk) -> None:
        """Write a line, once an hour for the same images and user; or refuse."""
        what = "samples", self._user.name, self._name, chunk.digest
        platform = self._platform
        with platform.noting(*what) as is_new, platform.service(self._origin) as service:
            service.user_of(self._credential)
            service.granted(self._user, service.dataset_named(self._name), "restore")
            if is_new:
                service.audit(
                    "show-samples",
                    f"{chunk.good} of {len(chunk.images)} samples",
                    dataset=self._name,
                    key_version=max(chunk.versions, default=None),
                    images=chunk.good,
                    digest=chunk.digest,
                )
