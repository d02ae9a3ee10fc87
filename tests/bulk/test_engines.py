"""A Ray that is started here is of this run alone: no other user of the machine gets at it."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dsguard.bulk import engines


class Cluster:
    """What Ray is asked for, and the folder above its own as it is meanwhile."""

    def __init__(self) -> None:
        self.asked: dict[str, Any] = {}

    def is_initialized(self) -> bool:
        return False

    def init(self, **asked: Any) -> None:
        self.asked = asked
        if "_temp_dir" in asked:
            self.above = Path(asked["_temp_dir"]).parent
            self.mode = stat.S_IMODE(self.above.stat().st_mode)

    def shutdown(self) -> None: ...


@pytest.fixture
def cluster(monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    return Cluster()


@pytest.mark.skipif(os.name != "posix", reason="modes are of POSIX")
@pytest.mark.parametrize("address", [None, "local"])
def test_the_session_lies_where_nobody_else_can_look(cluster, monkeypatch, tmp_path, address):
    if address:
        monkeypatch.setenv("RAY_ADDRESS", address)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / ("long" * 20)))
    Path(tempfile.tempdir).mkdir()
    before = os.umask(0)
    try:
        with engines._cluster(cluster, 2):
            assert cluster.above.is_dir()
    finally:
        os.umask(before)
    assert cluster.asked["address"] == "local"
    assert cluster.mode == 0o700
    session = "session_2026-11-29_02-18-08_815116_1234567/sockets/plasma_store"
    assert len(f"{cluster.asked['_temp_dir']}/{session}") <= 103
    assert not cluster.above.exists()


def test_a_cluster_that_is_there_is_joined_as_it_is(cluster, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    with engines._cluster(cluster, 2):
        assert cluster.asked == {"address": "head:6379", "log_to_driver": False}


def test_it_listens_to_this_machine_only_while_it_starts(monkeypatch):
    constants = SimpleNamespace(ENABLE_RAY_CLUSTER=True)
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "ray._private", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "ray._private.ray_constants", constants)
    with engines._on_loopback():
        assert not constants.ENABLE_RAY_CLUSTER
    assert constants.ENABLE_RAY_CLUSTER
    monkeypatch.setitem(sys.modules, "ray._private.ray_constants", None)
    with engines._on_loopback():
        pass


_SCRIPT = """
import json, os, ray
from pathlib import Path
from dsguard.bulk import engines

if __name__ == "__main__":
    with engines._cluster(ray, 1):
        three = ray.get(ray.remote(lambda: 1 + 2).remote())
        folder = Path(ray._private.worker._global_node.get_temp_dir_path())
        mode = folder.parent.stat().st_mode & 0o777
        address = ray.get_runtime_context().gcs_address
    print(json.dumps([three, mode, address, folder.parent.exists()]))
"""


@pytest.mark.skipif(os.name != "posix", reason="modes are of POSIX")
def test_a_real_ray_takes_nothing_from_the_folder_of_all_users(tmp_path):
    """There, anybody can name a cluster to join, or a port to send the token to."""
    pytest.importorskip("ray")
    shared = tmp_path / "ray"
    shared.mkdir()
    (shared / "ray_current_cluster").write_text("127.0.0.1:1025")
    own = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    own |= {"RAY_TMPDIR": str(tmp_path), "HOME": str(tmp_path / "home")}
    (tmp_path / "home").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT],
        env=own, capture_output=True, check=True, text=True, timeout=120,
    )  # fmt: skip
    three, mode, address, is_left = json.loads(done.stdout.splitlines()[-1])
    assert (three, mode, is_left) == (3, 0o700, False)
    assert address.startswith("127.0.0.1:")
    assert [path.name for path in shared.iterdir()] == ["ray_current_cluster"]
