"""Commands of operators, and the master key."""

from __future__ import annotations

import json
import threading
import time

import httpx

import dsguard
from dsguard.cli.commands import Exit
from dsguard.dmcp.connection import RefusedError
from tests.dmcp import forked
from tests.dmcp.fake_hub import Sender
from tests.dmcp.service import (
    protected,
    refused,
    running,
)


def test_the_master_key_is_rotated_beside_a_service(tmp_path, scenes):
    with running(tmp_path / "service") as server:
        key = dsguard.DatasetKey.generate()
        with server.client(server.owner_token) as owner:
            owner.deposit("d", key)
            new = tmp_path / "new.key"
            assert "wrapped 1 keys" in server.operate("rotate-master-key", str(new)).stdout
            with refused(503, "not-ready"):
                owner.deposit("lost")
            with refused(503, "not-ready"):
                list(owner.restore("d", protected(scenes, key)))
            assert httpx.get(f"{server.url}/readyz").status_code == 503
            server.stop()
            server.environment["DSGUARD_DMCP_MASTER_KEY_FILE"] = str(new)
            server.start()
            assert owner.export_key("d", 1) == key
            assert len(list(owner.restore("d", protected(scenes, key)))) == 9
        assert "all good" in server.operate("audit", "verify").stdout


def test_the_master_key_is_needed_and_can_be_changed(tmp_path, scenes):
    with running(tmp_path / "service") as server:
        key = dsguard.DatasetKey.generate()
        with server.client(server.owner_token) as owner:
            owner.deposit("d", key)
            secret = owner.new_webhook("d")
        server.stop()
        shown = server.operate("rotate-master-key", str(tmp_path / "new.key"))
        assert "wrapped 1 keys" in shown.stdout, shown
        refused_start = server.operate("serve")
        assert refused_start.returncode == Exit.KEY_REFUSED
        assert "does not open this database" in " ".join(refused_start.stderr.split())
        server.environment["DSGUARD_DMCP_MASTER_KEY_FILE"] = str(tmp_path / "new.key")
        server.start()
        with server.client(server.owner_token) as owner:
            assert owner.export_key("d", 1) == key
            assert Sender(server, "d", secret).tell("owner", approved=True) == "kept"
        assert "all good" in server.operate("audit", "verify").stdout


def test_killed_while_writing_it_loses_nothing_that_it_confirmed(tmp_path):
    with running(tmp_path / "service") as server:
        confirmed: list[str] = []
        for round_ in range(3):
            stop = time.monotonic() + 0.3 + 0.2 * round_

            def write(round_=round_):
                with server.client(server.owner_token) as owner:
                    for n in range(10_000):
                        try:
                            owner.deposit(f"d{round_}-{n}")
                        except RefusedError:
                            return
                        confirmed.append(f"d{round_}-{n}")

            writer = threading.Thread(target=write)
            writer.start()
            time.sleep(max(0, stop - time.monotonic()))
            server.kill()
            writer.join()
            server.start()
            with server.client(server.owner_token) as owner:
                rows = owner.datasets()
                assert set(confirmed) <= {row["name"] for row in rows}
                assert all(row["rights"] == ["restore", "manage", "export-key"] for row in rows)
            found = server.operate("audit", "verify")
            assert f"{len(rows) + 1} lines, all good" in found.stdout, found
        assert confirmed


def test_operators_are_told_what_is_wrong(tmp_path, server):
    def told(*arguments: str, code: int = Exit.USAGE, **settings: str) -> str:
        environment = {
            name: value
            for name, value in server.environment.items()
            if not name.startswith("DSGUARD_DMCP_")
        }
        environment |= {f"DSGUARD_DMCP_{name}": value for name, value in settings.items()}
        done = forked.run("dmcp", *arguments, env=environment, cwd=tmp_path)
        assert done.returncode == code, done
        assert "Traceback" not in done.stderr, done
        return " ".join((done.stdout + done.stderr).split())

    for command in (["audit", "verify"], ["publisher", "x"], ["token", "x"]):
        assert "there is no service in dmcp" in told(*command)
    assert "there is no service" in told("rotate-master-key", "new.key")
    assert f"cannot listen on 127.0.0.1, port {server.port}" in told("serve", PORT=str(server.port))
    assert list(tmp_path.iterdir()) == []
    assert "DSGUARD_DMCP_WORKERS: Input should be" in told("serve", WORKERS="many")
    assert "DSGUARD_DMCP_PORT: Input should be" in told("serve", "--port", "80000")
    assert "DSGUARD_DMCP_WORKER is no setting" in told("serve", WORKER="9")
    assert "the database cannot be reached" in told("serve", DATABASE="nonsense", PORT="0")
    (server.folder / "master.key").rename(tmp_path / "away")
    try:
        assert "there is no master key at" in told("serve", FOLDER=str(server.folder), PORT="0")
    finally:
        (tmp_path / "away").rename(server.folder / "master.key")
    assert server.folder.joinpath("jobs").stat().st_mode & 0o077 == 0


def test_operators_give_accounts_and_tokens(tmp_path):
    with running(tmp_path / "service", open_registration="false", body_bytes="8 MiB") as server:
        assert server.folder.stat().st_mode & 0o077 == 0
        first = server.operate("token", "mary").stdout.strip()
        with server.client(first) as mary:
            assert mary.me() == {"name": "mary", "publisher": False}
        second = server.operate("token", "mary").stdout.strip()
        with server.client(first) as mary, refused(401, "bad-token"):
            mary.me()
        with server.client(second) as mary:
            assert mary.me()["name"] == "mary"
        lines = [json.loads(line) for line in server.operate("audit", "all").stdout.splitlines()]
        assert [line["action"] for line in lines] == [
            "register",
            "register",
            "new-token",
            "refused",
        ]
