"""Background jobs of the platform: sealed at rest, fetched in pieces, users in turns."""

from __future__ import annotations

import io
import tarfile
import time

import httpx
import numpy as np
import pytest
from sqlalchemy import select

import dsguard
from dsguard.dmcp import jobs
from dsguard.dmcp.audit import Origin
from dsguard.dmcp.client import RefusedError
from dsguard.dmcp.jobs import Turns
from dsguard.dmcp.model import Entry, Job, User, transaction
from dsguard.dmcp.sealed import PIECE, SealedWriter, open_sealed
from dsguard.dmcp.settings import Settings
from dsguard.dmcp.state import Platform
from dsguard.errors import TamperedError
from dsguard.formats import decode_image
from tests.dmcp_service import protected, running, tar_of

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
