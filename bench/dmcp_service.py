"""A service to be measured, in a process of its own, and the results, kept beside older ones."""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil

import dsguard

from .report import cpu, put_into_page, table

PAGE = Path("docs/dmcp.md")


class Service:
    """A service in a process of its own."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self.folder = folder
        self._environment = {
            **os.environ,
            "DSGUARD_DMCP_FOLDER": str(folder),
            "DSGUARD_DMCP_PORT": str(port),
            "DSGUARD_DMCP_REQUESTS_PER_MINUTE": "1000000",
            "DSGUARD_DMCP_REGISTRATIONS_PER_HOUR": "1000000",
            "DSGUARD_DMCP_IMAGES_PER_DAY": "1000000000",
            "DSGUARD_DMCP_WAITING": "64",
            "DSGUARD_DMCP_WAITING_PER_USER": "64",
        }
        self._log = folder.with_name(folder.name + ".log")
        self.start()
        self.token = (folder / "owner.token").read_text().strip()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        with self._log.open("a") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "dsguard", "dmcp", "serve"],
                env=self._environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        while True:
            try:
                httpx.get(f"{self.url}/readyz").raise_for_status()
            except httpx.HTTPError:
                time.sleep(0.05)
                continue
            return

    def kill(self) -> None:
        """End it without a warning."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def memory(self) -> int:
        """Return the memory of all its processes in MiB, what they share counted once."""
        parent = psutil.Process(self.process.pid)
        everyone = (parent, *parent.children(recursive=True))
        return sum(process.memory_full_info().pss for process in everyone) >> 20

    def verified(self) -> bool:
        """Tell whether the audit trail is whole."""
        command = [sys.executable, "-m", "dsguard", "dmcp", "audit", "verify"]
        return subprocess.run(command, env=self._environment, check=False).returncode == 0


def parser_of(doc: str | None) -> argparse.ArgumentParser:
    """Return a parser of what all of these benchmarks are told."""
    parser = argparse.ArgumentParser(description=doc)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--page", action="store_true", help="put the table into docs/dmcp.md")
    return parser


@contextmanager
def started() -> Iterator[Service]:
    """Have a service, in a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="dsguard-dmcp-") as folder:
        service = Service(Path(folder))
        try:
            yield service
        finally:
            service.kill()


def keep(results: dict[str, Any], out: Path | None, *, page: bool) -> None:
    """Print results; put them beside the others in a file, and all of these into the page."""
    if out and out.exists():
        results = json.loads(out.read_text())["results"] | results
    facts = {
        "cpus": os.cpu_count(),
        "machine": cpu(),
        "python": platform.python_version(),
        "dsguard": dsguard.__version__,
        "results": results,
    }
    print(json.dumps(facts, indent=2))
    if out:
        out.write_text(json.dumps(facts, indent=2) + "\n")
    if page:
        rows = [(name, _told(value)) for name, value in results.items()]
        text = table(("figure", "measured"), rows)
        put_into_page("<!-- dmcp: bench/dmcp.py -->", "<!-- end of dmcp -->", text, PAGE)


def _told(value: Any) -> str:
    """Return a result as it is printed: ``median 0.9, p99 1.36`` where there are several."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {each}" for name, each in value.items())
    return str(value)
