"""Requests that are refused or given up: odd, endless, silent, too many."""

from __future__ import annotations

import gzip
import socket
import sqlite3
import tarfile
import time
from contextlib import ExitStack, suppress

import httpx
import pytest

import dsguard
from dsguard.dmcp import frames
from dsguard.dmcp.serve import _listening
from tests.dmcp.service import (
    post,
    protected,
    refusals,
    refused,
    running,
    tar_of,
)


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
        *(
            (user.token, dataset, odd_form(), f"{form}; {charset}", 415, "content-type")
            for charset in (
                "charset=undefined",
                "charset=unicode_escape",
                "charset=punycode",
                'CharSet = "IDNA"',
                "charset=utf-8; charset=idna",
                "charset=utf-8-sig",
            )
        ),
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
            with socket.create_connection(("127.0.0.1", server.port), timeout=1) as dripping:
                dripping.sendall(request_head(server.owner_token, 1000))
                assert b" 408 " in dripped(dripping, 40)
            for said in (b"", b"GET /healthz HTTP/1.1\r\nx: "):
                with socket.create_connection(("127.0.0.1", server.port), timeout=20) as half:
                    half.sendall(said)
                    assert half.recv(4096) == b""
            with socket.create_connection(("127.0.0.1", server.port)) as slow:
                slow.sendall(request_head(server.owner_token, 1000))
                server.stop()  # which waits 30 seconds at most
        assert {code for code, _, _ in refusals(server)} == {"busy", "too-slow"}


def dripped(sender: socket.socket, count: int) -> bytes:
    """Send a byte each second until there is an answer; return its first line."""
    for _ in range(count):
        sender.sendall(b"x")
        with suppress(TimeoutError):
            return sender.recv(4096).partition(b"\r\n")[0]
    return b""


def request_head(token: str, size: int, path: str = "/v1/datasets/d/restore") -> bytes:
    return (
        f"POST {path} HTTP/1.1\r\nhost: x\r\n"
        f"authorization: Bearer {token}\r\ncontent-type: {frames.CONTENT_TYPE}\r\n"
        f"cookie: dsguard_token={token}\r\n"
        f"content-length: {size}\r\n\r\n"
    ).encode()


def test_who_leaves_in_the_middle_of_a_message_is_no_error_of_the_service(tmp_path):
    """An approval needs no token: anybody could fill the log with tracebacks."""
    with running(tmp_path / "service") as server:
        before = len(server.log)
        for _ in range(3):
            with socket.create_connection(("127.0.0.1", server.port), timeout=20) as sender:
                path = "/v1/datasets/d/approvals"
                sender.sendall(request_head(server.owner_token, 1000, path) + b"{")
        httpx.get(f"{server.url}/healthz")
        time.sleep(1)
    told = "\n".join(server.log[before:])
    assert "400" in told
    assert "Traceback" not in told


def test_nothing_is_read_of_whom_is_refused(server, user, dataset):
    for path in (f"/v1/datasets/{dataset}/restore", f"/datasets/{dataset}/restore"):
        with socket.create_connection(("127.0.0.1", server.port), timeout=20) as sender:
            sender.sendall(request_head(user.token, 5 << 20, path))
            assert b" 403 " in sender.recv(4096).partition(b"\r\n")[0]


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


def test_no_part_of_an_answer_waits_for_its_reader():
    with (
        _listening("127.0.0.1", 0) as listener,
        socket.create_connection(listener.getsockname()),
    ):
        served, _ = listener.accept()
        with served:
            assert served.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
