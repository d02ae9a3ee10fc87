"""Background jobs of the platform: sealed at rest, fetched in pieces, users in turns."""

from __future__ import annotations

import io
import sqlite3
import tarfile
import time
from datetime import UTC, datetime

import httpx
import numpy as np
import pytest
from sqlalchemy import select

import dsguard
from dsguard.dmcp import jobs
from dsguard.dmcp.audit import Origin
from dsguard.dmcp.connection import RefusedError
from dsguard.dmcp.jobs import Turns
from dsguard.dmcp.model import Entry, Job, User, transaction
from dsguard.dmcp.sealed_files import PIECE, SealedWriter, open_sealed
from dsguard.dmcp.settings import Settings
from dsguard.dmcp.state import Platform
from dsguard.errors import TamperedError
from dsguard.formats import decode_image
from tests.dmcp.service import (
    protected,
    refusals,
    refused,
    running,
    tar_of,
    vault_of,
)

KEY = bytes(range(64))
SIZES = (0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE + 5)


def content_of(size: int) -> bytes:
    return np.random.default_rng(size).bytes(size)


@pytest.mark.parametrize("size", SIZES)
def test_what_is_sealed_is_read_from_anywhere(tmp_path, size):
    path, content = tmp_path / "x", content_of(size)
    with SealedWriter(path, KEY) as file:
        for start in range(0, size, 10_000):
            file.write(content[start : start + 10_000])
            if start % 3 == 0:
                file.flush()
        assert file.tell() == size
    assert path.stat().st_mode & 0o077 == 0
    with open_sealed(path, KEY) as file:
        assert file.read() == content
        assert file.seek(0, io.SEEK_END) == size
        for start in range(0, size, 40_000):
            file.seek(start)
            assert file.read(70_000) == content[start : start + 70_000]


@pytest.mark.parametrize("kept", SIZES)
def test_a_sealed_file_goes_on_where_it_was(tmp_path, kept):
    path, content = tmp_path / "x", content_of(4 * PIECE)
    with SealedWriter(path, KEY) as file:
        file.write(content)
    with SealedWriter(path, KEY, kept) as file:
        assert file.tell() == kept
        file.write(b"more")
    with open_sealed(path, KEY) as file:
        assert file.read() == content[:kept] + b"more"
    with pytest.raises(TamperedError):
        SealedWriter(path, KEY, 5 * PIECE)


def test_a_sealed_file_that_was_changed_is_not_read(tmp_path):
    path, content = tmp_path / "x", content_of(3 * PIECE)
    with SealedWriter(path, KEY) as file:
        file.write(content)
    stored = path.read_bytes()
    assert content[:64] not in stored
    piece = len(stored) // 3
    swapped = stored[piece : 2 * piece] + stored[:piece] + stored[2 * piece :]
    changed = stored[:100] + bytes([stored[100] ^ 1]) + stored[101:]
    for bad in (swapped, changed, stored[: piece - 1], stored[:20]):
        path.write_bytes(bad)
        with open_sealed(path, KEY) as file, pytest.raises(TamperedError):
            file.read()
    path.write_bytes(stored)
    with open_sealed(path, KEY[::-1]) as file, pytest.raises(TamperedError):
        file.read()


def finished(client, number: str) -> dict:
    while (state := client.job(number))["state"] in ("queued", "running"):
        time.sleep(0.02)
    return state


def test_jobs_are_sealed_at_rest_and_fetched_in_pieces(tmp_path, scenes):
    with running(tmp_path / "service") as server:
        key = dsguard.DatasetKey.generate()
        images = [(f"{n}.png", file) for n, (_, file) in enumerate(protected(scenes, key) * 30)]
        sent = tar_of(images)
        (tmp_path / "in.tar").write_bytes(sent)
        headers = {"authorization": f"Bearer {server.owner_token}"}
        with (
            server.client(server.owner_token) as owner,
            httpx.Client(base_url=server.url, headers=headers) as http,
        ):
            owner.deposit("d", key)
            number = owner.begin_job("d", tmp_path / "in.tar")
            assert finished(owner, number)["done"] == 270
            owner.fetch_job(number, tmp_path / "out.tar")
            whole = (tmp_path / "out.tar").read_bytes()
            with tarfile.open(tmp_path / "out.tar") as archive:
                clean = archive.extractfile("3.png").read()
            np.testing.assert_array_equal(decode_image(clean), scenes[3])
            (path,) = (server.folder / "jobs").iterdir()
            assert path.stat().st_mode & 0o077 == 0
            assert clean[40:140] not in path.read_bytes()
            where, size = f"/v1/jobs/{number}/result", len(whole)
            plain = http.get(where)
            assert plain.headers["accept-ranges"] == "bytes"
            assert plain.content == whole
            for asked, status, expected in [
                ("bytes=0-99", 206, whole[:100]),
                ("bytes=100000-", 206, whole[100000:]),
                ("bytes=-512", 206, whole[-512:]),
                (f"bytes=5-{10 * size}", 206, whole[5:]),
                ("bytes=0-0,5-6", 200, whole),
                ("lines=1-2", 200, whole),
                (f"bytes={size}-", 416, b""),
                ("bytes=9-3", 416, b""),
            ]:
                answer = http.get(where, headers={"range": asked})
                assert (answer.status_code, answer.content) == (status, expected), asked
            assert answer.headers["content-range"] == f"bytes */{size}"
            other = {"range": "bytes=5-", "if-range": '"another"'}
            assert http.get(where, headers=other).status_code == 200
            same = {"range": "bytes=5-", "if-range": plain.headers["etag"]}
            assert http.get(where, headers=same).status_code == 206
            stored = path.read_bytes()
            path.write_bytes(stored[:-1] + bytes([stored[-1] ^ 1]))
            with pytest.raises(RefusedError, match="does not answer"):
                owner.fetch_job(number, tmp_path / "bad.tar")
            assert not (tmp_path / "bad.tar").exists()
            path.write_bytes(stored)
            server.stop()
            assert "wrapped 1 keys" in server.operate("rotate-master-key", f"{tmp_path}/new").stdout
            server.environment["DSGUARD_DMCP_MASTER_KEY_FILE"] = f"{tmp_path}/new"
            server.start()
            assert http.get(where).content == whole


def test_users_take_turns():
    turns = Turns()
    for user, number in [(1, "a"), (1, "b"), (2, "c"), (1, "d"), (3, "e")]:
        turns.add(user, number)
    order = []
    left = {"a": 3, "b": 1, "c": 2, "d": 1, "e": 1}
    while (turn := turns.next(0)) is not None:
        user, number = turn
        order.append(number)
        left[number] -= 1
        turns.end(user, done=not left[number])
    assert order == ["a", "c", "e", "a", "c", "a", "b", "d"]
    assert not turns.others_wait()


@pytest.fixture
def platform(tmp_path):
    """A platform in this process, whose jobs do not begin by themselves."""
    one = Platform(Settings(folder=tmp_path / "service"))
    yield one
    one.workers.stop(at_once=True)
    one.engine.dispose()


def begun(platform: Platform, user: str, images: list[tuple[str, bytes]], key) -> str:
    with platform.service(Origin()) as service:
        who = service.user_named(user) or service.register(user, publisher=True)[0]
        if key is not None:
            service.deposit(who, f"of-{user}", "", key)
    with platform.jobs.taking(who) as (number, body):
        body.write(tar_of(images))
        body.close()
        with platform.service(Origin()) as service:
            dataset = service.dataset_named(f"of-{user}")
            platform.jobs.new(service.session, number, who, dataset, "application/x-tar")
            platform.jobs.path(number, "part").rename(platform.jobs.path(number, "in"))
    platform.jobs.enqueue(number, who.id)
    return number


def job_of(platform: Platform, number: str) -> Job:
    with transaction(platform.engine) as session:
        return session.get_one(Job, number)


def test_a_long_job_does_not_stop_those_of_others(platform, scenes, monkeypatch):
    monkeypatch.setattr(jobs, "_TURN", 0.0)  # one image a turn, while others wait
    keys = [dsguard.DatasetKey.generate() for _ in range(3)]
    images = [protected(scenes, key) for key in keys]
    long = [(f"{n}.png", file) for n, (_, file) in enumerate(images[0] * 4)]
    long[7] = ("bad.png", b"x")
    numbers = [
        begun(platform, "ann", long, keys[0]),
        begun(platform, "bob", images[1][:3], keys[1]),
        begun(platform, "cat", images[2][:2], keys[2]),
        begun(platform, "bob", images[1][:1], None),
    ]
    seen = []
    queue = platform.jobs
    while (turn := queue._turns.next(0)) is not None:
        done = queue._try(turn[1])
        queue._turns.end(turn[0], done=done)
        seen.append([job_of(platform, number).done for number in numbers])
    assert [2, 2, 1, 0] in seen  # all of them go on, the second of bob after his first
    assert next(row[0] for row in seen if row[1] == 3) < 10  # long before ann's is done
    assert seen[-1] == [36, 3, 2, 1]
    assert not queue._open
    with queue.reader(numbers[0], "out") as file, tarfile.open(fileobj=file) as archive:
        names = archive.getnames()
    expected = [f"{n}.png" for n in range(36)]
    expected[7] = "bad.png.error.txt"
    assert names == expected


def test_turns_do_not_fill_the_trail(platform, monkeypatch):
    monkeypatch.setattr(jobs, "_TURN", 0.0)
    monkeypatch.setattr(jobs, "_OPEN", 2)
    bad = [("x.png", b"x")] * 12
    for user in ("ann", "bob"):
        begun(platform, user, bad, dsguard.DatasetKey.generate())
    queue = platform.jobs
    while (turn := queue._turns.next(0)) is not None:
        queue._turns.end(turn[0], done=queue._try(turn[1]))
    with transaction(platform.engine) as session:
        lines = session.scalars(select(Entry).where(Entry.action == "restore")).all()
        users = session.scalars(select(User.name).order_by(User.id)).all()
    assert [(line.actor, line.outcome) for line in lines] == [
        (user, "0 of 12 images") for user in users
    ]


def test_jobs_that_are_not_kept_open_go_on_as_well(platform, scenes, monkeypatch):
    monkeypatch.setattr(jobs, "_TURN", 0.0)
    monkeypatch.setattr(jobs, "_OPEN", 1)
    key = dsguard.DatasetKey.generate()
    other = dsguard.DatasetKey.generate()
    numbers = [
        begun(platform, "ann", protected(scenes, key), key),
        begun(platform, "bob", protected(scenes, other), other),
    ]
    queue = platform.jobs
    while (turn := queue._turns.next(0)) is not None:
        queue._turns.end(turn[0], done=queue._try(turn[1]))
    for number in numbers:
        assert (job_of(platform, number).state, job_of(platform, number).done) == ("done", 9)
        with queue.reader(number, "out") as file, tarfile.open(fileobj=file) as archive:
            assert len(archive.getnames()) == 9


def test_jobs_go_on_after_a_kill_and_are_fetched_in_pieces(tmp_path, scenes):
    with running(tmp_path / "service") as server:
        key = dsguard.DatasetKey.generate()
        images = [
            (f"{n}-{name}", file) for n in range(700) for name, file in protected(scenes, key)[:4]
        ]
        images[5] = ("bad.png", b"x")
        headers = {"authorization": f"Bearer {server.owner_token}"}
        kind = {"content-type": "application/x-tar"}
        with server.client(server.owner_token) as owner:
            owner.deposit("d", key)
        with httpx.Client(base_url=server.url, headers=headers, timeout=600) as http:
            job = http.post("/v1/datasets/d/jobs", content=tar_of(images), headers=kind).json()
            where = f"/v1/jobs/{job['number']}"
            assert http.get(f"{where}/result").json()["code"] == "not-done"
            while not (state := http.get(where).json())["done"]:
                time.sleep(0.01)
            server.kill()
        server.start()
        with httpx.Client(base_url=server.url, headers=headers, timeout=600) as http:
            while (state := http.get(where).json())["state"] != "done":
                assert state["state"] in ("queued", "running")
                time.sleep(0.05)
            assert (state["done"], state["failed"]) == (2800, 1)
            first = http.get(f"{where}/result", headers={"range": "bytes=0-99999"})
            rest = http.get(f"{where}/result", headers={"range": "bytes=100000-"})
            assert (first.status_code, rest.status_code) == (206, 206)
            with tarfile.open(fileobj=io.BytesIO(first.content + rest.content)) as archive:
                found = {m.name: archive.extractfile(m).read() for m in archive}
            assert len(found) == 2800
            for name, file in found.items():
                if name != "bad.png.error.txt":
                    n = int(name.partition("/")[2].removesuffix(".png"))
                    np.testing.assert_array_equal(decode_image(file), scenes[n])
            with server.client() as stranger:
                other = stranger.register("other")
            elsewhere = http.get(where, headers={"authorization": f"Bearer {other}"})
            assert elsewhere.json()["code"] == "no-job"
        assert "all good" in server.operate("audit", "verify").stdout


def test_a_job_stops_at_a_quota_and_what_it_has_can_be_fetched(
    tmp_path, server, owner, user, dataset, scenes, key
):
    owner.grant(dataset, user.name, quota=1000)
    images = protected(scenes, key) * 150
    named = [(f"{n}.png", file) for n, (_, file) in enumerate(images)]
    (tmp_path / "in.tar").write_bytes(tar_of(named))
    number = user.begin_job(dataset, tmp_path / "in.tar")
    while (state := user.job(number))["state"] in ("queued", "running"):
        time.sleep(0.05)
    assert (state["state"], state["done"]) == ("refused", 1000)
    user.fetch_job(number, tmp_path / "out.tar")
    with tarfile.open(tmp_path / "out.tar") as archive:
        names = archive.getnames()
    assert names == [*(name for name, _ in named[:1000]), "request.error.txt"]
    user.remove_job(number)
    owner.revoke(dataset, user.name)


def test_jobs_end_in_a_stated_way(tmp_path, scenes):
    with running(tmp_path / "service", jobs_per_user="2") as server:
        key = dsguard.DatasetKey.generate()
        images = protected(scenes, key)
        headers = {"authorization": f"Bearer {server.owner_token}"}
        kind = {"content-type": "application/x-tar"}
        jobs = server.folder / "jobs"
        with server.client(server.owner_token) as owner:
            owner.deposit("d", key)

        with httpx.Client(base_url=server.url, headers=headers, timeout=600) as http:

            def begin(content: bytes) -> dict:
                return http.post("/v1/datasets/d/jobs", content=content, headers=kind).json()

            def ended(number: str) -> dict:
                while (state := http.get(f"/v1/jobs/{number}").json())["state"] in (
                    "queued",
                    "running",
                ):
                    time.sleep(0.02)
                return state

            good, bad = begin(tar_of(images))["number"], begin(tar_of(images)[:-20000])["number"]
            assert ended(good)["state"] == "done"
            assert "send the images anew" in ended(bad)["message"]
            assert ended(bad)["state"] == "refused"
            assert refusals(server)[-1] == ("damaged", "d", "job")
            assert begin(tar_of(images))["code"] == "jobs"
            assert [job["number"] for job in http.get("/v1/jobs").json()] == [good, bad]
            with server.client(server.owner_token) as owner:
                assert owner.job(good)["done"] == 9
                owner.fetch_job(good, tmp_path / "clean.tar")
                with refused(409, "not-done"):
                    owner.fetch_job(bad, tmp_path / "bad.tar")
            with tarfile.open(tmp_path / "clean.tar") as archive:
                assert len(archive.getnames()) == 9
            assert not (tmp_path / "bad.tar").exists()
            for number in (good, bad):
                assert http.delete(f"/v1/jobs/{number}").json() == {"removed": number}
            assert list(jobs.iterdir()) == []
            server.stop()
            # killed after a job was noted, before its images were put in place; and before both
            path = server.folder / "dmcp.sqlite"
            database = sqlite3.connect(path)
            today = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S")
            for number, day in (("1" * 32, "2026-01-01 00:00:00"), ("2" * 32, today)):
                row = (number, "application/x-tar", "queued", "", day)
                database.execute("INSERT INTO jobs VALUES (?, 1, 1, ?, ?, ?, 0, 0, 0, ?)", row)
            database.commit()
            database.close()
            key = vault_of(server.folder).job_key("1" * 32, "in")
            with SealedWriter(jobs / f"{'1' * 32}.part", key) as file:
                file.write(tar_of(images))
            (jobs / f"{'3' * 32}.part").write_bytes(b"half of a")
            server.start()
            assert ended("1" * 32)["done"] == 9
            assert "not there any more" in ended("2" * 32)["message"]
            assert [path.name for path in jobs.iterdir()] == [f"{'1' * 32}.out"]
            server.stop()
            server.start()
            assert [job["number"] for job in http.get("/v1/jobs").json()] == ["2" * 32]
            assert list(jobs.iterdir()) == []
