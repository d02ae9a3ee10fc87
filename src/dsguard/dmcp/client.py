"""The client: what owners and users do with a service, from Python."""

from __future__ import annotations

import io
import ipaddress
import time
import warnings
from collections import deque
from collections.abc import Container, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

from dsguard._atomic import write_whole
from dsguard._published import check_unpublished
from dsguard.dmcp import frames
from dsguard.dmcp.names import check_dataset_name
from dsguard.dmcp.pace import PATIENCE, Pace
from dsguard.dmcp.secret_text import check_token
from dsguard.errors import DsguardError, InputError, MissingExtraError
from dsguard.formats.limits import load_json
from dsguard.keys import DatasetKey
from dsguard.keys.image_keys import IMAGE_ID_BYTES, IMAGE_KEY_BYTES, bytes_of_size

_IMAGES = 2000
_BYTES = 4 << 20
_AT_ONCE = 3
_IDS = 100_000
_ATTEMPTS = 90
_BUSY = ("busy",)
_WAITED_FOR = ("busy", "rate")
"""Codes of refusals that pass in a minute: a run over a large set may well ask too often."""

_TOO_MANY = ("too-many", "too-large")

_MOST_JSON = 1 << 24
_MOST_LONGER = 16
"""So many times as long as what was sent may be what comes back, and `_MOST_JSON` bytes."""


class RefusedError(DsguardError):
    """The service did not do what was asked; the message says why, and what to do.

    Attributes
    ----------
    status : int
        Of HTTP.
    code : str
    """

    def __init__(
        self, message: str, index: int | None = None, status: int = 0, code: str = ""
    ) -> None:
        super().__init__(message, index)
        self.status, self.code = status, code


class RestoredImage(NamedTuple):
    """An image that came back; `data` is a PNG file, empty where `error` says why there is none."""

    name: str
    data: bytes
    error: str


class _Answer(NamedTuple):
    """The images that a request brought, and why there are no more."""

    images: list[RestoredImage]
    refusal: RefusedError | None


class _Response(NamedTuple):
    """The answer of a service."""

    url: str
    status: int
    content: bytes

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300


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
        try:
            import httpx
        except ImportError:
            raise MissingExtraError.of(package="httpx", extra="dmcp") from None
        is_local = check_address(url, allow_http=allow_http)
        self._token = check_token(token or "")
        headers = {"accept-encoding": "identity"}
        if self._token:
            headers["authorization"] = f"Bearer {self._token}"
        self._unreachable: tuple[type[Exception], ...] = (httpx.TransportError,)
        self._pace = Pace()
        self._most_ids = _IDS  # of a request, as far as the service was found to take them
        self._http = httpx.Client(
            base_url=url,
            headers=headers,
            timeout=httpx.Timeout(PATIENCE),
            trust_env=not is_local,  # no proxy stands between two programs of one machine
        )

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def register(self, name: str) -> str:
        """Make an account; return its token, which nobody can show again."""
        return str(self._object("POST", "/v1/users", {"name": name}, token=str)["token"])

    def me(self) -> dict[str, Any]:
        """Return whose token this is."""
        return self._object("GET", "/v1/me", name=str)

    def deposit(
        self, dataset: str, key: DatasetKey | None = None, title: str = ""
    ) -> dict[str, Any]:
        """Deposit a dataset, or another version of its key; without a key the service makes it."""
        content: dict[str, Any] = {"name": check_dataset_name(dataset), "title": title}
        if key is not None:
            content["secret"] = key.secret.hex()
        return self._object("POST", "/v1/datasets", content, version=int, key_id=str)

    def datasets(self) -> list[dict[str, Any]]:
        """Return all datasets, and one's rights to each."""
        found = self._objects("/v1/datasets", name=str, title=str, rights=list)
        if not all(isinstance(right, str) for each in found for right in each["rights"]):
            msg = f"the service at {self._http.base_url} tells rights that are none; is it a DMCP?"
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
        path, headers = f"{_path_of(dataset)}/samples", {"content-type": frames.CONTENT_TYPE}
        answer = self._answer("PUT", path, content=body, headers=headers)
        return int(_fields(answer, _parsed(answer), samples=int)["samples"])

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
        return self._object("POST", f"{_path_of(dataset)}/grants", asked, user=str, right=str)

    def revoke(self, dataset: str, user: str, right: str = "restore") -> int:
        """Take a right back; return how many grants that ended."""
        asked = {"user": user, "right": right}
        answer = self._object("POST", f"{_path_of(dataset)}/revoke", asked, ended=int)
        return int(answer["ended"])

    def new_webhook(self, dataset: str) -> str:
        """Make the secret that messages about approvals of a dataset are signed with."""
        return str(self._object("POST", f"{_path_of(dataset)}/webhook", secret=str)["secret"])

    def remove_webhook(self, dataset: str) -> None:
        """Have no more messages about approvals of a dataset taken."""
        self._answer("DELETE", f"{_path_of(dataset)}/webhook")

    def grants(self, dataset: str) -> list[dict[str, Any]]:
        """Return all grants of a dataset."""
        return self._objects(f"{_path_of(dataset)}/grants", user=str, right=str)

    def request(self, dataset: str, message: str = "") -> dict[str, Any]:
        """Ask for the right to restore."""
        path = f"{_path_of(dataset)}/requests"
        return self._object("POST", path, {"message": message}, **_REQUEST)

    def requests(self) -> list[dict[str, Any]]:
        """Return one's requests, and those that one can answer."""
        return self._objects("/v1/requests", **_REQUEST)

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
        return self._object("POST", f"/v1/requests/{number}", content, **_REQUEST)

    def export_key(self, dataset: str, version: int) -> DatasetKey:
        """Take a key away from the service."""
        path = f"{_path_of(dataset)}/keys/{version}/export"
        answer = self._object("POST", path, secret=str)
        try:
            return DatasetKey(bytes.fromhex(answer["secret"]))
        except ValueError:
            msg = "the service answered with something that is no key"
            raise RefusedError(msg) from None

    def key_versions(self, dataset: str) -> list[dict[str, Any]]:
        """Return the versions of a key, without the key."""
        return self._objects(f"{_path_of(dataset)}/keys", version=int, key_id=str)

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
        content = self._send("POST", path, b"".join(ids), "application/octet-stream", _WAITED_FOR)
        if len(content) != IMAGE_KEY_BYTES * len(ids):
            msg = "the service answered with something that is no keys of images"
            raise RefusedError(msg)
        starts = range(0, len(content), IMAGE_KEY_BYTES)
        return [content[start : start + IMAGE_KEY_BYTES] for start in starts]

    def audit(self, dataset: str, after: int = 0, limit: int = 100) -> list[dict[str, Any]]:
        """Return the audit trail of a dataset."""
        path = f"{_path_of(dataset)}/audit?after={after}&limit={limit}"
        entries = self._objects(path, number=int)
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
        bodies = _bodies(images)
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
            headers = {"content-type": "application/x-tar"}
            answer = self._answer("POST", path, content=body, headers=headers)
        return str(_fields(answer, _parsed(answer), number=str)["number"])

    def job(self, number: str) -> dict[str, Any]:
        """Return how far a job is."""
        fields: dict[str, type] = {"state": str, "message": str, "done": int, "failed": int}
        return self._object("GET", f"/v1/jobs/{quote(number, safe='')}", **fields)

    def fetch_job(self, number: str, tar: Path) -> None:
        """Write the restored images of a finished job to a tar, whole or not at all.

        Raises
        ------
        InputError
            If it would lie in a folder that is published.
        """
        check_unpublished(tar, "tar")
        path = f"/v1/jobs/{quote(number, safe='')}/result"
        try:
            with write_whole(tar) as file, self._stream("GET", path) as answer:
                if not answer.is_success:
                    raise self._refusal(_read(answer, _MOST_JSON))
                for piece in _pieces(answer):
                    file.write(piece)
        except self._unreachable as error:
            raise self._silent(error) from None

    def remove_job(self, number: str) -> None:
        """Remove a job with its result."""
        self._answer("DELETE", f"/v1/jobs/{quote(number, safe='')}")

    def _restore(self, dataset: str, names: list[str], body: bytes) -> _Answer:
        path = f"{_path_of(dataset)}/restore"
        try:
            content = self._send("POST", path, body, frames.CONTENT_TYPE)
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
        errors = ["" if frame.status == frames.OK else frame.status for frame in answer]
        restored = [
            RestoredImage(frame.name, frame.data, error)
            for frame, error in zip(answer, errors, strict=True)
        ]
        return _Answer(restored, refusal)

    def _object(
        self, method: str, path: str, content: Any = None, **fields: type
    ) -> dict[str, Any]:
        """Return an answer that is one object with these fields."""
        answer = self._answer(method, path, json=content)
        return _fields(answer, _parsed(answer), **fields)

    def _objects(self, path: str, **fields: type) -> list[dict[str, Any]]:
        """Return an answer that is a list of objects with these fields."""
        answer = self._answer("GET", path)
        found = _parsed(answer)
        if not isinstance(found, list):
            raise _no_service(answer)
        return [_fields(answer, each, **fields) for each in found]

    def _send(
        self, method: str, path: str, body: bytes, kind: str, waited_for: Container[str] = _BUSY
    ) -> bytes:
        most = _MOST_JSON + _MOST_LONGER * len(body)
        sent = {"content": body, "headers": {"content-type": kind}}
        return self._answer(method, path, most, waited_for, **sent).content

    def _answer(
        self,
        method: str,
        path: str,
        most: int = _MOST_JSON,
        waited_for: Container[str] = _BUSY,
        **content: Any,
    ) -> _Response:
        """Return what the service answers; while it is busy, ask again."""
        for attempt in range(_ATTEMPTS):
            try:
                with self._stream(method, path, **content) as stream:
                    response = _read(stream, most)
            except self._unreachable as error:
                raise self._silent(error) from None  # what it came from may tell the token
            if response.is_success:
                return response
            refusal = self._refusal(response)
            if refusal.code not in waited_for:
                break
            time.sleep(min(1.0, 0.05 * 2**attempt))
        raise refusal

    def _stream(self, method: str, path: str, **content: Any) -> Any:
        return self._http.stream(method, path, extensions=self._pace.begin(), **content)

    def _refusal(self, response: _Response) -> RefusedError:
        """Return what the service said of a request that it did not grant, without the token."""
        refusal = _refusal(response)
        if self._token and self._token in refusal.message:
            told = refusal.message.replace(self._token, "(the token)")
            return RefusedError(told, None, refusal.status, refusal.code)
        return refusal

    def _silent(self, error: Exception) -> RefusedError:
        """Return what is said of a service that does not answer, without the token."""
        told = str(error)
        if self._token and self._token in told:
            told = type(error).__name__
        return RefusedError(f"the service at {self._http.base_url} does not answer: {told}")


_REQUEST: dict[str, type] = {
    "number": int, "dataset": str, "user": str, "message": str, "state": str, "reason": str
}  # fmt: skip


def _path_of(dataset: str) -> str:
    return f"/v1/datasets/{check_dataset_name(dataset)}"


def _limits(quota: int | None, lease_hours: int | None, *, distinct: bool) -> dict[str, Any]:
    """Return the limits that are given: a service that is older than one knows it not."""
    given = {"quota": quota, "distinct": distinct or None, "lease_hours": lease_hours}
    return {name: value for name, value in given.items() if value is not None}


def _read(stream: Any, most: int) -> _Response:
    """Read an answer to its end; one that is longer than that is not from a service."""
    pieces, left = [], most
    for piece in _pieces(stream):
        left -= len(piece)
        if left < 0:
            msg = f"{stream.url} answered with more than {most} bytes; is it the address of a DMCP?"
            raise RefusedError(msg)
        pieces.append(piece)
    return _Response(str(stream.url), stream.status_code, b"".join(pieces))


def _pieces(stream: Any) -> Iterator[bytes]:
    """Yield an answer as it comes; a compressed one, which was not asked for, could be a bomb."""
    if stream.headers.get("content-encoding", "identity") != "identity":
        msg = f"{stream.url} answered with compressed content; is it the address of a DMCP?"
        raise RefusedError(msg)
    yield from stream.iter_bytes()


def _parsed(response: _Response) -> Any:
    try:
        return load_json(response.content)
    except (ValueError, RecursionError):
        raise _no_service(response) from None


def _fields(response: _Response, found: object, **fields: type) -> dict[str, Any]:
    """Return an object of an answer, which has these fields."""
    if not isinstance(found, dict) or not all(
        isinstance(found.get(name), kind) for name, kind in fields.items()
    ):
        raise _no_service(response)
    return found


def _refusal(response: _Response) -> RefusedError:
    """Return what the service said of a request that it did not grant."""
    try:
        problem = _fields(response, _parsed(response), message=str, remedy=str, code=str)
    except RefusedError as error:
        return error
    told = f"{problem['message']}; {problem['remedy']}"
    return RefusedError(told, None, response.status, problem["code"])


def _no_service(response: _Response) -> RefusedError:
    msg = f"{response.url} answered with status {response.status}; is it the address of a DMCP?"
    return RefusedError(msg, None, response.status)


def check_address(url: str, *, allow_http: bool) -> bool:
    """Refuse what is no address, or sends secrets in clear; tell whether it is this machine."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        is_address = parts.scheme in ("http", "https") and bool(host) and (parts.port or 1) > 0
    except ValueError:
        is_address = False
    if not is_address:
        msg = f"{url!r} is no address of a service; it begins with http:// or https://"
        raise InputError(msg)
    if parts.username or parts.password:
        msg = "the address of a service has no user or password in it; give a token"
        raise InputError(msg)
    is_local = _is_local(host)
    if parts.scheme == "http" and not is_local:
        if not allow_http:
            msg = (
                f"{url!r} is without TLS: everybody on the way could read tokens, keys and images; "
                "use https://, or allow it: DSGUARD_DMCP_ALLOW_HTTP=1, in Python allow_http=True"
            )
            raise InputError(msg)
        warnings.warn(f"tokens, keys and images travel in clear to {url!r}", stacklevel=3)
    return is_local


def _is_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _bodies(images: Iterable[tuple[str, bytes]]) -> Iterator[tuple[list[str], bytes]]:
    """Yield names and frames of some images at a time."""
    names: list[str] = []
    pieces: list[bytes] = []
    held = 0
    for name, data in images:
        try:
            pieces.append(frames.packed(name, "", data))
        except frames.BadFrameError as error:
            raise InputError(str(error)) from None
        names.append(name)
        held += len(data)
        if len(pieces) == _IMAGES or held >= _BYTES:
            yield names, b"".join(pieces)
            names, pieces, held = [], [], 0
    if pieces:
        yield names, b"".join(pieces)


def names_in(folder: Path) -> list[str]:
    """Return the names of the images under a folder."""
    from dsguard.formats.folder.reader import FolderSource
    from dsguard.formats.places import LocalPlace

    return FolderSource(LocalPlace(folder)).names()


def read_images(
    folder: Path, names: Iterable[str], failed: dict[str, DsguardError]
) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of protected images under a folder; others go to `failed`.

    Clean images, of a wrong folder, are sent to no service.
    """
    from dsguard.formats.folder.reader import read_or_error
    from dsguard.formats.places import LocalPlace

    place = LocalPlace(folder)
    for name in names:
        data = read_or_error(partial(place.read, name))
        error = data if isinstance(data, DsguardError) else _fault_of(data)
        if isinstance(data, bytes) and error is None:
            yield name, data
        elif error is not None:
            failed[name] = error


def _fault_of(data: bytes) -> DsguardError | None:
    """Return the reason why an image file is not sent; None for a protected one."""
    from dsguard.api import are_protected
    from dsguard.formats.images import decode_files

    groups, errors = decode_files([data])
    if errors:
        return errors[0]
    if any(group.sidecars or are_protected(group.images).any() for group in groups):
        return None
    return InputError("is not protected, and was not sent; give the folder of protected images")
