"""Worker processes of the service."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest

import dsguard
from tests.dmcp.service import (
    protected,
    running,
)


def group_of(pid: int) -> list[int]:
    """Return the other processes of a process group."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = path.read_text().rpartition(")")[2].split()
            if int(fields[2]) == pid and fields[0] != "Z" and int(path.parent.name) != pid:
                found.append(int(path.parent.name))
    return found


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="/proc tells the processes")
def test_workers_that_die_are_replaced(tmp_path, scenes):
    with running(tmp_path / "service", whole=True) as server:
        key = dsguard.DatasetKey.generate()
        images = protected(scenes, key)
        with server.client(server.owner_token) as owner:
            owner.deposit("d", key)
            for _ in range(2):
                assert len(list(owner.restore("d", images))) == 9
                others = group_of(server.process.pid)
                assert others
                for other in others:
                    os.kill(other, signal.SIGKILL)
            got = 0
            for image in owner.restore("d", images * 1000):
                assert not image.error
                if got == 1000:
                    for other in group_of(server.process.pid):
                        os.kill(other, signal.SIGKILL)
                got += 1
            assert got == 9000


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="/proc tells the processes")
def test_workers_end_with_the_service(tmp_path, scenes):
    with running(tmp_path / "service", whole=True) as server:
        key = dsguard.DatasetKey.generate()
        with server.client(server.owner_token) as owner:
            owner.deposit("d", key)
            assert len(list(owner.restore("d", protected(scenes, key)))) == 9
        assert group_of(server.process.pid)
        server.process.kill()
        server.process.wait()
        for _ in range(200):
            if not group_of(server.process.pid):
                break
            time.sleep(0.05)
        assert group_of(server.process.pid) == []
