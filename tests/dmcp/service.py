"""A service for the tests, in a process of its own, and what they send to it."""

from __future__ import annotations

import io
import itertools
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import tarfile
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import numpy as np
import pytest

import dsguard
from dsguard.dmcp.client import Client
from dsguard.dmcp.connection import RefusedError
from dsguard.dmcp.model import connect, transaction
from dsguard.dmcp.settings import Settings
from dsguard.dmcp.vault import Vault
from dsguard.formats import encode_images
from tests.dmcp import forked
from tests.dmcp.forked import Forked

_numbers = itertools.count()


class Server:
    """A service in a process of its own, which is `python -m dsguard` from the start if `whole`."""

    def __init__(self, folder: Path, *, whole: bool = False, **settings: str) -> None:
        self.whole = whole
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.folder, self.url = folder, f"http://127.0.0.1:{self.port}"
        self.environment = {
            **os.environ,
            "DSGUARD_DMCP_FOLDER": str(folder),
            "DSGUARD_DMCP_PORT": str(self.port),
            "DSGUARD_DMCP_REGISTRATIONS_PER_HOUR": "1000",
            **{f"DSGUARD_DMCP_{name.upper()}": value for name, value in settings.items()},
        }
        self.owner_token = ""
        self.log: list[str] = []
        self.start()

    def start(self) -> None:
        self.process = self._process()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        for _ in range(600):
            try:
                if httpx.get(f"{self.url}/readyz").status_code == 200:
                    break
            except httpx.TransportError:
                assert self.process.poll() is None, self.log
                time.sleep(0.05)
        with suppress(FileNotFoundError):
            self.owner_token = (self.folder / "owner.token").read_text().strip()

    def _process(self) -> Forked | subprocess.Popen[str]:
        if not self.whole:
            return Forked("dmcp", "serve", env=self.environment)
        return subprocess.Popen(
            [sys.executable, "-m", "dsguard", "dmcp", "serve"],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            self.log += lines

    def kill(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self._reader.join()

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(30)
        finally:  # or its reader would wait for ever, and the tests with it
            if self.process.poll() is None:
                self.kill()
        self._reader.join()

    def client(self, token: str | None = None) -> Client:
        return Client(self.url, token)

    def operate(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return forked.run("dmcp", *arguments, env=self.environment)


@contextmanager
def running(folder: Path, *, whole: bool = False, **settings: str):
    server = Server(folder, whole=whole, **settings)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.stop()


def new_name() -> str:
    """Return a name that no user and no dataset of these tests has."""
    return f"name{next(_numbers)}"


def account(server: Server) -> Client:
    """Return a client with an account of its own; its name and token are `name` and `token`."""
    name = new_name()
    with server.client() as stranger:
        token = stranger.register(name)
    client = server.client(token)
    client.name, client.token = name, token
    return client


def vault_of(folder: Path) -> Vault:
    """Return the open vault of a service whose master key is in its folder."""
    settings = Settings(folder=folder)
    engine = connect(settings.url())
    with transaction(engine) as session:
        vault = Vault.of(settings)
        vault.open(session)
    engine.dispose()
    return vault


def protected(scenes, key) -> list[tuple[str, bytes]]:
    noise = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3), dtype=np.uint8)
    images = np.concatenate([scenes, noise])
    target = np.clip(images.astype(int) + 16, 0, 255).astype(np.uint8)
    done = dsguard.protect_batch(images, key, target=target)
    assert done.sidecars
    files = encode_images(done.images, sidecars=done.sidecars)
    return [(f"a/{n}.png", file) for n, file in enumerate(files)]


def refused(status: int, code: str):
    return pytest.raises(RefusedError, check=lambda e: (e.status, e.code) == (status, code))


def tar_of(files: list[tuple[str, bytes]]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in files:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return out.getvalue()


def refusals(server) -> list[tuple[str, str, str]]:
    """Return outcome, dataset and address of all refusals in the trail."""
    database = sqlite3.connect(server.folder / "dmcp.sqlite")
    query = "SELECT outcome, dataset, address FROM audit WHERE action = 'refused' ORDER BY number"
    rows = database.execute(query).fetchall()
    database.close()
    return rows


@contextmanager
def browser(server, token: str | None = None):
    headers = {"accept": "text/html"}
    with httpx.Client(base_url=server.url, headers=headers, follow_redirects=True) as client:
        if token:
            assert client.post("/login", data={"token": token}).status_code == 200
        yield client


def post(server, token, dataset, content, kind, **more):
    return httpx.post(
        f"{server.url}/v1/datasets/{dataset}/restore",
        content=content,
        headers={"authorization": f"Bearer {token}", "content-type": kind},
        **more,
    )
