"""The connection of a client to a service: requests, answers, and refusals."""

from __future__ import annotations

import ipaddress
import time
import warnings
from collections.abc import Container, Iterator
from typing import IO, Any, NamedTuple
from urllib.parse import urlsplit

from dsguard.dmcp.pace import PATIENCE, Pace
from dsguard.dmcp.secret_text import check_token
from dsguard.errors import DsguardError, InputError, MissingExtraError
from dsguard.formats.limits import load_json

_ATTEMPTS = 90
_BUSY = ("busy",)

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


class Response(NamedTuple):
    """The answer of a service."""

    url: str
    status: int
    content: bytes

    @property
    def is_success(self) -> bool:
        """Whether it did what was asked."""
        return 200 <= self.status < 300


class Connection:
    """A connection to a service; the parameters are those of `Client`."""

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
        # what is sent on to no address (InvalidURL), or to a name that is none (UnicodeError)
        self._unreachable = (httpx.HTTPError, httpx.InvalidURL, UnicodeError)
        self._pace = Pace()
        self._http = httpx.Client(
            base_url=url,
            headers=headers,
            timeout=httpx.Timeout(PATIENCE),
            trust_env=not is_local,  # no proxy stands between two programs of one machine
        )

    @property
    def url(self) -> str:
        """The address of the service."""
        return str(self._http.base_url)

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def object(
        self, method: str, path: str, content: Any = None, /, **fields: type
    ) -> dict[str, Any]:
        """Return an answer that is one object with these fields; `content` goes as JSON."""
        answer = self.answer(method, path, json=content)
        return _fields(answer, _parsed(answer), **fields)

    def objects(self, path: str, /, **fields: type) -> list[dict[str, Any]]:
        """Return an answer that is a list of objects with these fields."""
        answer = self.answer("GET", path)
        found = _parsed(answer)
        if not isinstance(found, list):
            raise _no_service(answer)
        return [_fields(answer, each, **fields) for each in found]

    def upload(
        self, method: str, path: str, body: bytes | IO[bytes], kind: str, /, **fields: type
    ) -> dict[str, Any]:
        """Send bytes of a kind; return the answer, one object with these fields."""
        answer = self.answer(method, path, content=body, headers={"content-type": kind})
        return _fields(answer, _parsed(answer), **fields)

    def send(self, path: str, body: bytes, kind: str, waited_for: Container[str] = _BUSY) -> bytes:
        """Send bytes of a kind; return the bytes that come back, of a length in proportion."""
        most = _MOST_JSON + _MOST_LONGER * len(body)
        sent = {"content": body, "headers": {"content-type": kind}}
        return self.answer("POST", path, most, waited_for, **sent).content

    def fetch(self, path: str, file: IO[bytes]) -> None:
        """Write an answer of any length into a file."""
        try:
            with self._stream("GET", path) as answer:
                if not answer.is_success:
                    raise self._refusal(_read(answer, _MOST_JSON))
                for piece in _pieces(answer):
                    file.write(piece)
        except self._unreachable as error:
            raise self._silent(error) from None

    def answer(
        self,
        method: str,
        path: str,
        most: int = _MOST_JSON,
        waited_for: Container[str] = _BUSY,
        **content: Any,
    ) -> Response:
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

    def _refusal(self, response: Response) -> RefusedError:
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
        return RefusedError(f"the service at {self.url} does not answer: {told}")


def _read(stream: Any, most: int) -> Response:
    """Read an answer to its end; one that is longer than that is not from a service."""
    pieces, left = [], most
    for piece in _pieces(stream):
        left -= len(piece)
        if left < 0:
            msg = f"{stream.url} answered with more than {most} bytes; is it the address of a DMCP?"
            raise RefusedError(msg)
        pieces.append(piece)
    return Response(str(stream.url), stream.status_code, b"".join(pieces))


def _pieces(stream: Any) -> Iterator[bytes]:
    """Yield an answer as it comes; a compressed one, which was not asked for, could be a bomb."""
    if stream.headers.get("content-encoding", "identity") != "identity":
        msg = f"{stream.url} answered with compressed content; is it the address of a DMCP?"
        raise RefusedError(msg)
    yield from stream.iter_bytes()


def _parsed(response: Response) -> Any:
    try:
        return load_json(response.content)
    except (ValueError, RecursionError):
        raise _no_service(response) from None


def _fields(response: Response, found: object, **fields: type) -> dict[str, Any]:
    """Return an object of an answer, which has these fields."""
    if not isinstance(found, dict) or not all(
        isinstance(found.get(name), kind) for name, kind in fields.items()
    ):
        raise _no_service(response)
    return found


def _refusal(response: Response) -> RefusedError:
    """Return what the service said of a request that it did not grant."""
    try:
        problem = _fields(response, _parsed(response), message=str, remedy=str, code=str)
    except RefusedError as error:
        return error
    told = f"{problem['message']}; {problem['remedy']}"
    return RefusedError(told, None, response.status, problem["code"])


def _no_service(response: Response) -> RefusedError:
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
        warnings.warn(f"tokens, keys and images travel in clear to {url!r}", stacklevel=4)
    return is_local


def _is_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
