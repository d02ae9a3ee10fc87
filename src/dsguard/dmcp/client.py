"""The client: what owners and users do with a service, from Python."""

from __future__ import annotations

import io
import ipaddress
import time
import warnings
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from dsguard._atomic import write_whole
from dsguard.dmcp import frames
from dsguard.dmcp.plain import check_token
from dsguard.errors import DsguardError, InputError, MissingExtraError
from dsguard.keys import DatasetKey

_IMAGES = 2000
_BYTES = 4 << 20
_AT_ONCE = 3
_ATTEMPTS = 60


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
    """What a request brought: images, and why there are no more."""

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
        try:
            import httpx
        except ImportError:
            raise MissingExtraError.of(package="httpx", extra="dmcp") from None
        is_local = _check_address(url, allow_http=allow_http)
        self._token = check_token(token or "")
        headers = {"authorization": f"Bearer {self._token}"} if self._token else {}
        self._unreachable: tuple[type[Exception], ...] = (httpx.TransportError,)
        self._http = httpx.Client(
            base_url=url,
            headers=headers,
            timeout=httpx.Timeout(120),
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
        return str(self._json("POST", "/v1/users", {"name": name})["token"])

    def me(self) -> dict[str, Any]:
        """Return whose token this is."""
        return dict(self._json("GET", "/v1/me"))

    def deposit(
        self, dataset: str, key: DatasetKey | None = None, title: str = ""
    ) -> dict[str, Any]:
        """Deposit a dataset, or another version of its key; without a key the service makes it."""
        content: dict[str, Any] = {"name": dataset, "title": title}
        if key is not None:
            content["secret"] = key.secret.hex()
        return dict(self._json("POST", "/v1/datasets", content))

    def datasets(self) -> list[dict[str, Any]]:
        """Return all datasets, and one's rights to each."""
        return list(self._json("GET", "/v1/datasets"))

    def grant(
        self,
        dataset: str,
        user: str,
        right: str = "restore",
        *,
        not_before: datetime | None = None,
        expires: datetime | None = None,
        quota: int | None = None,
    ) -> dict[str, Any]:
        """Give a right: ``"restore"``, ``"manage"`` or ``"export-key"``; quota is in images."""
        times = {"not_before": not_before, "expires": expires}
        content = {name: time and time.isoformat() for name, time in times.items()}
        asked = {"user": user, "right": right, "quota": quota, **content}
        return dict(self._json("POST", f"/v1/datasets/{dataset}/grants", asked))

    def revoke(self, dataset: str, user: str, right: str = "restore") -> int:
        """Take a right back; return how many grants that ended."""
        asked = {"user": user, "right": right}
        return int(self._json("POST", f"/v1/datasets/{dataset}/revoke", asked)["ended"])

    def grants(self, dataset: str) -> list[dict[str, Any]]:
        """Return all grants of a dataset."""
        return list(self._json("GET", f"/v1/datasets/{dataset}/grants"))

    def request(self, dataset: str, message: str = "") -> dict[str, Any]:
        """Ask for the right to restore."""
        return dict(self._json("POST", f"/v1/datasets/{dataset}/requests", {"message": message}))

    def requests(self) -> list[dict[str, Any]]:
        """Return one's requests, and those that one can answer."""
        return list(self._json("GET", "/v1/requests"))

    def answer(self, number: int, *, accept: bool, reason: str = "") -> dict[str, Any]:
        """Accept or refuse a request."""
        content = {"accept": accept, "reason": reason}
        return dict(self._json("POST", f"/v1/requests/{number}", content))

    def export_key(self, dataset: str, version: int) -> DatasetKey:
        """Take a key away from the service."""
        path = f"/v1/datasets/{dataset}/keys/{version}/export"
        answer = self._json("POST", path)
        try:
            return DatasetKey(bytes.fromhex(answer["secret"]))
        except (ValueError, KeyError, TypeError):
            msg = "the service answered with something that is no key"
            raise RefusedError(msg) from None

    def keys(self, dataset: str) -> list[dict[str, Any]]:
        """Return the versions of a key, without the key."""
        return list(self._json("GET", f"/v1/datasets/{dataset}/keys"))

    def audit(self, dataset: str, after: int = 0, limit: int = 100) -> list[dict[str, Any]]:
        """Return the audit trail of a dataset."""
        path = f"/v1/datasets/{dataset}/audit?after={after}&limit={limit}"
        return list(self._json("GET", path))

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
            path = f"/v1/datasets/{dataset}/jobs"
            headers = {"content-type": "application/x-tar"}
            return str(self._answer("POST", path, content=body, headers=headers).json()["number"])

    def job(self, number: str) -> dict[str, Any]:
        """Return how far a job is."""
        return dict(self._json("GET", f"/v1/jobs/{number}"))

    def fetch_job(self, number: str, tar: Path) -> None:
        """Write the restored images of a finished job to a tar, whole or not at all."""
        path = f"/v1/jobs/{number}/result"
        try:
            with write_whole(tar) as file, self._http.stream("GET", path) as answer:
                if not answer.is_success:
                    answer.read()
                    raise _refusal(answer)
                for piece in answer.iter_bytes():
                    file.write(piece)
        except self._unreachable as error:
            raise self._silent(error) from None

    def remove_job(self, number: str) -> None:
        """Remove a job with its result."""
        self._json("DELETE", f"/v1/jobs/{number}")

    def _restore(self, dataset: str, names: list[str], body: bytes) -> _Answer:
        path = f"/v1/datasets/{dataset}/restore"
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

    def _json(self, method: str, path: str, content: Any = None) -> Any:
        response = self._answer(method, path, json=content)
        try:
            return response.json()
        except ValueError:
            raise _no_service(response) from None

    def _send(self, method: str, path: str, body: bytes, kind: str) -> bytes:
        response = self._answer(method, path, content=body, headers={"content-type": kind})
        return bytes(response.content)

    def _answer(self, method: str, path: str, **content: Any) -> Any:
        """Return what the service answers; while it is busy, ask again."""
        for attempt in range(_ATTEMPTS):
            try:
                response = self._http.request(method, path, **content)
            except self._unreachable as error:
                raise self._silent(error) from None  # what it came from may tell the token
            if response.is_success:
                return response
            refusal = _refusal(response)
            if refusal.code != "busy":
                break
            time.sleep(min(1.0, 0.05 * 2**attempt))
        raise refusal

    def _silent(self, error: Exception) -> RefusedError:
        """Return what is said of a service that does not answer, without the token."""
        told = str(error)
        if self._token and self._token in told:
            told = type(error).__name__
        return RefusedError(f"the service at {self._http.base_url} does not answer: {told}")


def _refusal(response: Any) -> RefusedError:
    """Return what the service said of a request that it did not grant."""
    status = response.status_code
    try:
        problem = response.json()
        told = f"{problem['message']}; {problem['remedy']}"
        return RefusedError(told, None, status, problem["code"])
    except (ValueError, KeyError, TypeError):
        return _no_service(response)


def _no_service(response: Any) -> RefusedError:
    status = response.status_code
    msg = f"{response.url} answered with status {status}; is it the address of a DMCP?"
    return RefusedError(msg, None, status)


def _check_address(url: str, *, allow_http: bool) -> bool:
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
    from dsguard.formats.place import LocalPlace

    return FolderSource(LocalPlace(folder)).names()


def read_images(
    folder: Path, names: Iterable[str], failed: dict[str, DsguardError]
) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of images under a folder; those that cannot be read go to `failed`."""
    from dsguard.formats.folder.reader import read_or_error
    from dsguard.formats.place import LocalPlace

    place = LocalPlace(folder)
    for name in names:
        data = read_or_error(partial(place.read, name))
        if isinstance(data, DsguardError):
            failed[name] = data
        else:
            yield name, data
