"""An answer whose bytes come one by one has an end."""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from dsguard.dmcp import hub
from dsguard.dmcp.client import Client
from dsguard.dmcp.connection import RefusedError

HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n"
TOKEN = "dsg_" + "7" * 40
ENTRY = b'{"name": "mary"}'
WHOLE = HEAD.replace(b"1000000", b"%d" % len(ENTRY)) + ENTRY


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr("dsguard.dmcp.pace.PATIENCE", 0.4)


@contextlib.contextmanager
def dripping(first: bytes) -> Iterator[str]:
    """Run a service that sends the first bytes at once, and then one now and then."""
    done = threading.Event()

    def serve(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.recv(1 << 16)
            connection.sendall(first)
            for _ in itertools.takewhile(lambda _: not done.is_set(), range(200)):
                connection.sendall(b"x")
                time.sleep(0.05)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        done.set()


@pytest.mark.parametrize("first", [HEAD[:-4], HEAD], ids=["head", "content"])
def test_a_service_that_drips_bytes_holds_nobody(first, tmp_path):
    with dripping(first) as url, Client(url, TOKEN) as client:
        for ask in (client.me, client.datasets, lambda: client.fetch_job("1", tmp_path / "x.tar")):
            with pytest.raises(RefusedError, match="too slowly; try again later"):
                ask()
        assert not (tmp_path / "x.tar").exists()
        with pytest.raises(hub.HubError, match="nothing was changed; try again later"):
            hub.approvals("lab/photos", "t", url)


def test_what_comes_in_time_is_taken():
    with dripping(WHOLE) as url, Client(url, TOKEN) as client:
        assert client.me() == {"name": "mary"}


def test_a_long_answer_may_take_longer(monkeypatch):
    monkeypatch.setattr("dsguard.dmcp.pace.RATE", 1)
    content = b"[" + b" " * 20
    head = HEAD.replace(b"1000000", b"%d" % (len(content) + 11))
    no_json = pytest.raises(RefusedError, match="is it the address of a DMCP")
    with dripping(head + content) as url, Client(url, TOKEN) as client, no_json:
        client.datasets()  # its last bytes come after the patience is over
