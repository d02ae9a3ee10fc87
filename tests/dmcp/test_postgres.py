"""The service on PostgreSQL."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

import dsguard
from tests.dmcp.service import (
    browser,
    protected,
    refused,
    running,
)


@pytest.fixture
def postgres(tmp_path):
    """The URL of a PostgreSQL server of its own."""
    pytest.importorskip("psycopg")
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found and not shutil.which("initdb"):
        pytest.skip("there is no PostgreSQL here")
    tools = found[-1].parent if found else Path(shutil.which("initdb")).parent
    data = Path(tempfile.mkdtemp(prefix="dsguard-pg-"))
    who = {}
    if os.getuid() == 0:  # which it refuses to run as
        if "postgres" not in {entry.pw_name for entry in pwd.getpwall()}:
            pytest.skip("PostgreSQL does not run as root, and there is no user postgres")
        shutil.chown(data, "postgres")
        who = {"user": "postgres", "group": "postgres", "extra_groups": []}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = f"-p {port} -k {data} -c listen_addresses=127.0.0.1 -c fsync=off"
    control = [tools / "pg_ctl", "-D", data / "db", "-w", "-l", data / "log"]
    run = partial(subprocess.run, check=True, stdout=subprocess.DEVNULL, cwd=data, **who)
    run([tools / "initdb", "-D", data / "db", "-A", "trust", "-U", "dsguard"])
    run([*control, "-o", options, "start"])
    try:
        yield f"postgresql+psycopg://dsguard@127.0.0.1:{port}/postgres"
    finally:
        run([*control, "-m", "immediate", "stop"])
        shutil.rmtree(data)


def test_postgresql(tmp_path, postgres, scenes):
    with running(tmp_path / "service", database=postgres, secure_cookies="false") as server:
        key = dsguard.DatasetKey.generate()
        images = protected(scenes, key)
        with server.client(server.owner_token) as owner:
            owner.deposit("d", key)
            with server.client() as stranger:
                token = stranger.register("mary")
            owner.grant("d", "mary", quota=10**11)
            with server.client(token) as mary, ThreadPoolExecutor(4) as pool:
                done = list(pool.map(lambda _: len(list(mary.restore("d", images))), range(8)))
            assert done == [9] * 8
            assert owner.grants("d")[-1]["used"] == 72
            server.kill()
            server.start()
            assert owner.export_key("d", 1) == key
            assert sum(entry["images"] or 0 for entry in owner.audit("d")) == 72
            owner.grant("d", "mary", quota=5000, distinct=True, lease_hours=1)
            ids = [os.urandom(16) for _ in range(5000)]
            expected = {each: dsguard.image_key(key, each) for each in ids}
            with server.client(token) as mary, ThreadPoolExecutor(4) as pool:
                for keys in pool.map(lambda _: mary.keys("d", ids), range(8)):
                    assert keys == expected  # from one of them or several at once
                with refused(403, "quota"):
                    mary.keys("d", [bytes(16)])
            assert owner.grants("d")[-1]["used"] == 5000
            charged = [line["outcome"] for line in owner.audit("d", 0, 1000)]
            assert charged.count("5000 keys of images, 5000 of them counted") == 1
            assert charged.count("5000 keys of images, 0 of them counted") == 7
            owner.revoke("d", "mary")
            assert owner.replace_samples("d", images[:2]) == 2
            owner.new_webhook("d")
        with browser(server, server.owner_token) as page:
            shown = page.get("/datasets/d").text
        assert "72 on the busiest day" in shown
        assert shown.count("<img") == 4
        assert "all good" in server.operate("audit", "verify").stdout


def test_services_that_start_at_once_wait_for_each_other(postgres):
    """The first makes the tables, and the others find them."""
    code = f"from dsguard.dmcp.model import migrate; input(); migrate({postgres!r})"
    pipes = {"stdin": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    services = [subprocess.Popen([sys.executable, "-c", code], **pipes) for _ in range(4)]
    time.sleep(2)  # until all have imported what they need
    for service in services:
        service.stdin.write("\n")
        service.stdin.flush()
    assert [service.communicate()[1] for service in services] == [""] * 4
