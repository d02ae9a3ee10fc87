"""Control characters in what strangers named do not reach the terminal."""

from __future__ import annotations

import contextlib

import pytest

import dsguard
from dsguard.cli.commands import Exit, run
from dsguard.cli.dmcp import connection
from dsguard.formats import encode_image

OSC = "\x1b]0;owned\x07\x9b31m\u202e"


class Service:
    """A service whose users call things what they like."""

    def datasets(self):
        return [{"name": OSC, "rights": [OSC], "title": OSC}]

    def requests(self):
        return [{"number": OSC, "user": OSC, "dataset": OSC, "state": OSC, "reason": OSC,
                 "message": OSC}]  # fmt: skip

    def key_versions(self, dataset):
        return [{"version": OSC, "key_id": OSC}]

    def grants(self, dataset):
        return [{"user": OSC}]

    def audit(self, dataset, after, limit):
        return [{"number": 1, "action": OSC}] if after == 0 else []

    def request(self, dataset, message):
        return {"number": OSC}

    def answer(self, number, *, accept, reason):
        return {"state": OSC}

    def revoke(self, dataset, user, right):
        return OSC

    def new_webhook(self, dataset):
        return OSC

    def deposit(self, dataset, key, title):
        return {"version": OSC, "key_id": OSC}


@pytest.mark.parametrize(
    "command",
    ["datasets", "requests", "keys d", "grants d", "audit show d", "request d", "answer 1 --accept",
     "revoke d u", "deposit d --new-key", "webhook d"],
)  # fmt: skip
def test_of_a_service(command, monkeypatch, capsys):
    monkeypatch.setattr(connection, "login_for", lambda: ("https://keys.example.org", None))
    monkeypatch.setattr(connection, "connected", lambda *_: contextlib.nullcontext(Service()))
    assert run(["dmcp", *command.split()]) == Exit.OK
    shown = capsys.readouterr().out
    assert "owned" in shown
    assert shown.replace("\n", "").isprintable()


@pytest.mark.parametrize(
    "arguments", [["inspect"], ["verify", "--key", "k"], ["inspect", "--json"]]
)
def test_of_files(arguments, tmp_path, monkeypatch, capsys, scenes):
    monkeypatch.chdir(tmp_path)
    dsguard.DatasetKey(bytes(32)).save("k")
    done = dsguard.protect_batch(scenes, dsguard.DatasetKey(bytes(32)), target=scenes)
    name = "\x1b]0;owned\x07.png"
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / name).write_bytes(encode_image(done.images[0], sidecar=b""))
    (tmp_path / name).write_bytes(encode_image(done.images[0], sidecar=b""))
    run([*arguments, "d" if "verify" in arguments else name])
    shown = capsys.readouterr()
    assert (shown.out + shown.err).replace("\n", "").isprintable()


@pytest.mark.parametrize("arguments", [[f"-{OSC}"], [OSC], ["inspect", f"--{OSC}"],
                                       ["keygen", OSC], ["dmcp", "answer", OSC],
                                       ["evaluate", OSC, "--out", OSC]])  # fmt: skip
def test_of_arguments_that_a_shell_made_of_names(arguments, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run(arguments)
    run(arguments)
    shown = capsys.readouterr()
    assert (shown.out + shown.err).replace("\n", "").isprintable()
