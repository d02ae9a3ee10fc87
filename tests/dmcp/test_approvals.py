"""Approvals of hubs become grants, and revocations when they are gone."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from dsguard.cli.commands import Exit, run
from dsguard.dmcp import hub as hubs
from dsguard.dmcp.hub import Approval, HubError, approvals
from dsguard.dmcp.sync import Plan, planned
from dsguard.errors import InputError
from tests.dmcp.fake_hub import TOKEN, Sender, entry, running_hub
from tests.dmcp.service import browser, refusals, refused

FIELD = "dsguard account"


@pytest.fixture
def hub(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with running_hub() as one:
        yield one


@pytest.fixture
def sync(hub, server, dataset, monkeypatch, capsys):
    """Return what runs the command and returns its exit code and what it said."""
    monkeypatch.setenv("DSGUARD_DMCP_URL", server.url)
    monkeypatch.setenv("DSGUARD_DMCP_TOKEN", server.owner_token)

    def call(*options: str, field: tuple[str, ...] = ("--field", FIELD)):
        command = ["dmcp", "sync-requests", dataset, "lab/photos", "--hub", hub.url]
        code = run([*command, *field, *options])
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


def active(owner, dataset) -> dict[str, str]:
    """Return who may restore, and from where they have that."""
    rows = owner.grants(dataset)
    return {
        row["user"]: row["source"]
        for row in rows
        if row["right"] == "restore" and row["revoked"] is None and row["user"] != "owner"
    }


def test_approvals_become_grants_and_their_end_revocations(sync, hub, owner, dataset, mary, bob):
    hub.approve(entry("Mary-on-hub", mary.name), entry("Bob.on.hub", f" {bob.name} "))
    code, out, _ = sync("--images", "7", "--until", "2100-01-01")
    assert code == Exit.OK
    assert f"would grant: {mary.name}" in out
    assert "--apply does it" in out
    assert active(owner, dataset) == {}
    sync("--images", "7", "--until", "2100-01-01", "--apply")
    host = hub.url.removeprefix("http://")
    assert active(owner, dataset) == {
        mary.name: f"{host}/datasets/lab/photos Mary-on-hub",
        bob.name: f"{host}/datasets/lab/photos Bob.on.hub",
    }
    given = owner.grants(dataset)[-1]
    assert (given["quota"], given["expires"][:10]) == (7, "2100-01-01")
    assert sync("--apply")[:2] == (Exit.OK, "")  # nothing is given twice: quotas stay
    hub.approve(entry("Bob.on.hub", bob.name))
    assert f"would revoke: {mary.name}" in sync()[1]
    assert mary.name in active(owner, dataset)
    sync("--apply")
    assert list(active(owner, dataset)) == [bob.name]
    assert any("by 127.0.0.1" in line["outcome"] for line in owner.audit(dataset))


def test_what_a_manager_did_stays(sync, hub, owner, dataset, mary, bob):
    owner.grant(dataset, mary.name)
    hub.approve(entry("mary", mary.name), entry("bob", bob.name))
    sync("--apply")
    assert active(owner, dataset)[mary.name] == ""
    owner.revoke(dataset, bob.name)
    _, out, _ = sync("--apply")
    assert "bob" in out
    assert "after it was approved" in out
    assert list(active(owner, dataset)) == [mary.name]
    soon = (datetime.now(UTC) + timedelta(minutes=1)).isoformat()
    hub.approve(entry("bob", bob.name, reviewedAt=soon))
    sync("--apply")
    assert set(active(owner, dataset)) == {mary.name, bob.name}  # mary's is not of the hub
    hub.approve(entry("bob", mary.name, reviewedAt=soon))
    assert "names another account" in sync("--apply")[1]  # one approval, one account
    assert set(active(owner, dataset)) == {mary.name, bob.name}


def test_names_of_the_hub_are_nobody_here_by_themselves(sync, hub, owner, dataset, mary, tmp_path):
    hostile = ["\x1b]0;owned\x07", "../../x", "a" * 100_000, "\u212aate", "owner; DROP TABLE users"]
    hub.approve(
        entry(mary.name),
        *(entry(f"h{n}", text) for n, text in enumerate(hostile)),
        entry("nobody", "not-registered"),
        entry("odd", fields={FIELD: 7}),
    )
    code, out, err = sync("--apply")
    assert code == Exit.SOME_FAILED
    assert "ask them to register" in err
    assert out.count("names no account here") == len(hostile) + 2
    assert (out + err).replace("\n", "").isprintable()
    assert active(owner, dataset) == {}
    names = tmp_path / "names"
    names.write_text(f"# hub account\n{mary.name} {mary.name}\n")
    sync("--apply", "--names", str(names), field=())
    assert list(active(owner, dataset)) == [mary.name]
    names.write_text("mary\n")
    assert "line 1" in sync("--names", str(names), field=())[2]
    assert sync(field=())[0] == Exit.USAGE


LOST = {
    "status 500": lambda hub: setattr(hub, "status", 500),
    "status 403": lambda hub: setattr(hub, "status", 403),
    "sent elsewhere": lambda hub: setattr(hub, "status", 302),
    "no JSON": lambda hub: setattr(hub, "raw", b"<html>"),
    "deep JSON": lambda hub: setattr(hub, "raw", b"[" * 100_000),
    "no list": lambda hub: setattr(hub, "pages", [{"error": "x"}]),
    "nobody": lambda hub: setattr(hub, "pages", [[]]),
    "pending": lambda hub: hub.approve(entry("x", status="pending")),
    "odd name": lambda hub: hub.approve(entry("x\ny")),
    "no user": lambda hub: hub.approve({"status": "accepted"}),
    "odd fields": lambda hub: hub.approve(entry("x", fields=["x"])),
    "second page is lost": lambda hub: setattr(hub, "pages", [[], None]),
    "next page elsewhere": lambda hub: setattr(hub, "next", "http://127.0.0.2:1/x"),
    "circle": lambda hub: setattr(hub, "next", f"{hub.url}{hub.asked[0]}"),
}


def test_an_answer_that_is_lost_revokes_nobody(sync, hub, owner, dataset, mary):
    hub.approve(entry("mary", mary.name))
    sync("--apply")
    for told, spoil in LOST.items():
        hub.approve()
        spoil(hub)
        code, _, err = sync("--apply")
        assert code not in (Exit.OK, Exit.INTERNAL), told
        assert "nothing was changed" in err, told
        assert TOKEN not in err
        assert list(active(owner, dataset)) == [mary.name], told
    assert not any("elsewhere" in path for path in hub.asked)
    hub.approve()
    sync("--apply", "--allow-empty")
    assert active(owner, dataset) == {}


def test_all_pages_of_a_hub_are_read(hub):
    hub.pages = [[entry(f"user{10 * page + n}") for n in range(10)] for page in range(3)]
    found = approvals("lab/photos", TOKEN, hub.url)
    assert [each.user for each in found] == [f"user{n}" for n in range(30)]
    assert found[0].account == ""
    hub.approve(entry("a", "x" * 201), entry("b", " y "))
    found = approvals("lab/photos", TOKEN, hub.url, FIELD)
    assert [each.account for each in found] == ["", "y"]
    assert found[0].reviewed == datetime(2026, 10, 5, 12, 5)


def test_a_hub_that_sends_without_end_is_left(hub, monkeypatch):
    monkeypatch.setattr(hubs, "_PAGE_BYTES", 1000)
    hub.raw = b" " * 1001
    with pytest.raises(HubError, match="more than there is room"):
        approvals("lab/photos", TOKEN, hub.url)
    monkeypatch.setattr(hubs, "MOST", 1)
    hub.approve(entry("a"), entry("b"))
    with pytest.raises(HubError, match="more than 1 approvals"):
        approvals("lab/photos", TOKEN, hub.url)


@pytest.mark.parametrize("repo", ["photos", "lab/../x", "lab/photos?x", "lab/a/b", ""])
def test_what_is_no_dataset_is_not_asked_for(hub, repo):
    with pytest.raises(InputError, match="owner/name"):
        approvals(repo, TOKEN, hub.url)
    assert hub.asked == []


@pytest.mark.parametrize(
    ("url", "told"), [("http://hub.example", "without TLS"), ("ftp://x", "no address")]
)
def test_a_token_travels_with_tls_alone(url, told):
    with pytest.raises(InputError, match=told):
        approvals("lab/photos", TOKEN, url)


def test_an_account_that_two_name_keeps_its_grant_while_one_is_approved():
    def plan(approved, source):
        rows = [{"user": "mary", "right": "restore", "source": source}]
        names = {"a": "mary", "b": "mary"}
        return planned([Approval(user, "", None) for user in approved], names, rows, "hub ")

    assert plan(["a", "b"], "hub a") == Plan({}, {}, {})
    assert plan(["b"], "hub a") == Plan({}, {}, {})
    assert plan(["c"], "hub a").revoke == {"mary": "hub a"}
    assert plan(["c"], "hubble a").revoke == {}


def test_an_approval_is_for_one_account_whatever_became_of_its_grant():
    rows = [
        {"user": "mary", "right": "restore", "source": "hub a"},
        {"user": "mary", "right": "restore", "source": ""},
    ]
    plan = planned([Approval("a", "", None)], {"a": "bob"}, rows, "hub ")
    told = {"a": "names another account than mary, which it had"}
    assert plan == Plan({}, {}, told)
    rows.append({"user": "bob", "right": "restore", "source": "hub b"})
    plan = planned([Approval("a", "", None)], {"a": "bob"}, rows, "hub ")
    assert plan == Plan({}, {"bob": "hub b"}, told)  # nor does it keep that of another


# Webhooks


GUIDE = Path(__file__).parents[2] / "docs" / "how-to" / "gate-the-key.md"


@pytest.fixture
def sender(server, owner, dataset):
    return Sender(server, dataset, owner.new_webhook(dataset))


def test_messages_become_grants_and_revocations(sender, owner, dataset, mary, bob):
    assert sender.tell(mary.name, True, quota=5) == "granted"
    assert active(owner, dataset) == {mary.name: "webhook"}
    assert owner.grants(dataset)[-1]["quota"] == 5
    assert sender.tell(mary.name, True) == "kept"
    assert sender.tell(mary.name, False) == "revoked"
    assert sender.tell(mary.name, False) == "kept"
    assert sender.tell("not-registered", False) == "kept"
    owner.grant(dataset, bob.name)
    assert [sender.tell(bob.name, approved) for approved in (True, False)] == ["kept", "kept"]
    assert active(owner, dataset) == {bob.name: ""}
    lines = [line["outcome"] for line in owner.audit(dataset) if line["action"] == "webhook"]
    assert lines[1:5] == [
        f"granted: {mary.name}", f"kept: {mary.name}", f"revoked: {mary.name}",
        f"kept: {mary.name}",
    ]  # fmt: skip


@pytest.mark.parametrize("given_by", ["webhook", "manager"])
def test_what_a_manager_took_back_is_not_given_again(sender, owner, dataset, mary, given_by):
    if given_by == "webhook":
        assert sender.tell(mary.name, True) == "granted"
    else:
        owner.grant(dataset, mary.name)
    owner.revoke(dataset, mary.name)
    assert [sender.tell(mary.name, True) for _ in range(2)] == ["kept", "kept"]
    assert active(owner, dataset) == {}
    assert [sender.tell(mary.name, each) for each in (False, True)] == ["kept", "granted"]
    owner.grant(dataset, mary.name, quota=1)  # in place of it
    assert sender.tell(mary.name, False) == "kept"
    owner.revoke(dataset, mary.name)
    assert sender.tell(mary.name, True) == "kept"
    assert active(owner, dataset) == {}


def test_a_message_works_once_and_in_its_time(sender, owner, dataset, mary):
    approve, end = {"user": mary.name, "approved": True}, {"user": mary.name, "approved": False}
    now = time.time()
    assert sender.send(approve, now - 301).status_code == 409
    assert sender.send(approve, now + 400).status_code == 409
    assert sender.send(approve, now).json()["state"] == "granted"
    assert sender.send(end, now + 1).json()["state"] == "revoked"
    for at in (now, now + 1):  # a message that somebody kept
        assert sender.send(approve, at).status_code == 409
    assert active(owner, dataset) == {}


def test_messages_that_are_not_signed_are_refused_alike(sender, server, owner, dataset, mary):
    message = {"user": mary.name, "approved": True}
    mine = Sender(server, dataset, "0" * 64)
    elsewhere = Sender(server, "no-such-dataset", sender.secret)
    other = Sender(server, dataset, sender.secret)
    other.dataset = "another"
    answers = [each.send(message) for each in (mine, elsewhere, other)]
    answers += [
        sender.send(message, **{"x-dsguard-signature": ""}),
        sender.send(message, **{"x-dsguard-timestamp": "1e9"}),
        sender.send(message, **{"x-dsguard-timestamp": "\u0661".encode()}),
        httpx.post(sender.url, json=message),
        httpx.post(sender.url, json=message, headers={"authorization": f"Bearer {mary.token}"}),
    ]
    assert [answer.status_code for answer in answers] == [401] * len(answers)
    assert len({answer.json()["message"] for answer in answers}) == 1
    assert refusals(server)[-1][:2] == ("bad-signature", dataset)
    assert refusals(server)[-2][:2] == ("bad-signature", "")
    assert active(owner, dataset) == {}
    for body in (b"{}", b"[" * 9999, b'{"user": "a", "approved": true, "right": "manage"}'):
        assert sender.send(body).status_code == 422
    assert sender.send(b" " * 65_537).status_code == 413


def test_a_webhook_ends_with_its_secret_and_with_its_manager(
    sender, server, owner, dataset, mary, bob
):
    owner.grant(dataset, mary.name, "manage")
    theirs = Sender(server, dataset, mary.new_webhook(dataset))
    assert sender.send({"user": bob.name, "approved": True}).status_code == 401
    assert theirs.tell(bob.name, True) == "granted"
    owner.revoke(dataset, mary.name, "manage")
    assert theirs.send({"user": bob.name, "approved": False}).status_code == 403
    owner.remove_webhook(dataset)
    assert theirs.send({"user": bob.name, "approved": False}).status_code == 401
    with refused(403, "no-grant"):
        mary.new_webhook(dataset)
    with browser(server, server.owner_token) as page:
        assert "made its secret" not in page.get(f"/datasets/{dataset}").text
        owner.new_webhook(dataset)
        assert "owner made its secret" in page.get(f"/datasets/{dataset}").text
        owner.remove_webhook(dataset)
    with refused(404, "no-webhook"):
        owner.remove_webhook(dataset)
    assert active(owner, dataset) == {bob.name: "webhook"}


def test_the_guide_signs_as_the_service_wants_it(sender, server, owner, dataset, mary, tmp_path):
    for tool in ("curl", "openssl", "bash"):
        if not shutil.which(tool):
            pytest.skip(f"there is no {tool} here")
    blocks = re.findall(r"```(?:sh|python)\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    shell = next(block for block in blocks if "openssl" in block)
    python = next(block for block in blocks if "urllib" in block)
    replaced = {"mary": mary.name, "https://dmcp.example": server.url, "photos": dataset}
    for old, new in replaced.items():
        shell, python = shell.replace(old, new), python.replace(old, new)
    environment = {**os.environ, "SECRET": sender.secret}
    done = subprocess.run(
        ["bash", "-ec", shell], env=environment, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == {"user": mary.name, "state": "granted"}
    done = subprocess.run(
        [sys.executable, "-c", python], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "revoked"
    assert active(owner, dataset) == {}
