"""Hubs on this machine: one that lists access requests as Hugging Face does, one that sends."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx

from dsguard.dmcp.webhooks import signature_of

TOKEN = "hf_of_the_owner"
PATH = "/api/datasets/lab/photos/user-access-request/accepted"


def entry(user: str, account: str | None = None, **more: Any) -> dict[str, Any]:
    """Return an approval as the hub lists it."""
    fields = {} if account is None else {"fields": {"dsguard account": account}}
    return {
        "user": {"_id": "0" * 24, "user": user, "fullname": user.title(), "type": "user"},
        "grantedBy": {},
        "status": "accepted",
        "timestamp": "2026-10-05T12:00:00.000Z",
        "reviewedAt": "2026-10-05T12:05:00.000Z",
        **fields,
        **more,
    }


class Hub:
    """What the hub says: `pages` of approvals, or anything else in their place."""

    def __init__(self) -> None:
        self.url, self.asked = "", list[str]()
        self.approve()

    def approve(self, *entries: dict[str, Any]) -> None:
        """List these, in one page, as a hub does."""
        self.pages: list[Any] = [list(entries)]
        self.status, self.next = 200, ""
        self.raw: bytes | None = None


@contextmanager
def running_hub() -> Iterator[Hub]:
    """Yield a hub that answers until the end."""
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            number = int(parse_qs(parts.query).get("page", ["0"])[0])
            hub.asked.append(self.path)
            known = self.headers["authorization"] == f"Bearer {TOKEN}" and parts.path == PATH
            status = hub.status if known else 401
            body = json.dumps(hub.pages[number]).encode() if hub.raw is None else hub.raw
            self.send_response(status)
            if hub.next or number + 1 < len(hub.pages):
                where = hub.next or f"{hub.url}{PATH}?page={number + 1}"
                self.send_header("link", f'<{where}>; rel="next"')
            if 300 <= status < 400:
                self.send_header("location", f"{hub.url}/elsewhere")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Sender:
    """Whoever has the secret of a webhook."""

    def __init__(self, server, dataset, secret) -> None:
        self.url = f"{server.url}/v1/datasets/{dataset}/approvals"
        self.dataset, self.secret = dataset, secret

    def send(self, content, at=None, **headers):
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        when = f"{time.time() if at is None else at:.6f}"
        signature = signature_of(self.secret, when, self.dataset, body)
        signed = {"x-dsguard-timestamp": when, "x-dsguard-signature": signature}
        return httpx.post(self.url, content=body, headers={**signed, **headers})

    def tell(self, user, approved, **limits):
        return self.send({"user": user, "approved": approved, **limits}).json().get("state")
