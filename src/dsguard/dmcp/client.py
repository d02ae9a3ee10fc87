"""The client: what owners and users do with a service, from Python."""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from dsguard._atomic import write_whole
from dsguard._published import check_unpublished
from dsguard.codecs.content import fault_of
from dsguard.dmcp import frames
from dsguard.dmcp.connection import Connection, RefusedError
from dsguard.dmcp.names import check_dataset_name
from dsguard.dmcp.outgoing import requests_of
from dsguard.errors import InputError
from dsguard.keys import DatasetKey
from dsguard.keys.image_keys import IMAGE_ID_BYTES, IMAGE_KEY_BYTES, bytes_of_size

_AT_ONCE = 3
_IDS = 100_000
_WAITED_FOR = ("busy", "rate")
"""Codes of refusals that pass in a minute: a run over a large set may well ask too often."""

_TOO_MANY = ("too-many", "too-large")


class RestoredImage(NamedTuple):
    """An image that came back.

    `data` is the file that was carried, or else a PNG file; where `error` says why there is none,
    it is empty.
    """

    name: str
    data: bytes
    error: str


class _Answer(NamedTuple):
    """The images that a request brought, and why there are no more."""

    images: list[RestoredImage]
    refusal: RefusedError | None


class Client:
    """A connection to a service.

    Parameters
    ----------
    url : str
    token : str, optional
        From `register`; not needed for that.
    allow_http : bool
        Whether tokens and keys may travel in clear to another machine; not by default.

    Raises
    ------
    InputError
        If the address or the token is none, or what is sent to it could be read on the way.
    """

    def __init__(self, url: str, token: str | None = None, *, allow_http: bool = False) -> None:
        self._service = Connection(url, token, allow_http=allow_http)
        self._most_ids = _IDS  # of a request, as far as the service was found to take them

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._service.close()

    def register(self, name: str) -> str:
        """Make an account; return its token, which nobody can show again."""
        return str(self._service.object("POST", "/v1/users", {"name": name}, token=str)["token"])

    def me(self) -> dict[str, Any]:
        """Return whose token this is."""
        return self._service.object("GET", "/v1/me", name=str)

    def deposit(
        self, dataset: str, key: DatasetKey | None = None, title: str = ""
    ) -> dict[str, Any]:
        """Deposit a dataset, or another version of its key; without a key the service makes it."""
        content: dict[str, Any] = {"name": check_dataset_name(dataset), "title": title}
        if key is not None:
            content["secret"] = key.secret.hex()
        return self._service.object("POST", "/v1/datasets", content, version=int, key_id=str)

    def datasets(self) -> list[dict[str, Any]]:
        """Return all datasets, and one's rights to each."""
        found = self._service.objects("/v1/datasets", name=str, title=str, rights=list)
        if not all(isinstance(right, str) for each in found for right in each["rights"]):
            msg = f"the service at {self._service.url} tells rights that are none; is it a DMCP?"
            raise RefusedError(msg)
        return found

    def replace_samples(self, dataset: str, images: Iterable[tuple[str, bytes]]) -> int:
        """Show a dataset by protected images of it, at most 12, or none; return how many.

        Parameters
        ----------
        dataset : str
        images : iterable of tuple of str and bytes
            Names and protected image files. Everybody with an account will see them.
        """
        try:
            body = b"".join(frames.packed(name, "", data) for name, data in images)
        except frames.BadFrameError as error:
            raise InputError(str(error)) from None
        path = f"{_path_of(dataset)}/samples"
        shown = self._service.upload("PUT", path, body, frames.CONTENT_TYPE, samples=int)
        return int(shown["samples"])

    def grant(
        self,
        dataset: str,
        user: str,
        right: str = "restore",
        *,
        not_before: datetime | None = None,
        expires: datetime | None = None,
        quota: int | None = None,
        distinct: bool = False,
        lease_hours: int | None = None,
        source: str = "",
    ) -> dict[str, Any]:
        """Give a right: ``"restore"``, ``"manage"`` or ``"export-key"``.

        Parameters
        ----------
        dataset, user, right : str
        not_before, expires : datetime, optional
        quota : int, optional
            Images.
        distinct : bool
            Whether an image whose key is asked for again is not counted again.
        lease_hours : int, optional
            After so many hours it is, where `distinct`; by default not before the grant ends.
        source : str
            The hub that approved it, where one did.
        """
        times = {"not_before": not_before, "expires": expires}
        content = {name: time and time.isoformat() for name, time in times.items()}
        limits = _limits(quota, lease_hours, distinct=distinct)
        asked = {"user": user, "right": right, "source": source, **limits, **content}
        return self._service.object(
            "POST", f"{_path_of(dataset)}/grants", asked, user=str, right=str
        )

    def revoke(self, dataset: str, user: str, right: str = "restore") -> int:
        """Take a right back; return how many grants that ended."""
        asked = {"user": user, "right": right}
        answer = self._service.object("POST", f"{_path_of(dataset)}/revoke", asked, ended=int)
        return int(answer["ended"])

    def new_webhook(self, dataset: str) -> str:
        """Make the secret that messages about approvals of a dataset are signed with."""
        return str(
            self._service.object("POST", f"{_path_of(dataset)}/webhook", secret=str)["secret"]
        )

    def remove_webhook(self, dataset: str) -> None:
        """Have no more messages about approvals of a dataset taken."""
        self._service.answer("DELETE", f"{_path_of(dataset)}/webhook")

    def grants(self, dataset: str) -> list[dict[str, Any]]:
        """Return all grants of a dataset."""
        return self._service.objects(f"{_path_of(dataset)}/grants", user=str, right=str)

    def request(self, dataset: str, message: str = "") -> dict[str, Any]:
        """Ask for the right to restore."""
        path = f"{_path_of(dataset)}/requests"
        return self._service.object("POST", path, {"message": message}, **_REQUEST)

    def requests(self) -> list[dict[str, Any]]:
        """Return one's requests, and those that one can answer."""
        return self._service.objects("/v1/requests", **_REQUEST)

    def answer(
        self,
        number: int,
        *,
        accept: bool,
        reason: str = "",
        quota: int | None = None,
        distinct: bool = False,
        lease_hours: int | None = None,
    ) -> dict[str, Any]:
        """Accept a request, with limits as `grant` has them, or refuse it."""
        limits = _limits(quota, lease_hours, distinct=distinct)
        content = {"accept": accept, "reason": reason, **limits}
        return self._service.object("POST", f"/v1/requests/{number}", content, **_REQUEST)

    def export_key(self, dataset: str, version: int) -> DatasetKey:
        """Take a key away from the service."""
        path = f"{_path_of(dataset)}/keys/{version}/export"
        answer = self._service.object("POST", path, secret=str)
        try:
            return DatasetKey(bytes.fromhex(answer["secret"]))
        except ValueError:
            msg = "the service answered with something that is no key"
            raise RefusedError(msg) from None

    def key_versions(self, dataset: str) -> list[dict[str, Any]]:
        """Return the versions of a key, without the key."""
        return self._service.objects(f"{_path_of(dataset)}/keys", version=int, key_id=str)

    def keys(
        self, dataset: str, ids: Iterable[bytes], key_id: str | None = None
    ) -> dict[bytes, bytes]:
        """Return the keys of images of a dataset, 32 bytes each, by image id.

        Parameters
        ----------
        dataset : str
        ids : iterable of bytes
            16 bytes each, as `dsguard.image_ids` tells them; each counts as an image.
        key_id : str, optional
            That the images tell (`dsguard.inspect`); by default the newest of the dataset.

        Raises
        ------
        RefusedError
            If it is not allowed, or not any more.
        InputError
            If one is no id.
        """
        known = [bytes_of_size(each, IMAGE_ID_BYTES, "an image id") for each in ids]
        keys: dict[bytes, bytes] = {}
        start = 0
        while start < len(known):
            some = known[start : start + min(_IDS, self._most_ids)]
            try:
                keys.update(zip(some, self._keys(dataset, some, key_id), strict=True))
            except RefusedError as refusal:
                if refusal.code not in _TOO_MANY or len(some) == 1:
                    raise
                self._most_ids = len(some) // 2
            else:
                start += len(some)
        return keys

    def _keys(self, dataset: str, ids: list[bytes], key_id: str | None) -> list[bytes]:
        path = f"{_path_of(dataset)}/image-keys" + (f"?key_id={key_id}" if key_id else "")
        content = self._service.send(path, b"".join(ids), "application/octet-stream", _WAITED_FOR)
        if len(content) != IMAGE_KEY_BYTES * len(ids):
            msg = "the service answered with something that is no keys of images"
            raise RefusedError(msg)
        starts = range(0, len(content), IMAGE_KEY_BYTES)
        return [content[start : start + IMAGE_KEY_BYTES] for start in starts]

    def audit(self, dataset: str, after: int = 0, limit: int = 100) -> list[dict[str, Any]]:
        """Return the audit trail of a dataset."""
        path = f"{_path_of(dataset)}/audit?after={after}&limit={limit}"
        entries = self._service.objects(path, number=int)
        if entries and entries[-1]["number"] <= after:
            msg = "the service answered with lines of the trail that were not asked for"
            raise RefusedError(msg)
        return entries

    def restore(self, dataset: str, images: Iterable[tuple[str, bytes]]) -> Iterator[RestoredImage]:
        """Yield images as the service restores them, in order, in bounded memory.

        Parameters
        ----------
        dataset : str
        images : iterable of tuple of str and bytes
            Names and protected image files.

        Raises
        ------
        RefusedError
            If it is not allowed, or not any more: after the images that came before that.
        """
        check_dataset_name(dataset)  # before any image is read
        waiting: deque[Future[_Answer]] = deque()
        bodies = requests_of(images)
        refusal: RefusedError | None = None
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            try:
                for names, body in islice(bodies, _AT_ONCE):
                    waiting.append(pool.submit(self._restore, dataset, names, body))
                while waiting:
                    answer = waiting.popleft().result()
                    refusal = refusal or answer.refusal
                    for names, body in islice(bodies, 0 if refusal else 1):
                        waiting.append(pool.submit(self._restore, dataset, names, body))
                    yield from answer.images
            finally:
                for future in waiting:
                    future.cancel()
        if refusal is not None:
            raise refusal

    def begin_job(self, dataset: str, tar: Path) -> str:
        """Have the images of a tar restored in the background; return the number of the job."""
        with tar.open("rb") as body:
            path = f"{_path_of(dataset)}/jobs"
            begun = self._service.upload("POST", path, body, "application/x-tar", number=str)
        return str(begun["number"])

    def job(self, number: str) -> dict[str, Any]:
        """Return how far a job is."""
        fields: dict[str, type] = {"state": str, "message": str, "done": int, "failed": int}
        return self._service.object("GET", f"/v1/jobs/{quote(number, safe='')}", **fields)

    def fetch_job(self, number: str, tar: Path) -> None:
        """Write the restored images of a finished job to a tar, whole or not at all.

        Raises
        ------
        InputError
            If it would lie in a folder that is published.
        """
        check_unpublished(tar, "tar")
        path = f"/v1/jobs/{quote(number, safe='')}/result"
        with write_whole(tar) as file:
            self._service.fetch(path, file)
            check_unpublished(tar, "tar")  # by a run that began meanwhile

    def remove_job(self, number: str) -> None:
        """Remove a job with its result."""
        self._service.answer("DELETE", f"/v1/jobs/{quote(number, safe='')}")

    def _restore(self, dataset: str, names: list[str], body: bytes) -> _Answer:
        path = f"{_path_of(dataset)}/restore"
        try:
            content = self._service.send(path, body, frames.CONTENT_TYPE)
            answer = list(frames.read(io.BytesIO(content), len(content)))
        except RefusedError as error:
            return _Answer([], error)
        except frames.BadFrameError as error:
            return _Answer([], RefusedError(f"the answer of the service is damaged: {error}"))
        refusal = None
        if answer and not answer[-1].name and answer[-1].status.startswith(frames.REFUSED):
            told = answer.pop().status.removeprefix(frames.REFUSED)
            refusal = RefusedError(told, None, 403, "refused")
        if [frame.name for frame in answer] != names[: len(answer) if refusal else None]:
            msg = "the service answered with other images than it was asked for"
            return _Answer([], RefusedError(msg))  # names may become names of files
        return _Answer(list(map(_restored, answer)), refusal)


def _restored(frame: frames.Frame) -> RestoredImage:
    """Return the image of a frame, unless it is a program: a service may send anything."""
    error = "" if frame.status == frames.OK else frame.status
    if not error and (fault := fault_of(frame.name.rpartition("/")[2], frame.data)):
        error = f"the service sent a file which {fault}"
    return RestoredImage(frame.name, b"" if error else frame.data, error)


_REQUEST: dict[str, type] = {
    "number": int, "dataset": str, "user": str, "message": str, "state": str, "reason": str
}  # fmt: skip


def _path_of(dataset: str) -> str:
    return f"/v1/datasets/{check_dataset_name(dataset)}"


def _limits(quota: int | None, lease_hours: int | None, *, distinct: bool) -> dict[str, Any]:
    """Return the limits that are given: a service that is older than one knows it not."""
    given = {"quota": quota, "distinct": distinct or None, "lease_hours": lease_hours}
    return {name: value for name, value in given.items() if value is not None}
