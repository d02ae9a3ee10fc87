"""Grants that count distinct images: what is charged, and when it is charged again."""

from __future__ import annotations

import json
import sqlite3
import time
from types import SimpleNamespace

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, select
from sqlalchemy.orm import Session

import dsguard
from dsguard.cli.commands import Exit
from dsguard.cli.commands import run as cli
from dsguard.dmcp import GrantedKeys, budgets
from dsguard.dmcp.budgets import Limits
from dsguard.dmcp.model import Base, Counted, Dataset, Grant, User
from tests.dmcp.service import browser, refused

IDS = [bytes([n]) * 16 for n in range(10)]
HOUR = 3600


def used(owner, dataset: str) -> int:
    return owner.grants(dataset)[-1]["used"]


def lines(owner, dataset: str) -> list[dict]:
    return [line for line in owner.audit(dataset, 0, 1000) if line["action"] == "image-keys"]


def changed(server, statement: str, *values: object) -> list:
    """Change the database of the service, or look into it."""
    database = sqlite3.connect(server.folder / "dmcp.sqlite", timeout=30)
    with database:
        rows = database.execute(statement, values).fetchall()
    database.close()
    return rows


def counted(server, dataset: str) -> int:
    """Return how many ids are kept of the grants of a dataset."""
    where = "JOIN datasets ON datasets.id = dataset_id WHERE name = ?"
    query = f"SELECT COUNT(*) FROM counted JOIN grants ON grants.id = grant_id {where}"
    return changed(server, query, dataset)[0][0]


# What is charged


asked = st.lists(
    st.tuples(st.lists(st.integers(0, 30), min_size=1, max_size=12), st.integers(0, 2 * HOUR)),
    max_size=12,
)


@pytest.fixture(scope="module")
def empty():
    """A database in memory, with its tables and nothing in them."""
    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    yield engine
    engine.dispose()


@given(asked=asked, lease=st.sampled_from([None, 1]), at_once=st.integers(1, 5))
@settings(max_examples=25, deadline=None)
def test_what_is_charged_is_what_is_new(empty, asked, lease, at_once):
    """Against a dict of the ids that were charged, and when."""
    clock, charged = 10**9, {}
    with Session(empty) as session, pytest.MonkeyPatch.context() as patch:
        patch.setattr(budgets, "time", SimpleNamespace(time=lambda: clock))
        patch.setattr(budgets, "_AT_ONCE", at_once)
        session.add_all([User(id=1, name="u"), Dataset(id=1, name="d")])
        for number in (1, 2):  # the other has all ids, and is in nobody's way
            row = Grant(id=number, dataset_id=1, user_id=1, right="restore", distinct=True)
            session.add(row)
        grant = session.get_one(Grant, 1)
        grant.lease_hours = lease
        other = session.get_one(Grant, 2)
        assert budgets.count_new(session, other, b"".join(map(_id, range(31))), 31) == 31
        for numbers, later in asked:
            clock += later
            over = clock - HOUR if lease else -1
            new = {n for n in numbers if charged.get(n, -1) <= over}
            found = budgets.count_new(session, grant, b"".join(map(_id, numbers)), 31)
            assert found == len(new)
            charged |= dict.fromkeys(new, clock)
        rows = session.execute(
            select(Counted.image_id, Counted.time).where(Counted.grant_id == 1)
        ).all()
        assert {row.image_id: row.time for row in rows} == {_id(n): t for n, t in charged.items()}


def _id(number: int) -> bytes:
    return number.to_bytes(16)


def test_an_image_counts_once(server, owner, mary, dataset, key):
    owner.grant(dataset, mary.name, quota=7, distinct=True)
    expected = {each: dsguard.image_key(key, each) for each in IDS}
    for _ in range(3):
        assert mary.keys(dataset, IDS[:5]) == {each: expected[each] for each in IDS[:5]}
    assert used(owner, dataset) == 5
    assert len(mary.keys(dataset, [IDS[0], *IDS[4:7], IDS[6]])) == 4
    assert used(owner, dataset) == 7
    with refused(403, "quota"):
        mary.keys(dataset, IDS[:8])
    assert mary.keys(dataset, IDS[:7])  # all that were counted are still given
    told = [(line["images"], line["outcome"]) for line in lines(owner, dataset)]
    assert told == [
        (5, "5 keys of images, 5 of them counted"),
        (5, "5 keys of images, 0 of them counted"),
        (5, "5 keys of images, 0 of them counted"),
        (5, "5 keys of images, 2 of them counted"),
        (7, "7 keys of images, 0 of them counted"),
    ]


def test_what_is_refused_is_not_charged(server, owner, mary, dataset):
    """Neither the grant nor the day of the user, and the same ids count in full later."""
    owner.grant(dataset, mary.name, quota=4, distinct=True)
    day = "SELECT images FROM usage JOIN users ON users.id = user_id WHERE name = ?"
    with pytest.raises(dsguard.DsguardError, match="4 distinct images; 4 are left, and more of"):
        mary.keys(dataset, IDS[:5])
    assert changed(server, day, mary.name) == [(0,)]
    assert counted(server, dataset) == 0
    mary.keys(dataset, IDS[:4])
    mary.keys(dataset, IDS[:4])
    assert used(owner, dataset) == 4
    assert changed(server, day, mary.name) == [(8,)]  # which has what was asked


def test_who_restores_pixels_is_charged_for_each(owner, mary, dataset, scenes, key):
    owner.grant(dataset, mary.name, quota=4, distinct=True)
    files = [("a.png", dsguard.formats.encode_images(scenes[:1])[0])] * 2
    assert len(list(mary.restore(dataset, files))) == 2
    assert used(owner, dataset) == 2


def test_a_lease_ends(server, owner, mary, dataset):
    owner.grant(dataset, mary.name, quota=10, distinct=True, lease_hours=2)
    mary.keys(dataset, IDS[:3])
    mary.keys(dataset, IDS[:4])
    assert used(owner, dataset) == 4
    late = int(time.time()) - 2 * HOUR
    changed(server, "UPDATE counted SET time = ? WHERE image_id < ?", late, IDS[2])
    mary.keys(dataset, IDS[:4])
    assert used(owner, dataset) == 6  # the two whose lease was over
    mary.keys(dataset, IDS[:4])
    assert used(owner, dataset) == 6
    (row,) = [row for row in owner.grants(dataset) if row["right"] == "restore" and row["quota"]]
    assert (row["distinct"], row["lease_hours"]) == (True, 2)
    assert [line["outcome"] for line in owner.audit(dataset) if line["action"] == "grant"] == [
        f"restore to {mary.name}, 10 distinct images, a lease of 2 h"
    ]


def test_a_grant_that_ended_keeps_no_ids_and_a_new_one_counts_anew(server, owner, mary, dataset):
    for _ in range(2):
        owner.grant(dataset, mary.name, quota=5, distinct=True)
        mary.keys(dataset, IDS[:5])
        assert used(owner, dataset) == 5
        assert counted(server, dataset) == 5
    owner.revoke(dataset, mary.name)
    assert counted(server, dataset) == 0
    with refused(403, "no-grant"):
        mary.keys(dataset, IDS[:5])


def test_workers_that_share_a_budget(server, owner, mary, dataset, key):
    """Each has its own connection, asks for all images in each epoch, and keeps few keys."""
    owner.grant(dataset, mary.name, quota=len(IDS), distinct=True)
    for _ in range(3):
        for _ in range(2):
            worker = GrantedKeys(dataset, server.url, mary.token, most_kept=2)
            for start in range(0, len(IDS), 4):
                assert worker.image_keys(key.key_id, IDS[start : start + 4])
                assert len(worker._kept) <= 2
    assert used(owner, dataset) == len(IDS)


# Who asks for it


@pytest.mark.parametrize(
    ("right", "limits"),
    [
        ("restore", {"distinct": True}),
        ("restore", {"quota": 5, "lease_hours": 1}),
        ("manage", {"quota": 5, "distinct": True}),
    ],
)
def test_limits_that_make_no_sense_are_refused(owner, mary, dataset, right, limits):
    before = owner.grants(dataset)
    with refused(422, "limits"):
        owner.grant(dataset, mary.name, right, **limits)
    assert owner.grants(dataset) == before


@pytest.mark.parametrize("limits", [{"lease_hours": 0}, {"distinct": "maybe"}, {"lease_hours": ""}])
def test_limits_of_another_kind_are_refused(server, owner, mary, dataset, limits):
    answer = httpx.post(
        f"{server.url}/v1/datasets/{dataset}/grants",
        json={"user": mary.name, "quota": 5, "distinct": True, **limits},
        headers={"authorization": f"Bearer {server.owner_token}"},
    )
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")


def test_the_command(server, owner, mary, dataset, monkeypatch, capsys):
    monkeypatch.setenv("DSGUARD_DMCP_URL", server.url)
    monkeypatch.setenv("DSGUARD_DMCP_TOKEN", server.owner_token)
    grant = ["dmcp", "grant", dataset, mary.name]
    assert cli([*grant, "--distinct"]) == Exit.USAGE
    assert "--images N" in capsys.readouterr().err
    assert cli([*grant, "--lease", "24"]) == Exit.USAGE
    assert cli([*grant, "--images", "9", "--lease", "24"]) == Exit.OK
    row = owner.grants(dataset)[-1]
    assert (row["quota"], row["distinct"], row["lease_hours"]) == (9, True, 24)
    owner.revoke(dataset, mary.name)
    number = str(mary.request(dataset)["number"])
    answer = ["dmcp", "answer", number, "--accept", "--images", "5", "--distinct"]
    assert cli(answer) == Exit.OK
    capsys.readouterr()
    assert cli(["dmcp", "grants", dataset]) == Exit.OK
    row = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (row["quota"], row["distinct"], row["lease_hours"]) == (5, True, None)


def test_the_page(server, owner, mary, dataset):
    number = mary.request(dataset)["number"]
    with browser(server, server.owner_token) as page:
        assert 'name="distinct"' in page.get("/").text
        form = {"accept": "yes", "reason": "", "images": "", "distinct": "yes"}
        assert "for a number of them" in page.post(f"/requests/{number}", data=form).text
        assert page.post(f"/requests/{number}", data={**form, "images": "0"}).status_code == 422
        assert "accepted" in page.post(f"/requests/{number}", data={**form, "images": "8"}).text
    row = owner.grants(dataset)[-1]
    assert (row["user"], row["quota"], row["distinct"]) == (mary.name, 8, True)


def test_limits_in_words():
    assert Limits(quota=3).told() == ["3 images"]
    assert Limits(quota=3, distinct=True, lease_hours=4).told() == [
        "3 distinct images",
        "a lease of 4 h",
    ]
