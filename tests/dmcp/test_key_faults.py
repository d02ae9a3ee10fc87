"""Releases of keys under faults and attacks: kills, revocations on the way, replays, forgeries."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

import dsguard
from dsguard.dmcp import GrantedKeys
from dsguard.dmcp.connection import RefusedError
from tests.dmcp.service import account, new_name, refused

KILLS, CLIENTS = 3, 3
IDS = [bytes([n]) * 16 for n in range(8)]


def lines(owner, dataset: str, action: str = "image-keys") -> list[dict]:
    found: list[dict] = []
    while more := owner.audit(dataset, found[-1]["number"] if found else 0, 1000):
        found += more
    return [line for line in found if line["action"] == action]


def ask(server, token: str, dataset: str, got: list[bytes], gone: threading.Event) -> None:
    """Ask for keys of random ids until the service is gone; keep the ids whose keys came."""
    with server.client(token) as client:
        while not gone.is_set():
            ids = [os.urandom(16) for _ in range(20)]
            try:
                client.keys(dataset, ids)
            except RefusedError:
                return
            got.append(b"".join(ids))


def test_a_service_that_is_killed_loses_no_line(server, mary, dataset):
    """No key without its line, no confirmed grant lost, and budgets that match the trail."""
    got: list[bytes] = []
    confirmed = [mary.name]
    with server.client(server.owner_token) as owner:
        owner.grant(dataset, mary.name, quota=10**6, distinct=True)
    for number in range(KILLS):
        gone = threading.Event()
        with ThreadPoolExecutor(CLIENTS) as pool, account(server) as another:
            for _ in range(CLIENTS):
                pool.submit(ask, server, mary.token, dataset, got, gone)
            with server.client(server.owner_token) as owner:
                owner.grant(dataset, another.name)
            confirmed.append(another.name)
            time.sleep(0.1 * number)
            server.kill()
            gone.set()
        server.start()
    with server.client(server.owner_token) as owner:
        grants = {row["user"]: row for row in owner.grants(dataset)}
        released = lines(owner, dataset)
    assert set(confirmed) <= set(grants)
    assert got
    asked = Counter(hashlib.sha256(ids).hexdigest() for ids in got)
    assert asked <= Counter(line["digest"] for line in released)
    assert grants[mary.name]["used"] == sum(line["images"] for line in released)
    assert "all good" in server.operate("audit", "verify").stdout


def test_a_grant_that_is_taken_ends_what_runs(owner, mary, dataset, key, monkeypatch):
    """A client that has many ids asks several times: after a revocation it gets no more."""
    owner.grant(dataset, mary.name, quota=100, distinct=True)
    monkeypatch.setattr("dsguard.dmcp.client._IDS", 2)
    send, sent = mary._service.send, []

    def revoke_after_two(*args):
        if len(sent) == 2:
            owner.revoke(dataset, mary.name)
        sent.append(args)
        return send(*args)

    monkeypatch.setattr(mary._service, "send", revoke_after_two)
    with refused(403, "no-grant"):
        mary.keys(dataset, IDS)
    assert len(sent) == 3
    assert [line["images"] for line in lines(owner, dataset)] == [2, 2]


def test_a_grant_that_expires_ends_what_it_counted(owner, mary, dataset):
    """Distinct images, too, are repeated no longer than the grant lasts."""
    soon = datetime.now(UTC) + timedelta(seconds=1.5)
    owner.grant(dataset, mary.name, quota=100, distinct=True, expires=soon)
    mary.keys(dataset, IDS)
    time.sleep(max(0.0, (soon - datetime.now(UTC)).total_seconds()) + 0.01)
    with refused(403, "no-grant"):
        mary.keys(dataset, IDS)


def test_a_replay_gets_the_same_keys_and_its_own_line(server, owner, mary, dataset):
    """Whoever has the token may send a request again; with a token that was replaced nobody."""
    owner.grant(dataset, mary.name, quota=100, distinct=True)
    assert mary.keys(dataset, IDS) == mary.keys(dataset, IDS)
    first, second = lines(owner, dataset)
    assert first["digest"] == second["digest"]
    assert first["request"] != second["request"]
    mary._service.answer("POST", "/v1/tokens")
    with refused(401, "bad-token"):
        mary.keys(dataset, IDS)
    assert len(lines(owner, dataset)) == 2


def test_forged_ids_cost_the_budget_and_open_nothing(owner, mary, dataset, key, scenes, server):
    images = dsguard.protect_batch(scenes, key, codec=dsguard.codecs.Sealed(rate=64)).images
    real = dsguard.image_ids(images)
    owner.grant(dataset, mary.name, quota=len(real) + 5, distinct=True)
    forged = [os.urandom(16) for _ in range(5)]
    opened = mary.keys(dataset, forged)
    with pytest.raises(dsguard.DsguardError):
        dsguard.restore_batch(images, image_keys=dict(zip(real, opened.values(), strict=False)))
    keys = GrantedKeys(dataset, server.url, mary._service._token)
    np.testing.assert_array_equal(dsguard.restore_batch(images, keys), scenes)
    with refused(403, "quota"):
        mary.keys(dataset, [os.urandom(16)])


def test_a_grant_of_one_dataset_gives_no_key_of_another(owner, mary, dataset):
    other = new_name()
    theirs = owner.deposit(other)["key_id"]
    owner.grant(dataset, mary.name, quota=100, distinct=True)
    with refused(403, "no-grant"):
        mary.keys(other, IDS)
    with refused(404, "no-key"):
        mary.keys(dataset, IDS, theirs)
    assert owner.grants(dataset)[-1]["used"] == 0


def test_each_release_is_in_the_trail_with_the_digest_of_its_ids(owner, mary, bob, dataset):
    """Whoever has the ids in their order can tell whose request they were."""
    for who in (mary, bob):
        owner.grant(dataset, who.name)
    mary.keys(dataset, IDS[:3])
    bob.keys(dataset, IDS[3:])
    digests = {line["actor"]: line["digest"] for line in lines(owner, dataset)}
    assert digests == {
        mary.name: hashlib.sha256(b"".join(IDS[:3])).hexdigest(),
        bob.name: hashlib.sha256(b"".join(IDS[3:])).hexdigest(),
    }
