"""The platform, over real HTTP: the story of the paper, and all that must be refused."""

from __future__ import annotations

import base64
import gzip
import io
import json
import os
import pwd
import re
import shlex
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import httpx
import numpy as np
import pytest

import dsguard
from dsguard.cli.commands import Exit
from dsguard.cli.commands import run as cli
from dsguard.dmcp import frames
from dsguard.dmcp.client import Client, RefusedError
from dsguard.dmcp.sealed import SealedWriter
from dsguard.formats import decode_image, encode_images
from tests.dmcp_service import (
    account,
    browser,
    new_name,
    protected,
    refusals,
    refused,
    running,
    tar_of,
    vault_of,
)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    settings = {
        "body_bytes": str(6 << 20),
        "image_bytes": str(1 << 20),
        "image_pixels": "1000000",
        "secure_cookies": "false",  # httpx has no exception for this machine, as browsers have
    }
    with running(tmp_path_factory.mktemp("dmcp"), **settings) as one:
        yield one


@pytest.fixture
def owner(server):
    with server.client(server.owner_token) as client:
        yield client


@pytest.fixture
def user(server):
    """A client with an account, whose name is `user.name`."""
    with account(server) as client:
        yield client


@pytest.fixture
def key():
    return dsguard.DatasetKey.generate()


@pytest.fixture
def dataset(owner, key):
    name = new_name()
    owner.deposit(name, key, "Some images")
    return name


STORY = Path(__file__).parents[1] / "docs/dmcp.md"


def test_the_story_in_the_docs(tmp_path, scenes, monkeypatch, capsys):
    """Each command of the walk-through, as it stands there, by whom it is to be given."""
    told = STORY.read_text(encoding="utf-8").partition("## The story")[2].partition("![")[0]
    lines = re.findall(
        r"^(?:(The owner|A user|The user)\b.*|    (dsguard .*))$", told, re.MULTILINE
    )
    assert len(lines) > 15
    monkeypatch.chdir(tmp_path)
    for n, image in enumerate(np.concatenate([scenes] * 4)):
        path = Path("photos", "odd" if n % 2 else "even", f"{n}.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_images(image[None] ^ np.uint8(n))[0])
    with running(tmp_path / "service") as server:
        for who, line in lines:
            if who:
                home = "owner" if who == "The owner" else "user"
                monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / home))
                continue
            command, _, comment = line.replace("http://127.0.0.1:8642", server.url).partition("#")
            if " login " in command:
                monkeypatch.setattr(sys, "stdin", io.StringIO(server.owner_token + "\n"))
            code = cli(shlex.split(command)[1:])
            shown = capsys.readouterr()
            assert (code != 0) == ("refused" in comment), (command, shown)
    for path in Path("photos").rglob("*.png"):
        clean = Path("clean") / path.relative_to("photos")
        np.testing.assert_array_equal(
            decode_image(clean.read_bytes()), decode_image(path.read_bytes())
        )


def test_the_whole_story(tmp_path, server, scenes, monkeypatch, capsys):
    """The same, and what it says on the way."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DSGUARD_DMCP_URL", server.url)
    dsguard.DatasetKey.generate().save("dataset.key")
    key = dsguard.DatasetKey.load("dataset.key")
    for name, file in protected(scenes, key):
        Path("published", name).parent.mkdir(parents=True, exist_ok=True)
        Path("published", name).write_bytes(file)

    def run(arguments: str, home: str, code: int = 0) -> str:
        monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / home))
        assert cli(["dmcp", *arguments.split()]) == code, capsys.readouterr()
        shown = capsys.readouterr()
        return shown.out + shown.err

    monkeypatch.setenv("DSGUARD_DMCP_TOKEN", server.owner_token)
    assert "version 1" in run("deposit xrays --key dataset.key --title Chests", "owner")
    monkeypatch.delenv("DSGUARD_DMCP_TOKEN")
    assert "registered as mary" in run(f"register mary --url {server.url}", "mary")
    assert (tmp_path / "mary/dsguard/dmcp.json").stat().st_mode & 0o077 == 0
    assert "xrays: no rights" in run("datasets", "mary")
    assert "may not restore" in run("restore xrays published clean", "mary", Exit.USAGE)
    assert "is with the owners" in run("request xrays --message please", "mary")
    monkeypatch.setenv("DSGUARD_DMCP_TOKEN", server.owner_token)
    number = run("requests", "owner").split(":")[0]
    assert "accepted" in run(f"answer {number} --accept", "owner")
    monkeypatch.delenv("DSGUARD_DMCP_TOKEN")
    assert "restored 9 of 9" in run("restore xrays published clean", "mary")
    for n, image in enumerate(scenes):
        np.testing.assert_array_equal(decode_image(Path(f"clean/a/{n}.png").read_bytes()), image)
    Path("published/a/0.png").write_bytes(encode_images(scenes[:1])[0])
    assert "carries no dsguard header" in run("restore xrays published again", "mary", 3)
    told = run("restore xrays published clean", "mary")
    assert "restored 9 of 9 images into clean; 9 were there" in told
    monkeypatch.setenv("DSGUARD_DMCP_TOKEN", server.owner_token)
    assert "version 1" in run("keys xrays", "owner")
    assert json.loads(run("grants xrays", "owner").splitlines()[-1])["used"] == 18  # one failed
    assert "ended 1 grant" in run("revoke xrays mary", "owner")
    lines = [json.loads(line) for line in run("audit show xrays", "owner").splitlines()]
    actions = [line["action"] for line in lines]
    assert actions[:3] == ["deposit", "refused", "request"] or "request" in actions
    restored = [line for line in lines if line["action"] == "restore"]
    assert [line["images"] for line in restored] == [9, 8]
    assert {line["actor"] for line in restored} == {"mary"}
    assert all(len(line["digest"]) == 64 and line["key_version"] == 1 for line in restored)
    monkeypatch.delenv("DSGUARD_DMCP_TOKEN")
    assert "was revoked" in run("restore xrays published more", "mary", Exit.USAGE)
    assert "all good" in server.operate("audit", "verify").stdout


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
    owner.grant(dataset, user.name, expires=datetime.now(UTC) + timedelta(seconds=1.5))
    assert len(list(user.restore(dataset, images))) == 9
    time.sleep(1.5)
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
        lambda: user.keys(dataset),
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


def test_a_ring_of_keys(owner, user, dataset, scenes, key):
    newer = dsguard.DatasetKey.generate()
    assert owner.deposit(dataset, newer)["version"] == 2
    owner.grant(dataset, user.name)
    other = dsguard.DatasetKey.generate()
    images = protected(scenes, key)[:4] + protected(scenes, newer)[4:] + protected(scenes, other)
    found = list(user.restore(dataset, images))
    assert [bool(image.error) for image in found] == [False] * 9 + [True] * 9
    assert "none of this dataset's" in found[-1].error
    for n, image in enumerate(scenes):
        np.testing.assert_array_equal(decode_image(found[n].data), image)


def test_images_of_which_none_can_be_restored_are_told_one_by_one(
    owner, user, dataset, scenes, key
):
    owner.deposit(dataset, dsguard.DatasetKey.generate())  # the newest key opens none of them
    owner.grant(dataset, user.name)
    clean = [("small.png", encode_images(scenes[:1, :16, :16])[0])]
    (alone,) = user.restore(dataset, clean)
    assert "carries no dsguard header" in alone.error
    found = list(user.restore(dataset, [*protected(scenes, key)[:2], *clean]))
    assert [bool(image.error) for image in found] == [False, False, True]


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


def post(server, token, dataset, content, kind, **more):
    return httpx.post(
        f"{server.url}/v1/datasets/{dataset}/restore",
        content=content,
        headers={"authorization": f"Bearer {token}", "content-type": kind},
        **more,
    )


def test_tar_and_forms(server, owner, user, dataset, scenes, key):
    owner.grant(dataset, user.name)
    images = [*protected(scenes, key), ("bad.png", b"x")]
    answers = [
        post(server, user.token, dataset, tar_of(images), "application/x-tar"),
        httpx.post(
            f"{server.url}/v1/datasets/{dataset}/restore",
            files=[("files", (name, file)) for name, file in images],
            headers={"authorization": f"Bearer {user.token}"},
        ),
    ]
    for answer in answers:
        assert answer.status_code == 200, answer.text
        with tarfile.open(fileobj=io.BytesIO(answer.content)) as archive:
            found = {m.name: archive.extractfile(m).read() for m in archive}
        assert b"not an image" in found.pop("bad.png.error.txt")
        assert list(found) == [name for name, _ in images[:-1]]
        np.testing.assert_array_equal(decode_image(found["a/3.png"]), scenes[3])


def header_of(kind: bytes, size: bytes) -> bytes:
    header = bytearray(tarfile.TarInfo("x").tobuf(tarfile.USTAR_FORMAT))
    header[124:136], header[148:156], header[156:157] = size.ljust(12, b"\0"), b" " * 8, kind
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + bytes(1024)


def odd_form() -> bytes:
    head = b'--x\r\nContent-Disposition: form-data; name="files"; filename="\\ud800.png"'
    return head + b"\r\n\r\na\r\n--x--\r\n"


def endless_form():
    yield b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
    yield from [bytes(1 << 20)] * 7


def test_what_must_be_refused(server, owner, user, dataset, scenes, key):
    owner.grant(dataset, user.name)
    good = protected(scenes, key)
    before = len(owner.audit(dataset, 0, 1000))
    bomb = frames._HEAD.pack(1, 0, 1 << 31) + b"x"
    tar, form = "application/x-tar", "multipart/form-data; boundary=x"
    for token, where, content, kind, status, code in [
        (None, dataset, b"", tar, 401, "bad-token"),
        ("dsg_" + "x" * 43, dataset, b"", tar, 401, "bad-token"),
        (user.token[:-1], dataset, b"", tar, 401, "bad-token"),
        (user.token, "none", b"", tar, 404, "no-dataset"),
        (user.token, "'; DROP TABLE users; --", b"", tar, 404, "no-dataset"),
        (user.token, dataset, b"x", "text/html", 415, "content-type"),
        (user.token, dataset, b"x" * 600, tar, 400, "damaged"),
        (user.token, dataset, gzip.compress(tar_of(good)), tar, 400, "damaged"),
        (user.token, dataset, tar_of([("../evil.png", b"x")]), tar, 400, "damaged"),
        (user.token, dataset, tar_of([("/evil.png", b"x")]), tar, 400, "damaged"),
        (user.token, dataset, tar_of(good)[:-20000], tar, 400, "damaged"),
        (user.token, dataset, header_of(b"5", b"-0000001000"), tar, 400, "damaged"),
        (user.token, dataset, header_of(b"0", b"-0000001000"), tar, 400, "damaged"),
        (user.token, dataset, odd_form(), f"{form}; charset=undefined", 400, "damaged"),
        (user.token, dataset, odd_form(), f"{form}; charset=unicode_escape", 400, "damaged"),
        (user.token, dataset, bomb, frames.CONTENT_TYPE, 400, "damaged"),
        (user.token, dataset, b"x", frames.CONTENT_TYPE, 400, "damaged"),
        ("dsg_" + "x" * 43, dataset, bytes(1 << 20), tar, 401, "bad-token"),
        ("dsg_" + "x" * 43, dataset, iter([bytes(1 << 20)]), tar, 401, "bad-token"),
        (user.token, dataset, b"x", "multipart/form-data", 400, "invalid"),
        (user.token, dataset, bytes(7 << 20), tar, 413, "too-large"),
        (user.token, dataset, endless_form(), "multipart/form-data; boundary=x", 413, "too-large"),
        (user.token, dataset, iter([bytes(1 << 20)] * 7), tar, 413, "too-large"),
    ]:
        answer = post(server, token, where, content, kind)
        problem = answer.json()
        assert (answer.status_code, problem["code"]) == (status, code), problem
        assert problem["message"]
        assert problem["remedy"]
        assert problem["request"] == answer.headers["x-request-id"]
    with sqlite3.connect(server.folder / "dmcp.sqlite") as database:
        rows = database.execute("SELECT outcome FROM audit WHERE action = 'refused'").fetchall()
    database.close()
    outcomes = {row[0] for row in rows}
    assert {"bad-token", "no-dataset", "content-type", "damaged", "too-large"} <= outcomes
    assert len(owner.audit(dataset, 0, 1000)) > before
    assert len(list(user.restore(dataset, good))) == 9  # all is well after that


@pytest.mark.parametrize(
    ("method", "path", "content", "status"),
    [
        ("POST", "/v1/datasets/{}/keys/99999999999999999999/export", b"", 422),
        ("POST", "/v1/requests/99999999999999999999", b'{"accept": true}', 422),
        ("GET", "/v1/datasets/{}/audit?after=99999999999999999999", b"", 422),
        ("POST", "/v1/datasets/{}/grants", b'{"user": "owner", "expires": 1e300}', 422),
        ("POST", "/v1/datasets/{}/grants", b'{"user": "x", "expires": "0001-01-01T00:00+09"}', 422),
        ("POST", "/v1/datasets/{}/grants", b'{"user": "o\\u0000", "quota": 1}', 422),
        ("POST", "/v1/datasets/{}/requests", b'{"message": "\\u0000"}', 422),
        ("POST", "/v1/datasets/{}/requests", b'{"message": "\\ud800"}', 422),
        ("POST", "/v1/datasets/{}/requests", b'{"message"', 422),
        ("POST", "/v1/datasets/{}/requests", b'{"message": "' + b"x" * 100_000 + b'"}', 413),
        ("GET", "/v1/datasets/%00/grants", b"", 404),
        ("GET", "/v1/jobs/%00", b"", 404),
        ("GET", "/nowhere", b"", 404),
        ("PUT", "/v1/me", b"", 405),
    ],
)  # fmt: skip
def test_odd_requests_are_answered_as_all_others(server, dataset, method, path, content, status):
    answer = httpx.request(
        method,
        server.url + path.format(dataset),
        content=content,
        headers={
            "authorization": f"Bearer {server.owner_token}",
            "content-type": "application/json",
        },
    )
    assert answer.status_code == status, answer.text
    assert set(answer.json()) == {"code", "message", "remedy", "request"}


def test_refusals_have_dataset_and_true_address(tmp_path):
    with running(tmp_path / "service", body_bytes=str(6 << 20)) as server:
        with server.client(server.owner_token) as owner, server.client() as stranger:
            owner.deposit("d")
            token = stranger.register("mary")
        with server.client(token) as mary, refused(403, "no-grant"):
            mary.grants("d")
        headers = {"x-forwarded-for": "9.9.9.9"}
        assert httpx.get(f"{server.url}/v1/me", headers=headers).status_code == 401
        large = post(server, token, "d", bytes(7 << 20), "application/x-tar")
        assert large.status_code == 413
        assert refusals(server) == [
            ("no-grant", "d", "127.0.0.1"),
            ("no-token", "", "127.0.0.1"),
            ("too-large", "d", "127.0.0.1"),
        ]


def test_images_that_are_too_large_do_not_spoil_the_rest(server, owner, user, dataset, scenes, key):
    owner.grant(dataset, user.name)
    heavy = bytes((1 << 20) + 1)
    bomb = encode_images(np.zeros((1, 2000, 2000, 3), np.uint8))[0]
    small = encode_images(np.zeros((1, 1, 1, 3), np.uint8))[0]
    twice = small[:33] + bomb[8:]  # some decoders take the second header
    images = protected(scenes, key)
    sent = [images[0], ("heavy.png", heavy), ("bomb.png", bomb), ("two.png", twice), images[1]]
    found = list(user.restore(dataset, sent))
    assert [image.name for image in found] == [name for name, _ in sent]
    assert [bool(image.data) for image in found] == [True, False, False, False, True]
    assert "1048576 are allowed" in found[1].error
    assert "4000000 pixels" in found[2].error
    assert "4000000 pixels" in found[3].error
    answer = post(server, user.token, dataset, tar_of(sent), "application/x-tar")
    with tarfile.open(fileobj=io.BytesIO(answer.content)) as archive:
        names = archive.getnames()
    failed = [f"{name}.png.error.txt" for name in ("heavy", "bomb", "two")]
    assert names == ["a/0.png", *failed, "a/1.png"]


def test_images_whose_names_differ_in_the_suffix_alone(
    tmp_path, server, owner, user, dataset, scenes, key, monkeypatch
):
    owner.grant(dataset, user.name)
    files = [file for _, file in protected(scenes, key)]
    sent = list(zip(["a.png", "a.tif", "a", "a.tif.png"], files, strict=False))
    answer = post(server, user.token, dataset, tar_of(sent), "application/x-tar")
    with tarfile.open(fileobj=io.BytesIO(answer.content)) as archive:
        found = [decode_image(archive.extractfile(member).read()) for member in archive]
        assert len(set(archive.getnames())) == 4
    np.testing.assert_array_equal(found, scenes[:4])
    for name, file in sent:
        tmp_path.joinpath("in", name).parent.mkdir(exist_ok=True)
        tmp_path.joinpath("in", name).write_bytes(file)
    monkeypatch.setenv("DSGUARD_DMCP_URL", server.url)
    monkeypatch.setenv("DSGUARD_DMCP_TOKEN", user.token)
    monkeypatch.chdir(tmp_path)
    assert cli(["dmcp", "restore", dataset, "in", "out"]) == Exit.OK
    found = {path.name: decode_image(path.read_bytes()) for path in Path("out").iterdir()}
    assert len(found) == 3  # what has no suffix is no image to a folder
    np.testing.assert_array_equal(found["a.png"], scenes[0])


def test_the_client_trusts_no_names(scenes):
    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=frames.packed("../evil.png", frames.OK, b"x"))

    with Client("https://x", "t") as client:
        client._http = httpx.Client(base_url="https://x", transport=httpx.MockTransport(answer))
        with pytest.raises(RefusedError, match="other images"):
            list(client.restore("d", [("good.png", b"x")]))


def group_of(pid: int) -> list[int]:
    """Return the other processes of a process group."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = path.read_text().rpartition(")")[2].split()
            if int(fields[2]) == pid and fields[0] != "Z" and int(path.parent.name) != pid:
                found.append(int(path.parent.name))
    return found


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="/proc tells the processes")
def test_workers_that_die_are_replaced(tmp_path, scenes):
    with running(tmp_path / "service") as server:
        key = dsguard.DatasetKey.generate()
        images = protected(scenes, key)
        with server.client(server.owner_token) as owner:
            owner.deposit("d", key)
            for _ in range(2):
                assert len(list(owner.restore("d", images))) == 9
                others = group_of(server.process.pid)
                assert others
                for other in others:
                    os.kill(other, signal.SIGKILL)
            got = 0
            for image in owner.restore("d", images * 1000):
                assert not image.error
                if got == 1000:
                    for other in group_of(server.process.pid):
                        os.kill(other, signal.SIGKILL)
                got += 1
            assert got == 9000


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


def test_who_stops_reading_or_sending_is_given_up(tmp_path, scenes):
    with running(tmp_path / "service", patience="2", waiting_per_user="1") as server:
        key = dsguard.DatasetKey.generate()
        images = protected(scenes, key)
        with server.client(server.owner_token) as owner, server.client() as stranger:
            owner.deposit("d", key)
            token = stranger.register("mary")
            owner.grant("d", "mary")
            body = b"".join(frames.packed(name, "", file) for name, file in images) * 1200
            with socket.socket() as reader, server.client(token) as mary:
                reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                reader.connect(("127.0.0.1", server.port))
                reader.sendall(request_head(server.owner_token, len(body)) + body)
                time.sleep(1)
                busy = post(server, server.owner_token, "d", body[:9], frames.CONTENT_TYPE)
                assert (busy.status_code, busy.json()["code"]) == (429, "busy")
                assert len(list(mary.restore("d", images))) == 9  # is not in her way
                assert len(list(owner.restore("d", images))) == 9  # waits till it is given up
            with socket.create_connection(("127.0.0.1", server.port)) as sender:
                sender.sendall(request_head(server.owner_token, 1000))
                assert b" 408 " in sender.recv(4096).partition(b"\r\n")[0]
            for said in (b"", b"GET /healthz HTTP/1.1\r\nx: "):
                with socket.create_connection(("127.0.0.1", server.port), timeout=20) as half:
                    half.sendall(said)
                    assert half.recv(4096) == b""
            with socket.create_connection(("127.0.0.1", server.port)) as slow:
                slow.sendall(request_head(server.owner_token, 1000))
                server.stop()  # which waits 30 seconds at most
        assert {code for code, _, _ in refusals(server)} == {"busy", "too-slow"}


def request_head(token: str, size: int, path: str = "/v1/datasets/d/restore") -> bytes:
    return (
        f"POST {path} HTTP/1.1\r\nhost: x\r\n"
        f"authorization: Bearer {token}\r\ncontent-type: {frames.CONTENT_TYPE}\r\n"
        f"cookie: dsguard_token={token}\r\n"
        f"content-length: {size}\r\n\r\n"
    ).encode()


def test_nothing_is_read_of_whom_is_refused(server, user, dataset):
    for path in (f"/v1/datasets/{dataset}/restore", f"/datasets/{dataset}/restore"):
        with socket.create_connection(("127.0.0.1", server.port), timeout=20) as sender:
            sender.sendall(request_head(user.token, 5 << 20, path))
            assert b" 403 " in sender.recv(4096).partition(b"\r\n")[0]


def test_the_cookie_of_the_page_is_no_token_of_the_api(server, user):
    with browser(server, user.token) as page:
        assert page.get("/").status_code == 200
        assert page.post("/v1/tokens").status_code == 401


def test_many_at_once_do_not_stop_the_service(server, user):
    """All of them come to their end in the same moment, more than there are threads."""
    head = f"GET /v1/datasets HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {user.token}\r\n"
    with ExitStack() as held:
        everyone = [
            held.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=25))
            for _ in range(120)
        ]
        for one in everyone:
            one.sendall(head.encode())
        for one in everyone:
            one.sendall(b"\r\n")
        lines = [one.recv(4096).partition(b"\r\n")[0] for one in everyone]
    assert set(lines) == {b"HTTP/1.1 200 OK"}


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


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="/proc tells the processes")
def test_workers_end_with_the_service(tmp_path, scenes):
    with running(tmp_path / "service") as server:
        key = dsguard.DatasetKey.generate()
        with server.client(server.owner_token) as owner:
            owner.deposit("d", key)
            assert len(list(owner.restore("d", protected(scenes, key)))) == 9
        assert group_of(server.process.pid)
        server.process.kill()
        server.process.wait()
        for _ in range(200):
            if not group_of(server.process.pid):
                break
            time.sleep(0.05)
        assert group_of(server.process.pid) == []


def test_refusals_fill_the_trail_no_faster_than_the_rate(tmp_path):
    with running(tmp_path / "service", requests_per_minute="5") as server:
        codes = [httpx.get(f"{server.url}/v1/me").status_code for _ in range(20)]
        assert codes == [401] * 5 + [429] * 15
        assert len(refusals(server)) == 1


@pytest.mark.parametrize(
    "evil", ["'; DROP TABLE users; --", "a\x00b", "../x", "A", "", "é", "x" * 65]
)
def test_every_field_is_checked(server, owner, user, evil):
    for path, content in [
        ("/v1/users", {"name": evil}),
        ("/v1/datasets", {"name": evil}),
        ("/v1/datasets", {"name": "x", "secret": evil}),
        ("/v1/datasets/x/grants", {"user": evil, "right": "restore"}),
        ("/v1/datasets/x/grants", {"user": "x", "right": evil}),
        ("/v1/datasets/x/grants", {"user": "x", "expires": evil}),
        ("/v1/datasets/x/revoke", {"user": evil, "more": 1}),
        ("/v1/requests/1", {"accept": evil}),
    ]:
        answer = httpx.post(
            server.url + path,
            json=content,
            headers={"authorization": f"Bearer {server.owner_token}"},
        )
        assert 400 <= answer.status_code < 500, (path, content, answer.text)
        assert answer.json()["remedy"]
        assert "x" * 64 not in answer.text


def test_tokens_are_replaced(server, user):
    headers = {"authorization": f"Bearer {user.token}"}
    token = httpx.post(f"{server.url}/v1/tokens", headers=headers).json()["token"]
    with refused(401, "bad-token"):
        user.me()
    with server.client(token) as again:
        assert again.me()["name"] == user.name


def test_the_page(server, owner, user, dataset, scenes, key):
    images = protected(scenes, key)
    with browser(server) as page:
        assert "Log in" in page.get("/").text
        wrong = page.post("/login", data={"token": "dsg_" + "x" * 43})
        assert wrong.status_code == 401
        assert "not valid" in wrong.text
    with browser(server, user.token) as mine, browser(server, server.owner_token) as theirs:
        cookie = next(iter(mine.cookies.jar))
        assert cookie.has_nonstandard_attr("HttpOnly")
        refused_page = mine.get(f"/datasets/{dataset}/restore")
        assert refused_page.status_code == 403
        assert "was never given" in refused_page.text
        message = "<script>alert(1)</script>"
        asked = mine.post(f"/datasets/{dataset}/ask", data={"message": message})
        assert "with the owners" in asked.text
        shown = theirs.get("/").text
        assert message not in shown
        assert "&lt;script&gt;" in shown
        number = owner.requests()[-1]["number"]
        accepted = theirs.post(f"/requests/{number}", data={"accept": "yes", "reason": ""})
        assert "The request was accepted" in accepted.text
        reference = mine.get("/docs").text
        assert "POST /v1/datasets/{name}/restore" in reference
        assert "<script" not in reference
        files = [("files", (name, file)) for name, file in [*images[:2], ("x.png", b"x")]]
        restored = mine.post(f"/datasets/{dataset}/restore", files=files)
        assert "not an image file" in restored.text
        found = re.findall(r'alt="restored"|href="data:image/png;base64,([^"]+)"', restored.text)
        pixels = decode_image(base64.b64decode(next(part for part in found if part)))
        np.testing.assert_array_equal(pixels, scenes[0])
        assert "restore" in theirs.get(f"/datasets/{dataset}").text
        other = theirs.post(
            f"/datasets/{dataset}/revoke",
            data={"user": user.name, "right": "restore"},
            headers={"origin": "https://evil.example"},
        )
        assert other.status_code == 403
        assert refusals(server)[-1][:2] == ("other-site", dataset)
        files = [("files", (name, file)) for name, file in images + images]
        assert "send 1 to 12" in mine.post(f"/datasets/{dataset}/restore", files=files).text
        files = [("files", ("heavy.png", bytes((1 << 20) + 1)))]
        heavy = mine.post(f"/datasets/{dataset}/restore", files=files)
        assert "1048576 are allowed" in heavy.text
        theirs.post(f"/datasets/{dataset}/revoke", data={"user": user.name, "right": "restore"})
        assert "was revoked" in mine.get(f"/datasets/{dataset}/restore").text
        assert "script-src" not in restored.headers["content-security-policy"]
        assert "default-src 'none'" in restored.headers["content-security-policy"]
        mine.post("/logout")
        assert "Log in" in mine.get("/").text


def test_the_page_in_a_browser(tmp_path, scenes):
    """In headless Chromium, where there is one with its driver; with cookies for TLS alone."""
    webdriver = pytest.importorskip("selenium.webdriver")
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (chromium and driver):
        pytest.skip("there is no chromium with chromedriver here")
    key = dsguard.DatasetKey.generate()
    paths = []
    for name, file in protected(scenes, key)[:6]:
        path = tmp_path / name.replace("/", "-")
        path.write_bytes(file)
        paths.append(str(path))
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in ("headless=new", "no-sandbox", "disable-dev-shm-usage", "window-size=900,900"):
        options.add_argument(f"--{flag}")
    with (
        running(tmp_path / "service") as server,
        webdriver.Chrome(options, webdriver.ChromeService(driver)) as page,
    ):
        with server.client(server.owner_token) as owner:
            owner.deposit("scenes", key, "Some images")
        page.implicitly_wait(20)
        page.get(server.url)
        page.find_element("name", "token").send_keys(server.owner_token + "\n")
        page.find_element("css selector", "a[href='/datasets/scenes/restore']").click()
        page.find_element("name", "files").send_keys("\n".join(paths))
        page.find_element("css selector", "main button").click()
        shown = page.find_elements("css selector", "figure img")
        assert len(shown) == 12
        assert all(
            page.execute_script("return arguments[0].naturalWidth", image) == 32 for image in shown
        )
        page.save_screenshot(os.environ.get("DSGUARD_SCREENSHOT", str(tmp_path / "page.png")))


def test_a_closed_and_busy_service(tmp_path, scenes):
    settings = {
        "open_registration": "false",
        "requests_per_minute": "12",
        "images_per_day": "10",
    }
    with running(tmp_path / "service", **settings) as server:
        with server.client() as stranger, refused(403, "closed"):
            stranger.register("x")
        with server.client(server.owner_token) as owner:
            key = dsguard.DatasetKey.generate()
            owner.deposit("d", key)
            images = protected(scenes, key)
            assert len(list(owner.restore("d", images))) == 9
            with refused(429, "daily-quota"):
                list(owner.restore("d", images))
            with refused(429, "rate"):
                for _ in range(20):
                    owner.me()


def test_nothing_secret_is_stored_or_logged(tmp_path, scenes):
    with running(tmp_path / "service") as server:
        key = dsguard.DatasetKey.generate()
        with server.client(server.owner_token) as owner:
            owner.deposit("d", key)
            list(owner.restore("d", protected(scenes, key)))
            owner.export_key("d", 1)
        metrics = httpx.get(f"{server.url}/metrics").text
        assert "dsguard_images_total 9.0" in metrics
        document = httpx.get(f"{server.url}/openapi.json").json()
        images = document["paths"]["/v1/datasets/{name}/restore"]["post"]
        assert "application/x-tar" in images["requestBody"]["content"]
        assert "application/x-tar" in images["responses"]["200"]["content"]
        server.stop()
        logged = "".join(server.log)
        assert '"status": 200' in logged
        own = ("master.key", "owner.token")
        files = [
            path for path in server.folder.iterdir() if path.is_file() and path.name not in own
        ]
        kept = b"".join(path.read_bytes() for path in files) + logged.encode()
        master = (server.folder / "master.key").read_text().strip()
        for secret in (key.secret.hex(), server.owner_token.removeprefix("dsg_"), master):
            assert secret.encode() not in kept
        assert key.secret not in kept


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


def test_the_master_key_is_needed_and_can_be_changed(tmp_path, scenes):
    with running(tmp_path / "service") as server:
        key = dsguard.DatasetKey.generate()
        with server.client(server.owner_token) as owner:
            owner.deposit("d", key)
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
        done = subprocess.run(
            [sys.executable, "-m", "dsguard", "dmcp", *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
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


def test_the_commands_explain_themselves(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    for name in ("DSGUARD_DMCP_URL", "DSGUARD_DMCP_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    assert cli(["dmcp", "datasets"]) == Exit.USAGE
    assert "you are not logged in" in capsys.readouterr().err
    monkeypatch.delenv("DSGUARD_KEY_FILE", raising=False)
    assert cli(["dmcp", "deposit", "x"]) == Exit.USAGE
    assert "--new-key" in capsys.readouterr().err
    (tmp_path / "dsguard").mkdir()
    (tmp_path / "dsguard/dmcp.json").write_text('{"url": "http://127.0.0.1:1", "token": "t"}')
    assert cli(["dmcp", "register", "x"]) == Exit.USAGE
    assert "--replace" in capsys.readouterr().err
    (tmp_path / "key").write_text("x")
    assert cli(["dmcp", "export-key", "x", "1", str(tmp_path / "key")]) == Exit.USAGE
    assert "no key was asked for" in " ".join(capsys.readouterr().err.split())
    assert cli(["dmcp", "restore", "x", str(tmp_path), str(tmp_path) + "-out"]) == Exit.USAGE
    assert "no image files" in capsys.readouterr().err
    monkeypatch.setenv("DSGUARD_DMCP_TOKEN", "dsg_x")
    monkeypatch.setenv("DSGUARD_DMCP_URL", "127.0.0.1:1")
    assert cli(["dmcp", "datasets"]) == Exit.USAGE
    assert "begins with http" in capsys.readouterr().err
    monkeypatch.setenv("DSGUARD_DMCP_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("DSGUARD_DMCP_TOKEN", "dsg_x")
    assert cli(["dmcp", "datasets"]) == Exit.USAGE
    assert "does not answer" in capsys.readouterr().err


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
        with httpx.Client(base_url=server.url, headers=headers, timeout=60) as http:
            job = http.post("/v1/datasets/d/jobs", content=tar_of(images), headers=kind).json()
            where = f"/v1/jobs/{job['number']}"
            assert http.get(f"{where}/result").json()["code"] == "not-done"
            while not (state := http.get(where).json())["done"]:
                time.sleep(0.01)
            server.kill()
        server.start()
        with httpx.Client(base_url=server.url, headers=headers, timeout=60) as http:
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


@pytest.fixture
def postgres(tmp_path):
    """The URL of a PostgreSQL server of its own."""
    pytest.importorskip("psycopg")
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found and not shutil.which("initdb"):
        pytest.skip("there is no PostgreSQL here")
    tools = found[-1].parent if found else Path(shutil.which("initdb")).parent
    data = Path(tempfile.mkdtemp(prefix="dsguard-pg-"))
    who = {}
    if os.getuid() == 0:  # which it refuses to run as
        if "postgres" not in {entry.pw_name for entry in pwd.getpwall()}:
            pytest.skip("PostgreSQL does not run as root, and there is no user postgres")
        shutil.chown(data, "postgres")
        who = {"user": "postgres", "group": "postgres", "extra_groups": []}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = f"-p {port} -k {data} -c listen_addresses=127.0.0.1 -c fsync=off"
    control = [tools / "pg_ctl", "-D", data / "db", "-w", "-l", data / "log"]
    run = partial(subprocess.run, check=True, stdout=subprocess.DEVNULL, cwd=data, **who)
    run([tools / "initdb", "-D", data / "db", "-A", "trust", "-U", "dsguard"])
    run([*control, "-o", options, "start"])
    try:
        yield f"postgresql+psycopg://dsguard@127.0.0.1:{port}/postgres"
    finally:
        run([*control, "-m", "immediate", "stop"])
        shutil.rmtree(data)


def test_postgresql(tmp_path, postgres, scenes):
    with running(tmp_path / "service", database=postgres) as server:
        key = dsguard.DatasetKey.generate()
        images = protected(scenes, key)
        with server.client(server.owner_token) as owner:
            owner.deposit("d", key)
            with server.client() as stranger:
                token = stranger.register("mary")
            owner.grant("d", "mary", quota=10**11)
            with server.client(token) as mary, ThreadPoolExecutor(4) as pool:
                done = list(pool.map(lambda _: len(list(mary.restore("d", images))), range(8)))
            assert done == [9] * 8
            assert owner.grants("d")[-1]["used"] == 72
            server.kill()
            server.start()
            assert owner.export_key("d", 1) == key
            assert sum(entry["images"] or 0 for entry in owner.audit("d")) == 72
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

        with httpx.Client(base_url=server.url, headers=headers, timeout=60) as http:

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
