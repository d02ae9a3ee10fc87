"""The client of the platform: no token is lost, printed, or sent in clear without a word."""

from __future__ import annotations

import codecs
import gzip
import io
import json
import os
import re
import sys
from pathlib import Path

import httpx
import pytest

from dsguard.cli.commands import Exit
from dsguard.cli.commands import run as cli
from dsguard.cli.dmcp import connection
from dsguard.dmcp import frames
from dsguard.dmcp.client import Client
from dsguard.dmcp.connection import RefusedError
from dsguard.errors import InputError

TOKEN = "dsg_" + "s3cret" * 7 + "x"


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    for name in ("URL", "TOKEN", "ALLOW_HTTP"):
        monkeypatch.delenv(f"DSGUARD_DMCP_{name}", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path / "config"


class Answers:
    """A service that has these answers, and notes what it was asked."""

    def __init__(self, monkeypatch, **answers: object) -> None:
        self.asked: list[tuple[str, str]] = []
        self._answers = answers
        transport = httpx.MockTransport(self._answer)
        real = httpx.Client

        def client(**options: object) -> httpx.Client:
            return real(**{**options, "transport": transport})

        monkeypatch.setattr(httpx, "Client", client)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.asked.append((request.url.path, request.headers.get("authorization", "")))
        found = self._answers.get(request.url.path.rpartition("/")[2])
        if isinstance(found, httpx.Response | Exception):
            if isinstance(found, Exception):
                raise found
            return found
        return httpx.Response(200, json=found)


def told(capsys) -> str:
    shown = capsys.readouterr()
    assert TOKEN not in shown.out + shown.err
    assert "Traceback" not in shown.err
    return " ".join((shown.out + shown.err).split())


def kept(path: Path) -> dict:
    assert path.stat().st_mode & 0o077 == 0
    return json.loads(path.read_text())


@pytest.mark.parametrize("arguments", [["register", "mary"], ["login", "http://127.0.0.1:1"]])
def test_nothing_is_asked_where_a_login_cannot_be_kept(home, monkeypatch, capsys, arguments):
    service = Answers(monkeypatch, users={"token": TOKEN}, me={"name": "mary"})
    monkeypatch.setattr(sys, "stdin", io.StringIO(TOKEN))
    home.write_text("a file where the folder should be")
    assert cli(["dmcp", *arguments]) == Exit.USAGE
    assert "cannot be kept in" in told(capsys)
    assert service.asked == []
    home.unlink()
    monkeypatch.setattr(sys, "stdin", io.StringIO(TOKEN))
    monkeypatch.setattr(connection.os, "fsync", full_disk)
    assert cli(["dmcp", *arguments]) == Exit.USAGE
    assert "No space left" in told(capsys)
    assert service.asked == []
    assert list(home.rglob("*")) == [home / "dsguard"]


def full_disk(_: int) -> None:
    raise OSError(28, "No space left on device")


def test_a_login_is_put_in_place_whole(home, monkeypatch, capsys):
    Answers(monkeypatch, users={"token": TOKEN})
    assert cli(["dmcp", "register", "mary"]) == Exit.OK
    assert "registered as mary" in told(capsys)
    path = home / "dsguard/dmcp.json"
    assert kept(path) == {"url": "http://127.0.0.1:8642", "token": TOKEN}
    assert list(path.parent.iterdir()) == [path]
    assert len(path.read_text()) < 200


def test_a_token_is_not_lost_where_its_place_is_gone(tmp_path, home, monkeypatch, capsys):
    """Written, but not renamed; or not even written after all."""
    Answers(monkeypatch, users={"token": TOKEN})
    monkeypatch.setattr(Path, "replace", lambda *_: full_disk(0))
    assert cli(["dmcp", "register", "mary"]) == Exit.USAGE
    assert "move" in told(capsys)
    (left,) = (home / "dsguard").iterdir()
    assert kept(left)["token"] == TOKEN
    left.unlink()
    monkeypatch.setattr(connection.tempfile, "tempdir", str(tmp_path / "elsewhere"))
    (tmp_path / "elsewhere").mkdir()
    synced = []
    real = os.fsync

    def fail_later(file: int) -> None:
        synced.append(file)
        (real if len(synced) == 1 else full_disk)(file)

    monkeypatch.setattr(connection.os, "fsync", fail_later)
    assert cli(["dmcp", "register", "mary"]) == Exit.USAGE
    (left,) = (tmp_path / "elsewhere").rglob("*.json")
    assert str(left) in told(capsys).replace(" ", "")
    assert kept(left)["token"] == TOKEN
    synced.clear()
    monkeypatch.setattr(connection.tempfile, "tempdir", str(tmp_path / "nowhere"))
    assert cli(["dmcp", "register", "mary"]) == Exit.USAGE
    assert "ask the operator of the service for another: dsguard dmcp token" in told(capsys)


def test_a_failed_login_leaves_the_last_one(home, monkeypatch, capsys):
    Answers(monkeypatch, users={"token": TOKEN}, me=httpx.ConnectError("away"))
    assert cli(["dmcp", "register", "mary"]) == Exit.OK
    monkeypatch.setattr(sys, "stdin", io.StringIO("dsg_other"))
    assert cli(["dmcp", "login"]) == Exit.USAGE
    assert "does not answer: away" in told(capsys)
    assert kept(home / "dsguard/dmcp.json")["token"] == TOKEN
    assert len(list((home / "dsguard").iterdir())) == 1


def test_without_a_home_one_is_told(monkeypatch, capsys):
    monkeypatch.delenv("XDG_CONFIG_HOME")

    def homeless() -> Path:
        msg = "Could not determine home directory."
        raise RuntimeError(msg)

    monkeypatch.setattr(Path, "home", homeless)
    for arguments in (["register", "mary"], ["datasets"]):
        assert cli(["dmcp", *arguments]) == Exit.USAGE
        assert "set HOME or XDG_CONFIG_HOME" in told(capsys)


@pytest.mark.parametrize("around", ["{}\n", "\n {}\t\r\n", "\ufeff{}"])
def test_blanks_around_a_token_are_dropped(monkeypatch, capsys, around):
    service = Answers(monkeypatch, datasets=[])
    monkeypatch.setenv("DSGUARD_DMCP_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("DSGUARD_DMCP_TOKEN", around.format(TOKEN))
    assert cli(["dmcp", "datasets"]) == Exit.OK
    assert service.asked == [("/v1/datasets", f"Bearer {TOKEN}")]


@pytest.mark.parametrize("character", ["\n", "\x00", "é", "\u200b", "\x1b"])
def test_what_is_in_no_token_is_named_and_the_token_is_not(monkeypatch, capsys, character):
    service = Answers(monkeypatch, datasets=[])
    bad = f"{TOKEN[:9]}{character}{TOKEN[9:]}"
    with pytest.raises(InputError, match=rf"character 10 is U\+{ord(character):04X}") as error:
        Client("http://127.0.0.1:1", bad)
    assert TOKEN[:9] not in str(error.value)
    if character != "\x00":  # which no variable can hold
        monkeypatch.setenv("DSGUARD_DMCP_URL", "http://127.0.0.1:1")
        monkeypatch.setenv("DSGUARD_DMCP_TOKEN", bad)
        assert cli(["dmcp", "datasets"]) == Exit.USAGE
        text = told(capsys)
        assert "this is no token" in text
        assert TOKEN[:9] not in text
        assert TOKEN[9:] not in text
    assert service.asked == []


def test_no_message_tells_a_token(monkeypatch):
    Answers(monkeypatch, me=httpx.LocalProtocolError(f"Illegal header value b'Bearer {TOKEN}'"))
    with Client("http://127.0.0.1:1", TOKEN) as client:
        with pytest.raises(RefusedError, match="does not answer: LocalProtocolError") as error:
            client.me()
        assert error.value.__cause__ is None
        assert error.value.__suppress_context__


def test_a_service_that_sends_the_token_back_is_not_repeated(monkeypatch):
    problem = {"message": f"you said Bearer {TOKEN}", "remedy": TOKEN, "code": "c"}
    Answers(monkeypatch, me=httpx.Response(403, json=problem))
    with Client("http://127.0.0.1:1", TOKEN) as client:
        with pytest.raises(RefusedError, match="you said Bearer") as error:
            client.me()
        assert TOKEN not in str(error.value)


@pytest.mark.parametrize("rights", [[1], [{"a": 2}], ["restore", None]])
def test_rights_that_are_none_are_told(monkeypatch, rights):
    row = {"name": "x", "title": "t", "rights": rights}
    Answers(monkeypatch, datasets=[row])
    with (
        Client("http://127.0.0.1:1", TOKEN) as client,
        pytest.raises(RefusedError, match="tells rights that are none"),
    ):
        client.datasets()


@pytest.mark.parametrize(
    "data",
    [
        f"{TOKEN}\n".encode(),
        f"\n\n  {TOKEN}\r\nmore\n".encode(),
        codecs.BOM_UTF8 + TOKEN.encode(),
        codecs.BOM_UTF16_LE + f"{TOKEN}\r\n".encode("utf-16-le"),
        codecs.BOM_UTF16_BE + f"{TOKEN}\r\n".encode("utf-16-be"),
    ],
    ids=["plain", "blanks", "utf-8", "utf-16-le", "utf-16-be"],
)
def test_token_files_of_any_editor_log_in(home, monkeypatch, capsys, data):
    service = Answers(monkeypatch, me={"name": "mary"})
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data), "ascii"))
    assert cli(["dmcp", "login", "https://dmcp.example"]) == Exit.OK
    assert "logged in as mary" in told(capsys)
    assert service.asked == [("/v1/me", f"Bearer {TOKEN}")]
    assert kept(home / "dsguard/dmcp.json")["token"] == TOKEN


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "no token on stdin"),
        (TOKEN.encode("utf-16-le"), "not plain text"),
        (b"\xff\x80", "not plain text"),
    ],
    ids=["empty", "utf-16", "binary"],
)
def test_what_is_no_token_file_is_told(monkeypatch, capsys, data, what):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data), "ascii"))
    assert cli(["dmcp", "login"]) == Exit.USAGE
    assert what in told(capsys)


@pytest.mark.parametrize("content", ["", "{}", "[]", "\ud83d\ude00", '{"url": "http://x"}'])
def test_a_damaged_login_is_told(home, capsys, content):
    (home / "dsguard").mkdir(parents=True)
    data = content.encode("utf-16", "surrogatepass")
    (home / "dsguard/dmcp.json").write_bytes(data)
    assert cli(["dmcp", "datasets"]) == Exit.USAGE
    assert "holds no login" in told(capsys)


LOCAL = ("http://127.0.0.1:8642", "http://127.9.9.9", "http://localhost", "http://[::1]:8642")
CLEAR = (
    "http://dmcp.example",
    "HTTP://10.0.0.1:8642",
    "http://127.0.0.1.example",
    "http://localhost.example",
    "http://[2001:db8::1]:80",
)


@pytest.mark.parametrize("url", CLEAR)
def test_nothing_travels_in_clear_to_another_machine(monkeypatch, capsys, url):
    service = Answers(monkeypatch, users={"token": TOKEN}, datasets=[])
    with pytest.raises(InputError, match="without TLS"):
        Client(url, TOKEN)
    with pytest.warns(UserWarning, match="in clear"):
        Client(url, TOKEN, allow_http=True).close()
    assert cli(["dmcp", "register", "mary", "--url", url]) == Exit.USAGE
    assert "DSGUARD_DMCP_ALLOW_HTTP=1" in told(capsys)
    assert service.asked == []
    monkeypatch.setenv("DSGUARD_DMCP_ALLOW_HTTP", "1")
    assert cli(["dmcp", "register", "mary", "--url", url]) == Exit.OK
    assert "warning: tokens, keys and images travel in clear" in told(capsys)
    assert cli(["dmcp", "datasets"]) == Exit.OK
    assert "warning" in told(capsys)


@pytest.mark.parametrize("url", [*LOCAL, "https://dmcp.example"])
def test_what_cannot_be_read_on_the_way_is_not_warned_of(monkeypatch, url):
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example:3128")
    with Client(url, TOKEN) as client:
        assert client._service._http.trust_env == url.startswith("https")


@pytest.mark.parametrize(
    "url", ["dmcp.example", "ftp://x", "http://", "http://[", "https://x:99999", "https://a:b@x"]
)
def test_what_is_no_address_is_told(url):
    with pytest.raises(InputError, match="address of a service"):
        Client(url, TOKEN)


def test_nothing_that_a_service_says_steers_the_terminal(monkeypatch, capsys):
    evil = "\x1b]0;owned\x07\x9b2J\u202e\u2028\rx"
    row = {"name": "d", "title": evil, "rights": [evil]}
    request = {"number": 1, "user": evil, "dataset": "d", "message": evil, "state": evil}
    problem = {"code": "x", "message": evil, "remedy": evil}
    Answers(
        monkeypatch,
        datasets=[row],
        requests=[{**request, "reason": evil}],
        grants=[{**row, "user": evil, "right": evil}],
        keys=[{"version": 1, "key_id": evil}],
        audit=httpx.Response(403, json=problem),
    )
    monkeypatch.setenv("DSGUARD_DMCP_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("DSGUARD_DMCP_TOKEN", TOKEN)
    for arguments in (["datasets"], ["requests"], ["grants", "d"], ["keys", "d"]):
        assert cli(["dmcp", *arguments]) == Exit.OK
        shown = capsys.readouterr().out
        assert "owned" in shown
        assert set(shown) - set(shown.replace("\n", "")) <= {"\n"}
        assert shown.replace("\n", "").isprintable()
    assert cli(["dmcp", "audit", "show", "d"]) == Exit.USAGE
    assert capsys.readouterr().err.replace("\n", "").isprintable()


def test_another_kind_of_site_is_told(monkeypatch, capsys):
    Answers(
        monkeypatch,
        datasets=httpx.Response(200, text="<html>welcome</html>"),
        export=httpx.Response(200, json={"secret": "nonsense"}),
    )
    monkeypatch.setenv("DSGUARD_DMCP_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("DSGUARD_DMCP_TOKEN", TOKEN)
    assert cli(["dmcp", "datasets"]) == Exit.USAGE
    assert "is it the address of a DMCP?" in told(capsys)
    with Client("http://127.0.0.1:1", TOKEN) as client, pytest.raises(RefusedError, match="no key"):
        client.export_key("d", 1)


BOMB = gzip.compress(bytes(1 << 24))
COMMANDS = [
    ["datasets"],
    ["grants", "d"],
    ["keys", "d"],
    ["requests"],
    ["request", "d"],
    ["revoke", "d", "u"],
    ["answer", "1", "--accept"],
    ["deposit", "d", "--new-key"],
    ["grant", "d", "u"],
    ["audit", "show", "d"],
    ["export-key", "d", "1", "k"],
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize(
    "answer",
    [
        b"null", b"[1]", b"[{}]", b"{}", b"[" * 100_000, b"[{" * 5_000_000, b"\xff", b"1", b'"a"',
        b'[{"name": 1, "rights": {}, "number": "x", "version": null}]', bytes(1 << 25), BOMB,
    ],
    ids=range(12),
)  # fmt: skip
def test_no_answer_is_a_fault_of_the_client(home, tmp_path, monkeypatch, capsys, command, answer):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DSGUARD_DMCP_URL", "http://localhost:1")
    monkeypatch.setenv("DSGUARD_DMCP_TOKEN", TOKEN)
    headers = {"content-encoding": "gzip"} if answer is BOMB else {}
    response = httpx.Response(200, stream=httpx.ByteStream(answer), headers=headers)
    last = "1" if command[0] == "answer" else command[0]
    last = {"request": "requests", "deposit": "datasets", "grant": "grants"}.get(last, last)
    Answers(monkeypatch, **{last: response, "audit": response, "export": response})
    assert cli(["dmcp", *command]) not in (Exit.OK, Exit.INTERNAL)
    assert re.search("is it the address of a DMCP|no key|not asked for", told(capsys))


def test_a_trail_that_goes_round_has_an_end(home, monkeypatch):
    Answers(monkeypatch, audit=[{"number": 1}])
    with (
        Client("http://localhost:1", TOKEN) as client,
        pytest.raises(RefusedError, match="not asked for"),
    ):
        client.audit("d", after=1)


def test_a_kept_token_goes_to_no_other_service(home, monkeypatch, capsys):
    answers = Answers(monkeypatch, me={"name": "mary"}, datasets=[])
    monkeypatch.setattr("sys.stdin", io.StringIO(TOKEN))
    assert cli(["dmcp", "login", "https://good.example"]) == Exit.OK
    asked = len(answers.asked)
    monkeypatch.setenv("DSGUARD_DMCP_URL", "https://other.example")
    assert cli(["dmcp", "datasets"]) == Exit.USAGE
    assert "is for https://good.example" in told(capsys)
    monkeypatch.delenv("DSGUARD_DMCP_URL")
    monkeypatch.setenv("DSGUARD_DMCP_TOKEN", TOKEN)
    assert cli(["dmcp", "datasets"]) == Exit.USAGE
    assert len(answers.asked) == asked
    monkeypatch.setenv("DSGUARD_DMCP_URL", "https://good.example/")
    monkeypatch.delenv("DSGUARD_DMCP_TOKEN")
    assert cli(["dmcp", "datasets"]) == Exit.OK


def test_the_client_trusts_no_names(scenes):
    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=frames.packed("../evil.png", frames.OK, b"x"))

    with Client("https://x", "t") as client:
        transport = httpx.MockTransport(answer)
        client._service._http = httpx.Client(base_url="https://x", transport=transport)
        with pytest.raises(RefusedError, match="other images"):
            list(client.restore("d", [("good.png", b"x")]))


@pytest.mark.parametrize(("data", "told"), [
    (b"%!PS-Adobe-3.0 EPSF-3.0\n", "PostScript"), (b"\x80\x04K\x01.", "pickle"),
    (b"\x89PNG\r\n\x1a\n", ""), (b"a file of another kind", ""),
])  # fmt: skip
def test_the_client_hands_out_no_programs_of_a_service(data, told):
    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=frames.packed("a.png", frames.OK, data))

    with Client("https://x", "t") as client:
        transport = httpx.MockTransport(answer)
        client._service._http = httpx.Client(base_url="https://x", transport=transport)
        [image] = client.restore("d", [("a.png", b"x")])
    assert image.data == (b"" if told else data)
    assert told in image.error
    assert bool(image.error) == bool(told)


@pytest.mark.parametrize("name", ["bad name/..", "", "Photos", "x" * 65, "..", "a/b", "é"])
def test_what_cannot_be_the_name_of_a_dataset_is_told_before_anything_is_asked(
    tmp_path, monkeypatch, capsys, name
):
    service = Answers(monkeypatch)
    monkeypatch.setenv("DSGUARD_DMCP_URL", "https://x")
    monkeypatch.setenv("DSGUARD_DMCP_TOKEN", TOKEN)
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "x.png").write_bytes(b"")
    out, image = str(tmp_path / "out"), str(folder / "x.png")
    of_platform = ["--dataset", name]
    for command in (
        ["dmcp", "request", name], ["dmcp", "grants", name], ["dmcp", "grant", name, "mary"],
        ["dmcp", "deposit", name, "--new-key"], ["dmcp", "samples", name, image],
        ["dmcp", "restore", name, str(folder), out], ["verify", str(folder), *of_platform],
        ["restore", str(folder), out, *of_platform], ["protect", str(folder), out, *of_platform],
    ):  # fmt: skip
        assert cli(command) == Exit.USAGE
        assert "64 small letters, digits, dots, dashes and underscores" in told(capsys)
    assert service.asked == []
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


def test_the_number_of_a_job_is_no_path(monkeypatch):
    service = Answers(monkeypatch, **{"..": {"state": "", "message": "", "done": 0, "failed": 0}})
    with Client("https://x", TOKEN) as client, pytest.raises(RefusedError):
        client.job("../datasets")
    assert [path for path, _ in service.asked] == ["/v1/jobs/../datasets"]  # quoted on the way


@pytest.mark.parametrize(
    "location",
    [
        "http://a:99999/x",
        "http://[::1/x",
        "mailto:a@b",
        "data:,x",
        "http://xn--/",
        "http:///x",
        "//",
    ],
)
@pytest.mark.parametrize("status", [302, 307])
def test_an_answer_that_leads_to_no_address_is_told(monkeypatch, capsys, location, status):
    """As of a proxy or a page to log in; it is not followed in any case."""
    answer = httpx.Response(status, headers={"location": location})
    Answers(monkeypatch, datasets=answer, requests=answer)
    monkeypatch.setenv("DSGUARD_DMCP_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("DSGUARD_DMCP_TOKEN", TOKEN)
    for command in ("datasets", "requests"):
        assert cli(["dmcp", command]) == Exit.USAGE
        assert "the service at" in (shown := told(capsys)) or "is it the address" in shown
