"""Keys of images, released over real HTTP: to whom, what of it is counted, and what is refused."""

from __future__ import annotations

import hashlib
import os
import sqlite3
from datetime import UTC, datetime, timedelta

import httpx
import pytest

import dsguard
from dsguard.dmcp.releases import BINARY, JSON
from tests.dmcp.service import account, new_name, refusals, running

IDS = [bytes([n]) * 16 for n in range(5)]
BODY = b"".join(IDS)


def asked(server, client, dataset, content=BODY, kind=BINARY, key_id=None):
    return httpx.post(
        f"{server.url}/v1/datasets/{dataset}/image-keys",
        params={} if key_id is None else {"key_id": key_id},
        content=content,
        headers={"authorization": f"Bearer {client.token}", "content-type": kind},
    )


def code_of(answer) -> tuple[int, str]:
    told = answer.json()
    assert told["message"]
    assert told["remedy"]
    return answer.status_code, told["code"]


@pytest.fixture
def granted(owner, mary, dataset):
    """A dataset that Mary may restore."""
    owner.grant(dataset, mary.name)
    return dataset


def used(owner, dataset: str) -> int:
    return owner.grants(dataset)[-1]["used"]


def releases(owner, dataset: str) -> list[dict]:
    return [line for line in owner.audit(dataset, 0, 1000) if line["action"] == "image-keys"]


def test_keys_of_images_and_no_other_key(server, owner, mary, granted, key):
    expected = [dsguard.image_key(key, image_id) for image_id in IDS]
    answer = asked(server, mary, granted)
    assert answer.status_code == 200
    assert answer.content == b"".join(expected)
    assert answer.headers["content-type"] == BINARY
    assert answer.headers["x-dsguard-key-id"] == key.key_id
    assert answer.headers["cache-control"] == "no-store"
    body = httpx.Request("POST", "x://", json={"ids": [each.hex() for each in IDS]}).content
    told = asked(server, mary, granted, body, JSON)
    assert told.json() == {
        "key_id": key.key_id,
        "version": 1,
        "keys": [each.hex() for each in expected],
    }
    assert key.secret not in answer.content
    assert key.secret.hex() not in told.text
    first, second = releases(owner, granted)
    assert first == second | {name: first[name] for name in ("number", "time", "request")}
    assert (first["actor"], first["images"], first["key_version"]) == (mary.name, len(IDS), 1)
    assert first["digest"] == hashlib.sha256(BODY).hexdigest()
    assert first["outcome"] == "5 keys of images"
    assert used(owner, granted) == 2 * len(IDS)


def test_older_keys_of_a_dataset_still_give_keys(server, owner, mary, granted, key):
    new = dsguard.DatasetKey.generate()
    owner.deposit(granted, new)
    for key_id, own in ((None, new), (new.key_id, new), (key.key_id, key)):
        answer = asked(server, mary, granted, IDS[1], key_id=key_id)
        assert answer.content == dsguard.image_key(own, IDS[1])
        assert answer.headers["x-dsguard-key-id"] == own.key_id
    assert [line["key_version"] for line in releases(owner, granted)] == [2, 2, 1]


def test_the_key_of_another_dataset_is_not_found(server, owner, mary, granted):
    other = dsguard.DatasetKey.generate()
    owner.deposit(new_name(), other)
    answer = asked(server, mary, granted, key_id=other.key_id)
    assert code_of(answer) == (404, "no-key")
    assert code_of(asked(server, mary, granted, key_id="x")) == (422, "invalid")
    assert used(owner, granted) == 0
    assert {line["outcome"] for line in owner.audit(granted)} >= {"no-key", "invalid"}


def test_only_who_may_restore_gets_keys(server, owner, mary, bob, granted):
    now = datetime.now(UTC)
    assert code_of(asked(server, bob, granted)) == (403, "no-grant")
    assert code_of(asked(server, bob, "no-such-dataset")) == (404, "no-dataset")
    owner.grant(granted, bob.name, "manage")
    assert code_of(asked(server, bob, granted)) == (403, "no-grant")
    owner.grant(granted, bob.name, not_before=now + timedelta(hours=1))
    assert code_of(asked(server, bob, granted)) == (403, "no-grant")
    owner.revoke(granted, mary.name)
    assert code_of(asked(server, mary, granted)) == (403, "no-grant")
    with account(server) as nobody:
        nobody.token = "dsg_" + 43 * "x"
        assert code_of(asked(server, nobody, granted)) == (401, "bad-token")
        assert code_of(asked(server, nobody, granted, bytes(16 * 10_000))) == (401, "bad-token")
    assert releases(owner, granted) == []
    refused = [line["actor"] for line in owner.audit(granted) if line["action"] == "refused"]
    assert set(refused) == {mary.name, bob.name}


def test_a_grant_that_expired_gives_no_keys(server, owner, mary, granted):
    owner.grant(granted, mary.name, expires=datetime.now(UTC) + timedelta(hours=1))
    assert asked(server, mary, granted).status_code == 200
    database = sqlite3.connect(server.folder / "dmcp.sqlite", timeout=30)
    with database:
        database.execute("UPDATE grants SET expires = '2020-01-01 00:00:00' WHERE expires NOTNULL")
    database.close()
    answer = asked(server, mary, granted)
    assert code_of(answer) == (403, "no-grant")
    assert "expired on 2020-01-01" in answer.text
    assert len(releases(owner, granted)) == 1


def test_ids_count_as_images_do(server, owner, mary, granted):
    owner.grant(granted, mary.name, quota=7)
    assert asked(server, mary, granted).status_code == 200
    assert code_of(asked(server, mary, granted)) == (403, "quota")
    assert asked(server, mary, granted, bytes(32)).status_code == 200
    assert code_of(asked(server, mary, granted, bytes(16))) == (403, "quota")
    assert used(owner, granted) == 7
    assert sum(line["images"] for line in releases(owner, granted)) == 7
    assert "quota" in {line["outcome"] for line in owner.audit(granted)}


def test_a_day_a_minute_and_a_request_have_limits(tmp_path):
    limits = {"images_per_day": "7", "request_images": "6", "requests_per_minute": "12"}
    with running(tmp_path / "service", **limits) as server:
        with server.client(server.owner_token) as owner:
            owner.deposit("d")
            owner.token = server.owner_token
            assert code_of(asked(server, owner, "d", bytes(16 * 7))) == (413, "too-many")
            assert asked(server, owner, "d", bytes(16 * 6)).status_code == 200
            assert code_of(asked(server, owner, "d", bytes(16 * 2))) == (429, "daily-quota")
            codes = {code_of(asked(server, owner, "d", bytes(32))) for _ in range(12)}
            assert codes == {(429, "daily-quota"), (429, "rate")}
        outcomes = [outcome for outcome, _, _ in refusals(server)]
        assert outcomes == ["too-many", "daily-quota"]


@pytest.mark.parametrize(
    ("content", "kind", "told"),
    [
        (b"", BINARY, "has 0 bytes"),
        (bytes(15), BINARY, "has 15 bytes"),
        (bytes(17), BINARY, "has 17 bytes"),
        (b"{", JSON, "JSON"),
        (b"[]", JSON, "object"),
        (b'{"ids": []}', JSON, "at least 1 item"),
        (b'{"ids": "' + 32 * b"0" + b'"}', JSON, "array"),
        (b'{"ids": ["' + 30 * b"0" + b'"]}', JSON, "ids.0"),
        (b'{"ids": ["' + 32 * b"x" + b'"]}', JSON, "ids.0"),
        (b'{"ids": [16]}', JSON, "ids.0"),
        (b'{"ids": ["' + 32 * b"0" + b'"], "key": "x"}', JSON, "key"),
        (b"[" * 60_000, JSON, "JSON"),
    ],
)
def test_what_is_no_id_is_refused(server, owner, mary, granted, content, kind, told):
    answer = asked(server, mary, granted, content, kind)
    assert code_of(answer) == (422, "invalid")
    assert told in answer.json()["message"]
    assert "16 bytes each" in answer.json()["message"]
    assert len(answer.content) < 1000
    assert used(owner, granted) == 0
    assert owner.audit(granted)[-1]["outcome"] == "invalid"


@pytest.mark.parametrize("kind", ["", "text/plain", "application/x-tar", "multipart/form-data"])
def test_ids_of_another_type_are_refused(server, owner, mary, granted, kind):
    answer = asked(server, mary, granted, kind=kind)
    assert code_of(answer) == (415, "content-type")
    assert owner.audit(granted)[-1]["outcome"] == "content-type"


def test_a_body_that_is_too_large_is_refused(server, owner, mary, granted):
    most = 100_000
    body = os.urandom(16 * (most + 1))
    assert code_of(asked(server, mary, granted, body)) == (413, "too-many")
    answer = asked(server, mary, granted, bytes(5 << 20))
    assert code_of(answer) == (413, "too-large")
    assert "their ids" in answer.json()["remedy"]
    assert used(owner, granted) == 0
    outcomes = [line["outcome"] for line in owner.audit(granted)]
    assert outcomes[-2:] == ["too-many", "too-large"]
    assert len(asked(server, mary, granted, body[16:]).content) == 32 * most
    assert used(owner, granted) == most


def test_without_its_line_in_the_trail_no_key_leaves(server, owner, mary, granted):
    database = sqlite3.connect(server.folder / "dmcp.sqlite", timeout=30)
    trigger = "CREATE TRIGGER no BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'full'); END"
    with database:
        database.execute(trigger)
    try:
        answer = asked(server, mary, granted)
    finally:
        with database:
            database.execute("DROP TRIGGER no")
        database.close()
    assert code_of(answer) == (503, "not-ready")
    assert used(owner, granted) == 0
    assert releases(owner, granted) == []


def test_the_description_has_both_kinds(server):
    document = httpx.get(f"{server.url}/openapi.json").json()
    described = document["paths"]["/v1/datasets/{name}/image-keys"]["post"]
    assert set(described["requestBody"]["content"]) == {BINARY, JSON}
    assert set(described["responses"]["200"]["content"]) == {BINARY, JSON}
    assert {each["name"] for each in described["parameters"]} == {"name", "key_id"}


def test_the_metrics_count_keys(server, mary, granted):
    def count() -> float:
        told = httpx.get(f"{server.url}/metrics").text
        return float(told.partition("\ndsguard_image_keys_total ")[2].partition("\n")[0])

    before = count()
    assert asked(server, mary, granted).status_code == 200
    assert asked(server, mary, granted, b"x").status_code == 422
    assert count() == before + len(IDS)
