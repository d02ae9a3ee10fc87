"""Who may give and take rights at the platform, who is told what, and sessions of browsers."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, text

import dsguard
import dsguard.dmcp
from dsguard.dmcp.connection import RefusedError
from dsguard.dmcp.model import Base, migrate
from tests.dmcp.service import (
    browser,
    new_name,
    protected,
    refused,
    running,
)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with running(tmp_path_factory.mktemp("dmcp"), secure_cookies="false") as one:
        yield one


def test_to_manage_does_not_lead_to_the_key(owner, mary, bob, dataset):
    owner.grant(dataset, mary.name, "manage")
    for user in (mary, bob):
        with refused(403, "no-grant"):
            mary.grant(dataset, user.name, "export-key")
    with refused(403, "no-grant"):
        mary.export_key(dataset, 1)
    owner.grant(dataset, bob.name, "export-key")
    with refused(403, "no-grant"):  # who has the key alone gives nothing
        bob.grant(dataset, mary.name, "export-key")
    owner.grant(dataset, mary.name, "export-key")
    mary.grant(dataset, bob.name, "export-key")
    owner.revoke(dataset, mary.name, "export-key")
    with refused(403, "no-grant"):
        mary.grant(dataset, bob.name, "export-key")


@pytest.mark.parametrize("right", ["restore", "manage", "export-key"])
def test_managers_do_not_change_the_rights_of_who_deposited(owner, mary, dataset, right):
    for given in ("manage", "export-key"):
        owner.grant(dataset, mary.name, given)
    with refused(403, "owner"):
        mary.revoke(dataset, "owner", right)
    with refused(403, "owner"):
        mary.grant(dataset, "owner", right, quota=1)
    assert all(row["revoked"] is None for row in owner.grants(dataset) if row["user"] == "owner")
    assert owner.revoke(dataset, mary.name, "manage") == 1
    with refused(403, "no-grant"):
        mary.grants(dataset)


def test_nobody_is_told_who_exists(server, owner, mary, bob, dataset):
    def answers(client, path: str, user: str) -> tuple[int, dict]:
        answer = httpx.post(
            f"{server.url}/v1/datasets/{dataset}/{path}",
            json={"user": user},
            headers={"authorization": f"Bearer {client.token}"},
        )
        told = {name: value for name, value in answer.json().items() if name != "request"}
        return answer.status_code, told

    for path in ("revoke", "grants"):
        found = [answers(mary, path, name) for name in (bob.name, "nobody", "", "A B")]
        assert found == [found[0]] * 4
        assert found[0][0] == 403
    owner.grant(dataset, mary.name, "manage")
    found = [answers(mary, "revoke", name) for name in (bob.name, "nobody", "A B")]
    assert found == [(200, {"ended": 0})] * 3
    with browser(server, mary.token) as page:
        for name in (bob.name, "nobody"):
            form = {"user": name, "right": "restore"}
            assert page.post(f"/datasets/{dataset}/revoke", data=form).status_code == 200


@pytest.mark.parametrize(
    "character", ["\x00", "\x07", "\n", "\r", "\x1b", "\x7f", "\x9b", "\u2028", "\u202e", "\u2066"]
)
def test_texts_steer_no_terminal(server, owner, mary, dataset, character):
    odd = f"a{character}b"
    number = mary.request(dataset, "Straße, 東京, é, 👍")["number"]
    for client, path, content in [
        (owner, "/v1/datasets", {"name": "x", "title": odd}),
        (owner, "/v1/datasets", {"name": odd}),
        (owner, f"/v1/datasets/{dataset}/grants", {"user": odd}),
        (owner, f"/v1/datasets/{dataset}/revoke", {"user": odd}),
        (mary, f"/v1/datasets/{dataset}/requests", {"message": odd}),
        (owner, f"/v1/requests/{number}", {"accept": False, "reason": odd}),
        (mary, "/v1/users", {"name": odd}),
    ]:
        token = getattr(client, "token", server.owner_token)
        headers = {"authorization": f"Bearer {token}"}
        answer = httpx.post(server.url + path, json=content, headers=headers)
        assert answer.status_code == 422, (path, answer.text)
        assert f"U+{ord(character):04X}" in answer.json()["message"]
    with browser(server, server.owner_token) as page:
        form = {"accept": "no", "reason": odd}
        assert page.post(f"/requests/{number}", data=form).status_code == 422
    assert owner.requests()[-1]["state"] == "pending"


def test_registrations_have_a_rate_of_their_own(tmp_path):
    with running(tmp_path / "service", registrations_per_hour="3") as server:
        with server.client() as stranger:
            for name in ("a", "b"):
                stranger.register(name)
            with refused(409, "name-taken"):  # which tells that it is: counted as well
                stranger.register("a")
            for name in ("c", "a"):
                with refused(429, "rate"):
                    stranger.register(name)
        with server.client(server.owner_token) as owner:
            assert owner.me()["name"] == "owner"


COOKIE = "dsguard_session"


def test_the_cookie_is_not_the_token(server, mary):
    with browser(server, mary.token) as page:
        cookie = page.cookies[COOKIE]
        (kept,) = page.cookies.jar
        assert kept.expires is not None
        assert mary.token not in cookie
        for secret in (cookie, f"dsg_{cookie}"):
            headers = {"authorization": f"Bearer {secret}"}
            assert httpx.get(f"{server.url}/v1/me", headers=headers).status_code == 401
            page_of = httpx.get(f"{server.url}/", headers={**headers, "accept": "text/html"})
            assert page_of.status_code == 401
        with_token = httpx.get(f"{server.url}/", cookies={COOKIE: mary.token})
        assert with_token.status_code == 401
        rows = rows_of(server, "SELECT sha256 FROM sessions")
        assert rows
        assert cookie not in str(rows)


def test_a_session_ends_with_logout_its_time_and_its_token(server, mary):
    def is_in(cookie: str) -> bool:
        return httpx.get(f"{server.url}/", cookies={COOKIE: cookie}).status_code == 200

    with browser(server, mary.token) as page, browser(server, mary.token) as other:
        first, second = page.cookies[COOKIE], other.cookies[COOKIE]
        assert first != second
        assert is_in(first)
        page.post("/logout")
        assert not is_in(first)
        assert is_in(second)
    rows_of(server, "UPDATE sessions SET expires = '2026-01-01 00:00:00'")
    assert not is_in(second)
    with browser(server, mary.token) as page:
        assert is_in(page.cookies[COOKIE])
        headers = {"authorization": f"Bearer {mary.token}"}
        assert httpx.post(f"{server.url}/v1/tokens", headers=headers).status_code == 201
        assert not is_in(page.cookies[COOKIE])


def test_sessions_do_not_pile_up(server, mary):
    cookies = []
    for _ in range(12):
        with browser(server, mary.token) as page:
            cookies.append(page.cookies[COOKIE])
    codes = [httpx.get(f"{server.url}/", cookies={COOKIE: one}).status_code for one in cookies]
    assert codes == [401] * 2 + [200] * 10


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_other_sites_send_no_forms(server, owner, mary, dataset, headers):
    owner.grant(dataset, mary.name)
    with browser(server, server.owner_token) as page:
        form = {"user": mary.name, "right": "restore"}
        answer = page.post(f"/datasets/{dataset}/revoke", data=form, headers=headers)
        assert answer.status_code == 403
        assert page.post("/logout", headers=headers).status_code == 403
        login = page.post("/login", data={"token": mary.token}, headers=headers)
        assert login.status_code == 403
        assert page.get("/").status_code == 200
    assert owner.grants(dataset)[-1]["revoked"] is None


def rows_of(server, query: str) -> list:
    database = sqlite3.connect(server.folder / "dmcp.sqlite")
    with database:
        rows = database.execute(query).fetchall()
    database.close()
    return rows


def test_datasets_of_the_first_layout_get_their_owners(tmp_path):
    url = f"sqlite:///{tmp_path / 'old.sqlite'}"
    config = Config()
    config.set_main_option("script_location", f"{dsguard.dmcp.__path__[0]}/migrations")
    config.set_main_option("sqlalchemy.url", url)
    command.upgrade(config, "0001")
    engine = create_engine(url)
    day = "2026-01-01 00:00:00"
    with engine.begin() as connection:
        for number, name in enumerate(("ann", "bob"), 1):
            connection.execute(text(f"INSERT INTO users VALUES ({number}, '{name}', 1, '{day}')"))
            connection.execute(
                text(f"INSERT INTO datasets VALUES ({number}, 'd{number}', '', '{day}')")
            )
        for number, (dataset, user) in enumerate(((2, 2), (1, 1), (1, 2), (2, 1)), 1):
            row = f"({number}, {dataset}, {user}, 'manage', NULL, NULL, NULL, 0, NULL, '{day}')"
            connection.execute(text(f"INSERT INTO grants VALUES {row}"))
    migrate(url)
    with engine.begin() as connection:
        owners = connection.execute(text("SELECT id, owner_id FROM datasets ORDER BY id")).all()
        assert [tuple(row) for row in owners] == [(1, 1), (2, 2)]
        limits = connection.execute(text('SELECT "distinct", lease_hours FROM grants')).all()
        assert [tuple(row) for row in limits] == 4 * [(0, None)]
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
    command.downgrade(config, "0001")
    engine.dispose()


def test_grants_begin_expire_and_run_out(owner, user, dataset, scenes, key):
    images = protected(scenes, key)
    with refused(403, "no-grant"):
        list(user.restore(dataset, images))
    hour = timedelta(hours=1)
    now = datetime.now(UTC)
    owner.grant(dataset, user.name, not_before=now + hour)
    with pytest.raises(RefusedError, match="begins on"):
        list(user.restore(dataset, images))
    with refused(422, "over"):
        owner.grant(dataset, user.name, expires=now - hour)
    arrived: list[object] = []
    for seconds in (1.5, 15, 60):  # more than one is tried where the machine is slow
        owner.grant(dataset, user.name, expires=datetime.now(UTC) + timedelta(seconds=seconds))
        with contextlib.suppress(RefusedError):
            arrived = list(user.restore(dataset, images))
            break
    assert len(arrived) == 9
    time.sleep(seconds)
    with pytest.raises(RefusedError, match="expired on"):
        list(user.restore(dataset, images))
    owner.grant(dataset, user.name, quota=10, expires=now + hour)
    found = list(user.restore(dataset, images))
    assert [image.error for image in found] == [""] * 9
    with refused(403, "quota"):
        list(user.restore(dataset, images[:2]))
    assert len(list(user.restore(dataset, images[:1]))) == 1
    assert owner.grants(dataset)[-1]["used"] == 10


def test_what_a_quota_allows_arrives(owner, user, dataset, scenes, key):
    """Of requests side by side that together are more: nothing is paid for and lost."""
    owner.grant(dataset, user.name, quota=3000)
    got = []
    with pytest.raises(RefusedError, match="the grant is for 3000 images"):
        got.extend(user.restore(dataset, protected(scenes, key) * 700))
    assert len(got) == owner.grants(dataset)[-1]["used"]
    assert 2000 <= len(got) <= 3000


def test_a_stream_stops_when_the_right_is_taken(server, owner, user, dataset, scenes, key):
    owner.grant(dataset, user.name)
    images = protected(scenes, key) * 700  # several chunks of several requests
    got = []

    def fetch():
        for image in user.restore(dataset, images):
            got.append(image)
            if len(got) == 100:
                owner.revoke(dataset, user.name)

    with pytest.raises(RefusedError, match="was revoked"):
        fetch()
    assert 100 <= len(got) < len(images)


def test_only_managers_manage(server, owner, user, dataset, key):
    for action in (
        lambda: user.grant(dataset, user.name),
        lambda: user.revoke(dataset, user.name),
        lambda: user.grants(dataset),
        lambda: user.audit(dataset),
        lambda: user.key_versions(dataset),
        lambda: user.export_key(dataset, 1),
    ):
        with refused(403, "no-grant"):
            action()
    with refused(403, "not-a-publisher"):
        user.deposit("mine", dsguard.DatasetKey.generate())
    assert owner.export_key(dataset, 1) == key
    assert "may deposit" in server.operate("publisher", user.name).stdout
    mine = new_name()
    user.deposit(mine)
    with refused(403, "no-grant"):
        owner.grants(mine)
    with refused(403, "no-grant"):
        owner.deposit(mine, dsguard.DatasetKey.generate())
    with refused(409, "own-right"):
        user.revoke(mine, user.name, "manage")
    with refused(409, "own-right"):
        user.grant(mine, user.name, "manage", expires=datetime.now(UTC) + timedelta(hours=1))
    with refused(409, "key-taken"):
        user.deposit(new_name(), key)


def test_requests_are_answered_once(owner, user, dataset):
    number = user.request(dataset, "for science")["number"]
    with refused(409, "asked-already"):
        user.request(dataset)
    with refused(403, "no-grant"):
        user.answer(number, accept=True)
    assert owner.answer(number, accept=False, reason="no")["state"] == "refused"
    assert user.requests()[-1]["reason"] == "no"
    with refused(409, "answered"):
        owner.answer(number, accept=True)
    with refused(404, "no-request"):
        owner.answer(10**6, accept=True)


def test_tokens_are_replaced(server, user):
    headers = {"authorization": f"Bearer {user.token}"}
    token = httpx.post(f"{server.url}/v1/tokens", headers=headers).json()["token"]
    with refused(401, "bad-token"):
        user.me()
    with server.client(token) as again:
        assert again.me()["name"] == user.name


def test_a_stream_stops_when_the_token_is_replaced(server, owner, user, dataset, scenes, key):
    owner.grant(dataset, user.name)
    got = []
    headers = {"authorization": f"Bearer {user.token}"}

    def fetch():
        for image in user.restore(dataset, protected(scenes, key) * 1500):
            got.append(image)
            if len(got) == 100:
                assert httpx.post(f"{server.url}/v1/tokens", headers=headers).status_code == 201

    with pytest.raises(RefusedError, match="this token is not valid"):
        fetch()
    assert 100 <= len(got) < 9000


def test_the_cookie_of_the_page_is_no_token_of_the_api(server, user):
    with browser(server, user.token) as page:
        assert page.get("/").status_code == 200
        assert page.post("/v1/tokens").status_code == 401
