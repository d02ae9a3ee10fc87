"""The audit trail."""

from __future__ import annotations

import sqlite3

from dsguard.cli.commands import Exit
from tests.dmcp.service import (
    running,
)


def test_the_audit_trail_shows_what_was_done_to_it(tmp_path, scenes):
    with running(tmp_path / "service") as server:
        with server.client(server.owner_token) as owner:
            for n in range(6):
                owner.deposit(f"d{n}")
        server.stop()
        path = server.folder / "dmcp.sqlite"
        assert "7 lines, all good" in server.operate("audit", "verify").stdout
        whole = path.read_bytes()
        for change, told in [
            ("UPDATE audit SET outcome = 'other' WHERE number = 3", "line 3 was changed"),
            ("UPDATE audit SET actor = 'other' WHERE number = 7", "line 7 was changed"),
            ("DELETE FROM audit WHERE number = 4", "line 4 is missing"),
            ("DELETE FROM audit WHERE number = 7", "ends at line 6"),
            ("DELETE FROM audit", "ends at line 0"),
            (
                "UPDATE audit SET number = 99 WHERE number = 5;"
                "UPDATE audit SET number = 5 WHERE number = 6;"
                "UPDATE audit SET number = 6 WHERE number = 99",
                "line 5 was changed",
            ),
        ]:
            database = sqlite3.connect(path)
            database.executescript(change)
            database.close()
            found = server.operate("audit", "verify")
            assert found.returncode == Exit.DAMAGED
            assert told in found.stderr, found
            path.write_bytes(whole)
        assert server.operate("audit", "verify", "--at-least", "8").returncode == Exit.DAMAGED
